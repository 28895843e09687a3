//! How fast a session may speak: a burst, then so many lines a second.
//!
//! Nothing is dropped: who is too fast is not read for a while. Invariant: in no span of time are more
//! lines allowed than the burst and what the rate gives for it.

/// What one session has left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pace {
    left: f32,
    counted_ms: u64,
}

/// The same for all sessions of a service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    pub(crate) burst: f32,
    pub(crate) per_s: f32,
}

impl Pace {
    pub(crate) fn new(rate: Rate, now_ms: u64) -> Pace {
        Pace {
            left: rate.burst,
            counted_ms: now_ms,
        }
    }

    /// As it was in another worker; nobody has more than a burst, or owes more.
    pub(crate) fn with(left: f32, rate: Rate, now_ms: u64) -> Option<Pace> {
        left.is_finite().then(|| Pace {
            left: left.clamp(-rate.burst, rate.burst),
            counted_ms: now_ms,
        })
    }

    /// What is left at this moment.
    pub(crate) fn left(&mut self, rate: Rate, now_ms: u64) -> f32 {
        self.refill(rate, now_ms);
        self.left
    }

    /// Counts a line; whether another may follow now.
    pub(crate) fn spend(&mut self, rate: Rate, now_ms: u64) -> bool {
        self.refill(rate, now_ms);
        self.left -= 1.0;
        self.left >= 1.0
    }

    /// Whether a line may be said now.
    pub(crate) fn allows(&mut self, rate: Rate, now_ms: u64) -> bool {
        self.left(rate, now_ms) >= 1.0
    }

    fn refill(&mut self, rate: Rate, now_ms: u64) {
        #[expect(
            clippy::cast_precision_loss,
            reason = "the longer, the fuller: it is cut at the burst"
        )]
        let passed_s = now_ms.saturating_sub(self.counted_ms) as f32 / 1000.0;
        self.left = (self.left + passed_s * rate.per_s).min(rate.burst);
        self.counted_ms = now_ms;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let rate = Rate {
            burst: 20.0,
            per_s: 4.0,
        };
        let mut pace = Pace::new(rate, 0);
        let mut allowed = |now_ms| {
            let mut lines = 0;
            while pace.allows(rate, now_ms) {
                pace.spend(rate, now_ms);
                lines += 1;
            }
            lines
        };
        assert_eq!(allowed(0), 20);
        assert_eq!(allowed(200), 0);
        assert_eq!(allowed(1000), 4);
        assert_eq!(allowed(1_000_000), 20);
    }
}
