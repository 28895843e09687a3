//! The shortest way: what was read, or what many are told, is sent from where it lies, whole, and nothing
//! else plays a part.
//!
//! Nearly every round of a busy connection is one of these, and each step of the long way, in
//! `carrying`, `streams` and `output`, would only find out anew that there is nothing to do. Nothing is
//! decided here: whoever is not on this way takes the other.
//!
//! Invariant: where this way can be taken, the long one would send the same bytes and leave the same
//! behind.

use super::protocol::Protocol;
use super::session::Token;
use super::streams::{After, Streams};

impl<P: Protocol> Streams<P> {
    /// Carried out, if all that was asked for while this session was fed is that a part of its input be
    /// written back.
    pub(super) fn carry_echo(&mut self, token: Token) -> bool {
        let Some(range) = self.protocol.desk().take_echo(token) else {
            return false;
        };
        if let Some(connection) = self.connections.get_mut(token)
            && connection.accepts_writes()
        {
            let (buffer, splices) = (&self.buffer, &mut self.splices);
            connection
                .output
                .splice(range, buffer, splices, &mut self.spares);
            self.lists.touch(token, connection);
        }
        true
    }

    /// What is to be sent, if it is one part of the input or one line, and all there is. Then `pieces`
    /// need not be asked for.
    pub fn echo(&self, token: Token) -> Option<&[u8]> {
        let connection = self.connections.get(token)?;
        if !self.has_lent(token) {
            return connection.only_line();
        }
        let range = self.splices.only()?;
        connection.only_echoes().then(|| &self.buffer[range])
    }

    /// The socket took so many bytes of the pieces; the rest is kept.
    pub fn sent(&mut self, token: Token, bytes: usize, now_ms: u64) -> After {
        if let Some(after) = self.echo_left(token, bytes, now_ms) {
            return after;
        }
        self.taken(token, bytes);
        self.account(token, bytes, now_ms)
    }

    /// What follows if that was such an echo, and all of it.
    fn echo_left(&mut self, token: Token, bytes: usize, now_ms: u64) -> Option<After> {
        let is_lent = self.has_lent(token);
        let connection = self.connections.get_mut(token)?;
        if !is_lent {
            connection.only_line().filter(|line| line.len() == bytes)?;
            connection.output.line_taken(bytes);
        } else {
            let range = self.splices.only()?;
            if range.len() != bytes || !connection.only_echoes() {
                return None;
            }
            self.splices.clear();
            self.lent_to = None;
        }
        connection.echoed(now_ms);
        connection.touched = false;
        self.lists.touched.pop_if(|touched| *touched == token);
        self.tally.bytes_out += bytes as u64;
        let refused = self.protocol.desk().settle(token, &connection.output);
        Some(match refused {
            true => self.account(token, 0, now_ms),
            false => After::Nothing,
        })
    }
}
