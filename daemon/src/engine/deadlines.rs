//! Deadlines: the moments at which something is done to a connection, a timer or the whole drain.
//!
//! One heap of (moment, what). A connection that stays active does not touch it: its entry is left to
//! come up early and is then armed again for the moment that has become right. Whether an entry still
//! means anything is for the caller to say; there is no clock here.
//!
//! Invariant: an armed entry comes up at the first `due` whose `now` is not before its moment.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::mem;

use super::session::{TimerToken, Token};

/// "Never", as a moment.
pub(super) const NEVER: u64 = u64::MAX;
/// Below this many entries stale ones are not worth looking for.
const COMPACT_ABOVE: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    Connection(Token),
    Timer(TimerToken),
    DrainEnd,
}

#[derive(Debug, Default)]
pub(super) struct Deadlines {
    heap: BinaryHeap<Reverse<(u64, What)>>,
}

impl Deadlines {
    pub(super) fn arm(&mut self, at_ms: u64, what: What) {
        self.heap.push(Reverse((at_ms, what)));
    }

    /// The earliest moment, though perhaps of a stale entry.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((at_ms, _))| *at_ms)
    }

    pub(super) fn due(&mut self, now_ms: u64) -> Option<(u64, What)> {
        if self.next_ms()? > now_ms {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    /// Drops stale entries once they may outnumber the `live` ones, so that arming and cancelling
    /// in a loop costs no memory, nor do those that are gone.
    pub(super) fn compact(&mut self, live: usize, mut is_live: impl FnMut(u64, What) -> bool) {
        if self.heap.len() > COMPACT_ABOVE && self.heap.len() > live + live / 4 {
            let mut entries = mem::take(&mut self.heap).into_vec();
            entries.retain(|Reverse((at_ms, what))| is_live(*at_ms, *what));
            // One that was armed for the same moment again, after another had come up between, is there
            // twice; what stayed so would have every turn look at all of them.
            entries.sort_unstable();
            entries.dedup();
            entries.shrink_to(entries.len() + entries.len() / 4);
            self.heap = entries.into();
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slotmap::SlotMap;

    #[test]
    fn entries_come_up_in_order_of_their_moment_and_not_before() {
        let mut tokens = SlotMap::<Token, ()>::with_key();
        let mut deadlines = Deadlines::default();
        let moments = [50, 10, 40, 10, 30];
        for at in moments {
            deadlines.arm(at, What::Connection(tokens.insert(())));
        }
        assert_eq!(deadlines.due(9), None);
        let mut came = Vec::new();
        for now in [10, 35, 49, 50] {
            while let Some((at, _)) = deadlines.due(now) {
                came.push((now, at));
            }
        }
        assert_eq!(came, [(10, 10), (10, 10), (35, 30), (49, 40), (50, 50)]);
    }

    #[test]
    fn stale_entries_cannot_pile_up() {
        let mut timers = SlotMap::<TimerToken, ()>::with_key();
        let live = timers.insert(());
        let mut deadlines = Deadlines::default();
        deadlines.arm(1, What::Timer(live));
        for round in 0..100_000 {
            let timer = timers.insert(());
            deadlines.arm(round, What::Timer(timer));
            timers.remove(timer);
            deadlines.compact(
                1,
                |_, what| matches!(what, What::Timer(t) if timers.contains_key(t)),
            );
            assert!(deadlines.len() <= COMPACT_ABOVE + 1);
        }
        while let Some((_, what)) = deadlines.due(NEVER) {
            if what == What::Timer(live) {
                return;
            }
        }
        panic!("the live entry was lost");
    }

    #[test]
    fn entries_that_are_there_twice_go_with_the_stale_ones() {
        let mut timers = SlotMap::<TimerToken, ()>::with_key();
        let mut deadlines = Deadlines::default();
        let live: Vec<TimerToken> = (0..2 * COMPACT_ABOVE).map(|_| timers.insert(())).collect();
        for _ in 0..2 {
            for timer in &live {
                deadlines.arm(7, What::Timer(*timer));
            }
        }
        deadlines.compact(live.len(), |_, _| true);
        assert_eq!(deadlines.len(), live.len());
        let mut left = 0;
        while deadlines.due(7).is_some() {
            left += 1;
        }
        assert_eq!(left, live.len());
    }
}
