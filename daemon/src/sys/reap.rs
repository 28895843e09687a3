//! Waiting for children, with whatever signal ended them.
//!
//! The safe wrappers know the named signals only and answer a death by a real-time one with an error,
//! which looks like "nobody is dead" and leaves the zombie in front of all others. Here a signal is a
//! number.
//!
//! Invariant: `dead` leaves the child waitable, `reap` takes it; what else there is, waits.

use std::io;
use std::mem;

use nix::errno::Errno;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Code(i32),
    Signal(i32),
}

/// A child that is dead and has not been reaped, if there is one.
pub fn dead() -> io::Result<Option<i32>> {
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    match wait(libc::P_ALL, 0, flags) {
        Ok((0, ..)) | Err(Errno::ECHILD) => Ok(None),
        Ok((pid, ..)) => Ok(Some(pid)),
        Err(errno) => Err(errno.into()),
    }
}

/// Waits until this child has ended, and reaps it. `None` if it is no child of ours, or not any more.
pub fn reap(pid: i32) -> io::Result<Option<End>> {
    match wait(libc::P_PID, pid as libc::id_t, libc::WEXITED) {
        Ok((_, libc::CLD_EXITED, status)) => Ok(Some(End::Code(status))),
        Ok((_, _, status)) => Ok(Some(End::Signal(status))),
        Err(Errno::ECHILD) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether somebody has stopped this child since the last time, or let it go on; `None` if neither.
pub fn stopped(pid: i32) -> Option<bool> {
    let flags = libc::WSTOPPED | libc::WCONTINUED | libc::WNOHANG;
    match wait(libc::P_PID, pid as libc::id_t, flags) {
        Ok((0, ..)) | Err(_) => None,
        Ok((_, what, _)) => Some(what == libc::CLD_STOPPED),
    }
}

/// The child, what it did (`si_code`), and the code or signal of that.
fn wait(kind: libc::idtype_t, id: libc::id_t, flags: i32) -> Result<(i32, i32, i32), Errno> {
    loop {
        // SAFETY: all zeroes are a valid siginfo_t, which is plain numbers and pointers never read.
        let mut facts: libc::siginfo_t = unsafe { mem::zeroed() };
        // SAFETY: waitid(2) writes one siginfo_t, which lives to the end of the call.
        let result = unsafe { libc::waitid(kind, id, &raw mut facts, flags) };
        match Errno::result(result) {
            Ok(_) => {
                // SAFETY: after waitid(2) these fields are set, or zero if nobody is dead.
                let (pid, status) = unsafe { (facts.si_pid(), facts.si_status()) };
                return Ok((pid, facts.si_code, status));
            }
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}
