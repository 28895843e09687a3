//! What the engine has counted since it was last asked, for the scoreboard.
//!
//! Bytes are asked for in every turn, and all else is rare. Invariant: each happening is handed out once.

use super::limits::Passed;
use super::protocol::Protocol;
use super::streams::Streams;

/// What happened since the last `take_tally`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub faults: u64,
    /// Sessions closed because a file was shorter than promised, or could not be read.
    pub files_short: u64,
    pub closed_idle: u64,
    pub closed_limit: u64,
    /// Times that a connection had moved all its bytes and had to rest.
    pub held_bandwidth: u64,
    /// Datagrams that the protocol could not deal with.
    pub datagrams_failed: u64,
    /// Closed for one of the limits that have a name of their own, in the order of `Passed::ALL`.
    pub passed: [u64; Passed::ALL.len()],
    /// The last fault's text.
    pub fault: Option<String>,
}

impl<P: Protocol> Streams<P> {
    /// Read and sent since last asked.
    pub fn take_bytes(&mut self) -> (u64, u64) {
        let Tally {
            bytes_in,
            bytes_out,
            ..
        } = &mut self.tally;
        (std::mem::take(bytes_in), std::mem::take(bytes_out))
    }

    /// Something has happened beside that, which is rare.
    pub fn has_tally(&self) -> bool {
        self.tally != Tally::default()
    }

    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }
}
