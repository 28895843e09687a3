//! System calls of a running process that fail: the nth of those that can, counted from when one
//! begins to look. The process is traced (ptrace(2)); the call is not made, and answers an error.
//!
//! What is not counted: calls that cannot fail for want of something, and memory that a program asks
//! for itself, without which it may end.
//!
//! Invariant: nobody is traced any more when `end` returns.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;

use nix::errno::Errno;
use nix::libc::{self, c_long};
use nix::sys::ptrace::{self, Options};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// A call, and how it fails for want of something.
const CALLS: [(c_long, &str, Errno); 25] = [
    (libc::SYS_accept4, "accept4", Errno::EMFILE),
    (libc::SYS_bind, "bind", Errno::ENOMEM),
    (libc::SYS_chmod, "chmod", Errno::ENOSPC),
    (libc::SYS_clone, "clone", Errno::EAGAIN),
    (libc::SYS_clone3, "clone3", Errno::ENOMEM),
    (libc::SYS_dup, "dup", Errno::EMFILE),
    (libc::SYS_dup3, "dup3", Errno::EMFILE),
    (libc::SYS_fchmod, "fchmod", Errno::ENOSPC),
    (libc::SYS_fork, "fork", Errno::EAGAIN),
    (libc::SYS_fsync, "fsync", Errno::EIO),
    (libc::SYS_ftruncate, "ftruncate", Errno::ENOMEM),
    (libc::SYS_getdents64, "getdents64", Errno::ENOMEM),
    (libc::SYS_listen, "listen", Errno::ENOMEM),
    (libc::SYS_memfd_create, "memfd_create", Errno::ENFILE),
    (libc::SYS_mkdir, "mkdir", Errno::ENOSPC),
    (libc::SYS_mmap, "mmap", Errno::ENOMEM),
    (libc::SYS_openat, "openat", Errno::ENFILE),
    (libc::SYS_pipe2, "pipe2", Errno::ENFILE),
    (libc::SYS_rename, "rename", Errno::ENOSPC),
    (libc::SYS_sendmsg, "sendmsg", Errno::ENOBUFS),
    (libc::SYS_sendto, "sendto", Errno::ENOBUFS),
    (libc::SYS_socket, "socket", Errno::ENFILE),
    (libc::SYS_socketpair, "socketpair", Errno::ENFILE),
    (libc::SYS_statx, "statx", Errno::ENOMEM),
    (libc::SYS_write, "write", Errno::ENOSPC),
];

/// A process, one of whose calls is to fail.
pub(crate) struct Injection {
    over: Arc<AtomicBool>,
    tracer: JoinHandle<Option<&'static str>>,
}

impl Injection {
    /// The nth call from now on, counted from 1, once this returns.
    pub(crate) fn begin(pid: u32, nth: usize) -> Injection {
        let over = Arc::new(AtomicBool::new(false));
        let (is_over, (attached, wait)) = (over.clone(), std::sync::mpsc::channel());
        let pid = Pid::from_raw(pid as i32);
        // All calls of ptrace(2) have to come from one thread.
        let tracer = std::thread::spawn(move || {
            ptrace::seize(pid, Options::PTRACE_O_TRACESYSGOOD)
                .expect("ptrace(2) of an own child; it is forbidden here");
            ptrace::interrupt(pid).expect("traced");
            attached.send(()).expect("somebody waits for it");
            trace(pid, nth, &is_over)
        });
        wait.recv().expect("the tracer has said why it cannot");
        Injection { over, tracer }
    }

    /// The call that failed, if there were so many. The process has to do something yet, after which
    /// it is let go.
    pub(crate) fn end(self, wake: impl FnOnce()) -> Option<&'static str> {
        self.over.store(true, SeqCst);
        if !self.tracer.is_finished() {
            wake();
        }
        self.tracer.join().expect("the tracer")
    }
}

fn trace(pid: Pid, nth: usize, over: &AtomicBool) -> Option<&'static str> {
    let (mut seen, mut fails) = (0, None);
    loop {
        let mut signal = None;
        match waitpid(pid, Some(WaitPidFlag::__WALL)).expect("a traced child") {
            WaitStatus::PtraceSyscall(_) => {
                let mut registers = ptrace::getregs(pid).expect("it has stopped");
                // What a call answers before it is made.
                let begins = registers.rax as i64 == -(Errno::ENOSYS as i64);
                match fails {
                    // It becomes another program, and what follows is that one's business.
                    None if begins && is_exec(registers.orig_rax) => {
                        ptrace::detach(pid, None).expect("it has stopped");
                        return None;
                    }
                    None if begins => {
                        let call = failing(registers.orig_rax, registers.r8);
                        seen += usize::from(call.is_some());
                        if let Some(call) = call.filter(|_| seen == nth) {
                            registers.orig_rax = u64::MAX;
                            ptrace::setregs(pid, registers).expect("it has stopped");
                            fails = Some(call);
                        }
                    }
                    Some((name, error)) => {
                        registers.rax = -(error as i64) as u64;
                        ptrace::setregs(pid, registers).expect("it has stopped");
                        ptrace::detach(pid, None).expect("it has stopped");
                        return Some(name);
                    }
                    None => {}
                }
            }
            WaitStatus::Stopped(_, sent) => signal = Some(sent),
            WaitStatus::PtraceEvent(..) => {}
            ended => panic!("the process ended while it was traced: {ended:?}"),
        }
        if over.load(SeqCst) && fails.is_none() {
            ptrace::detach(pid, signal).expect("it has stopped");
            return None;
        }
        ptrace::syscall(pid, signal).expect("it has stopped");
    }
}

fn failing(number: u64, fd: u64) -> Option<(&'static str, Errno)> {
    let is_memory = number == libc::SYS_mmap as u64 && fd as i32 == -1;
    let known = CALLS.iter().find(|(call, ..)| *call as u64 == number);
    known
        .filter(|_| !is_memory)
        .map(|(_, name, error)| (*name, *error))
}

fn is_exec(number: u64) -> bool {
    [libc::SYS_execve, libc::SYS_execveat].contains(&(number as c_long))
}
