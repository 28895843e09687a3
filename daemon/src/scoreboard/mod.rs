//! The scoreboard: what a worker is doing and has done, in memory that it shares with the supervisor.
//!
//! One memory file per worker: a header, one 64-byte slot per thread, counters, a crash area. The worker
//! writes with plain relaxed stores and no system call; the supervisor reads whenever it likes, also
//! after the worker's death: then behind the counters lies what it wrote down while it crashed. Nothing
//! read from it is trusted: every word is a number to be shown or compared, never an index or a length.
//!
//! Threads that serve count their bytes and rests in their own slots; reading a counter adds them up.
//!
//! Invariant: one writer per word, but for the few of `soft`. A slot's `sequence` changes whenever a
//! callback is entered or left, so "the same odd sequence for so long" means "stuck in that callback".

pub mod blame;
mod counter;
pub mod crash;
pub mod metrics;
mod soft;
pub mod sources;

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::sys::shared_memory::SharedWords;
pub use counter::Counter;

/// First word of every scoreboard: "PPSB" and the layout's version.
pub const LAYOUT: u64 = 0x5050_5342_0000_0005;
/// Threads of one worker that can have a slot: the event loop, and those that may block.
pub const SLOTS: usize = 1 + 256;
const HEADER_WORDS: usize = 8;
const SLOT_WORDS: usize = 8;
const COUNTERS_AT: usize = HEADER_WORDS + SLOTS * SLOT_WORDS;
const COUNTER_WORDS: usize = 64;
const CRASH_AT: usize = COUNTERS_AT + COUNTER_WORDS;
/// A mapping begins at a page, so each thread has a cache line for what it writes all the time.
const _: () = assert!((HEADER_WORDS * 8).is_multiple_of(64) && SLOT_WORDS * 8 == 64);
/// Bytes of the whole.
pub const BYTES: usize =
    (CRASH_AT + crash::AREA_WORDS + soft::AREA_WORDS + metrics::AREA_WORDS) * 8;

/// The plugin's function a thread is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Callback {
    None = 0,
    Load,
    Check,
    Create,
    Open,
    Feed,
    PeerFinished,
    Writable,
    Closed,
    Datagram,
    Timer,
    Wake,
    Drain,
    Destroy,
    Serve,
    Run,
    Done,
    ExportSession,
    ImportSession,
    Bus,
}

impl Callback {
    const ALL: [Callback; 20] = [
        Callback::None,
        Callback::Load,
        Callback::Check,
        Callback::Create,
        Callback::Open,
        Callback::Feed,
        Callback::PeerFinished,
        Callback::Writable,
        Callback::Closed,
        Callback::Datagram,
        Callback::Timer,
        Callback::Wake,
        Callback::Drain,
        Callback::Destroy,
        Callback::Serve,
        Callback::Run,
        Callback::Done,
        Callback::ExportSession,
        Callback::ImportSession,
        Callback::Bus,
    ];

    /// As logs and `status` have it.
    pub fn name(self) -> &'static str {
        match self {
            Callback::None => "none",
            Callback::Load => "load",
            Callback::Check => "check",
            Callback::Create => "create",
            Callback::Open => "open",
            Callback::Feed => "feed",
            Callback::PeerFinished => "peer_finished",
            Callback::Writable => "writable",
            Callback::Closed => "closed",
            Callback::Datagram => "datagram",
            Callback::Timer => "timer",
            Callback::Wake => "wake",
            Callback::Drain => "drain",
            Callback::Destroy => "destroy",
            Callback::Serve => "serve",
            Callback::Run => "run",
            Callback::Done => "done",
            Callback::ExportSession => "export_session",
            Callback::ImportSession => "import_session",
            Callback::Bus => "bus",
        }
    }

    pub(crate) fn from_word(word: u64) -> Callback {
        // A hostile worker writes what it likes; an unknown number is nobody's callback.
        usize::try_from(word)
            .ok()
            .and_then(|i| Callback::ALL.get(i))
            .copied()
            .unwrap_or(Callback::None)
    }
}

/// The writing end of one slot: a thread's own.
#[derive(Clone, Debug)]
pub struct Slot {
    words: Arc<SharedWords>,
    at: usize,
}

// Words of a slot.
const SEQUENCE: usize = 0;
const CALLBACK: usize = 1;
const SESSION: usize = 2;
const SOURCE: usize = 3;
const BYTES_IN: usize = 4;
const BYTES_OUT: usize = 5;
const RESTS: usize = 6;

impl Slot {
    /// About to call the plugin. `source` is the peer, hashed or packed into a word.
    #[inline]
    pub fn enter(&self, callback: Callback, session: u64, source: u64) {
        let words = &self.words[self.at..self.at + SLOT_WORDS];
        words[CALLBACK].store(callback as u64, Relaxed);
        words[SESSION].store(session, Relaxed);
        words[SOURCE].store(source, Relaxed);
        words[SEQUENCE].store(words[SEQUENCE].load(Relaxed).wrapping_add(1) | 1, Release);
    }

    /// The plugin has returned.
    #[inline]
    pub fn leave(&self) {
        let sequence = &self.words[self.at + SEQUENCE];
        sequence.store((sequence.load(Relaxed) | 1).wrapping_add(1), Release);
    }

    /// Bytes that this thread has moved itself; whoever has the slot next adds to them.
    #[inline]
    pub fn count(&self, bytes_in: u64, bytes_out: u64) {
        for (word, amount) in [(BYTES_IN, bytes_in), (BYTES_OUT, bytes_out)] {
            let word = &self.words[self.at + word];
            word.store(word.load(Relaxed).wrapping_add(amount), Relaxed);
        }
    }

