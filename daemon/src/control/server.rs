//! The control socket's server: takes requests, bounds and times its callers, asks for answers.
//!
//! A caller is whoever the kernel says (SO_PEERCRED). It gets one request of bounded size, one
//! reply, and a few seconds for both; slow readers and half frames cost a slot until then, and there
//! are few slots. It never blocks the supervisor's loop. What a request means is decided elsewhere.
//!
//! Invariant: at most [`CALLERS_MAX`] callers ask and at most [`WAITERS_MAX`] wait for an end.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::sys::socket::{getsockopt, sockopt};

use serde::{Deserialize, Serialize};

use super::callers::{Credentials, Doors};
use super::message::{REQUEST_BYTES_MAX, Reply, Request, Role};
use crate::exit;
use crate::plan::Operators;

pub(super) const CALLERS_MAX: usize = 16;
/// Callers who wait for the daemon's end, or that of a change; they take no place from those who ask.
const WAITERS_MAX: usize = 16;
/// Of them so many may ask who are told no anyway.
const NOBODIES_MAX: usize = 4;
/// How long nobody is accepted after accepting has failed.
const AWAY_MS: u64 = 100;
/// From connecting to having taken the reply.
const PATIENCE_MS: u64 = 5_000;

#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
    callers: Vec<Caller>,
    doors: Doors,
    /// Accepting has failed; it is tried again then.
    away_until_ms: Option<u64>,
    tickets: u64,
}

#[derive(Debug)]
struct Caller {
    stream: UnixStream,
    credentials: Credentials,
    request: Vec<u8>,
    reply: Vec<u8>,
    /// What it asked for, if its outcome is to be remembered.
    audited: Option<String>,
    state: State,
    leaves_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    Asking,
    /// What was asked takes a while.
    Awaiting,
    /// The reply is being taken; then the connection closes, or is held to the daemon's end.
    Answered {
        hold: bool,
    },
    /// Kept open without a deadline: its end tells the caller that the daemon is gone.
    Held,
    Gone,
}

/// What the server does with a request it was given an answer for.
#[derive(Debug)]
pub enum Answer {
    Now(Reply),
    /// At once, and then the connection is kept until the daemon ends.
    Hold(Reply),
    /// Given later, by [`Server::reply`].
    Later,
}

impl Server {
    /// Binds under a temporary name and renames, so that the path always answers or does not exist.
    /// A stale socket is replaced; the caller holds the lock that proves it stale.
    pub fn bind(path: &Path) -> io::Result<Server> {
        let temporary = path.with_extension(format!("{}.new", std::process::id()));
        let _ = fs::remove_file(&temporary);
        let listener = UnixListener::bind(&temporary)?;
        let doors = Doors::new();
        fs::set_permissions(&temporary, fs::Permissions::from_mode(doors.mode()))?;
        fs::rename(&temporary, path)?;
        listener.set_nonblocking(true)?;
        Ok(Server {
            listener,
            path: path.to_owned(),
            callers: Vec::new(),
            doors,
            away_until_ms: None,
            tickets: 0,
        })
    }

    /// Whoever is named here may operate, from the next caller on.
    pub fn admit(&mut self, operators: &Operators) -> io::Result<()> {
        self.doors.admit(operators);
        let mode = fs::Permissions::from_mode(self.doors.mode());
        fs::set_permissions(&self.path, mode)
    }

    /// What to poll for reading, and what for writing.
    pub fn sources(&self) -> impl Iterator<Item = (BorrowedFd<'_>, Interest)> {
        let is_here = self.has_room() && self.away_until_ms.is_none();
        let own = is_here.then(|| (self.listener.as_fd(), Interest::Read));
        own.into_iter().chain(self.callers.iter().map(|caller| {
            let interest = match caller.state {
                State::Answered { .. } => Interest::Write,
                State::Asking | State::Awaiting | State::Held | State::Gone => Interest::Read,
            };
            (caller.stream.as_fd(), interest)
        }))
    }

    pub fn next_deadline_ms(&self) -> Option<u64> {
        let timed = self.callers.iter().filter(|caller| !caller.is_patient());
        let leaves = timed.map(|caller| caller.leaves_ms).min();
        leaves.into_iter().chain(self.away_until_ms).min()
    }

    /// One pass over the listener and all callers.
    pub fn turn(&mut self, now_ms: u64, mut answer: impl FnMut(&Request, Credentials) -> Answer) {
        self.accept(now_ms);
        let mut waiting = self.waiting();
        for caller in &mut self.callers {
            let waited = caller.waits();
            caller.turn(waiting < WAITERS_MAX, &mut answer);
            waiting += usize::from(!waited && caller.waits());
            if !caller.is_patient() && now_ms >= caller.leaves_ms {
                caller.state = State::Gone;
            }
        }
        self.callers.retain(|caller| caller.state != State::Gone);
    }

    /// The answer to a request that took a while. Who asked may have left.
    pub fn reply(&mut self, ticket: u64, reply: &Reply, now_ms: u64) {
        let awaits = |caller: &&mut Caller| {
            caller.credentials.ticket == ticket && caller.state == State::Awaiting
        };
        if let Some(caller) = self.callers.iter_mut().find(awaits) {
            caller.leaves_ms = now_ms + PATIENCE_MS;
            caller.take(reply, false);
            caller.write_reply(false);
        }
    }

    /// A place is free, or held by somebody who says nothing.
    fn has_room(&self) -> bool {
        let is_silent = |caller: &Caller| caller.state == State::Asking;
        self.asking() < CALLERS_MAX || self.callers.iter().any(is_silent)
    }

