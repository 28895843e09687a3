//! What the desk has to know of a session that goes to another worker or comes from one.
//!
//! Invariant: of a session that is away nothing is taken down; whoever asks is told to come back.

use super::Desk;
use crate::engine::session::Token;

impl Desk {
    /// It comes from another worker, with what was said there and perhaps a `writable` that is owed.
    pub fn taken(&mut self, session: Token, queued: usize, refused: bool, accepts: bool) {
        if let Some(entry) = self.ledger.get_mut(session) {
            (entry.queued, entry.refused) = (queued, refused);
            entry.finished = !accepts;
        }
    }

    pub fn away(&mut self, session: Token, away: bool) {
        if let Some(entry) = self.ledger.get_mut(session) {
            entry.away = away;
        }
    }
}
