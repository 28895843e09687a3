//! Starting a child: fork, put its descriptors in place, exec the very program that is running.
//!
//! The program is held by descriptor from the start, so that a package upgrade never mixes versions
//! and every child gets a fresh address space. Between fork and exec only async-signal-safe calls are
//! made and nothing is allocated; all strings and lists are built before.
//!
//! It knows nothing of roles: what the child is to do stands in the memory file it is handed.
//!
//! Invariant: the child owns descriptors 0, 1, 2 and those handed over from 3 on, no others.

use std::ffi::{CString, c_char};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::stat::Mode;
use nix::unistd::{ForkResult, Pid, fork};

/// First descriptor that is handed over.
pub const FIRST_FD: RawFd = 3;
/// What a child that could not exec exits with.
pub const EXEC_FAILED: i32 = 127;

/// The program that is running now, whatever its path names later.
#[derive(Debug)]
pub struct Program {
    fd: OwnedFd,
}

impl Program {
    pub fn own() -> io::Result<Program> {
        let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
        Ok(Program {
            fd: open("/proc/self/exe", flags, Mode::empty())?,
        })
    }

    /// The file behind this descriptor, which closes on exec.
    pub fn of(fd: OwnedFd) -> Program {
        Program { fd }
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Starts it with `handed` as descriptors 3, 4, ….
    pub fn spawn(
        &self,
        arguments: &[CString],
        environment: &[CString],
        handed: &[BorrowedFd<'_>],
    ) -> io::Result<Pid> {
        assert_eq!(
            threads_of_self()?,
            1,
            "a process with threads must not fork"
        );
        let argv = null_terminated(arguments);
        let envp = null_terminated(environment);
        let raw: Vec<RawFd> = handed.iter().map(|fd| fd.as_raw_fd()).collect();
        let mut parked = vec![-1; raw.len()];

        // A signal between fork and exec would run our handlers in the child, whose self-pipe is
        // still ours: hold all of them back until exec has put the defaults in place.
        let mut before = SigSet::empty();
        sigprocmask(
            SigmaskHow::SIG_SETMASK,
            Some(&SigSet::all()),
            Some(&mut before),
        )?;
        // SAFETY: there is one thread (asserted above), and `become_child` makes only
        // async-signal-safe calls and never returns.
        let forked = unsafe { fork() };
        if let Ok(ForkResult::Child) = forked {
            become_child(Birth {
                program: self.fd.as_raw_fd(),
                handed: &raw,
                parked: &mut parked,
                argv: &argv,
                envp: &envp,
            });
        }
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
        match forked? {
            ForkResult::Parent { child } => Ok(child),
            ForkResult::Child => unreachable!("become_child does not return"),
        }
    }
}

/// How many threads this process has: the link count of its task directory less two.
pub fn threads_of_self() -> io::Result<u64> {
    Ok(fs::metadata("/proc/self/task")?.nlink() - 2)
}

/// A descriptor that is readable once this child is dead (pidfd_open(2)).
pub fn watch(child: i32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes numbers only.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, child, 0) };
    let fd = Errno::result(fd)? as RawFd;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Of the descriptors that this process was started with, `count` after the first `skip`; `None`
/// where one of them is not open. To be called by a child before it opens anything, once for each.
pub fn take_handed(skip: usize, count: usize) -> Option<Vec<OwnedFd>> {
    let mut taken = Vec::with_capacity(count);
    for fd in (FIRST_FD..).skip(skip).take(count) {
        // SAFETY: fcntl(2) F_GETFD on any number is harmless.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
        if flags < 0 {
            return None;
        }
        // SAFETY: fcntl(2) F_SETFD changes one flag of a descriptor that was just seen open.
        unsafe { libc::fcntl(fd, libc::F_SETFD, flags | libc::FD_CLOEXEC) };
        // SAFETY: the number is open, was put there for us by `spawn`, and nobody else in this new
        // process knows it.
        taken.push(unsafe { OwnedFd::from_raw_fd(fd) });
    }
    Some(taken)
}

pub(super) fn null_terminated(strings: &[CString]) -> Vec<*const c_char> {
    strings
        .iter()
        .map(|s| s.as_ptr())
        .chain([std::ptr::null()])
        .collect()
}

/// All a child needs, made before the fork.
struct Birth<'a> {
    program: RawFd,
    handed: &'a [RawFd],
    /// Where the descriptors wait while their final places may still be taken.
    parked: &'a mut [RawFd],
    argv: &'a [*const c_char],
    envp: &'a [*const c_char],
}

fn become_child(birth: Birth<'_>) -> ! {
    // A process group of its own: Ctrl-C at a terminal is the supervisor's to translate.
    // SAFETY: setpgid(2) touches no memory.
    unsafe { libc::setpgid(0, 0) };
    // Ambient capabilities would survive exec; workers start without any.
    // SAFETY: prctl(2) with this operation touches no memory.
    unsafe {
        libc::prctl(
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_CLEAR_ALL,
            0,
            0,
            0,
        )
    };
    // The supervisor speaks on standard output; what a plugin prints belongs beside the log.
    // SAFETY: dup2(2) touches no memory, and the parent's table is another one.
    unsafe { libc::dup2(libc::STDERR_FILENO, libc::STDOUT_FILENO) };
    let first_free = FIRST_FD + birth.handed.len() as RawFd;
    // The program's own descriptor may lie where a handed one has to go.
    // SAFETY: fcntl(2) on a descriptor that the caller borrows for the length of the call.
    let program = unsafe { libc::fcntl(birth.program, libc::F_DUPFD_CLOEXEC, first_free) };
    if program < 0 {
        give_up();
    }
    for (from, place) in birth.handed.iter().zip(birth.parked.iter_mut()) {
        // SAFETY: fcntl(2) on a descriptor that the caller borrows for the length of the call.
        *place = unsafe { libc::fcntl(*from, libc::F_DUPFD_CLOEXEC, first_free) };
        if *place < 0 {
            give_up();
        }
    }
    for (to, from) in (FIRST_FD..).zip(birth.parked.iter()) {
        // SAFETY: dup2(2) closes what lies in this process's `to`, which only the parent's copy of
        // the table still needs.
        if unsafe { libc::dup2(*from, to) } < 0 {
            give_up();
        }
    }
    // What somebody opened without close-on-exec must not leak into a worker. Before Linux 5.11 the
    // call or its flag does not exist; then only what others left open to us is passed on.
    let flag = libc::CLOSE_RANGE_CLOEXEC as i32;
    // SAFETY: close_range(2) with this flag closes nothing yet.
    unsafe { libc::syscall(libc::SYS_close_range, first_free as u32, u32::MAX, flag) };
    // One that was held back must not run the parent's handler once it is let through.
    for number in Signal::iterator() {
        // SAFETY: the default action replaces a handler of this process and runs none.
        unsafe { libc::signal(number as i32, libc::SIG_DFL) };
    }
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
    let argv = birth.argv.as_ptr();
    let envp = birth.envp.as_ptr();
    let flags = libc::AT_EMPTY_PATH;
    // SAFETY: both vectors end in null and outlive the call, which replaces the process or fails.
    unsafe { libc::syscall(libc::SYS_execveat, program, c"".as_ptr(), argv, envp, flags) };
    give_up()
}

fn give_up() -> ! {
    // SAFETY: _exit(2) runs no handlers, which is what a failed child of a fork needs.
    unsafe { libc::_exit(EXEC_FAILED) }
}
