//! What the hub's loop and its client of NATS say to each other, as values.
//!
//! A service is a number here, the hub's own; only `Follow` says its name. Numbers of messages are those that
//! workers hear, whatever the stream counts.
//!
//! Invariant: what is asked is answered by one event of its kind, or the connection ends.

use std::sync::Arc;

use crate::hub::store::Kept;

/// What is asked of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Tell all messages of a service after this one, and its leases.
    Follow {
        service: usize,
        name: String,
        after: u64,
    },
    Publish {
        serial: u64,
        service: usize,
        topic: String,
        id: Box<[u8]>,
        bytes: Arc<[u8]>,
    },
    /// Write a lease if this is still the key's revision; 0 is a key that nobody holds.
    Put {
        service: usize,
        key: String,
        lease: Lease,
        expected: u64,
    },
    /// Free a key if this is still its revision, and say what it was at last.
    Delete {
        service: usize,
        key: String,
        revision: u64,
        last: Lease,
    },
    /// Say that this node is not there any more.
    Leave,
}

/// A lease as all nodes see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub node: String,
    pub session: Box<[u8]>,
    pub value: Box<[u8]>,
}

/// What was heard of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Up,
    /// Nothing that was asked is answered any more.
    Down,
    Message {
        service: usize,
        topic: String,
        kept: Kept,
    },
    /// All messages that there were have been told.
    Synced {
        service: usize,
    },
    /// `None`: the server does not take it.
    Published {
        serial: u64,
        sequence: Option<u64>,
    },
    /// What a key is from this revision on.
    Lease {
        service: usize,
        key: String,
        revision: u64,
        shown: Shown,
    },
    /// All leases that there were have been told.
    LeasesSeen {
        service: usize,
    },
    Put {
        service: usize,
        key: String,
        answer: Answer,
    },
    /// The key is free, or is not what it was; `nothing`: the server has not even heard of it.
    Deleted {
        service: usize,
        key: String,
        nothing: bool,
    },
    /// A node lives, and is given up after so long; or it has left.
    Node {
        node: String,
        timeout_ms: Option<u64>,
    },
}

/// What a bucket shows of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    Held(Lease),
    /// With what it was before, which not everybody may have seen.
    Free(Option<Lease>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The lease is this node's, with this revision.
    Taken(u64),
    /// Somebody's lease is there, with this revision.
    Found(Lease, u64),
}
