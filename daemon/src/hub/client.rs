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
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;

use super::core::{SUBSCRIPTIONS_MAX, WATCHES_MAX};
use super::ids::Ids;
use super::wire::{Ask, ID_BYTES_MAX, KNOWS_PENS, Message, Start, VERSION};
use super::writing::{Own, Pen};

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
pub(super) const PLUGIN_ID: u8 = 1;

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
    pub(super) seed: u64,
    published: u64,
    /// What the plugin was told.
    pub(super) linked: bool,
    pub(super) up: bool,
    pub(super) output: Vec<u8>,
    pub(super) subscriptions: BTreeMap<u64, Subscription>,
    pub(super) waiting: VecDeque<Waiting>,
    pub(super) waiting_bytes: usize,
    pub(super) unstored: VecDeque<Unstored>,
    pub(super) unstored_bytes: usize,
    pub(super) claims: BTreeMap<u64, Claim>,
    /// Claims by the marks of key and session: the names themselves are long, and there may be many.
    claim_of: HashMap<u64, u64>,
    /// Marks are made with a secret, so nobody can look for two names with the same one; and by chance
    /// no two of `CLAIMS_MAX` will ever have it.
    marks: RandomState,
    pub(super) watches: BTreeMap<u64, Watch>,
    /// Keys that turned out to be free when all had been named.
    pub(super) late_news: VecDeque<(u64, String)>,
    pub(super) pens: HashMap<Rc<str>, Pen>,
    /// Of the topic whose pen comes behind them.
    pub(super) ids_to_come: Ids<Rc<[u8]>>,
    /// Pens given back of which the hub has not said so.
    pub(super) returning: usize,
    pub(super) own: VecDeque<Own>,
    /// Answers among them.
    pub(super) own_answers: usize,
    /// Messages numbered here since there is this hub.
    pub(super) written: u64,
    /// Bytes of them at the end of the output, if there is nothing else in it.
    pub(super) gathered: usize,
    /// When something was published last.
    pub(super) time_ms: u64,
    /// It takes no pen any more.
    pub(super) is_parting: bool,
}

#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) topic: Rc<str>,
    pub(super) start: Start,
    pub(super) live: bool,
    pub(super) caught_up: bool,
}

#[derive(Debug)]
pub(super) struct Waiting {
    /// How many were published up to this one.
    pub(super) nth: u64,
    pub(super) token: u64,
    pub(super) topic: Rc<str>,
    pub(super) id: Rc<[u8]>,
    pub(super) bytes: Rc<[u8]>,
}

#[derive(Debug)]
pub(super) struct Unstored {
    pub(super) topic: Rc<str>,
    pub(super) sequence: u64,
    pub(super) time_ms: u64,
    pub(super) id: Rc<[u8]>,
    pub(super) bytes: Rc<[u8]>,
    /// How many were written up to this one, to this hub; 0 if it has heard of it.
    pub(super) written: u64,
    /// It was numbered here.
    pub(super) is_own: bool,
}

#[derive(Debug)]
pub(super) struct Claim {
    pub(super) key: String,
    pub(super) value: Box<[u8]>,
    pub(super) session: Box<[u8]>,
    pub(super) won: bool,
    /// Another value for what was won before: not answered yet, but held all the same.
    pub(super) held: bool,
}

