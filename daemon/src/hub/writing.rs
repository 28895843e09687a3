//! Topics that a worker numbers itself: the half of [`Client`] that has pens.
//!
//! With the pen of a topic a message is known by its id, or gets its number at once; the hub is told
//! later, and so is the plugin: what it is to hear of its own messages lies in `own` until its worker
//! asks for it. What the hub has not stored is remembered as ever; while there is no room for that,
//! nothing is written, and messages wait.
//!
//! Invariant: while a pen is here, no message of its topic is asked of the hub; what waits is asked
//! behind the pen's return.

use std::rc::Rc;

use super::client::{
    Client, Heard, PLUGIN_ID, UNSTORED_BYTES_MAX, UNSTORED_MAX, Unstored, Waiting,
};
use super::ids::Ids;
use super::wire::{self, Ask, Message, Start};

/// Of what was only written, so much lies in the output before it is to be sent at once.
const GATHERED_BYTES_MAX: usize = 16 * 1024;

#[derive(Debug)]
pub(super) enum Pen {
    /// It was taken, and is not here yet.
    Taken,
    Here(Writing),
}

#[derive(Debug)]
pub(super) struct Writing {
    topic: Rc<str>,
    last: u64,
    time_ms: u64,
    ids: Ids<Rc<[u8]>>,
    /// Subscriptions that hear of it without the hub.
    tokens: Vec<u64>,
}

/// What the plugin is to hear of its own messages.
#[derive(Debug)]
pub struct Own {
    token: u64,
    news: OwnNews,
}

#[derive(Debug)]
enum OwnNews {
    Message {
        topic: Rc<str>,
        sequence: u64,
        time_ms: u64,
        id: Rc<[u8]>,
        bytes: Rc<[u8]>,
    },
    Published(u64),
}

impl Own {
    pub fn heard(&self) -> Heard<'_> {
        let token = self.token;
        match &self.news {
            OwnNews::Message {
                topic,
                sequence,
                time_ms,
                id,
                bytes,
            } => Heard::Message {
                token,
                topic: Rc::clone(topic),
                message: Message {
                    sequence: *sequence,
                    time_ms: *time_ms,
                    id: without_mark(id),
                    bytes,
                },
            },
            OwnNews::Published(sequence) => Heard::Published {
                token,
                sequence: Some(*sequence),
            },
        }
    }
}

/// The id as the plugin gave it, if it did.
pub(super) fn without_mark(id: &[u8]) -> &[u8] {
    match id {
        [PLUGIN_ID, id @ ..] => id,
        _ => &[],
    }
}

impl Client {
    // --- what the hub says ---------------------------------------------------------------------

    /// The pen of a topic may be had: from now on, what is published there waits for it.
    pub(super) fn offered(&mut self, topic: &str) {
        let follows = self
            .subscriptions
            .values()
            .any(|it| it.live && *it.topic == *topic);
        if !follows || self.is_parting || self.pens.contains_key(topic) {
            return;
        }
        Ask::Take { topic }.write(&mut self.output);
        self.pens.insert(topic.into(), Pen::Taken);
    }

    pub(super) fn known_ids(&mut self, ids: wire::PackedIds<'_>) {
        for (sequence, id) in ids.iter() {
            self.ids_to_come.note(id.into(), sequence);
        }
    }

    pub(super) fn has_pen(&mut self, topic: &str, last: u64, time_ms: u64) {
        let ids = std::mem::take(&mut self.ids_to_come);
        let mut tokens = Vec::new();
        let mut has_all = !self.is_parting;
        let mut name = None;
        let followed =
            |it: &(&u64, &super::client::Subscription)| it.1.live && *it.1.topic == *topic;
        for (token, subscription) in self.subscriptions.iter().filter(followed) {
            has_all &= subscription.caught_up && subscription.start == Start::Again(last + 1);
            name = Some(Rc::clone(&subscription.topic));
            tokens.push(*token);
        }
        let (Some(name), true) = (name, has_all) else {
            // What was asked meanwhile goes by the hub.
            return self.return_pen(topic);
        };
        let writing = Writing {
            topic: Rc::clone(&name),
            last,
            time_ms,
            ids,
            tokens,
        };
        self.pens.insert(name, Pen::Here(writing));
        self.write_waiting();
    }

    pub(super) fn recalled(&mut self, topic: &str) {
        match self.pens.get(topic) {
            Some(Pen::Here(_)) => self.return_pen(topic),
            Some(Pen::Taken) => {
                self.pens.remove(topic);
                self.ask_waiting(topic);
            }
            None => {}
        }
    }

    pub(super) fn has_stored(&mut self, count: u64) {
        self.unstored.retain(|it| it.written > count);
        self.unstored_bytes = self.unstored.iter().map(|it| it.bytes.len()).sum();
        self.write_waiting();
    }

    // --- what the plugin asks ------------------------------------------------------------------

    /// Numbers what waits in topics whose pens are here, as far as it can be remembered.
    fn write_waiting(&mut self) {
        let mut at = 0;
        while let Some(waiting) = self.waiting.get(at) {
            let is_here = matches!(self.pens.get(&waiting.topic), Some(Pen::Here(_)));
            if is_here && !self.may_write(waiting.bytes.len()) {
                return;
            }
            match is_here.then(|| self.waiting.remove(at)).flatten() {
                Some(waiting) => {
                    self.waiting_bytes -= waiting.bytes.len() + waiting.topic.len();
                    self.write(waiting);
                }
                None => at += 1,
            }
        }
    }

