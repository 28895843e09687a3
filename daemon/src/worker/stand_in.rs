//! What serves in a plugin's place while it keeps failing: each connection is told the plugin's own
//! words of refusal, if there are any, and closed in order; datagrams are dropped.
//!
//! It runs in a worker like any other and speaks no protocol: whatever peers send is read past.
//!
//! Invariant: nothing of the plugin runs here.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::Wakes;
use crate::channel;
use crate::engine::desk::{Desk, Said};
use crate::engine::protocol::Protocol;
use crate::engine::session::{Closing, DatagramFacts, End, Facts, Fed, TimerToken, Token};
use crate::scoreboard::{Counter, Scoreboard};

pub(super) struct StandIn {
    refusal: Vec<u8>,
    board: Scoreboard,
    desk: Desk,
}

impl StandIn {
    pub(super) fn new(told: &channel::StandIn, board: Scoreboard) -> StandIn {
        StandIn {
            refusal: told.refusal.clone(),
            board,
            desk: Desk::default(),
        }
    }
}

impl Protocol for StandIn {
    type State = ();

    fn open(&mut self, session: Token, _: &Facts<'_>) -> Result<(), End> {
        self.board.add(Counter::Refused, 1);
        self.board.add(Counter::RefusedFailing, 1);
        // A limit on output that is smaller than the words leaves only the close.
        let _ = self.desk.write(session, Said::Bytes(&self.refusal), false);
        let closed = self.desk.close(session, Closing::Finish);
        closed.map_err(|_| End::Aborted)
    }

    fn feed(&mut self, _: Token, (): (), input: &[u8]) -> Fed {
        Fed::Took(input.len())
    }

    fn peer_finished(&mut self, _: Token, (): ()) -> Result<bool, End> {
        Ok(false)
    }

    fn writable(&mut self, _: Token, (): ()) -> Result<(), End> {
        Ok(())
    }

    fn closed(&mut self, _: Token, (): (), _: End) {}

    fn datagram(&mut self, _: &DatagramFacts<'_>, _: &[u8]) -> bool {
        self.board.add(Counter::DatagramsDropped, 1);
        true
    }

    fn timer(&mut self, _: TimerToken, _: u64) {}

    fn wake(&mut self, _: u64) {}

    fn drain(&mut self, _: u64) {}

    fn desk(&mut self) -> &mut Desk {
        &mut self.desk
    }
}

/// There is no plugin whose threads could wake anybody.
pub(super) struct NoWakes(EventFd);

impl NoWakes {
    pub(super) fn new() -> io::Result<NoWakes> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(NoWakes(EventFd::from_flags(flags)?))
    }
}

impl Wakes for NoWakes {
    fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn next(&mut self) -> Option<u64> {
        None
    }
}
