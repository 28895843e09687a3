//! The worker's end of the bus: what its plugin has asked for and is to be told.
//!
//! Sans-IO, like the core. What the plugin asks is written down and, while the hub is there, put into
//! `output`; each frame of the hub becomes what the plugin is to `Heard`, or nothing. When a hub is lost
//! and another one comes, everything is said again: what may not be stored, where each subscription
//! stands, what is held, and then what was asked and never answered.
//!
//! Invariant: each message that was taken is answered by one `Published`; a subscription is told of no
//! number twice, and of none that is lower than one before.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::rc::Rc;

use super::core::{SUBSCRIPTIONS_MAX, WATCHES_MAX};
use super::wire::{Ask, Garbled, Message, News, Start, VERSION};

/// Messages of one worker that wait for the hub's answer, and their bytes.
pub const WAITING_MAX: usize = 1000;
pub const WAITING_BYTES_MAX: usize = 4 << 20;
/// Messages that are remembered because they may not be stored, and their bytes.
pub const UNSTORED_MAX: usize = 4096;
pub const UNSTORED_BYTES_MAX: usize = 4 << 20;
/// Claims of one worker.
pub const CLAIMS_MAX: usize = 65_536;
/// Said to the hub and not sent yet: beyond that, only what the plugin may not be refused is taken.
pub const OUTPUT_BYTES_MAX: usize = 8 << 20;

/// Whose id it is: the first byte of each on the wire.
const OWN_ID: u8 = 0;
const PLUGIN_ID: u8 = 1;

/// Why something was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Full,
    Gone,
    /// The token is in use.
    Used,
}

/// What the plugin is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard<'a> {
    Nothing,
    Link(bool),
    Message {
        token: u64,
        topic: Rc<str>,
        message: Message<'a>,
    },
    Missed {
        token: u64,
        from: u64,
        to: u64,
    },
    CaughtUp {
        token: u64,
        sequence: u64,
    },
    /// `None`: there are too many topics.
    Published {
        token: u64,
        sequence: Option<u64>,
    },
    Won {
        token: u64,
        key: String,
        value: Vec<u8>,
    },
    Denied {
        token: u64,
        key: String,
        value: &'a [u8],
    },
    Lost {
        token: u64,
        key: String,
        value: &'a [u8],
    },
    Seen {
        token: u64,
        key: String,
        held: Option<&'a [u8]>,
    },
}

#[derive(Debug, Default)]
pub struct Client {
    /// Makes this worker's ids unlike those of others.
    seed: u64,
    published: u64,
    attached: bool,
    up: bool,
    output: Vec<u8>,
    subscriptions: BTreeMap<u64, Subscription>,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    unstored: VecDeque<Unstored>,
    unstored_bytes: usize,
    claims: BTreeMap<u64, Claim>,
    claim_of: HashMap<(String, Box<[u8]>), u64>,
    watches: BTreeMap<u64, Watch>,
    /// Keys that turned out to be free when all had been named.
    late_news: VecDeque<(u64, String)>,
}

#[derive(Debug)]
struct Subscription {
    topic: Rc<str>,
    start: Start,
    live: bool,
    caught_up: bool,
}

#[derive(Debug)]
struct Waiting {
    token: u64,
    topic: Rc<str>,
    id: Box<[u8]>,
    bytes: Box<[u8]>,
}

#[derive(Debug)]
struct Unstored {
    topic: Rc<str>,
    sequence: u64,
    time_ms: u64,
    id: Box<[u8]>,
    bytes: Box<[u8]>,
}

#[derive(Debug)]
struct Claim {
    key: String,
    value: Box<[u8]>,
    session: Box<[u8]>,
    won: bool,
}

#[derive(Debug)]
struct Watch {
    prefix: String,
    held: BTreeMap<String, Box<[u8]>>,
    /// Keys named since the hub began to name all of them.
    named: Option<BTreeSet<String>>,
}

impl Client {
    pub fn new(seed: u64) -> Client {
        Client {
            seed,
            ..Client::default()
        }
    }

    // --- the plugin's side ---------------------------------------------------------------------

