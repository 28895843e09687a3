//! Streams: all stream connections of one worker, and the protocol that speaks on them.
//!
//! Sans-IO: the worker tells what it heard (`open`, `received`, `peer_finished`, `lost`, `expire`,
//! `wake`, `drain`) and does what it is told to: it flushes whom `pop_touched` names (`pieces`, one
//! send, `sent`), looks again at whom `pop_resumed` names (`resume`, then read if `wants_read`), and
//! parts with the socket of whom `pop_parted` names. After each call of the protocol the desk is
//! cleared; no call of the protocol is made while another runs.
//!
//! Input is read into one buffer for all connections (`space`), behind what the connection had left
//! unconsumed. Output that lies in this buffer is sent from it: flush a connection for which
//! `has_lent` is true before anything else is read, or the bytes are copied.
//!
//! Invariant: a token is in `connections` exactly as long as in the desk's ledger, and leaves both
//! with its one `closed` and its one entry in `parted`.

use super::buffer::Buffer;
use super::connection::{Connection, DRAIN_PAUSE_MS, Next, Patience};
use super::deadlines::{Deadlines, NEVER, What};
use super::handler::{Job, JobEnd, JobToken, SharedHandler};
use super::kept::KeptFacts;
use super::limits::{Passed, Spans};
use super::lists::{Lists, Parted};
use super::output::{Pieces, Spares, Splices, Watermarks};
use super::pending::Pending;
use super::protocol::{BUS_NEWS_MAX, BusNews, Protocol};
use super::roll::Roll;
use super::session::{End, Facts, Token};
use super::tally::Tally;
use crate::plan::Limits;

/// What one read may bring.
pub const READ_BYTES: usize = 64 * 1024;

pub struct Streams<P: Protocol> {
    pub(super) protocol: P,
    pub(super) connections: Roll<Connection<P::State>>,
    pub(super) deadlines: Deadlines,
    pub(super) spares: Spares,
    /// Where input is read to and lent from.
    pub(super) buffer: Buffer,
    /// Output of `lent_to` that lies in `buffer`.
    pub(super) splices: Splices,
    pub(super) lent_to: Option<Token>,
    pub(super) lists: Lists,
    pub(super) tally: Tally,
    pub(super) marks: Watermarks,
    pub(super) pending: Pending,
    pub(super) spans: Spans,
    pub(super) idle_ms: u64,
    pub(super) input_bytes_max: usize,
    pub(super) output_bytes_max: usize,
    pub(super) facts: KeptFacts,
    pub(super) draining: bool,
    /// Of that drain.
    pub(super) patience: Patience,
}

/// What is to be done to the socket after a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    Nothing,
    ShutWriting,
    /// To be looked at, and then closed: see `looked`.
    CloseAlone,
    /// A file comes next, and may leave at once: see `file_piece`.
    SendFile,
}

impl<P: Protocol> Streams<P> {
    pub fn new(protocol: P, limits: &Limits) -> Streams<P> {
        Streams {
            protocol,
            connections: Roll::default(),
            deadlines: Deadlines::default(),
            spares: Spares::default(),
            buffer: Buffer::new(limits.input_bytes_max.saturating_add(READ_BYTES)),
            splices: Splices::default(),
            lent_to: None,
            lists: Lists::default(),
            tally: Tally::default(),
            marks: Watermarks::of(limits.output_bytes_max),
            pending: Pending::new(limits.pending),
            spans: Spans::of(limits),
            idle_ms: limits.idle_ms,
            input_bytes_max: limits.input_bytes_max,
            output_bytes_max: limits.output_bytes_max,
            facts: KeptFacts::default(),
            draining: false,
            patience: Patience::default(),
        }
    }

    /// Other limits, for what happens from now on. That on unconsumed input stays: buffers are made
    /// for it.
    pub fn adjust(&mut self, limits: &Limits) {
        self.marks = Watermarks::of(limits.output_bytes_max);
        self.pending.adjust(limits.pending);
        self.spans = Spans::of(limits);
        self.idle_ms = limits.idle_ms;
        self.output_bytes_max = limits.output_bytes_max;
    }

    // --- what the worker heard -----------------------------------------------------------------

    /// Once, before anything else: carries out what was asked for while the protocol was made.
    pub fn start(&mut self, now_ms: u64) {
        self.carry_out(None, now_ms);
    }

