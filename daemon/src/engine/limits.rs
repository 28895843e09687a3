//! Limits of one connection that time decides: how old it may be, how long input and output may wait,
//! how many bytes a second it may move.
//!
//! Moments are kept, not spans, so that the connection's earliest deadline is a minimum of numbers.
//! What is done when one has passed is decided in `connection`; reading and sending stay with the
//! worker, which is told to leave a connection alone until its bucket has something again.
//!
//! Invariant: a moment that has passed either ends the connection or is moved.

use super::bucket::Bucket;
use super::deadlines::NEVER;
use crate::plan;

/// What a proxy has for its header, where no limit on progress says otherwise.
pub const HEADER_MS: u64 = 5_000;

/// Which limit, or other rule of the administrator's, a connection was closed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Passed {
    Lifetime = 0,
    /// Input waited too long for the plugin to consume it.
    Progress,
    /// Output waited too long for the peer to take it.
    Stall,
    /// It was the oldest of too many that had not said anything.
    Pending,
    /// A proxy's header was none, or did not come.
    Header,
    /// Its source is not to stay.
    Banned,
    /// An operator wanted it.
    Asked,
}

impl Passed {
    pub const ALL: [Passed; 7] = [
        Passed::Lifetime,
        Passed::Progress,
        Passed::Stall,
        Passed::Pending,
        Passed::Header,
        Passed::Banned,
        Passed::Asked,
    ];
}

/// The plan's word on all of them; 0 is no limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spans {
    lifetime_ms: u64,
    progress_ms: u64,
    stall_ms: u64,
    bandwidth: u64,
}

impl Spans {
    pub(super) fn of(limits: &plan::Limits) -> Spans {
        Spans {
            lifetime_ms: limits.lifetime_ms,
            progress_ms: limits.progress_ms,
            stall_ms: limits.stall_ms,
            bandwidth: limits.bandwidth,
        }
    }

    fn header_ms(&self) -> u64 {
        match self.progress_ms {
            0 => HEADER_MS,
            progress_ms => progress_ms,
        }
    }
}

/// The moments at which one connection passes its limits; in this order, as every round of an echo
/// looks at the last three.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Until {
    pub(super) lifetime_ms: u64,
    pub(super) progress_ms: u64,
    pub(super) stall_ms: u64,
    /// Set exactly while a proxy's header is awaited.
    pub(super) header_ms: u64,
}

impl Until {
    pub(super) fn new(spans: &Spans, now_ms: u64) -> Until {
        Until {
            lifetime_ms: after(now_ms, spans.lifetime_ms),
            progress_ms: NEVER,
            stall_ms: NEVER,
            header_ms: NEVER,
        }
    }

    /// Of a connection that comes from another worker: what was left there, and no more than there
    /// would be here.
    pub(super) fn taken(
        spans: &Spans,
        begun_ms: u64,
        progress_ms: u64,
        stall_ms: u64,
        now_ms: u64,
    ) -> Until {
        let waiting = |at_ms: u64, span_ms| match at_ms {
            NEVER => NEVER,
            at_ms => match after(now_ms, span_ms) {
                NEVER => NEVER,
                latest_ms => at_ms.min(latest_ms),
            },
        };
        Until {
            lifetime_ms: after(begun_ms, spans.lifetime_ms),
            progress_ms: waiting(progress_ms, spans.progress_ms),
            stall_ms: waiting(stall_ms, spans.stall_ms),
            header_ms: NEVER,
        }
    }

    pub(super) fn await_header(&mut self, spans: &Spans, now_ms: u64) {
        self.header_ms = after(now_ms, spans.header_ms());
    }

    /// After a feed: so much is left over; `moved` if some was consumed, or could not be before.
    pub(super) fn input_left(&mut self, left: usize, moved: bool, spans: &Spans, now_ms: u64) {
        if left == 0 {
            self.progress_ms = NEVER;
        } else if moved || self.progress_ms == NEVER {
            self.progress_ms = after(now_ms, spans.progress_ms);
        }
    }

    /// After a flush: so much is still queued.
    pub(super) fn output_left(&mut self, queued: usize, moved: bool, spans: &Spans, now_ms: u64) {
        if queued == 0 {
            self.stall_ms = NEVER;
        } else if moved || self.stall_ms == NEVER {
            self.stall_ms = after(now_ms, spans.stall_ms);
        }
    }
}

