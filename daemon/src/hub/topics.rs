//! The hub's topics: numbers, what is said again after a hub's death, who follows.
//!
//! Invariant: a message is admitted once, with a number above all that its topic had.

use std::rc::Rc;

use super::core::{
    Hub, LATEST_BYTES_MAX, MemberId, OUTPUT_BYTES_MAX, SUBSCRIPTIONS_MAX, Subscription, TOPICS_MAX,
};
use super::feeding::begin_message;
use super::ids::IDS_MAX;
use super::store::{Kept, Line, Store};
use super::topic::Topic;
use super::wire::{Garbled, Message, News, Start};

/// A number further ahead than this is no hub's.
const AHEAD_MAX: u64 = 1 << 32;

impl<S: Store> Hub<S> {
    pub(super) fn open(&mut self, service: usize, name: &str) -> usize {
        if let Some(number) = self.services[service].topics.get(name) {
            return *number;
        }
        if self.topics.len() >= TOPICS_MAX && (self.store.keeps() || self.cluster.is_some()) {
            self.forget_idle();
        }
        let line = Line {
            service: &self.services[service].name,
            topic: name,
        };
        let remembered = self.store.recall(line, IDS_MAX);
        self.topics_made += 1;
        let number = self.topics_made;
        self.topics
            .insert(number, Topic::new(service, name, remembered));
        let names = &mut self.services[service].topics;
        names.insert(name.to_owned(), number);
        number
    }

    /// Topics that nobody follows are all in history.
    pub(super) fn forget_idle(&mut self) {
        let services = &mut self.services;
        let followed: std::collections::HashSet<usize> = self
            .members
            .values()
            .flat_map(|member| member.subscriptions.values().map(|it| it.topic))
            .collect();
        self.topics.retain(|number, topic| {
            let is_empty = topic.restored.is_empty() && topic.pen.is_none();
            let stays = followed.contains(number) || !is_empty;
            if !stays {
                services[topic.service].topics.remove(&topic.name);
            }
            stays
        });
        self.latest_bytes = self.topics.values().map(Topic::weight).sum();
    }

    fn publish(&mut self, number: usize, id: &[u8], bytes: &[u8], time: u64) -> u64 {
        let Some(topic) = self.topics.get(&number) else {
            return 0;
        };
        if let Some(sequence) = topic.ids.known(id) {
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

    /// A member's message in a topic that is numbered here.
    pub(super) fn number(
        &mut self,
        id: MemberId,
        token: u64,
        number: usize,
        name: &[u8],
        bytes: &[u8],
        time_ms: u64,
    ) {
        let sequence = self.publish(number, name, bytes, time_ms);
        let news = News::Published {
            token,
            sequence,
            time_ms,
        };
        self.say(id, news);
        // It remembers what it was answered, also where it follows nothing.
        if let Some(member) = self.members.get_mut(&id).filter(|_| sequence > 0) {
            member.owed_stored = true;
        }
        self.count_row(id, number);
    }

    /// A message that a hub before this one has delivered.
    pub(super) fn restore(
        &mut self,
        service: usize,
        name: &str,
        message: Message<'_>,
    ) -> Result<(), Garbled> {
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
        let kept = Kept::of(message);
        if recovering {
            topic.restored.entry(message.sequence).or_insert(kept);
        } else {
            self.admit(number, kept);
        }
        Ok(())
    }

    /// A message with its number: into history, memory, and to those who follow.
    pub(super) fn admit(&mut self, number: usize, kept: Kept) {
        let Some(topic) = self.topics.get_mut(&number) else {
            return;
        };
        let line = Line {
            service: &self.services[topic.service].name,
            topic: &topic.name,
        };
        let message = Rc::new(kept);
        self.store.append(line, &message);
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
            if subscription.tells_itself {
                subscription.next = message.sequence + 1;
                continue;
            }
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

    pub(super) fn subscribe(
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
        let counts = self.cluster.is_none();
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
                if counts && next > topic.last.saturating_add(AHEAD_MAX) {
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
            tells_itself: false,
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

    pub(super) fn unfollow(&mut self, id: MemberId, token: u64, topic: usize) {
        if let Some(topic) = self.topics.get_mut(&topic) {
            topic.followers.retain(|it| *it != (id, token));
        }
    }
}
