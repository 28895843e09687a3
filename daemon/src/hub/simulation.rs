//! A world of workers around hubs that die: everything is cut into pieces, delayed and broken off by a
//! seed, and the promises of the bus are checked all the time and once more when all is at rest.

use std::collections::{BTreeMap, BTreeSet};

use super::client::{Client, Heard};
use super::core::{Hub, MemberId};
use super::wire::{Ask, Start, next_frame};
use crate::seeds::seeds;
use shelf::Shelf;

mod rest;
pub(super) mod shelf;

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// What one subscription has heard.
#[derive(Debug, Default)]
struct Log {
    topic: String,
    live: bool,
    last: u64,
    heard: Vec<(u64, Vec<u8>)>,
    missed: bool,
    caught_up: Option<u64>,
}

struct Worker {
    /// Another one than any other's.
    name: u64,
    client: Client,
    member: Option<MemberId>,
    /// Read from the hub and not understood yet.
    input: Vec<u8>,
    /// On its way to the hub.
    outbound: Vec<u8>,
    logs: BTreeMap<u64, Log>,
    /// Keys, with the claims that won them.
    holds: BTreeMap<String, u64>,
    claims: BTreeMap<u64, String>,
    seen: BTreeMap<String, Vec<u8>>,
    heard: BTreeSet<(String, u64)>,
    /// Published, and not answered.
    asked: BTreeMap<u64, (String, Vec<u8>)>,
}

struct World {
    random: Random,
    hub: Option<Hub<Shelf>>,
    shelf: Shelf,
    workers: Vec<Worker>,
    tokens: u64,
    hub_deaths: usize,
    /// Less dies in it.
    is_calm: bool,
    now_ms: u64,
    /// Number and content by topic, whoever heard it first.
    truth: BTreeMap<(String, u64), Vec<u8>>,
    place: BTreeMap<(String, Vec<u8>), u64>,
    /// Messages with ids, which are published again.
    named: Vec<(String, Vec<u8>)>,
    /// What the dead have said, and the hub has not heard yet.
    last_words: Vec<(MemberId, Vec<u8>)>,
    /// Messages that workers have numbered.
    written: usize,
}

/// The last two are nearly always followed by one worker only, which has a lot to say there.
const TOPICS: [&str; 5] = ["lobby", "den", "attic", "cell", "cave"];
const KEYS: [&str; 3] = ["nick.a", "nick.b", "nick.c"];

/// All frames that may be heard now; how many, and how many of them are messages with numbers.
fn hear_all(
    hub: &mut Hub<Shelf>,
    member: MemberId,
    said: &mut Vec<u8>,
    now_ms: u64,
) -> (usize, usize) {
    let (mut heard, mut written) = (0, 0);
    while hub.may_hear(member) {
        let Some((content, taken)) = next_frame(said).expect("well formed") else {
            break;
        };
        let was_heard = hub.hear(member, content, 1000 + now_ms, now_ms);
        was_heard.expect("clients keep the rules");
        written += usize::from(matches!(Ask::read(content), Ok(Ask::Wrote { .. })));
        said.drain(..taken);
        heard += 1;
    }
    (heard, written)
}

impl World {
    fn new(seed: u64) -> World {
        let shelf = Shelf {
            keep: usize::MAX,
            ..Shelf::default()
        };
        let mut world = World {
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            hub: Some(Hub::new(shelf.clone(), false, 0)),
            shelf,
            workers: Vec::new(),
            tokens: 0,
            hub_deaths: 0,
            is_calm: seed.is_multiple_of(2),
            now_ms: 0,
            truth: BTreeMap::new(),
            place: BTreeMap::new(),
            named: Vec::new(),
            last_words: Vec::new(),
            written: 0,
        };
        for _ in 0..4 {
            world.worker_starts();
        }
        world
    }

    fn token(&mut self) -> u64 {
        self.tokens += 1;
        self.tokens
    }

