//! The hub's decisions: numbers, histories, subscriptions and leases of all services.
//!
//! Sans-IO: the process tells what it heard (`attach`, `hear`, `detach`, `expire`, `sent`, `stored`) and
//! sends what lies in `output` of the members that `pop_touched` names. A member is one worker's
//! connection; of what service it is, the process says, not the worker.
//!
//! A subscription is a place in its topic. What it has not had yet is put into the member's output while
//! that has room, from memory or from history; so a member that does not read holds up nobody and costs
//! no memory beyond its output. After another hub's death, nothing is numbered and no lease is new before
//! the members that are awaited have said what they know, or `RECOVERY_MS` are over.
//!
//! Invariant: a subscription that has not had all of its topic is in its member's `hungry`.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::leases::{Held, Leases};
use super::nats::cluster::Cluster;
use super::pens::PutOff;
use super::store::Store;
use super::topic::Topic;
use super::wire::{Ask, Garbled, KNOWS_PENS, News, VERSION};

/// A member's output up to which it is given more.
pub const OUTPUT_BYTES_MAX: usize = 1 << 20;
/// Memory of an output that is kept when it is empty; what a burst needed beyond that is given back.
const OUTPUT_BYTES_KEPT: usize = 64 * 1024;
/// Subscriptions of one member, and its watches.
pub const SUBSCRIPTIONS_MAX: usize = 8192;
pub const WATCHES_MAX: usize = 64;
/// Topics in memory; beyond that, those that nobody follows go, or nothing is published in new ones.
pub const TOPICS_MAX: usize = 65_536;
/// Messages in memory, all topics together.
pub const LATEST_BYTES_MAX: usize = 64 << 20;
/// How long after its start a hub that replaces another waits for those who knew that one.
pub const RECOVERY_MS: u64 = 2_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(u64);

impl MemberId {
    /// For an event queue, which knows numbers only.
    pub(super) fn number(self) -> u64 {
        self.0
    }

    pub(super) fn numbered(number: u64) -> MemberId {
        MemberId(number)
    }
}

/// Who holds what is held elsewhere.
pub(super) const NOBODY: MemberId = MemberId(0);

pub struct Hub<S> {
    pub(super) store: S,
    pub(super) services: Vec<Service>,
    pub(super) topics: BTreeMap<usize, Topic>,
    pub(super) topics_made: usize,
    pub(super) members: BTreeMap<MemberId, Member>,
    pub(super) members_made: u64,
    pub(super) recovery: Option<Recovery>,
    /// Who gives numbers and leases, if that is not this hub.
    pub(super) cluster: Option<Cluster>,
    pub(super) latest_bytes: usize,
    /// Pens that are out.
    pub(super) pens: usize,
    /// What was asked in their topics by others.
    pub(super) put_off: VecDeque<PutOff>,
    pub(super) touched: Vec<MemberId>,
    /// The frame that is being delivered.
    pub(super) frame: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Recovery {
    pub(super) until_ms: u64,
    pub(super) awaited: usize,
}

#[derive(Debug, Default)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) topics: HashMap<String, usize>,
    pub(super) leases: Leases,
}

#[derive(Debug, Default)]
pub(super) struct Member {
    pub(super) service: usize,
    pub(super) output: Vec<u8>,
    pub(super) is_touched: bool,
    pub(super) welcome: bool,
    pub(super) resumed: bool,
    pub(super) is_awaited: bool,
    pub(super) subscriptions: BTreeMap<u64, Subscription>,
    pub(super) watches: HashMap<u64, Watch>,
    pub(super) hungry: VecDeque<u64>,
    /// Messages were sent that may not be stored yet.
    pub(super) owed_stored: bool,
    /// It can be told nothing any more.
    pub(super) deaf: bool,
    pub(super) knows_pens: bool,
    /// Topics that it numbers, the oldest pen first.
    pub(super) pens: VecDeque<usize>,
    /// Messages that it numbered.
    pub(super) written: u64,
    /// Bytes of what it has asked and is heard once a pen has come back.
    pub(super) put_off_bytes: usize,
}

#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) topic: usize,
    pub(super) next: u64,
    /// Up to here it is catching up; not known before it begins.
    pub(super) until: Option<u64>,
    pub(super) caught_up: bool,
    /// It takes what is left of history, and is told of nothing that is missing.
    pub(super) whatever: bool,
    pub(super) live: bool,
    pub(super) hungry: bool,
    /// Its worker has the pen, and knows what it wrote.
    pub(super) tells_itself: bool,
}

#[derive(Debug)]
pub(super) struct Watch {
    pub(super) prefix: String,
    /// All keys up to this one were named; `None` once every one was.
    pub(super) naming: Option<Option<String>>,
}

impl<S: Store> Hub<S> {
    /// `replaces`: there was a hub before this one. Then attach those who knew it, and `expire`.
    pub fn new(store: S, replaces: bool, now_ms: u64) -> Hub<S> {
        let recovery = replaces.then_some(Recovery {
            until_ms: now_ms + RECOVERY_MS,
            awaited: 0,
        });
        Hub {
            store,
            services: Vec::new(),
            topics: BTreeMap::new(),
            topics_made: 0,
            members: BTreeMap::new(),
            members_made: 0,
            recovery,
            cluster: None,
            latest_bytes: 0,
            pens: 0,
            put_off: VecDeque::new(),
            touched: Vec::new(),
            frame: Vec::new(),
        }
    }

