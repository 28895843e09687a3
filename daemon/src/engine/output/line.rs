//! A line that many are told: one copy of it for all whose output has nothing else.
//!
//! Nearly all of them take it at once, so it is in no queue. Of the next one that many are told there is a
//! copy of both; an output to which anything else is added gets a copy of its own first. In a call that said
//! something to several, whatever else it said is such a line too. Invariant: the bytes of a line never
//! change.

use std::ops::Range;

use super::{Output, Spares};
use crate::engine::lines::Lines;

/// A burst that is longer is copied to whom it is for: each line more would copy it once again.
const BURST_BYTES_MAX: usize = 4 * 1024;

impl Output {
    /// Says bytes that others are told as well.
    #[inline]
    pub(in crate::engine) fn push_line(
        &mut self,
        said: &[u8],
        range: &Range<usize>,
        lines: &mut Lines,
        spares: &mut Spares,
    ) {
        match &self.line {
            None if self.is_bare() => self.line = Some(lines.line(said, range)),
            Some(line) if self.head == 0 && line.len() + range.len() <= BURST_BYTES_MAX => {
                self.line = Some(lines.behind(line, said, range, spares));
            }
            _ => self.push(&said[range.clone()], spares),
        }
    }

    /// The line, if nothing of it was taken: then it is all there is.
    pub(in crate::engine) fn whole_line(&self) -> Option<&[u8]> {
        self.line.as_deref().filter(|_| self.head == 0)
    }

    /// What follows it needs a queue.
    pub(super) fn own_line(&mut self, spares: &mut Spares) {
        if let Some(line) = self.line.take() {
            self.queue = spares.take();
            self.queue.extend_from_slice(&line[self.head..]);
            self.head = 0;
        }
    }

    /// The peer's side has taken so many bytes of it.
    pub(in crate::engine) fn line_taken(&mut self, n: usize) {
        self.head += n;
        if self.bytes() == 0 {
            self.line = None;
            self.head = 0;
        }
    }
}
