//! Where the bytes are that a protocol said: what it was lent is named by position, all else was copied.
//!
//! Invariant: a piece is looked at only while what it lies in is still there, which the end of the call, or
//! of the batch, is.

use std::ops::Range;

/// Where the bytes of a write are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// In what was lent for the call.
    Lent(Range<usize>),
    /// In the bytes that were copied.
    Copied(Range<usize>),
}

impl Piece {
    pub fn len(&self) -> usize {
        match self {
            Piece::Lent(range) | Piece::Copied(range) => range.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
