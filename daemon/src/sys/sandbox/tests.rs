//! Each thing given up is tried, in a child that was closed for it; the harness itself stays open.

use std::ffi::CString;

use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};

use super::*;

/// Runs `work` in a process of its own; its answer is the exit status.
pub(crate) fn in_child(work: impl FnOnce() -> i32) -> WaitStatus {
    // SAFETY: the child makes system calls and allocates, which glibc makes safe after fork; it
    // ends without running destructors or this process's exit handlers.
    match unsafe { fork() }.expect("fork") {
        ForkResult::Parent { child } => waitpid(child, None).expect("waitpid"),
        ForkResult::Child => {
            let status = work();
            // SAFETY: _exit(2) ends the child at once.
            unsafe { libc::_exit(status) }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Allowed,
    Errno(i32),
    Killed,
}

const NOT_CLOSED: i32 = 251;

fn outcome(needs: &Needs, profile: Profile, attempt: fn() -> i64) -> Outcome {
    let status = in_child(|| {
        if close(SandboxPolicy::BestEffort, needs, profile).is_err() {
            return NOT_CLOSED;
        }
        match attempt() {
            -1 => nix::errno::Errno::last_raw(),
            _ => 0,
        }
    });
    match status {
        WaitStatus::Exited(_, 0) => Outcome::Allowed,
        WaitStatus::Exited(_, errno) => Outcome::Errno(errno),
        WaitStatus::Signaled(_, Signal::SIGSYS, _) => Outcome::Killed,
        other => panic!("the child ended with {other:?}"),
    }
}

macro_rules! attempt {
    ($call:expr $(, $argument:expr)*) => {
        // SAFETY: null and numeric arguments only; the kernel checks them, and the attempt runs in
        // a child that ends right after.
        || unsafe { libc::syscall($call $(, $argument)*) }
    };
}

fn needs(change: impl FnOnce(&mut Needs)) -> Needs {
    let mut needs = Needs::default();
    change(&mut needs);
    needs
}

#[test]
fn a_closed_process_is_denied_what_it_does_not_need() {
    use Outcome::{Allowed, Errno, Killed};
    use Profile::{Probe, Worker};
    let (none, exec) = (Needs::default(), needs(|n| n.exec = true));
    let (connect, jit) = (needs(|n| n.connect = true), needs(|n| n.jit = true));
    const REFUSED: Outcome = Errno(libc::EPERM);
    const NULL: usize = 0;
    let socket = attempt!(libc::SYS_socket, libc::AF_INET, libc::SOCK_STREAM, 0);
    let map_code = attempt!(
        libc::SYS_mmap,
        NULL,
        4096,
        5,
        libc::MAP_PRIVATE | libc::MAP_ANON,
        -1,
        0
    );
    let accept = attempt!(libc::SYS_accept4, -1, NULL, NULL, 0);
    let fork = || match in_child(|| 0) {
        WaitStatus::Exited(_, 0) => 0,
        _ => -1,
    };
    type Row<'a> = (&'a str, fn() -> i64, &'a Needs, Profile, Outcome);
    let rows: &[Row<'_>] = &[
        (
            "ptrace",
            attempt!(libc::SYS_ptrace, 0, 0, 0, 0),
            &none,
            Worker,
            Killed,
        ),
        (
            "bpf",
            attempt!(libc::SYS_bpf, 0, NULL, 0),
            &none,
            Worker,
            Killed,
        ),
        (
            "mount",
            attempt!(libc::SYS_mount, NULL, NULL, NULL, 0, NULL),
            &none,
            Worker,
            Killed,
        ),
        (
            "unshare",
            attempt!(libc::SYS_unshare, libc::CLONE_NEWUSER),
            &exec,
            Worker,
            Killed,
        ),
        (
            "user namespace",
            attempt!(libc::SYS_clone, libc::CLONE_NEWUSER, 0, 0, 0, 0),
            &exec,
            Worker,
            Killed,
        ),
        (
            "io_uring",
            attempt!(libc::SYS_io_uring_setup, 1, NULL),
            &none,
            Worker,
            Killed,
        ),
        (
            "execve",
            attempt!(libc::SYS_execve, NULL, NULL, NULL),
            &none,
            Worker,
            REFUSED,
        ),
        (
            "execve",
            attempt!(libc::SYS_execve, NULL, NULL, NULL),
            &exec,
            Worker,
            Errno(libc::EFAULT),
        ),
        (
            "execve",
            attempt!(libc::SYS_execve, NULL, NULL, NULL),
            &exec,
            Probe,
            REFUSED,
        ),
        (
            "clone",
            attempt!(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0),
            &none,
            Worker,
            REFUSED,
        ),
        (
            "clone3",
            attempt!(libc::SYS_clone3, NULL, 0),
            &none,
            Worker,
            Errno(libc::ENOSYS),
        ),
        ("fork where it is needed", fork, &exec, Worker, Allowed),
        ("socket", socket, &none, Worker, REFUSED),
        ("socket", socket, &connect, Worker, Allowed),
        ("socket", socket, &connect, Probe, REFUSED),
        (
            "bind",
            attempt!(libc::SYS_bind, -1, NULL, 0),
            &connect,
            Worker,
            REFUSED,
        ),
        (
            "listen",
            attempt!(libc::SYS_listen, -1, 0),
            &connect,
            Worker,
            REFUSED,
        ),
        ("accept", accept, &none, Worker, Errno(libc::EBADF)),
        ("accept", accept, &none, Probe, REFUSED),
        (
            "kill the parent",
            attempt!(libc::SYS_kill, libc::getppid(), 0),
            &none,
            Worker,
            REFUSED,
        ),
        (
            "kill everybody",
            attempt!(libc::SYS_kill, -1, 0),
            &none,
            Worker,
            REFUSED,
        ),
        (
            "kill itself",
            attempt!(libc::SYS_kill, libc::getpid(), 0),
            &none,
            Worker,
            Allowed,
        ),
        (
            "setuid",
            attempt!(libc::SYS_setuid, libc::getuid()),
            &none,
            Worker,
            REFUSED,
        ),
        ("map code", map_code, &none, Worker, REFUSED),
        ("map code", map_code, &jit, Worker, Allowed),
        ("getpid", attempt!(libc::SYS_getpid), &none, Probe, Allowed),
    ];
    for (name, attempt, needs, profile, expected) in rows {
        assert_eq!(
            outcome(needs, *profile, *attempt),
            *expected,
            "{name} {profile:?} {needs:?}"
        );
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn the_calls_of_another_abi_are_no_way_around() {
    let x32_getpid = attempt!(0x4000_0000 + libc::SYS_getpid);
    assert_eq!(
        outcome(&Needs::default(), Profile::Worker, x32_getpid),
        Outcome::Killed
    );
}

#[test]
fn a_thread_can_still_be_made_and_a_panic_can_still_abort() {
    let status = in_child(|| {
        let closed = close(
            SandboxPolicy::BestEffort,
            &Needs::default(),
            Profile::Worker,
        );
        let thread = std::thread::Builder::new().spawn(|| 7);
        let joined = thread.map(std::thread::JoinHandle::join);
        if closed.is_err() || !matches!(joined, Ok(Ok(7))) {
            return NOT_CLOSED;
        }
        std::process::abort();
    });
    assert!(
        matches!(status, WaitStatus::Signaled(_, Signal::SIGABRT, _)),
        "{status:?}"
    );
}

fn opens(path: &Path, flags: i32) -> bool {
    let path = CString::new(path.as_os_str().as_encoded_bytes()).expect("no NUL");
    // SAFETY: a text that ends with NUL; the descriptor is left to the end of the process.
    unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC, 0o600) >= 0 }
}

#[test]
fn files_are_closed_but_for_those_needed() {
    let folder = std::env::temp_dir().join(format!("polyport-sandbox-{}", std::process::id()));
    let (read, write) = (folder.join("read"), folder.join("write"));
    std::fs::create_dir_all(&read).expect("a folder");
    std::fs::create_dir_all(&write).expect("a folder");
    std::fs::write(read.join("file"), "x").expect("a file");
    let needs = needs(|n| {
        n.files_read = vec![read.display().to_string(), "/nowhere/at/all".to_owned()];
        n.files_write = vec![write.display().to_string()];
    });
    let status = in_child(|| {
        let level = match close(SandboxPolicy::BestEffort, &needs, Profile::Worker) {
            Ok(level) => level,
            Err(_) => return NOT_CLOSED,
        };
        let create = libc::O_WRONLY | libc::O_CREAT;
        let seen = [
            opens(&read.join("file"), libc::O_RDONLY),
            opens(&write.join("new"), create),
            opens(&read.join("file"), libc::O_WRONLY),
            opens(&read.join("new"), create),
            opens(Path::new("/etc/passwd"), libc::O_RDONLY),
            opens(Path::new("/proc/self/environ"), libc::O_RDONLY),
        ];
        // On a kernel without Landlock the level must say that everything is open.
        let expected = match level.contains("no landlock") {
            true => [true; 6],
            false => [true, true, false, false, false, false],
        };
        i32::from(seen != expected)
    });
    std::fs::remove_dir_all(&folder).expect("removed");
    assert!(matches!(status, WaitStatus::Exited(_, 0)), "{status:?}");
}

#[test]
fn off_closes_nothing_and_says_so() {
    let status = in_child(|| {
        let level = close(SandboxPolicy::Off, &Needs::default(), Profile::Worker);
        // SAFETY: a new descriptor, left to the end of the process.
        let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) };
        i32::from(level.as_deref() != Ok("off") || socket < 0)
    });
    assert!(matches!(status, WaitStatus::Exited(_, 0)), "{status:?}");
}

#[test]
fn no_call_is_denied_twice_in_the_same_way() {
    for (index, rule) in RULES.iter().enumerate() {
        let same = |other: &&rules::Rule| other.call == rule.call && other.denial == rule.denial;
        assert_eq!(
            RULES[index..].iter().filter(same).count(),
            1,
            "call {}",
            rule.call
        );
    }
}
