//! A line that many are told: one copy of it for all whose output has nothing else.
//!
//! Nearly all of them take it at once, so it is in no queue. Those who have the line before it still to come
//! get one copy of both, so that a burst is shared as its lines are; an output to which anything else is added
//! gets a copy of its own first. In a call that said something to several, whatever else it said is such a
//! line too. Who takes part is decided by the desk.
//!
//! Invariant: the bytes of a line never change. A copy holds the bytes of its range, behind those of the line
//! that it was asked for.

use std::ops::Range;
use std::rc::Rc;

use super::{Output, Spares};

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

/// The copies of what was said last to several sessions.
#[derive(Debug, Default)]
pub(in crate::engine) struct Lines {
    said: Option<(Range<usize>, Rc<[u8]>)>,
    joined: Option<Joined>,
}

/// A line from before, and it with a range of what was said behind it.
#[derive(Debug)]
struct Joined {
    before: Rc<[u8]>,
    range: Range<usize>,
    both: Rc<[u8]>,
}

impl Lines {
    /// These bytes of what was said during a call.
    #[inline]
    fn line(&mut self, said: &[u8], range: &Range<usize>) -> Rc<[u8]> {
        match &self.said {
            Some((of, line)) if of == range => Rc::clone(line),
            _ => {
                let line: Rc<[u8]> = said[range.clone()].into();
                self.said = Some((range.clone(), Rc::clone(&line)));
                line
            }
        }
    }

    /// The same behind a line that was said before.
    #[inline]
    fn behind(
        &mut self,
        before: &Rc<[u8]>,
        said: &[u8],
        range: &Range<usize>,
        spares: &mut Spares,
    ) -> Rc<[u8]> {
        match &self.joined {
            Some(it) if Rc::ptr_eq(&it.before, before) && it.range == *range => Rc::clone(&it.both),
            _ => self.join(before, said, range, spares),
        }
    }

    fn join(
        &mut self,
        before: &Rc<[u8]>,
        said: &[u8],
        range: &Range<usize>,
        spares: &mut Spares,
    ) -> Rc<[u8]> {
        let mut bytes = spares.take();
        bytes.extend_from_slice(before);
        bytes.extend_from_slice(&said[range.clone()]);
        let both: Rc<[u8]> = bytes.as_slice().into();
        spares.give(bytes);
        self.joined = Some(Joined {
            before: Rc::clone(before),
            range: range.clone(),
            both: Rc::clone(&both),
        });
        both
    }
}
