//! How a worker is to go, and how it went: what a pool and its slots say to each other about ends.
//!
//! Plain values. What follows from them is decided in the pool.

use super::breaker::Cause;
use super::event::WorkerId;

/// How a worker is to go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leave {
    pub(super) grace_ms: u64,
    pub(super) kill_after_ms: u64,
    /// Who takes over what can be carried.
    pub(super) successor: Option<WorkerId>,
    /// Somebody waits for its place: as long as it gets on with giving it has this time anew.
    pub(super) hurried: bool,
}

/// How a worker ended, for the pool to judge.
pub(super) enum End {
    /// It was gone already: the event is old.
    Stale,
    /// It was told to go and had done nothing wrong.
    Told,
    Died(Death),
}

pub(super) struct Death {
    pub(super) text: String,
    /// Before it reported that it serves, and not for the system's lack of something.
    pub(super) at_start: bool,
    /// SIGKILL from outside with no callback to blame.
    pub(super) innocent: bool,
    /// What is behind it, if the plugin is to blame.
    pub(super) cause: Option<Cause>,
}