#[derive(Debug)]
pub(super) struct Watch {
    pub(super) prefix: String,
    /// Each key that is held, and the mark of its value.
    pub(super) held: BTreeMap<Box<str>, u64>,
    /// Keys named since the hub began to name all of them.
    pub(super) named: Option<BTreeSet<String>>,
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
        time_ms: u64,
    ) -> Result<(), Refusal> {
        let weight = bytes.len() + topic.len();
        let unanswered = self.waiting.len() + self.own_answers;
        if unanswered >= WAITING_MAX || self.waiting_bytes + weight > WAITING_BYTES_MAX {
            return Err(Refusal::Full);
        }
        self.time_ms = time_ms;
        self.published += 1;
        let mut buffer = [0; ID_BYTES_MAX];
        let number = self.published.to_le_bytes();
        let id = match id {
            [] => joined(&mut buffer, OWN_ID, &[&self.seed.to_le_bytes(), &number]),
            id => joined(&mut buffer, PLUGIN_ID, &[id]),
        };
        let before = self.waiting.back().map(|it| &it.topic);
        let before = before.or(self.unstored.back().map(|it| &it.topic));
        let topic = match before.filter(|before| ***before == *topic) {
            Some(before) => Rc::clone(before),
            None => topic.into(),
        };
        let waiting = Waiting {
            nth: self.published,
            token,
            topic,
            id: id.into(),
            bytes: bytes.into(),
        };
        let waiting = match self.pens.get(&waiting.topic) {
            Some(Pen::Here(_)) => self.write_or_wait(waiting),
            Some(Pen::Taken) => Some(waiting),
            None => {
                if self.up {
                    waiting.ask().write(&mut self.output);
                }
                Some(waiting)
            }
        };
        if let Some(waiting) = waiting {
            self.waiting_bytes += weight;
            self.waiting.push_back(waiting);
        }
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
        if live {
            self.follow_without_pen(topic);
        }
        if self.up {
            subscription.ask(token).write(&mut self.output);
        }
        self.subscriptions.insert(token, subscription);
        Ok(())
    }

    pub fn unsubscribe(&mut self, token: u64) -> Result<(), Refusal> {
        let ended = self.subscriptions.remove(&token).ok_or(Refusal::Gone)?;
        self.unfollow_with_pen(&ended.topic, token);
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
        let mark = self.marks.hash_one((key, session));
        let before = self.claim_of.insert(mark, token);
        let before = before.and_then(|before| self.claims.remove(&before));
        let claim = Claim {
            key: key.to_owned(),
            value: value.into(),
            session: session.into(),
            won: false,
            held: before.is_some_and(|before| before.won || before.held),
        };
        if self.up {
            claim.ask(token).write(&mut self.output);
        }
        self.claims.insert(token, claim);
        Ok(())
    }

    pub fn release(&mut self, key: &str, session: &[u8]) -> Result<(), Refusal> {
        let mark = self.marks.hash_one((key, session));
        let token = self.claim_of.remove(&mark).ok_or(Refusal::Gone)?;
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

    /// A claim is over.
    pub(super) fn forget_claim(&mut self, token: u64) -> Option<Claim> {
        let claim = self.claims.remove(&token)?;
        let mark = self.marks.hash_one((claim.key.as_str(), &*claim.session));
        self.claim_of.remove(&mark);
        Some(claim)
    }

    pub(super) fn mark_of(&self, value: &[u8]) -> u64 {
        self.marks.hash_one(value)
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
        self.up = false;
        self.output.clear();
        self.lose_pens();
        let out = &mut self.output;
        Ask::Hello { version: VERSION }.write(out);
        Ask::Unsubscribe { token: KNOWS_PENS }.write(out);
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
        let claims = |held| {
            let is_it = move |it: &(&u64, &Claim)| (it.1.won || it.1.held) == held;
            self.claims.iter().filter(is_it)
        };
        for (token, claim) in claims(true) {
            claim.ask(*token).write(out);
        }
        Ask::Resumed.write(out);
        // First, so that whoever wins a claim knows what is held already.
        for (token, watch) in &mut self.watches {
            watch.named = None;
            let (token, prefix) = (*token, watch.prefix.as_str());
            Ask::Watch { token, prefix }.write(out);
        }
        for (token, claim) in claims(false) {
            claim.ask(*token).write(out);
        }
        for it in &self.waiting {
            it.ask().write(out);
        }
        // What is asked from now on goes behind all that.
        self.up = true;
    }

    /// The hub is gone.
    pub fn lose(&mut self) -> Heard<'static> {
        self.output.clear();
        self.lose_pens();
        self.up = false;
        self.linked(false)
    }

    /// How many messages the plugin has published.
    pub fn published(&self) -> u64 {
        self.published
    }

    /// Whether the first so many have their numbers: what anybody publishes now comes behind them. Of
    /// those that were numbered here the hub hears before it numbers anything else in their topics.
    pub fn has_settled(&self, published: u64) -> bool {
        let oldest = self.waiting.front();
        oldest.is_none_or(|it| it.nth > published)
    }

    /// Something was asked that a hub has not heard or answered yet, and that would be lost.
    pub fn has_unanswered(&self) -> bool {
        !self.waiting.is_empty() || !self.output.is_empty() || self.has_unheard()
    }

    pub fn sent(&mut self, bytes: usize) {
        self.output.drain(..bytes);
        // What is left of a frame does not wait.
        self.gathered = 0;
    }
}

/// All of it behind the mark, where it has room: an id is no longer than `ID_BYTES_MAX`.
fn joined<'a>(buffer: &'a mut [u8; ID_BYTES_MAX], mark: u8, parts: &[&[u8]]) -> &'a [u8] {
    buffer[0] = mark;
    let mut end = 1;
    for part in parts {
        buffer[end..end + part.len()].copy_from_slice(part);
        end += part.len();
    }
    &buffer[..end]
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

impl Waiting {
    pub(super) fn ask(&self) -> Ask<'_> {
        Ask::Publish {
            token: self.token,
            topic: &self.topic,
            id: &self.id,
            bytes: &self.bytes,
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
            held: self.won || self.held,
        }
    }
}

#[cfg(test)]
mod tests;
