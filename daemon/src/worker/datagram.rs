//! Datagrams: how they enter a worker, in batches, and whom the plugin never hears of.
//!
//! A listener is read until a batch is not full, or its budget of this turn is spent; what is left
//! is reported again. Each batch is answered before the next one needs its memory. An error that a
//! peer's machine caused is counted and closes nothing: it makes whatever call comes next fail once, or is
//! an event of its own, and leaves the socket's queue of errors then. What is sent, and how, is `sending`'s.
//!
//! A busy listener is not in the event queue: for each datagram that leaves a socket, the kernel would
//! tell the queue that there is room again, which costs a small one a twentieth of its way. It is read in
//! each turn then, until nothing waits in it.
//!
//! Invariant: a payload in the outbox lies in the batch that was received last; a worker does not wait
//! while a listener of it is busy.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};

use super::complaints::Complaints;
use super::gate::Gate;
use super::sending::Sending;
use crate::channel::ListenerBrief;
use crate::engine::Streams;
use crate::engine::protocol::Protocol;
use crate::engine::rates::Rates;
use crate::engine::replies::{Flow, FlowPeer};
use crate::engine::session::{DatagramFacts, Party};
use crate::plan::Limits;
use crate::scoreboard::{Counter, Scoreboard};
use crate::sys::datagram::{Arrival, BATCH, Inbox, Name, Way, drops, has_ways, take_errors};

/// Batches received from one listener in one turn.
const BATCHES_MAX: usize = 4;
/// How often a socket is asked what it has lost, beside when very many wait in it. The kernel would tell
/// with each datagram (SO_RXQ_OVFL), at one or two percent of what a small one costs.
const LOSSES_EVERY_MS: u64 = 100;
/// Who sends so much within a millisecond is busy: to leave the event queue and to come back costs less.
const BUSY_SENDS: u64 = 16;
/// How long a listener stays away after receiving failed.
const AWAY_MS: u64 = 100;

/// All datagram listeners of a worker, and the memory that they share.
#[derive(Debug)]
pub(super) struct Datagrams {
    listeners: Vec<DatagramListener>,
    /// Made with the first listener.
    inbox: Option<Inbox>,
    sending: Sending,
    rates: Option<Rates>,
    loopback_is_limited: bool,
    first_event: u64,
}

#[derive(Debug)]
pub(super) struct DatagramListener {
    pub(super) socket: OwnedFd,
    pub(super) brief: ListenerBrief,
    event: u64,
    place: Place,
    waiting: bool,
    /// The event queue says that errors wait.
    has_errors: bool,
    /// The socket's count of losses when it was last looked at.
    drops: u32,
    looked_ms: u64,
    /// In the millisecond of its last batch.
    sends: u64,
    sends_ms: u64,
    /// The kernel cuts runs for this socket.
    pub(super) cuts_runs: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Polled,
    /// Read in each turn, unasked.
    Busy,
    AwayUntil(u64),
    /// For good: the worker drains.
    Left,
}

/// What a worker lends for one turn's datagrams.
pub(super) struct Around<'a, P: Protocol> {
    pub(super) epoll: &'a Epoll,
    pub(super) streams: &'a mut Streams<P>,
    pub(super) scoreboard: &'a Scoreboard,
    pub(super) complaints: &'a mut Complaints,
    pub(super) gate: &'a mut Gate,
    pub(super) now_ms: u64,
}

impl Datagrams {
    /// Takes over the datagram sockets of a share; events are numbered from `first_event`.
    pub(super) fn new(
        listeners: Vec<(OwnedFd, ListenerBrief)>,
        limits: &Limits,
        worker_count: u16,
        first_event: u64,
        epoll: &Epoll,
    ) -> io::Result<Datagrams> {
        let mut datagrams = Datagrams {
            inbox: (!listeners.is_empty()).then(Inbox::new),
            listeners: Vec::new(),
            sending: Sending::default(),
            rates: rates(limits, worker_count),
            loopback_is_limited: limits.datagram_rate_written,
            first_event,
        };
        for ((socket, brief), event) in listeners.into_iter().zip(first_event..) {
            let mut listener = DatagramListener {
                drops: drops(socket.as_fd()),
                looked_ms: 0,
                sends: 0,
                sends_ms: 0,
                cuts_runs: brief.local.socket().is_some(),
                socket,
                brief,
                event,
                place: Place::Left,
                waiting: false,
                has_errors: false,
            };
            listener.enter(epoll)?;
            datagrams.listeners.push(listener);
        }
        Ok(datagrams)
    }

