//! The seam for what may block: a session served by one call that waits for its peer, and a job that
//! takes its time. Values and traits only; the threads that these run on are the worker's.
//!
//! Invariant: what is behind these traits may run at the same time as any call of the protocol.

use std::fmt;
use std::sync::Arc;

use super::session::{End, Facts, Token};

slotmap::new_key_type! {
    /// Slot and epoch of a job that a protocol submitted.
    pub struct JobToken;
}

/// Why a call of a stream did not do what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Halt {
    /// The worker drains.
    Cancelled,
    /// The handler's deadline, or a limit, has passed.
    TimedOut,
    /// The connection broke, or its writing side was finished before.
    Gone,
}

/// A session's stream, as its handler has it. The calls wait.
pub trait ByteStream {
    /// None is the end of the peer's stream. Peeked bytes are read again.
    fn read(&mut self, buffer: &mut [u8], peek: bool) -> Result<usize, Halt>;
    /// All of them, then perhaps our FIN.
    fn write(&mut self, bytes: &[u8], finish: bool) -> Result<(), Halt>;
    /// So many milliseconds from now; 0 takes it away.
    fn set_deadline(&mut self, after_ms: u64);
}

/// What serves sessions on threads.
pub trait Handler: Send + Sync {
    /// Whether streams come here; other calls may, in any case.
    fn serves_streams(&self) -> bool;
    /// Calls that may run at once; 0 sets no limit.
    fn parallel_max(&self) -> u32;
    fn serve(&self, session: Token, facts: &Facts<'_>, stream: &mut dyn ByteStream) -> Served;
}

/// What came of serving a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// `Ok` is an orderly end, also where the handler gave up because a call of its stream did.
    pub verdict: Result<(), End>,
    /// Log lines that were lost since this was last told.
    pub log_dropped: u64,
}

/// What a job is for, as far as those who look on care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// The protocol's own.
    Job,
    /// It serves a datagram of this source.
    Datagram { source: u64 },
}

/// A job that a protocol submitted.
pub struct Job {
    pub token: JobToken,
    pub errand: Errand,
    pub run: Box<dyn FnOnce() -> JobEnd + Send>,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Job").field(&self.token).finish()
    }
}

/// What came of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobEnd {
    Ran,
    /// It ran, and reported a fault of its own.
    Faulted(String),
    /// It was not run, and never will be.
    Cancelled,
}

/// What a protocol hands out to threads.
pub type SharedHandler = Arc<dyn Handler>;
