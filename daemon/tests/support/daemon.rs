//! The real daemon under test: started on directories of its own, spoken to from outside, and held
//! to leaving nothing behind.
//!
//! Waiting is always for a stated event: a line of the log, an answer of the control socket, the end
//! of a process. Each wait is bounded and says what it waited for.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

pub use super::directory::Directory;
use super::directory::write_config;
use super::epilogue::left_over;

/// No event of a test takes longer on the slowest machine that it may run on.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A program in a daemon's directory is used instead of the one under test.
pub const OWN_PROGRAM: &str = "program";

pub struct Daemon {
    child: Child,
    directory: Arc<Directory>,
    log: Log,
    /// What it announced, as the document of `status --json`.
    pub announced: Value,
    /// Descriptors of the supervisor right after the start.
    descriptors: usize,
}

/// The binary under test, without the variables that are meant for the tests.
pub fn polyport() -> Command {
    without_variables(Path::new(env!("CARGO_BIN_EXE_polyport")))
}

fn without_variables(program: &Path) -> Command {
    let mut command = Command::new(program);
    let names = std::env::vars_os().map(|(name, _)| name);
    for name in names.filter(|name| name.as_encoded_bytes().starts_with(b"POLYPORT_")) {
        command.env_remove(name);
    }
    command
}

impl Daemon {
    /// Starts it and waits for its announcement; panics with its log if it does not come up.
    pub fn start(name: &str, config: &str) -> Daemon {
        Daemon::start_in(Arc::new(Directory::new(name)), config)
    }

    /// Starts another one where this one was.
    pub fn succeed(&self, config: &str) -> Daemon {
        Daemon::start_in(self.directory.clone(), config)
    }

    pub fn start_in(directory: Arc<Directory>, config: &str) -> Daemon {
        Daemon::spawned(command(&directory, config), directory)
    }

    /// By a command that a test has put together: `run --json`.
    pub fn spawned(mut command: Command, directory: Arc<Directory>) -> Daemon {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = spawn(&mut command);
        let log = Log::follow(child.stderr.take().expect("piped"));
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("standard output of the daemon");
        let Ok(announced) = serde_json::from_str(&line) else {
            let _ = child.kill();
            let _ = child.wait();
            panic!(
                "{}: the daemon did not announce itself:\n{}",
                directory.path().display(),
                log.text()
            );
        };
        let descriptors = descriptors_of(child.id());
        Daemon {
            child,
            directory,
            log,
            announced,
            descriptors,
        }
    }

    /// Ends it in order and starts it again where it was.
    pub fn restart(&mut self, config: &str) {
        self.signal(self.pid(), Signal::SIGTERM);
        assert_eq!(self.wait(), 0, "after SIGTERM:\n{}", self.log.text());
        *self = Daemon::start_in(self.directory.clone(), config);
    }

    /// Runs it where it should refuse to start; returns exit code and standard error.
    pub fn refuse(name: &str, config: &str) -> (i32, String) {
        Daemon::refuse_in(&Directory::new(name), config)
    }

    pub fn refuse_in(directory: &Directory, config: &str) -> (i32, String) {
        let output = run_to_end(command(directory, config));
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code().unwrap_or(-1), text)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn socket(&self) -> PathBuf {
        self.directory().join("run/control.sock")
    }

    /// Where a service listens; `nth` counts from 0.
    pub fn url(&self, service: &str, nth: usize) -> String {
        let url = self.announced["services"][service]["listen"][nth].as_str();
        let url =
            url.unwrap_or_else(|| panic!("{service} has no endpoint {nth}:\n{}", self.log.text()));
        url.to_owned()
    }

    /// Of an endpoint that listens on TCP.
    pub fn address(&self, service: &str, nth: usize) -> SocketAddr {
        let url = self.url(service, nth);
        let address = url.strip_prefix("tcp://").expect("a TCP endpoint");
        address.parse().expect("an address")
    }

    pub fn status(&self) -> Value {
        self.ask(r#"{"verb":"status"}"#)["answer"].clone()
    }

    /// Over the control socket, as an operator's verb does it; the whole reply.
    pub fn ask(&self, request: &str) -> Value {
        let mut stream = UnixStream::connect(self.socket()).expect("the control socket");
        writeln!(stream, "{request}").expect("asked");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("answered");
        serde_json::from_str(&text).expect("JSON")
    }

    /// What the next reload finds.
    pub fn write_config(&self, config: &str) {
        write_config(&self.directory, config);
    }

    /// Asks again and again until the answer is as wanted.
    pub fn wait_for(&self, what: &str, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            let status = self.status();
            if wanted(&status) {
                return status;
            }
            assert!(
                Instant::now() < until,
                "waited in vain for {what}\nstatus: {status:#}\nlog:\n{}",
                self.log.text()
            );
            super::looking::again();
        }
    }

