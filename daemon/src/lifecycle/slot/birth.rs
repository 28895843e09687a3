//! How a slot gets its worker: it waits for its turn, the worker is ordered, and the answer comes.
//!
//! When its turn has come is the pool's decision. One that waits for it has no process, so nothing is
//! left to end when nobody wants it any more.
//!
//! Invariant: a slot orders a spawn only while `Gone`.

use super::{Phase, READY_WITHIN_MS, Slot};
use crate::lifecycle::Moment;
use crate::lifecycle::ending::{Death, End};
use crate::lifecycle::event::WorkerId;
use crate::lifecycle::order::{Order, Signal, State};
use crate::plan::LogLevel;

impl Slot {
    /// One that waits for its first worker.
    pub(in crate::lifecycle) fn due(service_name: String, nobody: WorkerId, now_ms: u64) -> Slot {
        Slot {
            phase: Phase::Gone {
                retry_at_ms: Some(now_ms),
            },
            ..Slot::new(service_name, nobody, now_ms)
        }
    }

    /// The first worker, or the next one.
    pub(in crate::lifecycle) fn spawn(
        &mut self,
        parked: bool,
        stand_in: bool,
        moment: &mut Moment<'_>,
    ) {
        debug_assert!(self.is_gone(), "a slot holds one process at a time");
        self.worker.incarnation += 1;
        self.ready_at_ms = None;
        self.hurried = None;
        self.parked = parked;
        if self.stand_in != stand_in {
            // Of this kind none has failed yet.
            self.failures = 0;
        }
        self.stand_in = stand_in;
        self.stopped = false;
        moment.orders.push(Order::Spawn {
            worker: self.worker,
            parked,
            stand_in,
        });
        let ready_by_ms = moment.now_ms.saturating_add(READY_WITHIN_MS);
        self.turn(
            Phase::Starting { ready_by_ms },
            LogLevel::Debug,
            "starting",
            moment,
        );
    }

    /// What the place of a worker of one kind becomes when another kind is to have it.
    pub(in crate::lifecycle) fn heir(&self, now_ms: u64) -> Slot {
        Slot {
            was_ready: self.was_ready,
            last_death: self.last_death.clone(),
            ..Slot::due(self.service_name.clone(), self.worker, now_ms)
        }
    }

    pub(in crate::lifecycle) fn spawned(&mut self, pid: u32, moment: &mut Moment<'_>) {
        match &mut self.phase {
            Phase::Starting { ready_by_ms } => {
                *ready_by_ms = moment.now_ms.saturating_add(READY_WITHIN_MS);
                self.pid = Some(pid);
            }
            Phase::Serving { .. } => self.pid = Some(pid),
            Phase::Draining { kill_at_ms, .. } => {
                self.pid = Some(pid);
                // It was given up before it had a process to receive the signal.
                if kill_at_ms.is_none() {
                    self.kill(Signal::Kill, moment);
                }
            }
            Phase::Gone { .. } => {}
        }
    }

    pub(in crate::lifecycle) fn not_spawned(&self, error: String) -> End {
        match &self.phase {
            // Also when it was given up while the answer took long.
            Phase::Starting { .. } | Phase::Draining { fault: Some(_), .. } => End::Died(Death {
                text: format!("could not be started: {error}"),
                at_start: false,
                innocent: false,
                cause: None,
            }),
            Phase::Draining { fault: None, .. } => End::Told,
            // It runs, so the answer is not about this incarnation.
            Phase::Serving { .. } | Phase::Gone { .. } => End::Stale,
        }
    }

    pub(in crate::lifecycle) fn is_starting(&self) -> bool {
        self.state() == State::Starting
    }

    /// It has had a worker.
    pub(in crate::lifecycle) fn has_begun(&self) -> bool {
        self.worker.incarnation > 0
    }
}
