//! A descriptor held back for the day when there is no other.
//!
//! Given up for a moment, it makes room to accept a connection only to refuse it: its peer learns
//! that now, and the listener does not report it without end. It is a second name of the event
//! queue's descriptor, which a closed-in process can always make again.

use std::os::fd::{AsFd, OwnedFd};

#[derive(Debug)]
pub(super) struct Reserve(Option<OwnedFd>);

impl Reserve {
    pub(super) fn new(of: impl AsFd) -> Reserve {
        Reserve(of.as_fd().try_clone_to_owned().ok())
    }

    /// Gives it up; false if there was none.
    pub(super) fn release(&mut self) -> bool {
        self.0.take().is_some()
    }

    /// Takes it back, if there is room.
    pub(super) fn refill(&mut self, of: impl AsFd) {
        if self.0.is_none() {
            self.0 = of.as_fd().try_clone_to_owned().ok();
        }
    }
}