    pub fn store(&mut self) -> &mut S {
        &mut self.store
    }

    // --- what the process heard ----------------------------------------------------------------

    /// `knew`: it was a member of the hub before this one.
    pub fn attach(&mut self, service: &str, knew: bool) -> MemberId {
        let service = self.service(service);
        self.members_made += 1;
        let id = MemberId(self.members_made);
        let is_awaited = knew && self.recovery.is_some();
        if let Some(recovery) = &mut self.recovery {
            recovery.awaited += usize::from(is_awaited);
        }
        let member = Member {
            service,
            is_awaited,
            ..Member::default()
        };
        self.members.insert(id, member);
        id
    }

    pub(super) fn service(&mut self, name: &str) -> usize {
        let known = self.services.iter().position(|it| it.name == name);
        known.unwrap_or_else(|| {
            self.services.push(Service {
                name: name.to_owned(),
                ..Service::default()
            });
            self.services.len() - 1
        })
    }

    /// Its worker has ended, or is listened to no more.
    pub fn detach(&mut self, id: MemberId) {
        self.heard_all(id);
        let Some(member) = self.members.remove(&id) else {
            return;
        };
        for (token, subscription) in &member.subscriptions {
            self.unfollow(id, *token, subscription.topic);
        }
        for key in self.services[member.service].leases.leave(id) {
            self.show(member.service, &key, None);
        }
        self.release_all(member.service, id);
        self.awaited_no_more(member.is_awaited);
    }

