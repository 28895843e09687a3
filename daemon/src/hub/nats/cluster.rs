//! The hub's half of a cluster: messages that wait for their numbers, and what comes of all nodes.
//!
//! Sans-IO, as the core is. `next_request` says what is to be asked of the server; `told` takes what was
//! heard from it. A message that a worker publishes is asked for and stays here until it is answered; of
//! one worker and one topic only one is under way, so that their order outlives a lost connection. What
//! the stream brings is admitted as the local hub admits what it has numbered itself.
//!
//! Invariant: a message under way is in `waiting`; what the stream brings is admitted in its order, and
//! nothing at or below `position` once more.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use super::holding::Holding;
pub use super::words::{Answer, Event, Lease, Request, Shown};
use crate::hub::core::{Hub, MemberId, Recovery, TOPICS_MAX};
use crate::hub::store::{Kept, Store};
use crate::hub::wire::{News, VERSION};

/// Messages of one worker that wait for the server, and their bytes; then no more is heard of it.
pub const UNDER_WAY_MAX: usize = 1024;
pub const UNDER_WAY_BYTES_MAX: usize = 8 << 20;

pub struct Cluster {
    /// This hub among all of the cluster; another one after each start.
    pub(super) node: String,
    pub(super) is_up: bool,
    pub(super) services: BTreeMap<usize, Followed>,
    pub(super) nodes: HashMap<String, Node>,
    pub(super) look_at_ms: u64,
    pub(super) requests: VecDeque<Request>,
    serials: u64,
    waiting: BTreeMap<u64, Waiting>,
    lanes: HashMap<Lane, VecDeque<u64>>,
    loads: HashMap<MemberId, Load>,
}

/// What is known of a service.
#[derive(Default)]
pub(super) struct Followed {
    name: String,
    position: u64,
    synced: bool,
    /// All was there on this connection.
    linked: bool,
    /// All was there once.
    was_linked: bool,
    pub(super) holding: Holding,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) heard_ms: u64,
    pub(super) timeout_ms: u64,
    pub(super) is_dead: bool,
}

type Lane = (MemberId, usize, String);

struct Waiting {
    member: MemberId,
    token: u64,
    service: usize,
    topic: String,
    id: Box<[u8]>,
    bytes: Arc<[u8]>,
}

#[derive(Default)]
struct Load {
    messages: usize,
    bytes: usize,
}

impl<S: Store> Hub<S> {
    /// Numbers and leases are a cluster's from now on; until its first word, nothing is heard or told.
    pub fn join(&mut self, node: String) {
        self.recovery.get_or_insert(Recovery {
            until_ms: 0,
            awaited: 0,
        });
        self.cluster = Some(Cluster {
            node,
            is_up: false,
            services: BTreeMap::new(),
            nodes: HashMap::new(),
            look_at_ms: 0,
            requests: VecDeque::new(),
            serials: 0,
            waiting: BTreeMap::new(),
            lanes: HashMap::new(),
            loads: HashMap::new(),
        });
    }

    /// A service has a member; `position` is the last of its messages that history has.
    pub fn follow(&mut self, name: &str, position: u64) {
        let service = self.service(name);
        let Some(cluster) = &mut self.cluster else {
            return;
        };
        if cluster.services.contains_key(&service) {
            return;
        }
        let followed = Followed {
            name: name.to_owned(),
            position,
            ..Followed::default()
        };
        if cluster.is_up {
            cluster.requests.push_back(followed.request(service));
        }
        cluster.services.insert(service, followed);
    }

    pub fn next_request(&mut self) -> Option<Request> {
        self.cluster.as_mut()?.requests.pop_front()
    }

    /// Whether others can be asked.
    pub fn is_linked(&self) -> bool {
        self.cluster.as_ref().is_some_and(|cluster| cluster.is_up)
    }

    /// Whether nothing is waited for, or to be had.
    pub fn is_at_rest(&self) -> bool {
        self.cluster.as_ref().is_none_or(|cluster| {
            let held = |it: &Followed| it.holding.is_at_rest();
            let done = cluster.waiting.is_empty() && cluster.services.values().all(held);
            done || !cluster.is_up
        })
    }

    /// Says that this node is not there any more, after all that was asked.
    pub fn say_goodbye(&mut self) {
        if let Some(cluster) = &mut self.cluster {
            cluster.requests.push_back(Request::Leave);
        }
    }

