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
use std::rc::Rc;

use super::leases::{Held, Leases, Verdict};
use super::store::{Kept, Line, Store};
use super::topic::Topic;
use super::wire::{Ask, Garbled, Message, News, Start, VERSION};

/// A member's output up to which it is given more.
pub const OUTPUT_BYTES_MAX: usize = 1 << 20;
/// Subscriptions of one member, and its watches.
pub const SUBSCRIPTIONS_MAX: usize = 8192;
pub const WATCHES_MAX: usize = 64;
/// Topics in memory; beyond that, those that nobody follows go, or nothing is published in new ones.
pub const TOPICS_MAX: usize = 65_536;
/// Messages in memory, all topics together.
pub const LATEST_BYTES_MAX: usize = 64 << 20;
/// How long after its start a hub that replaces another waits for those who knew that one.
pub const RECOVERY_MS: u64 = 2_000;
/// Messages read from history at a time.
const READ_MAX: usize = 64;
/// A number further ahead than this is no hub's.
const AHEAD_MAX: u64 = 1 << 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(u64);

pub struct Hub<S> {
    store: S,
    services: Vec<Service>,
    topics: HashMap<usize, Topic>,
    topics_made: usize,
    members: BTreeMap<MemberId, Member>,
    members_made: u64,
    recovery: Option<Recovery>,
    latest_bytes: usize,
    touched: Vec<MemberId>,
    /// The frame that is being delivered.
    frame: Vec<u8>,
}

#[derive(Debug)]
struct Recovery {
    until_ms: u64,
    awaited: usize,
}

#[derive(Debug, Default)]
struct Service {
    name: String,
    topics: HashMap<String, usize>,
    leases: Leases,
}

#[derive(Debug, Default)]
struct Member {
    service: usize,
    output: Vec<u8>,
    is_touched: bool,
    welcome: bool,
    resumed: bool,
    is_awaited: bool,
    subscriptions: HashMap<u64, Subscription>,
    watches: HashMap<u64, Watch>,
    hungry: VecDeque<u64>,
    /// Messages were sent that may not be stored yet.
    owed_stored: bool,
}

#[derive(Debug)]
struct Subscription {
    topic: usize,
    next: u64,
    /// Up to here it is catching up; not known before it begins.
    until: Option<u64>,
    caught_up: bool,
    /// It takes what is left of history, and is told of nothing that is missing.
    whatever: bool,
    live: bool,
    hungry: bool,
}

#[derive(Debug)]
struct Watch {
    prefix: String,
    /// All keys up to this one were named; `None` once every one was.
    naming: Option<Option<String>>,
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
            topics: HashMap::new(),
            topics_made: 0,
            members: BTreeMap::new(),
            members_made: 0,
            recovery,
            latest_bytes: 0,
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
        let known = self.services.iter().position(|it| it.name == service);
        let service = known.unwrap_or_else(|| {
            let name = service.to_owned();
            self.services.push(Service {
                name,
                ..Service::default()
            });
            self.services.len() - 1
        });
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

    /// Its worker has ended, or is listened to no more.
    pub fn detach(&mut self, id: MemberId) {
        let Some(member) = self.members.remove(&id) else {
            return;
        };
        for (token, subscription) in &member.subscriptions {
            self.unfollow(id, *token, subscription.topic);
        }
        for key in self.services[member.service].leases.leave(id) {
            self.show(member.service, &key, None);
        }
        self.awaited_no_more(member.is_awaited);
    }

