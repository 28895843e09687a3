//! A session that a handler serves, as both of its sides have it: the thread that reads and writes its
//! socket, and the event loop, which may end it.
//!
//! The loop never reads or writes here. To end a session it says why and then shuts the socket, which
//! wakes the thread; the handler's next call finds the reason, and `finish` of the plugin still runs.
//!
//! Invariant: the socket is open as long as either side holds the session, so its number is nobody
//! else's when the loop shuts it.

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};

use nix::sys::socket::{MsgFlags, Shutdown, recv, shutdown};

use super::super::stream::Stream;
use crate::engine::Passed;
use crate::engine::handler::Halt;
use crate::engine::session::End;

#[derive(Debug)]
pub(super) struct Session {
    pub(super) socket: Stream,
    /// 0, or one more than the number of what the loop has ended it for.
    ended_for: AtomicU8,
    /// A byte of the peer was read, or it does not matter any more.
    spoken: AtomicBool,
    /// Sessions of this worker of which that is not true.
    silent: Arc<AtomicUsize>,
}

impl Session {
    /// `spoken` if a byte of the peer was read already.
    pub(super) fn new(socket: Stream, spoken: bool, silent: &Arc<AtomicUsize>) -> Session {
        if !spoken {
            silent.fetch_add(1, Ordering::Relaxed);
        }
        Session {
            socket,
            ended_for: AtomicU8::new(0),
            spoken: AtomicBool::new(spoken),
            silent: silent.clone(),
        }
    }

    /// From the loop: whatever its handler does, the session is over. What was sent still leaves.
    pub(super) fn end(&self, passed: Passed) {
        self.condemn(passed);
        // Fails only when the peer is gone already.
        let _ = shutdown(self.socket.socket.as_raw_fd(), Shutdown::Both);
    }

    /// The first half of that: it has no effect before the next call of its handler.
    pub(super) fn condemn(&self, passed: Passed) {
        let number = passed as u8 + 1;
        // The first reason counts.
        let _ = (self.ended_for).compare_exchange(0, number, Ordering::AcqRel, Ordering::Acquire);
    }

    pub(super) fn ended_for(&self) -> Option<Passed> {
        let number = self.ended_for.load(Ordering::Acquire).checked_sub(1)?;
        Passed::ALL.get(usize::from(number)).copied()
    }

    /// It counts as silent no more.
    pub(super) fn note_spoken(&self) {
        if !self.spoken.swap(true, Ordering::Relaxed) {
            self.silent.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// What lies in the socket was said too, though no handler has read it.
    pub(super) fn is_silent(&self) -> bool {
        if self.spoken.load(Ordering::Relaxed) {
            return false;
        }
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        let peeked = recv(self.socket.socket.as_raw_fd(), &mut [0], flags);
        let silent = !matches!(peeked, Ok(1..));
        if !silent {
            self.note_spoken();
        }
        silent
    }
}

/// Why a session is over, whatever its handler says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    Lost,
    Idle,
    /// Its handler's time is up.
    Handler,
    Passed(Passed),
}

impl Cut {
    pub(super) fn end(self) -> End {
        match self {
            Cut::Lost => End::Lost,
            Cut::Idle => End::Idle,
            Cut::Handler | Cut::Passed(_) => End::Limit,
        }
    }

    /// What the calls of its stream answer.
    pub(super) fn halt(self) -> Halt {
        match self {
            // These have been thrown out; time was not what they lacked.
            Cut::Lost | Cut::Passed(Passed::Banned | Passed::Pending | Passed::Asked) => Halt::Gone,
            Cut::Idle | Cut::Handler | Cut::Passed(_) => Halt::TimedOut,
        }
    }

    pub(super) fn passed(self) -> Option<Passed> {
        match self {
            Cut::Passed(passed) => Some(passed),
            Cut::Lost | Cut::Idle | Cut::Handler => None,
        }
    }
}
