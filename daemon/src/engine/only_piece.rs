//! The shortest way: an echo, or a line that many are told, is all there is to send to a connection. It is
//! sent from where it lies, whole, and nothing else plays a part.
//!
//! Nearly every round of a busy connection goes this way, and each step of the long way, in
//! `carrying`, `streams` and `output`, would only find out anew that there is nothing to do. Nothing is
//! decided here: whoever is not on this way takes the other.
//!
//! Invariant: where this way can be taken, the long one would send the same bytes and leave the same
//! behind.

use super::output::Lines;
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

    /// Carried out, if all that was asked for is that one line be said to several.
    pub(super) fn carry_line(&mut self) -> bool {
        let desk = self.protocol.desk();
        let Some((range, whom)) = desk.only_line().filter(|_| self.splices.is_empty()) else {
            return false;
        };
        let (said, mut lines) = (desk.bytes(), Lines::default());
        for session in whom {
            if let Some(connection) = self.connections.get_mut(session)
                && connection.accepts_writes()
            {
                let output = &mut connection.output;
                output.push_line(said, &range, &mut lines, &mut self.spares);
                self.lists.touch(session, connection);
            }
        }
        self.protocol.desk().clear();
        true
    }

    /// Has lines sent, one after the other, to those who were touched last and to whom nothing else is to
    /// be sent. Whoever is returned has not taken all of his, or is owed a `writable`: what became of his
    /// is for [`sent`](Streams::sent) to be told.
    pub fn send_lines<E>(
        &mut self,
        now_ms: u64,
        mut send: impl FnMut(Token, &[u8]) -> Result<usize, E>,
    ) -> Option<(Token, Result<usize, E>)> {
        let desk = self.protocol.desk();
        while let Some(token) = self.lists.touched.last().copied()
            && let Some(connection) = self.connections.get_mut(token)
            && connection.touched
            && let Some(line) = connection.only_line()
        {
            let length = line.len();
            match send(token, line) {
                Ok(bytes) if bytes == length => {}
                otherwise => return Some((token, otherwise)),
            }
            connection.output.line_taken(length);
            connection.only_piece_taken(now_ms);
            connection.touched = false;
            self.lists.touched.pop();
            self.tally.bytes_out += length as u64;
            if desk.settle(token, &connection.output) {
                return Some((token, Ok(0)));
            }
        }
        None
    }

    /// What is to be sent, if it is an echo or a line and all there is. Then `pieces` need not be asked for.
    pub fn only_piece(&self, token: Token) -> Option<&[u8]> {
        let connection = self.connections.get(token)?;
        if !self.has_lent(token) {
            return connection.only_line();
        }
        let range = self.splices.only()?;
        connection.only_echoes().then(|| &self.buffer[range])
    }

    /// The socket took so many bytes of the pieces; the rest is kept.
    pub fn sent(&mut self, token: Token, bytes: usize, now_ms: u64) -> After {
        if let Some(after) = self.only_piece_taken(token, bytes, now_ms) {
            return after;
        }
        self.taken(token, bytes);
        self.account(token, bytes, now_ms)
    }

    /// What follows if that was the only piece, and all of it.
    fn only_piece_taken(&mut self, token: Token, bytes: usize, now_ms: u64) -> Option<After> {
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
        connection.only_piece_taken(now_ms);
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