    /// `Err` when the protocol does not want the session: it was never open.
    pub fn open(&mut self, facts: &Facts<'_>, now_ms: u64) -> Result<Token, End> {
        let token = self.begin(now_ms);
        match self.protocol.open(token, facts) {
            Ok(session) => {
                self.connections[token].session = Some(session);
                self.keep_facts(token, facts);
                self.carry_out(Some(token), now_ms);
                self.rearm(token);
                self.end_sessions(now_ms);
                Ok(token)
            }
            Err(why) => {
                self.forget(token);
                self.carry_out(None, now_ms);
                self.end_sessions(now_ms);
                Err(why)
            }
        }
    }

    /// Where the next bytes of this connection are to be read to.
    pub fn space(&mut self, token: Token) -> &mut [u8] {
        let from = self.lend_kept(token);
        let allowed = self.input_allowance(token).min(READ_BYTES);
        &mut self.buffer[from..from + allowed]
    }

    /// So many bytes were read into the `space` of this connection.
    pub fn received(&mut self, token: Token, bytes: usize, now_ms: u64) {
        let Some(connection) = self.connections.get_mut(token) else {
            return;
        };
        self.tally.bytes_in += bytes as u64;
        let next = connection.received(bytes, now_ms);
        let length = connection.kept.len() + bytes;
        let awaits_header = connection.awaits_header();
        if connection.silent || connection.pace.is_some() {
            self.note_input(token, bytes, now_ms);
        }
        match next {
            Next::Feed if awaits_header => self.hear_header(token, length),
            Next::Feed => self.feed(token, length, now_ms),
            Next::Close { why, reset } => self.close(token, why, reset),
            Next::Nothing | Next::ShutWriting | Next::CloseAlone => {}
        }
        self.end_sessions(now_ms);
    }

    pub fn peer_finished(&mut self, token: Token, now_ms: u64) {
        let Some(connection) = self.connections.get_mut(token) else {
            return;
        };
        match connection.peer_finished() {
            Next::Close { why, reset } => self.close(token, why, reset),
            Next::Nothing if connection.awaits_header() => {
                self.close_for(token, Passed::Header, false);
            }
            Next::Nothing | Next::Feed | Next::ShutWriting | Next::CloseAlone => {
                self.tell_fin(token, now_ms);
            }
        }
        self.end_sessions(now_ms);
    }

    /// The connection broke: reset by the peer, or an error of its socket.
    pub fn lost(&mut self, token: Token, now_ms: u64) {
        if let Some(connection) = self.connections.get(token) {
            let why = connection.lost();
            self.close(token, why, false);
            self.end_sessions(now_ms);
        }
    }

    /// Tells what was held back: that it is writable again, kept input, the peer's FIN.
    pub fn resume(&mut self, token: Token, now_ms: u64) {
        self.tell_writable(token, now_ms);
        let again = |c: &Connection<P::State>| c.may_feed() && c.feed_again;
        if self.connections.get(token).is_some_and(again) {
            let length = self.lend_kept(token);
            self.feed(token, length, now_ms);
        }
        self.tell_fin(token, now_ms);
        self.end_sessions(now_ms);
    }

    pub fn wake(&mut self, wake_token: u64, now_ms: u64) {
        self.protocol.wake(wake_token);
        self.carry_out(None, now_ms);
        self.end_sessions(now_ms);
    }

    /// News of the bus, and so much of what follows from it; true if more does. An error ends that end
    /// of it.
    pub fn hear_bus(&mut self, news: BusNews<'_>, now_ms: u64) -> Result<bool, String> {
        let mut next = news;
        for _ in 0..BUS_NEWS_MAX {
            let more = self.protocol.hear_bus(next);
            self.carry_out(None, now_ms);
            self.end_sessions(now_ms);
            if more != Ok(true) {
                return more;
            }
            next = BusNews::More;
        }
        Ok(true)
    }

    pub fn has_unanswered(&mut self) -> bool {
        self.protocol.has_unanswered()
    }

    pub fn bus_published(&mut self) -> u64 {
        self.protocol.bus_published()
    }

    pub fn bus_has_settled(&mut self, published: u64) -> bool {
        self.protocol.bus_has_settled(published)
    }

    pub fn bus_output(&mut self, is_due: bool) -> &[u8] {
        self.protocol.bus_output(is_due)
    }

