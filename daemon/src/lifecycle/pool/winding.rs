//! How a pool goes: told to drain, hurried because somebody waits for its place, or at once.
//!
//! Invariant: whoever is told to go has a time by which it is killed.

use super::{Phase, Pool, Speed};
use crate::lifecycle::Moment;
use crate::lifecycle::ending::Leave;
use crate::lifecycle::event::WorkerId;

/// What a fast stop leaves a worker to finish in, and when it is killed.
const FAST_GRACE_MS: u64 = 1_000;
const FAST_KILL_AFTER_MS: u64 = 2_000;
/// What a worker has beyond its drain for closing and leaving.
const KILL_MARGIN_MS: u64 = 1_000;

/// What a pool that was replaced keeps of its drain when yet another change comes; a worker that hands
/// its sessions over has it anew as long as more of them are adopted.
const HURRIED_GRACE_MS: u64 = 5_000;

/// For whoever holds the place of another kind of worker.
pub(super) const HURRIED: Leave = Leave {
    grace_ms: HURRIED_GRACE_MS,
    kill_after_ms: HURRIED_GRACE_MS + KILL_MARGIN_MS,
    successor: None,
    hurried: true,
};

impl Pool {
    /// It has drained long enough: somebody waits for its place.
    pub(in crate::lifecycle) fn hurry(&mut self, moment: &mut Moment<'_>) {
        match self.phase {
            Phase::Draining(_) => self.leave(HURRIED, &[], moment),
            Phase::Probing | Phase::Held { .. } | Phase::Starting { .. } | Phase::Serving => {}
            Phase::Gone(_) => {}
        }
    }

    pub(super) fn wind_down(
        &mut self,
        speed: Speed,
        successors: &[WorkerId],
        moment: &mut Moment<'_>,
    ) {
        self.leave(speed.leave(moment), successors, moment);
    }

    fn leave(&mut self, leave: Leave, successors: &[WorkerId], moment: &mut Moment<'_>) {
        let mut heirs = successors.iter().copied().cycle();
        for slot in &mut self.slots {
            let leave = Leave {
                successor: heirs.next(),
                ..leave
            };
            slot.leave(leave, moment);
        }
        let leave = Leave {
            successor: None,
            ..leave
        };
        for slot in &mut self.replaced {
            slot.leave(leave, moment);
        }
    }
}

impl Speed {
    pub(super) fn leave(self, moment: &Moment<'_>) -> Leave {
        let (grace_ms, kill_after_ms) = match self {
            Speed::Drain => {
                let drain_ms = moment.policy.drain_timeout_ms;
                (drain_ms, drain_ms.saturating_add(KILL_MARGIN_MS))
            }
            Speed::Fast => (FAST_GRACE_MS, FAST_KILL_AFTER_MS),
        };
        Leave {
            grace_ms,
            kill_after_ms,
            successor: None,
            hurried: false,
        }
    }
}
