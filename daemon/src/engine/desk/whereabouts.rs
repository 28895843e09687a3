//! Where in memory the desk keeps what it knows of a session, for whoever wants it fetched ahead.
//!
//! Nothing is read or written through it. Invariant: it is an address and no reference.

use std::ptr;

use super::{Desk, Entry};
use crate::engine::session::Token;
use crate::sys::ahead::neighbour;

const ROW_BYTES: usize = size_of::<(u64, Entry)>();

impl Desk {
    /// Of the session so many places behind that of `here`.
    pub(in crate::engine) fn whereabouts(&self, here: Token, places: isize) -> *const u8 {
        let entry = self.ledger.get(here);
        entry.map_or(ptr::null(), |entry| neighbour(entry, places, ROW_BYTES))
    }
}
