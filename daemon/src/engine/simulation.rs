//! Random worlds around the engine: peers that speak, stall, half-close and reset at any moment, and
//! sockets that give and take any number of bytes. After each step the engine must keep its word.
//!
//! A failure prints its seed; `one_world(seed)` runs it again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::desk::{Desk, Refusal, Said};
use super::session::{End, Facts, Fed, Protocol, TimerToken, Token};
use super::streams::{After, Parted, READ_BYTES, Streams};
use crate::plan::Limits;

const RECORD: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Everything back, from the lent input.
    Echo,
    /// Whole records back, one write each; stops at the first refusal.
    Records,
    /// What it hears goes to another session as well.
    Relay,
    /// Echoes, and finishes after so many bytes.
    Closer,
    /// Answers the peer's FIN only later, from a timer; pauses now and then.
    Slow,
}

const KINDS: [Kind; 5] = [
    Kind::Echo,
    Kind::Records,
    Kind::Relay,
    Kind::Closer,
    Kind::Slow,
];

/// Speaks all kinds, and is the oracle of what was said to whom.
struct Script {
    desk: Desk,
    random: Random,
    said: BTreeMap<Token, Vec<u8>>,
    open: BTreeSet<Token>,
    closed: BTreeMap<Token, End>,
    finished_late: Vec<(TimerToken, Token)>,
}

impl Script {
    fn say(&mut self, session: Token, said: Said<'_>, bytes: &[u8]) -> Result<(), Refusal> {
        self.desk.write(session, said, false)?;
        self.said
            .entry(session)
            .or_default()
            .extend_from_slice(bytes);
        Ok(())
    }

    fn later(&mut self, session: Token) {
        let delay_ms = self.random.below(50);
        if let Ok(timer) = self.desk.timer_set(delay_ms, 0) {
            self.finished_late.push((timer, session));
        }
    }
}

impl Protocol for Script {
    type State = Kind;

    fn open(&mut self, session: Token, facts: &Facts<'_>) -> Result<Kind, End> {
        assert!(
            !self.closed.contains_key(&session),
            "a token is never used twice"
        );
        let kind = KINDS[facts.peer.port() as usize % KINDS.len()];
        if self.random.below(40) == 0 {
            return Err(End::Aborted);
        }
        assert!(self.open.insert(session));
        self.said.insert(session, Vec::new());
        Ok(kind)
    }

    fn feed(&mut self, session: Token, kind: Kind, input: &[u8]) -> Fed {
        assert!(self.open.contains(&session), "no feed after closed");
        let before = self.said[&session].len();
        match kind {
            Kind::Echo | Kind::Slow | Kind::Closer => {
                if self
                    .say(session, Said::Lent(0, input.len()), input)
                    .is_err()
                {
                    return Fed::Full;
                }
                if kind == Kind::Slow && self.random.below(8) == 0 {
                    self.desk.pause(session, true).expect("it is open");
                    self.later(session);
                }
                if kind == Kind::Closer && before > 20_000 {
                    self.desk
                        .close(session, false, "enough")
                        .expect("it is open");
                }
                Fed::Took(input.len())
            }
            Kind::Records => {
                let mut consumed = 0;
                while consumed + RECORD <= input.len() {
                    let end = consumed + RECORD;
                    let record = &input[consumed..end];
                    if self
                        .say(session, Said::Lent(consumed, end), record)
                        .is_err()
                    {
                        break;
                    }
                    consumed = end;
                }
                Fed::Took(consumed)
            }
            Kind::Relay => {
                let nth = self.random.below(self.open.len() as u64) as usize;
                let other = *self.open.iter().nth(nth).expect("it is below the length");
                // A refusal loses the message for that one, as in a chat.
                let _ = self.say(other, Said::Bytes(input), input);
                let _ = self.say(
                    other,
                    Said::Lent(0, input.len() / 2),
                    &input[..input.len() / 2],
                );
                if self.random.below(500) == 0 {
                    let _ = self.desk.close(other, true, "by another");
                }
                Fed::Took(input.len())
            }
        }
    }