    /// So that silence never keeps out those who ask: they ask at once. First go those who may not.
    fn send_away_who_is_silent_longest(&mut self) {
        let silent = self
            .callers
            .iter()
            .enumerate()
            .filter(|(_, c)| c.state == State::Asking);
        let rank = |caller: &Caller| (caller.credentials.role, caller.leaves_ms);
        if let Some((longest, _)) = silent.min_by_key(|(_, caller)| rank(caller)) {
            self.callers.remove(longest);
        }
    }

    fn asking(&self) -> usize {
        self.callers.len() - self.waiting()
    }

    fn nobodies(&self) -> usize {
        let is_nobody = |caller: &&Caller| caller.credentials.role == Role::Nobody;
        self.callers.iter().filter(is_nobody).count()
    }

    fn waiting(&self) -> usize {
        self.callers.iter().filter(|caller| caller.waits()).count()
    }

    fn accept(&mut self, now_ms: u64) {
        if self.away_until_ms.is_some_and(|until| now_ms < until) {
            return;
        }
        self.away_until_ms = None;
        for _ in 0..CALLERS_MAX {
            if !self.has_room() {
                return;
            }
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // Out of descriptors, perhaps: polled on, it would be reported without end.
                Err(_) => {
                    self.away_until_ms = Some(now_ms + AWAY_MS);
                    return;
                }
            };
            let Ok(peer) = getsockopt(&stream, sockopt::PeerCredentials) else {
                continue;
            };
            if stream.set_nonblocking(true).is_err() {
                continue;
            }
            self.tickets += 1;
            let credentials = self.doors.see(&stream, peer, self.tickets);
            if credentials.role == Role::Nobody && self.nobodies() == NOBODIES_MAX {
                continue;
            }
            if self.asking() == CALLERS_MAX {
                self.send_away_who_is_silent_longest();
            }
            self.callers.push(Caller {
                stream,
                credentials,
                request: Vec::new(),
                reply: Vec::new(),
                audited: None,
                state: State::Asking,
                leaves_ms: now_ms + PATIENCE_MS,
            });
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    Read,
    Write,
}

impl Caller {
    /// For the daemon's end, or for what takes a while.
    fn waits(&self) -> bool {
        self.is_patient() || self.state == State::Answered { hold: true }
    }

    fn is_patient(&self) -> bool {
        matches!(self.state, State::Held | State::Awaiting)
    }

    fn turn(&mut self, may_wait: bool, answer: &mut impl FnMut(&Request, Credentials) -> Answer) {
        if self.state == State::Asking && self.read_request() {
            match self.respond(answer) {
                Answer::Now(reply) => self.take(&reply, false),
                Answer::Hold(reply) if may_wait => self.take(&reply, true),
                Answer::Later if may_wait => self.state = State::Awaiting,
                Answer::Hold(_) | Answer::Later => {
                    let text = "it was taken up, but too many wait for an end already";
                    self.take(&Reply::failed(exit::TIMED_OUT, text), false);
                }
            }
        }
        if let State::Answered { hold } = self.state {
            self.write_reply(hold);
        }
        if self.is_patient() && self.is_over() {
            self.state = State::Gone;
        }
    }

    fn take(&mut self, reply: &Reply, hold: bool) {
        if let Some(verb) = self.audited.take() {
            self.credentials.audit(&verb, reply);
        }
        self.reply = serde_json::to_vec(reply).expect("a reply is plain data");
        self.reply.push(b'\n');
        self.state = State::Answered { hold };
    }

    /// True once the request is complete, or can never be.
    fn read_request(&mut self) -> bool {
        let mut piece = [0; 4096];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => {
                    self.state = State::Gone;
                    return false;
                }
                Ok(n) => self.request.extend_from_slice(&piece[..n]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(_) => {
                    self.state = State::Gone;
                    return false;
                }
            }
            if self.request.contains(&b'\n') || self.request.len() > REQUEST_BYTES_MAX {
                return true;
            }
        }
    }

    fn respond(&mut self, answer: &mut impl FnMut(&Request, Credentials) -> Answer) -> Answer {
        let refuse = |code, text: String| Answer::Now(Reply::failed(code, text));
        let Some(end) = self.request.iter().position(|byte| *byte == b'\n') else {
            let text = format!("the request is longer than {REQUEST_BYTES_MAX} bytes");
            return refuse(exit::USAGE, text);
        };
        let request: Request = match serde_json::from_slice(&self.request[..end]) {
            Ok(request) => request,
            Err(error) => {
                let text = format!(
                    "this daemon does not understand the request ({error}); \
                     is the polyport command of the same version?"
                );
                return refuse(exit::USAGE, text);
            }
        };
        self.audited = request.is_audited().then(|| request.verb().to_owned());
        match self.credentials.may_ask(&request) {
            Ok(()) => answer(&request, self.credentials),
            Err(text) => refuse(exit::NOT_PERMITTED, text),
        }
    }

    fn write_reply(&mut self, hold: bool) {
        while !self.reply.is_empty() {
            match self.stream.write(&self.reply) {
                Ok(n) => drop(self.reply.drain(..n)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.state = State::Gone;
                    return;
                }
            }
        }
        self.state = if hold { State::Held } else { State::Gone };
    }

    fn is_over(&mut self) -> bool {
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(0) => true,
            Ok(_) => false,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

mod keeping;
#[cfg(test)]
mod tests;

pub use keeping::KeptServer;
