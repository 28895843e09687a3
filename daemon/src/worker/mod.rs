//! The worker: the shell around the engine that owns the sockets of one process.
//!
//! One thread waits, reads, feeds and flushes; it decides nothing about a connection that the engine
//! can decide. It knows no plugin either, only a [`Protocol`]: how that one is loaded, and how a
//! waker reaches it from another thread, is `plugin_host`'s.
//!
//! Invariant: nothing here blocks but the one wait at the start of a turn, and the threads of
//! `blocking`, which are made for it.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use nix::time::{ClockId, clock_gettime};

use crate::channel::{Ban, ListenerBrief, Order, Report};
use crate::engine::protocol::Protocol;
use crate::plan::{Access, Limits};
use crate::scoreboard::Scoreboard;
use crate::scoreboard::sources::Sources;

mod accept;
mod blocking;
mod bus;
mod closing;
mod complaints;
mod datagram;
mod entry;
mod files;
mod flushing;
mod gate;
mod handover;
mod lent;
mod listener;
mod looking;
mod obey;
mod reserve;
mod sending;
mod stand_in;
mod start;
mod stream;
mod turn;

#[cfg(test)]
mod tests;

pub use start::play;

/// Where orders come from: the worker's end of its channel.
pub trait Orders {
    /// Readable when there may be an order.
    fn fd(&self) -> BorrowedFd<'_>;
    /// Never blocks.
    fn next(&mut self) -> NextOrder;
    /// The descriptor that rode along with the last order, if one did.
    fn take_descriptor(&mut self) -> Option<OwnedFd> {
        None
    }
    /// The way back. Never blocks; a full channel is an error.
    fn report(&mut self, report: &Report) -> io::Result<()>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextOrder {
    Order(Order),
    Empty,
    /// The supervisor is gone.
    Closed,
}

/// Where other threads' wake-ups of the instance come from.
pub trait Wakes {
    /// An event descriptor, written to after each wake-up was queued.
    fn fd(&self) -> BorrowedFd<'_>;
    /// The next token for the protocol's `wake`. Never blocks.
    fn next(&mut self) -> Option<u64>;
}

/// What this worker is to serve: its share of a service.
#[derive(Debug)]
pub struct Share {
    /// Listening sockets, and what each is.
    pub listeners: Vec<(OwnedFd, ListenerBrief)>,
    pub limits: Limits,
    /// Of connections that do not inherit it from their listening socket.
    pub send_buffer_bytes: Option<u32>,
    pub access: Access,
    pub bans: Vec<Ban>,
    pub sources: Sources,
    /// Among so many workers the limit on connections is divided.
    pub worker_count: u16,
    /// The grace of a drain that nobody ordered.
    pub drain_timeout_ms: u64,
}

impl Share {
    fn connections_max(&self) -> usize {
        self.share_of(self.limits.connections).max(1) as usize
    }

    fn share_of(&self, count: u32) -> u32 {
        share_of(count, self.worker_count)
    }
}

/// Rounded up, so that no worker is left with none.
fn share_of(count: u32, worker_count: u16) -> u32 {
    count.div_ceil(u32::from(worker_count.max(1)))
}

/// Why a worker has nothing more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was ordered to drain, and has.
    Drained,
    /// The supervisor is gone; it drained of its own accord.
    Orphaned,
}

/// Serves until drained. The protocol comes back to be taken down in order; it does not if a thread
/// is still inside of it, and then the process is to end without that.
///
/// # Errors
///
/// When the event queue itself fails: then nothing can be served any more.
pub fn serve<P: Protocol>(
    share: Share,
    protocol: P,
    wakes: impl Wakes,
    orders: impl Orders,
    scoreboard: Scoreboard,
) -> io::Result<(Outcome, Option<P>)> {
    let mut worker = turn::Worker::new(share, protocol, wakes, orders, scoreboard)?;
    let outcome = worker.run()?;
    Ok((outcome, worker.into_protocol()))
}

/// Milliseconds that never go back, with no meaning beyond their differences.
fn clock_ms() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has this clock");
    now.tv_sec() as u64 * 1000 + now.tv_nsec() as u64 / 1_000_000
}
