//! The taking side: a batch at a time is received, imported, answered, and only then polled.
//!
//! A session that is taken was let in before, so lists, hours and rates do not judge it again; a ban
//! does. It is counted here before the giver counts it out, so that a source never seems to have fewer
//! than it has.
//!
//! Invariant: nothing is read from or written to a socket before *adopted* was said, or it is sure that
//! its giver is gone.

use std::os::fd::OwnedFd;

use nix::sys::resource::{Resource, getrlimit};

use super::super::gate::Guest;
use super::super::turn::Worker;
use super::super::{Orders, Wakes};
use super::line::{Heard, Line};
use crate::engine::NotTaken;
use crate::engine::carried::Carried;
use crate::engine::handover::{Answer, Answers, Batch, Message, SILENCE_MS};
use crate::engine::protocol::Protocol;
use crate::engine::session::{Party, Token};
use crate::scoreboard::Counter;
use crate::sys::heap;

/// Descriptors that a worker needs beside those of its connections and listeners.
const FDS_RESERVED: usize = 128;

#[derive(Debug)]
pub(super) struct Taking {
    pub(super) line: Line,
    /// Imported; the giver could not be told that they are adopted.
    held: Vec<Newcomer>,
    heard_ms: u64,
}

/// A session that is not ours yet.
#[derive(Debug)]
struct Newcomer {
    token: Token,
    socket: OwnedFd,
    peer: Party,
    since_ms: u64,
    guest: Guest,
}

impl Taking {
    pub(super) fn new(line: Line, now_ms: u64) -> Taking {
        Taking {
            line,
            held: Vec::new(),
            heard_ms: now_ms,
        }
    }

    pub(super) fn deadline_ms(&self) -> u64 {
        self.heard_ms + SILENCE_MS
    }
}

impl<P: Protocol, W: Wakes, O: Orders> Worker<P, W, O> {
    /// Says how much room there is, and listens from then on.
    pub(super) fn welcome(&mut self, taking: Taking) {
        match taking.line.send(&Message::Room(self.room()), &[]) {
            Ok(()) => self.handover.takings.push(taking),
            // The giver is gone already.
            Err(_) => taking.line.close(&self.epoll),
        }
    }

    /// False when it is over.
    pub(super) fn go_on_taking(&mut self, taking: &mut Taking) -> bool {
        if !taking.line.waiting {
            let silent = taking.deadline_ms() <= self.now_ms;
            if silent {
                self.let_go(std::mem::take(&mut taking.held));
            }
            return !silent;
        }
        taking.line.waiting = false;
        match taking.line.receive() {
            Heard::Nothing => true,
            Heard::Message(Message::Batch(batch), sockets) if taking.held.is_empty() => {
                taking.heard_ms = self.now_ms;
                self.take_batch(taking, &batch, sockets)
            }
            Heard::Message(Message::Revoked, _) => {
                self.let_go(std::mem::take(&mut taking.held));
                false
            }
            // The next batch, behind one whose answer could not be heard: it was revoked as well, or
            // its giver is dead. Which, is said by what comes behind.
            Heard::Message(Message::Batch(batch), sockets) => {
                if batch.records.len() == sockets.len() {
                    let (_, newcomers) = self.import(&batch, sockets);
                    taking.held.extend(newcomers);
                }
                true
            }
            Heard::Ended => {
                // Nobody has taken them back: they are nobody else's.
                self.adopt(std::mem::take(&mut taking.held));
                false
            }
            Heard::Message(..) => self.wrong(taking, "a message out of place"),
            Heard::Wrong(what) => self.wrong(taking, &what),
        }
    }

    fn take_batch(&mut self, taking: &mut Taking, batch: &Batch, sockets: Vec<OwnedFd>) -> bool {
        if batch.records.len() != sockets.len() {
            return self.wrong(taking, "there are not as many sockets as sessions");
        }
        let (answers, newcomers) = self.import(batch, sockets);
        // What they ask of the bus is on its way before the worker that had them may end.
        self.flush_bus();
        let answers = Message::Answers(Answers {
            number: batch.number,
            room: self.room(),
            answers,
        });
        match taking.line.send(&answers, &[]) {
            Ok(()) => self.adopt(newcomers),
            Err(_) => taking.held = newcomers,
        }
        heap::give_back();
        true
    }

    fn wrong(&mut self, taking: &mut Taking, what: &str) -> bool {
        self.scoreboard.add(Counter::CarryBroken, 1);
        tracing::error!("a handover from another worker is given up: {what}");
        self.let_go(std::mem::take(&mut taking.held));
        false
    }

    fn import(&mut self, batch: &Batch, sockets: Vec<OwnedFd>) -> (Vec<Answer>, Vec<Newcomer>) {
        let mut answers = Vec::new();
        let mut newcomers = Vec::new();
        for (record, socket) in batch.records.iter().zip(sockets) {
            let answer = match self.import_one(record, socket) {
                Ok(newcomer) => {
                    newcomers.push(newcomer);
                    Answer::Adopted
                }
                Err(NotTaken::Unfit) => Answer::NotTaken,
                Err(NotTaken::Refused(reason)) => {
                    self.scoreboard.add(Counter::CarryRefused, 1);
                    self.complaints.carry_refused(self.now_ms, &reason);
                    Answer::Refused
                }
            };
            answers.push(answer);
        }
        self.part();
        (answers, newcomers)
    }

    fn import_one(&mut self, record: &[u8], socket: OwnedFd) -> Result<Newcomer, NotTaken> {
        if self.room() == 0 {
            return Err(NotTaken::Unfit);
        }
        // From a release that knows more of a session, perhaps: it can go on there.
        let carried = Carried::read(record).map_err(|_| NotTaken::Unfit)?;
        let peer = carried.facts.peer;
        if self.gate.check_ban(peer, self.now_ms).is_err() {
            return Err(NotTaken::Refused("its source is banned".to_owned()));
        }
        let token = self.streams.take(&carried, self.now_ms)?;
        Ok(Newcomer {
            token,
            socket,
            peer,
            since_ms: self.now_ms.saturating_sub(carried.facts.age_ms),
            guest: self.gate.count_in(peer),
        })
    }

    /// They are ours.
    fn adopt(&mut self, newcomers: Vec<Newcomer>) {
        for newcomer in newcomers {
            let token = newcomer.token;
            if !self.streams.is_open(token) {
                // It ended before it could begin here.
                self.gate.turn_back(newcomer.guest);
                continue;
            }
            self.scoreboard.add(Counter::CarriedIn, 1);
            self.note_uncounted(newcomer.guest);
            self.gate.enter(token, newcomer.guest);
            self.keep(token, newcomer.socket, newcomer.peer);
            if let Some(stream) = self.sockets.get_mut(token) {
                stream.since_ms = newcomer.since_ms;
            }
            self.streams.stay(token);
            self.give_too(token);
        }
    }

    /// They are somebody else's after all.
    fn let_go(&mut self, newcomers: Vec<Newcomer>) {
        for newcomer in newcomers {
            self.gate.turn_back(newcomer.guest);
            self.streams.given(newcomer.token, self.now_ms);
        }
        self.part();
    }

    /// Sessions that can be taken.
    fn room(&self) -> u32 {
        if self.outcome.is_some() {
            return 0;
        }
        let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((0, 0));
        let fds_max = usize::try_from(soft).unwrap_or(usize::MAX);
        let count = self.connection_count();
        let by_fds = fds_max.saturating_sub(count + self.listeners.len() + FDS_RESERVED);
        let room = self.connections_max.saturating_sub(count).min(by_fds);
        u32::try_from(room).unwrap_or(u32::MAX)
    }
}
