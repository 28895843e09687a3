//! The state behind the opaque `pp_host`: what one instance's calls of the daemon work on.
//!
//! It is never freed. There is one per worker, and so a plugin that calls late finds an instance
//! that is gone instead of freed memory.
//!
//! Invariant: what is inside the cell is touched only by the thread that made it, and a reference to
//! it never lives across a callback.

use std::cell::UnsafeCell;

use std::ops::Range;
use std::sync::Arc;

use polyport_plugin::abi;

use super::log::PluginLog;
use super::waker::WakeQueue;
use super::work::Jobs;
use crate::engine::desk::Desk;
use crate::engine::roll::Beside;
use crate::engine::session::Party;
use crate::hub::client::Client;
use crate::scoreboard::Scoreboard;

/// Behind the opaque `pp_host`.
#[derive(Debug)]
pub(super) struct HostState {
    thread: usize,
    pub(super) log: PluginLog,
    pub(super) clock: fn() -> u64,
    /// Where the plugin's own numbers are; any of its threads counts there.
    pub(super) board: Scoreboard,
    inside: UnsafeCell<Inside>,
}

// SAFETY: what is in the cell is touched by the thread that made it only; the rest may be shared.
unsafe impl Sync for HostState {}

#[derive(Debug)]
pub(super) struct Inside {
    pub(super) desk: Desk,
    pub(super) jobs: Jobs,
    /// For the lines that a plugin logs about a session.
    pub(super) peers: Beside<Party>,
    pub(super) wakes: Arc<WakeQueue>,
    /// Addresses of the input lent to the running `feed`.
    pub(super) lent: Range<usize>,
    /// What it has asked of the bus, if it can hear of it.
    pub(super) bus: Option<Client>,
    pub(super) life: Life,
    /// `create` has not returned yet.
    pub(super) is_young: bool,
    /// What the running callback reported as its own fault.
    pub(super) fault: Option<String>,
    /// Read at most once per callback: for a plugin, time stands still inside of one.
    pub(super) now_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Between,
    InCallback,
    Gone,
}

impl HostState {
    pub(super) fn new(
        log: PluginLog,
        clock: fn() -> u64,
        board: Scoreboard,
        inside: Inside,
    ) -> &'static HostState {
        let state = HostState {
            thread: this_thread(),
            log,
            clock,
            board,
            inside: UnsafeCell::new(inside),
        };
        Box::leak(Box::new(state))
    }

    pub(super) fn as_ptr(&'static self) -> *mut abi::Host {
        std::ptr::from_ref(self).cast_mut().cast()
    }

    /// Whether this is the thread that made it: the event loop's.
    pub(super) fn is_here(&self) -> bool {
        self.thread == this_thread()
    }

    /// The owning instance's access. It must not keep the reference across a callback.
    ///
    /// # Safety
    ///
    /// On the thread that made this, with no other reference alive.
    #[expect(
        clippy::mut_from_ref,
        reason = "the cell is guarded by thread and by call order"
    )]
    pub(super) unsafe fn inside(&self) -> &mut Inside {
        // SAFETY: one thread, one reference at a time, as the caller promises.
        unsafe { &mut *self.inside.get() }
    }
}

/// The address of a thread-local marks its thread, without a system call.
fn this_thread() -> usize {
    thread_local!(static MARK: u8 = const { 0 });
    MARK.with(|mark| std::ptr::from_ref(mark) as usize)
}
