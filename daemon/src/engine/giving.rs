//! Sessions that go to another worker and come from one.
//!
//! A session that is given away is written down and stays here, frozen, until it is known who has it:
//! then it is gone from here without a trace for its peer, or goes on as if nothing had been. One that
//! is taken is frozen in the same way until the worker says that it has arrived.
//!
//! Invariant: what is frozen reads nothing, says nothing, and passes no limit.

use super::carried::{Carried, CarriedFacts};
use super::connection::Connection;
use super::handover::WAITING_BYTES_MAX;
use super::protocol::Protocol;
use super::session::{End, Facts, Token};
use super::streams::Streams;

/// Why a session that was to be taken was not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// It does not fit here, or nothing does: it can go on where it was.
    Unfit,
    /// The protocol does not let it go on; the reason is for the administrator.
    Refused(String),
}

impl<P: Protocol> Streams<P> {
    /// Remembers a session's facts, if it may have to be told elsewhere.
    pub(super) fn keep_facts(&mut self, token: Token, facts: &Facts<'_>) {
        if !self.protocol.carries() {
            return;
        }
        if self.connections.contains(token) {
            self.facts.keep(token, facts);
        }
    }

    /// Sessions that can be given away now.
    pub fn givable(&self) -> Vec<Token> {
        let tokens = self.connections.tokens();
        tokens.filter(|token| self.may_give(*token)).collect()
    }

    fn may_give(&self, token: Token) -> bool {
        self.connections.get(token).is_some_and(|connection| {
            connection.session.is_some()
                && self.facts.of(token).is_some()
                && !connection.is_over()
                && !connection.is_away()
                // What is still in a file cannot be told: such a session is finished here.
                && connection.output.ranges().is_none()
                && self.waiting_bytes(token) <= WAITING_BYTES_MAX
        })
    }

    pub fn is_open(&self, token: Token) -> bool {
        self.connections.contains(token)
    }

    /// Its input that was not consumed and its output that was not sent.
    pub fn waiting_bytes(&self, token: Token) -> usize {
        let connection = self.connections.get(token);
        let waiting = connection.map_or(0, |c| c.kept.len() + c.output.queued());
        match self.lent_to == Some(token) {
            true => waiting + self.splices.bytes(),
            false => waiting,
        }
    }

    /// Writes a session down and freezes it. `None` if it cannot be carried: then it goes on, or the
    /// export was a fault of the protocol and has ended it.
    pub fn give(&mut self, token: Token, now_ms: u64) -> Option<Carried> {
        if !self.may_give(token) {
            return None;
        }
        if self.lent_to == Some(token) {
            // What was to be sent from the buffer is copied.
            self.taken(token, 0);
        }
        let session = self.connections[token].session?;
        let exported = self.protocol.export(token, session);
        // Whatever it has asked for is part of what is carried.
        self.carry_out(Some(token), now_ms);
        self.end_sessions(now_ms);
        let (format, session) = exported?;
        let refused = self.protocol.desk().was_refused(token);
        let idle_ms = self.idle_ms;
        let connection = self.connections.get_mut(token).filter(|c| !c.is_over())?;
        let facts = self.facts.of(token)?;
        let output = connection
            .output
            .pieces(&super::output::Splices::default(), &[]);
        let carried = Carried {
            facts: CarriedFacts {
                peer: facts.peer,
                local: facts.local,
                credentials: facts.credentials,
                proxied: facts.proxied,
                age_ms: now_ms.saturating_sub(facts.accepted_ms),
                endpoint: facts.endpoint.to_string(),
            },
            course: connection.course(idle_ms, refused, now_ms),
            format,
            session,
            input: connection.kept.clone(),
            output: output.as_slice().iter().flat_map(|p| p.to_vec()).collect(),
        };
        connection.leave();
        self.protocol.desk().away(token, true);
        Some(carried)
    }

    /// A session that was frozen is here, from now on or still.
    pub fn stay(&mut self, token: Token) {
        let Some(connection) = self.connections.get_mut(token).filter(|c| c.is_away()) else {
            return;
        };
        connection.stay();
        self.protocol.desk().away(token, false);
        self.touch(token);
        self.mark_resumed(token);
        self.rearm(token);
    }

    /// A session that was frozen is another worker's. Its socket is to be let go without a word.
    pub fn given(&mut self, token: Token, now_ms: u64) {
        if self.connections.get(token).is_some_and(Connection::is_away) {
            self.close(token, End::Carried, false);
            self.end_sessions(now_ms);
        }
    }

    /// Nobody can go on with a session: what was said leaves, then our FIN.
    pub fn finish_open(&mut self, token: Token) {
        if let Some(connection) = self.connections.get_mut(token) {
            connection.finish(End::Drain);
            self.protocol.desk().finishing(token);
        }
    }

    /// Makes a session again that another worker has written down; frozen until it may `stay`.
    pub fn take(&mut self, carried: &Carried, now_ms: u64) -> Result<Token, NotTaken> {
        let fits = carried.input.len() <= self.input_bytes_max
            && carried.output.len() <= self.output_bytes_max;
        if !self.protocol.carries() || !fits {
            return Err(NotTaken::Unfit);
        }
        let facts = Facts {
            peer: carried.facts.peer,
            local: carried.facts.local,
            credentials: carried.facts.credentials,
            accepted_ms: now_ms.saturating_sub(carried.facts.age_ms),
            proxied: carried.facts.proxied,
            endpoint: &carried.facts.endpoint,
        };
        let (course, age_ms) = (&carried.course, carried.facts.age_ms);
        let connection = Connection::taken(course, age_ms, self.idle_ms, &self.spans, now_ms);
        let token = self.connections.insert(connection);
        let connection = &mut self.connections[token];
        connection.kept = carried.input.clone();
        if !carried.output.is_empty() {
            connection.output.push(&carried.output, &mut self.spares);
        }
        let accepts = connection.accepts_writes();
        let queued = carried.output.len();
        let desk = self.protocol.desk();
        desk.opened(token, self.output_bytes_max);
        desk.taken(token, queued, course.refused, accepts);
        self.note_silent(token, course.silent);
        match self
            .protocol
            .import(token, &facts, carried.format, &carried.session)
        {
            Ok(session) => {
                self.connections[token].session = Some(session);
                self.keep_facts(token, &facts);
                self.carry_out(Some(token), now_ms);
                self.protocol.desk().away(token, true);
                self.end_sessions(now_ms);
                Ok(token)
            }
            Err(reason) => {
                self.forget(token);
                self.carry_out(None, now_ms);
                self.end_sessions(now_ms);
                Err(NotTaken::Refused(reason))
            }
        }
    }
}
