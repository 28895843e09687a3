//! Who is at the control socket, and what that lets them ask.
//!
//! The kernel says who somebody is (SO_PEERCRED, SO_PEERGROUPS); nothing that a caller sends counts.
//! Root and the daemon's own user administer, those whom the configuration names operate, and who is
//! in the daemon's group looks. Everybody else is told no, also when the socket's mode lets them in.
//!
//! Invariant: a role is decided when somebody connects, and holds for their one request.

use std::fs;
use std::os::fd::AsFd;

use nix::libc;
use nix::sys::socket::UnixCredentials;
use serde::{Deserialize, Serialize};

use super::message::{Reply, Request, Role};
use crate::exit;
use crate::plan::Operators;
use crate::sys::socket_option;

/// Further groups of a caller are not looked at.
const GROUPS_MAX: usize = 256;

/// Who may come in as what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Doors {
    own_uid: u32,
    own_gid: u32,
    operators: Operators,
}

/// Who asks, for permission and audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    pub pid: i32,
    pub uid: u32,
    pub gid: u32,
    pub role: Role,
    /// Under which an answer that takes a while is given.
    pub ticket: u64,
}

impl Doors {
    pub(super) fn new() -> Doors {
        Doors {
            own_uid: nix::unistd::geteuid().as_raw(),
            own_gid: nix::unistd::getegid().as_raw(),
            operators: Operators::default(),
        }
    }

    pub(super) fn admit(&mut self, operators: &Operators) {
        self.operators.clone_from(operators);
    }

    /// Of the socket: operators need be in no group of the daemon's.
    pub(super) fn mode(&self) -> u32 {
        match self.operators.is_empty() {
            true => 0o660,
            false => 0o666,
        }
    }

    pub(super) fn see(&self, socket: impl AsFd, peer: UnixCredentials, ticket: u64) -> Credentials {
        let mut groups = groups_of(socket);
        groups.push(peer.gid());
        Credentials {
            pid: peer.pid(),
            uid: peer.uid(),
            gid: peer.gid(),
            role: self.role(peer.uid(), &groups),
            ticket,
        }
    }

    fn role(&self, uid: u32, groups: &[u32]) -> Role {
        let Operators { uids, gids } = &self.operators;
        if uid == 0 || uid == self.own_uid {
            Role::Admin
        } else if uids.contains(&uid) || groups.iter().any(|gid| gids.contains(gid)) {
            Role::Operate
        } else if groups.contains(&self.own_gid) {
            Role::Read
        } else {
            Role::Nobody
        }
    }
}

/// Those beside the first; none where the kernel does not tell.
fn groups_of(socket: impl AsFd) -> Vec<u32> {
    let mut bytes = [0; 4 * GROUPS_MAX];
    let (level, name) = (libc::SOL_SOCKET, libc::SO_PEERGROUPS);
    let length = socket_option::read(socket, level, name, &mut bytes).unwrap_or(0);
    let numbers = bytes[..length].chunks_exact(4);
    numbers
        .map(|number| u32::from_ne_bytes(number.try_into().expect("four bytes")))
        .collect()
}

impl Credentials {
    pub(super) fn may_ask(&self, request: &Request) -> Result<(), String> {
        if self.role >= request.needs() {
            return Ok(());
        }
        let whom = match request.needs() {
            Role::Admin => "root and the daemon's own user",
            Role::Operate => "root, the daemon's own user and whom daemon.control.operators names",
            Role::Read | Role::Nobody => "those in the daemon's group",
        };
        Err(format!(
            "`{}` is for {whom}; you are uid {}, with the role {}",
            request.verb(),
            self.uid,
            self.role
        ))
    }

    /// One line for each change that somebody asked for, whatever came of it; why a change was rejected
    /// stands in the lines before it.
    pub(super) fn audit(&self, verb: &str, reply: &Reply) {
        let Credentials {
            pid,
            uid,
            gid,
            role,
            ticket: _,
        } = self;
        // Whoever has left by now has no name any more.
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let comm = comm.trim_end();
        let result = match (&reply.error, reply.exit) {
            (None, exit::DONE) => "done".to_owned(),
            (None, code) => format!("exit {code}"),
            (Some(_), exit::REJECTED) => {
                format!("exit {}: rejected, as said above", exit::REJECTED)
            }
            (Some(text), code) => {
                let first = text.lines().next().unwrap_or_default();
                format!("exit {code}: {first}")
            }
        };
        tracing::info!(
            gid, pid, comm, %role, result,
            "`{verb}` was asked by uid {uid}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_follows_from_user_and_groups_and_a_request_from_the_role() {
        let doors = Doors {
            own_uid: 5,
            own_gid: 50,
            operators: Operators {
                uids: vec![7],
                gids: vec![70],
            },
        };
        let reload = Request::Reload {
            wait: true,
            dry_run: false,
        };
        let stop = Request::Stop { fast: false };
        for (uid, groups, role) in [
            (0, &[][..], Role::Admin),
            (5, &[], Role::Admin),
            (7, &[9], Role::Operate),
            (8, &[9, 70], Role::Operate),
            (8, &[9, 50], Role::Read),
            (8, &[9], Role::Nobody),
        ] {
            assert_eq!(doors.role(uid, groups), role, "{uid} {groups:?}");
            let caller = Credentials {
                pid: 1,
                uid,
                gid: 9,
                role,
                ticket: 0,
            };
            for (request, needed) in [
                (&Request::Status, Role::Read),
                (&reload, Role::Operate),
                (&stop, Role::Admin),
            ] {
                assert_eq!(
                    caller.may_ask(request).is_ok(),
                    role >= needed,
                    "{request:?}"
                );
            }
        }
    }

    #[test]
    fn the_groups_of_a_caller_are_those_of_its_process() {
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let own = nix::unistd::getgroups().expect("our groups");
        let own: Vec<u32> = own.iter().map(|gid| gid.as_raw()).collect();
        assert_eq!(groups_of(&ours), own);
    }
}
