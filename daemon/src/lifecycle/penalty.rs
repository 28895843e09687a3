//! For how long a source that brought a worker down is kept out.
//!
//! Each time it does so again after having been let in, for twice as long; once it has been in for
//! long enough without doing it, it is forgotten. Whom the source stands for, and how it is kept out,
//! is not known here.
//!
//! Invariant: at most `PENALTIES_MAX` sources are remembered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

const FIRST_MS: u64 = 90_000;
const LAST_MS: u64 = 3_600_000;
/// From the end of a penalty until it is forgotten.
const FORGOTTEN_MS: u64 = 3_600_000;
/// Of more sources those whose penalties end first are forgotten.
const PENALTIES_MAX: usize = 4_096;

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Penalties {
    /// By source, as the engine packs it into a word.
    sources: BTreeMap<u64, Penalty>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Penalty {
    until_ms: u64,
    /// How long it was.
    for_ms: u64,
}

impl Penalties {
    /// A fault for which this source is to blame: for how long it is kept out from now on. `None` if
    /// it already is, which is not its doing a second time: it was let in before that.
    pub fn fault(&mut self, source: u64, now_ms: u64) -> Option<u64> {
        if self.is_penalised(source, now_ms) {
            return None;
        }
        self.sources
            .retain(|_, known| now_ms < known.until_ms.saturating_add(FORGOTTEN_MS));
        let for_ms = match self.sources.get(&source) {
            Some(known) => (known.for_ms * 2).min(LAST_MS),
            None => FIRST_MS,
        };
        if !self.sources.contains_key(&source) && self.sources.len() >= PENALTIES_MAX {
            let first = self
                .sources
                .iter()
                .min_by_key(|(_, known)| known.until_ms)
                .map(|(source, _)| *source);
            first.map(|source| self.sources.remove(&source));
        }
        let until_ms = now_ms.saturating_add(for_ms);
        self.sources.insert(source, Penalty { until_ms, for_ms });
        Some(for_ms)
    }

    pub fn is_penalised(&self, source: u64, now_ms: u64) -> bool {
        let known = self.sources.get(&source);
        known.is_some_and(|known| now_ms < known.until_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: u64 = 1;
    const B: u64 = 2;

    /// Rows of when which source does it, and for how long it is kept out.
    #[test]
    fn a_source_is_kept_out_for_twice_as_long_each_time_and_then_forgotten() {
        let rows = [
            (0, A, Some(90_000)),
            (89_999, A, None),
            (50_000, B, Some(90_000)),
            (90_000, A, Some(180_000)),
            (270_000, A, Some(360_000)),
            (630_000, A, Some(720_000)),
            (1_350_000, A, Some(1_440_000)),
            (2_790_000, A, Some(2_880_000)),
            (5_670_000, A, Some(3_600_000)),
            (9_270_000, A, Some(3_600_000)),
            (12_870_000 + FORGOTTEN_MS - 1, A, Some(3_600_000)),
            (24_000_000 + FORGOTTEN_MS, A, Some(90_000)),
            (24_000_000 + FORGOTTEN_MS, B, Some(90_000)),
        ];
        let mut penalties = Penalties::default();
        for (now_ms, source, expected) in rows {
            assert_eq!(
                penalties.fault(source, now_ms),
                expected,
                "{source} at {now_ms}"
            );
            assert!(penalties.is_penalised(source, now_ms));
        }
        assert!(!penalties.is_penalised(3, 0));
    }

    #[test]
    fn a_full_table_forgets_whoever_is_free_soonest() {
        let mut penalties = Penalties::default();
        for source in 0..PENALTIES_MAX as u64 {
            assert!(penalties.fault(source, source).is_some());
        }
        assert!(penalties.fault(u64::MAX, 5_000).is_some());
        assert_eq!(penalties.sources.len(), PENALTIES_MAX);
        assert!(!penalties.is_penalised(0, 5_000));
        assert!(penalties.is_penalised(1, 5_000));
        assert!(penalties.is_penalised(u64::MAX, 5_000));
    }
}
