//! The latest soft faults, by source: what a plugin did wrong that ended a session and not its worker.
//!
//! A count and a ring. Threads write there too, which happens so rarely that it may cost what it does;
//! a reader that looks at a time when one is being written may see the source that was there before.
//!
//! Invariant: the count never goes back.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::{CRASH_AT, SOURCE, Scoreboard, Slot, crash};

/// Sources that are remembered; of more between two looks only the last are seen.
const RING_WORDS: usize = 16;
const COUNT_AT: usize = CRASH_AT + crash::AREA_WORDS;
const RING_AT: usize = COUNT_AT + 1;
pub(super) const AREA_WORDS: usize = 1 + RING_WORDS;

impl Slot {
    /// The callback that was entered last was at fault.
    pub fn note_fault(&self) {
        let source = self.words[self.at + SOURCE].load(Relaxed);
        let nth = self.words[COUNT_AT].load(Relaxed) as usize % RING_WORDS;
        self.words[RING_AT + nth].store(source, Relaxed);
        self.words[COUNT_AT].fetch_add(1, Release);
    }
}

impl Scoreboard {
    /// How many there have been, and the sources of those after the first `seen`, as far as they are
    /// remembered.
    pub fn soft_faults(&self, seen: u64) -> (u64, Vec<u64>) {
        let count = self.words[COUNT_AT].load(Acquire);
        let new = count.saturating_sub(seen).min(RING_WORDS as u64);
        let nths = (count - new..count).map(|nth| nth as usize % RING_WORDS);
        let sources = nths.map(|nth| self.words[RING_AT + nth].load(Relaxed));
        (count, sources.collect())
    }
}

#[cfg(test)]
mod tests {
    use crate::scoreboard::{BYTES, Callback, Scoreboard};
    use crate::sys::shared_memory::SharedWords;

    #[test]
    fn the_latest_are_remembered_and_each_is_seen_once() {
        let file = SharedWords::file("test", BYTES).expect("memory file");
        let board = SharedWords::map(&file).expect("mapping");
        let board = Scoreboard::over(board).expect("long enough");
        assert_eq!(board.soft_faults(0), (0, vec![]));
        let slots = [board.slot(0), board.slot(1)];
        for (source, slot) in (1..=20).zip(slots.iter().cycle()) {
            slot.enter(Callback::Feed, 7, source);
            slot.leave();
            slot.note_fault();
            assert_eq!(board.soft_faults(source - 1), (source, vec![source]));
        }
        assert_eq!(board.soft_faults(0), (20, (5..=20).collect()));
        assert_eq!(board.soft_faults(20), (20, vec![]));
        // A worker may write what it likes there.
        assert_eq!(board.soft_faults(u64::MAX), (20, vec![]));
    }
}
