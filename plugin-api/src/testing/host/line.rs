//! The peer's end of a session: what is on its way, what has arrived, what was read.

use std::collections::VecDeque;

use crate::facts::{Address, End};
use crate::glue::caller::State;
use crate::testing::Split;

/// The peer's end.
#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) state: State,
    pub(crate) address: Address,
    pub(crate) accepted_ms: u64,
    /// What the peer has sent and the plugin has not seen.
    pub(crate) arriving: VecDeque<Vec<u8>>,
    /// What the plugin has seen and not consumed.
    pub(crate) input: Vec<u8>,
    /// There is something in `input` that the plugin has not seen, or has given back.
    pub(crate) unfed: bool,
    /// The last feed was answered as full: it comes again after `writable`.
    pub(crate) held: bool,
    pub(crate) peer_finished: bool,
    pub(crate) told_finished: bool,
    /// Bytes that the peer will still read before it stops.
    pub(crate) appetite: usize,
    pub(crate) received: Vec<u8>,
    /// Of these, how many a conversation has looked at.
    pub(crate) seen: usize,
    pub(crate) active_ms: u64,
    pub(crate) end: Option<End>,
}

impl Line {
    pub(crate) fn new(state: State, address: Address, active_ms: u64, appetite: usize) -> Line {
        Line {
            state,
            address,
            accepted_ms: active_ms,
            arriving: VecDeque::new(),
            input: Vec::new(),
            unfed: false,
            held: false,
            peer_finished: false,
            told_finished: false,
            appetite,
            received: Vec::new(),
            seen: 0,
            active_ms,
            end: None,
        }
    }

    /// One piece more, as far as there is room; not while the last is still to be fed.
    pub(crate) fn take_arriving(&mut self, input_bytes_max: usize) {
        if self.unfed {
            return;
        }
        let Some(mut piece) = self.arriving.pop_front() else {
            return;
        };
        let room = input_bytes_max.saturating_sub(self.input.len());
        if piece.len() > room {
            self.arriving.push_front(piece.split_off(room));
        }
        self.unfed = !piece.is_empty();
        self.input.extend(piece);
    }
}

impl Split {
    pub(crate) fn pieces(self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let pieces: Vec<&[u8]> = match self {
            Split::Whole => vec![bytes],
            Split::EveryByte => bytes.chunks(1).collect(),
            Split::At(n) => {
                let (first, rest) = bytes.split_at(n.min(bytes.len()));
                vec![first, rest]
            }
        };
        pieces
            .into_iter()
            .filter(|piece| !piece.is_empty())
            .map(<[u8]>::to_vec)
            .collect()
    }
}
