//! The metrics that a plugin under test has defined, with their numbers.
//!
//! Nothing here calls the plugin. Invariant: a number that was given out names one metric for as long
//! as the fake host lives.

use super::FakeHost;
use crate::abi;
use crate::metrics::check;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

#[derive(Default)]
pub(crate) struct Metrics(Vec<Defined>);

pub(crate) struct Defined {
    kind: Kind,
    name: String,
    bounds: Vec<u64>,
    /// Of a histogram: how often each bound was kept, and at last how often none.
    counts: Vec<u64>,
    pub(crate) value: i64,
}

impl Metrics {
    pub(crate) fn define(
        &mut self,
        kind: u32,
        name: &[u8],
        help: &[u8],
        bounds: &[u64],
    ) -> Result<u32, (abi::Status, &'static str)> {
        check(kind, name, help, bounds).map_err(|why| (abi::E_ARG, why))?;
        let name = String::from_utf8_lossy(name).into_owned();
        if self.0.iter().any(|defined| defined.name == name) {
            return Err((abi::E_ARG, "its name is defined already"));
        }
        if self.0.len() >= abi::METRICS_MAX as usize {
            return Err((abi::E_FULL, "there are 64 already"));
        }
        let kind = match kind {
            abi::METRIC_COUNTER => Kind::Counter,
            abi::METRIC_GAUGE => Kind::Gauge,
            _ => Kind::Histogram,
        };
        self.0.push(Defined {
            kind,
            name,
            bounds: bounds.to_vec(),
            counts: vec![0; bounds.len() + 1],
            value: 0,
        });
        Ok(self.0.len() as u32)
    }

    pub(crate) fn get(&mut self, metric: u32, kind: Kind) -> Option<&mut Defined> {
        let at = (metric as usize).checked_sub(1)?;
        self.0.get_mut(at).filter(|defined| defined.kind == kind)
    }

    fn named(&self, name: &str) -> &Defined {
        let found = self.0.iter().find(|defined| defined.name == name);
        found.unwrap_or_else(|| panic!("the plugin has defined no metric {name}"))
    }
}

impl Defined {
    pub(crate) fn add(&mut self, by: i64) {
        self.value = self.value.wrapping_add(by);
    }

    pub(crate) fn record(&mut self, value: u64) {
        let kept = self.bounds.iter().position(|bound| value <= *bound);
        let at = kept.unwrap_or(self.bounds.len());
        self.counts[at] += 1;
        self.add(value as i64);
    }
}

impl FakeHost {
    /// What a counter or a gauge says now, or the sum of all that a histogram was told.
    #[track_caller]
    pub fn metric(&self, name: &str) -> i64 {
        self.shared.ledger().metrics.named(name).value
    }

    /// How many values of a histogram were at most so large as each of its bounds and larger than the
    /// one before; at last, how many were larger than all.
    #[track_caller]
    pub fn histogram(&self, name: &str) -> Vec<u64> {
        self.shared.ledger().metrics.named(name).counts.clone()
    }
}
