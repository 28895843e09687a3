//! Random worlds around the engine: peers that speak, stall, half-close and reset at any moment, sockets
//! that give and take any number of bytes, and clocks that jump. After each step the engine must keep its
//! word.
//!
//! A failure prints its seed, and `POLYPORT_SEED=N` runs it again; `POLYPORT_SEEDS=N` runs so many.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;

use super::files::{FILE_RANGES_MAX, Ranges};
use super::lists::Parted;
use super::session::{End, Facts, Token};
use super::streams::{After, READ_BYTES, Streams};
use crate::plan::Limits;
use crate::seeds::seeds;

mod carry;
mod clocks;
mod files;
mod script;

use clocks::Wall;
use script::{KINDS, Kind, RECORD, Random, Script};

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
    /// One step in so many begins with a jump of the clock; 0 is none.
    jumps: u64,
    wall: Wall,
    opened: u16,
    /// Nobody else speaks on the one connection.
    alone: bool,
    /// Whose files are being read.
    reading: Vec<Token>,
    limits: Limits,
    /// Written down, and perhaps to go on elsewhere.
    frozen: Option<(Token, Vec<u8>)>,
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = Random(seed | 1);
        let limits = Limits {
            connections: 100,
            idle_ms: [0, 500, 20_000][random.below(3) as usize],
            input_bytes_max: [RECORD, 1000, 100_000][random.below(3) as usize],
            output_bytes_max: [70_000, 200_000][random.below(2) as usize],
            pending: [0, 0, 3][random.below(3) as usize],
            lifetime_ms: [0, 0, 3000][random.below(3) as usize],
            progress_ms: [0, 50, 1000][random.below(3) as usize],
            stall_ms: [0, 50, 1000][random.below(3) as usize],
            bandwidth: [0, 0, 4_000_000][random.below(3) as usize],
            ..Limits::default()
        };
        World {
            streams: Streams::new(Script::new(seed), &limits),
            random,
            peers: BTreeMap::new(),
            now_ms: 1000,
            jumps: [0, 200, 50, 10][seed as usize % 4],
            wall: Wall::new(seed),
            opened: 0,
            alone: false,
            reading: Vec::new(),
            limits,
            frozen: None,
        }
    }

    fn open(&mut self) {
        if !self.is_let_in() {
            return;
        }
        self.opened += 1;
        let facts = Facts {
            peer: SocketAddr::from(([127, 0, 0, 1], self.opened)).into(),
            local: SocketAddr::from(([127, 0, 0, 1], 7)).into(),
            credentials: None,
            accepted_ms: self.now_ms,
            proxied: false,
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
        let most = unread.min(self.streams.space(token).len());
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
        match after {
            After::Nothing => {}
            After::ShutWriting => self.hear_fin(token),
            After::CloseAlone => self.look(token),
            After::SendFile => self.send_file(token, generous),
        }
    }

    /// What the worker does before it closes a socket without waiting for the peer.
    fn look(&mut self, token: Token) {
        let peer = &self.peers[&token];
        let unread = peer.sent < peer.sends.len() && self.random.below(2) == 0;
        let then = self.streams.looked(token, unread, self.now_ms);
        match unread {
            true => {
                assert_eq!(then, After::ShutWriting, "no reset after an answer");
                self.hear_fin(token);
            }
            false => assert!(!self.streams.is_open(token), "nobody is waited for"),
        }
    }

    fn hear_fin(&mut self, token: Token) {
        let peer = self.peers.get_mut(&token).expect("it is not parted with");
        assert!(!std::mem::replace(&mut peer.fin_heard, true), "one FIN");
        // Polite peers answer a FIN; the others are waited for until the linger ends.
        peer.finishes |= self.random.below(2) == 0;
        peer.sent = peer.sent.max(peer.sends.len().saturating_sub(50_000));
    }

    fn end_of_turn(&mut self, generous: bool) {
        self.expire();
        self.part();
        loop {
            self.flush_lines(generous);
            let Some(token) = self.streams.pop_touched() else {
                break;
            };
            self.flush(token, generous);
            self.part();
        }
        self.check();
    }

    /// As a worker has them sent.
    fn flush_lines(&mut self, generous: bool) {
        let (peers, random) = (&mut self.peers, &mut self.random);
        let send = |token, line: &[u8]| {
            let peer = peers.get_mut(&token);
            let peer = peer.expect("a parted connection was touched");
            assert!(!peer.fin_heard, "nothing follows our FIN");
            let most = match generous || random.below(3) > 0 {
                true => line.len(),
                false => random.below(line.len() as u64 + 1) as usize,
            };
            peer.hears.extend_from_slice(&line[..most]);
            Ok::<_, Infallible>(most)
        };
        if let Some((token, Ok(most))) = self.streams.send_lines(self.now_ms, send) {
            let after = self.streams.sent(token, most, self.now_ms);
            assert_eq!(after, After::Nothing, "there is more to come");
            self.part();
        }
    }

    fn part(&mut self) {
        while let Some(Parted { token, why, reset }) = self.streams.pop_parted() {
            if why == End::Carried {
                // Its peer is at the other token already.
                assert!(!reset && !self.peers.contains_key(&token));
                continue;
            }
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
        for (token, connection) in self.streams.connections.iter() {
            let bytes = connection.output.bytes();
            assert!(bytes <= self.limits.output_bytes_max, "output is bounded");
            let ranges = connection.output.ranges().map_or(0, Ranges::len);
            assert!(ranges <= FILE_RANGES_MAX, "and so are its files");
            assert!(connection.kept.len() <= self.limits.input_bytes_max + READ_BYTES);
            assert!(
                connection.armed_ms <= connection.deadline_ms(),
                "{token:?} has its deadline"
            );
        }
    }

    fn step(&mut self) {
        self.jump();
        let nth = self.random.below(self.peers.len().max(1) as u64) as usize;
        let token = self.peers.keys().nth(nth).copied();
        match (self.random.below(100), token) {
            (0..5, _) if self.peers.len() < 8 => self.open(),
            (0..10, Some(token)) if self.random.below(10) == 0 => {
                self.streams.lost(token, self.now_ms);
            }
            (0..16, _) => self.now_ms += self.random.below(40),
            (16, _) => self.streams.wake(1, self.now_ms),
            (17..37, Some(token)) => self.flush(token, false),
            (37..40, Some(token)) => self.carry(token),
            (40..50, _) => self.files_are_read(false),
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
        self.thaw();
        let mut ready: Vec<Token> = self.peers.keys().copied().collect();
        for token in &ready {
            self.peers.get_mut(token).expect("it is a key").finishes = true;
            self.flush(*token, true);
        }
        self.part();
        for _ in 0..3000 {
            self.files_are_read(true);
            self.part();
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
        let stuck = self.streams.connections.iter().next();
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
        // Each that goes says so to another, which makes that one young again.
        let last_ms = world.now_ms + 11 * world.limits.idle_ms;
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

/// Whether it ended in order: then nothing was missing.
fn alone(seed: u64) -> bool {
    let mut world = World::new(seed);
    world.limits.idle_ms = 0;
    let mut random = Random(seed | 1);
    world.opened = random.below(5) as u16;
    world.wall = Wall::default();
    world.open();
    world.alone = true;
    world.streams.protocol.sends_files = false;
    for _ in 0..100 {
        world.jump();
        if let Some(token) = world.peers.keys().next().copied() {
            world.visit(token, false);
            world.part();
            while let Some(token) = world.streams.pop_resumed() {
                world.visit(token, false);
                world.part();
            }
            world.end_of_turn(false);
        }
        if let Some(token) = world.peers.keys().next().copied() {
            world.carry(token);
            world.part();
        }
    }
    world.settle();
    let mut ends = world.streams.protocol.closed.values();
    ends.any(|end| *end == End::Finished)
}

#[test]
fn the_engine_keeps_its_word_in_every_world() {
    for seed in seeds(200) {
        let world = std::panic::catch_unwind(|| one_world(seed));
        assert!(world.is_ok(), "POLYPORT_SEED={seed} (one_world)");
    }
}

#[test]
fn an_echo_alone_returns_every_byte() {
    let (mut finished, mut all) = (0, 0);
    for seed in seeds(200) {
        let world = std::panic::catch_unwind(|| alone(seed));
        assert!(world.is_ok(), "POLYPORT_SEED={seed} (alone)");
        finished += u64::from(world.unwrap_or(false));
        all += 1;
    }
    assert!(
        all < 100 || finished > all / 4,
        "{finished} of {all} ended in order"
    );
}
