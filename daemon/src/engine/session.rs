//! What is said of a session: which one it is, who its two ends are, how it goes and why it ended.
//!
//! Values only, which all of the engine and its two neighbours speak in; what is done with them is
//! said elsewhere. Invariant: a token names one session and never another one later.

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
