//! The ping-pong guard: notices a source that sends the same datagram again and again, and mutes it.
//!
//! Two services that answer each other never stop by themselves, and one forged datagram starts them.
//! What they send repeats itself, byte for byte; what a peer sends seldom does, and so often never.
//!
//! Invariant: of one payload of one source no more than `repeats` pass within the window.

use crate::repeats::Repeats;
use crate::table::Table;

const MUTED: usize = 1024;

#[derive(Debug)]
pub(crate) struct Guard {
    repeats: u32,
    mute_ms: u64,
    payloads: Repeats,
    muted: Table<Mute>,
    /// Nobody is muted for longer.
    all_heard_ms: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Mute {
    until_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opinion {
    Fine,
    /// It has just gone too far: it is muted from now on.
    Mute,
    Muted,
}

impl Guard {
    /// `None` if there is no limit.
    pub(crate) fn new(repeats: u32, mute_ms: u64) -> Option<Guard> {
        (repeats > 0).then(|| Guard {
            repeats,
            mute_ms,
            payloads: Repeats::new(),
            muted: Table::new(MUTED),
            all_heard_ms: 0,
        })
    }

    /// Of a datagram, by the fingerprints of its source and of its payload.
    pub(crate) fn judge(&mut self, source: u64, payload: u64, now_ms: u64) -> Opinion {
        if now_ms < self.all_heard_ms {
            let mute = self.muted.find(source);
            if mute.is_some_and(|mute| now_ms < mute.until_ms) {
                return Opinion::Muted;
            }
        }
        let count = self.payloads.hear(source.rotate_left(32) ^ payload, now_ms);
        if *count <= self.repeats {
            return Opinion::Fine;
        }
        *count = 0;
        let until_ms = now_ms + self.mute_ms;
        self.muted.hear(source, now_ms).until_ms = until_ms;
        self.all_heard_ms = self.all_heard_ms.max(until_ms);
        Opinion::Mute
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_repeats_itself_is_muted_for_a_while() {
        let mut guard = Guard::new(3, 1000).expect("a limit");
        use Opinion::{Fine, Mute, Muted};
        // (moment, source, payload, opinion)
        let story = [
            (0, 1, 1, Fine),
            (1, 1, 1, Fine),
            (2, 1, 2, Fine),
            (3, 2, 1, Fine),
            (4, 1, 1, Fine),
            (5, 1, 1, Mute),
            (6, 1, 1, Muted),
            (6, 1, 9, Muted),
            (6, 2, 1, Fine),
            (1004, 1, 1, Muted),
            (1005, 1, 1, Fine),
            (1006, 1, 1, Fine),
            (1007, 1, 1, Fine),
            (1008, 1, 1, Mute),
        ];
        for (now_ms, source, payload, expected) in story {
            let opinion = guard.judge(source, payload, now_ms);
            assert_eq!(opinion, expected, "at {now_ms} from {source}: {payload}");
        }
    }

    #[test]
    fn what_repeats_slowly_is_fine() {
        let mut guard = Guard::new(3, 1000).expect("a limit");
        for nth in 0..100 {
            assert_eq!(guard.judge(1, 1, nth * 700), Opinion::Fine, "{nth}");
        }
    }
}