    fn peer_finished(&mut self, session: Token, kind: Kind) -> Result<bool, End> {
        if kind == Kind::Slow {
            self.later(session);
        }
        Ok(kind == Kind::Slow)
    }

    fn writable(&mut self, session: Token, _: Kind) -> Result<(), End> {
        assert!(self.open.contains(&session), "no writable after closed");
        Ok(())
    }

    fn closed(&mut self, session: Token, _: Kind, why: End) {
        assert!(self.open.remove(&session), "closed once for each open");
        self.closed.insert(session, why);
        assert_eq!(self.desk.queued(session), Err(Refusal::Gone));
        if let Some(other) = self.open.first().copied() {
            let _ = self.say(other, Said::Bytes(b"one left"), b"one left");
        }
    }

    fn timer(&mut self, timer: TimerToken, _: u64) {
        let at = self.finished_late.iter().position(|(t, _)| *t == timer);
        let (_, session) = self
            .finished_late
            .remove(at.expect("an armed timer fires once"));
        if self.random.below(3) == 0 {
            // Paused or not.
            let _ = self.desk.close(session, false, "late");
        } else if self.open.contains(&session) {
            self.desk.pause(session, false).expect("it is open");
            self.later(session);
        }
    }

    fn wake(&mut self, _: u64) {
        if let Some(session) = self.open.last().copied() {
            let _ = self.say(session, Said::Bytes(b"woken"), b"woken");
        }
    }

    fn drain(&mut self, _: u64) {}

    fn desk(&mut self) -> &mut Desk {
        &mut self.desk
    }
}

/// The other end of a connection, and the socket between.
struct Peer {
    kind: Kind,
    sends: Vec<u8>,
    sent: usize,
    finishes: bool,
    fin_told: bool,
    hears: Vec<u8>,
    fin_heard: bool,
}

