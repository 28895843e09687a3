//! The buffer that all streams of a worker are read into, laid out for the kernel's copying.
//!
//! An allocation of this size begins sixteen bytes into a page, and copies to there are slower by a
//! third than to where a line of the caches begins. What is in it, and whose it is, is for others.
//!
//! Invariant: it never moves, and its first byte is the first of a line.

use std::ops::{Deref, DerefMut};

/// No processor that we know of has longer ones worth caring for.
const LINE_BYTES: usize = 64;

#[derive(Debug)]
pub(super) struct Buffer {
    allocation: Box<[u8]>,
    skipped: usize,
    length: usize,
}

impl Buffer {
    pub(super) fn new(length: usize) -> Buffer {
        let allocation = vec![0; length.saturating_add(LINE_BYTES)].into_boxed_slice();
        Buffer {
            skipped: allocation.as_ptr().align_offset(LINE_BYTES),
            allocation,
            length,
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.allocation[self.skipped..][..self.length]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.allocation[self.skipped..][..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_as_long_as_asked_for_and_begins_a_line() {
        for length in [1, 63, 64, 65, 4096, 300_000] {
            let buffer = Buffer::new(length);
            assert_eq!(buffer.len(), length);
            assert_eq!(buffer.as_ptr() as usize % LINE_BYTES, 0, "{length}");
        }
    }
}
