//! Which worlds a simulation plays: `POLYPORT_SEED=N` is one of them again, `POLYPORT_SEEDS=N` so many from
//! the first on.
//!
//! Only tests have this. It stands outside of what is simulated, which knows no environment. Invariant: without
//! either variable a run is always the same.

use std::ops::RangeInclusive;

/// As many as the caller says, unless somebody else does.
pub(crate) fn seeds(usual: u64) -> RangeInclusive<u64> {
    let number = |name| std::env::var(name).map(|text| text.parse().expect("a number"));
    match (number("POLYPORT_SEED"), number("POLYPORT_SEEDS")) {
        (Ok(seed), _) => seed..=seed,
        (Err(_), seeds) => 1..=seeds.unwrap_or(usual),
    }
}
