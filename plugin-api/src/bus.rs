//! The bus as a plugin sees it: topics with history, and leases, shared by the instances of a service.
//!
//! Only words and types; the calls are in `glue`. Nothing is answered inside of a call: what becomes
//! of it comes later, one [`Event`] at a time, to [`Protocol::bus`](crate::Protocol::bus).
//!
//! A topic is a line of numbered messages, which everybody hears in the same order, nobody twice by one
//! subscription. A lease is a key that one session holds at most, as long as its worker lives. Topics,
//! keys and prefixes are names: 1 to 128 bytes out of `A-Z a-z 0-9 . _ - =` and `/`.

use crate::{Context, Result, abi};

/// Names a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(pub(crate) u64);

/// Names a message that [`Context::publish`] has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublishId(pub(crate) u64);

/// Names a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClaimId(pub(crate) u64);

/// Names a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(pub(crate) u64);

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the last so many messages; `Last(0)` begins with the next one.
    Last(u64),
    /// With the message of this sequence, or the next after it.
    From(u64),
}

/// A message of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Where it was published.
    pub topic: &'a str,
    /// Its number in its topic: all receivers have the same order.
    pub sequence: u64,
    /// When the bus took it, in milliseconds since 1970.
    pub time_ms: u64,
    /// As its publisher named it; may be empty.
    pub id: &'a [u8],
    /// What was published.
    pub bytes: &'a [u8],
}

/// What became of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// The session holds the key.
    Won,
    /// Another session does.
    Denied,
    /// It was held, and another session has it now.
    Lost,
}

/// What an instance hears of the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The bus is there, or away. It is away until this was said. What is asked meanwhile waits.
    Link {
        /// It is there.
        up: bool,
    },
    /// A message of a subscription.
    Message {
        /// By which subscription.
        subscription: SubscriptionId,
        /// The message.
        message: Message<'a>,
    },
    /// Messages that are not to be had any more: history has ended before them, or this worker was too
    /// slow.
    Missed {
        /// Of which subscription.
        subscription: SubscriptionId,
        /// The first of them.
        from: u64,
        /// The last of them.
        to: u64,
    },
    /// All that there was when the subscription began has been told; what follows is new. The end of a
    /// [`history`](Context::history).
    CaughtUp {
        /// Which subscription.
        subscription: SubscriptionId,
        /// Up to this sequence.
        sequence: u64,
    },
    /// What became of a message that was published.
    Published {
        /// Which one.
        publish: PublishId,
        /// Its sequence; or [`Error::Full`](crate::Error::Full): there are too many topics.
        result: Result<u64>,
    },
    /// What became of a claim: once `Won` or `Denied`, and after `Won` perhaps `Lost`.
    Lease {
        /// Which claim.
        claim: ClaimId,
        /// Its key.
        key: &'a str,
        /// What became of it.
        lease: Lease,
        /// The value of whoever holds the key.
        value: &'a [u8],
    },
    /// A key that is watched.
    Seen {
        /// By which watch.
        watch: WatchId,
        /// The key.
        key: &'a str,
        /// The value of whoever holds it; `None` when it is free.
        held: Option<&'a [u8]>,
    },
}

impl Context {
    /// Sends a message to all who subscribe to the topic, this instance too. Of messages with the same
    /// id only the first counts; an empty id is never the same as another.
    /// [`Event::Published`] follows once. [`Error::Full`](crate::Error::Full): too many wait for the
    /// bus, and this one was not taken.
    pub fn publish(&mut self, topic: &str, id: &[u8], bytes: &[u8]) -> Result<PublishId> {
        let token = self.next_bus_token();
        self.host().bus_publish(topic, id, bytes, token)?;
        Ok(PublishId(token))
    }

    /// Subscribes to a topic, from somewhere in its history on and then live.
    pub fn subscribe(&mut self, topic: &str, start: Start) -> Result<SubscriptionId> {
        self.follow(topic, start, 0)
    }

    /// A subscription that ends with its [`Event::CaughtUp`]. What a live subscription to the same
    /// topic brings after that is all that is missing.
    pub fn history(&mut self, topic: &str, start: Start) -> Result<SubscriptionId> {
        self.follow(topic, start, abi::BUS_HISTORY_ONLY)
    }

    fn follow(&mut self, topic: &str, start: Start, flags: u32) -> Result<SubscriptionId> {
        let token = self.next_bus_token();
        self.host().bus_subscribe(topic, start, flags, token)?;
        Ok(SubscriptionId(token))
    }

    /// Ends a subscription: nothing more is heard of it.
    pub fn unsubscribe(&mut self, subscription: SubscriptionId) -> Result {
        self.host().bus_unsubscribe(subscription.0)
    }

    /// Claims a key for a session, which is named by bytes that no other session has. [`Event::Lease`]
    /// follows. Claiming what the same session holds already succeeds, from any worker, and replaces
    /// the value.
    pub fn claim(&mut self, key: &str, value: &[u8], session: &[u8]) -> Result<ClaimId> {
        let token = self.next_bus_token();
        self.host().bus_claim(key, value, session, token)?;
        Ok(ClaimId(token))
    }

    /// Gives up what this session has claimed here, won or not.
    pub fn release(&mut self, key: &str, session: &[u8]) -> Result {
        self.host().bus_release(key, session)
    }

    /// Has [`Event::Seen`] told for each key that begins so: those held now, then each change.
    pub fn watch(&mut self, prefix: &str) -> Result<WatchId> {
        let token = self.next_bus_token();
        self.host().bus_watch(prefix, token)?;
        Ok(WatchId(token))
    }

    /// Ends a watch.
    pub fn unwatch(&mut self, watch: WatchId) -> Result {
        self.host().bus_unwatch(watch.0)
    }
}
