//! What was said to several sessions, one after the other: each piece of it has one copy for all.
//!
//! Who takes part in it is decided by the desk, and what becomes of it by the output. Invariant: a copy
//! holds the bytes of its range.

use std::ops::Range;
use std::rc::Rc;

/// The copy of what was said last to several sessions.
#[derive(Debug, Default)]
pub(super) struct Lines(Option<(Range<usize>, Rc<[u8]>)>);

impl Lines {
    /// These bytes of what was said during a call.
    pub(super) fn line(&mut self, said: &[u8], range: &Range<usize>) -> Rc<[u8]> {
        match &self.0 {
            Some((of, line)) if of == range => Rc::clone(line),
            _ => {
                let line: Rc<[u8]> = said[range.clone()].into();
                self.0 = Some((range.clone(), Rc::clone(&line)));
                line
            }
        }
    }
}
