//! A worker that is to be quick, because somebody waits for its place, while it hands its sessions over.
//!
//! Handing over is the shortest way out, and how long it takes is the machine's affair: on a busy one
//! it is longer than any fixed time that would be short enough for a worker that does not get on. So
//! each time more sessions were adopted its time begins anew, within what it was given before it was
//! hurried. One that gives nothing has the time that it was hurried with, once. The worker goes by the same
//! rule, in `worker/handover/giving.rs`.
//!
//! Invariant: its end comes later by progress only, and never later than it was first told.

use serde::{Deserialize, Serialize};

use super::{Phase, Slot};
use crate::lifecycle::Moment;
use crate::lifecycle::ending::Leave;

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Hurried {
    /// What it has from one progress to the next.
    kill_after_ms: u64,
    /// When it would have been killed without the hurry.
    until_ms: u64,
}

impl Hurried {
    /// Of one that was to be gone by then. Whoever is to go fast waits for nobody's progress.
    pub(super) fn by(leave: Leave, until_ms: u64) -> Option<Hurried> {
        leave.hurried.then_some(Hurried {
            kill_after_ms: leave.kill_after_ms,
            until_ms,
        })
    }

    /// Whether by its progress it could be there longer than it is to be now.
    pub(super) fn would_outlast(self, leave: Leave, kill_by_ms: u64) -> bool {
        !leave.hurried && kill_by_ms < self.until_ms
    }
}

impl Slot {
    /// More of its sessions were adopted.
    pub(in crate::lifecycle) fn gives(&mut self, moment: &Moment<'_>) {
        match (&mut self.phase, self.hurried) {
            (
                Phase::Draining {
                    kill_at_ms: Some(kill_at_ms),
                    fault: None,
                },
                Some(hurried),
            ) => {
                let next_ms = moment.now_ms.saturating_add(hurried.kill_after_ms);
                *kill_at_ms = next_ms.min(hurried.until_ms).max(*kill_at_ms);
            }
            // It has all its time still, its end is under way, or it has nothing to give yet.
            (Phase::Draining { .. }, _) => {}
            (Phase::Starting { .. } | Phase::Serving { .. } | Phase::Gone { .. }, _) => {}
        }
    }
}