    /// Its worker has ended and hears nothing any more; what it has said before is still heard.
    pub fn deafen(&mut self, id: MemberId) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        member.deaf = true;
        member.output = Vec::new();
        member.hungry.clear();
        member.watches.clear();
        let service = member.service;
        for (token, subscription) in std::mem::take(&mut member.subscriptions) {
            self.unfollow(id, token, subscription.topic);
        }
        let watchers = &mut self.services[service].leases.watchers;
        watchers.retain(|(watcher, _)| *watcher != id);
    }

    /// Whether more of this member's frames may be heard now.
    pub fn may_hear(&self, id: MemberId) -> bool {
        self.members.get(&id).is_some_and(|member| {
            let waits = self.recovery.is_some() && member.resumed;
            let room = self.cluster_has_room(id, member.service);
            // What it asks behind a watch is answered once all that is held has been named to it.
            let is_naming = !member.deaf && member.watches.values().any(|it| it.naming.is_some());
            !waits && room && !is_naming && member.output.len() < OUTPUT_BYTES_MAX
        })
    }

    /// One frame's content. After an error the member is to be detached.
    pub fn hear(
        &mut self,
        id: MemberId,
        content: &[u8],
        time_ms: u64,
        now_ms: u64,
    ) -> Result<(), Garbled> {
        let ask = Ask::read(content)?;
        let member = self.members.get_mut(&id).ok_or(Garbled("a stranger"))?;
        match ask {
            Ask::Hello { version: VERSION } if !member.welcome => member.welcome = true,
            Ask::Hello { .. } => return Err(Garbled("another version, or a second hello")),
            _ if !member.welcome => return Err(Garbled("no hello first")),
            _ => {}
        }
        let service = member.service;
        if member.deaf && matches!(ask, Ask::Subscribe { .. } | Ask::Watch { .. }) {
            return Ok(());
        }
        if let Ask::Publish { topic, .. }
        | Ask::Subscribe { topic, .. }
        | Ask::Restore { topic, .. } = ask
            && let Some(number) = self.needs_pen(id, service, topic)
        {
            return self.put_off(id, number, content, time_ms);
        }
        let Some(member) = self.members.get_mut(&id) else {
            return Ok(());
        };
        match ask {
            Ask::Hello { .. } => {
                if self.cluster_is_linked(service) {
                    self.say(id, News::Welcome { version: VERSION });
                }
            }
            // The server has all that it ever told.
            Ask::Restore { .. } if self.cluster.is_some() => {}
            Ask::Restore { topic, message } => self.restore(service, topic, message)?,
            Ask::Resumed => {
                member.resumed = true;
                let was_awaited = std::mem::take(&mut member.is_awaited);
                self.awaited_no_more(was_awaited);
                self.expire(now_ms);
            }
            Ask::Publish {
                token,
                topic,
                id: name,
                bytes,
            } => {
                self.after_recovery()?;
                if self.cluster.is_some() {
                    self.ask_number(id, token, service, topic, name, bytes);
                    return Ok(());
                }
                let number = self.open(service, topic);
                if self.holder(number).is_some() {
                    return Err(Garbled("a message without a number by who has the pen"));
                }
                self.number(id, token, number, name, bytes, time_ms);
            }
            Ask::Subscribe {
                token,
                topic,
                start,
                live,
            } => self.subscribe(id, token, topic, start, live)?,
            Ask::Unsubscribe { token: KNOWS_PENS } if !member.resumed => member.knows_pens = true,
            Ask::Unsubscribe { token } => match member.subscriptions.remove(&token) {
                Some(subscription) => self.unfollow(id, token, subscription.topic),
                None => self.put_off_no_more(id, token),
            },
            Ask::Claim {
                token,
                key,
                value,
                session,
                held,
            } => {
                if !held {
                    self.after_recovery()?;
                }
                let claim = Held {
                    member: id,
                    token,
                    session: session.into(),
                    value: value.into(),
                };
                match self.cluster {
                    Some(_) => self.ask_lease(service, key, claim),
                    None => self.claim(service, key, claim),
                }
            }
            Ask::Release { key, session } => {
                if self.cluster.is_some() {
                    self.ask_release(service, key, id, session);
                } else if self.services[service].leases.release(key, id, session) {
                    self.show(service, key, None);
                }
            }
            Ask::Watch { token, prefix } => self.watch(id, token, prefix)?,
            Ask::Unwatch { token } => {
                member.watches.remove(&token);
                let watchers = &mut self.services[service].leases.watchers;
                watchers.retain(|it| *it != (id, token));
            }
            Ask::Take { topic } => self.take_pen(id, service, topic),
            Ask::Wrote { topic, message } => self.wrote(id, service, topic, message)?,
            Ask::Return { topic } => self.return_pen(id, service, topic)?,
        }
        Ok(())
    }

    /// The socket took so many bytes of the output.
    pub fn sent(&mut self, id: MemberId, bytes: usize) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        member.output.drain(..bytes);
        if member.output.is_empty() && member.output.capacity() > OUTPUT_BYTES_KEPT {
            member.output = Vec::new();
        }
        if member.output.len() < OUTPUT_BYTES_MAX / 2 {
            self.feed(id);
        }
    }

    /// Everything that was appended is safe now.
    pub fn stored(&mut self) {
        let owed = |(id, member): (&MemberId, &mut Member)| {
            std::mem::take(&mut member.owed_stored).then_some((*id, member.written))
        };
        let owed: Vec<(MemberId, u64)> = self.members.iter_mut().filter_map(owed).collect();
        for (id, count) in owed {
            match count {
                0 => self.say(id, News::Stored),
                _ => self.say(id, News::StoredWritten { count }),
            }
        }
    }

    /// Ends the time of recovery when it is over, or nobody is awaited any more.
    pub fn expire(&mut self, now_ms: u64) {
        self.look_for_dead(now_ms);
        match &self.recovery {
            Some(recovery) if recovery.awaited == 0 || recovery.until_ms <= now_ms => {}
            _ => return,
        }
        if !self.cluster_has_begun() {
            return;
        }
        self.recovery = None;
        let topics: Vec<usize> = self.topics.keys().copied().collect();
        for number in topics {
            let Some(topic) = self.topics.get_mut(&number) else {
                continue;
            };
            let floor = topic.floor;
            for (_, kept) in std::mem::take(&mut topic.restored) {
                self.admit(number, kept);
            }
            if let Some(topic) = self.topics.get_mut(&number) {
                topic.last = topic.last.max(floor);
            }
        }
        let members: Vec<MemberId> = self.members.keys().copied().collect();
        for id in members {
            self.feed(id);
        }
    }

    pub fn next_deadline_ms(&self) -> Option<u64> {
        let recovery = self.recovery.as_ref().map(|recovery| recovery.until_ms);
        let recovery = recovery.filter(|_| self.cluster_has_begun());
        let looks = self.cluster.as_ref().and_then(Cluster::next_deadline_ms);
        [recovery, looks].into_iter().flatten().min()
    }

    // --- what the process is to do -------------------------------------------------------------

    /// A member with output; each is named once.
    pub fn pop_touched(&mut self) -> Option<MemberId> {
        while let Some(id) = self.touched.pop() {
            if let Some(member) = self.members.get_mut(&id) {
                member.is_touched = false;
                return Some(id);
            }
        }
        None
    }

    pub fn output(&self, id: MemberId) -> &[u8] {
        self.members.get(&id).map_or(&[], |member| &member.output)
    }

    fn awaited_no_more(&mut self, was_awaited: bool) {
        if let Some(recovery) = &mut self.recovery {
            recovery.awaited -= usize::from(was_awaited);
        }
    }

    fn after_recovery(&self) -> Result<(), Garbled> {
        match self.recovery {
            None => Ok(()),
            Some(_) => Err(Garbled("something new before all is said again")),
        }
    }

    pub(super) fn say(&mut self, id: MemberId, news: News<'_>) {
        if let Some(member) = self.members.get_mut(&id).filter(|it| !it.deaf) {
            news.write(&mut member.output);
            member.touch(id, &mut self.touched);
        }
    }
}

impl Member {
    pub(super) fn touch(&mut self, id: MemberId, touched: &mut Vec<MemberId>) {
        if !std::mem::replace(&mut self.is_touched, true) {
            touched.push(id);
        }
    }
}