    pub(super) fn adjust(&mut self, limits: &Limits, worker_count: u16) {
        self.rates = rates(limits, worker_count);
        self.loopback_is_limited = limits.datagram_rate_written;
    }

    /// An event of a listener that has left is stale.
    pub(super) fn note(&mut self, event: u64, events: EpollFlags) {
        let nth = event.saturating_sub(self.first_event) as usize;
        if let Some(listener) = self.listeners.get_mut(nth) {
            listener.waiting = listener.place == Place::Polled;
            listener.has_errors = listener.waiting && events.contains(EpollFlags::EPOLLERR);
        }
    }

    /// Whether a listener is to be read whatever the event queue says.
    pub(super) fn is_busy(&self) -> bool {
        let mut listeners = self.listeners.iter();
        listeners.any(|listener| listener.place == Place::Busy)
    }

    /// The moment at which a listener wants to come back, if one waits for that.
    pub(super) fn back_ms(&self) -> Option<u64> {
        let moments = self
            .listeners
            .iter()
            .filter_map(|listener| match listener.place {
                Place::AwayUntil(at_ms) => Some(at_ms),
                Place::Polled | Place::Busy | Place::Left => None,
            });
        moments.min()
    }

    /// Receives nothing more. The sockets stay, for what is still to be said.
    pub(super) fn leave(&mut self, epoll: &Epoll) {
        for listener in &mut self.listeners {
            listener.leave(epoll, Place::Left);
        }
    }

    pub(super) fn readmit(&mut self, epoll: &Epoll, now_ms: u64) {
        for listener in &mut self.listeners {
            let due = matches!(listener.place, Place::AwayUntil(at_ms) if at_ms <= now_ms);
            if due && listener.enter(epoll).is_err() {
                listener.place = Place::AwayUntil(now_ms + AWAY_MS);
            }
        }
    }

    /// Receives and answers what waits. As long as one of those that are busy has something, all stay so:
    /// to look at an empty one costs less than to leave the queue anew.
    pub(super) fn receive<P: Protocol>(&mut self, around: &mut Around<'_, P>) {
        let mut is_quiet = true;
        for nth in 0..self.listeners.len() {
            let listener = &mut self.listeners[nth];
            if std::mem::take(&mut listener.waiting) || listener.place == Place::Busy {
                let came = self.receive_from(nth, around);
                is_quiet &= !came || self.listeners[nth].place != Place::Busy;
            }
        }
        if is_quiet {
            for listener in &mut self.listeners {
                listener.rest(around);
            }
        }
    }

    /// Whether anything came.
    fn receive_from<P: Protocol>(&mut self, nth: usize, around: &mut Around<'_, P>) -> bool {
        for batch in 0..BATCHES_MAX {
            let Some(inbox) = &mut self.inbox else {
                return false;
            };
            let listener = &mut self.listeners[nth];
            if std::mem::take(&mut listener.has_errors) {
                let errors = listener.take_errors();
                around.scoreboard.add(Counter::IcmpErrors, errors);
            }
            let notes = listener.brief.local.socket().is_some_and(has_ways);
            match inbox.receive(listener.socket.as_fd(), notes) {
                Ok(0) => return batch > 0,
                Ok(came) => {
                    for at in 0..came {
                        self.take(nth, at, around);
                    }
                    let sends = self.flush(around);
                    let listener = &mut self.listeners[nth];
                    listener.count_sends(sends, around);
                    listener.count_losses(came == BATCH, around);
                    if came < BATCH {
                        return true;
                    }
                }
                // Of one for which the queue of errors had no room, this is all there is.
                Err(errno) if is_of_the_way(errno) => {
                    let errors = listener.take_errors().max(1);
                    around.scoreboard.add(Counter::IcmpErrors, errors);
                }
                Err(errno) => {
                    let back_ms = around.now_ms + AWAY_MS;
                    listener.leave(around.epoll, Place::AwayUntil(back_ms));
                    let brief = &listener.brief;
                    around
                        .complaints
                        .receive_failed(around.now_ms, brief, errno);
                    return true;
                }
            }
        }
        true
    }