    pub fn publish(
        &mut self,
        token: u64,
        topic: &str,
        id: &[u8],
        bytes: &[u8],
    ) -> Result<(), Refusal> {
        let weight = bytes.len() + topic.len();
        if self.waiting.len() >= WAITING_MAX || self.waiting_bytes + weight > WAITING_BYTES_MAX {
            return Err(Refusal::Full);
        }
        self.published += 1;
        let id = match id {
            [] => {
                let number = self.published.to_le_bytes();
                [&[OWN_ID][..], &self.seed.to_le_bytes(), &number].concat()
            }
            id => [&[PLUGIN_ID], id].concat(),
        };
        if self.up {
            let ask = Ask::Publish {
                token,
                topic,
                id: &id,
                bytes,
            };
            ask.write(&mut self.output);
        }
        self.waiting_bytes += weight;
        self.waiting.push_back(Waiting {
            token,
            topic: topic.into(),
            id: id.into(),
            bytes: bytes.into(),
        });
        Ok(())
    }

    pub fn subscribe(
        &mut self,
        token: u64,
        topic: &str,
        start: Start,
        live: bool,
    ) -> Result<(), Refusal> {
        self.admit(self.subscriptions.len() < SUBSCRIPTIONS_MAX)?;
        if self.subscriptions.contains_key(&token) {
            return Err(Refusal::Used);
        }
        let subscription = Subscription {
            topic: topic.into(),
            start,
            live,
            caught_up: false,
        };
        if self.up {
            subscription.ask(token).write(&mut self.output);
        }
        self.subscriptions.insert(token, subscription);
        Ok(())
    }

    pub fn unsubscribe(&mut self, token: u64) -> Result<(), Refusal> {
        self.subscriptions.remove(&token).ok_or(Refusal::Gone)?;
        if self.up {
            Ask::Unsubscribe { token }.write(&mut self.output);
        }
        Ok(())
    }

    pub fn claim(
        &mut self,
        token: u64,
        key: &str,
        value: &[u8],
        session: &[u8],
    ) -> Result<(), Refusal> {
        self.admit(self.claims.len() < CLAIMS_MAX)?;
        if self.claims.contains_key(&token) {
            return Err(Refusal::Used);
        }
        let claim = Claim {
            key: key.to_owned(),
            value: value.into(),
            session: session.into(),
            won: false,
        };
        if self.up {
            claim.ask(token).write(&mut self.output);
        }
        let name = (key.to_owned(), Box::from(session));
        if let Some(before) = self.claim_of.insert(name, token) {
            self.claims.remove(&before);
        }
        self.claims.insert(token, claim);
        Ok(())
    }

    pub fn release(&mut self, key: &str, session: &[u8]) -> Result<(), Refusal> {
        let name = (key.to_owned(), Box::from(session));
        let token = self.claim_of.remove(&name).ok_or(Refusal::Gone)?;
        self.claims.remove(&token);
        if self.up {
            Ask::Release { key, session }.write(&mut self.output);
        }
        Ok(())
    }

    pub fn watch(&mut self, token: u64, prefix: &str) -> Result<(), Refusal> {
        self.admit(self.watches.len() < WATCHES_MAX)?;
        if self.watches.contains_key(&token) {
            return Err(Refusal::Used);
        }
        if self.up {
            Ask::Watch { token, prefix }.write(&mut self.output);
        }
        let watch = Watch {
            prefix: prefix.to_owned(),
            held: BTreeMap::new(),
            named: None,
        };
        self.watches.insert(token, watch);
        Ok(())
    }

    pub fn unwatch(&mut self, token: u64) -> Result<(), Refusal> {
        self.watches.remove(&token).ok_or(Refusal::Gone)?;
        if self.up {
            Ask::Unwatch { token }.write(&mut self.output);
        }
        Ok(())
    }

    fn admit(&self, room: bool) -> Result<(), Refusal> {
        match room && self.output.len() < OUTPUT_BYTES_MAX {
            true => Ok(()),
            false => Err(Refusal::Full),
        }
    }

    // --- the worker's side ---------------------------------------------------------------------

