//! Telling the protocol: input, the peer's FIN, that it is writable, that a session ended.
//!
//! The half of [`Streams`] that calls the protocol about a connection, when that is right. Each call
//! is followed by `carry_out`; sessions that end are collected and told one after the other.
//!
//! Invariant: input and the FIN behind it are told in order, and nothing after the end.

use super::connection::{Connection, Next, State};
use super::deadlines::{NEVER, What};
use super::lists::Parted;
use super::output::Splices;
use super::protocol::Protocol;
use super::session::{End, Fed, Token};
use super::streams::Streams;

impl<P: Protocol> Streams<P> {
    /// Feeds the first `length` bytes of the buffer, and keeps what is not consumed.
    pub(super) fn feed(&mut self, token: Token, length: usize, now_ms: u64) {
        let connection = &mut self.connections[token];
        let Some(session) = connection.session else {
            return;
        };
        debug_assert!(connection.may_feed(), "read only when wants_read says so");
        let again = std::mem::take(&mut connection.feed_again);
        self.lent_to = Some(token);
        let consumed = match self.protocol.feed(token, session, &self.buffer[..length]) {
            Fed::Took(consumed) if consumed <= length => consumed,
            Fed::Took(consumed) => {
                self.protocol.desk().fault(format!(
                    "feed claims to have consumed {consumed} bytes of {length}"
                ));
                length
            }
            Fed::Full => {
                self.protocol.desk().undo_writes(token);
                self.refuse_feed(token);
                0
            }
            Fed::Failed(why) => {
                self.carry_out(Some(token), now_ms);
                return self.close(token, why, true);
            }
        };
        if !self.carry_echo(token) {
            self.carry_out(Some(token), now_ms);
        }
        let connection = self.connections.get(token);
        if consumed == length && connection.is_some_and(Connection::left_nothing) {
            return;
        }
        self.keep(token, consumed, length);
        self.note_left(token, consumed > 0 || again, now_ms);
    }

    /// A feed that never happened waits for `writable`; with nothing queued that would never come.
    fn refuse_feed(&mut self, token: Token) {
        let connection = &mut self.connections[token];
        connection.full = true;
        connection.feed_again = true;
        connection.refused_at = connection.output.queued();
        if connection.output.queued() == 0 {
            self.close(token, End::Limit, true);
        } else {
            self.touch(token);
        }
    }

    fn keep(&mut self, token: Token, consumed: usize, length: usize) {
        let Some(connection) = self.connections.get_mut(token) else {
            return;
        };
        let over = !matches!(connection.state(), State::Open);
        if connection.is_leaving() {
            // It may have become quiet without saying anything.
            self.lists.touch(token, connection);
        }
        if consumed == length || over {
            connection.feed_again = false;
            self.spares.give(std::mem::take(&mut connection.kept));
            return;
        }
        if connection.kept.capacity() == 0 {
            connection.kept = self.spares.take();
        }
        // What was not consumed before is in place already.
        let already = if consumed == 0 {
            connection.kept.len()
        } else {
            0
        };
        connection.kept.truncate(already);
        connection
            .kept
            .extend_from_slice(&self.buffer[consumed + already..length]);
        self.check_input(token);
    }

    /// The protocol had its chance to consume: what it left must not exceed the limit, unless its
    /// output is in its way. Either way no more is read behind so much, which bounds the buffer.
    fn check_input(&mut self, token: Token) {
        let connection = &mut self.connections[token];
        if connection.kept.len() > self.input_bytes_max && connection.may_feed() {
            if self.protocol.desk().was_refused(token) {
                connection.full = true;
            } else {
                self.close(token, End::Limit, true);
            }
        }
    }

    pub(super) fn tell_fin(&mut self, token: Token, now_ms: u64) {
        let Some(connection) = self.connections.get(token) else {
            return;
        };
        let Some(session) = connection.session.filter(|_| connection.may_tell_fin()) else {
            return;
        };
        if !connection.kept.is_empty() && self.protocol.desk().was_refused(token) {
            // What it had no room to answer comes again first.
            return;
        }
        let answer = self.protocol.peer_finished(token, session);
        self.carry_out(Some(token), now_ms);
        match answer {
            Ok(handled) => {
                let connection = &mut self.connections[token];
                connection.fin_told(handled);
                self.spares.give(std::mem::take(&mut connection.kept));
                if let State::Finishing(_) = connection.state() {
                    self.protocol.desk().finishing(token);
                }
                self.touch(token);
            }
            Err(why) => self.close(token, why, true),
        }
    }

    /// Delivers a `writable` that is owed.
    pub(super) fn tell_writable(&mut self, token: Token, now_ms: u64) {
        let Some(connection) = self.connections.get_mut(token) else {
            return;
        };
        let open = matches!(connection.state(), State::Open | State::PeerFinished);
        let live = open && !connection.is_away();
        let ready = live && connection.is_writable(self.marks);
        let Some(session) = connection.session.filter(|_| ready) else {
            return;
        };
        if !self.protocol.desk().take_refused(token) {
            return;
        }
        connection.full = false;
        connection.feed_again = !connection.kept.is_empty();
        let answer = self.protocol.writable(token, session);
        self.carry_out(Some(token), now_ms);
        // Refused again with nothing in its way: it will never fit.
        let stuck = self.queued(token) == 0 && self.protocol.desk().was_refused(token);
        match answer {
            Err(why) => self.close(token, why, true),
            Ok(()) if stuck => self.close(token, End::Limit, true),
            Ok(()) => {}
        }
    }

