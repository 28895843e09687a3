//! Listeners of a sibling that nobody accepts at: they are polled here too, until they are reclaimed.
//!
//! Connections that came that way stay, whatever becomes of the listener.
//!
//! Invariant: while a worker drains it takes no listener.

use std::os::fd::OwnedFd;

use super::listener::Listener;
use super::turn::{DATAGRAM_LISTENERS, LISTENERS, Worker};
use super::{Orders, Wakes};
use crate::channel::ListenerBrief;
use crate::engine::protocol::Protocol;

impl<P: Protocol, W: Wakes, O: Orders> Worker<P, W, O> {
    pub(super) fn borrow_listener(&mut self, from: u16, brief: ListenerBrief, fd: OwnedFd) {
        if self.outcome.is_some() {
            return;
        }
        let last = self.listeners.iter().map(|listener| listener.event).max();
        let event = last.map_or(LISTENERS, |last| last + 1);
        let endpoint = brief.endpoint.clone();
        let entered = (event < DATAGRAM_LISTENERS)
            .then(|| Listener::new(fd, brief, event))
            .and_then(Result::ok)
            .and_then(|mut listener| {
                listener.lent_by = Some(from);
                listener.enter(&self.epoll).is_ok().then_some(listener)
            });
        match entered {
            Some(listener) => self.listeners.push(listener),
            None => tracing::warn!("{endpoint} cannot be polled for worker {}", from + 1),
        }
    }

    pub(super) fn give_back(&mut self, from: u16) {
        let epoll = &self.epoll;
        self.listeners.retain_mut(|listener| {
            let stays = listener.lent_by != Some(from);
            if !stays {
                listener.leave(epoll);
            }
            stays
        });
    }

    /// By its event, which stays while others come and go.
    pub(super) fn note_listener(&mut self, event: u64) {
        let nth = (event - LISTENERS) as usize;
        let is_it = |listener: &&mut Listener| listener.event == event;
        let listener = match self.listeners.get(nth).is_some_and(|it| it.event == event) {
            true => self.listeners.get_mut(nth),
            false => self.listeners.iter_mut().find(is_it),
        };
        // An event of a listener that has left is stale.
        if let Some(listener) = listener {
            listener.waiting = listener.is_polled();
        }
    }
}