fn after(now_ms: u64, span_ms: u64) -> u64 {
    match span_ms {
        0 => NEVER,
        _ => now_ms.saturating_add(span_ms),
    }
}

/// Bytes a second, each way: allowances that are used up and come back.
#[derive(Debug)]
pub struct Pace {
    pub input: Way,
    pub output: Way,
}

impl Pace {
    pub(super) fn of(spans: &Spans, now_ms: u64) -> Option<Box<Pace>> {
        Pace::new(spans.bandwidth, now_ms)
    }

    /// So many bytes a second; 0 is no limit. Most connections have none, and pay a pointer for it.
    pub fn new(bytes_per_s: u64, now_ms: u64) -> Option<Box<Pace>> {
        let way = || Way::new(bytes_per_s, now_ms);
        (bytes_per_s > 0).then(|| {
            Box::new(Pace {
                input: way(),
                output: way(),
            })
        })
    }

    pub(super) fn deadline_ms(&self) -> u64 {
        self.input.until_ms.min(self.output.until_ms)
    }
}

#[derive(Debug)]
pub struct Way {
    bucket: Bucket,
    /// What may be moved next; at least one unless it rests.
    allowance: u64,
    /// It rests until then; `NEVER` while it does not.
    until_ms: u64,
}

impl Way {
    fn new(bytes_per_s: u64, now_ms: u64) -> Way {
        // A quarter of a second at once: large enough to be cheap, small enough to be smooth.
        let capacity = (bytes_per_s / 4).max(2);
        Way {
            bucket: Bucket::new(bytes_per_s, capacity, now_ms),
            allowance: capacity,
            until_ms: NEVER,
        }
    }

    pub fn rests(&self) -> bool {
        self.until_ms != NEVER
    }

    /// When its rest is over.
    pub fn until_ms(&self) -> u64 {
        self.until_ms
    }

    pub fn allowance(&self) -> usize {
        match self.rests() {
            true => 0,
            false => usize::try_from(self.allowance).unwrap_or(usize::MAX),
        }
    }

    /// No more than this may be moved at once.
    pub(super) fn lower(&mut self, allowance: Option<u64>, now_ms: u64) {
        let spare = self.allowance.saturating_sub(allowance.unwrap_or(u64::MAX));
        self.moved(usize::try_from(spare).unwrap_or(usize::MAX), now_ms);
    }

    /// So many bytes were moved; true if that was all that was allowed, and there is more now.
    pub fn moved(&mut self, bytes: usize, now_ms: u64) -> bool {
        let all = bytes > 0 && bytes as u64 >= self.allowance;
        self.bucket.use_up(bytes as u64);
        self.allowance = self.bucket.units(now_ms);
        if self.allowance == 0 && !self.rests() {
            self.until_ms = self.bucket.half_full_ms();
        }
        all && !self.rests()
    }

    /// True if its rest is over now.
    pub fn wake(&mut self, now_ms: u64) -> bool {
        let over = self.until_ms <= now_ms;
        if over {
            self.allowance = self.bucket.units(now_ms).max(1);
            self.until_ms = NEVER;
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans() -> Spans {
        Spans {
            lifetime_ms: 0,
            progress_ms: 100,
            stall_ms: 50,
            bandwidth: 1000,
        }
    }

    #[test]
    fn progress_is_counted_from_the_last_byte_that_was_consumed() {
        let mut until = Until::new(&spans(), 0);
        // now, left, moved → the moment
        for (now_ms, left, moved, expected) in [
            (0, 0, true, NEVER),
            (10, 5, false, 110),
            (20, 9, false, 110),
            (30, 4, true, 130),
            (40, 8, false, 130),
            (50, 0, true, NEVER),
            (60, 1, true, 160),
        ] {
            until.input_left(left, moved, &spans(), now_ms);
            assert_eq!(until.progress_ms, expected, "at {now_ms}");
        }
    }

    #[test]
    fn a_way_moves_its_bytes_a_second_whatever_its_steps() {
        for step in [1usize, 7, 100, 100_000] {
            let mut way = Way::new(1000, 0);
            let mut moved = 0;
            for now_ms in 0..10_000 {
                way.wake(now_ms);
                while way.allowance() > 0 {
                    let bytes = step.min(way.allowance());
                    way.moved(bytes, now_ms);
                    moved += bytes;
                }
            }
            assert!(
                (9_900..=10_250).contains(&moved),
                "{moved} in steps of {step}"
            );
        }
    }
}
