//! The event loop: wait, read, feed, flush, once per turn.
//!
//! A turn waits for events, notes what each says and only then acts: orders, wake-ups, new
//! connections, connections that are ready, deadlines, and last the output of all who were touched.
//! A connection is visited once per turn with one read, a new one once more; who has more goes to the
//! back of the ready list, so that a fast peer never starves a slow one. Each stage has a budget.
//!
//! Invariant: a connection that can go on is on the ready list, or an edge is still to come for it.

use std::collections::VecDeque;
use std::io;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use slotmap::KeyData;

use super::blocking::{self, Blocking};
use super::bus::{self, Bus};
use super::complaints::{Complaints, closed_for};
use super::datagram::{Around, Datagrams};
use super::entry::Stranger;
use super::files::TURN_FILES_BYTES_MAX;
use super::gate::Gate;
use super::handover::{self, Handover};
use super::listener::Listener;
use super::reserve::Reserve;
use super::stream::{Heard, Stream};
use super::{Orders, Outcome, Share, Wakes, clock_ms};
use crate::engine::protocol::Protocol;
use crate::engine::roll::Beside;
use crate::engine::session::Token;
use crate::engine::{After, Passed, Streams};
use crate::log;
use crate::plan::{Limits, Transport};
use crate::scoreboard::{Counter, Scoreboard};
use crate::sys::{ahead, sandbox};

/// Events taken from the queue in one turn.
const EVENTS_MAX: usize = 512;
/// Wake-ups handled in one turn.
const WAKES_MAX: usize = 256;
/// The longest wait; whatever the deadlines are, it fits the system call.
const WAIT_MS_MAX: u64 = 60_000;

// What an event is about. Tokens are above all others, for an epoch of 1 is bit 32.
const CHANNEL: u64 = 0;
const WAKER: u64 = 1;
pub(super) const LISTENERS: u64 = 2;
pub(super) const DATAGRAM_LISTENERS: u64 = 1 << 24;
const TOKENS: u64 = 1 << 32;

pub(super) struct Worker<P: Protocol, W, O> {
    pub(super) epoll: Epoll,
    pub(super) streams: Streams<P>,
    /// Connections that the event queue does not know yet.
    pub(super) unregistered: Vec<Token>,
    pub(super) sockets: Beside<Stream>,
    pub(super) blocking: Blocking,
    pub(super) bus: Bus,
    pub(super) listeners: Vec<Listener>,
    pub(super) datagrams: Datagrams,
    /// Connections that can go on without a further event.
    ready: VecDeque<Token>,
    /// Those of them whose files found no room in an earlier turn.
    next_to_send: VecDeque<Token>,
    /// Bytes of files that may still leave in this turn.
    pub(super) files_room: usize,
    pub(super) orders: O,
    pub(super) orders_waiting: bool,
    wakes: W,
    wakes_waiting: bool,
    pub(super) outcome: Option<Outcome>,
    pub(super) handover: Handover,
    pub(super) scoreboard: Scoreboard,
    pub(super) complaints: Complaints,
    pub(super) connections_max: usize,
    /// Of connections that do not inherit it.
    pub(super) send_buffer_bytes: Option<u32>,
    pub(super) gate: Gate,
    /// Among so many the limits of the service are divided.
    pub(super) worker_count: u16,
    /// Said to those who are turned away.
    pub(super) banner: String,
    /// Connections whose proxies have not said for whom they speak.
    pub(super) strangers: Beside<Box<Stranger>>,
    pub(super) reserve: Reserve,
    pub(super) drain_timeout_ms: u64,
    /// The clock, read once per turn.
    pub(super) now_ms: u64,
}

