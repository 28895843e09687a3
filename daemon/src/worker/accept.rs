//! Accepting: how connections enter a worker, and when its listeners stay away.
//!
//! At the worker's share of the limit a listener leaves the event queue; connections wait in the
//! kernel's meanwhile, and it comes back below the limit. When descriptors run out, connections are
//! taken with the one held back and closed at once; only if that fails the listener stays away for a
//! short while. Nothing is decided here about a connection that was accepted.

use super::listener::Accepted;
use super::turn::Worker;
use super::{Orders, Wakes};
use crate::engine::protocol::Protocol;
use crate::scoreboard::Counter;

impl<P: Protocol, W: Wakes, O: Orders> Worker<P, W, O> {
    pub(super) fn accept_waiting(&mut self) {
        for nth in 0..self.listeners.len() {
            if std::mem::take(&mut self.listeners[nth].waiting) {
                self.accept_from(nth);
            }
        }
    }

    pub(super) fn accept_from(&mut self, nth: usize) {
        for accepted in 0..self.listeners[nth].portion.connections {
            let at_limit = self.connection_count() >= self.connections_max;
            let listener = &mut self.listeners[nth];
            if at_limit {
                listener.leave_at_limit(&self.epoll);
                self.scoreboard.add(Counter::HeldConnections, 1);
                self.complaints
                    .at_limit(self.now_ms, &listener.brief, self.connections_max);
                return;
            }
            match listener.accept() {
                Accepted::Connection(socket, peer) => self.admit(nth, socket, peer),
                Accepted::Again => {}
                Accepted::Empty => return listener.portion.found_empty(accepted),
                Accepted::OutOfDescriptors => {
                    self.scoreboard.add(Counter::OutOfDescriptors, 1);
                    self.complaints
                        .out_of_descriptors(self.now_ms, &listener.brief);
                    if !self.refuse_with_reserve(nth) {
                        self.listeners[nth].leave_for_a_while(&self.epoll, self.now_ms);
                        return;
                    }
                }
                Accepted::Failed(error) => {
                    listener.leave_for_a_while(&self.epoll, self.now_ms);
                    self.complaints
                        .accept_failed(self.now_ms, &listener.brief, &error);
                    return;
                }
            }
        }
        self.listeners[nth].portion.was_there();
    }

    /// Without a descriptor for it: takes the next connection with the one held back, and closes
    /// it. False if even that is not to be had.
    fn refuse_with_reserve(&mut self, nth: usize) -> bool {
        if !self.reserve.release() {
            self.reserve.refill(&self.epoll.0);
            return false;
        }
        let accepted = self.listeners[nth].accept();
        let refused = matches!(accepted, Accepted::Connection(..));
        drop(accepted);
        self.reserve.refill(&self.epoll.0);
        if refused {
            let counters = [
                Counter::Accepted,
                Counter::Refused,
                Counter::RefusedDescriptors,
            ];
            for counter in counters {
                self.scoreboard.add(counter, 1);
            }
        }
        refused
    }

    /// Of the event loop and of threads.
    pub(super) fn connection_count(&self) -> usize {
        self.streams.len() + self.blocking.len()
    }

    /// Listeners that left come back once there is room, or when they have been away long enough.
    pub(super) fn readmit_listeners(&mut self) {
        if self.connection_count() >= self.connections_max {
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
