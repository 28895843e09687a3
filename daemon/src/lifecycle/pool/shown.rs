//! What a pool shows of itself: to the log with each turn, and to whoever asks.
//!
//! Invariant: no phase is assigned without a line.

use super::{Phase, Pool, Why};
use crate::lifecycle::Moment;
use crate::lifecycle::order::{Change, Order};
use crate::lifecycle::slot::Slot;
use crate::lifecycle::view::{ServiceView, WorkerView};
use crate::plan::LogLevel;

impl Pool {
    pub(in crate::lifecycle) fn view(&self) -> ServiceView {
        ServiceView {
            service: self.service,
            name: self.name.clone(),
            state: self.state(),
            failure: self.failure(),
            paused: self.why() == Some(&Why::Paused),
            breaker: self.breaker_view(),
            generation: self.generation,
            workers: self.workers().collect(),
        }
    }

    pub(in crate::lifecycle) fn workers(&self) -> impl Iterator<Item = WorkerView> {
        self.slots.iter().chain(&self.replaced).map(Slot::view)
    }

    pub(super) fn turn(
        &mut self,
        next: Phase,
        severity: LogLevel,
        text: &str,
        moment: &mut Moment<'_>,
    ) {
        self.phase = next;
        self.tell(severity, text, moment);
    }

    pub(super) fn tell(&self, severity: LogLevel, text: &str, moment: &mut Moment<'_>) {
        moment.orders.push(Order::Log(Change {
            severity,
            name: self.name.clone(),
            worker: None,
            pid: None,
            state: self.state(),
            text: text.to_owned(),
        }));
    }
}