    /// There is a hub. What is to be said first lies in the output.
    pub fn attach(&mut self) {
        self.attached = true;
        self.up = false;
        self.output.clear();
        let out = &mut self.output;
        Ask::Hello { version: VERSION }.write(out);
        for it in &self.unstored {
            let message = Message {
                sequence: it.sequence,
                time_ms: it.time_ms,
                id: &it.id,
                bytes: &it.bytes,
            };
            let topic = &it.topic;
            Ask::Restore { topic, message }.write(out);
        }
        for (token, subscription) in &self.subscriptions {
            subscription.ask(*token).write(out);
        }
        let claims = |held| self.claims.iter().filter(move |(_, it)| it.won == held);
        for (token, claim) in claims(true) {
            claim.ask(*token).write(out);
        }
        Ask::Resumed.write(out);
        for (token, claim) in claims(false) {
            claim.ask(*token).write(out);
        }
        for (token, watch) in &mut self.watches {
            watch.named = None;
            let (token, prefix) = (*token, watch.prefix.as_str());
            Ask::Watch { token, prefix }.write(out);
        }
        for it in &self.waiting {
            let ask = Ask::Publish {
                token: it.token,
                topic: &it.topic,
                id: &it.id,
                bytes: &it.bytes,
            };
            ask.write(out);
        }
        // What is asked from now on goes behind all that.
        self.up = true;
    }

    /// The hub is gone.
    pub fn lose(&mut self) -> Heard<'static> {
        self.output.clear();
        self.up = false;
        match std::mem::take(&mut self.attached) {
            true => Heard::Link(false),
            false => Heard::Nothing,
        }
    }

    pub fn output(&self) -> &[u8] {
        &self.output
    }

    pub fn sent(&mut self, bytes: usize) {
        self.output.drain(..bytes);
    }

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
        !self.late_news.is_empty()
    }

    /// One frame's content. After an error the hub is to be given up.
    pub fn hear<'a>(&mut self, content: &'a [u8]) -> Result<Heard<'a>, Garbled> {
        Ok(match News::read(content)? {
            News::Welcome { version: VERSION } => Heard::Link(true),
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
                        let stays = named.contains(key);
                        if !stays {
                            late.push_back((token, key.clone()));
                        }
                        stays
                    });
                }
                Heard::Nothing
            }
            News::Stored => {
                self.unstored.clear();
                self.unstored_bytes = 0;
                Heard::Nothing
            }
        })
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
        let id = match message.id {
            [PLUGIN_ID, id @ ..] => id,
            _ => &[],
        };
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
        self.unstored.push_back(Unstored {
            topic,
            sequence: message.sequence,
            time_ms: message.time_ms,
            id: message.id.into(),
            bytes: message.bytes.into(),
        });
        while self.unstored.len() > UNSTORED_MAX || self.unstored_bytes > UNSTORED_BYTES_MAX {
            let Some(oldest) = self.unstored.pop_front() else {
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
            Start::Again(next) => next.max(sequence + 1),
            _ => sequence + 1,
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
        let Some(claim) = self.claims.remove(&token) else {
            return Heard::Nothing;
        };
        let Claim {
            key, session, won, ..
        } = claim;
        let name = (key, session);
        self.claim_of.remove(&name);
        let key = name.0;
        match won {
            true => Heard::Lost { token, key, value },
            false => Heard::Denied { token, key, value },
        }
    }

    fn held<'a>(&mut self, token: u64, key: &str, value: &'a [u8]) -> Heard<'a> {
        let Some(watch) = self.watches.get_mut(&token) else {
            return Heard::Nothing;
        };
        if let Some(named) = &mut watch.named {
            named.insert(key.to_owned());
        }
        let before = watch.held.insert(key.to_owned(), value.into());
        match before.as_deref() == Some(value) {
            true => Heard::Nothing,
            false => Heard::Seen {
                token,
                key: key.to_owned(),
                held: Some(value),
            },
        }
    }
}

impl Subscription {
    fn ask(&self, token: u64) -> Ask<'_> {
        Ask::Subscribe {
            token,
            topic: &self.topic,
            start: self.start,
            live: self.live,
        }
    }
}

impl Claim {
    fn ask(&self, token: u64) -> Ask<'_> {
        Ask::Claim {
            token,
            key: &self.key,
            value: &self.value,
            session: &self.session,
            held: self.won,
        }
    }
}
