//! Each thing given up is tried, in a child that was closed for it; the harness itself stays open.

use std::ffi::CString;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};

use super::*;
use std::path::Path;

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

/// Without Unix datagrams.
const WORKER: Profile = Profile::Worker {
    unix_datagrams: false,
};

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

const NULL: usize = 0;
const REFUSED: Outcome = Outcome::Errno(libc::EPERM);
const ANONYMOUS: i32 = libc::MAP_PRIVATE | libc::MAP_ANON;
const WRITTEN_CODE: i32 = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
const CODE: i32 = libc::PROT_READ | libc::PROT_EXEC;

fn opens_passwd() -> i64 {
    // SAFETY: a text that ends with NUL; the descriptor is left to the end of the process.
    i64::from(unsafe { libc::open(c"/etc/passwd".as_ptr(), libc::O_RDONLY) })
}

fn forks() -> i64 {
    match in_child(|| 0) {
        WaitStatus::Exited(_, 0) => 0,
        _ => -1,
    }
}

type Row = (&'static str, fn() -> i64, Outcome);

/// What a plugin that was taken over would try, and how each process without needs answers.
fn attempts() -> [Row; 12] {
    [
        ("setuid", attempt!(libc::SYS_setuid, 0), REFUSED),
        ("bind", attempt!(libc::SYS_bind, -1, NULL, 0), REFUSED),
        (
            "execve",
            attempt!(libc::SYS_execve, NULL, NULL, NULL),
            REFUSED,
        ),
        (
            "ptrace",
            attempt!(libc::SYS_ptrace, 0, 0, 0, 0),
            Outcome::Killed,
        ),
        (
            "kill the supervisor",
            attempt!(libc::SYS_kill, libc::getppid(), 0),
            REFUSED,
        ),
        ("open a foreign file", opens_passwd, REFUSED),
        (
            "connect out",
            attempt!(libc::SYS_connect, -1, NULL, 0),
            REFUSED,
        ),
        (
            "memory that is written and executed",
            attempt!(libc::SYS_mmap, NULL, 4096, WRITTEN_CODE, ANONYMOUS, -1, 0),
            REFUSED,
        ),
        ("raw socket", raw_socket(), REFUSED),
        ("bpf", attempt!(libc::SYS_bpf, 0, NULL, 0), Outcome::Killed),
        (
            "mount",
            attempt!(libc::SYS_mount, NULL, NULL, NULL, 0, NULL),
            Outcome::Killed,
        ),
        (
            "unshare",
            attempt!(libc::SYS_unshare, libc::CLONE_NEWUSER),
            Outcome::Killed,
        ),
    ]
}

fn raw_socket() -> fn() -> i64 {
    attempt!(libc::SYS_socket, libc::AF_INET, libc::SOCK_RAW, 1)
}

/// Reading anywhere and asking the system's services is what a check is for.
const CHECK_MAY: [(&str, Outcome); 2] = [
    ("open a foreign file", Outcome::Allowed),
    ("connect out", Outcome::Errno(libc::EBADF)),
];

#[test]
fn what_an_attacker_would_try_is_denied_in_every_closed_process() {
    let none = Needs::default();
    for profile in [WORKER, Profile::Probe, Profile::Check] {
        for (name, attempt, expected) in attempts() {
            let may = CHECK_MAY.iter().find(|(may, _)| *may == name);
            let expected = match (profile, may) {
                (Profile::Check, Some((_, outcome))) => *outcome,
                _ => expected,
            };
            let found = outcome(&none, profile, attempt);
            assert_eq!(found, expected, "{name} {profile:?}");
        }
    }
    // The hub opens its database only; whose files those are Landlock knows.
    for (name, attempt, expected) in attempts() {
        if name != "open a foreign file" {
            let found = outcome(&none, Profile::Hub, attempt);
            assert_eq!(found, expected, "{name} Hub");
        }
    }
}

#[test]
fn a_need_grants_what_it_says_to_a_worker_and_no_more() {
    use Outcome::{Allowed, Errno};
    use Profile::Probe;
    let (none, exec) = (Needs::default(), needs(|n| n.exec = true));
    let (connect, jit) = (needs(|n| n.connect = true), needs(|n| n.jit = true));
    let reads = needs(|n| n.files_read = vec!["/etc".to_owned()]);
    let writes = needs(|n| n.files_write = vec!["/nowhere".to_owned()]);
    let socket = attempt!(libc::SYS_socket, libc::AF_INET, libc::SOCK_STREAM, 0);
    let raw = raw_socket();
    let packets = attempt!(libc::SYS_socket, libc::AF_PACKET, libc::SOCK_DGRAM, 0);
    let execve = attempt!(libc::SYS_execve, NULL, NULL, NULL);
    let map_code = attempt!(libc::SYS_mmap, NULL, 4096, CODE, ANONYMOUS, -1, 0);
    let map_both = attempt!(libc::SYS_mmap, NULL, 4096, WRITTEN_CODE, ANONYMOUS, -1, 0);
    let key_code = attempt!(libc::SYS_pkey_mprotect, NULL, 0, CODE, -1);
    let accept = attempt!(libc::SYS_accept4, -1, NULL, NULL, 0);
    let create = attempt!(
        libc::SYS_openat,
        -1,
        NULL,
        libc::O_WRONLY | libc::O_CREAT,
        0
    );
    let remove = attempt!(libc::SYS_unlinkat, -1, NULL, 0);
    let fork = attempt!(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0);
    let namespace = attempt!(libc::SYS_clone, libc::CLONE_NEWUSER, 0, 0, 0, 0);
    let clone3 = attempt!(libc::SYS_clone3, NULL, 0);
    let kill_own = attempt!(libc::SYS_kill, libc::getpid(), 0);
    let kill_all = attempt!(libc::SYS_kill, -1, 0);
    let filter = attempt!(
        libc::SYS_setsockopt,
        -1,
        libc::SOL_PACKET,
        libc::PACKET_FANOUT,
        NULL,
        0
    );
    let shared = attempt!(libc::SYS_shmget, 0, 4096, 0o600);
    let unknown = attempt!(900);
    let open_to = attempt!(libc::SYS_sendto, -1, NULL, 0, libc::MSG_FASTOPEN, NULL, 0);
    let open_msg = attempt!(libc::SYS_sendmsg, -1, NULL, libc::MSG_FASTOPEN);
    let open_mmsg = attempt!(libc::SYS_sendmmsg, -1, NULL, 0, libc::MSG_FASTOPEN);
    let send_to = attempt!(libc::SYS_sendto, -1, NULL, 0, libc::MSG_NOSIGNAL, NULL, 0);
    let send_msg = attempt!(libc::SYS_sendmsg, -1, NULL, libc::MSG_NOSIGNAL);
    let send_mmsg = attempt!(libc::SYS_sendmmsg, -1, NULL, 0, libc::MSG_NOSIGNAL);
    let owner = attempt!(libc::SYS_fcntl, -1, libc::F_SETOWN, 1);
    let lease = attempt!(libc::SYS_fcntl, -1, libc::F_SETLEASE, libc::F_RDLCK);
    let flags = attempt!(libc::SYS_fcntl, -1, libc::F_GETFL);
    let pair = attempt!(
        libc::SYS_socketpair,
        libc::AF_UNIX,
        libc::SOCK_SEQPACKET,
        0,
        NULL
    );
    let datagrams = attempt!(
        libc::SYS_socketpair,
        libc::AF_UNIX,
        libc::SOCK_DGRAM,
        0,
        NULL
    );
    let no_kind = attempt!(libc::SYS_socketpair, libc::AF_UNIX, libc::SOCK_RAW, 0, NULL);
    type Granted<'a> = (&'a str, fn() -> i64, &'a Needs, Profile, Outcome);
    let rows: &[Granted<'_>] = &[
        ("execve", execve, &exec, WORKER, Errno(libc::EFAULT)),
        ("execve", execve, &exec, Probe, REFUSED),
        ("execve", execve, &exec, Profile::Hub, REFUSED),
        ("fork", fork, &none, WORKER, REFUSED),
        ("fork", forks, &exec, WORKER, Allowed),
        (
            "a user namespace",
            namespace,
            &exec,
            WORKER,
            Outcome::Killed,
        ),
        ("clone3", clone3, &none, WORKER, Errno(libc::ENOSYS)),
        ("socket", socket, &connect, WORKER, Allowed),
        ("socket", socket, &connect, Probe, REFUSED),
        ("socket", socket, &none, Profile::Hub, REFUSED),
        ("socket", socket, &connect, Profile::Hub, Allowed),
        ("raw socket", raw, &connect, WORKER, REFUSED),
        ("raw socket", raw, &connect, Profile::Hub, REFUSED),
        ("packet socket", packets, &connect, WORKER, REFUSED),
        ("accept", accept, &none, WORKER, Errno(libc::EBADF)),
        ("accept", accept, &none, Probe, REFUSED),
        ("accept", accept, &connect, Profile::Hub, REFUSED),
        ("map code", map_code, &none, WORKER, REFUSED),
        ("map code", map_code, &connect, Profile::Hub, REFUSED),
        ("map code", map_code, &exec, WORKER, Allowed),
        ("map written code", map_both, &exec, WORKER, REFUSED),
        ("map written code", map_both, &jit, WORKER, Allowed),
        ("map written code", map_both, &jit, Probe, REFUSED),
        ("code by a key", key_code, &none, WORKER, REFUSED),
        ("open", opens_passwd, &reads, WORKER, Allowed),
        ("open", opens_passwd, &reads, Probe, Allowed),
        ("create", create, &reads, WORKER, REFUSED),
        ("create", create, &writes, WORKER, Errno(libc::EFAULT)),
        ("create", create, &writes, Probe, REFUSED),
        ("remove", remove, &reads, WORKER, REFUSED),
        ("remove", remove, &writes, Profile::Hub, Errno(libc::EFAULT)),
        ("kill itself", kill_own, &none, WORKER, Allowed),
        ("kill everybody", kill_all, &none, WORKER, REFUSED),
        ("an option of packets", filter, &none, WORKER, REFUSED),
        ("memory by a key", shared, &none, WORKER, REFUSED),
        ("send", send_to, &none, WORKER, Errno(libc::EBADF)),
        ("send", send_msg, &none, WORKER, Errno(libc::EBADF)),
        ("send", send_mmsg, &none, WORKER, Errno(libc::EBADF)),
        ("connect by sending", open_to, &none, WORKER, REFUSED),
        ("connect by sending", open_msg, &none, Probe, REFUSED),
        (
            "connect by sending",
            open_mmsg,
            &none,
            Profile::Hub,
            REFUSED,
        ),
        (
            "a descriptor's flags",
            flags,
            &none,
            WORKER,
            Errno(libc::EBADF),
        ),
        ("a descriptor's owner", owner, &none, WORKER, REFUSED),
        ("a descriptor's owner", owner, &exec, WORKER, REFUSED),
        ("a lease", lease, &writes, WORKER, REFUSED),
        ("a pair", pair, &none, WORKER, Errno(libc::EFAULT)),
        ("a pair of datagrams", datagrams, &none, WORKER, REFUSED),
        ("a pair of datagrams", no_kind, &none, WORKER, REFUSED),
        ("a call of a later kernel", unknown, &none, WORKER, REFUSED),
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

#[test]
fn what_was_refused_is_told_once_and_a_failure_is_explained_by_it() {
    let status = in_child(|| {
        let none = Needs::default();
        if close(SandboxPolicy::BestEffort, &none, WORKER).is_err() {
            return NOT_CLOSED;
        }
        let quiet = explain("it failed".to_owned());
        for _ in 0..3 {
            opens_passwd();
        }
        // SAFETY: numbers only.
        unsafe { libc::setuid(0) };
        let told = explain("it failed".to_owned());
        opens_passwd();
        let again = explain("it failed".to_owned());
        let expected = "it failed\n  the sandbox has refused openat: the plugin's needs have to \
             declare files_read or files_write";
        let both = told.starts_with("it failed\n") && told.lines().count() == 3;
        let named =
            told.contains("the sandbox has refused setuid: ") && told.contains(&expected[10..]);
        i32::from(quiet != "it failed" || !both || !named || again != "it failed")
    });
    assert!(matches!(status, WaitStatus::Exited(_, 0)), "{status:?}");
}

/// Calls are let pass, in the process and in those that it starts, and are told.
#[test]
fn a_watched_process_is_refused_nothing_and_told_what_would_be() {
    let status = in_child(|| {
        let none = Needs::default();
        let level = close(SandboxPolicy::Log, &none, WORKER);
        if level.as_deref() != Ok("open, and logged") {
            return NOT_CLOSED;
        }
        let opened = opens_passwd() >= 0;
        // SAFETY: numbers only; it fails for want of a tracee, not for want of leave.
        let traced = unsafe { libc::ptrace(libc::PTRACE_CONT, 0, 0, 0) };
        let traced = traced == -1 && nix::errno::Errno::last_raw() == libc::ESRCH;
        let forked = forks() == 0;
        let told = explain(String::new());
        let all = ["openat", "ptrace", "clone"]
            .iter()
            .all(|call| told.contains(&format!("the sandbox would refuse {call}: ")));
        i32::from(!(opened && traced && forked && all))
    });
    assert!(matches!(status, WaitStatus::Exited(_, 0)), "{status:?}");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn the_calls_of_another_abi_are_no_way_around() {
    let x32_getpid = attempt!(0x4000_0000 + libc::SYS_getpid);
    let x32_sendto = attempt!(0x4000_0000 + libc::SYS_sendto, -1, NULL, 0, 0, NULL, 0);
    for call in [x32_getpid, x32_sendto] {
        assert_eq!(outcome(&Needs::default(), WORKER, call), Outcome::Killed);
    }
}

#[test]
fn a_thread_can_still_be_made_and_a_panic_can_still_abort() {
    let status = in_child(|| {
        let closed = close(SandboxPolicy::BestEffort, &Needs::default(), WORKER);
        let thread = thread::Builder::new().spawn(|| 7);
        let joined = thread.map(thread::JoinHandle::join);
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
        let level = match close(SandboxPolicy::BestEffort, &needs, WORKER) {
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

/// The peers of a service for Unix datagrams may have abstract names, and want an answer.
#[test]
fn abstract_names_are_reached_by_who_has_unix_datagrams_or_connects() {
    let address = SocketAddr::from_abstract_name(format!("polyport-{}", std::process::id()));
    let address = address.expect("a short name");
    let _outside = UnixDatagram::bind_addr(&address).expect("a new name");
    let connect = needs(|n| n.connect = true);
    for (needs, unix_datagrams, expected) in [
        (&Needs::default(), false, false),
        (&Needs::default(), true, true),
        (&connect, false, true),
    ] {
        let profile = Profile::Worker { unix_datagrams };
        let status = in_child(|| {
            let socket = UnixDatagram::unbound();
            let level = close(SandboxPolicy::BestEffort, needs, profile);
            let (Ok(socket), Ok(level)) = (socket, level) else {
                return NOT_CLOSED;
            };
            // An older kernel knows no such scope, and the level says that it lacks a part.
            let open = level.contains("no landlock") || level.contains("partly");
            let reached = socket.send_to_addr(b"x", &address).is_ok();
            i32::from(reached != (expected || open))
        });
        let ended = matches!(status, WaitStatus::Exited(_, 0));
        assert!(ended, "{profile:?} {needs:?}: {status:?}");
    }
}

#[test]
fn off_closes_nothing_and_says_so() {
    let status = in_child(|| {
        let level = close(SandboxPolicy::Off, &Needs::default(), WORKER);
        // SAFETY: a new descriptor, left to the end of the process.
        let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) };
        i32::from(level.as_deref() != Ok("off") || socket < 0)
    });
    assert!(matches!(status, WaitStatus::Exited(_, 0)), "{status:?}");
}

#[test]
fn every_line_has_a_reason_and_says_something_of_its_own() {
    for lines in [allowed::ALLOWED, rules::KILLED, rules::REFUSED] {
        for (index, line) in lines.iter().enumerate() {
            assert!(!line.why.is_empty(), "{}", line.name());
            let same = |other: &&rules::Line| other.call == line.call && other.to == line.to;
            assert_eq!(
                lines[index..].iter().filter(same).count(),
                1,
                "{}",
                line.name()
            );
        }
    }
    // What is killed or refused for whatever arguments is nowhere allowed.
    let always = |line: &&rules::Line| line.when.is_empty();
    for line in rules::KILLED.iter().chain(rules::REFUSED).filter(always) {
        let allowed = allowed::ALLOWED
            .iter()
            .find(|other| other.call == line.call);
        assert!(allowed.is_none(), "{}", line.name());
    }
}