    /// Until a line of the log, after the last one waited for, has `text` in it.
    pub fn wait_log(&self, text: &str) -> String {
        self.log.wait(text)
    }

    pub fn log(&self) -> String {
        self.log.text()
    }

    pub fn worker_pids(&self, service: &str) -> Vec<u32> {
        let status = self.status();
        let workers = status["services"][service]["workers"].as_array().cloned();
        let pids = workers.unwrap_or_default();
        pids.iter()
            .filter_map(|w| w["pid"].as_u64())
            .map(|p| p as u32)
            .collect()
    }

    pub fn signal(&self, pid: u32, signal: Signal) {
        kill(Pid::from_raw(pid as i32), signal).expect("a living process");
    }

    /// `polyport VERB… ` against this daemon.
    pub fn operate(&self, words: &[&str]) -> Output {
        let mut command = polyport();
        command
            .args(words)
            .arg("-c")
            .arg(self.directory().join("polyport.toml"));
        run_to_end(command)
    }

    /// Until the daemon has ended; its exit code.
    pub fn wait(&mut self) -> i32 {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("our child") {
                return status.code().unwrap_or(-1);
            }
            assert!(
                Instant::now() < until,
                "the daemon does not end:\n{}",
                self.log.text()
            );
            // Its log ends with it; that is the event to wait for.
            self.log.wait_for_end(Duration::from_millis(100));
        }
    }

    /// Ends it in order and checks that nothing is left: no descriptor gained over its life, no
    /// process, no error in the log but those that were expected.
    pub fn finish(mut self, expected_errors: &[String]) {
        let running = self.child.try_wait().expect("our child").is_none();
        let family = family_of(self.pid());
        if running {
            let status = self.wait_for("calm", is_calm);
            // Whoever asked last, and whatever was tried last, may be about to be let go of.
            let until = Instant::now() + PATIENCE;
            while descriptors_of(self.pid()) > self.descriptors && Instant::now() < until {
                super::looking::again();
            }
            let now = descriptors_of(self.pid());
            assert!(
                now <= self.descriptors,
                "the supervisor had {} descriptors and has {now}: {status:#}",
                self.descriptors
            );
            assert_eq!(threads_of(self.pid()), 1, "the supervisor has one thread");
            wait_reaped(self.pid());
            self.signal(self.pid(), Signal::SIGTERM);
            let code = self.wait();
            assert_eq!(
                code,
                0,
                "the daemon's exit code after SIGTERM:\n{}",
                self.log.text()
            );
        }
        for pid in family {
            wait_gone(pid);
        }
        self.log.wait_for_end(PATIENCE);
        if running {
            let left = left_over(self.directory());
            assert!(left.is_empty(), "left over: {left:#?}");
        }
        for line in self
            .log
            .text()
            .lines()
            .filter(|line| line.split(' ').nth(1) == Some("error"))
        {
            let expected = expected_errors
                .iter()
                .any(|text| line.contains(text.as_str()));
            assert!(
                expected,
                "an error in the log that nobody expected:\n{line}"
            );
        }
    }
}

