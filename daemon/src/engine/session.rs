//! The seam between the engine and whatever speaks a protocol: a plugin in production, a script in
//! simulation. It carries values only; pointers begin behind it, in `plugin_host`.
//!
//! Invariant: no call of this trait enters another. What a protocol asks for during a call lands on
//! the desk and is carried out by the engine afterwards.

use super::desk::Desk;
use super::handler::{JobEnd, JobToken, SharedHandler};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

slotmap::new_key_type! {
    /// Slot and epoch of a connection or flow: late use is noticed, never misdirected.
    pub struct Token;
    /// Slot and epoch of a timer that a protocol armed.
    pub struct TimerToken;
}

/// One end of a connection or datagram, as far as a protocol may know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    Internet(SocketAddr),
    /// A Unix socket; its path says nothing about who it is.
    Unix,
}

/// What the kernel says of the process behind a Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    pub pid: u32,
    pub uid: u32,
    pub gid: u32,
}

impl Party {
    /// The peer in a word: an IPv4 address, the /64 that an IPv6 peer can choose from, or 0 where
    /// all peers are alike.
    pub fn source(&self) -> u64 {
        match self {
            Party::Unix => 0,
            Party::Internet(address) => match address.ip().to_canonical() {
                IpAddr::V4(ip) => 1 << 32 | u64::from(u32::from(ip)),
                IpAddr::V6(ip) => ((u128::from(ip) >> 64) as u64).max(1),
            },
        }
    }
}

impl From<SocketAddr> for Party {
    fn from(address: SocketAddr) -> Party {
        Party::Internet(address)
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Party::Internet(address) => address.fmt(f),
            Party::Unix => f.write_str("unix"),
        }
    }
}

/// What a protocol is told of a new session.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    pub peer: Party,
    pub local: Party,
    /// Of a peer on this machine.
    pub credentials: Option<Credentials>,
    pub accepted_ms: u64,
    /// Peer and local end are what a trusted proxy reported.
    pub proxied: bool,
    /// The listener's endpoint as written.
    pub endpoint: &'a str,
}

impl Facts<'_> {
    /// To be kept for longer than the listener's name is lent.
    pub fn without_endpoint(&self) -> Facts<'static> {
        Facts {
            peer: self.peer,
            local: self.local,
            credentials: self.credentials,
            accepted_ms: self.accepted_ms,
            proxied: self.proxied,
            endpoint: "",
        }
    }
}

/// What a protocol is told of a datagram.
#[derive(Clone, Copy, Debug)]
pub struct DatagramFacts<'a> {
    pub peer: Party,
    /// Where it was sent to.
    pub local: Party,
    /// That is an address of many: broadcast or multicast.
    pub to_many: bool,
    /// What an answer must name.
    pub reply: u64,
    /// The listener's endpoint as written.
    pub endpoint: &'a str,
}

impl DatagramFacts<'_> {
    /// As for [`Facts`].
    pub fn without_endpoint(&self) -> DatagramFacts<'static> {
        DatagramFacts {
            peer: self.peer,
            local: self.local,
            to_many: self.to_many,
            reply: self.reply,
            endpoint: "",
        }
    }
}

/// How a protocol closes a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// What is queued leaves, then our FIN; the peer's is waited for.
    Finish,
    /// The same, and the peer's is not waited for.
    Done,
    /// What is queued is forgotten, and the peer sees a reset.
    Abort,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Finished,
    Aborted,
    Lost,
    Idle,
    Limit,
    Drain,
    Fault,
    /// A file that was being sent became shorter, or could not be read.
    File,
    /// It goes on in another worker.
    Carried,
}

/// What became of a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fed {
    /// So many bytes were consumed; the rest come again with more behind them.
    Took(usize),
    /// The output was full: nothing happened, feed again once it is writable.
    Full,
    /// The session is to be aborted.
    Failed(End),
}

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
    /// What is to be said to the bus, and how much of it was.
    fn bus_output(&mut self) -> &[u8] {
        &[]
    }
    fn bus_sent(&mut self, bytes: usize) {
        let _ = bytes;
    }
    /// What was asked for during the last call.
    fn desk(&mut self) -> &mut Desk;
}

/// What the worker hears of the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusNews<'a> {
    /// There is one, to which nothing has been said.
    There,
    /// One frame of it.
    Frame(&'a [u8]),
    /// What followed from the last frame and was not told yet.
    More,
    Gone,
}
