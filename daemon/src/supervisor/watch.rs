//! Noticing that a worker is stuck: the same callback at two looks, and for how long.
//!
//! A scoreboard has no clock in it; time is counted here, from the first look that saw the callback.
//! If the looks themselves come late, the machine was stopped or starved, not the worker: then
//! counting starts anew.

use std::collections::BTreeMap;

use crate::lifecycle::WorkerId;
use crate::scoreboard::Glance;

/// Between two looks.
pub(super) const LOOK_MS: u64 = 100;
/// A look that comes later than this after the one before says nothing about workers.
const LATE_MS: u64 = 1_000;
/// A callback that has been seen for so long is worth an event.
const STUCK_MS: u64 = 100;

#[derive(Debug, Default)]
pub(super) struct Watch {
    looked_ms: Option<u64>,
    seen: BTreeMap<WorkerId, Seen>,
}

#[derive(Debug)]
struct Seen {
    sequence: u64,
    since_ms: u64,
    told: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding {
    Stuck {
        callback: &'static str,
        since_ms: u64,
    },
    Unstuck,
}

impl Watch {
    pub(super) fn next_look_ms(&self) -> u64 {
        self.looked_ms.map_or(0, |looked| looked + LOOK_MS)
    }

    /// True if it is time to look; notes that it was done.
    pub(super) fn begin(&mut self, now_ms: u64) -> bool {
        if now_ms < self.next_look_ms() {
            return false;
        }
        if self
            .looked_ms
            .is_some_and(|looked| now_ms > looked + LATE_MS)
        {
            for seen in self.seen.values_mut().filter(|seen| !seen.told) {
                seen.since_ms = now_ms;
            }
        }
        self.looked_ms = Some(now_ms);
        true
    }

    pub(super) fn look(
        &mut self,
        worker: WorkerId,
        glance: Glance,
        now_ms: u64,
    ) -> Option<Finding> {
        let known = self.seen.get_mut(&worker);
        match known {
            Some(seen) if glance.inside() && seen.sequence == glance.sequence => {
                if seen.told || now_ms < seen.since_ms + STUCK_MS {
                    return None;
                }
                seen.told = true;
                Some(Finding::Stuck {
                    callback: glance.callback.name(),
                    since_ms: seen.since_ms,
                })
            }
            _ => {
                let was_told = known.is_some_and(|seen| seen.told);
                if glance.inside() {
                    let seen = Seen {
                        sequence: glance.sequence,
                        since_ms: now_ms,
                        told: false,
                    };
                    self.seen.insert(worker, seen);
                } else {
                    self.seen.remove(&worker);
                }
                was_told.then_some(Finding::Unstuck)
            }
        }
    }

    pub(super) fn forget(&mut self, worker: WorkerId) {
        self.seen.remove(&worker);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::ServiceId;
    use crate::scoreboard::Callback;

    const WORKER: WorkerId = WorkerId {
        service: ServiceId(0),
        generation: 1,
        slot: 0,
        incarnation: 1,
    };

    fn glance(sequence: u64) -> Glance {
        Glance {
            sequence,
            callback: Callback::Feed,
            session: 1,
            source: 2,
        }
    }

    #[test]
    fn what_counts_as_stuck() {
        let stuck = |since_ms| {
            Some(Finding::Stuck {
                callback: "feed",
                since_ms,
            })
        };
        type Row = (u64, u64, Option<Finding>);
        // Rows of time, sequence seen, finding.
        let stories: [(&str, Vec<Row>); 5] = [
            (
                "idle",
                vec![(0, 2, None), (100, 2, None), (60_000, 2, None)],
            ),
            (
                "busy but moving",
                vec![(0, 1, None), (100, 3, None), (200, 5, None)],
            ),
            (
                "stuck, told once",
                vec![(0, 1, None), (100, 1, stuck(0)), (200, 1, None)],
            ),
            (
                "stuck, then back",
                vec![
                    (0, 1, None),
                    (100, 1, stuck(0)),
                    (200, 2, Some(Finding::Unstuck)),
                ],
            ),
            (
                "the machine was stopped",
                vec![
                    (0, 1, None),
                    (9_000, 1, None),
                    (9_050, 1, None),
                    (9_100, 1, stuck(9_000)),
                ],
            ),
        ];
        for (story, rows) in stories {
            let mut watch = Watch::default();
            for (now_ms, sequence, expected) in rows {
                watch.begin(now_ms);
                let found = watch.look(WORKER, glance(sequence), now_ms);
                assert_eq!(found, expected, "{story} at {now_ms}");
            }
        }
    }
}