    /// Whether more of this member's frames may be heard now.
    pub fn may_hear(&self, id: MemberId) -> bool {
        self.members.get(&id).is_some_and(|member| {
            let waits = self.recovery.is_some() && member.resumed;
            !waits && member.output.len() < OUTPUT_BYTES_MAX
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
        match ask {
            Ask::Hello { .. } => self.say(id, News::Welcome { version: VERSION }),
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
                let sequence = self.publish(service, topic, name, bytes, time_ms);
                let news = News::Published {
                    token,
                    sequence,
                    time_ms,
                };
                self.say(id, news);
            }
            Ask::Subscribe {
                token,
                topic,
                start,
                live,
            } => self.subscribe(id, token, topic, start, live)?,
            Ask::Unsubscribe { token } => {
                if let Some(subscription) = member.subscriptions.remove(&token) {
                    self.unfollow(id, token, subscription.topic);
                }
            }
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
                self.claim(service, key, claim);
            }
            Ask::Release { key, session } => {
                if self.services[service].leases.release(key, id, session) {
                    self.show(service, key, None);
                }
            }
            Ask::Watch { token, prefix } => self.watch(id, token, prefix)?,
            Ask::Unwatch { token } => {
                member.watches.remove(&token);
                let watchers = &mut self.services[service].leases.watchers;
                watchers.retain(|it| *it != (id, token));
            }
        }
        Ok(())
    }