    fn worker_starts(&mut self) {
        let seed = self.token();
        let mut worker = Worker {
            name: seed,
            client: Client::new(seed),
            member: None,
            input: Vec::new(),
            outbound: Vec::new(),
            logs: BTreeMap::new(),
            holds: BTreeMap::new(),
            claims: BTreeMap::new(),
            seen: BTreeMap::new(),
            heard: BTreeSet::new(),
            asked: BTreeMap::new(),
        };
        worker.client.watch(1, "nick.").expect("room");
        if let Some(hub) = &mut self.hub {
            worker.member = Some(hub.attach("chat", false));
            worker.client.attach();
        }
        self.workers.push(worker);
    }

    fn worker_dies(&mut self, nth: usize) {
        let worker = self.workers.remove(nth);
        if let (Some(hub), Some(member)) = (&mut self.hub, worker.member) {
            match self.random.below(2) {
                0 => hub.detach(member),
                _ => {
                    hub.deafen(member);
                    self.last_words.push((member, worker.outbound));
                    let _ = self.hear_last_words();
                }
            }
        }
        self.forget_unheard();
    }

    /// As far as they may be heard; then the dead are gone.
    fn hear_last_words(&mut self) -> bool {
        let Some(hub) = &mut self.hub else {
            return false;
        };
        let mut moved = false;
        self.last_words.retain_mut(|(member, words)| {
            let (heard, written) = hear_all(hub, *member, words, self.now_ms);
            self.written += written;
            let waits = next_frame(words).expect("well formed").is_some();
            if !waits {
                hub.heard_all(*member);
                hub.detach(*member);
            }
            moved |= heard > 0 || !waits;
            waits
        });
        moved
    }

    fn hub_dies(&mut self) {
        let Some(mut hub) = self.hub.take() else {
            return;
        };
        self.shelf = hub.store().clone().after_death();
        self.last_words.clear();
        self.hub_deaths += 1;
        for worker in &mut self.workers {
            // What was in the socket is read before its end is seen, as far as it goes.
            let sent = hub.output(worker.member.expect("attached")).to_vec();
            let got = self.random.below(sent.len() as u64 + 1) as usize;
            worker.input.extend_from_slice(&sent[..got]);
            worker.member = None;
            worker.outbound.clear();
        }
        for nth in 0..self.workers.len() {
            self.listen(nth);
            let worker = &mut self.workers[nth];
            worker.input.clear();
            worker.client.lose();
        }
        self.forget_unheard();
    }

    /// What is not stored, and was heard by nobody who is alive, has never been.
    fn forget_unheard(&mut self) {
        let shelf = match &mut self.hub {
            Some(hub) => hub.store().clone(),
            None => self.shelf.clone(),
        };
        let workers = &self.workers;
        self.truth.retain(|key, content| {
            // Its number may be another message's by now.
            let known = shelf.has(&key.0, key.1, content)
                || workers.iter().any(|it| it.heard.contains(key));
            if !known {
                self.place.remove(&(key.0.clone(), content.clone()));
            }
            known
        });
    }

    fn hub_starts(&mut self) {
        let mut hub = Hub::new(self.shelf.clone(), true, self.now_ms);
        for worker in &mut self.workers {
            worker.member = Some(hub.attach("chat", true));
            worker.client.attach();
        }
        hub.expire(self.now_ms);
        self.hub = Some(hub);
    }

    /// Carries a piece of what lies between a worker and the hub, one way or the other.
    fn carry(&mut self, nth: usize, all: bool) -> bool {
        let Some(hub) = &mut self.hub else {
            return false;
        };
        hub.expire(self.now_ms);
        let worker = &mut self.workers[nth];
        let member = worker.member.expect("attached to the hub that is there");
        let part = |length: usize, random: &mut Random| match all {
            true => length,
            false => random.below(length as u64 + 1) as usize,
        };
        let is_due = all || self.random.below(4) == 0;
        let output = worker.client.output(is_due).to_vec();
        let said = part(output.len(), &mut self.random);
        worker.outbound.extend_from_slice(&output[..said]);
        worker.client.sent(said);
        let (heard, written) = hear_all(hub, member, &mut worker.outbound, self.now_ms);
        self.written += written;
        let mut moved = said > 0 || heard > 0;
        let given = part(hub.output(member).len(), &mut self.random);
        worker.input.extend_from_slice(&hub.output(member)[..given]);
        hub.sent(member, given);
        moved |= given > 0;
        self.listen(nth);
        moved | self.hear_last_words()
    }

