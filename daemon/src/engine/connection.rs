//! One stream connection: what it may do next, as a closed set of states.
//!
//! Events come in as methods (bytes, the peer's FIN, output taken, a deadline) and each answers with
//! what is to be done; `enter` is the only place that changes the state. It calls no protocol and no
//! socket: that is for `streams` around it and the worker around that.
//!
//! ```text
//!   Open ──peer's FIN told──▶ PeerFinished
//!     │                            │
//!     └──────── finish ────────────┴──▶ Finishing(why) ── output gone, FIN sent, peer's FIN read,
//!     any ── abort, loss, limit, deadline ──▶ Closed ◀──── or lingered for long enough
//! ```
//!
//! Invariant: after `Closed` every event is answered with nothing.

use super::deadlines::NEVER;
use super::files::Ranges;
use super::limits::{Pace, Passed, Spans, Until};
use super::output::{Output, Watermarks};
use super::session::End;

mod carry;
mod closing;

/// How long after our FIN the peer's is waited for, and what is read and dropped meanwhile. Closing
/// at once would answer late input with a reset, which can destroy output still on its way.
pub const LINGER_MS: u64 = 5_000;
/// A connection that was silent for so long is not in the middle of anything when a drain begins.
pub const DRAIN_PAUSE_MS: u64 = 1_000;
pub const LINGER_BYTES_MAX: usize = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The peer may speak, and so may the protocol.
    Open,
    /// The protocol knows that the peer will say no more; it may go on writing.
    PeerFinished,
    /// Nothing is fed any more; the output leaves, and our FIN after it.
    Finishing(End),
    /// Over.
    Closed,
}

/// How far a drain waits for those who have just come or spoken: until it is silent for so long, but
/// no longer than this. After that whoever is quiet goes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Patience {
    pub(super) until_ms: u64,
    pub(super) pause_ms: u64,
}

/// What an event asks of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Nothing,
    /// Feed what was received.
    Feed,
    /// The socket's write side is to be shut down.
    ShutWriting,
    /// The socket is to be closed at once, unless that would reset it: see `looked`.
    CloseAlone,
    /// The connection is over; `reset` throws away what has not left.
    Close {
        why: End,
        reset: bool,
    },
}

/// In this order: what a round of receiving, feeding and flushing touches lies together at the end,
/// beside the epoch by which a token finds it. With very many connections each line of memory
/// more is one more to wait for.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Connection<S> {
    /// Bytes read and dropped while finishing.
    dropped: usize,
    /// What was queued when a write was last refused: `writable` is worth telling below it.
    pub(super) refused_at: usize,
    linger_until_ms: u64,
    pub(super) drain_at_ms: u64,
    idle_ms: u64,
    /// The earliest entry in `deadlines` that counts.
    pub(super) armed_ms: u64,
    pub(super) until: Until,
    active_ms: u64,
    pub(super) pace: Option<Box<Pace>>,
    /// Input that the protocol has not consumed.
    pub(super) kept: Vec<u8>,
    pub(super) output: Output,
    /// The protocol's state; `None` while its `open` runs.
    pub(super) session: Option<S>,
    state: State,
    pub(super) paused: bool,
    /// The last feed was answered as full: no feed before `writable`.
    pub(super) full: bool,
    /// The kept input is to be fed again although nothing was added to it.
    pub(super) feed_again: bool,
    /// The output went past the high watermark and has not come below the low one.
    pub(super) stalled: bool,
    /// The peer's FIN was read.
    peer_fin: bool,
    /// Our FIN is to follow the output; was sent.
    fin_asked: bool,
    fin_sent: bool,
    /// The protocol has closed without waiting for the peer's FIN.
    alone: bool,
    /// On the streams' lists of the touched and of the resumed.
    pub(super) touched: bool,
    pub(super) resumed: bool,
    /// Its moment in the drain has come.
    leaving: bool,
    /// On its way to or from another worker: nothing happens to it here.
    away: bool,
    /// Its peer has not sent a byte, and that is counted.
    pub(super) silent: bool,
    /// The limit it is closed for.
    pub(super) passed: Option<Passed>,
}

