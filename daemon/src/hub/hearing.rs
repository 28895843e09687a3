//! What the frames of a hub mean to a worker: the half of [`Client`] that listens.
//!
//! Invariant: what was said by one hub and again by the next is told once.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::client::{Claim, Client, Heard, UNSTORED_BYTES_MAX, UNSTORED_MAX, Unstored, Waiting};
use super::wire::{Garbled, Message, News, Start, VERSION};
use super::writing::without_mark;

impl Client {
    /// What follows from the frame before, beside what it said itself.
    pub fn next_late(&mut self) -> Option<Heard<'static>> {
        let (token, key) = self.late_news.pop_front()?;
        Some(Heard::Seen {
            token,
            key,
            held: None,
        })
    }

    /// There is more of that.
    pub fn has_late(&self) -> bool {
        !self.late_news.is_empty() || !self.own.is_empty()
    }

    /// One frame's content. After an error the hub is to be given up.
    pub fn hear<'a>(&mut self, content: &'a [u8]) -> Result<Heard<'a>, Garbled> {
        Ok(match News::read(content)? {
            News::Welcome { version: VERSION } => self.linked(true),
            News::Welcome { .. } => return Err(Garbled("another version")),
            News::Message { token, message } => self.message(token, message),
            News::Missed { token, from, to } => self.missed(token, from, to),
            News::CaughtUp { token, sequence } => self.caught_up(token, sequence),
            News::Published {
                token,
                sequence,
                time_ms,
            } => self.answered(token, sequence, time_ms),
            News::Won { token } => match self.claims.get_mut(&token) {
                Some(claim) if !claim.won => {
                    claim.won = true;
                    Heard::Won {
                        token,
                        key: claim.key.clone(),
                        value: claim.value.to_vec(),
                    }
                }
                Some(_) | None => Heard::Nothing,
            },
            News::Denied { token, value } => self.denied(token, value),
            News::Held { token, key, value } => self.held(token, key, value),
            News::Free { token, key } => match self.watches.get_mut(&token) {
                Some(watch) => {
                    if let Some(named) = &mut watch.named {
                        named.remove(key);
                    }
                    match watch.held.remove(key) {
                        Some(_) => Heard::Seen {
                            token,
                            key: key.to_owned(),
                            held: None,
                        },
                        None => Heard::Nothing,
                    }
                }
                None => Heard::Nothing,
            },
            News::Seeing { token } => {
                if let Some(watch) = self.watches.get_mut(&token) {
                    watch.named = Some(BTreeSet::new());
                }
                Heard::Nothing
            }
            News::AllSeen { token } => {
                if let Some(watch) = self.watches.get_mut(&token)
                    && let Some(named) = watch.named.take()
                {
                    let late = &mut self.late_news;
                    watch.held.retain(|key, _| {
                        let stays = named.contains(&**key);
                        if !stays {
                            late.push_back((token, key.to_string()));
                        }
                        stays
                    });
                }
                Heard::Nothing
            }
            News::Stored => self.quietly(|client| client.has_stored(0)),
            News::StoredWritten { count } => self.quietly(|client| client.has_stored(count)),
            News::Away => self.linked(false),
            News::Offer { topic } => self.quietly(|client| client.offered(topic)),
            News::Ids { ids } => self.quietly(|client| client.known_ids(ids)),
            News::Pen {
                topic,
                last,
                time_ms,
            } => self.quietly(|client| client.has_pen(topic, last, time_ms)),
            News::Recall { topic } => self.quietly(|client| client.recalled(topic)),
            News::Returned => {
                self.quietly(|client| client.returning = client.returning.saturating_sub(1))
            }
        })
    }

    /// The plugin is not told of it.
    fn quietly(&mut self, what: impl FnOnce(&mut Client)) -> Heard<'static> {
        what(self);
        Heard::Nothing
    }

    pub(super) fn linked(&mut self, linked: bool) -> Heard<'static> {
        match std::mem::replace(&mut self.linked, linked) == linked {
            true => Heard::Nothing,
            false => Heard::Link(linked),
        }
    }

    fn message<'a>(&mut self, token: u64, message: Message<'a>) -> Heard<'a> {
        let Some(subscription) = self.subscriptions.get_mut(&token) else {
            return Heard::Nothing;
        };
        match subscription.start {
            Start::Again(next) if message.sequence < next => return Heard::Nothing,
            _ => subscription.start = Start::Again(message.sequence + 1),
        }
        let topic = Rc::clone(&subscription.topic);
        self.remember(Rc::clone(&topic), message);
        let id = without_mark(message.id);
        Heard::Message {
            token,
            topic,
            message: Message { id, ..message },
        }
    }

    /// Keeps a message until it is known to be stored.
    fn remember(&mut self, topic: Rc<str>, message: Message<'_>) {
        // Several subscriptions of a topic hear of it one after the other.
        let known = self.unstored.iter().rev().take(4);
        if known
            .into_iter()
            .any(|it| it.sequence == message.sequence && it.topic == topic)
        {
            return;
        }
        self.unstored_bytes += message.bytes.len();
        // Nearly always one's own is the first that waits for its number: both are kept once.
        let own = self.waiting.front();
        let own = own.filter(|own| *own.id == *message.id && *own.bytes == *message.bytes);
        let (id, bytes) = match own {
            Some(own) => (Rc::clone(&own.id), Rc::clone(&own.bytes)),
            None => (message.id.into(), message.bytes.into()),
        };
        self.unstored.push_back(Unstored {
            topic,
            sequence: message.sequence,
            time_ms: message.time_ms,
            id,
            bytes,
            written: 0,
            is_own: false,
        });
        while self.unstored.len() > UNSTORED_MAX || self.unstored_bytes > UNSTORED_BYTES_MAX {
            // What was numbered here nobody else remembers.
            let others = self.unstored.iter().position(|it| !it.is_own);
            let Some(oldest) = self.unstored.remove(others.unwrap_or(0)) else {
                return;
            };
            self.unstored_bytes -= oldest.bytes.len();
        }
    }

    fn missed(&mut self, token: u64, from: u64, to: u64) -> Heard<'static> {
        let Some(subscription) = self.subscriptions.get_mut(&token) else {
            return Heard::Nothing;
        };
        let from = match subscription.start {
            Start::Again(next) => from.max(next),
            _ => from,
        };
        if from > to {
            return Heard::Nothing;
        }
        subscription.start = Start::Again(to + 1);
        Heard::Missed { token, from, to }
    }

    fn caught_up(&mut self, token: u64, sequence: u64) -> Heard<'static> {
        let Some(subscription) = self.subscriptions.get_mut(&token) else {
            return Heard::Nothing;
        };
        let next = match subscription.start {
            // It may have begun behind all that there is.
            Start::Again(next) | Start::From(next) => next.max(sequence + 1),
            Start::Last(_) => sequence + 1,
        };
        subscription.start = Start::Again(next);
        let first = !std::mem::replace(&mut subscription.caught_up, true);
        if !subscription.live {
            self.subscriptions.remove(&token);
        }
        match first {
            true => Heard::CaughtUp { token, sequence },
            false => Heard::Nothing,
        }
    }

    fn answered(&mut self, token: u64, sequence: u64, time_ms: u64) -> Heard<'static> {
        // Answers come in the order of the questions.
        let Some(place) = self.waiting.iter().position(|it| it.token == token) else {
            return Heard::Nothing;
        };
        if let Some(waiting) = self.waiting.remove(place) {
            self.waiting_bytes -= waiting.bytes.len() + waiting.topic.len();
            if sequence > 0 {
                self.remember_own(waiting, sequence, time_ms);
            }
        }
        let sequence = (sequence > 0).then_some(sequence);
        Heard::Published { token, sequence }
    }

    /// One's own message was numbered, and perhaps nobody else has heard of it.
    fn remember_own(&mut self, waiting: Waiting, sequence: u64, time_ms: u64) {
        let message = Message {
            sequence,
            time_ms,
            id: &waiting.id,
            bytes: &waiting.bytes,
        };
        self.remember(waiting.topic, message);
    }

    fn denied<'a>(&mut self, token: u64, value: &'a [u8]) -> Heard<'a> {
        let Some(Claim { key, won, .. }) = self.forget_claim(token) else {
            return Heard::Nothing;
        };
        match won {
            true => Heard::Lost { token, key, value },
            false => Heard::Denied { token, key, value },
        }
    }

    fn held<'a>(&mut self, token: u64, key: &str, value: &'a [u8]) -> Heard<'a> {
        let mark = self.mark_of(value);
        let Some(watch) = self.watches.get_mut(&token) else {
            return Heard::Nothing;
        };
        if let Some(named) = &mut watch.named {
            named.insert(key.to_owned());
        }
        let before = watch.held.insert(key.into(), mark);
        match before == Some(mark) {
            true => Heard::Nothing,
            false => Heard::Seen {
                token,
                key: key.to_owned(),
                held: Some(value),
            },
        }
    }
}
