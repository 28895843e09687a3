//! What is said to one session after the other, as a line of a room is: it lies on the desk once.
//!
//! Invariant: a range is shared only if the same bytes were said right before, to another session.

use std::ops::Range;

use super::{Ask, Desk};
use crate::engine::piece::Piece;
use crate::engine::session::Token;

impl Desk {
    /// Where these bytes for a session are now.
    pub(super) fn copy(&mut self, session: Token, bytes: &[u8]) -> Range<usize> {
        if let Some(Ask::Write {
            session: before,
            piece: Piece::Copied(last),
        }) = self.asks.last()
            && *before != session
            && self.bytes[last.clone()] == *bytes
        {
            self.said_to_several = true;
            return last.clone();
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    /// Some of the bytes were said more than once.
    pub fn said_to_several(&self) -> bool {
        self.said_to_several
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::desk::Said;
    use crate::engine::roll::Roll;

    #[test]
    fn what_is_said_to_one_after_the_other_is_there_once() {
        for (said, bytes, several) in [
            (&[(0, "a"), (1, "a"), (2, "a")][..], "a", true),
            (&[(0, "a"), (1, "b"), (2, "a")], "aba", false),
            (&[(0, "a"), (1, "a"), (1, "b"), (0, "b")], "ab", true),
            (&[(0, "a"), (1, "aa")], "aaa", false),
            (&[(0, "a"), (0, "a")], "aa", false),
        ] {
            let mut roll = Roll::default();
            let sessions = [(); 3].map(|()| roll.insert(()));
            let mut desk = Desk::default();
            for session in sessions {
                desk.opened(session, usize::MAX);
            }
            for (whom, text) in said {
                let said = Said::Bytes(text.as_bytes());
                let written = desk.write(sessions[*whom], said, false);
                written.expect("there is room");
            }
            assert_eq!(desk.bytes(), bytes.as_bytes(), "{said:?}");
            assert_eq!(desk.said_to_several(), several, "{said:?}");
            for (ask, (whom, text)) in desk.asks().iter().zip(said) {
                let Ask::Write {
                    session,
                    piece: Piece::Copied(range),
                } = ask
                else {
                    panic!("{ask:?}");
                };
                assert_eq!(*session, sessions[*whom], "{said:?}");
                assert_eq!(desk.bytes()[range.clone()], *text.as_bytes(), "{said:?}");
            }
            desk.clear();
            assert!(!desk.said_to_several() && desk.is_clear());
        }
    }
}
