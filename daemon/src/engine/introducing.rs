//! Peers behind a proxy: a connection begins with the proxy's header, and with a session only once
//! that has said for whom it is.
//!
//! The connection is there meanwhile and costs what every one costs; its protocol knows nothing of
//! it. A header that is none, that ends in a FIN or does not come in time ends the connection. Who
//! was introduced is named to the worker, which lets it in or not.
//!
//! Invariant: the protocol sees exactly the bytes behind the header.

use super::limits::Passed;
use super::lists::Introduced;
use super::protocol::Protocol;
use super::proxy::{self, Parsed};
use super::session::{End, Facts, Token};
use super::streams::Streams;

/// A connection that is served elsewhere from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenAway {
    /// What came behind the header.
    pub kept: Vec<u8>,
    /// The moment at which it is too old.
    pub lifetime_ms: u64,
}

impl<P: Protocol> Streams<P> {
    /// A connection whose proxy has yet to say for whom it speaks.
    pub fn open_for_proxy(&mut self, now_ms: u64) -> Token {
        let token = self.begin(now_ms);
        let spans = self.spans;
        self.connections[token].until.await_header(&spans, now_ms);
        self.rearm(token);
        self.end_sessions(now_ms);
        token
    }

    /// The first `length` bytes of the buffer are what came so far.
    pub(super) fn hear_header(&mut self, token: Token, length: usize) {
        let connection = &mut self.connections[token];
        match proxy::parse(&self.buffer[..length]) {
            Parsed::More => connection.kept = self.buffer[..length].to_vec(),
            Parsed::Malformed => self.close_for(token, Passed::Header, true),
            Parsed::Header(header) => {
                connection.kept = self.buffer[header.bytes..length].to_vec();
                connection.feed_again = !connection.kept.is_empty();
                connection.header_came();
                let ends = header.ends;
                self.lists.introduced.push(Introduced { token, ends });
            }
        }
    }

    pub fn pop_introduced(&mut self) -> Option<Introduced> {
        self.lists.introduced.pop()
    }

    /// `Err` when the protocol does not want the session; its connection is then over.
    pub fn introduce(&mut self, token: Token, facts: &Facts<'_>, now_ms: u64) -> Result<(), End> {
        let opened = self.protocol.open(token, facts);
        match opened {
            Ok(session) => {
                self.connections[token].session = Some(session);
                self.keep_facts(token, facts);
                self.carry_out(Some(token), now_ms);
                self.rearm(token);
                // What came behind the header is fed like anything that was held back.
                self.mark_resumed(token);
            }
            Err(why) => {
                self.carry_out(None, now_ms);
                self.close(token, why, true);
            }
        }
        self.end_sessions(now_ms);
        opened.map(|_| ())
    }

    /// Whoever was introduced is served elsewhere, and its connection is none of these any more.
    pub fn give_away(&mut self, token: Token) -> Option<GivenAway> {
        let connection = self.forget(token)?;
        Some(GivenAway {
            kept: connection.kept,
            lifetime_ms: connection.until.lifetime_ms,
        })
    }

    /// Whoever was introduced is not to come in.
    pub fn turn_away(&mut self, token: Token, now_ms: u64) {
        self.close(token, End::Aborted, false);
        self.end_sessions(now_ms);
    }
}
