//! Who is to be looked at next: connections to flush, to resume, to end and to part with.
//!
//! Filled while the protocol's asks are carried out, emptied by the worker and by the telling of
//! ends. Being on the first two is also marked on the connection, so that nobody is named twice.

use std::collections::VecDeque;

use super::connection::Connection;
use super::session::{End, Party, Token};

#[derive(Debug, Default)]
pub(super) struct Lists {
    /// There is something to flush, or to be found out by a flush.
    pub(super) touched: Vec<Token>,
    /// It may be fed or read again.
    pub(super) resumed: Vec<Token>,
    /// Closed; the protocol is not told yet. The last is whether to reset.
    pub(super) ending: VecDeque<(Token, End, bool)>,
    /// Whom a proxy has introduced.
    pub(super) introduced: Vec<Introduced>,
    /// Gone; the worker still has the socket.
    pub(super) parted: Vec<Parted>,
}

/// A connection that is over: its socket is to be closed, or reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parted {
    pub token: Token,
    pub why: End,
    pub reset: bool,
}

/// A header is complete: the worker answers with `introduce` or `turn_away`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Introduced {
    pub token: Token,
    /// Peer and local end; `None` leaves them as the socket has them.
    pub ends: Option<(Party, Party)>,
}

impl Lists {
    pub(super) fn touch<S>(&mut self, token: Token, connection: &mut Connection<S>) {
        if !std::mem::replace(&mut connection.touched, true) {
            self.touched.push(token);
        }
    }

    pub(super) fn resume<S>(&mut self, token: Token, connection: &mut Connection<S>) {
        if !std::mem::replace(&mut connection.resumed, true) {
            self.resumed.push(token);
        }
    }
}
