//! System calls of a server while it is under load, counted by perf(1).
//!
//! perf is attached before the load begins and is told when to count, so that what it takes to attach
//! is not counted. strace(1) would do without privileges, but slows the server down several times
//! over and so changes what is counted.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

use crate::process;
use crate::servers::Directory;

const PATIENCE_MS: u16 = 5_000;

/// Why calls cannot be counted here, if so.
pub(crate) fn unavailable() -> Option<String> {
    let probe = Command::new("perf")
        .args(["stat", "-e", "raw_syscalls:sys_enter", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match probe {
        Ok(status) if status.success() => None,
        Ok(_) => Some("perf may not trace system calls here".to_owned()),
        Err(error) => Some(format!("perf: {error}")),
    }
}

/// How many system calls the process and its descendants make while `work` runs.
pub(crate) fn during<R>(pid: u32, work: impl FnOnce() -> io::Result<R>) -> io::Result<(u64, R)> {
    let directory = Directory::new("perf")?;
    let [control, answers] = ["control", "answers"].map(|name| directory.path().join(name));
    for path in [&control, &answers] {
        mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR)?;
    }
    let counts = directory.path().join("counts");
    let mut perf = Perf(attach(pid, &control, &answers, &counts)?);
    // Both ends, so that opening never waits for perf to do its part.
    let mut control = File::options().read(true).write(true).open(control)?;
    let mut answers = File::options().read(true).write(true).open(answers)?;
    let mut tell = |word: &[u8]| {
        control.write_all(word)?;
        let mut waiting = [PollFd::new(answers.as_fd(), PollFlags::POLLIN)];
        if poll(&mut waiting, PATIENCE_MS)? == 0 {
            return Err(io::Error::other("perf does not answer"));
        }
        // "ack\n", and a zero byte behind it.
        answers.read_exact(&mut [0; 5])
    };
    tell(b"enable\n")?;
    let result = work()?;
    tell(b"disable\n")?;
    perf.end()?;
    Ok((sum(&fs::read_to_string(counts)?)?, result))
}

struct Perf(Child);

impl Perf {
    fn end(&mut self) -> io::Result<()> {
        kill(Pid::from_raw(self.0.id() as i32), Signal::SIGINT)?;
        self.0.wait().map(drop)
    }
}

impl Drop for Perf {
    fn drop(&mut self) {
        // Nothing is left to do if it has ended in order.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn attach(pid: u32, control: &Path, answers: &Path, counts: &Path) -> io::Result<Child> {
    let pids: Vec<String> = process::family(pid).iter().map(u32::to_string).collect();
    let fifos = format!("fifo:{},{}", control.display(), answers.display());
    Command::new("perf")
        .args(["stat", "-x", ",", "-e", "raw_syscalls:sys_enter"])
        // Attached, but not counting yet.
        .args(["--delay", "-1", "--control", &fifos])
        .args(["-p", &pids.join(","), "-o"])
        .arg(counts)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

fn sum(counts: &str) -> io::Result<u64> {
    let line = counts.lines().find(|line| line.contains("sys_enter"));
    let count = line.and_then(|line| line.split(',').next()?.parse().ok());
    count.ok_or_else(|| io::Error::other(format!("perf wrote {counts:?}")))
}
