//! The most frequent of all calls: one that asks for nothing but that its input be written back.
//!
//! Invariant: the desk is as empty behind `take_echo` as behind `clear`, or unchanged.

use std::ops::Range;

use super::{Ask, Desk};
use crate::engine::piece::Piece;
use crate::engine::session::Token;

impl Desk {
    /// Nothing was asked for.
    pub fn is_clear(&self) -> bool {
        self.asks.is_empty() && self.is_bare()
    }

    /// Which part of the lent input `session` has written, if nothing else was asked for.
    pub fn take_echo(&mut self, session: Token) -> Option<Range<usize>> {
        let range = match self.asks.as_slice() {
            [
                Ask::Write {
                    session: to,
                    piece: Piece::Lent(range),
                },
            ] if *to == session && self.is_bare() => range.clone(),
            _ => return None,
        };
        self.asks.pop();
        Some(range)
    }

    fn is_bare(&self) -> bool {
        self.bytes.is_empty() && self.refusals.is_empty() && self.faults.is_empty()
    }
}
