//! Becoming another program in place: the process stays, with its pid, its children and chosen
//! descriptors, and what runs in it is replaced.
//!
//! All signals are held back over the change, so that none meets a program that has no handlers yet;
//! they stay pending and are met by the next one. What the descriptors mean is the caller's business.
//!
//! Invariant: when `replace` returns, nothing has changed: the descriptors close on exec as before.

use std::collections::BTreeSet;
use std::ffi::{CString, c_char};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};

use super::spawn::{FIRST_FD, Program, null_terminated, threads_of_self};

/// All signals of this process are held back while this lives.
#[derive(Debug)]
pub struct HeldSignals {
    before: SigSet,
}

impl HeldSignals {
    pub fn hold() -> io::Result<HeldSignals> {
        let mut before = SigSet::empty();
        sigprocmask(
            SigmaskHow::SIG_SETMASK,
            Some(&SigSet::all()),
            Some(&mut before),
        )?;
        Ok(HeldSignals { before })
    }

    /// Those that the former program in this process held back.
    pub fn inherited() -> HeldSignals {
        HeldSignals {
            before: SigSet::empty(),
        }
    }
}

impl Drop for HeldSignals {
    fn drop(&mut self) {
        // It fails for an unknown first argument only (sigprocmask(2)).
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None);
    }
}

/// Runs `program` in this process instead, with `kept` open under the numbers that they have.
/// Returns only if that failed.
pub fn replace(
    program: &Program,
    arguments: &[CString],
    environment: &[CString],
    kept: &[BorrowedFd<'_>],
    _held: &HeldSignals,
) -> io::Error {
    match threads_of_self() {
        Ok(1) => {}
        Ok(_) => return io::Error::other("this process has threads"),
        Err(error) => return error,
    }
    let argv = null_terminated(arguments);
    let envp = null_terminated(environment);
    let opened = kept.iter().try_for_each(|fd| close_on_exec(*fd, false));
    let error = match opened {
        Ok(()) => exec(program, &argv, &envp),
        Err(error) => error,
    };
    for fd in kept {
        // A flag of a descriptor that is open can always be set (fcntl(2)).
        let _ = close_on_exec(*fd, true);
    }
    error
}

fn exec(program: &Program, argv: &[*const c_char], envp: &[*const c_char]) -> io::Error {
    let program = program.descriptor().as_raw_fd();
    let (argv, envp) = (argv.as_ptr(), envp.as_ptr());
    let flags = libc::AT_EMPTY_PATH;
    // SAFETY: both vectors end in null and outlive the call, which replaces the process or fails.
    unsafe { libc::syscall(libc::SYS_execveat, program, c"".as_ptr(), argv, envp, flags) };
    io::Error::last_os_error()
}

/// The descriptors that the former program in this process left open under these numbers, each of
/// which closes on exec from now on. To be called before anything else is
/// opened, once for each.
pub fn inherited(numbers: &[RawFd]) -> io::Result<Vec<OwnedFd>> {
    let distinct: BTreeSet<RawFd> = numbers.iter().copied().collect();
    if distinct.len() != numbers.len() || distinct.first().is_some_and(|n| *n < FIRST_FD) {
        return Err(io::Error::other("its descriptors are not told apart"));
    }
    for number in numbers {
        // SAFETY: fcntl(2) F_GETFD on any number is harmless.
        Errno::result(unsafe { libc::fcntl(*number, libc::F_GETFD) })?;
    }
    numbers
        .iter()
        .map(|number| {
            // SAFETY: the number was just seen open, is named once, and was left to this process by
            // the program before; nobody else in this new program knows it.
            let fd = unsafe { OwnedFd::from_raw_fd(*number) };
            fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
            Ok(fd)
        })
        .collect()
}

fn close_on_exec(fd: BorrowedFd<'_>, closes: bool) -> io::Result<()> {
    let mut flag = FdFlag::empty();
    flag.set(FdFlag::FD_CLOEXEC, closes);
    fcntl(fd, FcntlArg::F_SETFD(flag))?;
    Ok(())
}
