//! Accepting: how connections enter a worker, and when its listeners stay away.
//!
//! At the worker's share of the limit, and when descriptors run out, a listener leaves the event
//! queue; connections wait in the kernel's meanwhile. It comes back below the limit, or after a short
//! while. Nothing is decided here about a connection that was let in.

use std::os::fd::OwnedFd;

use nix::sys::epoll::EpollEvent;
use slotmap::Key;

use super::listener::Accepted;
use super::stream::Stream;
use super::turn::Worker;
use super::{Orders, Wakes};
use crate::engine::session::{Facts, Party, Protocol};
use crate::scoreboard::Counter;

/// Connections accepted from one listener in one turn.
const ACCEPTS_MAX: usize = 32;

impl<P: Protocol, W: Wakes, O: Orders> Worker<P, W, O> {
    pub(super) fn accept_waiting(&mut self) {
        for nth in 0..self.listeners.len() {
            if std::mem::take(&mut self.listeners[nth].waiting) {
                self.accept_from(nth);
            }
        }
    }

    fn accept_from(&mut self, nth: usize) {
        for _ in 0..ACCEPTS_MAX {
            let listener = &mut self.listeners[nth];
            if self.streams.len() >= self.connections_max {
                listener.leave_at_limit(&self.epoll);
                self.complaints
                    .at_limit(self.now_ms, &listener.brief, self.connections_max);
                return;
            }
            match listener.accept() {
                Accepted::Connection(socket, peer) => self.admit(nth, socket, peer),
                Accepted::Again => {}
                Accepted::Empty => return,
                Accepted::OutOfDescriptors => {
                    listener.leave_for_a_while(&self.epoll, self.now_ms);
                    self.scoreboard.add(Counter::OutOfDescriptors, 1);
                    self.complaints
                        .out_of_descriptors(self.now_ms, &listener.brief);
                    return;
                }
                Accepted::Failed(error) => {
                    listener.leave_for_a_while(&self.epoll, self.now_ms);
                    self.complaints
                        .accept_failed(self.now_ms, &listener.brief, &error);
                    return;
                }
            }
        }
    }

    fn admit(&mut self, nth: usize, socket: OwnedFd, peer: Party) {
        let listener = &self.listeners[nth];
        listener.equip(&socket, self.send_buffer_bytes);
        let facts = Facts {
            peer,
            local: listener.local_of(&socket),
            credentials: listener.credentials_of(&socket),
            accepted_ms: self.now_ms,
            endpoint: &listener.brief.endpoint,
        };
        self.scoreboard.add(Counter::Accepted, 1);
        let opened = self.streams.open(&facts, self.now_ms);
        let Ok(token) = opened else {
            tracing::debug!(%peer, "the protocol refused the connection");
            self.scoreboard.add(Counter::Refused, 1);
            self.part();
            return;
        };
        tracing::debug!(session = token.data().as_ffi(), %peer, "connection opened");
        self.scoreboard.add(Counter::Connections, 1);
        let event = EpollEvent::new(Stream::interest(), token.data().as_ffi());
        let registered = self.epoll.add(&socket, event);
        self.sockets.insert(token, Stream::new(socket));
        if registered.is_err() {
            self.streams.lost(token, self.now_ms);
        }
        self.part();
    }

    /// Listeners that left come back once there is room, or when they have been away long enough.
    pub(super) fn readmit_listeners(&mut self) {
        if self.streams.len() >= self.connections_max {
            return;
        }
        for listener in &mut self.listeners {
            let back = listener.back_ms().is_none_or(|at_ms| at_ms <= self.now_ms);
            if !listener.is_polled() && back && listener.enter(&self.epoll).is_err() {
                listener.leave_for_a_while(&self.epoll, self.now_ms);
            }
        }
    }
}
