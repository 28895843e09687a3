//! Between two looks at something that tells nobody when it changes.
//!
//! A loop that only yields takes a whole processor from what it waits for. Beside other work that has
//! been seen to keep a killed worker for most of a minute from the moment that dying takes.

use nix::poll::{PollTimeout, poll};

const PAUSE_MS: u16 = 2;

/// Lets others run; the event is still what is looked at next.
pub fn again() {
    // Of no descriptors nothing can be ready, and a signal only makes it shorter (poll(2)).
    let _ = poll(&mut [], PollTimeout::from(PAUSE_MS));
}
