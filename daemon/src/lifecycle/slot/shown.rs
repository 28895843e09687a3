//! What a slot shows of itself: to the log with each turn, and to whoever asks.
//!
//! `turn` stands here for the line that every turn leaves; what it turns to is decided above.
//!
//! Invariant: no phase is assigned without a line.

use super::{MISSED_AFTER_MS, Phase, Slot};
use crate::lifecycle::Moment;
use crate::lifecycle::order::{Change, Order, State};
use crate::lifecycle::view::WorkerView;
use crate::plan::LogLevel;

impl Slot {
    pub(in crate::lifecycle) fn view(&self) -> WorkerView {
        WorkerView {
            name: self.name(),
            slot: self.worker.slot,
            generation: self.worker.generation,
            pid: self.pid,
            state: match self.phase {
                // Nobody has gone from there yet.
                Phase::Gone {
                    retry_at_ms: Some(_),
                } if !self.has_begun() => State::Starting,
                _ => self.state(),
            },
            stand_in: self.stand_in,
            restarts: self.worker.incarnation.saturating_sub(1),
            since_ms: self.since_ms,
            next_try_ms: self.retry_at_ms(),
            last_death: self.last_death.clone(),
        }
    }

    pub(super) fn turn(
        &mut self,
        next: Phase,
        severity: LogLevel,
        text: &str,
        moment: &mut Moment<'_>,
    ) {
        let before = self.state();
        let killed = matches!(
            next,
            Phase::Draining {
                kill_at_ms: None,
                ..
            }
        );
        self.missed_at_ms = killed.then(|| moment.now_ms.saturating_add(MISSED_AFTER_MS));
        self.phase = next;
        if self.state() != before {
            self.since_ms = moment.now_ms;
        }
        self.tell(severity, text.to_owned(), moment);
    }

    /// Nobody else can end it; that nobody follows it until then has a reason that is not here.
    pub(super) fn miss(&mut self, moment: &mut Moment<'_>) {
        self.missed_at_ms = None;
        let text = format!(
            "was killed {} s ago and is still there: the system gives it no time to end, or waits for \
             a device in its stead; look at the machine's load, and at /proc/PID/stack",
            MISSED_AFTER_MS / 1_000
        );
        self.tell(LogLevel::Warning, text, moment);
    }

    pub(super) fn tell(&self, severity: LogLevel, text: String, moment: &mut Moment<'_>) {
        moment.orders.push(Order::Log(Change {
            severity,
            name: self.name(),
            worker: Some(self.worker),
            pid: self.pid,
            state: self.state(),
            text,
        }));
    }

    fn name(&self) -> String {
        format!("{}/{}", self.service_name, self.worker.slot + 1)
    }
}