    pub fn told(&mut self, event: Event, time_ms: u64, now_ms: u64) {
        match event {
            Event::Up => self.up(now_ms),
            Event::Down => self.down(),
            Event::Message {
                service,
                topic,
                kept,
            } => self.delivered(service, &topic, kept),
            Event::Synced { service } => {
                if let Some(followed) = self.followed(service) {
                    followed.synced = true;
                }
                self.link(service, now_ms);
            }
            Event::Published { serial, sequence } => {
                self.answered(serial, sequence.unwrap_or(0), time_ms);
            }
            Event::Lease {
                service,
                key,
                revision,
                shown,
            } => self.lease_seen(service, &key, revision, shown, now_ms),
            Event::LeasesSeen { service } => {
                self.leases_seen(service);
                self.link(service, now_ms);
            }
            Event::Put {
                service,
                key,
                answer,
            } => self.put_answered(service, &key, answer),
            Event::Deleted {
                service,
                key,
                nothing,
            } => self.delete_answered(service, &key, nothing),
            Event::Node { node, timeout_ms } => self.node_heard(node, timeout_ms, now_ms),
        }
    }

    // --- the connection ------------------------------------------------------------------------

    fn up(&mut self, now_ms: u64) {
        let Some(cluster) = &mut self.cluster else {
            return;
        };
        cluster.is_up = true;
        // Who was silent while nobody could be heard has the whole of its time again.
        for node in cluster.nodes.values_mut() {
            (node.heard_ms, node.is_dead) = (now_ms, false);
        }
        for (service, followed) in &cluster.services {
            cluster.requests.push_back(followed.request(*service));
        }
    }

    fn down(&mut self) {
        let Some(cluster) = &mut self.cluster else {
            return;
        };
        cluster.is_up = false;
        cluster.requests.clear();
        let mut parted = Vec::new();
        for (service, followed) in &mut cluster.services {
            followed.synced = false;
            followed.holding.forget_asked();
            if std::mem::take(&mut followed.linked) {
                parted.push(*service);
            }
        }
        for service in parted {
            self.say_all(service, News::Away);
        }
    }

    /// All that a service needs may be there now.
    fn link(&mut self, service: usize, now_ms: u64) {
        let Some(followed) = self.followed(service) else {
            return;
        };
        if followed.linked || !followed.synced || !followed.holding.is_seen {
            return;
        }
        (followed.linked, followed.was_linked) = (true, true);
        self.say_all(service, News::Welcome { version: VERSION });
        self.expire(now_ms);
        let Some(cluster) = &self.cluster else {
            return;
        };
        let lanes = cluster.lanes.iter().filter(|(lane, _)| lane.1 == service);
        let first: Vec<u64> = lanes
            .filter_map(|(_, lane)| lane.front().copied())
            .collect();
        for serial in first {
            self.send_message(serial);
        }
    }

    fn say_all(&mut self, service: usize, news: News<'_>) {
        let members = self.members.iter();
        let greeted = members.filter(|(_, member)| member.service == service && member.welcome);
        let ids: Vec<MemberId> = greeted.map(|(id, _)| *id).collect();
        for id in ids {
            self.say(id, news);
        }
    }

    /// All services had all once: what is known of them may be told.
    pub(in crate::hub) fn cluster_has_begun(&self) -> bool {
        let all = |cluster: &Cluster| cluster.services.values().all(|it| it.was_linked);
        self.cluster.as_ref().is_none_or(all)
    }

    /// Whether who says hello is welcome at once.
    pub(in crate::hub) fn cluster_is_linked(&self, service: usize) -> bool {
        let linked = |cluster: &Cluster| cluster.services.get(&service).is_some_and(|it| it.linked);
        self.cluster.as_ref().is_none_or(linked)
    }

    /// Whether more may be heard of a member.
    pub(in crate::hub) fn cluster_has_room(&self, id: MemberId, service: usize) -> bool {
        self.cluster.as_ref().is_none_or(|cluster| {
            let followed = cluster.services.get(&service);
            let room = cluster.loads.get(&id).is_none_or(|load| {
                load.messages < UNDER_WAY_MAX && load.bytes < UNDER_WAY_BYTES_MAX
            });
            room && (self.recovery.is_some() || followed.is_some_and(|it| it.was_linked))
        })
    }