impl<S> Connection<S> {
    pub(super) fn new(idle_ms: u64, spans: &Spans, now_ms: u64) -> Connection<S> {
        Connection {
            session: None,
            state: State::Open,
            kept: Vec::new(),
            output: Output::default(),
            paused: false,
            full: false,
            refused_at: usize::MAX,
            feed_again: false,
            stalled: false,
            peer_fin: false,
            fin_asked: false,
            fin_sent: false,
            alone: false,
            touched: false,
            resumed: false,
            leaving: false,
            away: false,
            dropped: 0,
            active_ms: now_ms,
            idle_ms,
            linger_until_ms: NEVER,
            drain_at_ms: NEVER,
            until: Until::new(spans, now_ms),
            pace: Pace::of(spans, now_ms),
            passed: None,
            silent: false,
            armed_ms: NEVER,
        }
    }

    /// One of which nothing is left but to read up to the peer's FIN.
    pub(super) fn lingering(why: End, spans: &Spans, now_ms: u64) -> Connection<S> {
        Connection {
            state: State::Finishing(why),
            fin_sent: true,
            linger_until_ms: now_ms + LINGER_MS,
            ..Connection::new(0, spans, now_ms)
        }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// The only place where a state begins.
    fn enter(&mut self, state: State) {
        debug_assert_ne!(self.state, State::Closed, "nothing follows Closed");
        self.state = state;
    }

    // --- questions -----------------------------------------------------------------------------

    pub(super) fn accepts_writes(&self) -> bool {
        match self.state {
            State::Open | State::PeerFinished => !self.fin_asked,
            State::Finishing(_) | State::Closed => false,
        }
    }

    pub(super) fn may_feed(&self) -> bool {
        let held_back = self.paused || self.full || self.stalled || self.away;
        match self.state {
            State::Open => !held_back,
            State::PeerFinished | State::Finishing(_) | State::Closed => false,
        }
    }

    pub(super) fn wants_read(&self) -> bool {
        // Nearly always it is open: asked first, that costs no jump by a table.
        if self.state == State::Open {
            let rests = self.pace.as_ref().is_some_and(|pace| pace.input.rests());
            return self.may_feed() && !self.feed_again && !self.peer_fin && !rests;
        }
        // Read to drop.
        matches!(self.state, State::Finishing(_)) && !self.peer_fin && !self.away
    }

    /// A refused writer may try again: there is room, and more than when it was refused.
    pub(super) fn is_writable(&self, marks: Watermarks) -> bool {
        let queued = self.output.queued();
        let less = queued <= marks.low && queued < self.refused_at;
        queued == 0 || (less && self.output.takes_ranges())
    }

    /// The peer's FIN may be told: it was read, and all input before it was fed.
    pub(super) fn may_tell_fin(&self) -> bool {
        self.may_feed() && self.peer_fin && !self.feed_again
    }

    pub(super) fn awaits_header(&self) -> bool {
        self.until.header_ms != NEVER
    }

    /// A flush that has left nothing behind changes nothing for it.
    pub(super) fn goes_on(&self) -> bool {
        let live = matches!(self.state, State::Open | State::PeerFinished);
        live && !self.fin_asked && !self.leaving && self.pace.is_none()
    }

    /// What is written back at once and leaves as a whole changes nothing for it, but when it was active.
    pub(super) fn only_echoes(&self) -> bool {
        self.goes_on() && self.output.is_bare() && !self.stalled && !self.away
    }

    /// The same of a line that many are told, and that is all there is to say.
    pub(super) fn only_line(&self) -> Option<&[u8]> {
        let line = self.output.whole_line()?;
        (self.goes_on() && !self.stalled && !self.away).then_some(line)
    }

    /// All that there was to say has left, at once.
    pub(super) fn only_piece_taken(&mut self, now_ms: u64) {
        self.active_ms = now_ms;
        self.until.stall_ms = NEVER;
    }

    /// A feed that has consumed everything changes nothing for it.
    pub(super) fn left_nothing(&self) -> bool {
        self.kept.capacity() == 0 && self.until.progress_ms == NEVER && !self.leaving
    }

    pub(super) fn active_ms(&self) -> u64 {
        self.active_ms
    }

    // --- events --------------------------------------------------------------------------------

    pub(super) fn header_came(&mut self) {
        self.until.header_ms = NEVER;
    }

    pub(super) fn received(&mut self, bytes: usize, now_ms: u64) -> Next {
        match self.state {
            State::Open => {
                self.active_ms = now_ms;
                Next::Feed
            }
            State::Finishing(why) => {
                // Not counted as activity: a peer that only talks cannot hold on to its connection.
                self.dropped += bytes;
                if self.dropped > LINGER_BYTES_MAX {
                    Next::Close { why, reset: false }
                } else {
                    Next::Nothing
                }
            }
            // Nothing comes behind a FIN.
            State::PeerFinished | State::Closed => Next::Nothing,
        }
    }

    pub(super) fn peer_finished(&mut self) -> Next {
        self.peer_fin = true;
        match self.state {
            State::Finishing(why) if self.fin_sent => Next::Close { why, reset: false },
            // Told after the input before it; closed after the output.
            State::Open | State::Finishing(_) | State::PeerFinished | State::Closed => {
                Next::Nothing
            }
        }
    }

    /// Why it ends when its socket breaks: after our FIN there was nothing left to lose.
    pub(super) fn lost(&self) -> End {
        match self.state {
            State::Finishing(why) if self.fin_sent => why,
            State::Open | State::PeerFinished | State::Finishing(_) | State::Closed => End::Lost,
        }
    }

    /// The protocol was told of the peer's FIN and has an opinion (`handled`) or not.
    pub(super) fn fin_told(&mut self, handled: bool) {
        match self.state {
            State::Open if handled && !self.fin_asked => self.enter(State::PeerFinished),
            State::Open => self.enter(State::Finishing(End::Finished)),
            // It closed during the call.
            State::PeerFinished | State::Finishing(_) | State::Closed => {}
        }
    }

    /// After a flush that got rid of `bytes`; true when it may be fed again because of it.
    pub(super) fn flushed(
        &mut self,
        bytes: usize,
        marks: Watermarks,
        spans: &Spans,
        now_ms: u64,
    ) -> bool {
        if bytes > 0 {
            self.active_ms = now_ms;
        }
        let queued = self.output.queued();
        self.until.output_left(queued, bytes > 0, spans, now_ms);
        let was_stalled = self.stalled;
        self.stalled = queued
            > if was_stalled {
                marks.low
            } else {
                marks.high - 1
            };
        let released = was_stalled && !self.stalled;
        if released {
            // What could have completed its input was not read meanwhile.
            let left = self.kept.len();
            self.until.input_left(left, true, spans, now_ms);
        }
        released
    }

    /// A part of a file that was waited for can be sent.
    pub(super) fn file_read(&mut self, spans: &Spans, now_ms: u64) {
        self.active_ms = now_ms;
        let queued = self.output.queued();
        self.until.output_left(queued, true, spans, now_ms);
    }

    /// What follows once a flush has left nothing behind.
    pub(super) fn drained(&mut self, now_ms: u64) -> Next {
        if self.leaving && self.is_quiet() {
            self.finish(End::Drain);
        }
        match self.state {
            State::Open if self.fin_asked && !self.fin_sent => {
                self.fin_sent = true;
                Next::ShutWriting
            }
            State::Finishing(why) if self.peer_fin => Next::Close { why, reset: false },
            State::Finishing(_) if self.alone => Next::CloseAlone,
            State::Finishing(_) => {
                self.linger_until_ms = self.linger_until_ms.min(now_ms + LINGER_MS);
                if std::mem::replace(&mut self.fin_sent, true) {
                    Next::Nothing
                } else {
                    Next::ShutWriting
                }
            }
            State::Open | State::PeerFinished | State::Closed => Next::Nothing,
        }
    }

    /// Something of this connection's is due. When nothing is to be done, its deadline is armed
    /// anew; when its moment in the drain has come it is marked, and finished once quiet.
    pub(super) fn expired(&mut self, patience: Patience, now_ms: u64) -> Next {
        if self.drain_at_ms <= now_ms {
            // Quiet for a moment is not done: its request may be on its way, or half of it.
            let paused_ms = self.active_ms.saturating_add(patience.pause_ms);
            self.drain_at_ms = paused_ms.min(patience.until_ms);
            if self.drain_at_ms <= now_ms {
                self.drain_at_ms = NEVER;
                self.leaving = true;
            }
        }
        let idle = self.idle_until_ms() <= now_ms;
        let reset = self.output.queued() > 0;
        self.passed = self.passed_by(now_ms);
        if self.passed.is_some() {
            let why = End::Limit;
            return Next::Close { why, reset };
        }
        match self.state {
            State::Open | State::PeerFinished if idle => Next::Close {
                why: End::Idle,
                reset,
            },
            State::Finishing(why) if self.linger_until_ms <= now_ms => {
                Next::Close { why, reset: false }
            }
            // Its output is stuck; with nothing left to send it was the peer's FIN that stayed away.
            State::Finishing(_) if idle && reset => Next::Close {
                why: End::Idle,
                reset,
            },
            State::Finishing(why) if idle => Next::Close { why, reset },
            State::Open | State::PeerFinished | State::Finishing(_) | State::Closed => {
                Next::Nothing
            }
        }
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving
    }

    pub(super) fn set_idle(&mut self, idle_ms: u64) {
        self.idle_ms = idle_ms;
    }

    /// The next moment at which `expired` has something to do.
    pub(super) fn deadline_ms(&self) -> u64 {
        if self.away {
            return NEVER;
        }
        let rests = self.pace.as_ref().map_or(NEVER, |pace| pace.deadline_ms());
        self.idle_until_ms()
            .min(self.linger_until_ms)
            .min(self.drain_at_ms)
            .min(self.until.lifetime_ms)
            .min(self.until.header_ms)
            .min(self.progress_until_ms())
            .min(self.stall_until_ms())
            .min(rests)
    }

    /// The limit that time has taken it past.
    fn passed_by(&self, now_ms: u64) -> Option<Passed> {
        let moments = [
            (self.until.lifetime_ms, Passed::Lifetime),
            (self.until.header_ms, Passed::Header),
            (self.progress_until_ms(), Passed::Progress),
            (self.stall_until_ms(), Passed::Stall),
        ];
        let mut passed = moments.iter().filter(|(at_ms, _)| *at_ms <= now_ms);
        passed
            .next()
            .filter(|_| self.state != State::Closed)
            .map(|(_, passed)| *passed)
    }

    /// A plugin that was not to be fed cannot have consumed anything, nor before it is fed again.
    fn progress_until_ms(&self) -> u64 {
        match self.may_feed() && !self.feed_again {
            true => self.until.progress_ms,
            false => NEVER,
        }
    }

    /// While we rest, or read a file, it is not the peer who keeps output waiting.
    fn stall_until_ms(&self) -> u64 {
        match &self.pace {
            _ if self.output.ranges().is_some_and(Ranges::is_awaited) => NEVER,
            Some(pace) if pace.output.rests() => NEVER,
            Some(_) | None => self.until.stall_ms,
        }
    }

    fn idle_until_ms(&self) -> u64 {
        match self.idle_ms {
            0 => NEVER,
            idle_ms => self.active_ms.saturating_add(idle_ms),
        }
    }

    /// Nothing untold, nothing unsent.
    fn is_quiet(&self) -> bool {
        let fin_untold = self.state == State::Open && self.peer_fin;
        self.kept.is_empty() && self.output.queued() == 0 && !fin_untold
    }
}
