//! Looking at single connections, and ending one because an operator wants it.
//!
//! Invariant: looking changes nothing.

use super::limits::Passed;
use super::protocol::Protocol;
use super::session::{End, Token};
use super::streams::Streams;

/// How a connection is at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub token: Token,
    /// Since a byte has moved.
    pub idle_ms: u64,
    pub queued: usize,
}

impl<P: Protocol> Streams<P> {
    pub fn seen(&self, now_ms: u64) -> impl Iterator<Item = Seen> {
        self.connections
            .iter()
            .map(move |(token, connection)| Seen {
                token,
                idle_ms: now_ms.saturating_sub(connection.active_ms()),
                queued: connection.output.queued(),
            })
    }

    /// Feeds nothing more; what was said leaves, and then our FIN. Not of a session that is written down
    /// for another worker: it would go on there, though it was counted as ended here.
    pub fn finish_for_operator(&mut self, token: Token, now_ms: u64) {
        if let Some(connection) = self.connections.get_mut(token)
            && connection.accepts_writes()
            && !connection.is_away()
        {
            connection.finish(End::Drain);
            self.tally.passed[Passed::Asked as usize] += 1;
            self.touch(token);
            self.rearm(token);
            self.end_sessions(now_ms);
        }
    }
}