    /// The socket took so many bytes of the output.
    pub fn sent(&mut self, id: MemberId, bytes: usize) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        member.output.drain(..bytes);
        if member.output.len() < OUTPUT_BYTES_MAX / 2 {
            self.feed(id);
        }
    }

    /// Everything that was appended is safe now.
    pub fn stored(&mut self) {
        let owed = |(id, member): (&MemberId, &mut Member)| {
            std::mem::take(&mut member.owed_stored).then_some(*id)
        };
        let owed: Vec<MemberId> = self.members.iter_mut().filter_map(owed).collect();
        for id in owed {
            self.say(id, News::Stored);
        }
    }

    /// Ends the time of recovery when it is over, or nobody is awaited any more.
    pub fn expire(&mut self, now_ms: u64) {
        match &self.recovery {
            Some(recovery) if recovery.awaited == 0 || recovery.until_ms <= now_ms => {}
            _ => return,
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
        self.recovery.as_ref().map(|recovery| recovery.until_ms)
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

    // --- topics --------------------------------------------------------------------------------

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

    fn open(&mut self, service: usize, name: &str) -> usize {
        if let Some(number) = self.services[service].topics.get(name) {
            return *number;
        }
        if self.topics.len() >= TOPICS_MAX && self.store.keeps() {
            self.forget_idle();
        }
        let line = Line {
            service: &self.services[service].name,
            topic: name,
        };
        let remembered = self.store.recall(line, super::topic::IDS_MAX);
        self.topics_made += 1;
        let number = self.topics_made;
        self.topics
            .insert(number, Topic::new(service, name, remembered));
        let names = &mut self.services[service].topics;
        names.insert(name.to_owned(), number);
        number
    }

    /// Topics that nobody follows are all in history.
    fn forget_idle(&mut self) {
        let services = &mut self.services;
        let followed: std::collections::HashSet<usize> = self
            .members
            .values()
            .flat_map(|member| member.subscriptions.values().map(|it| it.topic))
            .collect();
        self.topics.retain(|number, topic| {
            let stays = followed.contains(number) || !topic.restored.is_empty();
            if !stays {
                services[topic.service].topics.remove(&topic.name);
            }
            stays
        });
        self.latest_bytes = self.topics.values().map(Topic::weight).sum();
    }

    fn publish(&mut self, service: usize, name: &str, id: &[u8], bytes: &[u8], time: u64) -> u64 {
        let number = self.open(service, name);
        let Some(topic) = self.topics.get(&number) else {
            return 0;
        };
        if let Some(sequence) = topic.known(id) {
            return sequence;
        }
        if self.topics.len() > TOPICS_MAX && topic.last == 0 {
            return 0;
        }
        let sequence = topic.last + 1;
        let kept = Kept {
            sequence,
            time_ms: time,
            id: id.into(),
            bytes: bytes.into(),
        };
        self.admit(number, kept);
        sequence
    }

    /// A message that a hub before this one has delivered.
    fn restore(&mut self, service: usize, name: &str, message: Message<'_>) -> Result<(), Garbled> {
        let number = self.open(service, name);
        let recovering = self.recovery.is_some();
        let Some(topic) = self.topics.get_mut(&number) else {
            return Ok(());
        };
        if message.sequence <= topic.last {
            return Ok(());
        }
        if message.sequence - topic.last > AHEAD_MAX {
            return Err(Garbled("a number that no hub has given"));
        }
        let kept = Kept {
            sequence: message.sequence,
            time_ms: message.time_ms,
            id: message.id.into(),
            bytes: message.bytes.into(),
        };
        if recovering {
            topic.restored.entry(message.sequence).or_insert(kept);
        } else {
            self.admit(number, kept);
        }
        Ok(())
    }

    /// A message with its number: into history, memory, and to those who follow.
    fn admit(&mut self, number: usize, kept: Kept) {
        let Some(topic) = self.topics.get_mut(&number) else {
            return;
        };
        let line = Line {
            service: &self.services[topic.service].name,
            topic: &topic.name,
        };
        self.store.append(line, &kept);
        let message = Rc::new(kept);
        let (more, fewer) = topic.push(&message, self.latest_bytes < LATEST_BYTES_MAX);
        self.latest_bytes = (self.latest_bytes + more).saturating_sub(fewer);
        let token_at = begin_message(&mut self.frame, &message);
        for (id, token) in &topic.followers {
            let Some(member) = self.members.get_mut(id) else {
                continue;
            };
            let Some(subscription) = member.subscriptions.get_mut(token) else {
                continue;
            };
            let ready = !subscription.hungry && subscription.caught_up;
            if ready && member.output.len() < OUTPUT_BYTES_MAX {
                if subscription.next > message.sequence {
                    continue;
                }
                subscription.next = message.sequence + 1;
                self.frame[token_at..token_at + 8].copy_from_slice(&token.to_le_bytes());
                member.output.extend_from_slice(&self.frame);
                member.owed_stored = true;
                member.touch(*id, &mut self.touched);
            } else if !std::mem::replace(&mut subscription.hungry, true) {
                member.hungry.push_back(*token);
            }
        }
    }

    fn subscribe(
        &mut self,
        id: MemberId,
        token: u64,
        name: &str,
        start: Start,
        live: bool,
    ) -> Result<(), Garbled> {
        let service = self.members[&id].service;
        let number = self.open(service, name);
        let recovering = self.recovery.is_some();
        let Some(topic) = self.topics.get_mut(&number) else {
            return Ok(());
        };
        let line = Line {
            service: &self.services[service].name,
            topic: name,
        };
        let next = match start {
            Start::Last(0) => topic.last + 1,
            Start::Last(count) => {
                let in_memory = topic.latest.len() as u64;
                let stored = match in_memory >= count {
                    true => None,
                    false => self.store.first_of_last(line, count),
                };
                let from_end = topic.latest.len() - in_memory.min(count) as usize;
                let first = topic.latest.get(from_end).map(|it| it.sequence);
                let first = [stored, first].into_iter().flatten().min();
                first.unwrap_or(topic.last + 1)
            }
            Start::From(sequence) => sequence.max(1),
            Start::Again(next) => {
                if next > topic.last.saturating_add(AHEAD_MAX) {
                    return Err(Garbled("a number that no hub has given"));
                }
                let floor = next.saturating_sub(1);
                topic.floor = topic.floor.max(floor);
                if !recovering {
                    topic.last = topic.last.max(floor);
                }
                next.max(1)
            }
        };
        if live {
            topic.followers.push((id, token));
        }
        let subscription = Subscription {
            topic: number,
            next,
            until: None,
            caught_up: false,
            whatever: matches!(start, Start::Last(_)),
            live,
            hungry: true,
        };
        let Some(member) = self.members.get_mut(&id) else {
            return Ok(());
        };
        if member.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            return Err(Garbled("more subscriptions than a worker has"));
        }
        if member.subscriptions.insert(token, subscription).is_some() {
            return Err(Garbled("a second subscription with the same token"));
        }
        member.hungry.push_back(token);
        if !recovering {
            self.feed(id);
        }
        Ok(())
    }

    fn unfollow(&mut self, id: MemberId, token: u64, topic: usize) {
        if let Some(topic) = self.topics.get_mut(&topic) {
            topic.followers.retain(|it| *it != (id, token));
        }
    }

    /// Gives a member what it has not had, as far as its output has room.
    fn feed(&mut self, id: MemberId) {
        if self.recovery.is_some() {
            return;
        }
        self.name_keys(id);
        while let Some(member) = self.members.get_mut(&id) {
            let Some(token) = member.hungry.front().copied() else {
                return;
            };
            let Some(subscription) = member.subscriptions.get_mut(&token) else {
                member.hungry.pop_front();
                continue;
            };
            if member.output.len() >= OUTPUT_BYTES_MAX {
                return;
            }
            let Some(topic) = self.topics.get(&subscription.topic) else {
                member.hungry.pop_front();
                continue;
            };
            let service = &self.services[topic.service].name;
            let line = Line {
                service,
                topic: &topic.name,
            };
            let had = feed_one(
                &mut self.store,
                line,
                topic,
                token,
                subscription,
                &mut member.output,
            );
            member.owed_stored |= had.messages;
            if had.all {
                member.hungry.pop_front();
                if subscription.caught_up && !subscription.live {
                    member.subscriptions.remove(&token);
                }
            } else {
                // Others of this member have their turn.
                member.hungry.rotate_left(1);
            }
            member.touch(id, &mut self.touched);
        }
    }

    // --- leases --------------------------------------------------------------------------------

    fn claim(&mut self, service: usize, key: &str, claim: Held) {
        let (id, token, value) = (claim.member, claim.token, claim.value.clone());
        match self.services[service].leases.claim(key, claim) {
            Verdict::Won(before) => {
                if let Some(before) = before.filter(|before| before.member != id) {
                    let token = before.token;
                    self.say(
                        before.member,
                        News::Denied {
                            token,
                            value: &value,
                        },
                    );
                }
                self.say(id, News::Won { token });
                self.show(service, key, Some(&value));
            }
            Verdict::Denied(value) => self.say(
                id,
                News::Denied {
                    token,
                    value: &value,
                },
            ),
        }
    }

    fn watch(&mut self, id: MemberId, token: u64, prefix: &str) -> Result<(), Garbled> {
        let Some(member) = self.members.get_mut(&id) else {
            return Ok(());
        };
        if member.watches.len() >= WATCHES_MAX {
            return Err(Garbled("more watches than a worker has"));
        }
        let watch = Watch {
            prefix: prefix.to_owned(),
            naming: Some(None),
        };
        if member.watches.insert(token, watch).is_some() {
            return Err(Garbled("a second watch with the same token"));
        }
        let service = member.service;
        self.services[service].leases.watchers.push((id, token));
        self.feed(id);
        Ok(())
    }

    /// Tells those who watch what became of a key.
    fn show(&mut self, service: usize, key: &str, value: Option<&[u8]>) {
        let watchers = self.services[service].leases.watchers.clone();
        for (id, token) in watchers {
            let Some(member) = self.members.get_mut(&id) else {
                continue;
            };
            let full = member.output.len() >= OUTPUT_BYTES_MAX;
            let Some(watch) = member.watches.get_mut(&token) else {
                continue;
            };
            if !key.starts_with(&watch.prefix) {
                continue;
            }
            match &watch.naming {
                // It will be named when its turn comes, or is not there any more.
                Some(named) if named.as_deref().is_none_or(|named| key > named) => {}
                // There is no room to say it: all is named again later.
                _ if full => watch.naming = Some(None),
                _ => self.say(
                    id,
                    match value {
                        Some(value) => News::Held { token, key, value },
                        None => News::Free { token, key },
                    },
                ),
            }
        }
    }

    /// Names to a member's watches the keys that they have not seen, while there is room.
    fn name_keys(&mut self, id: MemberId) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let leases = &self.services[member.service].leases;
        for (token, watch) in &mut member.watches {
            let token = *token;
            while let Some(named) = &mut watch.naming {
                if member.output.len() >= OUTPUT_BYTES_MAX {
                    return;
                }
                if named.is_none() {
                    News::Seeing { token }.write(&mut member.output);
                }
                match leases.next(named.as_deref(), &watch.prefix) {
                    Some((key, value)) => {
                        News::Held { token, key, value }.write(&mut member.output);
                        *named = Some(key.to_owned());
                    }
                    None => {
                        News::AllSeen { token }.write(&mut member.output);
                        watch.naming = None;
                    }
                }
                if !std::mem::replace(&mut member.is_touched, true) {
                    self.touched.push(id);
                }
            }
        }
    }

    fn say(&mut self, id: MemberId, news: News<'_>) {
        if let Some(member) = self.members.get_mut(&id) {
            news.write(&mut member.output);
            member.touch(id, &mut self.touched);
        }
    }
}

