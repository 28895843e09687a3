//! A world around the engine: peers and sockets that do what a script of bytes says, read to its end;
//! then everybody is polite, and every connection has to end.
//!
//! It sees only what a worker sees of the engine, and what a protocol wrote into the ledger. Which protocol
//! that is, the targets beside it say.
//!
//! Invariant: what a peer hears is a beginning of what was said to it, and all of that where the
//! session has ended in order; what the protocol took is a beginning of what the peer has sent.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::rc::Rc;

use polyport::engine::protocol::Protocol;
use polyport::engine::session::{End, Facts, Fed, Token};
use polyport::engine::{After, Parted, READ_BYTES, Streams};
use polyport::plan::Limits;

const PEERS_MAX: usize = 4;
const STEPS_MAX: usize = 300;
const ROUNDS_MAX: usize = 20_000;

/// What is left of the input.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn byte(&mut self) -> usize {
        self.next().unwrap_or(0).into()
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.byte() % choices.len()]
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

#[derive(Default)]
struct Peer {
    sends: Vec<u8>,
    sent: usize,
    finishes: bool,
    fin_told: bool,
    hears: Vec<u8>,
    fin_heard: bool,
}

/// The protocol and its peers.
pub struct World<'a, P: Protocol> {
    script: Script<'a>,
    streams: Streams<P>,
    ledger: Rc<RefCell<Ledger>>,
    peers: BTreeMap<Token, Peer>,
    limits: Limits,
    now_ms: u64,
    opened: u16,
    draining: bool,
}

