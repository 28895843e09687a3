//! Connections by source, counted across the workers of a service without a lock between them.
//!
//! One memory file per service: a header, then a region for each worker. A worker writes its own
//! region only and sums all of them to learn how many connections a source has in the whole service.
//! A region is a hash table of sets: a source has its set, and in it takes any entry whose count is
//! 0. Nothing is ever moved, so that readers need no more than whole words.
//!
//! It counts first and looks then: of two workers that race for the last place both may refuse, and
//! never both admit. A set that is full of other sources admits uncounted, and says so.
//!
//! Invariant: one writer per word; after `clear` a region counts nothing.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use crate::sys::shared_memory::{SharedView, SharedWords};

/// First word: "PPSC" and the layout's version.
const LAYOUT: u64 = 0x5050_5343_0000_0001;
/// Second word: what hashes are mixed with, so that no peer can choose its set.
const SEED_AT: usize = 1;
/// A page, so that regions can be mapped apart.
const HEADER_WORDS: usize = 512;
const SETS: usize = 2048;
const WAYS: usize = 8;
/// Source and count.
const ENTRY_WORDS: usize = 2;
const REGION_WORDS: usize = SETS * WAYS * ENTRY_WORDS;
const WORD: usize = 8;

/// Sources that one worker can count at a time, if they spread evenly.
pub const SOURCES_MAX: usize = SETS * WAYS;

/// The supervisor's side: makes the file, and clears after the dead.
#[derive(Debug)]
pub struct SourceTable {
    file: OwnedFd,
    words: SharedWords,
}

impl SourceTable {
    pub fn new(regions: u16) -> io::Result<SourceTable> {
        let words = HEADER_WORDS + usize::from(regions) * REGION_WORDS;
        let file = SharedWords::file("polyport-sources", words * WORD)?;
        let words = SharedWords::map(&file)?;
        words[0].store(LAYOUT, Relaxed);
        words[SEED_AT].store(RandomState::new().build_hasher().finish(), Relaxed);
        Ok(SourceTable { file, words })
    }

    /// One that another program in this process had made; `None` if it is laid out in another way.
    pub fn adopt(file: OwnedFd, regions: u16) -> io::Result<Option<SourceTable>> {
        let words = SharedWords::map(&file)?;
        let fits = words.len() >= HEADER_WORDS + usize::from(regions) * REGION_WORDS
            && words[0].load(Relaxed) == LAYOUT;
        Ok(fits.then_some(SourceTable { file, words }))
    }

    /// For a worker to be started with.
    pub fn file(&self) -> &OwnedFd {
        &self.file
    }

    /// What a dead worker had counted is not open any more. Only after it was reaped.
    pub fn clear(&self, region: u16) {
        let start = HEADER_WORDS + usize::from(region) * REGION_WORDS;
        for word in self.words.iter().skip(start).take(REGION_WORDS) {
            // Most are 0, and a page that was never written needs no memory.
            if word.load(Relaxed) != 0 {
                word.store(0, SeqCst);
            }
        }
    }
}

/// A worker's side.
#[derive(Debug)]
pub struct Sources {
    all: SharedView,
    own: SharedWords,
    seed: u64,
}

/// What became of a connection's counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// It is in, and has to `leave`.
    In,
    /// There are too many already; nothing was counted.
    TooMany,
    /// There was no room to count it.
    NoRoom,
}

impl Sources {
    /// `region` is the worker's slot.
    pub fn map(file: impl AsFd, region: u16) -> io::Result<Sources> {
        let all = SharedView::map(&file)?;
        if all.words() < HEADER_WORDS + REGION_WORDS || all.load(0) != LAYOUT {
            let text = "the table of sources has another layout than this program's";
            return Err(io::Error::other(text));
        }
        let start = HEADER_WORDS + usize::from(region) * REGION_WORDS;
        let own = SharedWords::map_part(&file, start * WORD, REGION_WORDS * WORD)?;
        let seed = all.load(SEED_AT);
        Ok(Sources { all, own, seed })
    }

    /// Counts a connection of `source`, unless it would be more than `max` in all workers.
    pub fn enter(&self, source: u64, max: u32) -> Counted {
        let set = self.set_of(source);
        let Some(count) = place_in(&self.own, set, source) else {
            return Counted::NoRoom;
        };
        // One writer: a load and a store are enough.
        let before = count.load(Relaxed);
        count.store(before + 1, SeqCst);
        if self.sum(set, source) > u64::from(max) {
            count.store(before, SeqCst);
            return Counted::TooMany;
        }
        Counted::In
    }

    /// A connection that was counted is gone.
    pub fn leave(&self, source: u64) {
        let entries = entries_of(self.set_of(source));
        for at in entries {
            if self.own[at].load(Relaxed) == source {
                let count = &self.own[at + 1];
                count.store(count.load(Relaxed).saturating_sub(1), SeqCst);
                return;
            }
        }
    }