    fn listen(&mut self, nth: usize) {
        let input = std::mem::take(&mut self.workers[nth].input);
        let mut at = 0;
        while let Some((content, taken)) = next_frame(&input[at..]).expect("well formed") {
            at += taken;
            self.hear_own(nth);
            let heard = self.workers[nth].client.hear(content);
            self.told(nth, &heard.expect("hubs keep the rules"));
            let worker = &mut self.workers[nth];
            while let Some(Heard::Seen { key, .. }) = worker.client.next_late() {
                worker.seen.remove(&key);
            }
        }
        self.workers[nth].input = input[at..].to_vec();
        self.hear_own(nth);
    }

    /// What a worker has said itself, it hears before anything else.
    fn hear_own(&mut self, nth: usize) {
        while let Some(own) = self.workers[nth].client.next_own() {
            self.told(nth, &own.heard());
        }
    }

    /// Whoever knows of a message agrees on its place.
    fn knows(&mut self, nth: usize, topic: &str, sequence: u64, content: &[u8]) {
        let key = (topic.to_owned(), sequence);
        self.workers[nth].heard.insert(key.clone());
        let known = self.truth.entry(key).or_insert_with(|| content.to_vec());
        assert_eq!(*known, content, "one message has one number");
        let key = (topic.to_owned(), content.to_vec());
        let place = *self.place.entry(key).or_insert(sequence);
        assert_eq!(place, sequence, "no message has two numbers");
    }

    fn told(&mut self, nth: usize, heard: &Heard<'_>) {
        let worker = &mut self.workers[nth];
        match heard {
            Heard::Message {
                token,
                topic,
                message,
            } => {
                let log = worker.logs.get_mut(token).expect("subscribed");
                assert!(message.sequence > log.last, "order in {log:?}");
                log.last = message.sequence;
                log.heard.push((message.sequence, message.bytes.to_vec()));
                self.knows(nth, topic, message.sequence, message.bytes);
            }
            Heard::Missed { token, to, .. } => {
                let log = worker.logs.get_mut(token).expect("subscribed");
                (log.missed, log.last) = (true, *to);
            }
            Heard::CaughtUp { token, sequence } => {
                let log = worker.logs.get_mut(token).expect("subscribed");
                assert!(log.caught_up.replace(*sequence).is_none(), "once");
                assert!(log.last <= *sequence, "nothing live before {log:?}");
                let log = &self.workers[nth].logs[token];
                self.check_log(*token, log, *sequence);
            }
            Heard::Published { token, sequence } => {
                let (topic, content) = worker.asked.remove(token).expect("answered once");
                self.knows(nth, &topic, sequence.expect("taken"), &content);
            }
            Heard::Won { token, key, .. } => {
                assert_eq!(worker.claims[token], *key);
                worker.holds.insert(key.clone(), *token);
                let holders = self.workers.iter().filter(|it| it.holds.contains_key(key));
                assert_eq!(holders.count(), 1, "holders of {key}");
            }
            Heard::Denied { .. } | Heard::Nothing | Heard::Link(_) => {}
            Heard::Lost { token, .. } => {
                worker.holds.retain(|_, held| *held != *token);
            }
            Heard::Seen { key, held, .. } => match held {
                Some(value) => drop(worker.seen.insert(key.clone(), value.to_vec())),
                None => drop(worker.seen.remove(key)),
            },
        }
    }

    /// A message, or several in a row; one that is named may be an old one.
    fn publish(&mut self, nth: usize, topic: &str, count: u64) {
        for _ in 0..count {
            let token = self.token();
            let old = self.named.len() as u64;
            let (topic, content) = match self.random.below(8) {
                0 if old > 0 => self.named[self.random.below(old) as usize].clone(),
                _ => (
                    topic.to_owned(),
                    format!("{} {token}", self.workers[nth].name).into_bytes(),
                ),
            };
            let is_old = self.named.iter().any(|it| it.1 == content);
            let is_named = is_old || token.is_multiple_of(2);
            if is_named && !is_old {
                self.named.push((topic.clone(), content.clone()));
            }
            let id: &[u8] = if is_named { &content } else { &[] };
            let worker = &mut self.workers[nth];
            let time_ms = 1000 + self.now_ms;
            if worker
                .client
                .publish(token, &topic, id, &content, time_ms)
                .is_ok()
            {
                worker.asked.insert(token, (topic, content));
            }
        }
    }

