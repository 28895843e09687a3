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

/// Connections accepted from one listener in one turn.
pub(super) const ACCEPTS_MAX: usize = 32;
/// After so many turns in a row in which none was missing, a listener is asked for more at once.
const FULL_TURNS: u32 = 8;

/// How many connections a listener is asked for in one turn: as many as were there when it was last found
/// empty, for asking in vain costs nearly what a connection does. What is left the event queue tells of
/// again, so nobody waits for longer than a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Portion {
    connections: usize,
    full_turns: u32,
}

impl Default for Portion {
    fn default() -> Portion {
        Portion {
            connections: ACCEPTS_MAX,
            full_turns: 0,
        }
    }
}

impl Portion {
    fn found_empty(&mut self, accepted: usize) {
        *self = Portion {
            connections: accepted.max(1),
            full_turns: 0,
        };
    }

    fn was_there(&mut self) {
        self.full_turns += 1;
        if self.full_turns == FULL_TURNS {
            self.connections = ACCEPTS_MAX.min(2 * self.connections);
            self.full_turns = 0;
        }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks for each of these numbers of waiting connections in turn; how many were asked for at once.
    fn asked_for(portion: &mut Portion, waiting: &[usize]) -> Vec<usize> {
        let turn = |waiting: &usize| {
            let asked = portion.connections;
            match *waiting < asked {
                true => portion.found_empty(*waiting),
                false => portion.was_there(),
            }
            asked
        };
        waiting.iter().map(turn).collect()
    }

    #[test]
    fn as_many_as_were_there_and_more_where_there_are_always_more() {
        let mut portion = Portion::default();
        assert_eq!(asked_for(&mut portion, &[3, 2, 0, 1]), [32, 3, 2, 1]);
        let crowd = asked_for(&mut portion, &[1000; 50]);
        let sizes: Vec<usize> = crowd.chunks(8).map(|turns| turns[0]).collect();
        assert_eq!(sizes[..6], [1, 2, 4, 8, 16, 32]);
        assert_eq!(*crowd.last().expect("there are fifty"), 32);
    }
}
