//! How often each payload of each source came within the window, for those that came last.
//!
//! A datagram that is not a repetition is looked for in vain, in memory that nobody has touched for long
//! and that the caches have forgotten. So a row is one line of memory, and holds little of each: the
//! upper half of its key, which with the row that the lower half chooses tells it from the others.
//!
//! Invariant: in a row, whoever was heard of last stands first, and who stood last makes room.

use std::mem;

const WINDOW_MS: u64 = 2000;
/// A power of two, since the lowest bits of a key choose.
const ROWS: usize = 1024;
const PLACES: usize = 5;

#[derive(Debug)]
pub(crate) struct Repeats {
    rows: Vec<Row>,
}

#[derive(Clone, Debug, Default)]
#[repr(align(64))]
struct Row([Heard; PLACES]);

const _: () = assert!(size_of::<Row>() == 64);

#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    tag: u32,
    /// When its window began, without the upper half: a window is far shorter than what the lower counts.
    since_ms: u32,
    /// Within that window; of a place that was never taken, 0.
    count: u32,
}

impl Repeats {
    pub(crate) fn new() -> Repeats {
        Repeats {
            rows: vec![Row::default(); ROWS],
        }
    }

    /// Counts one more of a key, and gives the count.
    pub(crate) fn hear(&mut self, key: u64, now_ms: u64) -> &mut u32 {
        let Row(places) = &mut self.rows[key as usize % ROWS];
        let (tag, now_ms) = ((key >> 32) as u32, now_ms as u32);
        let known = places.iter().position(|heard| heard.tag == tag);
        let mut heard = known.map_or(Heard::default(), |place| places[place]);
        if heard.count == 0 || u64::from(now_ms.wrapping_sub(heard.since_ms)) >= WINDOW_MS {
            heard = Heard {
                tag,
                since_ms: now_ms,
                count: 0,
            };
        }
        heard.count += 1;
        // Each moves by one, up to where it stood itself, or out of the row.
        for place in &mut places[..=known.unwrap_or(PLACES - 1)] {
            mem::swap(place, &mut heard);
        }
        &mut places[0].count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All of one row.
    fn key(nth: u64) -> u64 {
        nth << 32 | 7
    }

    #[test]
    fn the_one_not_heard_of_for_longest_makes_room() {
        let mut repeats = Repeats::new();
        for nth in 1..=PLACES as u64 {
            assert_eq!(*repeats.hear(key(nth), 0), 1);
        }
        assert_eq!(*repeats.hear(key(1), 0), 2, "it is there still");
        assert_eq!(*repeats.hear(key(9) + 1, 0), 1, "in another row");
        assert_eq!(*repeats.hear(key(9), 0), 1, "in place of 2");
        assert_eq!(*repeats.hear(key(2), 0), 1, "in place of 3");
        for nth in [1, 4, 5, 9, 2] {
            let before = u32::from(nth == 1);
            assert!(*repeats.hear(key(nth), 0) >= 2 + before, "{nth}");
        }
    }

    #[test]
    fn a_window_begins_with_the_first_and_ends_by_itself() {
        for first_ms in [0, 5_000, u64::from(u32::MAX) - 7] {
            let mut repeats = Repeats::new();
            // (moment after the first, count)
            let story = [(0, 1), (1_000, 2), (1_999, 3), (2_000, 1), (3_999, 2)];
            for (later_ms, count) in story {
                let heard = *repeats.hear(key(0), first_ms + later_ms);
                assert_eq!(heard, count, "{later_ms} after {first_ms}");
            }
        }
    }
}