    pub(super) fn count_faults(&mut self, callee: Option<Token>) {
        let desk = self.protocol.desk();
        if !desk.has_faults() {
            return;
        }
        let faults = desk.take_faults();
        self.tally.faults += faults.len() as u64;
        self.tally.fault = faults.into_iter().next_back();
        if let Some(token) = callee {
            self.close(token, End::Fault, true);
        }
    }

    /// The connection is over; the protocol is told by `end_sessions`.
    pub(super) fn close(&mut self, token: Token, why: End, reset: bool) {
        if let Some(connection) = self.connections.get_mut(token)
            && connection.close()
        {
            self.lists.ending.push_back((token, why, reset));
        }
    }

    /// Tells the protocol of each session that ended, and of those that end because of that.
    pub(super) fn end_sessions(&mut self, now_ms: u64) {
        while let Some((token, why, reset)) = self.lists.ending.pop_front() {
            let Some(mut connection) = self.forget(token) else {
                continue;
            };
            if self.lent_to == Some(token) {
                self.splices.clear();
                self.lent_to = None;
            }
            connection.output.discard(&mut self.spares);
            self.spares.give(std::mem::take(&mut connection.kept));
            match why {
                End::Idle => self.tally.closed_idle += 1,
                End::Limit => match connection.passed {
                    Some(passed) => self.tally.passed[passed as usize] += 1,
                    None => self.tally.closed_limit += 1,
                },
                End::Finished
                | End::Aborted
                | End::Lost
                | End::Drain
                | End::Fault
                | End::File
                | End::Carried => {}
            }
            self.lists.parted.push(Parted { token, why, reset });
            if let Some(session) = connection.session {
                self.protocol.closed(token, session, why);
                self.carry_out(None, now_ms);
            }
        }
    }

    pub(super) fn expire_connection(&mut self, token: Token, at_ms: u64, now_ms: u64) {
        let Some(connection) = self.connections.get_mut(token) else {
            return;
        };
        if connection.armed_ms != at_ms {
            return;
        }
        connection.armed_ms = NEVER;
        if connection.is_away() {
            // Armed anew if it stays.
            return;
        }
        match connection.expired(self.patience, now_ms) {
            Next::Close { why, reset } => self.close(token, why, reset),
            Next::Nothing | Next::Feed | Next::ShutWriting | Next::CloseAlone => {
                let leaving = connection.is_leaving();
                self.end_rests(token, now_ms);
                self.rearm(token);
                if leaving {
                    self.touch(token);
                }
            }
        }
    }

    pub(super) fn compact_deadlines(&mut self) {
        let Streams {
            protocol,
            connections,
            deadlines,
            ..
        } = self;
        let desk = protocol.desk();
        let live = connections.len() + desk.timer_count() + 1;
        deadlines.compact(live, |at_ms, what| match what {
            What::Connection(token) => connections.get(token).is_some_and(|c| c.armed_ms == at_ms),
            What::Timer(timer) => desk.timer_is_armed(timer),
            What::DrainEnd => true,
        });
    }

    /// Puts what the connection left unconsumed at the start of the buffer, and says how much.
    pub(super) fn lend_kept(&mut self, token: Token) -> usize {
        if let Some(owner) = self.lent_to.filter(|_| !self.splices.is_empty()) {
            self.taken(owner, 0);
        }
        self.lent_to = None;
        // If it is not open, what comes now is dropped.
        let open = |connection: &&Connection<P::State>| connection.state() == State::Open;
        let connection = self.connections.get(token).filter(open);
        let Some(kept) = connection.map(|c| &c.kept).filter(|kept| !kept.is_empty()) else {
            return 0;
        };
        self.buffer[..kept.len()].copy_from_slice(kept);
        kept.len()
    }

    /// So many bytes of a connection's pieces are gone; spliced ones that are not are copied.
    pub(super) fn taken(&mut self, token: Token, bytes: usize) {
        let Some(connection) = self.connections.get_mut(token) else {
            return;
        };
        if self.lent_to == Some(token) {
            let splices = &mut self.splices;
            connection
                .output
                .taken(bytes, splices, &self.buffer, &mut self.spares);
            self.lent_to = None;
        } else {
            let splices = &mut Splices::default();
            connection
                .output
                .taken(bytes, splices, &[], &mut self.spares);
        }
    }

    pub(super) fn touch(&mut self, token: Token) {
        if let Some(connection) = self.connections.get_mut(token) {
            self.lists.touch(token, connection);
        }
    }

    pub(super) fn mark_resumed(&mut self, token: Token) {
        if let Some(connection) = self.connections.get_mut(token) {
            self.lists.resume(token, connection);
        }
    }
}
