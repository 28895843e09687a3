//! Memory that waits for whoever has something to say or to keep.
//!
//! What a buffer held is gone when it comes here. Invariant: no more is kept than the limits below.

/// Buffers kept for the next connection that needs one, and the largest that is worth keeping; and small
/// ones, for a line that is said to very many at once.
const SPARES_MAX: usize = 64;
const SPARE_BYTES_MAX: usize = 64 * 1024;
const SMALL_SPARES_MAX: usize = 2048;
const SMALL_SPARE_BYTES_MAX: usize = 1024;

/// Empty buffers that go from the connections that are done with them to those that need one, so
/// that a quiet connection holds no memory and a busy one allocates none.
#[derive(Debug, Default)]
pub(super) struct Spares {
    large: Vec<Vec<u8>>,
    /// Apart, so that many of them leave the others their places.
    small: Vec<Vec<u8>>,
}

impl Spares {
    pub(super) fn take(&mut self) -> Vec<u8> {
        let spare = self.large.pop().or_else(|| self.small.pop());
        spare.unwrap_or_default()
    }

    pub(super) fn give(&mut self, mut buffer: Vec<u8>) {
        let capacity = buffer.capacity();
        let worth_it = (1..=SPARE_BYTES_MAX).contains(&capacity);
        let (spares, most) = if capacity <= SMALL_SPARE_BYTES_MAX {
            (&mut self.small, SMALL_SPARES_MAX)
        } else {
            (&mut self.large, SPARES_MAX)
        };
        if worth_it && spares.len() < most {
            buffer.clear();
            spares.push(buffer);
        }
    }
}