    pub fn bus_sent(&mut self, bytes: usize) {
        self.protocol.bus_sent(bytes);
    }

    /// A job that the protocol submitted is over.
    pub fn worked(&mut self, job: JobToken, end: JobEnd, now_ms: u64) {
        self.protocol.desk().job_over(job);
        self.protocol.worked(job, end);
        self.carry_out(None, now_ms);
        self.end_sessions(now_ms);
    }

    /// A connection that the protocol has done with elsewhere, and whose FIN is sent: it is read and
    /// dropped until the peer's FIN, like any other that finishes.
    pub fn linger(&mut self, why: End, now_ms: u64) -> Token {
        let token = self
            .connections
            .insert(Connection::lingering(why, &self.spans, now_ms));
        self.rearm(token);
        token
    }

    /// Finish what is quiet, spread over the first half of the grace; close the rest at its end.
    /// Said again, it can only end sooner.
    pub fn drain(&mut self, now_ms: u64, grace_ms: u64) {
        if !std::mem::replace(&mut self.draining, true) {
            self.protocol.drain(grace_ms);
            self.carry_out(None, now_ms);
            self.end_sessions(now_ms);
            let tokens: Vec<Token> = self.connections.tokens().collect();
            let count = tokens.len() as u128;
            self.patience = Patience {
                until_ms: now_ms.saturating_add(grace_ms / 2),
                pause_ms: DRAIN_PAUSE_MS.min(grace_ms / 4),
            };
            for (nth, token) in (0u128..).zip(tokens) {
                let spread = u128::from(grace_ms / 2) * nth / count;
                let at_ms = now_ms.saturating_add(spread as u64);
                self.connections[token].drain_at_ms = at_ms;
                self.rearm(token);
            }
        }
        // Not at once, so that what the protocol said to the drain has one flush to leave in.
        self.deadlines
            .arm(now_ms.saturating_add(grace_ms.max(1)), What::DrainEnd);
    }

    /// Does what is due.
    pub fn expire(&mut self, now_ms: u64) {
        while let Some((at_ms, what)) = self.deadlines.due(now_ms) {
            match what {
                What::Connection(token) => self.expire_connection(token, at_ms, now_ms),
                What::Timer(timer) => {
                    if let Some(timer_token) = self.protocol.desk().timer_fired(timer) {
                        self.protocol.timer(timer, timer_token);
                        self.carry_out(None, now_ms);
                    }
                }
                What::DrainEnd => {
                    let tokens: Vec<Token> = self.connections.tokens().collect();
                    for token in tokens {
                        // Half a file that ends in order would pass for a whole one.
                        let reset = !self.holds_no_file(token);
                        self.close(token, End::Drain, reset);
                    }
                }
            }
            self.end_sessions(now_ms);
        }
        self.compact_deadlines();
    }

    // --- what the worker is to do --------------------------------------------------------------

    /// A connection that has something to flush; each is named once.
    pub fn pop_touched(&mut self) -> Option<Token> {
        while let Some(token) = self.lists.touched.pop() {
            // Flushed since it was touched, perhaps, or gone.
            if let Some(connection) = self.connections.get_mut(token)
                && std::mem::take(&mut connection.touched)
                && !connection.is_away()
            {
                return Some(token);
            }
        }
        None
    }

    /// A connection that may be fed or read again; each is named once.
    pub fn pop_resumed(&mut self) -> Option<Token> {
        while let Some(token) = self.lists.resumed.pop() {
            if let Some(connection) = self.connections.get_mut(token) {
                connection.resumed = false;
                return Some(token);
            }
        }
        None
    }

    pub fn pop_parted(&mut self) -> Option<Parted> {
        self.lists.parted.pop()
    }

    pub fn wants_read(&self, token: Token) -> bool {
        self.connections
            .get(token)
            .is_some_and(Connection::wants_read)
    }

    /// Its output lies in the buffer: flush it before anything else is read.
    pub fn has_lent(&self, token: Token) -> bool {
        self.lent_to == Some(token) && !self.splices.is_empty()
    }

    pub fn queued(&self, token: Token) -> usize {
        let connection = self.connections.get(token);
        connection.map_or(0, |connection| connection.output.queued())
    }