impl<P: Protocol, W: Wakes, O: Orders> Worker<P, W, O> {
    pub(super) fn new(
        share: Share,
        protocol: P,
        wakes: W,
        orders: O,
        scoreboard: Scoreboard,
    ) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(orders.fd(), EpollEvent::new(EpollFlags::EPOLLIN, CHANNEL))?;
        let reserve = Reserve::new(&epoll.0);
        // An edge for each write, so that the count in it never has to be read.
        let edge = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        epoll.add(wakes.fd(), EpollEvent::new(edge, WAKER))?;
        sandbox::wake(wakes.fd());
        let now_ms = clock_ms();
        let connections_max = share.connections_max();
        let limits = Limits {
            pending: share.share_of(share.limits.pending),
            ..share.limits.clone()
        };
        let streams = Streams::new(protocol, &limits);
        let blocking = Blocking::new(&share, streams.handler(), &scoreboard, &epoll)?;
        let (access, sources) = (&share.access, share.sources);
        let mut gate = Gate::new(&limits, access, sources, share.worker_count, now_ms);
        for ban in &share.bans {
            gate.ban(ban, now_ms);
        }
        let (stream_listeners, datagrams): (Vec<_>, Vec<_>) = share
            .listeners
            .into_iter()
            .partition(|(_, brief)| brief.local.transport() == Transport::Stream);
        let (workers, first) = (share.worker_count, DATAGRAM_LISTENERS);
        let datagrams = Datagrams::new(datagrams, &limits, workers, first, &epoll)?;
        let mut listeners = Vec::new();
        for ((fd, brief), event) in stream_listeners.into_iter().zip(LISTENERS..) {
            let mut listener = Listener::new(fd, brief, event)?;
            listener.enter(&epoll)?;
            listeners.push(listener);
        }
        Ok(Worker {
            epoll,
            streams,
            unregistered: Vec::new(),
            blocking,
            bus: Bus::default(),
            sockets: Beside::default(),
            listeners,
            datagrams,
            worker_count: workers,
            ready: VecDeque::new(),
            next_to_send: VecDeque::new(),
            files_room: TURN_FILES_BYTES_MAX,
            orders,
            // Kept while it was parked, perhaps.
            orders_waiting: true,
            wakes,
            // Queued during `create`, perhaps.
            wakes_waiting: true,
            outcome: None,
            handover: Handover::default(),
            scoreboard,
            complaints: Complaints::default(),
            connections_max,
            send_buffer_bytes: share.send_buffer_bytes,
            gate,
            banner: share.access.banner_refused,
            strangers: Beside::default(),
            reserve,
            drain_timeout_ms: share.drain_timeout_ms,
            now_ms,
        })
    }

    pub(super) fn run(&mut self) -> io::Result<Outcome> {
        let mut events = vec![EpollEvent::empty(); EVENTS_MAX];
        self.streams.start(self.now_ms);
        loop {
            if let Some(outcome) = self.outcome
                && self.streams.is_empty()
                && self.threads_are_done()
                && self.bus_is_done()
            {
                return Ok(outcome);
            }
            sandbox::tell();
            let heard = self.wait(&mut events)?;
            for event in &events[..heard] {
                self.note(event.data(), event.events());
            }
            self.obey_orders();
            self.deliver_wakes();
            self.hear_bus();
            self.take_results();
            self.hand_over_sessions();
            self.accept_waiting();
            self.with_datagrams(Datagrams::receive);
            self.visit_ready();
            self.expire();
            self.hand_over_jobs();
            self.hear_own();
            self.flush_touched();
            self.register_new();
            self.flush_bus();
            self.with_datagrams(|datagrams, around| _ = datagrams.flush(around));
            self.readmit_listeners();
            self.datagrams.readmit(&self.epoll, self.now_ms);
            self.publish();
        }
    }

    // --- wait ----------------------------------------------------------------------------------

    fn wait(&mut self, events: &mut [EpollEvent]) -> io::Result<usize> {
        let at_once = self.wakes_waiting
            || self.bus.readable
            || self.bus.has_more
            || self.orders_waiting
            || !self.ready.is_empty()
            || !self.next_to_send.is_empty()
            || self.datagrams.is_busy()
            || self.handover.can_go_on();
        let wait_ms = if at_once { 0 } else { self.quiet_ms() };
        let timeout = EpollTimeout::try_from(wait_ms).expect("WAIT_MS_MAX fits");
        let heard = match self.epoll.wait(events, timeout) {
            Err(Errno::EINTR) => 0,
            heard => heard?,
        };
        self.now_ms = clock_ms();
        self.files_room = TURN_FILES_BYTES_MAX;
        Ok(heard)
    }

    /// How long nothing has to be done.
    fn quiet_ms(&self) -> u64 {
        // At the limit no listener comes back before a connection has closed, whenever it wants to.
        let has_room = self.connection_count() < self.connections_max;
        let back = self
            .listeners
            .iter()
            .filter_map(Listener::back_ms)
            .min()
            .filter(|_| has_room);
        let next = [
            back,
            self.datagrams.back_ms(),
            self.blocking.next_deadline_ms(),
            self.streams.next_deadline_ms(),
            self.handover.next_deadline_ms(),
            self.bus.next_deadline_ms(),
        ];
        let at_ms = next.into_iter().flatten().min().unwrap_or(u64::MAX);
        at_ms.saturating_sub(self.now_ms).min(WAIT_MS_MAX)
    }

    fn note(&mut self, about: u64, events: EpollFlags) {
        match about {
            CHANNEL => self.orders_waiting = true,
            WAKER => self.wakes_waiting = true,
            blocking::RESULTS => self.blocking.results_waiting = true,
            bus::BUS => self.bus.note(events),
            handover::GIVING..=handover::LAST => self.handover.note(about),
            DATAGRAM_LISTENERS..TOKENS => self.datagrams.note(about, events),
            _ if about < TOKENS => self.note_listener(about),
            _ => self.note_stream(KeyData::from_ffi(about).into(), events),
        }
    }

    fn note_stream(&mut self, token: Token, events: EpollFlags) {
        // An event of a connection that ended in an earlier turn is stale.
        let Some(stream) = self.sockets.get_mut(token) else {
            return;
        };
        let unblocked = stream.note(events);
        // Whether it is to be read is asked at the visit: of very many connections, each would be
        // fetched from memory here and, by then forgotten by the caches, there once more.
        if stream.list() {
            self.ready.push_back(token);
        }
        if unblocked && self.streams.queued(token) > 0 {
            self.flush(token);
        }
    }

    /// Datagrams, with what of the worker they need.
    fn with_datagrams(&mut self, work: fn(&mut Datagrams, &mut Around<'_, P>)) {
        let mut around = Around {
            epoll: &self.epoll,
            streams: &mut self.streams,
            scoreboard: &self.scoreboard,
            complaints: &mut self.complaints,
            gate: &mut self.gate,
            now_ms: self.now_ms,
        };
        work(&mut self.datagrams, &mut around);
    }

    pub(super) fn make_ready(&mut self, token: Token) {
        if let Some(stream) = self.sockets.get_mut(token)
            && stream.list()
        {
            self.ready.push_back(token);
        }
    }

    // --- wake-ups -------------------------------------------------------------------

    fn deliver_wakes(&mut self) {
        if !std::mem::take(&mut self.wakes_waiting) {
            return;
        }
        for _ in 0..WAKES_MAX {
            let Some(wake_token) = self.wakes.next() else {
                return;
            };
            self.streams.wake(wake_token, self.now_ms);
            self.part();
        }
        self.wakes_waiting = true;
    }

    // --- read and feed -------------------------------------------------------------------------

    fn visit_ready(&mut self) {
        // Before those who had their part; of very many no more are looked at than have room.
        while self.files_room > 0
            && let Some(token) = self.next_to_send.pop_front()
        {
            self.visit(token);
        }
        for _ in 0..self.ready.len() {
            let Some(token) = self.ready.pop_front() else {
                break;
            };
            self.fetch_ahead();
            if self.files_room == 0 && self.sockets.get(token).is_some_and(|it| it.unsent) {
                self.next_to_send.push_back(token);
            } else {
                self.visit(token);
            }
        }
    }

    /// Of very many connections none is in the caches when its turn comes. So memory is asked for two
    /// visits before, and what the plugin keeps one before, as the way there leads through the former.
    fn fetch_ahead(&mut self) {
        if let Some(token) = self.ready.get(1).copied() {
            ahead::fetch(self.sockets.whereabouts(token).cast());
            let lines = self.streams.whereabouts(token);
            lines.into_iter().for_each(ahead::fetch);
        }
        if let Some(token) = self.ready.front() {
            ahead::fetch(self.streams.state_whereabouts(*token));
        }
    }

    /// Tells what was held back, reads once, and leaves the connection on the list if it can go on.
    pub(super) fn visit(&mut self, token: Token) {
        let Some(stream) = self.sockets.get_mut(token) else {
            return;
        };
        stream.listed = false;
        let resumed = std::mem::take(&mut stream.resumed);
        if std::mem::take(&mut stream.unsent) {
            self.flush(token);
        }
        if resumed {
            self.streams.resume(token, self.now_ms);
            self.flush_lent(token);
        }
        if self.streams.wants_read(token) {
            let more = self.read(token);
            // Nearly always the socket is empty now: the cheaper question comes first.
            if more && self.streams.wants_read(token) {
                self.make_ready(token);
            }
        } else if self.sockets.get(token).is_some_and(|s| s.broken) {
            self.streams.lost(token, self.now_ms);
            self.part();
        }
    }

    /// True if there may be more to read.
    fn read(&mut self, token: Token) -> bool {
        let Some(stream) = self.sockets.get_mut(token).filter(|stream| stream.readable) else {
            return false;
        };
        let heard = stream.read(self.streams.space(token));
        let more = stream.readable;
        match heard {
            Heard::Bytes(bytes) => {
                self.streams.received(token, bytes, self.now_ms);
                self.introduce_waiting();
            }
            Heard::Nothing => {}
            Heard::Finished => self.streams.peer_finished(token, self.now_ms),
            Heard::Lost => self.streams.lost(token, self.now_ms),
        }
        self.flush_lent(token);
        more
    }

    fn expire(&mut self) {
        self.streams.expire(self.now_ms);
        self.expire_blocking();
        self.expire_reads();
        self.part();
    }

    // --- flush ----------------------------------------------------------------------------------

    /// What lies in the read buffer leaves before the next read needs it.
    fn flush_lent(&mut self, token: Token) {
        if self.streams.has_lent(token) {
            self.flush(token);
        } else {
            self.part();
        }
    }

    pub(super) fn flush(&mut self, token: Token) {
        if self.flush_bytes(token) == After::SendFile {
            self.send_files(token);
        }
        self.part();
    }

    pub(super) fn flush_bytes(&mut self, token: Token) -> After {
        let Some(stream) = self.sockets.get_mut(token) else {
            return After::Nothing;
        };
        let sent = match self.streams.only_piece(token) {
            Some(piece) => stream.send_piece(piece),
            None => stream.send(&self.streams.pieces(token)),
        };
        self.end_flush(token, sent)
    }

    pub(super) fn end_flush(&mut self, token: Token, sent: nix::Result<usize>) -> After {
        match sent {
            Ok(sent) => {
                let after = self.streams.sent(token, sent, self.now_ms);
                self.end_output(token, after)
            }
            Err(_) => {
                self.streams.lost(token, self.now_ms);
                After::Nothing
            }
        }
    }

    // --- count ---------------------------------------------------------------------------------

    fn publish(&mut self) {
        let (bytes_in, bytes_out) = self.streams.take_bytes();
        for (counter, amount) in [
            (Counter::BytesIn, bytes_in),
            (Counter::BytesOut, bytes_out),
            (Counter::LogLost, log::take_lost()),
        ] {
            if amount > 0 {
                self.scoreboard.add(counter, amount);
            }
        }
        if self.streams.has_tally() {
            self.publish_tally();
        }
    }

    fn publish_tally(&mut self) {
        let tally = self.streams.take_tally();
        let counts = [
            (Counter::PluginFaults, tally.faults),
            (Counter::FilesShort, tally.files_short),
            (Counter::ClosedIdle, tally.closed_idle),
            (Counter::ClosedLimit, tally.closed_limit),
            (Counter::HeldBandwidth, tally.held_bandwidth),
            (Counter::DatagramsFailed, tally.datagrams_failed),
        ];
        for (counter, amount) in counts {
            if amount > 0 {
                self.scoreboard.add(counter, amount);
            }
        }
        for (passed, amount) in Passed::ALL.iter().zip(tally.passed) {
            if amount > 0 {
                self.scoreboard.add(closed_for(*passed), amount);
                self.complaints.closed_for(self.now_ms, *passed, amount);
            }
        }
        if tally.closed_limit > 0 {
            self.complaints
                .closed_at_limit(self.now_ms, tally.closed_limit);
        }
        if let Some(text) = tally.fault {
            self.complaints.fault(self.now_ms, &text);
        }
    }
}
