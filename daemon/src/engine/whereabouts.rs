//! Where in memory a round of a connection goes, for a worker that wants it fetched ahead.
//!
//! With very many connections what was kept of one has left the caches by the time that it speaks
//! again, and a round would wait for line after line. The addresses are told here, and nothing is read
//! through them: what is done with them is `worker`'s, how is `sys`'s. To look up those of a connection
//! that is to come would be to wait for it, so they are reckoned from those of one that is there.
//!
//! Invariant: an address is good for a hint only; null is nowhere.

use std::ptr;

use slotmap::Key;

use super::connection::Connection;
use super::session::{Protocol, Token};
use super::streams::Streams;
use crate::sys::ahead::neighbour;

/// Lines of a connection that a round touches, and the desk's.
const WHEREABOUTS: usize = 5;

impl Token {
    /// How far behind this one's place that of another is, in any map by tokens.
    pub fn places_to(self, other: Token) -> isize {
        let place = |token: Token| token.data().as_ffi() as u32 as isize;
        place(other) - place(self)
    }
}

impl<P: Protocol> Streams<P> {
    /// Of the connection so many places behind that of `here`.
    pub fn whereabouts(&mut self, here: Token, places: isize) -> [*const u8; WHEREABOUTS] {
        let Some(connection) = self.connections.get(here) else {
            return [ptr::null(); WHEREABOUTS];
        };
        let row_bytes = size_of::<(Connection<P::State>, u32)>();
        // The fields in the order in which they lie, none of them further from the next than a line.
        [
            neighbour(&connection.until.progress_ms, places, row_bytes),
            neighbour(&connection.kept, places, row_bytes),
            neighbour(&connection.session, places, row_bytes),
            neighbour(&connection.passed, places, row_bytes),
            self.protocol.desk().whereabouts(here, places),
        ]
    }

    /// Of what the protocol keeps of it; the way there leads through the connection.
    pub fn state_whereabouts(&self, token: Token) -> *const u8 {
        let connection = self.connections.get(token);
        let state = connection.and_then(|connection| connection.session);
        state.map_or(ptr::null(), |state| self.protocol.whereabouts(state))
    }
}

#[cfg(test)]
mod tests {
    use slotmap::{SecondaryMap, SlotMap};

    use super::*;

    /// As large and as full of other things as what is kept in the two kinds of maps.
    type Kept = (Vec<u8>, [u64; 22], bool);
    type Beside = (u64, u32, [bool; 8]);

    #[test]
    fn a_neighbour_is_where_it_is_reckoned_to_be() {
        let mut kept = SlotMap::<Token, Kept>::with_key();
        let mut beside = SecondaryMap::<Token, Beside>::new();
        let tokens: Vec<Token> = (0..100).map(|_| kept.insert(Kept::default())).collect();
        for token in &tokens {
            beside.insert(*token, Beside::default());
        }
        for here in &tokens {
            for there in &tokens {
                let places = here.places_to(*there);
                let reckoned = neighbour(&kept[*here], places, size_of::<(Kept, u32)>());
                assert_eq!(reckoned, ptr::from_ref(&kept[*there]).cast());
                let reckoned = neighbour(&beside[*here], places, size_of::<(u64, Beside)>());
                assert_eq!(reckoned, ptr::from_ref(&beside[*there]).cast());
            }
        }
    }
}
