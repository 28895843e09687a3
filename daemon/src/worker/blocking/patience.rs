//! What time may end of a session that a handler serves: the plan's word on it, and the moments that
//! follow from what happens.
//!
//! Pure: it is told of bytes, waits and the time, and answers how long a wait may be and what has
//! ended it. A handler that computes is not waiting, so nothing here ends it.
//!
//! Invariant: once `passed` has named a cut for a wait, no later moment can take it back.

use super::session::Cut;
use crate::engine::Passed;
use crate::plan::Limits;

pub(super) const NEVER: u64 = u64::MAX;

/// 0 is no limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    idle_ms: u64,
    handler_ms: u64,
    progress_ms: u64,
    stall_ms: u64,
    pub(super) bandwidth: u64,
}

impl Patience {
    pub(super) fn of(limits: &Limits) -> Patience {
        Patience {
            idle_ms: limits.idle_ms,
            handler_ms: limits.threads.handler_ms,
            progress_ms: limits.progress_ms,
            stall_ms: limits.stall_ms,
            bandwidth: limits.bandwidth,
        }
    }
}

/// What a handler waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// The peer is to say something.
    Input,
    /// The peer is to take something.
    Output,
}

/// The moments of one session at which its patience is at an end.
#[derive(Debug)]
pub(super) struct Until {
    patience: Patience,
    handler_ms: u64,
    deadline_ms: u64,
    /// Waited for without a byte since the last one.
    waited_ms: u64,
    /// Set while input was read to which nothing has been said.
    progress_ms: u64,
    /// Set while output waits.
    stall_ms: u64,
}

impl Until {
    pub(super) fn new(patience: Patience, now_ms: u64) -> Until {
        Until {
            patience,
            handler_ms: after(patience.handler_ms, now_ms),
            deadline_ms: NEVER,
            waited_ms: 0,
            progress_ms: NEVER,
            stall_ms: NEVER,
        }
    }

    pub(super) fn set_deadline(&mut self, after_ms: u64, now_ms: u64) {
        self.deadline_ms = after(after_ms, now_ms);
    }

    pub(super) fn deadline_has_passed(&self, now_ms: u64) -> bool {
        self.deadline_ms <= now_ms
    }

    /// Until then the handler may do what it likes, if nothing else ends it.
    pub(super) fn handler_ms(&self) -> u64 {
        self.handler_ms
    }

    /// Some input was handed over, or shown.
    pub(super) fn heard(&mut self, now_ms: u64) {
        self.waited_ms = 0;
        if self.progress_ms == NEVER {
            self.progress_ms = after(self.patience.progress_ms, now_ms);
        }
    }

    /// Some output was taken by the socket: whatever was read has had its answer.
    pub(super) fn said(&mut self) {
        self.waited_ms = 0;
        self.progress_ms = NEVER;
        self.stall_ms = NEVER;
    }

    /// How long a rest may be that its pace wants to last until then. No limit on waiting runs
    /// meanwhile: it is not the peer who waits.
    pub(super) fn rest_ms(&self, until_ms: u64, now_ms: u64) -> u64 {
        let end_ms = until_ms.min(self.handler_ms).min(self.deadline_ms);
        end_ms.saturating_sub(now_ms)
    }

    /// A wait begins. How long it may be.
    pub(super) fn begin_wait(&mut self, waits: Waits, now_ms: u64) -> u64 {
        if waits == Waits::Output && self.stall_ms == NEVER {
            self.stall_ms = after(self.patience.stall_ms, now_ms);
        }
        let idle_left_ms = match self.patience.idle_ms {
            0 => NEVER,
            idle_ms => idle_ms.saturating_sub(self.waited_ms),
        };
        let own_ms = match waits {
            Waits::Input => self.progress_ms,
            Waits::Output => self.stall_ms,
        };
        let end_ms = self.handler_ms.min(self.deadline_ms).min(own_ms);
        match end_ms {
            NEVER => idle_left_ms,
            end_ms => end_ms.saturating_sub(now_ms).min(idle_left_ms),
        }
    }

