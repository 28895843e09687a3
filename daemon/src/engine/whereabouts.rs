//! Where in memory a round of a connection goes, for a worker that wants it fetched ahead.
//!
//! With very many connections what was kept of one has left the caches by the time that it speaks
//! again, and a round would wait for line after line. The addresses are told here, and nothing is read
//! through them: what is done with them is `worker`'s, how is `sys`'s. To look up a connection that is to
//! come would be to wait for it, so its row is reckoned from its token.
//!
//! Invariant: an address is good for a hint only; null is nowhere.

use std::mem::offset_of;
use std::ptr;

use super::connection::Connection;
use super::protocol::Protocol;
use super::session::Token;
use super::streams::Streams;

/// Lines of a connection that a round touches, and the desk's.
const WHEREABOUTS: usize = 5;

impl<P: Protocol> Streams<P> {
    /// Of a connection that is to come.
    pub fn whereabouts(&mut self, token: Token) -> [*const u8; WHEREABOUTS] {
        let start = self.connections.whereabouts(token).cast::<u8>();
        if start.is_null() {
            return [ptr::null(); WHEREABOUTS];
        }
        let field = |offset| start.wrapping_add(offset);
        // In the order in which they lie, none of them further from the next than a line.
        [
            field(offset_of!(Connection<P::State>, until.progress_ms)),
            field(offset_of!(Connection<P::State>, kept)),
            field(offset_of!(Connection<P::State>, session)),
            field(offset_of!(Connection<P::State>, passed)),
            self.protocol.desk().whereabouts(token),
        ]
    }

    /// Of what the protocol keeps of it; the way there leads through the connection.
    pub fn state_whereabouts(&self, token: Token) -> *const u8 {
        let connection = self.connections.get(token);
        let state = connection.and_then(|connection| connection.session);
        state.map_or(ptr::null(), |state| self.protocol.whereabouts(state))
    }
}
