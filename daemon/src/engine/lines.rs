//! What was said to several sessions, one after the other: each piece of it has one copy for all.
//!
//! Those who have the line before it still to come get one copy of both, so that a burst is shared as its
//! lines are. Who takes part is decided by the desk, and what becomes of it by the output. Invariant: a copy
//! holds the bytes of its range, behind those of the line that it was asked for.

use std::ops::Range;
use std::rc::Rc;

use super::spares::Spares;

/// The copies of what was said last to several sessions.
#[derive(Debug, Default)]
pub(super) struct Lines {
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
    pub(super) fn line(&mut self, said: &[u8], range: &Range<usize>) -> Rc<[u8]> {
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
    pub(super) fn behind(
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
