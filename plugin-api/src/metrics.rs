//! Numbers of a plugin's own, which an administrator reads among the daemon's with `polyport metrics`.
//!
//! Each is defined once, in [`Configure::new`](crate::Configure::new), and changed whenever something is
//! to be counted: that is a store into shared memory, without a lock or a system call. Those of all
//! workers of a service are added up; a [`Counter`] and a [`Histogram`] never go back.
//!
//! ```
//! use polyport_plugin::metrics::{Counter, Histogram};
//! use polyport_plugin::prelude::*;
//! use polyport_plugin::testing::Setup;
//!
//! struct Echo {
//!     lines: Counter,
//!     line_bytes: Histogram,
//! }
//!
//! impl Configure for Echo {
//!     fn new(_: &Settings, cx: &mut Context) -> Result<Self, String> {
//!         Ok(Echo {
//!             lines: cx.counter("lines", "Lines that were echoed.")?,
//!             line_bytes: cx.histogram("line_bytes", "How long they were.", &[80, 1000])?,
//!         })
//!     }
//! }
//!
//! impl Protocol for Echo {
//!     type Session = ();
//!     fn feed(&mut self, cx: &mut Context, from: SessionId, _: &mut (), input: &[u8]) -> Result<usize> {
//!         let end = input.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
//!         cx.write(from, &input[..end])?;
//!         for line in input[..end].split_inclusive(|byte| *byte == b'\n') {
//!             cx.add(self.lines, 1);
//!             cx.record(self.line_bytes, line.len() as u64);
//!         }
//!         Ok(end)
//!     }
//! }
//!
//! let mut host = Setup::of::<Echo>().start().unwrap();
//! let peer = host.connect();
//! host.send(peer, b"hello\nworld\n");
//! assert_eq!(host.metric("lines"), 2);
//! assert_eq!(host.histogram("line_bytes"), [2, 0, 0]);
//! ```
//!
//! Invariant: a metric's number is only had from the host, so it is of the kind that its type says.

use crate::{Context, Replies, Result, Stream, abi};

/// How often, or how much, so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter(u32);

/// How many there are now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gauge(u32);

/// How many of what was recorded were at most so large, for each bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histogram(u32);

/// Defining; only in [`Configure::new`](crate::Configure::new), elsewhere it fails with
/// [`Error::Thread`](crate::Error::Thread).
///
/// Names are `[a-z][a-z0-9_]*`, at most 64 bytes, and do not end in `total`, `bucket`, `sum` or `count`;
/// `help` is a sentence of at most 128 bytes. What else is wrong with them the log says:
/// [`Error::Argument`](crate::Error::Argument). There is room for 64: [`Error::Full`](crate::Error::Full).
impl Context {
    /// Defines a counter.
    pub fn counter(&mut self, name: &str, help: &str) -> Result<Counter> {
        let define = |kind| self.host().define_metric(kind, name, help, &[]);
        define(abi::METRIC_COUNTER).map(Counter)
    }

    /// Defines a gauge.
    pub fn gauge(&mut self, name: &str, help: &str) -> Result<Gauge> {
        let define = |kind| self.host().define_metric(kind, name, help, &[]);
        define(abi::METRIC_GAUGE).map(Gauge)
    }

    /// Defines a histogram with 1 to 16 bounds, each above the one before.
    pub fn histogram(&mut self, name: &str, help: &str, bounds: &[u64]) -> Result<Histogram> {
        let define = |kind| self.host().define_metric(kind, name, help, bounds);
        define(abi::METRIC_HISTOGRAM).map(Histogram)
    }
}

macro_rules! changing {
    ($($type:ty, $host:ident;)*) => {
        $(
            /// Counting. It cannot fail: what it needs was had when the metric was defined.
            impl $type {
                /// Adds to a counter.
                pub fn add(&self, counter: Counter, amount: u64) {
                    self.$host().metric_add(counter.0, amount);
                }

                /// Adds to a gauge, or takes away.
                pub fn change(&self, gauge: Gauge, by: i64) {
                    self.$host().metric_change(gauge.0, by);
                }

                /// Sets a gauge of this worker.
                pub fn set(&self, gauge: Gauge, value: i64) {
                    self.$host().metric_set(gauge.0, value);
                }

                /// Counts a value in a histogram.
                pub fn record(&self, histogram: Histogram, value: u64) {
                    self.$host().metric_record(histogram.0, value);
                }
            }
        )*
    };
}

changing! {
    Context, host;
    Stream<'_>, host;
    Replies<'_>, host;
}