    fn step(&mut self) {
        self.now_ms += self.random.below(3);
        let nth = self.random.below(self.workers.len() as u64) as usize;
        let topic = TOPICS[self.random.below(5) as usize];
        let is_lonely = TOPICS[3..].contains(&topic);
        let key = KEYS[self.random.below(3) as usize];
        let token = self.token();
        let choice = self.random.below(100);
        let worker = &mut self.workers[nth];
        match choice {
            0..25 => {
                let follows =
                    |it: &Worker| it.logs.values().any(|log| log.live && log.topic == topic);
                let count = match (is_lonely, follows(worker)) {
                    (false, _) => 1,
                    (true, true) => self.random.below(20),
                    (true, false) => u64::from(self.random.below(20) == 0),
                };
                self.publish(nth, topic, count);
            }
            25..30 if is_lonely && self.random.below(10) > 0 && nth > 0 => {}
            25..30 => {
                let start = match self.random.below(3) {
                    0 => Start::From(1),
                    1 => Start::Last(self.random.below(20)),
                    _ => Start::From(self.random.below(50)),
                };
                let live = self.random.below(3) > 0;
                worker
                    .client
                    .subscribe(token, topic, start, live)
                    .expect("room");
                let log = Log {
                    topic: topic.to_owned(),
                    live,
                    ..Log::default()
                };
                worker.logs.insert(token, log);
            }
            30..32 => {
                let some = worker.logs.keys().next().copied();
                if let Some(token) = some
                    && worker.client.unsubscribe(token).is_ok()
                {
                    worker.logs.remove(&token);
                }
            }
            32..38 => {
                let session = format!("session {token}");
                let claimed =
                    worker
                        .client
                        .claim(token, key, session.as_bytes(), session.as_bytes());
                claimed.expect("room");
                worker.claims.insert(token, key.to_owned());
            }
            38..42 => {
                let mine = worker
                    .claims
                    .iter()
                    .find(|(_, claimed)| **claimed == key)
                    .map(|it| *it.0);
                if let Some(token) = mine {
                    let session = format!("session {token}");
                    if worker.client.release(key, session.as_bytes()).is_ok() {
                        worker.holds.retain(|_, held| *held != token);
                    }
                    worker.claims.remove(&token);
                }
            }
            42 if !self.is_calm || self.random.below(4) == 0 => self.worker_dies(nth),
            43..45 if self.workers.len() < 6 => self.worker_starts(),
            45 if !self.is_calm || self.random.below(10) == 0 => self.hub_dies(),
            46..56 => {
                if let Some(hub) = &mut self.hub {
                    hub.store().commit();
                    hub.stored();
                }
            }
            _ => drop(self.carry(nth, false)),
        }
        if self.workers.is_empty() {
            self.worker_starts();
        }
        if self.hub.is_none() && self.random.below(4) == 0 {
            self.hub_starts();
        }
        if let Some(hub) = &mut self.hub {
            while hub.pop_touched().is_some() {}
        }
    }
}

#[test]
fn whatever_dies_all_hear_the_same_once_and_a_key_has_one_holder() {
    let seeds = seeds(60);
    let all = seeds.clone().count();
    let (mut heard, mut written) = (0, 0);
    for seed in seeds {
        let run = std::panic::AssertUnwindSafe(|| {
            let mut world = World::new(seed);
            for _ in 0..1500 {
                world.step();
            }
            world.rest();
            world.check_at_rest();
            (world.truth.len(), world.written)
        });
        let counts = std::panic::catch_unwind(run);
        assert!(counts.is_ok(), "POLYPORT_SEED={seed}");
        let (in_world, of_pens) = counts.unwrap_or_default();
        (heard, written) = (heard + in_world, written + of_pens);
    }
    let few = all < 20 || heard.min(written) > 1000;
    assert!(few, "{heard} were heard, {written} numbered by workers");
}