    /// What to send next; none when there is nothing to send.
    pub fn pieces(&self, token: Token) -> Pieces<'_> {
        let here = |connection: &&Connection<P::State>| !connection.is_away();
        let Some(connection) = self.connections.get(token).filter(here) else {
            return Pieces::default();
        };
        let pace = connection.pace.as_ref();
        let room = pace.map_or(usize::MAX, |pace| pace.output.allowance());
        let output = &connection.output;
        let (pieces, said) = if self.lent_to == Some(token) {
            let pieces = output.pieces_within(room, &self.splices, &self.buffer);
            (pieces, output.bytes() + self.splices.bytes())
        } else {
            let none = &Splices::default();
            (output.pieces_within(room, none, &[]), output.bytes())
        };
        let ends = connection.fin_follows() && output.ranges().is_none();
        match ends && pieces.len() == said {
            true => pieces.before_fin(),
            false => pieces,
        }
    }

    /// So many bytes have left, and the output knows it.
    pub(super) fn account(&mut self, token: Token, bytes: usize, now_ms: u64) -> After {
        let here = |connection: &&mut Connection<P::State>| !connection.is_away();
        let Some(connection) = self.connections.get_mut(token).filter(here) else {
            return After::Nothing;
        };
        connection.touched = false;
        // Nearly always it was touched last: then nobody has to look at it again.
        self.lists.touched.pop_if(|touched| *touched == token);
        self.tally.bytes_out += bytes as u64;
        let queued = connection.output.queued();
        let released = connection.flushed(bytes, self.marks, &self.spans, now_ms);
        let has_files = connection.output.ranges().is_some();
        let refused = self.protocol.desk().settle(token, &connection.output);
        if queued == 0 && !has_files && !released && !refused && connection.goes_on() {
            // Its deadlines have only moved away.
            return After::Nothing;
        }
        let writable = refused && connection.is_writable(self.marks);
        let next = match queued {
            0 => connection.drained(now_ms),
            _ => Next::Nothing,
        };
        if released || writable {
            self.mark_resumed(token);
        }
        self.note_output(token, bytes, now_ms);
        self.rearm(token);
        match next {
            Next::ShutWriting | Next::Close { .. } => self.follow(token, next, now_ms),
            Next::CloseAlone => After::CloseAlone,
            Next::Nothing | Next::Feed if has_files && self.file_piece(token).is_some() => {
                After::SendFile
            }
            Next::Nothing | Next::Feed => After::Nothing,
        }
    }

    /// The worker has looked into the socket of whom it was to close alone: whether that would reset
    /// the connection. Then our FIN is sent, and the peer's waited for.
    pub fn looked(&mut self, token: Token, would_reset: bool, now_ms: u64) -> After {
        let Some(connection) = self.connections.get_mut(token) else {
            return After::Nothing;
        };
        let next = connection.looked(would_reset, now_ms);
        self.rearm(token);
        self.follow(token, next, now_ms)
    }

    /// What an empty output leads to.
    fn follow(&mut self, token: Token, next: Next, now_ms: u64) -> After {
        match next {
            Next::ShutWriting => {
                self.protocol.desk().finishing(token);
                // What was not to be fed may now be read and dropped.
                self.mark_resumed(token);
                After::ShutWriting
            }
            Next::Close { why, reset } => {
                self.close(token, why, reset);
                self.end_sessions(now_ms);
                After::Nothing
            }
            Next::Nothing | Next::Feed | Next::CloseAlone => After::Nothing,
        }
    }

    /// When `expire` is to be called at the latest.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        self.deadlines.next_ms().filter(|at_ms| *at_ms != NEVER)
    }

    /// Jobs that the protocol submitted since last asked.
    pub fn take_jobs(&mut self) -> Vec<Job> {
        self.protocol.desk().take_jobs()
    }

    /// Jobs refused as too many since last asked.
    pub fn take_jobs_refused(&mut self) -> u64 {
        self.protocol.desk().take_jobs_refused()
    }

    /// Jobs that are not over.
    pub fn job_count(&mut self) -> usize {
        self.protocol.desk().job_count()
    }

    /// From now on the protocol's jobs are refused.
    pub fn close_jobs(&mut self) {
        self.protocol.desk().close_jobs();
    }

    /// What serves sessions on threads, if this protocol does.
    pub fn handler(&self) -> Option<SharedHandler> {
        self.protocol.handler()
    }

    pub fn len(&self) -> usize {
        self.connections.len()
    }

    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    pub fn into_protocol(self) -> P {
        self.protocol
    }
}

#[cfg(test)]
mod tests;
