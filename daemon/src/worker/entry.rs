//! Coming in: from an accepted socket past the gate, and past a proxy's header, to a session.
//!
//! Those who are refused are counted by reason, may be told why, and are closed before a byte of
//! theirs is read. A ban reaches those who are in already.
//!
//! Invariant: nobody is turned away silently; each is in `refused` or a `closed_…` counter.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::epoll::EpollEvent;
use nix::sys::socket::{MsgFlags, Shutdown, recv, send, shutdown};
use slotmap::Key;

use super::gate::{Guest, Refusal};
use super::stream::Stream;
use super::turn::Worker;
use super::{Orders, Wakes};
use crate::channel::{Ban, Report};
use crate::engine::protocol::Protocol;
use crate::engine::session::{Facts, Party, Token};
use crate::scoreboard::Counter;

/// What is kept of a connection whose proxy has not said for whom it speaks.
#[derive(Debug)]
pub(super) struct Stranger {
    peer: Party,
    local: Party,
    endpoint: String,
}

impl<P: Protocol, W: Wakes, O: Orders> Worker<P, W, O> {
    pub(super) fn admit(&mut self, nth: usize, socket: OwnedFd, peer: Party) {
        self.scoreboard.add(Counter::Accepted, 1);
        let listener = &self.listeners[nth];
        listener.equip(&socket, self.send_buffer_bytes);
        let local = listener.local_of(&socket);
        let credentials = listener.credentials_of(&socket);
        if self.gate.is_proxy(peer) {
            return match self.gate.check_ban(peer, self.now_ms) {
                Ok(()) => self.admit_proxy(nth, socket, peer, local),
                Err(refusal) => self.refuse(&socket, peer, refusal),
            };
        }
        let guest = match self.gate.judge(peer, self.now_ms) {
            Ok(guest) => guest,
            Err(refusal) => return self.refuse(&socket, peer, refusal),
        };
        self.note_uncounted(guest);
        let facts = Facts {
            peer,
            local,
            credentials,
            accepted_ms: self.now_ms,
            proxied: false,
            endpoint: &self.listeners[nth].brief.endpoint,
        };
        if self.blocking.serves() {
            let (endpoint, facts) = (facts.endpoint.to_owned(), facts.without_endpoint());
            return self.hand_over(Stream::new(socket, self.now_ms), facts, endpoint, guest);
        }
        match self.streams.open(&facts, self.now_ms) {
            Ok(token) => {
                self.gate.enter(token, guest);
                self.keep_from(nth, token, socket, peer);
            }
            Err(_) => {
                self.gate.turn_back(guest);
                self.vetoed(peer);
                self.part();
            }
        }
    }

    fn admit_proxy(&mut self, nth: usize, socket: OwnedFd, peer: Party, local: Party) {
        let token = self.streams.open_for_proxy(self.now_ms);
        let stranger = Stranger {
            peer,
            local,
            endpoint: self.listeners[nth].brief.endpoint.clone(),
        };
        self.strangers.insert(token, Box::new(stranger));
        self.keep(token, socket, peer);
    }

    pub(super) fn note_uncounted(&mut self, guest: Guest) {
        if self.gate.is_uncounted(guest) {
            self.scoreboard.add(Counter::SourcesFull, 1);
            self.complaints.sources_full(self.now_ms);
        }
    }

    /// The connection is one of ours from here on.
    pub(super) fn keep(&mut self, token: Token, socket: OwnedFd, peer: Party) {
        self.keep_unregistered(token, socket, peer);
        self.register(token);
        self.part();
    }

    fn keep_unregistered(&mut self, token: Token, socket: OwnedFd, peer: Party) {
        tracing::debug!(session = token.data().as_ffi(), %peer, "connection opened");
        self.scoreboard.add(Counter::Connections, 1);
        let stream = Stream::new(socket, self.now_ms);
        self.sockets.insert(token, stream);
    }

    /// The same, of one that a listener has accepted. If its request is there, it is answered before the
    /// next is accepted, and the event queue hears of the connection only if it outlives this turn.
    fn keep_from(&mut self, nth: usize, token: Token, socket: OwnedFd, peer: Party) {
        let listener = &self.listeners[nth];
        let (deferred, closes_in_order) = (listener.deferred, listener.closes_in_order);
        self.keep_unregistered(token, socket, peer);
        if let Some(stream) = self.sockets.get_mut(token) {
            stream.non_blocking = true;
            stream.closes_in_order = closes_in_order;
            stream.readable = deferred;
        }
        if deferred {
            self.unregistered.push(token);
            self.visit(token);
            if self.streams.queued(token) > 0 {
                self.flush(token);
            }
        } else {
            self.register(token);
        }
        self.part();
    }

