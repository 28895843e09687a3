//! The bus over many machines: an existing NATS server or cluster numbers messages and gives leases.
//!
//! `cluster`, `holding`, `seen` and `nodes` are the hub's half, pure as the rest of the core: what is asked
//! for, what is waited for, what was heard. `backend` runs the client in a thread of its own; `session` is
//! one connection of it, with `stream` for messages, `bucket` for leases and `markers` for what is left of
//! them. `names` says what is called how. History is copied into the hub's own database as it comes, so
//! that nobody waits for the network to read it, and a hub that is started again asks only for what it
//! has not had.
//!
//! Invariant: what was asked on one connection and not answered is asked again on the next, in its order;
//! nothing of a connection outlives it.

mod backend;
mod bucket;
pub mod cluster;
mod holding;
mod markers;
pub mod names;
mod nodes;
mod seen;
mod session;
mod stream;
mod words;

use std::path::Path;

pub(super) use backend::Backend;
pub(super) use session::Settings;

use crate::plan::{BusPlan, NatsPlan, Needs};

/// How the names of hosts are found, and the certificates that vouch for servers, wherever a system has
/// them.
const READ: [&str; 9] = [
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/resolv.conf",
    "/etc/gai.conf",
    "/etc/ssl",
    "/etc/pki",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
];

/// What the hub's sandbox must allow for it.
pub(super) fn needs(plan: &NatsPlan) -> Needs {
    let pair = plan
        .certificate
        .iter()
        .flat_map(|(one, other)| [one, other]);
    let single = plan.credentials.iter().chain(&plan.ca);
    let own = single.chain(pair).map(|path| written(path));
    Needs {
        connect: true,
        files_read: READ.into_iter().map(str::to_owned).chain(own).collect(),
        ..Needs::default()
    }
}

fn written(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

impl Settings {
    pub(super) fn of(plan: &NatsPlan, bus: &BusPlan) -> Settings {
        Settings {
            plan: plan.clone(),
            node: fresh_name(),
            history: bus.history,
            keep_ms: bus.keep_ms,
        }
    }
}

/// Unlike that of any other hub, and of this one before its death.
fn fresh_name() -> String {
    use std::hash::{BuildHasher, RandomState};
    let half = || RandomState::new().hash_one(std::process::id());
    format!("{:016x}{:016x}", half(), half())
}