struct World {
    streams: Streams<Script>,
    random: Random,
    peers: BTreeMap<Token, Peer>,
    now_ms: u64,
    opened: u16,
    /// Nobody else speaks on the one connection.
    alone: bool,
    limits: Limits,
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = Random(seed | 1);
        let limits = Limits {
            connections: 100,
            idle_ms: [0, 500, 20_000][random.below(3) as usize],
            input_bytes_max: [RECORD, 1000, 100_000][random.below(3) as usize],
            output_bytes_max: [70_000, 200_000][random.below(2) as usize],
        };
        let script = Script {
            desk: Desk::default(),
            random: Random(seed.wrapping_mul(31) | 1),
            said: BTreeMap::new(),
            open: BTreeSet::new(),
            closed: BTreeMap::new(),
            finished_late: Vec::new(),
        };
        World {
            streams: Streams::new(script, &limits),
            random,
            peers: BTreeMap::new(),
            now_ms: 1000,
            opened: 0,
            alone: false,
            limits,
        }
    }

    fn open(&mut self) {
        self.opened += 1;
        let facts = Facts {
            peer: SocketAddr::from(([127, 0, 0, 1], self.opened)),
            local: SocketAddr::from(([127, 0, 0, 1], 7)),
            accepted_ms: self.now_ms,
            endpoint: "tcp://127.0.0.1:7",
        };
        let length = self.random.below(200_000) as usize;
        let peer = Peer {
            kind: KINDS[self.opened as usize % KINDS.len()],
            sends: self.random.bytes(length),
            sent: 0,
            finishes: self.random.below(3) > 0,
            fin_told: false,
            hears: Vec::new(),
            fin_heard: false,
        };
        if let Ok(token) = self.streams.open(&facts, self.now_ms) {
            assert!(self.peers.insert(token, peer).is_none());
        }
    }

    /// What the worker does with a connection that may be read.
    fn visit(&mut self, token: Token, generous: bool) {
        self.streams.resume(token, self.now_ms);
        self.flush_lent(token, generous);
        let Some(peer) = self
            .peers
            .get_mut(&token)
            .filter(|_| self.streams.wants_read(token))
        else {
            return;
        };
        let unread = peer.sends.len() - peer.sent;
        if unread == 0 {
            if peer.finishes && !std::mem::replace(&mut peer.fin_told, true) {
                self.streams.peer_finished(token, self.now_ms);
            }
            return;
        }
        let most = unread.min(READ_BYTES);
        let bytes = if generous {
            most
        } else {
            1 + self.random.below(most as u64) as usize
        };
        let input = &peer.sends[peer.sent..peer.sent + bytes];
        self.streams.space(token)[..bytes].copy_from_slice(input);
        peer.sent += bytes;
        self.streams.received(token, bytes, self.now_ms);
        self.flush_lent(token, generous);
    }

    fn flush_lent(&mut self, token: Token, generous: bool) {
        // Now and then the worker forgets: then the bytes must have been copied in time.
        if self.streams.has_lent(token) && (generous || self.random.below(8) > 0) {
            self.flush(token, generous);
        }
    }

    fn flush(&mut self, token: Token, generous: bool) {
        let pieces = self.streams.pieces(token);
        let most = match self.random.below(3) {
            _ if generous => pieces.len(),
            0 => 0,
            1 => self.random.below(pieces.len() as u64 + 1) as usize,
            _ => pieces.len(),
        };
        let mut flat = Vec::new();
        for piece in pieces.as_slice() {
            flat.extend_from_slice(piece);
        }
        let after = match self.peers.get_mut(&token) {
            Some(peer) => {
                assert!(!peer.fin_heard || most == 0, "nothing follows our FIN");
                peer.hears.extend_from_slice(&flat[..most]);
                self.streams.sent(token, most, self.now_ms)
            }
            None => panic!("a parted connection was touched"),
        };
        if after == After::ShutWriting {
            let peer = self.peers.get_mut(&token).expect("it is not parted with");
            assert!(!std::mem::replace(&mut peer.fin_heard, true), "one FIN");
            // Polite peers answer a FIN; the others are waited for until the linger ends.
            peer.finishes |= self.random.below(2) == 0;
            peer.sent = peer.sent.max(peer.sends.len().saturating_sub(50_000));
        }
    }

    fn end_of_turn(&mut self, generous: bool) {
        self.streams.expire(self.now_ms);
        self.part();
        while let Some(token) = self.streams.pop_touched() {
            self.flush(token, generous);
            self.part();
        }
        self.check();
    }

    fn part(&mut self) {
        while let Some(Parted { token, why, reset }) = self.streams.pop_parted() {
            let peer = self.peers.remove(&token).expect("parted with once");
            let said = &self.streams.protocol.said[&token];
            assert_eq!(self.streams.protocol.closed[&token], why);
            assert!(
                said.starts_with(&peer.hears),
                "what is heard was said, in order"
            );
            if why == End::Finished {
                assert!(!reset);
                assert_eq!(peer.hears.len(), said.len(), "an orderly end loses nothing");
            }
            self.check_echo(&peer, why);
        }
    }

    fn check_echo(&self, peer: &Peer, why: End) {
        // What others said to it is in between, unless there are none.
        if why == End::Finished && peer.fin_told && self.alone {
            let whole = peer.sends.len() / RECORD * RECORD;
            match peer.kind {
                Kind::Echo => assert_eq!(peer.hears, peer.sends),
                Kind::Records => assert_eq!(peer.hears, peer.sends[..whole]),
                Kind::Relay | Kind::Closer | Kind::Slow => {}
            }
        }
    }

    fn check(&mut self) {
        assert_eq!(self.streams.len(), self.peers.len());
        assert_eq!(self.streams.len(), self.streams.protocol.open.len());
        assert_eq!(
            self.streams.len(),
            self.streams.protocol.desk.session_count()
        );
        assert!(self.streams.protocol.desk.asks().is_empty());
        for (token, connection) in &self.streams.connections {
            let queued = connection.output.queued();
            assert!(queued <= self.limits.output_bytes_max, "output is bounded");
            assert!(connection.kept.len() <= self.limits.input_bytes_max + READ_BYTES);
            assert!(
                connection.armed_ms <= connection.deadline_ms(),
                "{token:?} has its deadline"
            );
        }
    }

    fn step(&mut self) {
        let nth = self.random.below(self.peers.len().max(1) as u64) as usize;
        let token = self.peers.keys().nth(nth).copied();
        match (self.random.below(100), token) {
            (0..5, _) if self.peers.len() < 8 => self.open(),
            (0..10, Some(token)) if self.random.below(10) == 0 => {
                self.streams.lost(token, self.now_ms);
            }
            (0..15, _) => self.now_ms += self.random.below(40),
            (15, _) if self.random.below(5) == 0 => self.now_ms += 1000,
            (16, _) => self.streams.wake(1, self.now_ms),
            (17..40, Some(token)) => self.flush(token, false),
            (_, Some(token)) => self.visit(token, false),
            (_, None) => self.open(),
        }
        self.part();
        while let Some(token) = self.streams.pop_resumed() {
            self.visit(token, false);
            self.part();
        }
        self.end_of_turn(false);
    }

    /// Peers read all there is, speak to their end and finish: then each connection must end. As
    /// with edges, the worker looks at a connection only once unless the engine names it again.
    fn settle(&mut self) {
        let mut ready: Vec<Token> = self.peers.keys().copied().collect();
        for token in &ready {
            self.peers.get_mut(token).expect("it is a key").finishes = true;
            self.flush(*token, true);
        }
        self.part();
        for _ in 0..3000 {
            for token in std::mem::take(&mut ready) {
                self.visit(token, true);
                self.part();
                if self.peers.contains_key(&token) && self.streams.wants_read(token) {
                    ready.push(token);
                }
            }
            self.now_ms += 1;
            self.end_of_turn(true);
            while let Some(token) = self.streams.pop_resumed() {
                ready.push(token);
            }
            if self.peers.is_empty() {
                return;
            }
        }
        let stuck = self.streams.connections.values().next();
        panic!("a connection never ends: {stuck:?}");
    }
}

