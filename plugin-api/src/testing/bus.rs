//! The bus of the fake host: one deterministic world that several hosts can share, as the workers of a
//! service do, and what can be made to go wrong in it.
//!
//! It keeps the rules of the header with the simplest means there are. What a host has to be told waits
//! in its line until that host moves: by anything that a test does with it, or by
//! [`FakeHost::hear_bus`](super::FakeHost::hear_bus).
//!
//! Invariant: nothing here calls a plugin, and a host that has been told nothing changes nothing.

use std::cell::{RefCell, RefMut};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use crate::abi;

/// Messages of one host that may wait while the bus is away.
const WAITING_MAX: usize = 1000;
/// Ids of a topic by which a message is known again.
const IDS_MAX: usize = 4096;
/// The time of the first message; each next one is a millisecond later.
const FIRST_TIME_MS: u64 = 1_700_000_000_000;

/// One bus, shared by the hosts that were [set up](super::Setup::bus) with it.
#[derive(Clone, Debug)]
pub struct FakeBus(Rc<RefCell<World>>);

/// A host's place at a bus.
#[derive(Debug)]
pub(crate) struct Seat {
    bus: FakeBus,
    number: usize,
    pub(crate) has_sink: bool,
}

/// What a host is to tell its plugin.
#[derive(Clone, Debug)]
pub(crate) enum Notice {
    Link(bool),
    Message(u64, Rc<Kept>),
    Missed(u64, u64, u64),
    CaughtUp(u64, u64),
    Published(u64, abi::Status, u64),
    Lease(u64, String, u32, Vec<u8>),
    Seen(u64, String, Option<Vec<u8>>),
}

#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) topic: String,
    pub(crate) sequence: u64,
    pub(crate) time_ms: u64,
    pub(crate) id: Vec<u8>,
    pub(crate) bytes: Vec<u8>,
}

/// What a plugin asks for.
#[derive(Clone, Debug)]
pub(crate) enum Wish {
    Publish(String, Vec<u8>, Vec<u8>, u64),
    Subscribe(String, u32, u64, bool, u64),
    Claim(String, Vec<u8>, Vec<u8>, u64),
    Release(String, Vec<u8>),
    Watch(String, u64),
}

#[derive(Debug, Default)]
struct World {
    away: bool,
    topics: BTreeMap<String, Topic>,
    leases: BTreeMap<String, Held>,
    hosts: Vec<Host>,
    published: u64,
}

#[derive(Debug, Default)]
struct Topic {
    last: u64,
    kept: Vec<Rc<Kept>>,
    ids: VecDeque<(Vec<u8>, u64)>,
}

#[derive(Debug)]
struct Held {
    host: usize,
    session: Vec<u8>,
    value: Vec<u8>,
    token: u64,
}

#[derive(Debug, Default)]
struct Host {
    line: VecDeque<Notice>,
    /// Asked for while the bus was away.
    waiting: VecDeque<Wish>,
    /// Topics by token; true while it is live.
    subscriptions: BTreeMap<u64, (String, bool)>,
    /// Key and session by token.
    claims: BTreeMap<u64, (String, Vec<u8>)>,
    watches: BTreeMap<u64, String>,
}

impl Default for FakeBus {
    fn default() -> FakeBus {
        FakeBus::new()
    }
}

impl FakeBus {
    /// A bus without topics, which is there.
    pub fn new() -> FakeBus {
        FakeBus(Rc::default())
    }

    /// The bus goes away: what is asked from now on waits.
    pub fn lose(&self) {
        let mut world = self.world();
        if !std::mem::replace(&mut world.away, true) {
            world.tell_all(&Notice::Link(false));
        }
    }

    /// It is back, and does what was asked meanwhile.
    pub fn restore(&self) {
        let mut world = self.world();
        if !std::mem::replace(&mut world.away, false) {
            return;
        }
        world.tell_all(&Notice::Link(true));
        for number in 0..world.hosts.len() {
            while let Some(wish) = world.hosts[number].waiting.pop_front() {
                world.grant(number, wish);
            }
        }
    }

