//! What the supervisor orders of a worker that serves: to drain, to let nobody in from somewhere, to
//! go by other limits.
//!
//! An order is carried out at once and not answered: what came of it shows in the scoreboard, or in
//! this process's end. Connections that are open when limits change keep the moments they have been
//! given; the next ones are by the new limits.
//!
//! Invariant: after a drain has begun no order makes the worker accept again.

use super::listener::{ACCEPTS_MAX, Portion};
use super::turn::Worker;
use super::{NextOrder, Orders, Outcome, Wakes, share_of};
use crate::channel::{Adjustment, Order};
use crate::engine::protocol::Protocol;
use crate::log;
use crate::plan::Limits;

/// Orders handled in one turn.
const ORDERS_MAX: usize = 16;
/// Connections that are still taken from one shard of an endpoint that is given up.
const LAST_ACCEPTS_MAX: usize = 4_096;

impl<P: Protocol, W: Wakes, O: Orders> Worker<P, W, O> {
    pub(super) fn obey_orders(&mut self) {
        if !std::mem::take(&mut self.orders_waiting) {
            return;
        }
        for _ in 0..ORDERS_MAX {
            match self.orders.next() {
                NextOrder::Order(order) => self.obey(order),
                NextOrder::Empty => return,
                NextOrder::Closed => {
                    let _ = self.epoll.delete(self.orders.fd());
                    self.drain(Outcome::Orphaned, self.drain_timeout_ms);
                    return;
                }
            }
        }
        self.orders_waiting = true;
    }

    fn obey(&mut self, order: Order) {
        match order {
            // It serves already.
            Order::Serve => {}
            Order::Drain {
                grace_ms,
                leaving,
                hurried,
            } => {
                self.take_what_waits(&leaving);
                if !self.hasten_giving(grace_ms, hurried) {
                    self.drain(Outcome::Drained, grace_ms);
                }
            }
            Order::Give { grace_ms, leaving } => {
                self.take_what_waits(&leaving);
                self.begin_giving(grace_ms);
            }
            Order::Take {} => self.begin_taking(),
            Order::Connections(order) => self.say_connections(&order),
            Order::LogTo {} => {
                if let Some(file) = self.orders.take_descriptor() {
                    log::write_to(file.into());
                }
            }
            Order::Ban(ban) => self.ban(&ban),
            Order::Unban { network } => self.gate.unban(network),
            Order::Lend { from, listener } => {
                if let Some(fd) = self.orders.take_descriptor() {
                    self.borrow_listener(from, *listener, fd);
                }
            }
            Order::Reclaim { from } => self.give_back(from),
            Order::Bus {} => {
                if let Some(end) = self.orders.take_descriptor() {
                    self.join_bus(end);
                }
            }
            Order::Adjust(adjustment) => self.adjust(&adjustment),
        }
    }

    pub(super) fn drain(&mut self, outcome: Outcome, grace_ms: u64) {
        self.outcome.get_or_insert(outcome);
        self.part_with_bus();
        self.accept_nothing_new();
        self.streams.drain(self.now_ms, grace_ms);
        self.drain_blocking(grace_ms);
        self.part();
    }

    pub(super) fn accept_nothing_new(&mut self) {
        for mut listener in self.listeners.drain(..) {
            listener.leave(&self.epoll);
        }
        self.datagrams.leave(&self.epoll);
    }

    /// Whoever waits at an endpoint that nobody will poll any more has been told that it is open.
    fn take_what_waits(&mut self, leaving: &[String]) {
        for nth in 0..self.listeners.len() {
            if !leaving.contains(&self.listeners[nth].brief.endpoint) {
                continue;
            }
            // It may have been quiet, and is asked for no more than few.
            self.listeners[nth].portion = Portion::default();
            for _ in 0..LAST_ACCEPTS_MAX / ACCEPTS_MAX {
                let before = self.scoreboard.read(crate::scoreboard::Counter::Accepted);
                self.accept_from(nth);
                if self.scoreboard.read(crate::scoreboard::Counter::Accepted) == before {
                    break;
                }
            }
        }
    }

    fn adjust(&mut self, adjustment: &Adjustment) {
        let Adjustment {
            limits,
            access,
            log_level,
        } = adjustment;
        log::set_level(*log_level);
        let workers = self.worker_count;
        self.connections_max = share_of(limits.connections, workers).max(1) as usize;
        let own = Limits {
            pending: share_of(limits.pending, workers),
            ..limits.clone()
        };
        self.streams.adjust(&own);
        self.blocking.adjust(&own);
        self.datagrams.adjust(limits, workers);
        self.gate.adjust(limits, access, workers, self.now_ms);
        self.banner.clone_from(&access.banner_refused);
    }
}
