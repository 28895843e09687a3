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
            self.said_again += 1;
            return last.clone();
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    /// Some of the bytes were said more than once.
    pub fn said_to_several(&self) -> bool {
        self.said_again > 0
    }

    /// Where the bytes are, and to whom they are said, if nothing else was asked for.
    pub fn only_line(&self) -> Option<(Range<usize>, impl Iterator<Item = Token>)> {
        let whom = |ask: &Ask| match ask {
            Ask::Write { session, .. } => Some(*session),
            _ => None,
        };
        // All but the first have the bytes of the one before.
        let is_one = self.said_again > 0 && self.asks.len() == self.said_again + 1;
        match self.asks.first() {
            Some(Ask::Write {
                piece: Piece::Copied(range),
                ..
            }) if is_one && self.refusals.is_empty() && self.faults.is_empty() => {
                Some((range.clone(), self.asks.iter().filter_map(whom)))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::desk::Said;
    use crate::engine::roll::Roll;

    #[test]
    fn what_is_said_to_one_after_the_other_is_there_once() {
        for (said, bytes, several, one) in [
            (&[(0, "a"), (1, "a"), (2, "a")][..], "a", true, true),
            (&[(0, "a"), (1, "b"), (2, "a")], "aba", false, false),
            (&[(0, "a"), (1, "a"), (1, "b"), (0, "b")], "ab", true, false),
            (&[(0, "b"), (1, "a"), (0, "a")], "ba", true, false),
            (&[(0, "a"), (1, "aa")], "aaa", false, false),
            (&[(0, "a"), (0, "a")], "aa", false, false),
            (&[(0, "a")], "a", false, false),
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
            let whom: Option<Vec<Token>> = desk.only_line().map(|(_, whom)| whom.collect());
            let all = said.iter().map(|(whom, _)| sessions[*whom]);
            assert_eq!(whom, one.then(|| all.collect()), "{said:?}");
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

    #[test]
    fn what_is_left_when_something_was_taken_back_is_not_taken_for_one_line() {
        let mut roll = Roll::default();
        let sessions = [(); 3].map(|()| roll.insert(()));
        let mut desk = Desk::default();
        for (session, text) in sessions.iter().zip(["a", "a", "b"]) {
            desk.opened(*session, usize::MAX);
            let written = desk.write(*session, Said::Bytes(text.as_bytes()), false);
            written.expect("there is room");
        }
        desk.undo_writes(sessions[0]);
        assert!(desk.only_line().is_none() && !desk.said_to_several());
    }
}