    /// Its connection has moved all the bytes that it may, and has to wait.
    pub fn count_rest(&self) {
        let word = &self.words[self.at + RESTS];
        word.store(word.load(Relaxed).wrapping_add(1), Relaxed);
    }
}

/// What a slot says at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glance {
    /// Odd while in a callback.
    pub sequence: u64,
    pub callback: Callback,
    pub session: u64,
    pub source: u64,
}

impl Glance {
    pub fn inside(&self) -> bool {
        self.sequence % 2 == 1
    }
}

#[derive(Clone, Debug)]
pub struct Scoreboard {
    words: Arc<SharedWords>,
}

impl Scoreboard {
    /// Over memory of at least [`BYTES`]; `None` if it is too short.
    pub fn over(words: SharedWords) -> Option<Scoreboard> {
        if words.len() * 8 < BYTES {
            return None;
        }
        Some(Scoreboard {
            words: Arc::new(words),
        })
    }

    /// The supervisor, once, before the worker exists.
    pub fn initialise(&self) {
        self.words[0].store(LAYOUT, Relaxed);
    }

    pub fn has_known_layout(&self) -> bool {
        self.words[0].load(Relaxed) == LAYOUT
    }

    /// Slot 0 is the event loop's.
    pub fn slot(&self, index: usize) -> Slot {
        assert!(index < SLOTS, "a worker has {SLOTS} slots");
        Slot {
            words: self.words.clone(),
            at: HEADER_WORDS + index * SLOT_WORDS,
        }
    }

    pub fn glance(&self, index: usize) -> Glance {
        let slot = self.slot(index);
        let words = &self.words[slot.at..slot.at + SLOT_WORDS];
        let sequence = words[SEQUENCE].load(Acquire);
        Glance {
            sequence,
            callback: Callback::from_word(words[CALLBACK].load(Relaxed)),
            session: words[SESSION].load(Relaxed),
            source: words[SOURCE].load(Relaxed),
        }
    }

    /// One writer, so a load and a store are enough.
    #[inline]
    pub fn add(&self, counter: Counter, amount: u64) {
        let word = &self.words[COUNTERS_AT + counter as usize];
        word.store(word.load(Relaxed).wrapping_add(amount), Relaxed);
    }

    #[inline]
    pub fn subtract(&self, counter: Counter, amount: u64) {
        let word = &self.words[COUNTERS_AT + counter as usize];
        word.store(word.load(Relaxed).saturating_sub(amount), Relaxed);
    }

    pub fn read(&self, counter: Counter) -> u64 {
        let by_threads = match counter {
            Counter::BytesIn => self.sum(BYTES_IN),
            Counter::BytesOut => self.sum(BYTES_OUT),
            Counter::HeldBandwidth => self.sum(RESTS),
            _ => 0,
        };
        let by_loop = self.words[COUNTERS_AT + counter as usize].load(Relaxed);
        by_loop.wrapping_add(by_threads)
    }

    /// What every slot says.
    pub fn glances(&self) -> Vec<Glance> {
        (0..SLOTS).map(|slot| self.glance(slot)).collect()
    }

    /// Of one word of every slot.
    fn sum(&self, word: usize) -> u64 {
        let slots = &self.words[HEADER_WORDS..COUNTERS_AT];
        let amounts = slots
            .chunks_exact(SLOT_WORDS)
            .map(|slot| slot[word].load(Relaxed));
        amounts.fold(0, u64::wrapping_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board() -> Scoreboard {
        let file = SharedWords::file("test", BYTES).expect("memory file");
        let board =
            Scoreboard::over(SharedWords::map(&file).expect("mapping")).expect("long enough");
        board.initialise();
        board
    }

    #[test]
    fn a_slot_is_inside_between_enter_and_leave_only() {
        let board = board();
        let slot = board.slot(0);
        assert!(!board.glance(0).inside());
        slot.enter(Callback::Feed, 7, 9);
        let first = board.glance(0);
        assert!(first.inside());
        assert_eq!(
            (first.callback, first.session, first.source),
            (Callback::Feed, 7, 9)
        );
        slot.leave();
        assert!(!board.glance(0).inside());
        slot.enter(Callback::Feed, 7, 9);
        assert_ne!(board.glance(0).sequence, first.sequence);
    }

    #[test]
    fn what_threads_count_is_added_to_what_the_loop_does() {
        let board = board();
        board.add(Counter::BytesIn, 1);
        board.slot(1).count(10, 100);
        board.slot(SLOTS - 1).count(20, 200);
        // Another thread in the same slot.
        board.slot(1).count(3, 4);
        board.slot(1).count_rest();
        board.add(Counter::HeldBandwidth, 5);
        assert_eq!(board.read(Counter::HeldBandwidth), 6);
        assert_eq!(board.read(Counter::BytesIn), 34);
        assert_eq!(board.read(Counter::BytesOut), 304);
        assert_eq!(board.read(Counter::Accepted), 0);
    }

    #[test]
    fn what_a_hostile_worker_writes_is_only_a_number() {
        let board = board();
        for word in board.words.iter() {
            word.store(u64::MAX, Relaxed);
        }
        assert!(!board.has_known_layout());
        assert_eq!(board.glance(SLOTS - 1).callback, Callback::None);
        assert_eq!(board.read(Counter::Accepted), u64::MAX);
        board.subtract(Counter::Connections, 1);
        assert_eq!(board.read(Counter::Connections), u64::MAX - 1);
    }

    #[test]
    fn every_callback_survives_its_word() {
        for callback in Callback::ALL {
            assert_eq!(Callback::from_word(callback as u64), callback);
        }
        for counter in Counter::ALL {
            assert_eq!(Counter::ALL[counter as usize], counter);
        }
    }
}
