//! How many sessions come from one source in a minute.
//!
//! Whoever comes too often is told how long to wait, and is not banned. Invariant: at most
//! `SOURCES_MAX` sources are counted; when there are more, those of the last minute are forgotten.

use std::collections::HashMap;
use std::net::IpAddr;

const SOURCES_MAX: usize = 4096;
const MINUTE_MS: u64 = 60_000;

#[derive(Debug)]
pub(crate) struct Arrivals {
    per_minute: u32,
    with_loopback: bool,
    /// Since when, and how many.
    sources: HashMap<IpAddr, (u64, u32)>,
}

impl Arrivals {
    pub(crate) fn new(per_minute: u32, with_loopback: bool) -> Arrivals {
        Arrivals {
            per_minute,
            with_loopback,
            sources: HashMap::new(),
        }
    }

    /// How long somebody has to wait, in seconds, if he may not come now.
    pub(crate) fn refused_s(&mut self, source: Option<IpAddr>, now_ms: u64) -> Option<u64> {
        let source = source?;
        if self.per_minute == 0 || (source.is_loopback() && !self.with_loopback) {
            return None;
        }
        let source = match source {
            IpAddr::V6(address) => {
                let network = u128::from(address) & !u128::from(u64::MAX);
                IpAddr::V6(network.into())
            }
            IpAddr::V4(_) => source,
        };
        if self.sources.len() >= SOURCES_MAX && !self.sources.contains_key(&source) {
            self.sources
                .retain(|_, (since, _)| *since + MINUTE_MS > now_ms);
            if self.sources.len() >= SOURCES_MAX {
                self.sources.clear();
            }
        }
        let (since, count) = self.sources.entry(source).or_insert((now_ms, 0));
        if *since + MINUTE_MS <= now_ms {
            (*since, *count) = (now_ms, 0);
        }
        if *count >= self.per_minute {
            return Some((*since + MINUTE_MS - now_ms).div_ceil(1000));
        }
        *count += 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_an_address_or_a_network_of_64_bits() {
        let mut arrivals = Arrivals::new(2, false);
        let mut ask = |text: &str, now_ms| arrivals.refused_s(text.parse().ok(), now_ms);
        assert_eq!(ask("192.0.2.1", 0), None);
        assert_eq!(ask("192.0.2.1", 0), None);
        assert_eq!(ask("192.0.2.1", 1_500), Some(59));
        assert_eq!(ask("192.0.2.2", 1_500), None);
        assert_eq!(ask("192.0.2.1", 60_000), None);
        assert_eq!(ask("2001:db8::1", 0), None);
        assert_eq!(ask("2001:db8::2", 0), None);
        assert_eq!(ask("2001:db8::3", 0), Some(60));
        assert_eq!(ask("2001:db8:0:1::3", 0), None);
        for _ in 0..5 {
            assert_eq!(ask("127.0.0.1", 0), None);
            assert_eq!(ask("a unix socket", 0), None);
        }
    }

    #[test]
    fn many_sources_take_bounded_memory() {
        let mut arrivals = Arrivals::new(1, true);
        for n in 0..20_000_u32 {
            arrivals.refused_s(Some(IpAddr::V4(n.into())), 0);
        }
        assert!(arrivals.sources.len() <= SOURCES_MAX);
    }
}