/// A program that was just copied is busy as long as a child which another case has forked meanwhile
/// holds what it was written through: until its exec.
fn spawn(command: &mut Command) -> Child {
    let until = Instant::now() + PATIENCE;
    loop {
        match command.spawn() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => {
                assert!(Instant::now() < until, "the daemon's binary: {error}");
                super::looking::again();
            }
            spawned => return spawned.expect("the daemon's binary"),
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Only a test that failed comes here with a living daemon; its workers see the end of their
        // channels and go by themselves.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What starts a daemon there, for [`Daemon::spawned`].
pub fn command(directory: &Directory, config: &str) -> Command {
    let file = write_config(directory, config);
    let path = directory.path();
    let own = path.join(OWN_PROGRAM);
    let mut command = polyport();
    if own.exists() {
        command = without_variables(&own);
        command.current_dir(path);
    }
    command.args(["run", "--json", "-c"]).arg(file);
    command
}

/// With everything it prints, at most [`PATIENCE`] long.
pub fn run_to_end(mut command: Command) -> Output {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn().expect("a program to run");
    let pid = Pid::from_raw(child.id() as i32);
    let (done, ended) = std::sync::mpsc::channel::<()>();
    let guard = std::thread::spawn(move || {
        if ended.recv_timeout(PATIENCE).is_err() {
            let _ = kill(pid, Signal::SIGKILL);
        }
    });
    let output = child.wait_with_output().expect("its output");
    let _ = done.send(());
    guard.join().expect("the guard never panics");
    output
}

fn is_calm(status: &Value) -> bool {
    let services = status["services"].as_object().expect("services");
    services.values().all(|service| {
        let workers = service["workers"].as_array().expect("workers");
        !service["failure"].is_null()
            || workers
                .iter()
                .all(|worker| worker["state"] == "serving" && worker["connections"] == 0)
    })
}

fn descriptors_of(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

pub fn threads_of(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

/// Pid → (parent, state) of every process.
fn processes() -> BTreeMap<u32, (u32, char)> {
    let entries = fs::read_dir("/proc").expect("procfs");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything; what follows the last one is fixed.
        let mut rest = stat[stat.rfind(')')? + 1..].split_whitespace();
        let state = rest.next()?.chars().next()?;
        Some((pid, (rest.next()?.parse().ok()?, state)))
    })
    .collect()
}

pub fn family_of(pid: u32) -> Vec<u32> {
    let all = processes();
    all.iter()
        .filter(|(_, (parent, _))| *parent == pid)
        .map(|(child, _)| *child)
        .collect()
}

fn zombies_of(pid: u32) -> Vec<u32> {
    let all = processes();
    let dead = all
        .iter()
        .filter(|(_, (parent, state))| *parent == pid && *state == 'Z');
    dead.map(|(child, _)| *child).collect()
}

/// Until a process that was sent SIGSTOP has stopped.
pub fn wait_stopped(pid: u32) {
    let until = Instant::now() + PATIENCE;
    while processes().get(&pid).is_none_or(|(_, state)| *state != 'T') {
        assert!(Instant::now() < until, "the process {pid} does not stop");
        super::looking::again();
    }
}

/// A child that has answered may be dead for a moment before its parent looks; none stays so.
fn wait_reaped(parent: u32) {
    let until = Instant::now() + PATIENCE;
    while !zombies_of(parent).is_empty() {
        assert!(Instant::now() < until, "a child is never reaped");
        super::looking::again();
    }
}

/// Until a process computes instead of waiting for something.
pub fn wait_busy(pid: u32) {
    let until = Instant::now() + PATIENCE;
    while processes().get(&pid).is_none_or(|(_, state)| *state != 'R') {
        assert!(Instant::now() < until, "the process {pid} does nothing");
        super::looking::again();
    }
}

pub fn wait_gone(pid: u32) {
    let until = Instant::now() + PATIENCE;
    while processes()
        .get(&pid)
        .is_some_and(|(_, state)| *state != 'Z')
    {
        assert!(
            Instant::now() < until,
            "the process {pid} outlives its daemon"
        );
        super::looking::again();
    }
}

/// The daemon's standard error, kept line by line as it comes.
struct Log {
    shared: Arc<(Mutex<Lines>, Condvar)>,
}

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    /// Lines before this one were waited for already.
    read: usize,
    ended: bool,
}

impl Log {
    fn follow(stream: impl Read + Send + 'static) -> Log {
        let shared = Arc::new((Mutex::new(Lines::default()), Condvar::new()));
        let writer = shared.clone();
        std::thread::spawn(move || {
            let (lines, changed) = &*writer;
            for line in BufReader::new(stream).split(b'\n') {
                let Ok(line) = line else { break };
                let text = String::from_utf8_lossy(&line).into_owned();
                lines.lock().expect("not poisoned").lines.push(text);
                changed.notify_all();
            }
            lines.lock().expect("not poisoned").ended = true;
            changed.notify_all();
        });
        Log { shared }
    }

    fn text(&self) -> String {
        self.shared.0.lock().expect("not poisoned").lines.join("\n")
    }

    fn wait(&self, text: &str) -> String {
        let (lines, changed) = &*self.shared;
        let mut guard = lines.lock().expect("not poisoned");
        let until = Instant::now() + PATIENCE;
        loop {
            let start = guard.read;
            if let Some(at) = guard.lines[start..]
                .iter()
                .position(|line| line.contains(text))
            {
                guard.read = start + at + 1;
                return guard.lines[start + at].clone();
            }
            let left = until.saturating_duration_since(Instant::now());
            let in_vain = left.is_zero() || guard.ended;
            assert!(
                !in_vain,
                "no line with {text:?} in the log:\n{}",
                guard.lines.join("\n")
            );
            guard = changed.wait_timeout(guard, left).expect("not poisoned").0;
        }
    }

    fn wait_for_end(&self, at_most: Duration) {
        let (lines, changed) = &*self.shared;
        let guard = lines.lock().expect("not poisoned");
        let waited = changed.wait_timeout_while(guard, at_most, |lines| !lines.ended);
        drop(waited.expect("not poisoned"));
    }
}
