//! Noticing that a worker is stuck: the same callback at two looks, and for how long.
//!
//! All threads of a worker are looked at. Only time inside the plugin counts: a handler that waits in a
//! call of its stream is outside for the scoreboard. Nothing of it is a clock; time is counted here,
//! from the first look that saw the callback.
//!
//! If a look comes late, the machine or this process was stopped, not the worker: then counting
//! starts anew, also for those that were found stuck before. When nothing moves, looks are rare: that
//! rule stands in `pause_ms`.
//!
//! Invariant: a worker that is stuck is found at the latest `QUIET_MS` + `LOOK_MS` after it entered the
//! callback, or when its time to be warned of has come, if that is later.

use std::collections::BTreeMap;
use std::mem;

use crate::lifecycle::{News, Policy, WorkerId};
use crate::scoreboard::{Callback, Glance};

/// Between two looks while something moves, or is in a callback.
const LOOK_MS: u64 = 100;
/// Between two looks while nothing does.
const QUIET_MS: u64 = 1_000;
/// A look that comes so much later than it was meant to says nothing about workers.
const LATE_MS: u64 = 1_000;
/// A callback on the event loop that has been seen for so long is worth an event.
const STUCK_MS: u64 = 100;
/// The part of its time after which one on a thread is.
const THREAD_WARNED_AFTER: u64 = 3;

#[derive(Debug)]
pub(super) struct Watch {
    pub(super) policy: Policy,
    next_look_ms: u64,
    /// Since the last look began, something has moved or was in a callback.
    stirred: bool,
    workers: BTreeMap<WorkerId, Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// The sum of its slots' sequences: it changes whenever a callback is entered or left.
    movement: u64,
    inside: BTreeMap<usize, Inside>,
    /// The slot and sequence that were last found stuck.
    told: Option<(usize, u64)>,
    /// What was found before is not to be trusted any more.
    lost_time: bool,
}

#[derive(Debug)]
struct Inside {
    sequence: u64,
    since_ms: u64,
    callback: Callback,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// Of all that are stuck, the one whose time is over first. Slot 0 is the event loop's.
    Stuck {
        slot: usize,
        callback: &'static str,
        since_ms: u64,
    },
    Unstuck,
}

impl Finding {
    pub(super) fn news(self) -> News {
        match self {
            Finding::Stuck {
                slot,
                callback,
                since_ms,
            } => News::Stuck {
                callback: match slot {
                    0 => callback.to_owned(),
                    thread => format!("{callback} on thread {thread}"),
                },
                since_ms,
                on_thread: slot > 0,
            },
            Finding::Unstuck => News::Unstuck,
        }
    }
}

impl Watch {
    pub(super) fn new(policy: Policy) -> Watch {
        Watch {
            policy,
            next_look_ms: 0,
            stirred: true,
            workers: BTreeMap::new(),
        }
    }

    pub(super) fn next_look_ms(&self) -> u64 {
        self.next_look_ms
    }

    /// True if it is time to look; `look` at all workers and `end` follow.
    pub(super) fn begin(&mut self, now_ms: u64) -> bool {
        if now_ms < self.next_look_ms {
            return false;
        }
        if now_ms > self.next_look_ms + LATE_MS {
            for seen in self.workers.values_mut() {
                seen.lost_time = true;
                seen.inside.clear();
            }
        }
        self.stirred = false;
        true
    }

    /// What every slot of a worker says, in their order.
    pub(super) fn look(
        &mut self,
        worker: WorkerId,
        glances: impl IntoIterator<Item = Glance>,
        now_ms: u64,
    ) -> Option<Finding> {
        let seen = self.workers.entry(worker).or_default();
        let before = mem::take(&mut seen.movement);
        for (slot, glance) in glances.into_iter().enumerate() {
            seen.movement = seen.movement.wrapping_add(glance.sequence);
            seen.note(slot, glance, now_ms);
        }
        self.stirred |= seen.movement != before || !seen.inside.is_empty();
        if mem::take(&mut seen.lost_time) && seen.told.take().is_some() {
            return Some(Finding::Unstuck);
        }
        let stuck = seen.most_urgent(self.policy, now_ms);
        let told = stuck.map(|(slot, inside)| (slot, inside.sequence));
        if told == seen.told {
            return None;
        }
        let finding = match stuck {
            Some((slot, inside)) => Finding::Stuck {
                slot,
                callback: inside.callback.name(),
                since_ms: inside.since_ms,
            },
            None => Finding::Unstuck,
        };
        seen.told = told;
        Some(finding)
    }

    /// All workers have been looked at.
    pub(super) fn end(&mut self, now_ms: u64) {
        self.next_look_ms = now_ms + pause_ms(self.stirred);
    }

    pub(super) fn forget(&mut self, worker: WorkerId) {
        self.workers.remove(&worker);
    }
}

/// When to look again: soon if a worker has entered or left a callback since the last look, or is
/// in one; else there is nothing to be seen, and nobody is woken for it more than once a second.
fn pause_ms(stirred: bool) -> u64 {
    match stirred {
        true => LOOK_MS,
        false => QUIET_MS,
    }
}

impl Seen {
    fn note(&mut self, slot: usize, glance: Glance, now_ms: u64) {
        if !glance.inside() {
            self.inside.remove(&slot);
            return;
        }
        let same = |known: &Inside| known.sequence == glance.sequence;
        if !self.inside.get(&slot).is_some_and(same) {
            let inside = Inside {
                sequence: glance.sequence,
                since_ms: now_ms,
                callback: glance.callback,
            };
            self.inside.insert(slot, inside);
        }
    }

    /// Of those that have been inside for long, the one that is given up first.
    fn most_urgent(&self, policy: Policy, now_ms: u64) -> Option<(usize, &Inside)> {
        let for_long = self.inside.iter().filter(|(slot, inside)| {
            let warned_after_ms = match slot {
                0 => STUCK_MS,
                _ => policy.hang_ms(true) / THREAD_WARNED_AFTER,
            };
            now_ms >= inside.since_ms.saturating_add(warned_after_ms)
        });
        let due_ms = |slot: usize, inside: &Inside| {
            let limit_ms = policy.hang_ms(slot > 0);
            inside.since_ms.saturating_add(limit_ms)
        };
        for_long
            .min_by_key(|(slot, inside)| due_ms(**slot, inside))
            .map(|(slot, inside)| (*slot, inside))
    }
}

#[cfg(test)]
mod tests;