impl Member {
    fn touch(&mut self, id: MemberId, touched: &mut Vec<MemberId>) {
        if !std::mem::replace(&mut self.is_touched, true) {
            touched.push(id);
        }
    }
}

/// Writes the message's frame; returns where its token stands.
fn begin_message(frame: &mut Vec<u8>, message: &Kept) -> usize {
    frame.clear();
    write_message(frame, 0, message);
    // Behind the length and the kind.
    5
}

fn write_message(out: &mut Vec<u8>, token: u64, kept: &Kept) {
    let message = Message {
        sequence: kept.sequence,
        time_ms: kept.time_ms,
        id: &kept.id,
        bytes: &kept.bytes,
    };
    News::Message { token, message }.write(out);
}

struct Had {
    /// It has all there is.
    all: bool,
    messages: bool,
}

/// The next messages of one subscription.
fn feed_one<S: Store>(
    store: &mut S,
    line: Line<'_>,
    topic: &Topic,
    token: u64,
    subscription: &mut Subscription,
    output: &mut Vec<u8>,
) -> Had {
    let until = *subscription.until.get_or_insert(topic.last);
    let end = match subscription.live {
        true => topic.last,
        false => until,
    };
    let mut had = Had {
        all: false,
        messages: false,
    };
    let in_memory = topic
        .latest
        .front()
        .map_or(topic.last + 1, |it| it.sequence);
    if subscription.next <= end && subscription.next < in_memory {
        // Memory begins later: history has it, or nobody.
        let oldest = store.oldest(line).unwrap_or(in_memory).min(in_memory);
        let rows = match subscription.next < oldest {
            true => Vec::new(),
            false => store.read(line, subscription.next, READ_MAX),
        };
        let mut rows = rows
            .into_iter()
            .take_while(|it| it.sequence < in_memory && it.sequence <= end)
            .peekable();
        if rows.peek().is_none() {
            let last = if subscription.next < oldest {
                oldest
            } else {
                in_memory
            } - 1;
            let is_hole = store.keeps() && subscription.next >= oldest;
            if !subscription.whatever && !is_hole {
                let from = subscription.next;
                let to = last.min(end);
                News::Missed { token, from, to }.write(output);
            }
            subscription.next = last + 1;
        }
        for kept in rows {
            catch_up(token, subscription, kept.sequence - 1, output);
            write_message(output, token, &kept);
            subscription.next = kept.sequence + 1;
            had.messages = true;
        }
    } else {
        let first = topic.position(subscription.next);
        for kept in topic.latest.iter().skip(first) {
            if kept.sequence > end || output.len() >= OUTPUT_BYTES_MAX {
                break;
            }
            catch_up(token, subscription, kept.sequence - 1, output);
            write_message(output, token, kept);
            subscription.next = kept.sequence + 1;
            had.messages = true;
        }
        let left = topic.position(subscription.next);
        let more = topic.latest.get(left).is_some_and(|it| it.sequence <= end);
        if !more {
            subscription.next = subscription.next.max(end + 1);
        }
    }
    if subscription.next > until {
        catch_up(token, subscription, until, output);
    }
    had.all = subscription.next > end;
    if had.all {
        subscription.hungry = false;
    }
    had
}

/// Says that all was told that was there at first, once everything up to `so_far` has been.
fn catch_up(token: u64, subscription: &mut Subscription, so_far: u64, output: &mut Vec<u8>) {
    let until = subscription.until.unwrap_or(0);
    if !subscription.caught_up && so_far >= until {
        subscription.caught_up = true;
        let sequence = until;
        News::CaughtUp { token, sequence }.write(output);
    }
}
