//! Sessions on their way between two workers: the giving side, the taking side, and the stream between.
//!
//! A worker gives to one other, and may take from several. Both are stages of its loop, do a bounded
//! piece of work in a turn and never wait; what is said on the stream is in `engine::handover`.
//!
//! Invariant: at every moment a session's socket is read and written by one worker at most. The word
//! *adopted* decides: it is sent before the taker touches the socket, and as long as it has not come the
//! giver keeps the session, unless the taker may have sent it to somebody who could not hear it.

mod giving;
mod line;
mod packed;
mod taking;

use std::os::fd::OwnedFd;

use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use slotmap::Key;

use super::stream::Stream;
use super::turn::Worker;
use super::{Orders, Outcome, Wakes};
use crate::engine::protocol::Protocol;
use crate::engine::session::Token;
use giving::Giving;
use line::Line;
#[cfg(test)]
pub(super) use packed::BUS_WAIT_MS;
use taking::Taking;

/// The events of the streams; above those of listeners, below those of connections.
pub(super) const GIVING: u64 = (1 << 32) - 1024;
const TAKINGS: u64 = GIVING + 1;
pub(super) const LAST: u64 = TAKINGS + TAKINGS_MAX as u64 - 1;
/// Workers that one takes from at a time; another's sessions are drained where they are.
const TAKINGS_MAX: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Handover {
    giving: Option<Box<Giving>>,
    takings: Vec<Taking>,
}

impl Handover {
    pub(super) fn note(&mut self, about: u64) {
        if about == GIVING {
            if let Some(giving) = &mut self.giving {
                giving.line.waiting = true;
            }
        } else if let Some(taking) = self.takings.iter_mut().find(|it| it.line.event == about) {
            taking.line.waiting = true;
        }
    }

    /// Something can be done without a further event.
    pub(super) fn can_go_on(&self) -> bool {
        self.giving.as_ref().is_some_and(|it| it.can_pack())
    }

    pub(super) fn next_deadline_ms(&self) -> Option<u64> {
        let giving = self.giving.iter().map(|giving| giving.next_deadline_ms());
        let takings = self.takings.iter().map(Taking::deadline_ms);
        giving.chain(takings).min()
    }
}

impl<P: Protocol, W: Wakes, O: Orders> Worker<P, W, O> {
    pub(super) fn begin_giving(&mut self, grace_ms: u64) {
        let stream = self.orders.take_descriptor();
        let (Some(stream), None, None) = (stream, &self.handover.giving, self.outcome) else {
            return self.drain(Outcome::Drained, grace_ms);
        };
        self.accept_nothing_new();
        self.part_with_bus();
        match Line::new(stream, GIVING, &self.epoll) {
            Ok(line) => {
                let todo = self.streams.givable();
                let giving = Giving::new(line, todo, self.now_ms, grace_ms);
                self.handover.giving = Some(Box::new(giving));
            }
            Err(error) => {
                tracing::error!("the stream of a handover cannot be polled: {error}");
                self.drain(Outcome::Drained, grace_ms);
            }
        }
    }

    /// For one that gives and is told to drain, giving is the shortest way out: it goes on, within the
    /// time that a drain would have had; if it is hurried, because somebody waits for its place, it has
    /// that time from each session that is adopted. False if nothing is given.
    pub(super) fn hasten_giving(&mut self, grace_ms: u64, hurried: bool) -> bool {
        let Some(giving) = &mut self.handover.giving else {
            return false;
        };
        giving.hasten(grace_ms, hurried, self.now_ms);
        true
    }

    pub(super) fn begin_taking(&mut self) {
        let Some(stream) = self.orders.take_descriptor() else {
            return;
        };
        let used = |event: &u64| {
            self.handover
                .takings
                .iter()
                .any(|it| it.line.event == *event)
        };
        let Some(event) = (TAKINGS..=LAST).find(|event| !used(event)) else {
            tracing::warn!("too many handovers at a time: one worker's sessions are not taken");
            return;
        };
        match Line::new(stream, event, &self.epoll) {
            Ok(line) => self.welcome(Taking::new(line, self.now_ms)),
            Err(error) => tracing::error!("the stream of a handover cannot be polled: {error}"),
        }
    }

    /// One piece of work for each stream.
    pub(super) fn hand_over_sessions(&mut self) {
        if let Some(giving) = self.handover.giving.take() {
            self.go_on_giving(giving);
        }
        for mut taking in std::mem::take(&mut self.handover.takings) {
            if self.go_on_taking(&mut taking) {
                self.handover.takings.push(taking);
            } else {
                taking.line.close(&self.epoll);
            }
        }
    }

    /// A socket whose session is here again. What came meanwhile is read before anything else happens
    /// to it: it may be about to be drained.
    fn poll_again(&mut self, token: Token) {
        let Some(stream) = self.sockets.get_mut(token) else {
            return;
        };
        stream.readable = true;
        let event = EpollEvent::new(Stream::interest(), token.data().as_ffi());
        self.streams.stay(token);
        if self.epoll.add(&stream.socket, event).is_err() {
            self.streams.lost(token, self.now_ms);
            self.part();
        }
        self.make_ready(token);
    }
}

fn poll(stream: &OwnedFd, event: u64, epoll: &Epoll) -> nix::Result<()> {
    epoll.add(stream, EpollEvent::new(EpollFlags::EPOLLIN, event))
}