const ENDINGS_TAKEN: [&str; 4] = ["total", "bucket", "sum", "count"];

/// What the header forbids of a definition: the fake host and the daemon answer alike.
#[doc(hidden)]
pub fn check(kind: u32, name: &[u8], help: &[u8], bounds: &[u64]) -> Result<(), &'static str> {
    let first_is_good = name.first().is_some_and(u8::is_ascii_lowercase);
    let good = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
    if !first_is_good || !name.iter().all(good) || name.len() > abi::METRIC_NAME_BYTES as usize {
        return Err("its name is not [a-z][a-z0-9_]* of at most 64 bytes");
    }
    let last = name.rsplit(|byte| *byte == b'_').next().unwrap_or(name);
    if ENDINGS_TAKEN.iter().any(|taken| taken.as_bytes() == last) {
        return Err("its name ends in total, bucket, sum or count, which the host adds itself");
    }
    let help = std::str::from_utf8(help).map_err(|_| "its help is not UTF-8")?;
    let length_max = abi::METRIC_HELP_BYTES as usize;
    if help.is_empty() || help.len() > length_max || help.chars().any(char::is_control) {
        return Err("its help is not a line of 1 to 128 bytes");
    }
    let rising = bounds.windows(2).all(|pair| pair[0] < pair[1]);
    match (kind, bounds.len()) {
        (abi::METRIC_COUNTER | abi::METRIC_GAUGE, 0) => Ok(()),
        (abi::METRIC_COUNTER | abi::METRIC_GAUGE, _) => Err("only a histogram has bounds"),
        (abi::METRIC_HISTOGRAM, 1..=16) if rising => Ok(()),
        (abi::METRIC_HISTOGRAM, _) => Err("its bounds are not 1 to 16 rising numbers"),
        _ => Err("its kind is unknown"),
    }
}

const _: () = {
    assert!(abi::METRIC_NAME_BYTES == 64 && abi::METRIC_HELP_BYTES == 128);
    assert!(abi::METRIC_BOUNDS_MAX == 16);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_header_forbids_is_refused_in_words() {
        const COUNTER: u32 = abi::METRIC_COUNTER;
        const HISTOGRAM: u32 = abi::METRIC_HISTOGRAM;
        let long = "x".repeat(65);
        let words = "y".repeat(129);
        let many: Vec<u64> = (0..17).collect();
        for (kind, name, help, bounds, refused) in [
            (COUNTER, "a", "A.", &[][..], None),
            (COUNTER, &long[1..], &words[1..], &[], None),
            (COUNTER, "countess", "A.", &[], None),
            (COUNTER, "", "A.", &[], Some("name")),
            (COUNTER, "_a", "A.", &[], Some("name")),
            (COUNTER, "9a", "A.", &[], Some("name")),
            (COUNTER, "a-b", "A.", &[], Some("name")),
            (COUNTER, "A", "A.", &[], Some("name")),
            (COUNTER, "a{x=\"1\"}", "A.", &[], Some("name")),
            (COUNTER, &long, "A.", &[], Some("name")),
            (COUNTER, "total", "A.", &[], Some("ends in")),
            (COUNTER, "lines_total", "A.", &[], Some("ends in")),
            (HISTOGRAM, "x_bucket", "A.", &[1], Some("ends in")),
            (COUNTER, "a", "", &[], Some("help")),
            (COUNTER, "a", "two\nlines", &[], Some("help")),
            (COUNTER, "a", &words, &[], Some("help")),
            (COUNTER, "a", "A.", &[1], Some("only a histogram")),
            (abi::METRIC_GAUGE, "a", "A.", &[1], Some("only a histogram")),
            (HISTOGRAM, "a", "A.", &many[..16], None),
            (HISTOGRAM, "a", "A.", &many, Some("bounds")),
            (HISTOGRAM, "a", "A.", &[], Some("bounds")),
            (HISTOGRAM, "a", "A.", &[1, 1], Some("bounds")),
            (0, "a", "A.", &[], Some("kind")),
            (4, "a", "A.", &[], Some("kind")),
        ] {
            let answer = check(kind, name.as_bytes(), help.as_bytes(), bounds);
            let as_expected = match refused {
                None => answer.is_ok(),
                Some(words) => answer.is_err_and(|why| why.contains(words)),
            };
            assert!(as_expected, "{kind} {name:?} {help:?}: {answer:?}");
        }
        assert!(check(COUNTER, b"a", b"\xff", &[]).is_err());
    }
}
