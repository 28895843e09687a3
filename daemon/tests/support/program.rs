//! Programs of others as peers: found where Debian puts them, spoken to over their standard input
//! and output.
//!
//! A program that is missing fails the test with the command that installs it; nothing is skipped.
//! Invariant: no program outlives its conversation, and each wait is bounded.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::daemon::PATIENCE;

/// How a conversation ends once the program has printed what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its input ended right behind the last byte; it stays until the daemon has closed.
    Daemon,
    /// Its input ends only then, and it goes by itself.
    Input,
    /// It would stay: the test ends it.
    Test,
}

pub struct Talk<'a> {
    /// What it prints before it is given any input.
    pub prompt: &'a str,
    pub input: &'a [u8],
    pub end: End,
}

/// The program of a Debian package.
pub fn program(name: &str, package: &str) -> Command {
    Command::new(find(name, package))
}

/// What administrators run lies in folders that are not on everybody's path.
fn find(name: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let others = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let mut places = std::env::split_paths(&path).chain(others);
    let found = places.find_map(|folder| Some(folder.join(name)).filter(|file| file.is_file()));
    found.unwrap_or_else(|| {
        panic!("{name} is missing; run this first:\n  sudo apt-get install -y {package}")
    })
}

/// Everything that it printed, which is `enough` unless the daemon ends the conversation.
pub fn talk(mut command: Command, talk: &Talk<'_>, enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let what = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    let guard = Guard::over(&child);
    let mut printed = Vec::new();
    read_until(&mut child, &mut printed, |printed| {
        holds(printed, talk.prompt.as_bytes())
    });
    let mut input = child.stdin.take().expect("piped");
    let bytes = talk.input.to_vec();
    // Both directions at once: an echo of more than the buffers in between would wait for ever.
    let closes = talk.end == End::Daemon;
    let writer = std::thread::spawn(move || {
        let sent = input.write_all(&bytes);
        sent.map(|()| (!closes).then_some(input))
    });
    read_until(&mut child, &mut printed, |printed| {
        !closes && enough(printed)
    });
    if talk.end == End::Test {
        let _ = child.kill();
    }
    // Dropped here, its input ends here.
    let sent = writer.join().expect("joined").map(drop);
    read_until(&mut child, &mut printed, |_| false);
    let mut errors = String::new();
    let stream = child.stderr.as_mut().expect("piped");
    let _ = stream.read_to_string(&mut errors);
    let status = child.wait().expect("our child");
    guard.end();
    assert!(
        (status.success() || talk.end == End::Test) && sent.is_ok(),
        "{what}: {status}, its input {sent:?}\n{errors}{}",
        String::from_utf8_lossy(&printed)
    );
    printed
}

pub fn holds(printed: &[u8], part: &[u8]) -> bool {
    part.is_empty() || printed.windows(part.len()).any(|window| window == part)
}

/// Or to the end of what it prints.
fn read_until(child: &mut Child, printed: &mut Vec<u8>, enough: impl Fn(&[u8]) -> bool) {
    let output = child.stdout.as_mut().expect("piped");
    let mut piece = [0; 16 * 1024];
    while !enough(printed) {
        match output.read(&mut piece) {
            // A terminal whose other side has gone says EIO.
            Ok(0) | Err(_) => return,
            Ok(n) => printed.extend_from_slice(&piece[..n]),
        }
    }
}

/// Kills a program that says nothing for too long; its output then ends, and the test fails on it.
struct Guard {
    done: std::sync::mpsc::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Guard {
    fn over(child: &Child) -> Guard {
        let pid = Pid::from_raw(child.id() as i32);
        let (done, ended) = channel();
        let thread = std::thread::spawn(move || {
            if ended.recv_timeout(PATIENCE).is_err() {
                let _ = kill(pid, Signal::SIGKILL);
            }
        });
        Guard { done, thread }
    }

    fn end(self) {
        let _ = self.done.send(());
        self.thread.join().expect("the guard never panics");
    }
}
