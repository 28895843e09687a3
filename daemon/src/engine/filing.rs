//! Files on their way to a peer: what is to be sent of one next, and what became of it.
//!
//! The worker looks, reads and sends; what a part that is missing, or a file that became shorter, means
//! for the connection is decided here. How ranges queue is said in `files`.
//!
//! Invariant: nothing is sent of a range while it is being read.

use super::files::FilePiece;
use super::protocol::Protocol;
use super::session::{End, Token};
use super::streams::{After, Streams};

impl<P: Protocol> Streams<P> {
    /// What is to be sent of a file now; none while bytes come first, it rests or it is read.
    pub fn file_piece(&self, token: Token) -> Option<FilePiece<'_>> {
        let connection = self.connections.get(token)?;
        let pace = connection.pace.as_ref();
        let room = pace.map_or(usize::MAX, |pace| pace.output.allowance());
        connection.output.ranges()?.piece(room)
    }

    /// So many bytes of the file's piece are in memory now, counted from what is sent next.
    pub fn file_found(&mut self, token: Token, ready: u64, now_ms: u64) {
        let Some(connection) = self.connections.get_mut(token) else {
            return;
        };
        let Some(ranges) = connection.output.ranges_mut() else {
            return;
        };
        if ranges.is_awaited() {
            // The peer has its time anew: it could not take what nobody had.
            connection.file_read(&self.spans, now_ms);
        }
        if let Some(ranges) = self.connections[token].output.ranges_mut() {
            ranges.found(ready);
        }
        self.rearm(token);
    }

    /// The file's piece is being read; nothing is sent until it is found.
    pub fn file_awaited(&mut self, token: Token) {
        let connection = self.connections.get_mut(token);
        if let Some(ranges) = connection.and_then(|it| it.output.ranges_mut()) {
            ranges.wait();
        }
    }

    /// The socket took so many bytes of the file's piece.
    pub fn file_sent(&mut self, token: Token, bytes: usize, now_ms: u64) -> After {
        if let Some(connection) = self.connections.get_mut(token) {
            connection.output.file_sent(bytes as u64);
        }
        self.account(token, bytes, now_ms)
    }

    /// The file holds less than was promised, or cannot be read: the peer must notice.
    pub fn file_failed(&mut self, token: Token, now_ms: u64) {
        if self.connections.contains(token) {
            self.tally.files_short += 1;
            self.close(token, End::File, true);
            self.end_sessions(now_ms);
        }
    }

    /// Whether all that is queued is bytes: a connection that waits for a file stays where it is.
    pub fn holds_no_file(&self, token: Token) -> bool {
        let connection = self.connections.get(token);
        connection.is_none_or(|connection| connection.output.ranges().is_none())
    }
}
