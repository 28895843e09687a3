//! A token bucket: so much a second, and so much at once after a quiet time.
//!
//! Units are the caller's: connections, parts of a connection, bytes. There is no clock here; time
//! that goes back counts as no time.
//!
//! Invariant: over any time at most `capacity + per_s × seconds` is taken.

#[derive(Clone, Debug)]
pub struct Bucket {
    per_s: u64,
    /// In thousandths of a unit, so that a millisecond's share is a whole number.
    capacity: u64,
    level: u64,
    at_ms: u64,
}

impl Bucket {
    /// It begins full.
    pub fn new(per_s: u64, capacity: u64, now_ms: u64) -> Bucket {
        let capacity = capacity.saturating_mul(1000);
        Bucket {
            per_s,
            capacity,
            level: capacity,
            at_ms: now_ms,
        }
    }

    /// All or nothing.
    pub fn take(&mut self, units: u64, now_ms: u64) -> bool {
        let wanted = units.saturating_mul(1000);
        self.refill(now_ms);
        let enough = wanted <= self.level;
        if enough {
            self.level -= wanted;
        }
        enough
    }

    /// Whole units that may be taken now.
    pub fn units(&mut self, now_ms: u64) -> u64 {
        self.refill(now_ms);
        self.level / 1000
    }

    /// Takes what has been used already; no more than `units` said.
    pub fn use_up(&mut self, units: u64) {
        self.level = self.level.saturating_sub(units.saturating_mul(1000));
    }

    /// When half of what it can hold is there again, if nothing is taken meanwhile.
    pub fn half_full_ms(&self) -> u64 {
        let missing = (self.capacity / 2).saturating_sub(self.level);
        self.at_ms
            .saturating_add(missing.div_ceil(self.per_s.max(1)))
    }

    fn refill(&mut self, now_ms: u64) {
        let passed_ms = now_ms.saturating_sub(self.at_ms);
        // As many units a second are as many thousandths a millisecond.
        let gained = passed_ms.saturating_mul(self.per_s);
        self.level = self.level.saturating_add(gained).min(self.capacity);
        self.at_ms = self.at_ms.max(now_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate_and_never_more() {
        let mut bucket = Bucket::new(10, 3, 0);
        let taken: Vec<u64> = (0..=1000)
            .filter(|now_ms| bucket.take(1, *now_ms))
            .collect();
        assert_eq!(taken[..5], [0, 1, 2, 100, 200]);
        assert_eq!(taken.len(), 3 + 10);
        assert_eq!(
            bucket.units(100_000),
            3,
            "rest does not add up beyond the burst"
        );
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing() {
        let mut bucket = Bucket::new(1000, 1, 5000);
        assert!(bucket.take(1, 5000));
        assert!(!bucket.take(1, 4000));
        assert!(!bucket.take(1, 5000));
        assert!(bucket.take(1, 5001));
    }

    #[test]
    fn it_says_when_it_is_worth_coming_back() {
        let mut bucket = Bucket::new(100, 50, 0);
        bucket.use_up(50);
        assert_eq!(bucket.units(0), 0);
        assert_eq!(bucket.half_full_ms(), 250);
        assert_eq!(bucket.units(249), 24);
        assert_eq!(bucket.units(250), 25);
    }
}
