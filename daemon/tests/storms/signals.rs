//! Each signal in each phase of the daemon's life, once and several times at once: it does what is
//! written of it, and nothing waits for ever.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::load::dial;
use crate::scene::{carrying, is_done, settled};
use crate::support::daemon::{Daemon, Directory, PATIENCE, family_of, polyport};

/// They end it, in whichever phase.
const ENDING: [Signal; 3] = [Signal::SIGTERM, Signal::SIGQUIT, Signal::SIGINT];
/// It serves on, in whichever phase. One is answered by a change, one by a line of the log.
const HARMLESS: [Signal; 5] = [
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGCHLD,
    Signal::SIGPIPE,
    Signal::SIGCONT,
];

#[test]
fn signals_that_arrive_while_it_starts() {
    for signal in ENDING {
        for times in [1, 3] {
            let directory = Directory::new("storm-signal-start");
            let mut starting = Starting::begin(&directory);
            starting.signal(signal, times);
            assert_eq!(starting.ends(), Some(0), "{signal}, {times} times");
        }
    }
    let directory = Directory::new("storm-signal-start");
    let mut starting = Starting::begin(&directory);
    for signal in HARMLESS {
        starting.signal(signal, 3);
    }
    let mut announced = [0];
    let output = starting.child.stdout.as_mut().expect("piped");
    assert_eq!(output.read(&mut announced).expect("readable"), 1);
    starting.signal(Signal::SIGTERM, 1);
    assert_eq!(starting.ends(), Some(0));
}

#[test]
fn signals_that_arrive_while_it_serves() {
    let daemon = Daemon::start("storm-signal-serving", &carrying(2, 0));
    let mut peer = dial(daemon.address("echo", 0), 0).expect("let in");
    let serving = daemon.worker_pids("echo");
    for signal in HARMLESS {
        for _ in 0..3 {
            daemon.signal(daemon.pid(), signal);
        }
        echoes(&mut peer);
    }
    // The same configuration, read again.
    daemon.wait_log("SIGHUP: nothing has changed");
    assert_eq!(daemon.worker_pids("echo"), serving);
    workers_become(&daemon, Signal::SIGTTIN, 3);
    workers_become(&daemon, Signal::SIGTTOU, 2);
    echoes(&mut peer);
    daemon.signal(daemon.pid(), Signal::SIGWINCH);
    daemon.wait_log("draining, as an operator asked");
    // Whoever is connected goes on until it pauses; a change is what begins the service again.
    daemon.signal(daemon.pid(), Signal::SIGHUP);
    drop(peer);
    settled(&daemon);
    let mut peer = dial(daemon.address("echo", 0), 0).expect("let in");
    echoes(&mut peer);
    drop(peer);
    daemon.finish(&[]);
}

#[test]
fn signals_that_arrive_while_it_changes() {
    let harmless = HARMLESS
        .into_iter()
        .chain([Signal::SIGTTIN, Signal::SIGTTOU]);
    let daemon = Daemon::start("storm-signal-changing", &carrying(2, 0));
    let mut peer = dial(daemon.address("echo", 0), 0).expect("let in");
    for (nth, signal) in (1..).zip(harmless) {
        daemon.write_config(&carrying(2, nth));
        daemon.signal(daemon.pid(), Signal::SIGHUP);
        for _ in 0..3 {
            daemon.signal(daemon.pid(), signal);
        }
        echoes(&mut peer);
        settled(&daemon);
    }
    // After all that waits, with as many workers as at the start.
    let reply = daemon.ask(r#"{"verb":"scale","service":"echo","workers":2}"#);
    is_done(&daemon, &reply);
    settled(&daemon);
    drop(peer);
    daemon.finish(&[]);
    for signal in ENDING {
        let mut daemon = Daemon::start("storm-signal-changing", &carrying(1, 0));
        daemon.write_config(&carrying(1, 1));
        daemon.signal(daemon.pid(), Signal::SIGHUP);
        daemon.wait_log("a change begins");
        daemon.signal(daemon.pid(), signal);
        assert_eq!(daemon.wait(), 0, "{signal}");
        daemon.finish(&["nothing was changed".to_owned()]);
    }
}

#[test]
fn signals_that_arrive_while_it_drains() {
    for signal in ENDING {
        let mut daemon = Daemon::start("storm-signal-draining", &carrying(1, 0));
        let mut peer = dial(daemon.address("echo", 0), 0).expect("let in");
        echoes(&mut peer);
        daemon.signal(daemon.pid(), Signal::SIGTERM);
        daemon.wait_log("stopping");
        for harmless in HARMLESS {
            daemon.signal(daemon.pid(), harmless);
        }
        // The second time it does not wait for its peers.
        daemon.signal(daemon.pid(), signal);
        assert_eq!(daemon.wait(), 0, "{signal}");
        daemon.finish(&[]);
    }
}

fn echoes(peer: &mut TcpStream) {
    peer.write_all(b"!").expect("it is open");
    let mut byte = [0];
    peer.read_exact(&mut byte).expect("answered");
    assert_eq!(byte, *b"!");
}

fn workers_become(daemon: &Daemon, signal: Signal, count: usize) {
    daemon.signal(daemon.pid(), signal);
    daemon.wait_for("that many workers", |status| {
        let workers = status["services"]["echo"]["workers"].as_array();
        let serving = workers
            .into_iter()
            .flatten()
            .filter(|worker| worker["state"] == "serving");
        serving.count() == count && workers.map(Vec::len) == Some(count)
    });
}

/// A daemon that has not announced itself yet.
struct Starting {
    child: Child,
}

impl Starting {
    /// Returns once it has its first child, and so its answers to signals.
    fn begin(directory: &Directory) -> Starting {
        let path = |name: &str| directory.path().join(name);
        let text = format!(
            "[daemon]\nrun_dir = {:?}\nstate_dir = {:?}\nplugin_dir = {:?}\n{}",
            path("run"),
            path("state"),
            crate::support::plugins::folder(),
            carrying(1, 0)
        );
        std::fs::write(path("polyport.toml"), text).expect("written");
        let child = polyport()
            .args(["run", "--json", "-c"])
            .arg(path("polyport.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the daemon's binary");
        let until = Instant::now() + PATIENCE;
        while family_of(child.id()).is_empty() {
            assert!(Instant::now() < until, "it starts no child");
            crate::support::looking::again();
        }
        Starting { child }
    }

    fn signal(&mut self, signal: Signal, times: usize) {
        for _ in 0..times {
            // It may have ended of the first one; until it is waited for, the number is its own.
            kill(Pid::from_raw(self.child.id() as i32), signal).expect("our child");
        }
    }

    fn ends(&mut self) -> Option<i32> {
        self.child.wait().expect("our child").code()
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        // Only a test that failed leaves it alive.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
