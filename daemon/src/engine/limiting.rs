//! Where the limits of single connections meet the streams: beginnings and ends are counted, bytes
//! use up allowances, and waiting is noticed.
//!
//! Small steps that `streams` and `telling` take on their way; what the limits are is in `limits` and
//! `pending`, when they end a connection is in `connection`.
//!
//! Invariant: a connection that rests has its deadline armed for the end of the rest.

use super::connection::Connection;
use super::limits::Passed;
use super::protocol::Protocol;
use super::session::{End, Token};
use super::streams::Streams;

impl<P: Protocol> Streams<P> {
    /// A connection that nobody has been told of yet. The oldest silent one may have to go for it.
    pub(super) fn begin(&mut self, now_ms: u64) -> Token {
        let connection = Connection::new(self.idle_ms, &self.spans, now_ms);
        let token = self.connections.insert(connection);
        self.protocol.desk().opened(token, self.output_bytes_max);
        self.note_silent(token, true);
        token
    }

    /// One that comes from another worker, and may be as silent here as it was there.
    pub(super) fn note_silent(&mut self, token: Token, silent: bool) {
        if !silent || !self.pending.is_limited() {
            return;
        }
        self.connections[token].silent = true;
        let connections = &self.connections;
        let is_silent = |token| connections.get(token).is_some_and(|c| c.silent);
        if let Some(oldest) = self.pending.enter(token, is_silent) {
            self.close_for(oldest, Passed::Pending, false);
        }
    }

    /// Takes a connection out of the books.
    pub(super) fn forget(&mut self, token: Token) -> Option<Connection<P::State>> {
        let connection = self.connections.remove(token)?;
        self.protocol.desk().closed(token);
        self.facts.forget(token);
        if connection.silent {
            self.pending.leave();
        }
        Some(connection)
    }

    /// The connection has passed a limit that has a name.
    pub(super) fn close_for(&mut self, token: Token, passed: Passed, reset: bool) {
        if let Some(connection) = self.connections.get_mut(token) {
            connection.passed.get_or_insert(passed);
            self.close(token, End::Limit, reset);
        }
    }

    /// Its source was banned. What was said leaves as far as the socket has room.
    pub fn close_banned(&mut self, token: Token, now_ms: u64) {
        self.close_for(token, Passed::Banned, false);
        self.end_sessions(now_ms);
    }

    pub(super) fn input_allowance(&self, token: Token) -> usize {
        let connection = self.connections.get(token);
        let pace = connection.and_then(|connection| connection.pace.as_ref());
        match pace {
            // While it rests only what is to be dropped is read.
            Some(pace) if !pace.input.rests() => pace.input.allowance(),
            Some(_) | None => usize::MAX,
        }
    }

    pub(super) fn note_input(&mut self, token: Token, bytes: usize, now_ms: u64) {
        let connection = &mut self.connections[token];
        if std::mem::take(&mut connection.silent) {
            self.pending.leave();
        }
        if let Some(pace) = &mut connection.pace {
            let rested = pace.input.rests();
            pace.input.moved(bytes, now_ms);
            self.tally.held_bandwidth += u64::from(!rested && pace.input.rests());
            self.rearm(token);
        }
    }

    pub(super) fn note_output(&mut self, token: Token, bytes: usize, now_ms: u64) {
        let connection = &mut self.connections[token];
        if let Some(pace) = &mut connection.pace {
            let rested = pace.output.rests();
            let more = pace.output.moved(bytes, now_ms);
            self.tally.held_bandwidth += u64::from(!rested && pace.output.rests());
            // Nobody else would look again: the socket took all it was offered.
            if more && connection.output.queued() > 0 {
                self.touch(token);
            }
        }
    }

    /// After a feed; `moved` if something was consumed, or could not have been before.
    pub(super) fn note_left(&mut self, token: Token, moved: bool, now_ms: u64) {
        let Some(connection) = self.connections.get_mut(token) else {
            return;
        };
        let left = connection.kept.len();
        connection
            .until
            .input_left(left, moved, &self.spans, now_ms);
        if left > 0 {
            self.rearm(token);
        }
    }

    pub(super) fn end_rests(&mut self, token: Token, now_ms: u64) {
        let connection = &mut self.connections[token];
        let Some(pace) = &mut connection.pace else {
            return;
        };
        let reads = pace.input.wake(now_ms);
        let sends = pace.output.wake(now_ms);
        if sends {
            // The peer has its time anew: it could not take what it was not sent.
            let queued = connection.output.queued();
            connection
                .until
                .output_left(queued, true, &self.spans, now_ms);
            self.touch(token);
        }
        if reads {
            self.mark_resumed(token);
        }
    }
}
