//! The state behind the opaque `pp_host`: what one instance's calls of the daemon work on.
//!
//! It is never freed. There is one per worker, and so a plugin that calls late finds an instance
//! that is gone instead of freed memory.
//!
//! Invariant: what is inside the cell is touched only by the thread that made it, and a reference to
//! it never lives across a callback.

use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::ops::Range;
use std::sync::Arc;

use polyport_plugin::abi::{self, Status};
use slotmap::{Key, KeyData};

use super::log::PluginLog;
use super::waker::WakeQueue;
use super::work::Jobs;
use crate::engine::desk::{Desk, Refusal};
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

// --- who is calling, and with what -------------------------------------------------------------

/// Lets the call in if it comes from inside a callback, or says why not.
///
/// # Safety
///
/// `host` is null or what `create` was given.
pub(super) unsafe fn admit<R>(
    host: *mut abi::Host,
    ask: impl FnOnce(&mut Inside) -> R,
) -> Result<R, Status> {
    // SAFETY: the caller's promise.
    let state = unsafe { state_of(host) }.ok_or(abi::E_ARG)?;
    if !state.is_here() {
        return Err(abi::E_THREAD);
    }
    // SAFETY: our thread; the instance holds no reference while the plugin runs, and no function
    // of the table calls another one.
    let inside = unsafe { state.inside() };
    match inside.life {
        Life::InCallback => Ok(ask(inside)),
        Life::Between => Err(abi::E_THREAD),
        Life::Gone => Err(abi::E_GONE),
    }
}

/// # Safety
///
/// As for [`admit`].
pub(super) unsafe fn state_of(host: *mut abi::Host) -> Option<&'static HostState> {
    // SAFETY: null or a state that is never freed, as the caller promises.
    unsafe { host.cast::<HostState>().as_ref() }
}

/// # Safety
///
/// As for [`admit`].
pub(super) unsafe fn status(
    host: *mut abi::Host,
    ask: impl FnOnce(&mut Inside) -> Result<(), Status>,
) -> Status {
    // SAFETY: the caller's promise.
    match unsafe { admit(host, ask) } {
        Ok(Ok(())) => abi::OK,
        Ok(Err(status)) | Err(status) => status,
    }
}

/// # Safety
///
/// If not null, `start` points to `length` readable bytes that do not change during the call.
pub(super) unsafe fn borrowed<'a>(start: *const c_void, length: usize) -> Result<&'a [u8], Status> {
    match (start.is_null(), length) {
        (_, 0) => Ok(&[]),
        (true, _) => Err(abi::E_ARG),
        (false, _) if isize::try_from(length).is_err() => Err(abi::E_ARG),
        // SAFETY: not null, and readable for `length` bytes as the caller promises.
        (false, _) => Ok(unsafe { std::slice::from_raw_parts(start.cast(), length) }),
    }
}

/// The token that a plugin was given as a number, if it can be one.
pub(super) fn token_from<K: Key>(number: u64) -> Result<K, Status> {
    let key = KeyData::from_ffi(number);
    // from_ffi accepts any number; only one that it gives back unchanged was ever handed out.
    if number == 0 || key.as_ffi() != number {
        Err(abi::E_GONE)
    } else {
        Ok(K::from(key))
    }
}

pub(super) fn refused(refusal: Refusal) -> Status {
    match refusal {
        Refusal::Gone => abi::E_GONE,
        Refusal::Full => abi::E_FULL,
        Refusal::Busy => abi::E_BUSY,
        Refusal::Cancelled => abi::E_CANCELLED,
    }
}
