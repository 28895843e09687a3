//! What is ordered in one turn: workers of a large pool come a few at a time, those that wait for their
//! turn have no process, and who is not wanted any more while it waits never gets one.
//!
//! It knows the bounds by their numbers, as one does who looks at the daemon from outside.

use std::collections::BTreeMap;

use polyport::lifecycle::{Event, ServiceView, State, WorkerView};

use crate::dice::Dice;
use crate::world::World;

const SPAWNS_PER_TURN: usize = 4;
const STARTING_AT_ONCE: usize = 32;

#[derive(Debug, Default)]
pub(crate) struct Turn {
    ends: bool,
    ordered: usize,
    /// Workers that waited to be ordered when it had ended.
    waiting: usize,
}

/// Now and then, in so many of a hundred, more than may start at once.
pub(crate) fn workers(dice: &mut Dice, few: u64, percent: u64) -> u16 {
    let count = match dice.chance(percent) {
        true => STARTING_AT_ONCE as u64 + dice.below(12),
        false => dice.below(few),
    };
    1 + count as u16
}

impl World {
    pub(crate) fn end_turn(&mut self) {
        (self.turn.ends, self.turn.ordered) = (true, 0);
        self.tell(Event::Tick);
        (self.turn.ends, self.turn.waiting) = (false, 0);
        if let Some(due_ms) = self.lifecycle.next_deadline_ms() {
            self.rule(
                due_ms > self.now_ms || self.turn.ordered == SPAWNS_PER_TURN,
                "a deadline that was just served is not due again, but for workers",
            );
        }
    }

    pub(crate) fn ordered(&mut self) {
        self.rule(self.turn.ends, "workers are ordered at the end of a turn");
        self.turn.ordered += 1;
        let few = self.turn.ordered <= SPAWNS_PER_TURN;
        self.rule(few, "a few workers are ordered in one turn");
    }

    /// What they were to be is not wanted any more.
    pub(crate) fn note_waiting(&mut self, what: &'static str) {
        if self.turn.waiting > 0 {
            self.seen(what);
        }
    }

    pub(crate) fn check_starting(&mut self, service: &ServiceView) {
        let mut starting: BTreeMap<u32, usize> = BTreeMap::new();
        for worker in &service.workers {
            if self.waits(service, worker) {
                self.turn.waiting += 1;
            } else if worker.state == State::Starting {
                *starting.entry(worker.generation).or_default() += 1;
            }
        }
        for count in starting.into_values() {
            let few = count <= STARTING_AT_ONCE;
            self.rule(few, "of a pool a few workers start at once");
            if count == STARTING_AT_ONCE {
                self.seen("as many starting as may be");
            }
        }
    }

    /// It is to start, and has not been ordered yet.
    pub(crate) fn waits(&self, service: &ServiceView, worker: &WorkerView) -> bool {
        let place = (service.service.0, worker.generation, worker.slot);
        worker.state == State::Starting && !self.slots.contains_key(&place)
    }
}