    fn may_write(&self, bytes: usize) -> bool {
        self.unstored.len() < UNSTORED_MAX && self.unstored_bytes + bytes <= UNSTORED_BYTES_MAX
    }

    /// The same for a message that was just published; it is given back if it has to wait.
    pub(super) fn write_or_wait(&mut self, message: Waiting) -> Option<Waiting> {
        let before = self.waiting.iter().any(|it| it.topic == message.topic);
        if before || !self.may_write(message.bytes.len()) {
            return Some(message);
        }
        self.write(message);
        None
    }

    /// Gives a message its number, if it is a new one.
    fn write(&mut self, message: Waiting) {
        let Some(Pen::Here(pen)) = self.pens.get_mut(&message.topic) else {
            return;
        };
        let Waiting {
            token, id, bytes, ..
        } = message;
        let sequence = pen.ids.known(&id).unwrap_or(pen.last + 1);
        if sequence > pen.last {
            pen.last = sequence;
            pen.time_ms = pen.time_ms.max(self.time_ms);
            pen.ids.note(Rc::clone(&id), sequence);
            let message = Message {
                sequence,
                time_ms: pen.time_ms,
                id: &id,
                bytes: &bytes,
            };
            let topic = &pen.topic;
            let before = self.output.len();
            Ask::Wrote { topic, message }.write(&mut self.output);
            self.gathered += self.output.len() - before;
            self.written += 1;
            for token in &pen.tokens {
                self.own.push_back(Own {
                    token: *token,
                    news: OwnNews::Message {
                        topic: Rc::clone(topic),
                        sequence,
                        time_ms: pen.time_ms,
                        id: Rc::clone(&id),
                        bytes: Rc::clone(&bytes),
                    },
                });
            }
            self.unstored_bytes += bytes.len();
            self.unstored.push_back(Unstored {
                topic: Rc::clone(topic),
                sequence,
                time_ms: pen.time_ms,
                id,
                bytes,
                written: self.written,
                is_own: true,
            });
        }
        self.own_answers += 1;
        self.own.push_back(Own {
            token,
            news: OwnNews::Published(sequence),
        });
    }

    /// A new subscription has to be told by the hub what was there before.
    pub(super) fn follow_without_pen(&mut self, topic: &str) {
        if matches!(self.pens.get(topic), Some(Pen::Here(_))) {
            self.return_pen(topic);
        }
    }

    pub(super) fn unfollow_with_pen(&mut self, topic: &str, token: u64) {
        if let Some(Pen::Here(pen)) = self.pens.get_mut(topic) {
            pen.tokens.retain(|it| *it != token);
            if pen.tokens.is_empty() {
                self.return_pen(topic);
            }
        }
    }

    // --- what its worker asks ------------------------------------------------------------------

    /// What the plugin is to hear next of its own messages.
    pub fn next_own(&mut self) -> Option<Own> {
        loop {
            let own = self.own.pop_front()?;
            let OwnNews::Message { sequence, .. } = own.news else {
                self.own_answers -= 1;
                return Some(own);
            };
            // It may have ended since.
            let Some(subscription) = self.subscriptions.get_mut(&own.token) else {
                continue;
            };
            match subscription.start {
                Start::Again(next) if sequence < next => {}
                _ => {
                    subscription.start = Start::Again(sequence + 1);
                    return Some(own);
                }
            }
        }
    }

    /// Sessions are about to go on elsewhere, or to end: from now on the hub numbers everything.
    pub fn part(&mut self) {
        self.is_parting = true;
        let topics: Vec<Rc<str>> = self.pens.keys().map(Rc::clone).collect();
        for topic in topics {
            if matches!(self.pens.get(&topic), Some(Pen::Here(_))) {
                self.return_pen(&topic);
            }
        }
    }

    /// What is to be said to the hub; unless all of it is due, not what was only written.
    pub fn output(&self, is_due: bool) -> &[u8] {
        let is_late = self.gathered == self.output.len() && self.gathered < GATHERED_BYTES_MAX;
        match is_late && !is_due {
            true => &[],
            false => &self.output,
        }
    }

    // --- the end of a pen ----------------------------------------------------------------------

    fn return_pen(&mut self, topic: &str) {
        self.pens.remove(topic);
        self.returning += 1;
        Ask::Return { topic }.write(&mut self.output);
        self.ask_waiting(topic);
    }

    fn ask_waiting(&mut self, topic: &str) {
        for waiting in self.waiting.iter().filter(|it| *it.topic == *topic) {
            waiting.ask().write(&mut self.output);
        }
    }

    /// The hub is gone, and all pens with it.
    pub(super) fn lose_pens(&mut self) {
        self.pens.clear();
        self.ids_to_come = Ids::default();
        (self.returning, self.gathered, self.written) = (0, 0, 0);
        for it in &mut self.unstored {
            it.written = 0;
        }
    }

    /// What was written has not come to a hub for certain.
    pub(super) fn has_unheard(&self) -> bool {
        let is_lost = !self.up && self.unstored.iter().any(|it| it.is_own);
        is_lost || self.returning > 0 || !self.own.is_empty()
    }
}
