//! Where in memory the desk keeps what it knows of a session, for whoever wants it fetched ahead.
//!
//! Nothing is read or written through it. Invariant: it is an address and no reference.

use super::Desk;
use crate::engine::session::Token;

impl Desk {
    pub(in crate::engine) fn whereabouts(&self, token: Token) -> *const u8 {
        self.ledger.whereabouts(token).cast()
    }
}