    /// One datagram of the batch: counted, and told to the protocol unless a rule is against it.
    fn take<P: Protocol>(&mut self, nth: usize, at: usize, around: &mut Around<'_, P>) {
        let Some(inbox) = &self.inbox else {
            return;
        };
        let arrival = inbox.arrival(at);
        let (board, now_ms) = (around.scoreboard, around.now_ms);
        let listener = &mut self.listeners[nth];
        if arrival.truncated {
            board.add(Counter::DatagramsTruncated, 1);
            return;
        }
        board.add(Counter::DatagramsIn, 1);
        board.add(Counter::BytesIn, arrival.payload.len() as u64);
        let peer = match arrival.from {
            Name::Internet(peer) => Party::Internet(peer),
            Name::Unix(_) => Party::Unix,
        };
        if let Err(refusal) = around.gate.permits(peer, now_ms) {
            board.add(Counter::Refused, 1);
            board.add(refusal.counter(), 1);
            around.complaints.refused(now_ms, peer, refusal);
            return;
        }
        if let Some(rates) = &mut self.rates
            && (self.loopback_is_limited || !is_loopback(peer))
            && !rates.allows(peer.source(), now_ms)
        {
            board.add(Counter::DatagramsLimited, 1);
            around
                .complaints
                .over_datagram_rate(now_ms, &listener.brief, peer);
            return;
        }
        let way = arrival.way();
        let (flow, name) = flow(nth, &arrival, way);
        let facts = DatagramFacts {
            peer,
            local: local(way, &listener.brief),
            to_many: to_many(way),
            reply: around.streams.outbox().replies.note(flow, name),
            endpoint: &listener.brief.endpoint,
        };
        around
            .streams
            .datagram(&facts, arrival.payload, arrival.at, now_ms);
    }

    /// Sends what has gathered in the outbox; the answer is how many sends that took.
    pub(super) fn flush<P: Protocol>(&mut self, around: &mut Around<'_, P>) -> u64 {
        let mut sends = 0;
        let outbox = around.streams.outbox();
        if !outbox.sends().is_empty() {
            let batch = self.inbox.as_ref().map_or(&[][..], Inbox::bytes);
            let sent = self.sending.send(outbox, batch, &mut self.listeners);
            sends = sent.sends;
            outbox.clear();
            around.scoreboard.add(Counter::DatagramsOut, sent.datagrams);
            around.scoreboard.add(Counter::BytesOut, sent.bytes);
            around
                .scoreboard
                .add(Counter::DatagramsDropped, sent.dropped);
            around.scoreboard.add(Counter::IcmpErrors, sent.icmp_errors);
        }
        let dropped = around.streams.outbox().take_dropped();
        if dropped > 0 {
            around.scoreboard.add(Counter::DatagramsDropped, dropped);
        }
        sends
    }
}

impl DatagramListener {
    /// Of a socket in which very many wait at once, or at which nobody has looked for a while.
    fn count_losses<P: Protocol>(&mut self, many: bool, around: &mut Around<'_, P>) {
        let now_ms = around.now_ms;
        if !many && now_ms < self.looked_ms + LOSSES_EVERY_MS {
            return;
        }
        self.looked_ms = now_ms;
        let drops = drops(self.socket.as_fd());
        let lost = drops.wrapping_sub(std::mem::replace(&mut self.drops, drops));
        if lost > 0 {
            let (board, complaints) = (around.scoreboard, &mut around.complaints);
            board.add(Counter::ReceiveQueueFull, lost.into());
            complaints.queue_was_full(now_ms, &self.brief, lost);
        }
    }

    fn count_sends<P: Protocol>(&mut self, sends: u64, around: &Around<'_, P>) {
        if self.sends_ms != around.now_ms {
            (self.sends, self.sends_ms) = (0, around.now_ms);
        }
        self.sends += sends;
        if self.sends >= BUSY_SENDS && self.place == Place::Polled {
            self.leave(around.epoll, Place::Busy);
        }
    }

