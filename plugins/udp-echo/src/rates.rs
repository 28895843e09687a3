//! How many datagrams a source may send, and all together, by token buckets.
//!
//! A source is an IPv4 address or an IPv6 /64, since that is what somebody at the other end can
//! choose from. There is no clock here.
//!
//! Invariant: no bucket ever holds more than its burst.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Who shares a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prefix {
    V4(Ipv4Addr),
    /// The upper half of the address.
    V6(u64),
}

impl Prefix {
    pub(crate) fn of(ip: IpAddr) -> Prefix {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Prefix::V4(ip),
            IpAddr::V6(ip) => Prefix::V6((u128::from(ip) >> 64) as u64),
        }
    }

    /// Different ones have different words.
    pub(crate) fn words(self) -> [u64; 2] {
        match self {
            Prefix::V4(ip) => [4, u64::from(u32::from(ip))],
            Prefix::V6(upper) => [6, upper],
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Prefix::V4(ip) => ip.fmt(f),
            Prefix::V6(upper) => write!(f, "{}/64", Ipv6Addr::from(u128::from(*upper) << 64)),
        }
    }
}

/// So many a second on average, and so many at once; of thousandths, so that the share of one of
/// many workers can be less than one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    per_second_milli: u64,
    burst_milli: u64,
}

impl Rate {
    /// One worker's share; `None` if there is no limit.
    pub(crate) fn share(per_second: u64, burst: u64, workers: u32) -> Option<Rate> {
        let workers = u64::from(workers.max(1));
        (per_second > 0).then_some(Rate {
            per_second_milli: (per_second * 1000).div_ceil(workers),
            burst_milli: (burst * 1000).div_ceil(workers).max(1000),
        })
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket {
    /// What is missing to a full one, as of `at_ms`, in millionths; a new one misses nothing.
    missing_micro: u64,
    at_ms: u64,
}

impl Bucket {
    /// Takes one out, if there is one.
    pub(crate) fn allows(&mut self, rate: Rate, now_ms: u64) -> bool {
        const WHOLE_MICRO: u64 = 1_000_000;
        let passed_ms = now_ms.saturating_sub(self.at_ms);
        self.at_ms = self.at_ms.max(now_ms);
        // A thousandth a second is a millionth a millisecond.
        let gained = passed_ms.saturating_mul(rate.per_second_milli);
        self.missing_micro = self.missing_micro.saturating_sub(gained);
        let allowed = self.missing_micro + WHOLE_MICRO <= rate.burst_milli * 1000;
        if allowed {
            self.missing_micro += WHOLE_MICRO;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        // (rate, burst, workers, datagrams at moments, how many pass)
        let cases = [
            (100, 200, 1, vec![(0, 300)], vec![200]),
            (
                100,
                200,
                1,
                vec![(0, 300), (9, 1), (10, 1), (1010, 300)],
                vec![200, 0, 1, 100],
            ),
            (
                100,
                200,
                4,
                vec![(0, 300), (39, 1), (40, 1)],
                vec![50, 0, 1],
            ),
            (1, 1, 2, vec![(0, 2), (1999, 1), (2000, 1)], vec![1, 0, 1]),
            (100, 0, 1, vec![(0, 3), (10, 1)], vec![1, 1]),
            // The clock goes back: nothing is gained.
            (
                1000,
                1,
                1,
                vec![(7, 1), (3, 1), (7, 1), (8, 1)],
                vec![1, 0, 0, 1],
            ),
        ];
        for (per_second, burst, workers, moments, expected) in cases {
            let rate = Rate::share(per_second, burst, workers).expect("a limit");
            let mut bucket = Bucket::default();
            let passed: Vec<usize> = moments
                .iter()
                .map(|(now_ms, count)| {
                    let times = 0..*count;
                    times.filter(|_| bucket.allows(rate, *now_ms)).count()
                })
                .collect();
            assert_eq!(
                passed, expected,
                "{per_second} {burst} {workers} {moments:?}"
            );
        }
        assert_eq!(Rate::share(0, 10, 1), None);
    }

    #[test]
    fn a_prefix_is_what_one_peer_can_choose_from() {
        for (ip, shown) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ] {
            let prefix = Prefix::of(ip.parse().expect("an address"));
            assert_eq!(prefix.to_string(), shown);
        }
        let v4 = Prefix::of([0, 0, 0, 1].into());
        assert_ne!(v4.words(), Prefix::V6(1).words());
    }
}
