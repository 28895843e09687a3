//! The children that live: how they are started, what they say, how they end.
//!
//! It gives no child a meaning beyond its kind and decides nothing: a start, a message and a death
//! are handed on as values. A child is named by its pid, which stays its own until it is reaped here.
//!
//! Invariant: every child that was started is in the table until `reap` has returned its end.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use nix::poll::{PollFd, PollFlags};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::unsent::Unsent;
use crate::channel::{Brief, Channel, Order, Received, Report, handed};
use crate::lifecycle::{Exit, WorkerId};
use crate::scoreboard::Scoreboard;
use crate::sys::heap;
use crate::sys::reap::{self, End};
use crate::sys::shared_memory::SharedWords;
use crate::sys::spawn::Program;

/// Messages taken from one child in one turn; a flood waits behind everybody else's.
const MESSAGES_PER_TURN: usize = 8;
/// From closing its channel to being dead.
const FAREWELL_MS: u64 = 2_000;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kind {
    Check,
    /// The probe of this service.
    Probe(String),
    Hub,
    /// Of an upgrade, by the program that is to take over.
    Rehearsal,
    /// A worker and its name in logs.
    Worker {
        id: WorkerId,
        name: String,
        /// It runs nothing of the plugin.
        stand_in: bool,
    },
}

#[derive(Debug)]
pub(super) struct Child {
    pub(super) pid: i32,
    pub(super) kind: Kind,
    pub(super) scoreboard: Option<Scoreboard>,
    /// When it must have answered (check and probe), or be dead (whoever has closed its channel, or a
    /// hub that was told to end).
    pub(super) due_ms: Option<u64>,
    /// What it did against the rules of the channel, and is killed for.
    pub(super) offence: Option<String>,
    /// It has said that it serves, or what it was asked; there is no more to say.
    pub(super) has_reported: bool,
    pub(super) channel: Channel,
    pub(super) channel_open: bool,
    /// What its channel had no room for.
    pub(super) unsent: Unsent,
    /// A worker's scoreboard; what others answer in.
    pub(super) third: OwnedFd,
}

#[derive(Debug)]
pub(super) struct Children {
    program: Program,
    living: BTreeMap<i32, Child>,
    /// Where the program was when the daemon was first started.
    pub(super) path: PathBuf,
}

impl Children {
    pub(super) fn new() -> io::Result<Children> {
        Ok(Children {
            program: Program::own()?,
            living: BTreeMap::new(),
            path: path_of_program()?,
        })
    }

    /// Those that another program in this process had.
    pub(super) fn adopted(path: PathBuf, living: Vec<Child>) -> io::Result<Children> {
        Ok(Children {
            program: Program::own()?,
            living: living.into_iter().map(|child| (child.pid, child)).collect(),
            path,
        })
    }