    /// Nothing waits in it: whatever comes is an event again, and what came just now is one at once.
    fn rest<P: Protocol>(&mut self, around: &Around<'_, P>) {
        if self.place != Place::Busy {
            return;
        }
        self.sends = 0;
        if self.enter(around.epoll).is_err() {
            self.place = Place::AwayUntil(around.now_ms + AWAY_MS);
        }
    }

    fn enter(&mut self, epoll: &Epoll) -> io::Result<()> {
        let mut interest = EpollFlags::EPOLLIN;
        if self.brief.shared {
            interest |= EpollFlags::EPOLLEXCLUSIVE;
        }
        epoll.add(&self.socket, EpollEvent::new(interest, self.event))?;
        self.place = Place::Polled;
        Ok(())
    }

    /// Explicitly, since other processes hold the same socket.
    fn leave(&mut self, epoll: &Epoll, place: Place) {
        if self.place == Place::Polled {
            let _ = epoll.delete(&self.socket);
        }
        (self.waiting, self.has_errors) = (false, false);
        self.place = place;
    }

    /// What other hosts have said against answers; a Unix socket has no queue for that.
    pub(super) fn take_errors(&self) -> u64 {
        match self.brief.local.socket() {
            Some(_) => take_errors(self.socket.as_fd()),
            None => 0,
        }
    }

    /// Whether a call may have failed with this for what somebody had said before.
    pub(super) fn is_told_of(&self, errno: Errno) -> bool {
        self.brief.local.socket().is_some() && is_of_the_way(errno)
    }

    pub(super) fn is_v6(&self) -> bool {
        self.brief
            .local
            .socket()
            .is_some_and(|local| local.is_ipv6())
    }
}

/// The configured rate is that of the whole service: each worker allows its share.
fn rates(limits: &Limits, worker_count: u16) -> Option<Rates> {
    let workers = u32::from(worker_count.max(1));
    let share = |whole: u32| whole.div_ceil(workers);
    (limits.datagram_rate > 0).then(|| {
        Rates::new(
            share(limits.datagram_rate),
            share(limits.datagram_burst),
            RandomState::new().build_hasher().finish(),
        )
    })
}

/// Errors that a peer's machine or one between us caused, reported at whatever call comes next.
fn is_of_the_way(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::ECONNREFUSED
            | Errno::EACCES
            | Errno::EMSGSIZE
            | Errno::EOPNOTSUPP
            | Errno::EHOSTUNREACH
            | Errno::ENETUNREACH
            | Errno::EHOSTDOWN
            | Errno::ENONET
            | Errno::EPROTO
            | Errno::ECONNRESET
            | Errno::ENOPROTOOPT
    )
}

fn is_loopback(peer: Party) -> bool {
    match peer {
        Party::Unix => true,
        Party::Internet(peer) => peer.ip().to_canonical().is_loopback(),
    }
}

fn flow<'a>(nth: usize, arrival: &Arrival<'a>, way: Way) -> (Flow, &'a [u8]) {
    let (peer, name) = match arrival.from {
        Name::Internet(peer) => (FlowPeer::Internet(peer), &[][..]),
        Name::Unix([]) => (FlowPeer::Nameless, &[][..]),
        Name::Unix(name) => (FlowPeer::Unix, name),
    };
    let flow = Flow {
        listener: nth as u32,
        interface: way.source.map_or(0, |source| source.interface),
        local: way.source.and_then(|source| source.address),
        peer,
    };
    (flow, name)
}

/// The address in the datagram's header, where the socket is told it, with the listener's port.
fn local(way: Way, brief: &ListenerBrief) -> Party {
    match (brief.local.socket(), way.to) {
        (Some(bound), Some(to)) => SocketAddr::new(to, bound.port()).into(),
        (Some(bound), None) => bound.into(),
        (None, _) => Party::Unix,
    }
}

/// What the kernel would not answer from is no address of one machine.
fn to_many(way: Way) -> bool {
    let Some(to) = way.to.map(|to| to.to_canonical()) else {
        return false;
    };
    let ours = way.source.and_then(|source| source.address);
    match to {
        IpAddr::V6(to) => to.is_multicast(),
        IpAddr::V4(Ipv4Addr::BROADCAST) => true,
        IpAddr::V4(to) => {
            to.is_multicast() || ours.is_some_and(|ours| ours.to_canonical() != IpAddr::V4(to))
        }
    }
}