impl<'a, P: Protocol> World<'a, P> {
    pub fn new(script: &'a [u8], protocol: impl FnOnce(Rc<RefCell<Ledger>>) -> P) -> World<'a, P> {
        let mut script = Script(script);
        let limits = Limits {
            connections: 100,
            input_bytes_max: script.one_of(&[100, 1, 4096]),
            output_bytes_max: script.one_of(&[70_000, 1, 1000]),
            idle_ms: script.one_of(&[0, 500]),
            pending: script.one_of(&[0, 1, 3]),
            lifetime_ms: script.one_of(&[0, 700]),
            progress_ms: script.one_of(&[0, 50]),
            stall_ms: script.one_of(&[0, 50]),
            bandwidth: script.one_of(&[0, 100_000]),
            ..Limits::default()
        };
        let ledger = Rc::new(RefCell::new(Ledger::default()));
        let mut streams = Streams::new(protocol(ledger.clone()), &limits);
        streams.start(1000);
        World {
            script,
            streams,
            ledger,
            peers: BTreeMap::new(),
            limits,
            now_ms: 1000,
            opened: 0,
            draining: false,
        }
    }

    /// To the end of the script, and then of every connection.
    pub fn play(mut self) {
        for _ in 0..STEPS_MAX {
            let Some(step) = self.script.next() else {
                break;
            };
            self.step(step);
            self.end_of_turn(false);
        }
        self.settle();
    }

    /// The low bits say what happens, the high ones to whom.
    fn step(&mut self, step: u8) {
        let nth = usize::from(step >> 4) % self.peers.len().max(1);
        let token = self.peers.keys().nth(nth).copied();
        match (step % 16, token) {
            (0 | 1, _) | (_, None) => self.open(),
            (2..=4, Some(token)) => {
                let (length, times) = (self.script.byte(), 1 + self.script.byte() % 64);
                let text = self.script.take(length % 32).repeat(times);
                self.peer(token).sends.extend(text);
                self.visit(token, usize::MAX);
            }
            (5, Some(token)) => {
                let most = self.script.byte() + 1;
                self.visit(token, most);
            }
            (6, Some(token)) => {
                self.peer(token).finishes = true;
                self.visit(token, usize::MAX);
            }
            (7, Some(token)) => self.streams.lost(token, self.now_ms),
            (8, Some(token)) => self.flush(token, usize::MAX),
            (9, Some(token)) => {
                let most = self.script.byte() * 4;
                self.flush(token, most);
            }
            (10 | 11, Some(_)) => self.now_ms += self.script.byte() as u64,
            (12, Some(_)) => self.streams.wake(1, self.now_ms),
            (13, Some(_)) => {
                let grace_ms = self.script.byte() as u64;
                // As a worker does it: once, and nobody is let in afterwards.
                if !std::mem::replace(&mut self.draining, true) {
                    self.streams.drain(self.now_ms, grace_ms);
                }
            }
            (_, Some(token)) => self.visit(token, usize::MAX),
        }
        self.part();
        while let Some(token) = self.streams.pop_resumed() {
            self.visit(token, usize::MAX);
            self.part();
        }
    }

    fn open(&mut self) {
        if self.peers.len() == PEERS_MAX || self.draining {
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
        if let Ok(token) = self.streams.open(&facts, self.now_ms) {
            assert!(self.peers.insert(token, Peer::default()).is_none());
        }
    }

    fn peer(&mut self, token: Token) -> &mut Peer {
        self.peers.get_mut(&token).expect("it is not parted with")
    }

    /// What the worker does with a connection that may be read.
    fn visit(&mut self, token: Token, most: usize) {
        self.streams.resume(token, self.now_ms);
        self.flush_lent(token);
        let Some(peer) = self.peers.get_mut(&token) else {
            return;
        };
        if !self.streams.wants_read(token) {
            return;
        }
        let unread = &peer.sends[peer.sent..];
        if unread.is_empty() {
            if peer.finishes && !std::mem::replace(&mut peer.fin_told, true) {
                self.streams.peer_finished(token, self.now_ms);
            }
            return;
        }
        let space = self.streams.space(token);
        assert!(!space.is_empty(), "who is to be read has room");
        let bytes = most.min(unread.len()).min(space.len());
        space[..bytes].copy_from_slice(&unread[..bytes]);
        peer.sent += bytes;
        self.streams.received(token, bytes, self.now_ms);
        self.flush_lent(token);
    }

    fn flush_lent(&mut self, token: Token) {
        // Now and then the worker forgets: then the bytes must have been copied in time.
        if self.streams.has_lent(token) && self.script.byte() % 4 != 1 {
            self.flush(token, usize::MAX);
        }
    }

    fn flush(&mut self, token: Token, most: usize) {
        let pieces = self.streams.pieces(token);
        let most = most.min(pieces.len());
        let flat: Vec<u8> = pieces
            .as_slice()
            .iter()
            .flat_map(|piece| piece.iter().copied())
            .collect();
        let peer = self.peers.get_mut(&token);
        let peer = peer.expect("only who is there is touched");
        assert!(!peer.fin_heard || most == 0, "nothing follows our FIN");
        peer.hears.extend_from_slice(&flat[..most]);
        let mut after = self.streams.sent(token, most, self.now_ms);
        if after == After::CloseAlone {
            let would_reset = self.script.byte() % 2 == 1;
            after = self.streams.looked(token, would_reset, self.now_ms);
            assert_eq!(after == After::ShutWriting, would_reset);
        }
        if after == After::ShutWriting {
            let peer = self.peer(token);
            assert!(!std::mem::replace(&mut peer.fin_heard, true), "one FIN");
        }
    }

    fn end_of_turn(&mut self, generous: bool) {
        self.streams.expire(self.now_ms);
        self.part();
        while let Some(token) = self.streams.pop_touched() {
            let most = if generous { 255 } else { self.script.byte() };
            self.flush(token, if most == 255 { usize::MAX } else { most * 16 });
            self.part();
        }
        assert_eq!(self.streams.len(), self.peers.len());
        assert_eq!(self.streams.len(), self.ledger.borrow().open.len());
        let fed = self.ledger.borrow().fed_bytes_max;
        assert!(
            fed <= self.limits.input_bytes_max + READ_BYTES,
            "input is bounded"
        );
        for token in self.peers.keys() {
            let queued = self.streams.queued(*token);
            assert!(queued <= self.limits.output_bytes_max, "output is bounded");
        }
    }

    fn part(&mut self) {
        while let Some(Parted { token, why, reset }) = self.streams.pop_parted() {
            let peer = self.peers.remove(&token).expect("parted with once");
            let ledger = self.ledger.borrow();
            let said = &ledger.said[&token];
            assert_eq!(ledger.closed[&token], why);
            assert!(said.starts_with(&peer.hears), "what is heard was said");
            let took = &ledger.took[&token];
            assert!(
                peer.sends[..peer.sent].starts_with(took),
                "nothing is fed twice or left out"
            );
            if why == End::Finished {
                assert!(!reset);
                assert_eq!(peer.hears.len(), said.len(), "nothing is lost in order");
            }
        }
    }

    /// As with edges, the worker looks at a connection only once unless the engine names it again.
    fn settle(&mut self) {
        let mut ready: Vec<Token> = self.peers.keys().copied().collect();
        for token in &ready {
            self.peer(*token).finishes = true;
            self.flush(*token, usize::MAX);
        }
        self.part();
        for _ in 0..ROUNDS_MAX {
            for token in std::mem::take(&mut ready) {
                self.visit(token, usize::MAX);
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
        panic!("a connection never ends");
    }
}

/// What the protocol has said, taken and was told.
#[derive(Default)]
pub struct Ledger {
    pub said: BTreeMap<Token, Vec<u8>>,
    pub took: BTreeMap<Token, Vec<u8>>,
    pub open: BTreeSet<Token>,
    pub closed: BTreeMap<Token, End>,
    /// The most that was offered at once.
    fed_bytes_max: usize,
}

impl Ledger {
    pub fn opened(&mut self, session: Token) {
        assert!(self.open.insert(session), "opened once");
        assert!(self.said.insert(session, Vec::new()).is_none());
        assert!(self.took.insert(session, Vec::new()).is_none());
    }

    /// It was opened, and is no session after all.
    pub fn refused(&mut self, session: Token) {
        assert!(self.open.remove(&session));
        self.said.remove(&session);
        self.took.remove(&session);
    }

    pub fn fed(&mut self, session: Token, input: &[u8], fed: &Fed) {
        self.fed_bytes_max = self.fed_bytes_max.max(input.len());
        let took = self.took.get_mut(&session).expect("it was opened");
        if let Fed::Took(length) = fed {
            took.extend_from_slice(&input[..*length]);
        }
    }

    pub fn closed(&mut self, session: Token, why: End) {
        assert!(self.open.remove(&session), "closed once for each open");
        self.closed.insert(session, why);
    }
}
