//! A plugin's own numbers on the scoreboard of its worker: what each is, and how far it has come.
//!
//! The worker defines them while its plugin is created, and any of its threads may count; nobody ever
//! takes one away. The supervisor reads them whenever it likes, also after the worker's death, and
//! believes no more than what the header allows a plugin to define.
//!
//! Invariant: a metric's head is written last, so a reader sees all of it or nothing.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use polyport_plugin::abi;
use polyport_plugin::metrics::check;
use serde::{Deserialize, Serialize};

use super::{CRASH_AT, Scoreboard, crash, soft};

const METRICS_MAX: usize = abi::METRICS_MAX as usize;
const BOUNDS_MAX: usize = abi::METRIC_BOUNDS_MAX as usize;
const NAME_WORDS: usize = abi::METRIC_NAME_BYTES as usize / 8;
const HELP_WORDS: usize = abi::METRIC_HELP_BYTES as usize / 8;

// Words of a metric. Its head: kind, length of name, length of help, count of bounds, a byte each.
const NAME_AT: usize = 1;
const HELP_AT: usize = NAME_AT + NAME_WORDS;
const BOUNDS_AT: usize = HELP_AT + HELP_WORDS;
const VALUES_AT: usize = BOUNDS_AT + BOUNDS_MAX;
/// Of a histogram: what each bound has kept, what none has, and the sum of all.
const VALUES_MAX: usize = BOUNDS_MAX + 2;
const METRIC_WORDS: usize = VALUES_AT + VALUES_MAX;

const METRICS_AT: usize = CRASH_AT + crash::AREA_WORDS + soft::AREA_WORDS;
pub(super) const AREA_WORDS: usize = METRICS_MAX * METRIC_WORDS;

/// What a metric counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

/// A metric as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metric {
    pub kind: MetricKind,
    pub name: String,
    pub help: String,
    /// Of a histogram.
    pub bounds: Vec<u64>,
    /// One number; of a histogram one for each bound, one for what is above, and the sum. A gauge is
    /// signed.
    pub values: Vec<u64>,
}

/// Why there is no such metric, or no further one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undefined {
    /// What is wrong with the definition.
    Bad(&'static str),
    Full,
}

impl Scoreboard {
    /// Returns its number, which is not 0. By the event loop only.
    pub fn define_metric(
        &self,
        kind: u32,
        name: &[u8],
        help: &[u8],
        bounds: &[u64],
    ) -> Result<u32, Undefined> {
        check(kind, name, help, bounds).map_err(Undefined::Bad)?;
        let defined = self.metrics();
        if defined.iter().any(|other| other.name.as_bytes() == name) {
            return Err(Undefined::Bad("its name is defined already"));
        }
        let at = defined.len();
        if at == METRICS_MAX {
            return Err(Undefined::Full);
        }
        let words = self.metric(at);
        put(&words[NAME_AT..HELP_AT], name);
        put(&words[HELP_AT..BOUNDS_AT], help);
        for (word, bound) in words[BOUNDS_AT..].iter().zip(bounds) {
            word.store(*bound, Relaxed);
        }
        let lengths = [name.len(), help.len(), bounds.len()];
        let head = [kind as u8].into_iter().chain(lengths.map(|n| n as u8));
        let head = head
            .zip(0..)
            .fold(0, |head, (byte, nth)| head | u64::from(byte) << (8 * nth));
        words[0].store(head, Release);
        Ok(at as u32 + 1)
    }

    /// To a counter. `None`: it is none. From any thread, as the following.
    #[inline]
    pub fn metric_add(&self, number: u32, amount: u64) -> Option<()> {
        let words = self.of_kind(number, abi::METRIC_COUNTER)?;
        words[VALUES_AT].fetch_add(amount, Relaxed);
        Some(())
    }

    /// To a gauge, or from it.
    #[inline]
    pub fn metric_change(&self, number: u32, by: i64) -> Option<()> {
        let words = self.of_kind(number, abi::METRIC_GAUGE)?;
        words[VALUES_AT].fetch_add(by.cast_unsigned(), Relaxed);
        Some(())
    }

    #[inline]
    pub fn metric_set(&self, number: u32, value: i64) -> Option<()> {
        let words = self.of_kind(number, abi::METRIC_GAUGE)?;
        words[VALUES_AT].store(value.cast_unsigned(), Relaxed);
        Some(())
    }

    #[inline]
    pub fn metric_record(&self, number: u32, value: u64) -> Option<()> {
        let words = self.of_kind(number, abi::METRIC_HISTOGRAM)?;
        let count = bound_count(words[0].load(Relaxed));
        let bounds = &words[BOUNDS_AT..BOUNDS_AT + count];
        let kept = bounds
            .iter()
            .position(|bound| value <= bound.load(Relaxed))
            .unwrap_or(count);
        words[VALUES_AT + kept].fetch_add(1, Relaxed);
        words[VALUES_AT + count + 1].fetch_add(value, Relaxed);
        Some(())
    }

    /// Those that are defined, in that order, up to the first that a plugin could not have defined.
    pub fn metrics(&self) -> Vec<Metric> {
        (0..METRICS_MAX)
            .map_while(|at| read(self.metric(at)))
            .collect()
    }

    fn metric(&self, at: usize) -> &[AtomicU64] {
        let at = METRICS_AT + at * METRIC_WORDS;
        &self.words[at..at + METRIC_WORDS]
    }

    #[inline]
    fn of_kind(&self, number: u32, kind: u32) -> Option<&[AtomicU64]> {
        let at = (number as usize).checked_sub(1)?;
        let words = (at < METRICS_MAX).then(|| self.metric(at))?;
        let found = words[0].load(Relaxed) & 0xff;
        (found == u64::from(kind)).then_some(words)
    }
}

