//! Where in memory the desk keeps what it knows of a session, for whoever wants it fetched ahead.
//!
//! Nothing is read or written through it. Invariant: it is an address and no reference.

use std::ptr;

use super::Desk;
use crate::engine::session::Token;

impl Desk {
    pub(in crate::engine) fn whereabouts(&self, session: Token) -> *const u8 {
        let entry = self.ledger.get(session);
        entry.map_or(ptr::null(), |entry| ptr::from_ref(entry).cast())
    }
}
