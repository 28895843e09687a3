//! The seam between the engine and whatever speaks a protocol: a plugin in production, a script in
//! simulation. It carries values only; pointers begin behind it, in `plugin_host`.
//!
//! Invariant: no call of this trait enters another. What a protocol asks for during a call lands on
//! the desk and is carried out by the engine afterwards.

use super::desk::Desk;
use super::handler::{JobEnd, JobToken, SharedHandler};
use super::session::{DatagramFacts, End, Facts, Fed, TimerToken, Token};

pub trait Protocol {
    /// The protocol's own state of one session.
    type State: Copy;

    fn open(&mut self, session: Token, facts: &Facts<'_>) -> Result<Self::State, End>;
    fn feed(&mut self, session: Token, state: Self::State, input: &[u8]) -> Fed;
    /// Where in memory the rest of a session's state is, for a hint; null if there is none.
    fn whereabouts(&self, state: Self::State) -> *const u8 {
        let _ = state;
        std::ptr::null()
    }
    /// The peer will send no more. `Ok(false)` means the protocol has no opinion: finish.
    fn peer_finished(&mut self, session: Token, state: Self::State) -> Result<bool, End>;
    fn writable(&mut self, session: Token, state: Self::State) -> Result<(), End>;
    /// Exactly once for each `open` that succeeded, and last.
    fn closed(&mut self, session: Token, state: Self::State, why: End);
    /// Whether sessions can go on in another worker.
    fn carries(&self) -> bool {
        false
    }
    /// A session as its own bytes, with the number of their format; it may have to stay all the same.
    /// `None` if this one cannot be carried.
    fn export(&mut self, session: Token, state: Self::State) -> Option<(u32, Vec<u8>)> {
        let _ = (session, state);
        None
    }
    /// In place of `open`, of bytes that are not to be trusted. `Err` is the reason.
    fn import(
        &mut self,
        session: Token,
        facts: &Facts<'_>,
        format: u32,
        bytes: &[u8],
    ) -> Result<Self::State, String> {
        let _ = (session, facts, format, bytes);
        Err("it carries no sessions".to_owned())
    }
    /// One datagram, whole; false if it could not be dealt with. By default the protocol serves
    /// streams only.
    fn datagram(&mut self, facts: &DatagramFacts<'_>, payload: &[u8]) -> bool {
        let _ = (facts, payload);
        false
    }
    fn timer(&mut self, timer: TimerToken, token: u64);
    fn wake(&mut self, token: u64);
    fn drain(&mut self, grace_ms: u64);
    /// What serves its sessions on threads, instead of the calls above, if that is its style.
    fn handler(&self) -> Option<SharedHandler> {
        None
    }
    /// Exactly once for each job that the desk has taken.
    fn worked(&mut self, job: JobToken, end: JobEnd) {
        let _ = (job, end);
    }
    /// Of the bus: its worker's end. True while there is more to be told, to be asked for with
    /// [`BusNews::More`]. By default the protocol knows no bus, and gives up any that is offered.
    fn hear_bus(&mut self, news: BusNews<'_>) -> Result<bool, String> {
        let _ = news;
        Err("the plugin does not use the bus".to_owned())
    }
    /// Something was said to the bus of which nobody has heard yet.
    fn has_unanswered(&mut self) -> bool {
        false
    }
    /// How many messages were published on the bus so far.
    fn bus_published(&mut self) -> u64 {
        0
    }
    /// Whether the first so many have their numbers.
    fn bus_has_settled(&mut self, published: u64) -> bool {
        let _ = published;
        true
    }
    /// What is to be said to the bus, and how much of it was; unless all of it `is_due`, only if
    /// something cannot wait.
    fn bus_output(&mut self, is_due: bool) -> &[u8] {
        let _ = is_due;
        &[]
    }
    fn bus_sent(&mut self, bytes: usize) {
        let _ = bytes;
    }
    /// What was asked for during the last call.
    fn desk(&mut self) -> &mut Desk;
}

/// News of the bus that are told in one go: a plugin that answers each of its own messages with another
/// one would keep the loop for ever.
pub const BUS_NEWS_MAX: usize = 1024;

/// What the worker hears of the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusNews<'a> {
    /// There is one, to which nothing has been said.
    There,
    /// One frame of it.
    Frame(&'a [u8]),
    /// What followed from the last frame, or from what the protocol has said, and was not told yet.
    More,
    /// Sessions are about to go on elsewhere, or to end.
    Parting,
    Gone,
}
