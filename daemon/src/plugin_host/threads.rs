//! A plugin's functions on threads that may block, as the daemon's table knows them: which instance
//! they are of, which session they are about, what they reported as their own fault.
//!
//! Few functions of the table answer there: those that write to the log, and `fault`. All others find
//! that the thread is not the event loop's, as they do on a thread of the plugin's own.
//!
//! Invariant: `HERE` is set exactly while the plugin runs on this thread.

use std::cell::RefCell;
use std::ptr;

use polyport_plugin::abi::{self, Status};

use super::host_state::HostState;
use super::log::About;
use crate::engine::session::Party;

thread_local!(static HERE: RefCell<Option<Here>> = const { RefCell::new(None) });

struct Here {
    host: *const HostState,
    /// 0 in a job.
    session: abi::Session,
    peer: Option<Party>,
    fault: Option<String>,
}

/// Lets a plugin run on this thread; returns what it reported as its own fault, too.
pub(super) fn enter<R>(
    host: &'static HostState,
    session: abi::Session,
    peer: Option<Party>,
    call: impl FnOnce() -> R,
) -> (R, Option<String>) {
    HERE.set(Some(Here {
        host,
        session,
        peer,
        fault: None,
    }));
    let returned = call();
    let fault = HERE.take().and_then(|here| here.fault);
    (returned, fault)
}

/// Whether an instance's function runs on this thread.
pub(super) fn is_inside(host: &HostState) -> bool {
    with(host, |_| ()).is_some()
}

pub(super) fn log(host: &HostState, level: u32, session: abi::Session, text: &[u8]) {
    let about = with(host, |here| About {
        session: (session != 0).then_some(session),
        peer: here.peer.filter(|_| session == here.session),
    });
    if let Some(about) = about {
        host.log.line((host.clock)(), level, about, text);
    }
}

pub(super) fn fault(host: &HostState, text: String) -> Status {
    let noted = with(host, |here| here.fault = Some(text));
    noted.map_or(abi::E_THREAD, |()| abi::OK)
}

fn with<R>(host: &HostState, ask: impl FnOnce(&mut Here) -> R) -> Option<R> {
    HERE.with_borrow_mut(|here| {
        let here = here.as_mut().filter(|here| ptr::eq(here.host, host));
        here.map(ask)
    })
}
