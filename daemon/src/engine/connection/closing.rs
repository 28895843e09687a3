//! How a connection is closed from our side: in order, without waiting for the peer, or at once.
//!
//! Waiting for no FIN costs nothing while the peer is silent. Closing a socket in which input waits
//! would answer that with a reset, which can destroy output still on its way; so the worker looks into
//! the socket first, and what it finds there makes the connection linger like any other.
//!
//! Invariant: a connection that was not looked at is closed alone by nobody.

use super::{Connection, Next, State};
use crate::engine::session::End;

impl<S> Connection<S> {
    /// Our FIN is to follow what was said so far; the peer may go on speaking.
    pub(in crate::engine) fn finish_writing(&mut self) {
        self.fin_asked = true;
        match self.state {
            State::PeerFinished => self.enter(State::Finishing(End::Finished)),
            State::Open | State::Finishing(_) | State::Closed => {}
        }
    }

    /// Feed nothing more, send what is queued, then our FIN.
    pub(in crate::engine) fn finish(&mut self, why: End) {
        match self.state {
            State::Open | State::PeerFinished => self.enter(State::Finishing(why)),
            // The first reason counts.
            State::Finishing(_) | State::Closed => {}
        }
    }

    /// The same, and the peer's FIN is not waited for.
    pub(in crate::engine) fn finish_alone(&mut self, why: End) {
        self.alone |= matches!(self.state, State::Open | State::PeerFinished);
        self.finish(why);
    }

    /// Its socket was looked at before it is closed alone: whether that would be a reset.
    pub(in crate::engine) fn looked(&mut self, would_reset: bool, now_ms: u64) -> Next {
        self.alone = false;
        match self.state {
            State::Finishing(why) if !would_reset => Next::Close { why, reset: false },
            _ => self.drained(now_ms),
        }
    }

    /// Our FIN follows as soon as what is queued has left.
    pub(in crate::engine) fn fin_follows(&self) -> bool {
        match self.state {
            State::Open => self.fin_asked,
            State::Finishing(_) => true,
            State::PeerFinished | State::Closed => false,
        }
    }

    /// True unless it was closed already.
    pub(in crate::engine) fn close(&mut self) -> bool {
        match self.state {
            State::Open | State::PeerFinished | State::Finishing(_) => {
                self.enter(State::Closed);
                true
            }
            State::Closed => false,
        }
    }
}