    /// History ends before this message.
    pub fn forget_before(&self, topic: &str, sequence: u64) {
        if let Some(topic) = self.world().topics.get_mut(topic) {
            topic.kept.retain(|message| message.sequence >= sequence);
        }
    }

    /// Every worker was too slow: messages that a host was not told yet are missed.
    pub fn overflow(&self) {
        for host in &mut self.world().hosts {
            for notice in &mut host.line {
                if let Notice::Message(token, message) = notice {
                    *notice = Notice::Missed(*token, message.sequence, message.sequence);
                }
            }
        }
    }

    /// Somebody who is no host of this test says something, whatever it may be.
    pub fn publish(&self, topic: &str, bytes: &[u8]) {
        let mut world = self.world();
        world.publish(topic.to_owned(), Vec::new(), bytes.to_vec());
    }

    /// Somebody who is no host of this test has the key from now on.
    pub fn steal(&self, key: &str, value: &[u8]) {
        let mut world = self.world();
        let held = Held {
            host: usize::MAX,
            session: b"a stranger".to_vec(),
            value: value.to_vec(),
            token: 0,
        };
        world.give(key, held);
    }

    /// Whoever holds the key loses it, and nobody has it.
    pub fn free(&self, key: &str) {
        self.world().take(key);
    }

    /// All that was published in a topic and is kept: sequence, id and bytes.
    pub fn messages(&self, topic: &str) -> Vec<(u64, Vec<u8>, Vec<u8>)> {
        let world = self.world();
        let kept = world.topics.get(topic).map(|topic| topic.kept.iter());
        kept.into_iter()
            .flatten()
            .map(|it| (it.sequence, it.id.clone(), it.bytes.clone()))
            .collect()
    }

    /// The value of whoever holds the key.
    pub fn holder(&self, key: &str) -> Option<Vec<u8>> {
        self.world().leases.get(key).map(|held| held.value.clone())
    }

    pub(crate) fn join(&self, has_sink: bool) -> Seat {
        let mut world = self.world();
        let mut host = Host::default();
        if !world.away {
            host.line.push_back(Notice::Link(true));
        }
        world.hosts.push(host);
        Seat {
            bus: self.clone(),
            number: world.hosts.len() - 1,
            has_sink,
        }
    }

    fn world(&self) -> RefMut<'_, World> {
        self.0.borrow_mut()
    }
}

impl Seat {
    pub(crate) fn ask(&self, wish: Wish) -> abi::Status {
        if !self.has_sink {
            return abi::E_UNSUPPORTED;
        }
        let mut world = self.bus.world();
        let host = &mut world.hosts[self.number];
        if let Err(status) = host.note(&wish) {
            return status;
        }
        if world.away {
            world.hosts[self.number].waiting.push_back(wish);
        } else {
            world.grant(self.number, wish);
        }
        abi::OK
    }

    pub(crate) fn unsubscribe(&self, token: u64) -> abi::Status {
        let known = self.host(|host| {
            host.waiting
                .retain(|it| !matches!(it, Wish::Subscribe(.., of) if *of == token));
            host.subscriptions.remove(&token).is_some()
        });
        if known { abi::OK } else { abi::E_GONE }
    }

    pub(crate) fn unwatch(&self, token: u64) -> abi::Status {
        let known = self.host(|host| {
            host.waiting
                .retain(|it| !matches!(it, Wish::Watch(_, of) if *of == token));
            host.watches.remove(&token).is_some()
        });
        if known { abi::OK } else { abi::E_GONE }
    }