fn one_world(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..400 {
        world.step();
    }
    if world.random.below(3) == 0 {
        world.streams.drain(world.now_ms, 200);
        for _ in 0..20 {
            world.now_ms += 11;
            world.end_of_turn(false);
        }
        assert!(world.streams.is_empty(), "the end of the grace is the end");
    }
    world.settle();
    if world.limits.idle_ms > 0 {
        for _ in 0..10 {
            world.open();
        }
        let last_ms = world.now_ms + world.limits.idle_ms;
        while world
            .streams
            .next_deadline_ms()
            .is_some_and(|at_ms| at_ms <= last_ms)
        {
            world.now_ms = world.streams.next_deadline_ms().expect("just seen");
            world.end_of_turn(true);
        }
        assert!(
            world.streams.is_empty(),
            "every silent connection expires in time"
        );
    }
}

fn alone(seed: u64) {
    let mut world = World::new(seed);
    world.limits.idle_ms = 0;
    let mut random = Random(seed | 1);
    world.opened = random.below(5) as u16;
    world.open();
    world.alone = true;
    for _ in 0..100 {
        if let Some(token) = world.peers.keys().next().copied() {
            world.visit(token, false);
            world.part();
            while let Some(token) = world.streams.pop_resumed() {
                world.visit(token, false);
                world.part();
            }
            world.end_of_turn(false);
        }
    }
    world.settle();
}

#[test]
fn the_engine_keeps_its_word_in_every_world() {
    for seed in 1..=200 {
        let world = std::panic::catch_unwind(|| one_world(seed));
        assert!(world.is_ok(), "seed {seed} (one_world)");
    }
}

#[test]
fn an_echo_alone_returns_every_byte() {
    for seed in 1..=200 {
        let world = std::panic::catch_unwind(|| alone(seed));
        assert!(world.is_ok(), "seed {seed} (alone)");
    }
}

/// Xorshift: repeatable and good enough for choosing.
#[derive(Clone)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 32) % n.max(1)
    }
}
