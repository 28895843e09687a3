//! How soon a dead worker is replaced.
//!
//! Per slot: at once, then after 0.1 s, doubled up to 30 s, each spread by a fifth either way so
//! that workers which died together do not come back together. Per pool: at most 20 replacements in
//! any second, whatever the slots say. It knows nothing of why a worker died.
//!
//! Invariant: `Pace` allows no 21st replacement within a second of the first of them.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

pub(super) const RESTARTS_PER_SECOND_MAX: usize = 20;
/// A worker that has served for so long starts over with its back-off.
pub(super) const STABLE_MS: u64 = 60_000;
const FIRST_MS: u64 = 100;
const LAST_MS: u64 = 30_000;

/// The wait before the next try after so many failures in a row, this one not counted.
pub(super) fn delay_ms(failures_before: u32, jitter: &mut Jitter) -> u64 {
    match failures_before {
        0 => 0,
        n => {
            // Nine doublings pass the last step already; more would only overflow.
            let plain_ms = (FIRST_MS << (n - 1).min(9)).min(LAST_MS);
            plain_ms * 4 / 5 + jitter.below(plain_ms * 2 / 5 + 1)
        }
    }
}

/// The times of a pool's latest replacements.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Pace {
    latest_ms: VecDeque<u64>,
}

impl Pace {
    /// When one more may be made: now, or a second after the oldest of a full set.
    pub(super) fn earliest_ms(&self, now_ms: u64) -> u64 {
        if self.latest_ms.len() < RESTARTS_PER_SECOND_MAX {
            return now_ms;
        }
        self.latest_ms
            .front()
            .map_or(now_ms, |oldest_ms| now_ms.max(oldest_ms + 1_000))
    }

    pub(super) fn record(&mut self, now_ms: u64) {
        if self.latest_ms.len() == RESTARTS_PER_SECOND_MAX {
            self.latest_ms.pop_front();
        }
        self.latest_ms.push_back(now_ms);
    }
}

/// SplitMix64: enough to spread retries, and the same again for the same seed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Jitter(u64);

impl Jitter {
    pub(super) fn new(seed: u64) -> Jitter {
        Jitter(seed)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_a_tenth_of_a_second_to_thirty_seconds_spread_by_a_fifth() {
        let rows = [
            (0, 0, 0),
            (1, 80, 120),
            (2, 160, 240),
            (3, 320, 480),
            (5, 1_280, 1_920),
            (9, 20_480, 30_720),
            (10, 24_000, 36_000),
            (11, 24_000, 36_000),
            (u32::MAX, 24_000, 36_000),
        ];
        for (failures, least_ms, most_ms) in rows {
            let mut jitter = Jitter::new(u64::from(failures));
            let drawn: Vec<u64> = (0..2_000)
                .map(|_| delay_ms(failures, &mut jitter))
                .collect();
            let (least, most) = (drawn.iter().min().copied(), drawn.iter().max().copied());
            assert!(least >= Some(least_ms), "after {failures}: {least:?}");
            assert!(most <= Some(most_ms), "after {failures}: {most:?}");
            let spread_ms = (most_ms - least_ms) * 9 / 10;
            assert!(
                most >= least.map(|ms| ms + spread_ms),
                "after {failures}: spread only {least:?} to {most:?}"
            );
        }
    }

    #[test]
    fn a_pool_restarts_twenty_times_in_any_second_and_not_once_more() {
        let mut pace = Pace::default();
        for i in 0..20 {
            let now_ms = 5_000 + i * 10;
            assert_eq!(pace.earliest_ms(now_ms), now_ms);
            pace.record(now_ms);
        }
        assert_eq!(pace.earliest_ms(5_200), 6_000);
        assert_eq!(pace.earliest_ms(6_000), 6_000);
        pace.record(6_000);
        assert_eq!(pace.earliest_ms(6_000), 6_010);
        assert_eq!(pace.earliest_ms(60_000), 60_000);
    }
}