    /// What is to be told next; what it is about may have ended since it was said.
    pub(crate) fn next(&self) -> Option<Notice> {
        self.host(|host| {
            loop {
                let notice = host.line.pop_front()?;
                let alive = match &notice {
                    Notice::Message(token, _) | Notice::Missed(token, ..) => {
                        host.subscriptions.contains_key(token)
                    }
                    Notice::CaughtUp(token, _) => match host.subscriptions.get(token) {
                        Some((_, false)) => host.subscriptions.remove(token).is_some(),
                        found => found.is_some(),
                    },
                    Notice::Lease(token, _, what, _) => match *what {
                        abi::LEASE_WON => host.claims.contains_key(token),
                        _ => host.claims.remove(token).is_some(),
                    },
                    Notice::Seen(token, ..) => host.watches.contains_key(token),
                    Notice::Link(_) | Notice::Published(..) => true,
                };
                if alive {
                    return Some(notice);
                }
            }
        })
    }

    /// The worker ends, in whatever way.
    pub(crate) fn leave(&self) {
        let mut world = self.bus.world();
        world.hosts[self.number] = Host::default();
        let mine = |(key, held): (&String, &Held)| (held.host == self.number).then(|| key.clone());
        let keys: Vec<String> = world.leases.iter().filter_map(mine).collect();
        for key in keys {
            world.take(&key);
        }
    }

    fn host<R>(&self, work: impl FnOnce(&mut Host) -> R) -> R {
        work(&mut self.bus.world().hosts[self.number])
    }
}

impl Host {
    /// Writes down what the host itself has to know of a wish.
    fn note(&mut self, wish: &Wish) -> Result<(), abi::Status> {
        match wish {
            Wish::Publish(..) => {
                let publishes = |it: &&Wish| matches!(it, Wish::Publish(..));
                if self.waiting.iter().filter(publishes).count() >= WAITING_MAX {
                    return Err(abi::E_FULL);
                }
            }
            Wish::Subscribe(topic, _, _, live, token) => {
                if self.subscriptions.contains_key(token) {
                    return Err(abi::E_ARG);
                }
                self.subscriptions.insert(*token, (topic.clone(), *live));
            }
            Wish::Claim(key, _, session, token) => {
                if self.claims.contains_key(token) {
                    return Err(abi::E_ARG);
                }
                // The earlier claim of the session is told of no more.
                self.claims
                    .retain(|_, claim| (&claim.0, &claim.1) != (key, session));
                self.claims.insert(*token, (key.clone(), session.clone()));
            }
            Wish::Release(key, session) => {
                let before = self.claims.len();
                self.claims
                    .retain(|_, claim| (&claim.0, &claim.1) != (key, session));
                if self.claims.len() == before {
                    return Err(abi::E_GONE);
                }
            }
            Wish::Watch(prefix, token) => {
                if self.watches.contains_key(token) {
                    return Err(abi::E_ARG);
                }
                self.watches.insert(*token, prefix.clone());
            }
        }
        Ok(())
    }
}

impl World {
    fn tell(&mut self, host: usize, notice: Notice) {
        if let Some(host) = self.hosts.get_mut(host) {
            host.line.push_back(notice);
        }
    }

    fn tell_all(&mut self, notice: &Notice) {
        for host in &mut self.hosts {
            host.line.push_back(notice.clone());
        }
    }

    fn grant(&mut self, host: usize, wish: Wish) {
        match wish {
            Wish::Publish(topic, id, bytes, token) => {
                let sequence = self.publish(topic, id, bytes);
                self.tell(host, Notice::Published(token, abi::OK, sequence));
            }
            Wish::Subscribe(topic, start, value, _, token) => {
                self.replay(host, &topic, start, value, token);
            }
            Wish::Claim(key, value, session, token) => {
                let held = Held {
                    host,
                    session,
                    value,
                    token,
                };
                self.claim(&key, held);
            }
            Wish::Release(key, session) => {
                let held = self.leases.get(&key);
                if held.is_some_and(|it| it.host == host && it.session == session) {
                    self.take(&key);
                }
            }
            Wish::Watch(prefix, token) => {
                let held: Vec<_> = self
                    .leases
                    .iter()
                    .filter(|(key, _)| key.starts_with(&prefix))
                    .map(|(key, held)| (key.clone(), held.value.clone()))
                    .collect();
                for (key, value) in held {
                    self.tell(host, Notice::Seen(token, key, Some(value)));
                }
            }
        }
    }

