//! What becomes of a child whose supervisor has died.
//!
//! Its channel tells it, if it listens. This is for a child that does not, because a plugin holds its
//! thread: the kernel is asked to say so with a signal. A probe or check ends at once; a worker gets
//! the time to finish what is open, counted by an alarm clock that no callback can hold up.
//!
//! A supervisor that has died before the kernel was asked is noticed by the channel only.
//!
//! Invariant: nothing here runs while the supervisor lives.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::alarm;

/// The signal has no other use in a worker.
const ORPHANED: Signal = Signal::SIGUSR2;

static SECONDS_LEFT: AtomicU32 = AtomicU32::new(1);

/// For a child with nothing to finish.
pub fn end_with_parent() -> io::Result<()> {
    Ok(set_pdeathsig(Signal::SIGKILL)?)
}

/// For a worker: from its supervisor's death on it has so long, whatever its plugin does. To be
/// called after the identity was dropped, which would forget it (prctl(2)).
pub fn end_after_parent(grace_ms: u64) -> io::Result<()> {
    let seconds = u32::try_from(grace_ms.div_ceil(1_000)).unwrap_or(u32::MAX);
    SECONDS_LEFT.store(seconds.max(1), Ordering::Relaxed);
    let handler = SigHandler::Handler(set_alarm);
    let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler makes one async-signal-safe call (signal-safety(7)) and touches an atomic.
    unsafe { sigaction(ORPHANED, &action)? };
    Ok(set_pdeathsig(ORPHANED)?)
}

/// SIGALRM's default ends the process; nobody in a worker handles it.
extern "C" fn set_alarm(_: libc::c_int) {
    alarm::set(SECONDS_LEFT.load(Ordering::Relaxed));
}