    /// Starts a child; `listeners` become its further descriptors.
    pub(super) fn start(
        &mut self,
        kind: Kind,
        brief: &Brief,
        listeners: &[BorrowedFd<'_>],
        due_ms: Option<u64>,
    ) -> io::Result<i32> {
        self.start_as(None, kind, brief, listeners, due_ms)
    }

    /// Starts another program as a child.
    pub(super) fn start_as(
        &mut self,
        program: Option<&Program>,
        kind: Kind,
        brief: &Brief,
        listeners: &[BorrowedFd<'_>],
        due_ms: Option<u64>,
    ) -> io::Result<i32> {
        let (channel, theirs) = Channel::pair()?;
        let brief = handed::brief(brief)?;
        let is_worker = matches!(kind, Kind::Worker { .. });
        let third = if is_worker {
            SharedWords::file("polyport-scoreboard", crate::scoreboard::BYTES)?
        } else {
            handed::answer_file()?
        };
        let scoreboard = if is_worker {
            Some(map_scoreboard(&third)?)
        } else {
            None
        };
        let mut fds = vec![theirs.as_fd(), brief.as_fd(), third.as_fd()];
        fds.extend_from_slice(listeners);
        let pid = program
            .unwrap_or(&self.program)
            .spawn(&arguments(&kind), &environment(&kind), &fds)?
            .as_raw();
        let child = Child {
            pid,
            kind,
            scoreboard,
            due_ms,
            offence: None,
            has_reported: false,
            channel,
            channel_open: true,
            unsent: Unsent::default(),
            third,
        };
        self.living.insert(pid, child);
        Ok(pid)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (i32, &Child)> {
        self.living.iter().map(|(pid, child)| (*pid, child))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.living.is_empty()
    }

    pub(super) fn living(&self, pid: i32) -> Option<&Child> {
        self.living.get(&pid)
    }

    pub(super) fn kind(&self, pid: i32) -> Option<&Kind> {
        self.living.get(&pid).map(|child| &child.kind)
    }

    pub(super) fn of_worker(&self, worker: WorkerId) -> Option<(i32, &Child)> {
        self.iter()
            .find(|(_, child)| matches!(&child.kind, Kind::Worker { id, .. } if *id == worker))
    }

    pub(super) fn workers(&self) -> impl Iterator<Item = WorkerId> {
        self.iter().filter_map(|(_, child)| match child.kind {
            Kind::Worker { id, .. } => Some(id),
            Kind::Check | Kind::Probe(_) | Kind::Hub | Kind::Rehearsal => None,
        })
    }

    /// It was told to end, and is killed if it has not by then.
    pub(super) fn end_by(&mut self, pid: i32, due_ms: u64) {
        if let Some(child) = self.living.get_mut(&pid) {
            child.due_ms = Some(due_ms);
        }
    }

    /// Children that should have answered by now; each is named once.
    pub(super) fn take_overdue(&mut self, now_ms: u64) -> Vec<i32> {
        let late = self
            .living
            .iter_mut()
            .filter(|(_, c)| c.due_ms.is_some_and(|due| due <= now_ms));
        late.map(|(pid, child)| {
            child.due_ms = None;
            *pid
        })
        .collect()
    }

    /// Channels to poll and for what, with the pid each belongs to.
    pub(super) fn channels(&self) -> impl Iterator<Item = (i32, PollFd<'_>)> {
        let open = self.iter().filter(|(_, child)| child.channel_open);
        open.map(|(pid, child)| {
            let mut flags = PollFlags::POLLIN;
            flags.set(PollFlags::POLLOUT, !child.unsent.is_empty());
            (pid, PollFd::new(child.channel.as_fd(), flags))
        })
    }

    /// Sends an order, behind those for which the channel had no room. Who leaves too many of them
    /// lying is convicted.
    pub(super) fn tell(&mut self, pid: i32, order: &Order) -> io::Result<()> {
        let living = self.living.get_mut(&pid);
        // Whoever is killed is told nothing more.
        let Some(child) = living.filter(|child| child.offence.is_none()) else {
            return Ok(());
        };
        let Child {
            channel, unsent, ..
        } = child;
        match unsent.send(order, |order| channel.send(order)) {
            Err(error) if error.kind() == io::ErrorKind::QuotaExceeded => {
                tracing::error!("the process {pid} does not read its channel and is killed");
                self.convict(pid, "after it did not read its channel".to_owned());
                Ok(())
            }
            sent => sent,
        }
    }

    /// The same, with descriptors that ride along. A child that is gone is an error, and so is one that
    /// has not taken what it was told before: this must not overtake that.
    pub(super) fn tell_with(
        &self,
        pid: i32,
        order: &impl Serialize,
        fds: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        match self.living.get(&pid) {
            Some(child) if !child.unsent.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            Some(child) => child.channel.send_with(order, fds),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn kill(&self, pid: i32, signal: Signal) {
        if self.living.contains_key(&pid) {
            // Not reaped yet, so the number is still this child's; it may have died, which is fine.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    /// What a child has said, a bounded piece of it; the text of an error is for the log. It may also
    /// have made room for what is unsent.
    pub(super) fn listen(&mut self, pid: i32, now_ms: u64) -> Vec<Result<Report, String>> {
        let Some(child) = self.living.get_mut(&pid) else {
            return Vec::new();
        };
        let channel = &child.channel;
        child.unsent.flush(|order| channel.send(order));
        let mut heard = Vec::new();
        while heard.len() < MESSAGES_PER_TURN && child.channel_open {
            match child.channel.receive() {
                Received::Message(report) => heard.push(Ok(report)),
                Received::Garbled(why) => heard.push(Err(why)),
                Received::Empty => break,
                // It is about to end, and there is nothing left to poll. One that lives on without
                // a channel could not be told anything.
                Received::Closed => {
                    child.channel_open = false;
                    child.due_ms.get_or_insert(now_ms + FAREWELL_MS);
                }
            }
        }
        heard
    }

    /// A child that breaks the rules of its channel is out of order in other ways too.
    pub(super) fn convict(&mut self, pid: i32, offence: String) {
        if let Some(child) = self.living.get_mut(&pid) {
            child.offence.get_or_insert(offence);
            self.kill(pid, Signal::SIGKILL);
        }
    }

    /// True the first time.
    pub(super) fn may_report(&mut self, pid: i32) -> bool {
        let child = self.living.get_mut(&pid);
        child.is_some_and(|child| !mem::replace(&mut child.has_reported, true))
    }

    /// What the child wrote into its answer file.
    pub(super) fn answer<T: serde::de::DeserializeOwned>(&self, pid: i32) -> io::Result<T> {
        let child = self.living.get(&pid).ok_or(io::ErrorKind::NotFound)?;
        handed::read(&child.third)
    }

    /// A child that is dead and not yet reaped, if there is one: its pid is still its own, and its
    /// last words may still lie in the channel.
    pub(super) fn dead(&mut self) -> Option<i32> {
        loop {
            let pid = match reap::dead() {
                Ok(dead) => dead?,
                Err(error) => {
                    tracing::error!("waiting for children failed: {error}");
                    return None;
                }
            };
            if self.living.contains_key(&pid) {
                return Some(pid);
            }
            // A stray that a plugin left behind and that came to this process.
            let _ = reap::reap(pid);
        }
    }

    /// Reaps a dead child and takes it out of the table.
    pub(super) fn bury(&mut self, pid: i32) -> Option<(Child, Exit)> {
        let child = self.living.remove(&pid)?;
        // It was born into a process group of its own, whose number is not free before it is
        // reaped: whom its plugin left behind goes with it. Nobody being left is as it should be.
        let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        let exit = match reap::reap(pid) {
            Ok(Some(End::Code(code))) => Exit::Code(code),
            Ok(Some(End::Signal(number))) => Exit::Signal(number),
            // Nobody else reaps here; should it happen, how it ended is not known.
            Ok(None) | Err(_) => Exit::Code(-1),
        };
        Some((child, exit))
    }
}

fn map_scoreboard(file: &OwnedFd) -> io::Result<Scoreboard> {
    let scoreboard = Scoreboard::over(SharedWords::map(file)?).ok_or(io::ErrorKind::InvalidData)?;
    scoreboard.initialise();
    Ok(scoreboard)
}

/// How a child shows in `ps`: the role, and whom it serves.
fn arguments(kind: &Kind) -> Vec<CString> {
    let (role, whom) = match kind {
        Kind::Check => ("check", String::new()),
        Kind::Probe(service) => ("probe", service.clone()),
        Kind::Hub => ("hub", String::new()),
        Kind::Rehearsal => ("rehearsal", String::new()),
        Kind::Worker { name, .. } => ("worker", name.clone()),
    };
    ["polyport", handed::CHILD_VERB, role, &whom]
        .iter()
        .filter(|word| !word.is_empty())
        .map(|word| CString::new(*word).expect("names in a plan hold no NUL"))
        .collect()
}

/// Check reads the environment as a layer of configuration; nobody else needs more than two words of it.
fn environment(kind: &Kind) -> Vec<CString> {
    let wanted = |name: &str| match kind {
        Kind::Check => name.starts_with("POLYPORT_"),
        Kind::Probe(_) | Kind::Hub | Kind::Rehearsal | Kind::Worker { .. } => {
            // The second says whether standard error leads to the journal.
            name == "RUST_BACKTRACE" || name == "JOURNAL_STREAM"
        }
    };
    // Somebody else's variables may be anything but text.
    std::env::vars_os()
        .filter(|(name, _)| name.to_str().is_some_and(wanted))
        .filter_map(|(mut name, value)| {
            name.push("=");
            name.push(value);
            CString::new(name.into_vec()).ok()
        })
        .chain(matches!(kind, Kind::Worker { .. }).then(|| heap::TUNABLES.to_owned()))
        .collect()
}

/// As it was typed where that leads to the program that runs, because that is where the next one is
/// installed; else where that lies.
fn path_of_program() -> io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let Some(typed) = std::env::args_os().next().map(PathBuf::from) else {
        return Ok(own);
    };
    let folders = match typed.components().count() {
        1 => std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect(),
        _ => vec![std::env::current_dir()?],
    };
    let places = folders.into_iter().map(|folder| folder.join(&typed));
    let found = places
        .filter(|place| place.is_absolute())
        .find(|place| place.canonicalize().is_ok_and(|real| real == own));
    Ok(found.unwrap_or(own))
}