    fn sum(&self, set: usize, source: u64) -> u64 {
        let regions = (HEADER_WORDS..).step_by(REGION_WORDS);
        let whole = regions.take_while(|start| start + REGION_WORDS <= self.all.words());
        whole.fold(0, |sum: u64, start| {
            let mut entries = entries_of(set);
            let found = entries.find(|at| self.all.load(start + at) == source);
            let count = found.map_or(0, |at| self.all.load(start + at + 1));
            sum.saturating_add(count)
        })
    }

    fn set_of(&self, source: u64) -> usize {
        // The finaliser of SplitMix64: every bit of the source reaches every bit of the set.
        let mut word = source ^ self.seed;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ (word >> 31)) % SETS as u64) as usize
    }
}

/// Where the entries of a set begin in a region.
fn entries_of(set: usize) -> impl Iterator<Item = usize> {
    let first = set * WAYS * ENTRY_WORDS;
    (first..first + WAYS * ENTRY_WORDS).step_by(ENTRY_WORDS)
}

/// The count of this source, made if there is room for it.
fn place_in(own: &[AtomicU64], set: usize, source: u64) -> Option<&AtomicU64> {
    let known = entries_of(set).find(|at| own[*at].load(Relaxed) == source);
    if let Some(at) = known {
        return Some(&own[at + 1]);
    }
    let free = entries_of(set).find(|at| own[at + 1].load(Relaxed) == 0)?;
    own[free].store(source, SeqCst);
    Some(&own[free + 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers(count: u16) -> (SourceTable, Vec<Sources>) {
        let table = SourceTable::new(count).expect("memory");
        let map = |region| Sources::map(table.file(), region).expect("mapped");
        let workers = (0..count).map(map).collect();
        (table, workers)
    }

    #[test]
    fn the_limit_holds_over_all_workers_and_for_each_source_alone() {
        let (_table, workers) = workers(3);
        for round in 0..4 {
            for (nth, worker) in workers.iter().enumerate() {
                let expected = match round * 3 + nth < 10 {
                    true => Counted::In,
                    false => Counted::TooMany,
                };
                assert_eq!(worker.enter(7, 10), expected, "round {round} worker {nth}");
            }
        }
        assert_eq!(workers[2].enter(8, 10), Counted::In);
        workers[0].leave(7);
        assert_eq!(workers[2].enter(7, 10), Counted::In);
        assert_eq!(workers[1].enter(7, 10), Counted::TooMany);
    }

    #[test]
    fn a_dead_workers_counts_go_and_nobody_elses() {
        let (table, workers) = workers(2);
        for worker in &workers {
            for _ in 0..5 {
                assert_eq!(worker.enter(7, 10), Counted::In);
            }
        }
        table.clear(0);
        for _ in 0..5 {
            assert_eq!(workers[1].enter(7, 10), Counted::In);
        }
        assert_eq!(workers[1].enter(7, 10), Counted::TooMany);
    }

    #[test]
    fn a_full_set_admits_uncounted_and_room_is_reused() {
        let (_table, workers) = workers(1);
        let worker = &workers[0];
        let set = worker.set_of(1);
        let same: Vec<u64> = (1..).filter(|s| worker.set_of(*s) == set).take(9).collect();
        for source in &same[..8] {
            assert_eq!(worker.enter(*source, 1), Counted::In);
        }
        assert_eq!(worker.enter(same[8], 1), Counted::NoRoom);
        worker.leave(same[3]);
        assert_eq!(worker.enter(same[8], 1), Counted::In);
        assert_eq!(worker.enter(same[8], 1), Counted::TooMany);
        assert_eq!(worker.enter(same[3], 1), Counted::NoRoom);
    }

    #[test]
    fn racing_workers_never_admit_more_than_the_limit() {
        const MAX: u32 = 5;
        let (_table, workers) = workers(4);
        let open = std::sync::atomic::AtomicI64::new(0);
        std::thread::scope(|scope| {
            for worker in workers {
                let open = &open;
                scope.spawn(move || {
                    for _ in 0..20_000 {
                        if worker.enter(7, MAX) == Counted::In {
                            let now = open.fetch_add(1, SeqCst) + 1;
                            assert!(now <= i64::from(MAX), "{now} are open");
                            open.fetch_sub(1, SeqCst);
                            worker.leave(7);
                        }
                    }
                });
            }
        });
    }

    #[test]
    fn a_file_of_another_layout_is_refused() {
        let file = SharedWords::file("test", (HEADER_WORDS + REGION_WORDS) * WORD).expect("memory");
        assert!(Sources::map(&file, 0).is_err());
        let table = SourceTable::new(1).expect("memory");
        assert!(
            Sources::map(table.file(), 1).is_err(),
            "there is one region"
        );
    }
}
