//! A plugin's functions on threads that may block, as the daemon's table knows them: which instance
//! they are of, what they are about, what they have said and reported.
//!
//! Few functions of the table answer there: those that write to the log, `fault`, and `send` for a
//! datagram. All others find that the thread is not the event loop's, as they do on a thread of the
//! plugin's own.
//!
//! Invariant: `HERE` is set exactly while the plugin runs on this thread.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::ptr;

use polyport_plugin::abi::{self, Status};

use super::host_state::HostState;
use super::log::About;
use crate::engine::outbox::{PAYLOAD_BYTES_MAX, SENDS_MAX};

thread_local!(static HERE: RefCell<Option<Here>> = const { RefCell::new(None) });

struct Here {
    host: *const HostState,
    about: About,
    may_send: bool,
    left: Left,
}

/// What a plugin has left behind on a thread.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// Its own fault, as it reported it.
    pub(super) fault: Option<String>,
    pub(super) said: Vec<Said>,
}

/// A datagram to be sent from the event loop.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) via: u64,
    pub(super) to: Option<SocketAddr>,
    pub(super) bytes: Vec<u8>,
}

/// Lets a plugin run on this thread.
pub(super) fn enter<R>(
    host: &'static HostState,
    about: About,
    may_send: bool,
    call: impl FnOnce() -> R,
) -> (R, Left) {
    HERE.set(Some(Here {
        host,
        about,
        may_send,
        left: Left::default(),
    }));
    let returned = call();
    let left = HERE.take().map(|here| here.left);
    (returned, left.unwrap_or_default())
}

/// Whether an instance's function runs on this thread.
pub(super) fn is_inside(host: &HostState) -> bool {
    with(host, |_| ()).is_some()
}

pub(super) fn log(host: &HostState, level: u32, session: abi::Session, text: &[u8]) {
    let session = (session != 0).then_some(session);
    let about = with(host, |here| About {
        session,
        peer: here.about.peer.filter(|_| session == here.about.session),
    });
    if let Some(about) = about {
        host.log.line((host.clock)(), level, about, text);
    }
}

pub(super) fn fault(host: &HostState, text: String) -> Status {
    let noted = with(host, |here| here.left.fault = Some(text));
    noted.map_or(abi::E_THREAD, |()| abi::OK)
}

/// Whether the way back is still known is found out when it leaves.
pub(super) fn send(host: &HostState, via: u64, to: Option<SocketAddr>, bytes: &[u8]) -> Status {
    let taken = with(host, |here| {
        if !here.may_send {
            return abi::E_THREAD;
        }
        if bytes.len() > PAYLOAD_BYTES_MAX {
            return abi::E_ARG;
        }
        if here.left.said.len() >= SENDS_MAX {
            return abi::E_FULL;
        }
        let bytes = bytes.to_vec();
        here.left.said.push(Said { via, to, bytes });
        abi::OK
    });
    taken.unwrap_or(abi::E_THREAD)
}

fn with<R>(host: &HostState, ask: impl FnOnce(&mut Here) -> R) -> Option<R> {
    HERE.with_borrow_mut(|here| {
        let here = here.as_mut().filter(|here| ptr::eq(here.host, host));
        here.map(ask)
    })
}