fn bound_count(head: u64) -> usize {
    (head.to_le_bytes()[3] as usize).min(BOUNDS_MAX)
}

fn read(words: &[AtomicU64]) -> Option<Metric> {
    let head = words[0].load(Acquire);
    let [kind, name_length, help_length, ..] = head.to_le_bytes();
    let name = taken(&words[NAME_AT..HELP_AT], name_length);
    let help = taken(&words[HELP_AT..BOUNDS_AT], help_length);
    let count = bound_count(head);
    let load = |words: &[AtomicU64]| words.iter().map(|word| word.load(Relaxed)).collect();
    let bounds: Vec<u64> = load(&words[BOUNDS_AT..BOUNDS_AT + count]);
    check(u32::from(kind), &name, &help, &bounds).ok()?;
    let (kind, values) = match u32::from(kind) {
        abi::METRIC_COUNTER => (MetricKind::Counter, 1),
        abi::METRIC_GAUGE => (MetricKind::Gauge, 1),
        _ => (MetricKind::Histogram, count + 2),
    };
    Some(Metric {
        kind,
        name: String::from_utf8(name).ok()?,
        help: String::from_utf8(help).ok()?,
        bounds,
        values: load(&words[VALUES_AT..VALUES_AT + values]),
    })
}

fn put(words: &[AtomicU64], bytes: &[u8]) {
    for (word, bytes) in words.iter().zip(bytes.chunks(8)) {
        let mut whole = [0; 8];
        whole[..bytes.len()].copy_from_slice(bytes);
        word.store(u64::from_le_bytes(whole), Relaxed);
    }
}

fn taken(words: &[AtomicU64], length: u8) -> Vec<u8> {
    let bytes = words.iter().flat_map(|w| w.load(Relaxed).to_le_bytes());
    bytes.take(length.into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scoreboard::BYTES;
    use crate::sys::shared_memory::SharedWords;

    fn board() -> Scoreboard {
        let file = SharedWords::file("test", BYTES).expect("memory file");
        Scoreboard::over(SharedWords::map(&file).expect("mapping")).expect("long enough")
    }

    #[test]
    fn what_is_counted_is_read_with_what_it_means() {
        let board = board();
        assert_eq!(board.metrics(), []);
        let lines = board.define_metric(abi::METRIC_COUNTER, b"lines", b"Said.", &[]);
        let rooms = board.define_metric(abi::METRIC_GAUGE, b"rooms", b"Open.", &[]);
        let bounds = [10, 100];
        let sizes = board.define_metric(abi::METRIC_HISTOGRAM, b"sizes", b"Of it.", &bounds);
        assert_eq!((lines, rooms, sizes), (Ok(1), Ok(2), Ok(3)));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let board = board.clone();
                std::thread::spawn(move || {
                    for _ in 0..1_000 {
                        board.metric_add(1, 3).expect("a counter");
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("it has counted");
        }
        board.metric_change(2, -5).expect("a gauge");
        for value in [10, 11, 100, 101, 0] {
            board.metric_record(3, value).expect("a histogram");
        }
        let metric = |kind, name: &str, help: &str, bounds: &[u64], values: &[u64]| Metric {
            kind,
            name: name.to_owned(),
            help: help.to_owned(),
            bounds: bounds.to_vec(),
            values: values.to_vec(),
        };
        let minus_five = (-5_i64).cast_unsigned();
        let expected = [
            metric(MetricKind::Counter, "lines", "Said.", &[], &[6_000]),
            metric(MetricKind::Gauge, "rooms", "Open.", &[], &[minus_five]),
            metric(
                MetricKind::Histogram,
                "sizes",
                "Of it.",
                &bounds,
                &[2, 2, 1, 222],
            ),
        ];
        assert_eq!(board.metrics(), expected);
        board.metric_set(2, 7).expect("a gauge");
        assert_eq!(board.metrics()[1].values, [7]);
    }

    #[test]
    fn a_number_of_another_kind_or_of_nothing_changes_nothing() {
        let board = board();
        let counter = board.define_metric(abi::METRIC_COUNTER, b"a", b"A.", &[]);
        assert_eq!(counter, Ok(1));
        let before = board.metrics();
        for number in [0, 2, 64, 65, u32::MAX] {
            assert_eq!(board.metric_add(number, 1), None, "{number}");
        }
        for answer in [
            board.metric_change(1, 1),
            board.metric_set(1, 1),
            board.metric_record(1, 1),
        ] {
            assert_eq!(answer, None);
        }
        assert_eq!(board.metrics(), before);
    }

    #[test]
    fn there_is_room_for_so_many_of_different_names() {
        let board = board();
        let define =
            |name: &str| board.define_metric(abi::METRIC_GAUGE, name.as_bytes(), b"A.", &[]);
        for number in 1..=abi::METRICS_MAX {
            assert_eq!(define(&format!("m{number}")), Ok(number));
        }
        assert_eq!(
            define("m7"),
            Err(Undefined::Bad("its name is defined already"))
        );
        assert!(matches!(define("M"), Err(Undefined::Bad(_))));
        assert_eq!(define("another"), Err(Undefined::Full));
    }

    #[test]
    fn what_a_hostile_worker_writes_defines_nothing() {
        let board = board();
        for fill in [u64::MAX, 0x0101_0101_0101_0101, 0x6161_6161_6161_6161] {
            for word in board.words.iter() {
                word.store(fill, Relaxed);
            }
            assert_eq!(board.metrics(), []);
        }
        // A histogram that says it has 255 bounds has 16 at most, wherever it is counted.
        for word in board.words.iter() {
            word.store(0xffff_ff03, Relaxed);
        }
        assert_eq!(board.metric_record(64, 1), Some(()));
    }
}
