//! Who takes the log's events: standard error, a file, the syslog daemon, the journal.
//!
//! All of them are one open file that takes one write an event and never waits; what differs is how
//! the event reads. Workers cannot open anything any more when they serve, so whoever can opens it
//! anew and hands it over.
//!
//! Where standard error leads to the journal, the journal's own protocol is spoken, which keeps the
//! severity and the fields; lines on standard error are what is left if that does not work.
//!
//! Invariant: a line that was cut short by a full disk does not swallow the one after it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{PoisonError, RwLock};

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::line::Entry;
use crate::plan::{Facility, LogFormat, LogPlan, LogTarget};

/// Where a syslog daemon listens (syslog(3)).
const SYSLOG: &str = "/dev/log";
/// Where the journal listens for its native protocol.
const JOURNAL: &str = "/run/systemd/journal/socket";

/// What takes the log of this plan, opened; none for standard error as it is. The text of an error
/// names the key.
pub fn open(plan: &LogPlan) -> io::Result<Option<File>> {
    let way = Way::of(plan);
    let (place, opened) = match (&plan.target, way) {
        (LogTarget::File(path), _) => (path.as_path(), append(path)),
        (_, Way::Syslog(_)) => (Path::new(SYSLOG), connect(SYSLOG)),
        (_, Way::Journal) => (Path::new(JOURNAL), connect(JOURNAL)),
        (_, Way::Lines) => return Ok(None),
    };
    opened.map(Some).map_err(|error| {
        let place = place.display();
        let problem = match &plan.target {
            LogTarget::File(_) => format!("daemon.log.file: cannot open {place}: {error}"),
            LogTarget::Stderr | LogTarget::Syslog | LogTarget::Journal => format!(
                "daemon.log.target: nobody takes the log at {place}: {error}; start what listens \
                 there, or choose another target"
            ),
        };
        io::Error::new(error.kind(), problem)
    })
}

fn append(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // A named pipe without a reader must not be waited for, now or later.
    options.custom_flags(libc::O_NONBLOCK);
    options.append(true).create(true).mode(0o640).open(path)
}

fn connect(path: &str) -> io::Result<File> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    socket.set_nonblocking(true)?;
    Ok(OwnedFd::from(socket).into())
}

/// How an event is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Lines,
    Syslog(Facility),
    Journal,
}

impl Way {
    fn of(plan: &LogPlan) -> Way {
        match plan.target {
            LogTarget::File(_) => Way::Lines,
            LogTarget::Syslog => Way::Syslog(plan.facility),
            LogTarget::Journal => Way::Journal,
            // Whoever wants lines of JSON there gets them.
            LogTarget::Stderr if plan.format == LogFormat::Text && stderr_is_the_journal() => {
                Way::Journal
            }
            LogTarget::Stderr => Way::Lines,
        }
    }
}

/// As the service manager says it: device and inode of what it has connected (systemd.exec(5)).
fn stderr_is_the_journal() -> bool {
    let Ok(said) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    let found = nix::sys::stat::fstat(io::stderr());
    found.is_ok_and(|found| said == format!("{}:{}", found.st_dev, found.st_ino))
}

#[derive(Debug)]
pub(super) struct Outlet {
    way: Way,
    format: LogFormat,
    /// Standard error is where the log was to go anyway.
    on_stderr: bool,
    opened: RwLock<Option<File>>,
    /// The last line of the file has no end.
    torn: AtomicBool,
}

impl Outlet {
    pub(super) fn new(plan: &LogPlan, opened: Option<File>) -> Outlet {
        Outlet {
            way: Way::of(plan),
            format: plan.format,
            on_stderr: plan.target == LogTarget::Stderr,
            opened: RwLock::new(opened),
            torn: AtomicBool::new(false),
        }
    }

    pub(super) fn replace(&self, opened: File) {
        *self.opened.write().unwrap_or_else(PoisonError::into_inner) = Some(opened);
    }

    /// False if the event is not where it was to go.
    pub(super) fn take(&self, entry: &Entry<'_>, time: &str) -> bool {
        if self.to_opened(entry, time) {
            return true;
        }
        let written = to_stderr(&self.line(entry, time));
        written && self.on_stderr
    }

    fn to_opened(&self, entry: &Entry<'_>, time: &str) -> bool {
        let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = &*opened else {
            return false;
        };
        match self.way {
            Way::Lines => self.to_file(file, self.line(entry, time)),
            Way::Syslog(facility) => {
                let json = self.format == LogFormat::Json;
                send(file, &entry.syslog(facility, std::process::id(), json))
            }
            Way::Journal => send(file, &entry.journal()),
        }
    }

    fn line(&self, entry: &Entry<'_>, time: &str) -> String {
        match self.format {
            LogFormat::Text => entry.text(time),
            LogFormat::Json => entry.json(time),
        }
    }

    fn to_file(&self, mut file: &File, mut line: String) -> bool {
        if self.torn.load(Relaxed) {
            line.insert(0, '\n');
        }
        let count = file.write(line.as_bytes()).unwrap_or(0);
        let whole = count == line.len();
        if count > 0 {
            self.torn.store(!whole, Relaxed);
        }
        whole
    }
}

/// A datagram is taken whole or not at all.
fn send(mut file: &File, text: &str) -> bool {
    file.write(text.as_bytes()).is_ok()
}

/// Whoever reads standard error may have stopped reading. A pipe that is ready takes this much
/// without waiting (pipe(7)); what it does not take is lost.
fn to_stderr(line: &str) -> bool {
    const PIPE_BUF: usize = 4096;
    for piece in line.as_bytes().chunks(PIPE_BUF) {
        let mut stderr = io::stderr();
        let mut fds = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
        if poll(&mut fds, PollTimeout::ZERO) != Ok(1) || stderr.write_all(piece).is_err() {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests;