    /// At the end of a turn: those who came in it and are still there.
    pub(super) fn register_new(&mut self) {
        while let Some(token) = self.unregistered.pop() {
            self.register(token);
            self.part();
        }
    }

    fn register(&mut self, token: Token) {
        let Some(stream) = self.sockets.get(token) else {
            return;
        };
        let event = EpollEvent::new(Stream::interest(), token.data().as_ffi());
        if self.epoll.add(&stream.socket, event).is_err() {
            self.streams.lost(token, self.now_ms);
        }
    }

    /// After a read: proxies whose headers are complete.
    pub(super) fn introduce_waiting(&mut self) {
        while let Some(introduced) = self.streams.pop_introduced() {
            let token = introduced.token;
            let Some(stranger) = self.strangers.remove(token) else {
                continue;
            };
            let proxied = introduced.ends.is_some();
            let (peer, local) = introduced.ends.unwrap_or((stranger.peer, stranger.local));
            let guest = match self.gate.judge(peer, self.now_ms) {
                Ok(guest) => guest,
                Err(refusal) => {
                    self.refuse_introduced(token, peer, refusal);
                    continue;
                }
            };
            self.note_uncounted(guest);
            let facts = Facts {
                peer,
                local,
                credentials: None,
                accepted_ms: self.now_ms,
                proxied,
                endpoint: &stranger.endpoint,
            };
            tracing::debug!(session = token.data().as_ffi(), %peer, "introduced by a proxy");
            if self.blocking.serves() {
                let (facts, endpoint) = (facts.without_endpoint(), stranger.endpoint);
                self.hand_over_introduced(token, facts, endpoint, guest);
                continue;
            }
            self.gate.enter(token, guest);
            if self.streams.introduce(token, &facts, self.now_ms).is_err() {
                self.vetoed(peer);
            }
        }
    }

    fn refuse_introduced(&mut self, token: Token, peer: Party, refusal: Refusal) {
        self.note_refusal(peer, refusal);
        if let Some(stream) = self.sockets.get(token).filter(|_| refusal.is_told()) {
            say_and_finish(&stream.socket, self.banner.as_bytes());
        }
        self.streams.turn_away(token, self.now_ms);
    }

    fn vetoed(&mut self, peer: Party) {
        tracing::debug!(%peer, "the plugin refused the connection");
        self.scoreboard.add(Counter::Refused, 1);
        self.scoreboard.add(Counter::RefusedVeto, 1);
    }

    fn refuse(&mut self, socket: &OwnedFd, peer: Party, refusal: Refusal) {
        self.note_refusal(peer, refusal);
        if refusal.is_told() {
            say_and_finish(socket, self.banner.as_bytes());
        }
    }

    fn note_refusal(&mut self, peer: Party, refusal: Refusal) {
        self.scoreboard.add(Counter::Refused, 1);
        self.scoreboard.add(refusal.counter(), 1);
        self.complaints.refused(self.now_ms, peer, refusal);
        if refusal == Refusal::Trapped {
            self.report_trapped(peer);
        }
    }

    fn report_trapped(&mut self, peer: Party) {
        let Some(source) = self.gate.trap(peer, self.now_ms) else {
            return;
        };
        if let Err(error) = self.orders.report(&Report::Trapped { source }) {
            tracing::warn!(%source, "a trapped source cannot be reported: {error}");
        }
    }

    pub(super) fn ban(&mut self, ban: &Ban) {
        for token in self.gate.ban(ban, self.now_ms) {
            self.streams.close_banned(token, self.now_ms);
        }
        self.end_banned_sessions();
        self.part();
    }
}

/// The banner fits an empty socket's buffer, so nothing waits. What the peer has sent is read and
/// dropped: closing with unread input would reset the connection and could destroy the words.
fn say_and_finish(socket: &OwnedFd, banner: &[u8]) {
    if banner.is_empty() {
        return;
    }
    let fd = socket.as_raw_fd();
    // A peer that is gone already hears nothing, and that is all that can go wrong here.
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    let _ = send(fd, banner, flags);
    let _ = shutdown(socket.as_raw_fd(), Shutdown::Write);
    let _ = recv(fd, &mut [0; 4096], MsgFlags::MSG_DONTWAIT);
}
