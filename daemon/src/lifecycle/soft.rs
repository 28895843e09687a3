//! Soft faults: those that end a session of a plugin and not its worker. Many of them within a
//! minute, and not all of one peer, count as one fault to the breaker.
//!
//! Invariant: what one source does, however often, never counts.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// So many within so long, of at least two sources, are a fault.
const SOFT_FAULTS: usize = 10;
const WINDOW_MS: u64 = 60_000;
/// Remembered; of more the oldest are let go.
const SOFT_FAULTS_MAX: usize = 64;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct SoftFaults {
    latest: VecDeque<(u64, u64)>,
}

impl SoftFaults {
    /// One more, by the word for its source; 0 is none, and counts as one. True if it completes a
    /// fault, which is then forgotten.
    pub(super) fn count(&mut self, source: u64, now_ms: u64) -> bool {
        self.latest
            .retain(|(at_ms, _)| now_ms < at_ms.saturating_add(WINDOW_MS));
        if self.latest.len() == SOFT_FAULTS_MAX {
            self.latest.pop_front();
        }
        self.latest.push_back((now_ms, source));
        let counts = self.latest.len() >= SOFT_FAULTS
            && self.latest.iter().any(|(_, other)| *other != source);
        if counts {
            self.latest.clear();
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of how many, of which source, when, and how many faults that makes.
    #[test]
    fn ten_of_two_sources_in_a_minute_are_a_fault_and_of_one_never() {
        type Row = (usize, u64, u64, usize);
        let stories: [&[Row]; 5] = [
            &[(9, 1, 0, 0), (1, 2, 1, 1), (9, 2, 2, 0), (1, 1, 3, 1)],
            &[(10_000, 1, 0, 0), (1, 2, 1, 1)],
            &[(10_000, 0, 0, 0)],
            &[(9, 1, 0, 0), (1, 2, 60_000, 0)],
            &[(1, 2, 0, 0), (9, 1, 59_999, 1)],
        ];
        for rows in stories {
            let mut soft = SoftFaults::default();
            for (times, source, now_ms, expected) in rows {
                let faults = (0..*times).filter(|_| soft.count(*source, *now_ms)).count();
                assert_eq!(faults, *expected, "{rows:?} at {now_ms}");
            }
        }
    }
}
