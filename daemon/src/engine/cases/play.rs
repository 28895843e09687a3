//! The protocol of the cases: what it does is a function of the case, what it is told is kept.

use std::net::SocketAddr;

use crate::engine::desk::{Desk, Said};
use crate::engine::protocol::Protocol;
use crate::engine::session::{End, Facts, Fed, TimerToken, Token};
use crate::engine::streams::{After, Streams};
use crate::plan::Limits;

pub(super) type Feed = fn(&mut Play, Token, &[u8]) -> Fed;

pub(super) struct Play {
    pub(super) desk: Desk,
    pub(super) feed: Feed,
    pub(super) on_writable: fn(&mut Play, Token),
    pub(super) on_timer: fn(&mut Play),
    pub(super) on_closed: fn(&mut Play, Token),
    /// Whom the case tells something beside the one that is fed.
    pub(super) others: Vec<Token>,
    /// Keeps a session open after the peer's FIN.
    pub(super) stays: bool,
    pub(super) fed: Vec<Vec<u8>>,
    pub(super) told: Vec<(Token, &'static str)>,
    pub(super) closed: Vec<(Token, End)>,
    pub(super) fired: usize,
}

impl Protocol for Play {
    type State = ();

    fn open(&mut self, _: Token, _: &Facts<'_>) -> Result<(), End> {
        Ok(())
    }

    fn feed(&mut self, session: Token, (): (), input: &[u8]) -> Fed {
        self.fed.push(input.to_vec());
        (self.feed)(self, session, input)
    }

    fn peer_finished(&mut self, session: Token, (): ()) -> Result<bool, End> {
        self.told.push((session, "peer finished"));
        Ok(self.stays)
    }

    fn writable(&mut self, session: Token, (): ()) -> Result<(), End> {
        self.told.push((session, "writable"));
        (self.on_writable)(self, session);
        Ok(())
    }

    fn closed(&mut self, session: Token, (): (), why: End) {
        self.closed.push((session, why));
        (self.on_closed)(self, session);
    }

    fn timer(&mut self, _: TimerToken, _: u64) {
        self.fired += 1;
        (self.on_timer)(self);
    }

    fn wake(&mut self, _: u64) {}

    fn drain(&mut self, _: u64) {}

    fn desk(&mut self) -> &mut Desk {
        &mut self.desk
    }
}

pub(super) const OUTPUT_MAX: usize = 1000;
pub(super) const INPUT_MAX: usize = 100;

pub(super) fn play(feed: Feed) -> Streams<Play> {
    play_with_idle(feed, 0)
}

pub(super) fn play_with_idle(feed: Feed, idle_ms: u64) -> Streams<Play> {
    let limits = Limits {
        idle_ms,
        ..Limits::default()
    };
    play_with(feed, limits)
}

pub(super) fn play_with(feed: Feed, limits: Limits) -> Streams<Play> {
    let limits = Limits {
        input_bytes_max: INPUT_MAX,
        output_bytes_max: OUTPUT_MAX,
        ..limits
    };
    let play = Play {
        desk: Desk::default(),
        feed,
        on_writable: |_, _| {},
        on_timer: |_| {},
        on_closed: |_, _| {},
        others: Vec::new(),
        stays: false,
        fed: Vec::new(),
        told: Vec::new(),
        closed: Vec::new(),
        fired: 0,
    };
    Streams::new(play, &limits)
}

pub(super) fn open(streams: &mut Streams<Play>, now_ms: u64) -> Token {
    let facts = Facts {
        peer: SocketAddr::from(([127, 0, 0, 1], 40_000)).into(),
        local: SocketAddr::from(([127, 0, 0, 1], 7)).into(),
        credentials: None,
        accepted_ms: now_ms,
        proxied: false,
        endpoint: "tcp://127.0.0.1:7",
    };
    streams.open(&facts, now_ms).expect("the play opens all")
}

pub(super) fn hear(streams: &mut Streams<Play>, token: Token, bytes: &[u8]) {
    hear_at(streams, token, bytes, 0);
}

pub(super) fn hear_at(streams: &mut Streams<Play>, token: Token, bytes: &[u8], now_ms: u64) {
    assert!(streams.wants_read(token), "it is to be read");
    streams.space(token)[..bytes.len()].copy_from_slice(bytes);
    streams.received(token, bytes.len(), now_ms);
}

/// The socket takes this much of what is offered.
pub(super) fn take(streams: &mut Streams<Play>, token: Token, bytes: usize, now_ms: u64) -> After {
    let bytes = bytes.min(streams.pieces(token).len());
    streams.sent(token, bytes, now_ms)
}

pub(super) fn echo(play: &mut Play, session: Token, input: &[u8]) -> Fed {
    match play.desk.write(session, Said::Lent(0, input.len()), false) {
        Ok(()) => Fed::Took(input.len()),
        Err(_) => Fed::Full,
    }
}

pub(super) fn swallow(_: &mut Play, _: Token, input: &[u8]) -> Fed {
    Fed::Took(input.len())
}
