//! Closes a process that has loaded a plugin: what it may still ask of the kernel.
//!
//! Three mechanisms, each on its own: no_new_privs, a list of the system calls that are allowed
//! (`allowed`, turned into programs by `filter`), and Landlock for files, TCP and signals (`files`).
//! What a kernel lacks is named in the level that `status` shows, or is an error if the administrator
//! requires all of it. A call that is not allowed answers EPERM and is told once (`denials`); one that
//! no server makes in good faith ends the process. Identity and capabilities are `jail`'s business.
//!
//! Invariant: nothing closed here can be opened again by this process or its children.

use std::thread;

use nix::sys::prctl;

use crate::plan::{Needs, SandboxPolicy};
use filter::{Reach, Refusal};

mod allowed;
mod denials;
mod files;
mod filter;
mod rules;
mod watching;

pub use denials::{explain, tell, wake};

/// Who is being closed. Each has a list of its own: what everybody may, and what it may besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Serves connections that its listeners bring; has its plugin's needs.
    Worker {
        /// It has a socket for Unix datagrams, whose peers may have abstract names.
        unix_datagrams: bool,
    },
    /// Looks at a plugin and answers; it has no listener and grants no needs but files to read.
    Probe,
    /// Keeps the bus, and a database in the folder that its needs name; may connect if they say so.
    Hub,
    /// Reads the configuration, wherever that lies, and looks up names.
    Check,
}

/// Returns the level reached, as `status` shows it. To be called while there is one thread.
pub fn close(policy: SandboxPolicy, needs: &Needs, profile: Profile) -> Result<String, String> {
    match policy {
        SandboxPolicy::Off => return Ok("off".to_owned()),
        SandboxPolicy::Log => return watch(needs, profile),
        SandboxPolicy::BestEffort | SandboxPolicy::Required => {}
    }
    let required = policy == SandboxPolicy::Required;
    prctl::set_no_new_privs().map_err(|errno| format!("no_new_privs: {}", errno.desc()))?;
    // Another process of this user cannot read the memory, and no core is written.
    prctl::set_dumpable(false).map_err(|errno| format!("PR_SET_DUMPABLE: {}", errno.desc()))?;
    let missing = |mechanism: &str, why: String| match required {
        false => Ok(format!("no {mechanism}")),
        true => Err(format!(
            "the sandbox cannot be closed: {mechanism}: {why}\n  fix: use Linux 6.12 or newer with seccomp \
             and with Landlock in its list of security modules (lsm=), or set daemon.sandbox = \
             \"best-effort\""
        )),
    };
    // Landlock first: its rules open files, which the filter is free to refuse.
    let files = match profile {
        Profile::Check => None,
        _ => Some(files::close(needs, profile, required).or_else(|why| missing("landlock", why))?),
    };
    denials::begin().map_err(|error| format!("SIGSYS: {error}"))?;
    let calls = filter::close(needs, profile, refusal(needs), Reach::Process)
        .map(|()| "seccomp".to_owned())
        .or_else(|why| missing("seccomp", why))?;
    Ok([Some(calls), files]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", "))
}

/// A program that the plugin starts has no handler for what `denials` needs.
fn refusal(needs: &Needs) -> Refusal {
    match denials::CAN_ANSWER && !needs.exec {
        true => Refusal::Noted,
        false => Refusal::Silent,
    }
}

fn watch(needs: &Needs, profile: Profile) -> Result<String, String> {
    watching::begin(needs, profile).map_err(|why| {
        format!(
            "the sandbox cannot watch: {why}\n  fix: use Linux 5.5 or newer, or set \
             daemon.sandbox = \"best-effort\""
        )
    })?;
    Ok("open, and logged".to_owned())
}

/// The level that a worker without needs would reach, found out in a thread that ends.
pub fn level_of_a_worker() -> Result<String, String> {
    let tried = thread::spawn(|| {
        let unix_datagrams = false;
        let (needs, profile) = (Needs::default(), Profile::Worker { unix_datagrams });
        let files = files::close(&needs, profile, false);
        let calls = filter::close(&needs, profile, Refusal::Silent, Reach::Thread);
        let calls = calls.map_or_else(|_| "no seccomp".to_owned(), |()| "seccomp".to_owned());
        let files = files.unwrap_or_else(|_| "no landlock".to_owned());
        format!("{calls}, {files}")
    });
    tried
        .join()
        .map_err(|_| "the thread that tried it has ended".to_owned())
}

#[cfg(test)]
pub(super) mod tests;
