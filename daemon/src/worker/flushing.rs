//! The end of a turn: one send for each connection that has something to say.
//!
//! What is said to many leaves by a way of its own, on which little is asked of each; any other output by
//! that of `turn`. What it leads to, be it a FIN or the end of a connection, is decided by the engine.
//!
//! Invariant: a connection that was touched is flushed in the same turn.

use super::turn::Worker;
use super::{Orders, Wakes};
use crate::engine::protocol::Protocol;

impl<P: Protocol, W: Wakes, O: Orders> Worker<P, W, O> {
    pub(super) fn flush_touched(&mut self) {
        loop {
            self.flush_lines();
            match self.streams.pop_touched() {
                Some(token) => self.flush(token),
                None => break,
            }
        }
        while let Some(token) = self.streams.pop_resumed() {
            if let Some(stream) = self.sockets.get_mut(token) {
                stream.resumed = true;
                self.make_ready(token);
            }
        }
    }

    /// What many are told, which is nearly all that a chat says.
    fn flush_lines(&mut self) {
        let sockets = &mut self.sockets;
        let send = |token, line: &[u8]| match sockets.get_mut(token) {
            Some(stream) => stream.send_piece(line),
            None => Ok(0),
        };
        if let Some((token, sent)) = self.streams.send_lines(self.now_ms, send) {
            self.end_flush(token, sent);
            self.part();
        }
    }
}
