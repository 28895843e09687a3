//! What follows when the output of a connection has left: its FIN, or its end, and with that its socket's.
//!
//! A protocol that closes as one that is done does not wait for the peer. Its socket is looked into once more
//! right before it is closed, for closing one in which input waits would reset the connection and could
//! destroy the answer. What comes after the close is answered with a reset all the same: that is what
//! such a protocol has agreed to.
//!
//! Invariant: whether to close is the engine's to say; here is only asked what the socket holds.

use slotmap::Key;

use super::turn::Worker;
use super::{Orders, Wakes};
use crate::engine::After;
use crate::engine::protocol::Protocol;
use crate::engine::session::Token;
use crate::scoreboard::Counter;

impl<P: Protocol, W: Wakes, O: Orders> Worker<P, W, O> {
    /// What is left to do by others is returned.
    pub(super) fn end_output(&mut self, token: Token, after: After) -> After {
        if let After::Nothing | After::SendFile = after {
            return after;
        }
        let Some(stream) = self.sockets.get(token) else {
            return After::Nothing;
        };
        if after == After::CloseAlone {
            let would_reset = stream.would_reset();
            if self.streams.looked(token, would_reset, self.now_ms) != After::ShutWriting {
                return After::Nothing;
            }
        }
        stream.shut_writing();
        After::Nothing
    }

    /// Closes the sockets of connections that are over.
    pub(super) fn part(&mut self) {
        while let Some(parted) = self.streams.pop_parted() {
            let Some(stream) = self.sockets.remove(parted.token) else {
                continue;
            };
            let session = parted.token.data().as_ffi();
            tracing::debug!(session, why = ?parted.why, "connection closed");
            self.scoreboard.subtract(Counter::Connections, 1);
            self.gate.left(parted.token);
            self.strangers.remove(parted.token);
            if parted.reset {
                stream.reset();
            }
        }
    }
}