    fn publish(&mut self, name: String, id: Vec<u8>, bytes: Vec<u8>) -> u64 {
        let topic = self.topics.entry(name.clone()).or_default();
        let known = topic.ids.iter().find(|it| !id.is_empty() && it.0 == id);
        if let Some((_, sequence)) = known {
            return *sequence;
        }
        topic.last += 1;
        let sequence = topic.last;
        if !id.is_empty() {
            topic.ids.push_back((id.clone(), sequence));
            if topic.ids.len() > IDS_MAX {
                topic.ids.pop_front();
            }
        }
        let message = Rc::new(Kept {
            topic: name,
            sequence,
            time_ms: FIRST_TIME_MS + self.published,
            id,
            bytes,
        });
        self.published += 1;
        topic.kept.push(Rc::clone(&message));
        for host in &mut self.hosts {
            for (token, (topic, live)) in &host.subscriptions {
                let pending = |it: &Wish| matches!(it, Wish::Subscribe(.., of) if of == token);
                if *live && *topic == message.topic && !host.waiting.iter().any(pending) {
                    let notice = Notice::Message(*token, Rc::clone(&message));
                    host.line.push_back(notice);
                }
            }
        }
        sequence
    }

    fn replay(&mut self, host: usize, topic: &str, start: u32, value: u64, token: u64) {
        let topic = self.topics.entry(topic.to_owned()).or_default();
        let last = topic.last;
        let from = match start {
            abi::BUS_LAST => last.saturating_sub(value) + 1,
            _ => value.max(1),
        };
        let kept: Vec<_> = topic
            .kept
            .iter()
            .filter(|message| message.sequence >= from)
            .cloned()
            .collect();
        let first = kept.first().map_or(last + 1, |message| message.sequence);
        // Who asks for the last ones takes what there is.
        if start == abi::BUS_FROM && from < first {
            self.tell(host, Notice::Missed(token, from, first - 1));
        }
        for message in kept {
            self.tell(host, Notice::Message(token, message));
        }
        self.tell(host, Notice::CaughtUp(token, last));
    }

    fn claim(&mut self, key: &str, claim: Held) {
        match self.leases.get(key) {
            Some(held) if held.session != claim.session => {
                let value = held.value.clone();
                let notice = Notice::Lease(claim.token, key.to_owned(), abi::LEASE_DENIED, value);
                self.tell(claim.host, notice);
            }
            _ => {
                let (host, token) = (claim.host, claim.token);
                let value = claim.value.clone();
                self.give(key, claim);
                let notice = Notice::Lease(token, key.to_owned(), abi::LEASE_WON, value);
                self.tell(host, notice);
            }
        }
    }

    fn give(&mut self, key: &str, held: Held) {
        let (host, value) = (held.host, held.value.clone());
        if let Some(before) = self.leases.insert(key.to_owned(), held)
            && before.host != host
        {
            let lost = Notice::Lease(before.token, key.to_owned(), abi::LEASE_LOST, value.clone());
            self.tell(before.host, lost);
        }
        self.show(key, Some(&value));
    }

    fn take(&mut self, key: &str) {
        if let Some(before) = self.leases.remove(key) {
            let lost = Notice::Lease(before.token, key.to_owned(), abi::LEASE_LOST, Vec::new());
            self.tell(before.host, lost);
            self.show(key, None);
        }
    }

    fn show(&mut self, key: &str, value: Option<&[u8]>) {
        for host in &mut self.hosts {
            for (token, prefix) in &host.watches {
                if key.starts_with(prefix.as_str()) {
                    let value = value.map(<[u8]>::to_vec);
                    host.line
                        .push_back(Notice::Seen(*token, key.to_owned(), value));
                }
            }
        }
    }
}
