//! What was said to several sessions, one after the other: each piece of it has one copy for all.
//!
//! Those who have the line before it still to come get one copy of both, so that a burst is shared as its
//! lines are. Who takes part is decided by the desk, and what becomes of it by the output. Invariant: a copy
//! holds the bytes of its range, behind those of the line that it was asked for.

use std::ops::Range;
use std::rc::Rc;

/// The copy of what was said last to several sessions.
#[derive(Debug, Default)]
pub(super) struct Lines {
    said: Option<(Range<usize>, Rc<[u8]>)>,
    joined: Option<Joined>,
}

/// A line from before, and it with what was said last behind it.
#[derive(Debug)]
struct Joined {
    before: Rc<[u8]>,
    both: Rc<[u8]>,
}

impl Lines {
    /// These bytes of what was said during a call.
    #[inline]
    pub(super) fn line(&mut self, said: &[u8], range: &Range<usize>) -> Rc<[u8]> {
        match &self.said {
            Some((of, line)) if of == range => Rc::clone(line),
            _ => self.make(said, range),
        }
    }

    fn make(&mut self, said: &[u8], range: &Range<usize>) -> Rc<[u8]> {
        let line: Rc<[u8]> = said[range.clone()].into();
        self.said = Some((range.clone(), Rc::clone(&line)));
        self.joined = None;
        line
    }

    /// The same behind a line that was said before.
    pub(super) fn behind(
        &mut self,
        before: &Rc<[u8]>,
        said: &[u8],
        range: &Range<usize>,
    ) -> Rc<[u8]> {
        let line = self.line(said, range);
        match &self.joined {
            Some(joined) if Rc::ptr_eq(&joined.before, before) => Rc::clone(&joined.both),
            _ => {
                let both: Rc<[u8]> = [&**before, &*line].concat().into();
                self.joined = Some(Joined {
                    before: Rc::clone(before),
                    both: Rc::clone(&both),
                });
                both
            }
        }
    }
}