    /// A wait is over that began then; `in_vain` if what was waited for did not come.
    pub(super) fn end_wait(
        &mut self,
        waits: Waits,
        in_vain: bool,
        begun_ms: u64,
        now_ms: u64,
    ) -> Option<Cut> {
        self.waited_ms += now_ms.saturating_sub(begun_ms);
        if !in_vain {
            return None;
        }
        let idle_ms = self.patience.idle_ms;
        self.passed(waits, now_ms)
            .or((idle_ms > 0 && self.waited_ms >= idle_ms).then_some(Cut::Idle))
    }

    /// Time that is over although the handler has not waited yet.
    pub(super) fn passed(&self, waits: Waits, now_ms: u64) -> Option<Cut> {
        match waits {
            Waits::Input if self.progress_ms <= now_ms => Some(Cut::Passed(Passed::Progress)),
            Waits::Output if self.stall_ms <= now_ms => Some(Cut::Passed(Passed::Stall)),
            Waits::Input | Waits::Output => None,
        }
    }
}

/// The moment so many milliseconds from now; 0 is never.
pub(super) fn after(ms: u64, now_ms: u64) -> u64 {
    match ms {
        0 => NEVER,
        ms => now_ms.saturating_add(ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(change: impl FnOnce(&mut Limits)) -> Until {
        let mut limits = Limits::default();
        change(&mut limits);
        Until::new(Patience::of(&limits), 0)
    }

    #[test]
    fn what_was_read_wants_an_answer_in_time_and_more_input_is_none() {
        let mut until = until(|limits| limits.progress_ms = 100);
        assert_eq!(until.begin_wait(Waits::Input, 1_000), NEVER, "nothing read");
        until.heard(1_000);
        until.heard(1_060);
        assert_eq!(until.begin_wait(Waits::Input, 1_060), 40);
        assert_eq!(until.passed(Waits::Input, 1_099), None);
        let progress = Some(Cut::Passed(Passed::Progress));
        assert_eq!(until.passed(Waits::Input, 1_100), progress);
        assert_eq!(until.passed(Waits::Output, 1_100), None);
        assert_eq!(until.begin_wait(Waits::Output, 1_100), NEVER);
        until.said();
        assert_eq!(until.begin_wait(Waits::Input, 1_100), NEVER);
        until.heard(2_000);
        assert_eq!(until.begin_wait(Waits::Input, 2_000), 100);
    }

    #[test]
    fn output_stalls_from_the_first_wait_and_not_from_each() {
        let mut until = until(|limits| limits.stall_ms = 100);
        assert_eq!(until.begin_wait(Waits::Output, 0), 100);
        assert_eq!(until.end_wait(Waits::Output, false, 0, 60), None);
        assert_eq!(until.begin_wait(Waits::Output, 60), 40);
        until.said();
        assert_eq!(until.begin_wait(Waits::Output, 60), 100);
        let stalled = Some(Cut::Passed(Passed::Stall));
        assert_eq!(until.end_wait(Waits::Output, true, 60, 160), stalled);
    }

    #[test]
    fn silence_is_the_sum_of_waits_since_the_last_byte() {
        let mut until = until(|limits| limits.idle_ms = 100);
        assert_eq!(until.begin_wait(Waits::Input, 0), 100);
        assert_eq!(until.end_wait(Waits::Input, true, 0, 60), None);
        // The handler was busy itself meanwhile.
        assert_eq!(until.begin_wait(Waits::Output, 5_000), 40);
        assert_eq!(
            until.end_wait(Waits::Output, true, 5_000, 5_040),
            Some(Cut::Idle)
        );
        until.heard(5_040);
        assert_eq!(until.begin_wait(Waits::Input, 5_040), 100);
    }

    #[test]
    fn the_nearest_moment_bounds_a_wait() {
        let mut until = until(|limits| {
            limits.threads.handler_ms = 300;
            limits.idle_ms = 400;
        });
        assert_eq!(until.begin_wait(Waits::Input, 100), 200);
        until.set_deadline(50, 100);
        assert_eq!(until.begin_wait(Waits::Input, 100), 50);
        assert!(!until.deadline_has_passed(149) && until.deadline_has_passed(150));
        until.set_deadline(0, 150);
        assert_eq!(until.begin_wait(Waits::Input, 150), 150);
    }
}
