//! Rates: how many datagrams each source may send, by token buckets in a table of fixed size.
//!
//! A source that is not in the table starts with a full bucket; it takes the place of the one not
//! heard of for longest among the few that share its row. Rows are chosen by a seeded product, so
//! that nobody can aim at somebody else's. There is no clock here.
//!
//! Invariant: the table never grows, and a source in it never passes its burst.

const WAYS: usize = 8;
const ROWS: usize = 512;
/// Sources remembered at once.
pub const SOURCES_MAX: usize = WAYS * ROWS;
/// A bucket counts thousandths, so that slow rates lose nothing to rounding.
const WHOLE: u64 = 1000;

#[derive(Debug)]
pub struct Rates {
    buckets: Vec<Bucket>,
    seed: u64,
    /// Thousandths a millisecond, which is the same number as whole ones a second.
    per_second: u64,
    burst: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    source: u64,
    left: u64,
    /// When `left` was right; 0 marks a place never taken.
    at_ms: u64,
}

impl Rates {
    /// So many a second of each source on average, and so many at once.
    pub fn new(per_second: u32, burst: u32, seed: u64) -> Rates {
        Rates {
            buckets: vec![Bucket::default(); SOURCES_MAX],
            seed: seed | 1,
            per_second: u64::from(per_second),
            burst: u64::from(burst.max(1)) * WHOLE,
        }
    }

    /// Whether this source may send one more now; if so it has.
    pub fn allows(&mut self, source: u64, now_ms: u64) -> bool {
        // The place "never taken" is told by a moment that no call has.
        let now_ms = now_ms + 1;
        let (per_second, burst) = (self.per_second, self.burst);
        let bucket = self.bucket(source, now_ms);
        let gained = now_ms
            .saturating_sub(bucket.at_ms)
            .saturating_mul(per_second);
        bucket.left = bucket.left.saturating_add(gained).min(burst);
        bucket.at_ms = now_ms.max(bucket.at_ms);
        let allowed = bucket.left >= WHOLE;
        if allowed {
            bucket.left -= WHOLE;
        }
        allowed
    }

    fn bucket(&mut self, source: u64, now_ms: u64) -> &mut Bucket {
        // The high bits of a product depend on all bits of the factors.
        let mixed = (source ^ self.seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let row = (mixed >> 32) as usize % ROWS * WAYS;
        let row = &mut self.buckets[row..row + WAYS];
        let known = |bucket: &Bucket| bucket.source == source && bucket.at_ms != 0;
        let place = row.iter().position(known).unwrap_or_else(|| {
            let oldest = (0..WAYS).min_by_key(|way| row[*way].at_ms).unwrap_or(0);
            row[oldest] = Bucket {
                source,
                left: self.burst,
                at_ms: now_ms,
            };
            oldest
        });
        &mut row[place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_its_burst_and_then_its_rate() {
        // (rate, burst, moments with one datagram each or more, how many pass)
        let cases = [
            (10, 3, vec![(0, 5)], vec![3]),
            (10, 3, vec![(0, 5), (99, 1), (100, 2)], vec![3, 0, 1]),
            (10, 3, vec![(0, 3), (10_000, 9)], vec![3, 3]),
            (1, 1, vec![(5, 1), (1004, 1), (1005, 1)], vec![1, 0, 1]),
            // The clock may stand still, and does not go back.
            (
                1000,
                1,
                vec![(7, 2), (7, 2), (6, 2), (8, 2)],
                vec![1, 0, 0, 1],
            ),
        ];
        for (rate, burst, moments, expected) in cases {
            let mut rates = Rates::new(rate, burst, 42);
            let passed: Vec<usize> = moments
                .iter()
                .map(|(now_ms, count)| {
                    let times = 0..*count;
                    times.filter(|_| rates.allows(9, *now_ms)).count()
                })
                .collect();
            assert_eq!(passed, expected, "{rate} {burst} {moments:?}");
        }
    }

    #[test]
    fn sources_do_not_share_a_bucket_and_the_table_does_not_grow() {
        let mut rates = Rates::new(1, 1, 7);
        for source in 0..100_000u64 {
            assert!(rates.allows(source, 10 + source), "{source} is new");
        }
        assert_eq!(rates.buckets.len(), SOURCES_MAX);
        // The last few are still known, whatever rows they are in.
        for source in 99_990..100_000u64 {
            assert!(!rates.allows(source, 100_010), "{source} is known");
        }
    }

    #[test]
    fn the_source_not_heard_of_for_longest_makes_room() {
        let mut rates = Rates::new(1, 1, 7);
        let row_of = |rates: &Rates, source: u64| {
            let mixed = (source ^ rates.seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (mixed >> 32) as usize % ROWS
        };
        let row = row_of(&rates, 1);
        let crowd: Vec<u64> = (1..)
            .filter(|source| row_of(&rates, *source) == row)
            .take(WAYS + 1)
            .collect();
        for (nth, source) in crowd[..WAYS].iter().enumerate() {
            assert!(rates.allows(*source, nth as u64));
        }
        assert!(!rates.allows(crowd[0], 100), "heard of again");
        assert!(rates.allows(crowd[WAYS], 101), "new");
        assert!(!rates.allows(crowd[0], 102), "still known");
        assert!(rates.allows(crowd[1], 103), "it had to go");
    }
}
