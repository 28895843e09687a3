//! What the system does not give: descriptors, and somebody who reads the log. Nothing waits for
//! it, nothing turns round and round, and all is as before once it is there again.
//!
//! Whether a process turns round and round is seen from how often it has gone to sleep by itself: one
//! that does never sleeps.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::scene::{Scene, good_service};
use crate::support::daemon::{Directory, PATIENCE, polyport};
use crate::support::limits::leave_descriptors;
use crate::support::plugins::smallest;

/// Waits until the process has gone to sleep so many times more.
pub(super) fn wait_asleep(pid: u32, times: u64) {
    let slept = || -> u64 {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a living process");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        let number = line.expect("a line of proc_pid_status(5)");
        number.trim().parse().expect("a number")
    };
    let (first, until) = (slept(), Instant::now() + PATIENCE);
    while slept() < first + times {
        assert!(Instant::now() < until, "the process {pid} never sleeps");
        crate::support::looking::again();
    }
}

#[test]
fn a_caller_without_a_descriptor_for_it_waits_until_there_is_one() {
    let scene = Scene::start("scarce-control", "", &smallest(), "");
    let pid = scene.daemon.pid();
    leave_descriptors(pid, 0);
    let mut caller = UnixStream::connect(scene.daemon.socket()).expect("it is queued");
    caller.set_read_timeout(Some(PATIENCE)).expect("not zero");
    caller.write_all(b"{\"verb\":\"status\"}\n").expect("sent");
    // It tries again now and then, and looks at its workers; neither is more often than that.
    wait_asleep(pid, 20);
    caller.set_nonblocking(true).expect("a socket");
    assert!(caller.read(&mut [0]).is_err(), "nobody can have answered");
    caller.set_nonblocking(false).expect("a socket");
    scene.bad().echoes("peers are served meanwhile\n");
    let raised = Command::new("prlimit")
        .args(["--pid", &pid.to_string(), "--nofile=256:"])
        .status();
    assert!(raised.expect("prlimit of util-linux").success());
    let mut answer = String::new();
    caller.read_to_string(&mut answer).expect("answered");
    assert!(answer.starts_with("{\"exit\":0,"), "{answer}");
    scene.finish(&[]);
}

#[test]
fn the_supervisor_raises_its_own_limit_of_descriptors() {
    let directory = Directory::new("scarce-limit");
    let mut daemon = Unread::start(&directory, "ulimit -S -n 64", Stdio::null());
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.child.id()));
    let limits = limits.expect("a living process");
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let fields: Vec<&str> = line.expect("it has one").split_whitespace().collect();
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("our own");
    assert_eq!(fields[3..5], [hard.to_string(), hard.to_string()]);
    daemon.stop();
}

#[test]
fn a_log_that_nobody_reads_holds_up_nobody() {
    let directory = Directory::new("scarce-log");
    let (unread, log) = std::io::pipe().expect("a pipe");
    let room = fcntl(log.as_fd(), FcntlArg::F_SETPIPE_SZ(16_384)).expect("a small pipe");
    let mut daemon = Unread::start(&directory, "true", Stdio::from(log));
    // Two lines each.
    for _ in 0..room / 20 {
        let mut peer = UnixStream::connect(directory.path().join("echo.sock")).expect("accepted");
        peer.set_read_timeout(Some(PATIENCE)).expect("not zero");
        peer.write_all(b"x").expect("sent");
        peer.read_exact(&mut [0]).expect("echoed");
    }
    let socket = directory.path().join("run/control.sock");
    let mut caller = UnixStream::connect(socket).expect("accepted");
    caller.write_all(b"{\"verb\":\"status\"}\n").expect("sent");
    let mut answer = String::new();
    caller.read_to_string(&mut answer).expect("answered");
    assert!(answer.contains("\"healthy\":true"), "{answer}");
    daemon.stop();
    let mut log = String::new();
    BufReader::new(unread)
        .read_to_string(&mut log)
        .expect("text");
    assert!(
        log.len() <= room as usize && log.contains("connection opened"),
        "{log}"
    );
}

/// A daemon whose standard error is the test's own business.
struct Unread {
    child: std::process::Child,
}

impl Unread {
    /// `before` is a command of the shell that starts it.
    fn start(directory: &Directory, before: &str, log: Stdio) -> Unread {
        let path = |name: &str| directory.path().join(name);
        let text = format!(
            "[daemon]\nrun_dir = {:?}\nstate_dir = {:?}\nlog.level = \"debug\"\n{}",
            path("run"),
            path("state"),
            good_service().replace(
                "tcp://127.0.0.1:0",
                &format!("unix:{}", path("echo.sock").display())
            )
        );
        fs::write(path("polyport.toml"), text).expect("written");
        let mut child = Command::new("sh")
            .args(["-c", &format!("{before} && exec \"$@\""), "sh"])
            .arg(polyport().get_program())
            .args(["run", "--json", "-c"])
            .arg(path("polyport.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the daemon's binary");
        let mut announced = String::new();
        BufReader::new(child.stdout.take().expect("piped"))
            .read_line(&mut announced)
            .expect("standard output of the daemon");
        assert!(announced.contains("\"healthy\":true"), "{announced}");
        Unread { child }
    }

    fn stop(&mut self) {
        let pid = Pid::from_raw(self.child.id() as i32);
        kill(pid, Signal::SIGTERM).expect("it lives");
        let status = self.child.wait().expect("our child");
        assert_eq!(status.code(), Some(0));
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        // Only a test that fails leaves it alive.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