    pub(super) fn followed(&mut self, service: usize) -> Option<&mut Followed> {
        self.cluster.as_mut()?.services.get_mut(&service)
    }

    // --- messages ------------------------------------------------------------------------------

    /// A worker's message; it is answered when the server has numbered it.
    pub(in crate::hub) fn ask_number(
        &mut self,
        member: MemberId,
        token: u64,
        service: usize,
        topic: &str,
        id: &[u8],
        bytes: &[u8],
    ) {
        let number = self.open(service, topic);
        let too_many = self.topics.len() > TOPICS_MAX;
        if too_many && self.topics.get(&number).is_none_or(|it| it.last == 0) {
            let (sequence, time_ms) = (0, 0);
            let news = News::Published {
                token,
                sequence,
                time_ms,
            };
            return self.say(member, news);
        }
        let Some(cluster) = &mut self.cluster else {
            return;
        };
        cluster.serials += 1;
        let serial = cluster.serials;
        let waiting = Waiting {
            member,
            token,
            service,
            topic: topic.to_owned(),
            id: id.into(),
            bytes: bytes.into(),
        };
        let load = cluster.loads.entry(member).or_default();
        load.messages += 1;
        load.bytes += bytes.len();
        let lane = cluster.lanes.entry(waiting.lane()).or_default();
        lane.push_back(serial);
        let is_first = lane.len() == 1;
        cluster.waiting.insert(serial, waiting);
        if is_first {
            self.send_message(serial);
        }
    }

    /// Asks for the number of a message that is first in its lane, unless it has one.
    fn send_message(&mut self, serial: u64) {
        let Some(cluster) = &mut self.cluster else {
            return;
        };
        let Some(waiting) = cluster.waiting.get(&serial) else {
            return;
        };
        let linked = |it: &Followed| it.linked;
        if !cluster.services.get(&waiting.service).is_some_and(linked) {
            return;
        }
        let topics = &self.services[waiting.service].topics;
        let topic = topics
            .get(&waiting.topic)
            .and_then(|it| self.topics.get(it));
        if let Some(sequence) = topic.and_then(|topic| topic.ids.known(&waiting.id)) {
            return self.answered(serial, sequence, 0);
        }
        cluster.requests.push_back(Request::Publish {
            serial,
            service: waiting.service,
            topic: waiting.topic.clone(),
            id: waiting.id.clone(),
            bytes: Arc::clone(&waiting.bytes),
        });
    }

    fn answered(&mut self, serial: u64, sequence: u64, time_ms: u64) {
        let Some(cluster) = &mut self.cluster else {
            return;
        };
        let Some(waiting) = cluster.waiting.remove(&serial) else {
            return;
        };
        if let Some(load) = cluster.loads.get_mut(&waiting.member) {
            load.messages -= 1;
            load.bytes -= waiting.bytes.len();
            if load.messages == 0 {
                cluster.loads.remove(&waiting.member);
            }
        }
        let lane = waiting.lane();
        let mut next = None;
        if let Some(serials) = cluster.lanes.get_mut(&lane) {
            serials.retain(|it| *it != serial);
            next = serials.front().copied();
            if next.is_none() {
                cluster.lanes.remove(&lane);
            }
        }
        let token = waiting.token;
        let news = News::Published {
            token,
            sequence,
            time_ms,
        };
        self.say(waiting.member, news);
        if let Some(next) = next {
            self.send_message(next);
        }
    }

    fn delivered(&mut self, service: usize, topic: &str, kept: Kept) {
        let Some(followed) = self.followed(service) else {
            return;
        };
        if kept.sequence <= followed.position {
            return;
        }
        followed.position = kept.sequence;
        let number = self.open(service, topic);
        let is_new = |topic: &crate::hub::topic::Topic| topic.last < kept.sequence;
        if self.topics.get(&number).is_some_and(is_new) {
            self.admit(number, kept);
        }
    }
}

impl Followed {
    fn request(&self, service: usize) -> Request {
        Request::Follow {
            service,
            name: self.name.clone(),
            after: self.position,
        }
    }
}

impl Waiting {
    fn lane(&self) -> Lane {
        (self.member, self.service, self.topic.clone())
    }
}

#[cfg(test)]
mod tests;
