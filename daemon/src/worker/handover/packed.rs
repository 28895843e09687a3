//! A batch that is written down, until what its sessions have said on the bus is ahead of them.
//!
//! Whoever goes on with a session may publish for it at once; a line from here that had no number by then
//! would come behind that. So a batch leaves when all that was published before it was written down has
//! its number, and nothing waits for room in the socket. How fast the hub is must not decide whether
//! sessions are carried: of one that answers too late, or is not there, nothing is waited for.
//!
//! Invariant: sessions of a batch that waits are frozen here, in no event queue, and nobody else's; one
//! that ends meanwhile, by a ban or because its peer has gone, is in no batch that leaves.

use super::super::turn::Worker;
use super::super::{Orders, Wakes};
use super::giving::Giving;
use crate::engine::carried::{FRAME_BYTES_MAX, SESSION_BYTES_MAX};
use crate::engine::handover::{BATCH_BYTES_ENOUGH, BATCH_BYTES_MAX, BATCH_SESSIONS_MAX};
use crate::engine::protocol::Protocol;
use crate::engine::session::Token;

/// All batches of a handover together wait so long for the bus.
pub(in crate::worker) const BUS_WAIT_MS: u64 = 1_000;

#[derive(Debug)]
pub(super) struct Packed {
    pub(super) tokens: Vec<Token>,
    pub(super) records: Vec<Vec<u8>>,
    /// How many messages of this worker are to be ahead of it.
    published: u64,
}

/// What is left of the time that batches may wait for the bus.
#[derive(Clone, Copy, Debug)]
pub(super) struct BusWait {
    left_ms: u64,
    since_ms: Option<u64>,
}

impl Default for BusWait {
    fn default() -> BusWait {
        BusWait {
            left_ms: BUS_WAIT_MS,
            since_ms: None,
        }
    }
}

impl BusWait {
    /// Whether a batch may leave.
    fn is_over(&mut self, is_ahead: bool, now_ms: u64) -> bool {
        let waited_ms = now_ms - *self.since_ms.get_or_insert(now_ms);
        let is_over = is_ahead || waited_ms >= self.left_ms;
        if is_over {
            self.left_ms = self.left_ms.saturating_sub(waited_ms);
            self.since_ms = None;
        }
        is_over
    }

    pub(super) fn deadline_ms(&self) -> Option<u64> {
        Some(self.since_ms? + self.left_ms)
    }
}

impl<P: Protocol, W: Wakes, O: Orders> Worker<P, W, O> {
    /// Writes down the next batch, if there is room for one and none waits.
    pub(super) fn pack(&mut self, giving: &mut Giving) {
        if !giving.can_pack() {
            return;
        }
        let most = giving.room.unwrap_or(0).min(BATCH_SESSIONS_MAX);
        let (mut tokens, mut records, mut bytes) = (Vec::new(), Vec::new(), 0);
        while tokens.len() < most && bytes < BATCH_BYTES_ENOUGH {
            let Some(token) = giving.todo.pop() else {
                break;
            };
            let longest = self.streams.waiting_bytes(token) + FRAME_BYTES_MAX + SESSION_BYTES_MAX;
            if !tokens.is_empty() && bytes + longest > BATCH_BYTES_MAX / 2 {
                giving.todo.push(token);
                break;
            }
            if let Some(record) = self.freeze(token) {
                bytes += record.len();
                records.push(record);
                tokens.push(token);
            }
        }
        if tokens.is_empty() {
            return;
        }
        giving.room = giving.room.map(|room| room - tokens.len());
        giving.packed = Some(Packed {
            tokens,
            records,
            published: self.streams.bus_published(),
        });
    }

    /// The batch that waits, if it may leave now, and those of it who are still here.
    pub(super) fn take_packed(&mut self, giving: &mut Giving) -> Option<Packed> {
        loop {
            let published = giving.packed.as_ref()?.published;
            self.flush_bus();
            let is_ahead = !self.bus.is_behind && self.streams.bus_has_settled(published);
            let is_over = giving.bus_wait.is_over(is_ahead, self.now_ms);
            let packed = self.those_left(giving.packed.take_if(|_| is_over)?, giving);
            if !packed.tokens.is_empty() {
                return Some(packed);
            }
            self.pack(giving);
        }
    }

    /// While it waited a peer may have gone, or been banned.
    fn those_left(&self, packed: Packed, giving: &mut Giving) -> Packed {
        let were = packed.tokens.len();
        let both = packed.tokens.into_iter().zip(packed.records);
        let both = both.filter(|(token, _)| self.sockets.get(*token).is_some());
        let (tokens, records): (Vec<_>, Vec<_>) = both.unzip();
        giving.room = giving.room.map(|room| room + were - tokens.len());
        Packed {
            tokens,
            records,
            ..packed
        }
    }

    /// A batch that does not leave: its sessions go on here.
    pub(super) fn unpack(&mut self, giving: &mut Giving) {
        for token in giving.packed.take().into_iter().flat_map(|it| it.tokens) {
            self.poll_again(token);
        }
    }

    /// A session out of the event queue and as bytes; one that cannot be carried goes on.
    fn freeze(&mut self, token: Token) -> Option<Vec<u8>> {
        let stream = self.sockets.get(token)?;
        // Before the socket is anybody else's: later it could not be taken out any more.
        self.epoll.delete(&stream.socket).ok()?;
        match self.streams.give(token, self.now_ms) {
            Some(carried) => {
                let mut record = Vec::new();
                carried.write(&mut record);
                Some(record)
            }
            None => {
                self.part();
                self.poll_again(token);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_wait_for_the_bus_and_all_of_them_no_longer_than_so() {
        let mut wait = BusWait::default();
        // When it is asked, whether all is ahead, whether the batch leaves, and the next deadline.
        let story = [
            (0, true, true, None),
            (10, false, false, Some(1_010)),
            (410, false, false, Some(1_010)),
            (500, true, true, None),
            // The next one has what that one has left.
            (2_000, false, false, Some(2_510)),
            (2_509, false, false, Some(2_510)),
            (2_510, false, true, None),
            // And all behind it wait no more.
            (2_511, false, true, None),
            (9_000, true, true, None),
        ];
        for (now_ms, is_ahead, leaves, deadline_ms) in story {
            assert_eq!(wait.is_over(is_ahead, now_ms), leaves, "at {now_ms}");
            assert_eq!(wait.deadline_ms(), deadline_ms, "at {now_ms}");
        }
    }
}
