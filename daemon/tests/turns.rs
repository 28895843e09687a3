//! What a turn of a worker costs, counted and never timed: its system calls, and its instructions.
//!
//! The worker is traced (ptrace(2)) while peers speak, without a sandbox, which would keep it from being
//! traced by whoever is not root. Nothing is changed in it. Invariant: nobody is traced any more when a
//! count is there.

mod support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use nix::libc::{self, c_long};
use nix::sys::ptrace::{self, Options};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use support::daemon::{Daemon, PATIENCE, threads_of};

const CONFIG: &str = "[daemon]\nsandbox = \"off\"\n\n\
    [services.echo]\nplugin = \"echo\"\nlisten = [\"tcp://127.0.0.1:0\"]\nworkers = 1\n\
    limits.idle = \"10m\"\n";
const REQUESTS: usize = 500;
/// Each instruction of theirs is looked at.
const STEPPED_REQUESTS: usize = 3;
const IDLE: usize = 1000;

/// What a bare event loop asks of the system for an echo, and no more than that.
const CALLS: [c_long; 3] = [libc::SYS_epoll_wait, libc::SYS_recvfrom, libc::SYS_sendto];

#[test]
fn an_echo_takes_the_calls_of_a_bare_loop_and_waits_for_no_lock() {
    let daemon = Daemon::start("turns-calls", CONFIG);
    let [worker] = daemon.worker_pids("echo")[..] else {
        panic!("one worker");
    };
    let mut peers = dial(daemon.address("echo", 0), 16);
    for together in [1, 16] {
        let rounds = REQUESTS / together;
        let requests = rounds * together;
        let calls = counted(worker, By::Calls, |nth| {
            (nth < rounds).then(|| speak(&mut peers[..together]))
        });
        let all: usize = calls.values().sum();
        // Two in a hundred are for what comes now and then: a word of the supervisor, the wait that was
        // interrupted at the beginning.
        let bound = 3 * requests + 3 * requests / 50;
        assert!(all <= bound, "{all} for {requests} requests: {calls:?}");
        assert!(calls[&CALLS[2]] >= requests, "it was looked at: {calls:?}");
        let others: usize = calls
            .iter()
            .filter(|(call, _)| !CALLS.contains(call))
            .map(|(_, count)| count)
            .sum();
        assert!(others <= requests / 50, "{calls:?}");
        assert_eq!(calls.get(&libc::SYS_futex), None, "{calls:?}");
    }
    assert_eq!(threads_of(worker), 1, "there is nobody to wait for");
    drop(peers);
    daemon.finish(&[]);
}

#[test]
fn a_turn_takes_as_many_instructions_beside_a_thousand_idle_connections_as_beside_none() {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("our own");
    setrlimit(Resource::RLIMIT_NOFILE, hard.max(soft), hard).expect("up to the hard limit");
    let daemon = Daemon::start("turns-idle", CONFIG);
    let [worker] = daemon.worker_pids("echo")[..] else {
        panic!("one worker");
    };
    let address = daemon.address("echo", 0);
    let mut busy = dial(address, 1);
    let mut taken = || {
        // What grows with the first requests has grown.
        (0..100).for_each(|_| speak(&mut busy));
        let steps = counted(worker, By::Instructions, |nth| {
            (nth < STEPPED_REQUESTS).then(|| speak(&mut busy))
        });
        steps.values().sum::<usize>() / STEPPED_REQUESTS
    };
    let alone = taken();
    let idle = dial(address, IDLE);
    let beside = taken();
    println!("{alone} instructions alone, {beside} beside {IDLE}");
    assert!(alone > 100, "it was looked at");
    // To look at each takes far more, and what is after an answer may be counted or not.
    assert!(
        beside <= alone + alone / 2,
        "{beside} instructions beside {IDLE} idle connections, {alone} alone"
    );
    drop((busy, idle));
    daemon.finish(&[]);
}

/// Connected, and answered once.
fn dial(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut peers: Vec<TcpStream> = (0..count)
        .map(|_| {
            let peer = TcpStream::connect(address).expect("it listens");
            peer.set_read_timeout(Some(PATIENCE)).expect("not zero");
            peer
        })
        .collect();
    speak(&mut peers);
    peers
}

fn speak(peers: &mut [TcpStream]) {
    for peer in &mut *peers {
        peer.write_all(&[7; 64]).expect("it is read");
    }
    for peer in peers {
        let mut answer = [0; 64];
        peer.read_exact(&mut answer).expect("it is echoed");
        assert_eq!(answer, [7; 64]);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// By their numbers.
    Calls,
    /// All as one.
    Instructions,
}

/// What this process does while `work` is called with 0, 1, 2 and so on until it has nothing more to do.
fn counted(pid: u32, by: By, mut work: impl FnMut(usize) -> Option<()>) -> BTreeMap<c_long, usize> {
    let over = Arc::new(AtomicBool::new(false));
    let (is_over, (attached, wait)) = (over.clone(), std::sync::mpsc::channel());
    let pid = Pid::from_raw(pid as i32);
    // All calls of ptrace(2) have to come from one thread.
    let tracer = std::thread::spawn(move || {
        ptrace::seize(pid, Options::PTRACE_O_TRACESYSGOOD)
            .expect("ptrace(2) of a child; it is forbidden here");
        ptrace::interrupt(pid).expect("traced");
        attached.send(()).expect("somebody waits for it");
        trace(pid, by, &is_over)
    });
    wait.recv().expect("the tracer has said why it cannot");
    let mut nth = 0;
    while work(nth).is_some() {
        nth += 1;
    }
    over.store(true, SeqCst);
    // It waits for something to do, and is let go at its next step.
    nix::sys::signal::kill(pid, Signal::SIGCONT).expect("it lives");
    tracer.join().expect("the tracer")
}

fn trace(pid: Pid, by: By, over: &AtomicBool) -> BTreeMap<c_long, usize> {
    let mut seen = BTreeMap::new();
    loop {
        let (mut signal, mut is_step) = (None, false);
        match waitpid(pid, Some(WaitPidFlag::__WALL)).expect("a traced child") {
            WaitStatus::PtraceSyscall(_) => {
                let registers = ptrace::getregs(pid).expect("it has stopped");
                // What a call answers before it is made.
                if registers.rax as i64 == -i64::from(libc::ENOSYS) {
                    *seen.entry(registers.orig_rax as c_long).or_default() += 1;
                }
            }
            WaitStatus::Stopped(_, Signal::SIGTRAP) => {
                is_step = true;
                *seen.entry(0).or_default() += 1;
            }
            WaitStatus::Stopped(_, sent) => signal = Some(sent),
            WaitStatus::PtraceEvent(..) => {}
            ended => panic!("the process ended while it was traced: {ended:?}"),
        }
        // The trap of a step that was begun would be the end of who is not traced any more.
        if over.load(SeqCst) && (is_step || by == By::Calls) {
            ptrace::detach(pid, signal).expect("it has stopped");
            return seen;
        }
        match by {
            By::Calls => ptrace::syscall(pid, signal),
            By::Instructions => ptrace::step(pid, signal),
        }
        .expect("it has stopped");
    }
}
