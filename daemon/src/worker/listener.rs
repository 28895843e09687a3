//! A listening socket as one worker polls it.
//!
//! Level-triggered, so that whatever is left in the queue is seen again; shared ones exclusively, so
//! that one connection does not wake all workers. A listener whose connections cannot be taken
//! *leaves* the event queue instead of reporting them without end, and comes back later.
//!
//! Invariant: it is in the event queue exactly while `Polled`.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;

use nix::errno::Errno;
use nix::libc;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use nix::sys::socket::{SockaddrStorage, getsockname, getsockopt, setsockopt, sockopt};

use crate::channel::ListenerBrief;
use crate::engine::session::{Credentials, Party};
use crate::sys::accept::accept;
use crate::sys::socket_option;

/// How long a listener stays away after accepting failed.
const AWAY_MS: u64 = 100;
/// Connections accepted from one listener in one turn.
pub(super) const ACCEPTS_MAX: usize = 32;
/// After so many turns in a row in which none was missing, a listener is asked for more at once.
const FULL_TURNS: u32 = 8;

#[derive(Debug)]
pub(super) struct Listener {
    socket: Socket,
    pub(super) brief: ListenerBrief,
    pub(super) event: u64,
    /// It is polled for a sibling in this place.
    pub(super) lent_by: Option<u16>,
    place: Place,
    /// A connection is accepted once its request is there.
    pub(super) deferred: bool,
    /// Closing a connection of it sends a FIN, and not a reset.
    pub(super) closes_in_order: bool,
    /// The event queue says that connections wait.
    pub(super) waiting: bool,
    pub(super) portion: Portion,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Socket::Tcp(socket) => socket.as_fd(),
            Socket::Unix(socket) => socket.as_fd(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Polled,
    /// Until this moment.
    AwayUntil(u64),
    /// Until a connection closes.
    AtLimit,
}

/// What became of an attempt to accept.
#[derive(Debug)]
pub(super) enum Accepted {
    Connection(OwnedFd, Party),
    /// That one is gone already; there may be more.
    Again,
    Empty,
    /// The system has no descriptor or memory left for it.
    OutOfDescriptors,
    Failed(io::Error),
}

impl Listener {
    pub(super) fn new(fd: OwnedFd, brief: ListenerBrief, event: u64) -> io::Result<Listener> {
        let socket = match brief.local.socket() {
            Some(_) => Socket::Tcp(fd.into()),
            None => Socket::Unix(fd.into()),
        };
        // For all who share the socket; each of them wants it so.
        match &socket {
            Socket::Tcp(socket) => socket.set_nonblocking(true)?,
            Socket::Unix(socket) => socket.set_nonblocking(true)?,
        }
        let deferred = match &socket {
            Socket::Tcp(socket) => {
                let mut seconds = [0; 4];
                let name = libc::TCP_DEFER_ACCEPT;
                socket_option::read(socket, libc::IPPROTO_TCP, name, &mut seconds)?;
                seconds != [0; 4]
            }
            Socket::Unix(_) => false,
        };
        // A connection inherits it, and what was written for another socket may still hold for this.
        let at_once = getsockopt(&socket, sockopt::Linger)?;
        let closes_in_order = at_once.l_onoff == 0 || at_once.l_linger > 0;
        Ok(Listener {
            socket,
            brief,
            event,
            deferred,
            closes_in_order,
            lent_by: None,
            place: Place::AtLimit,
            waiting: false,
            portion: Portion::default(),
        })
    }

    pub(super) fn is_polled(&self) -> bool {
        self.place == Place::Polled
    }

    /// The moment at which it wants to come back, if it waits for one.
    pub(super) fn back_ms(&self) -> Option<u64> {
        match self.place {
            Place::AwayUntil(at_ms) => Some(at_ms),
            Place::Polled | Place::AtLimit => None,
        }
    }

    /// Enters the event queue.
    pub(super) fn enter(&mut self, epoll: &Epoll) -> io::Result<()> {
        let mut interest = EpollFlags::EPOLLIN;
        if self.brief.shared {
            interest |= EpollFlags::EPOLLEXCLUSIVE;
        }
        epoll.add(&self.socket, EpollEvent::new(interest, self.event))?;
        self.place = Place::Polled;
        Ok(())
    }

    pub(super) fn leave_for_a_while(&mut self, epoll: &Epoll, now_ms: u64) {
        self.leave(epoll);
        self.place = Place::AwayUntil(now_ms + AWAY_MS);
    }

    pub(super) fn leave_at_limit(&mut self, epoll: &Epoll) {
        self.leave(epoll);
        self.place = Place::AtLimit;
    }

    /// Explicitly, since other processes hold the same socket: closing ours would not take it out.
    pub(super) fn leave(&mut self, epoll: &Epoll) {
        self.waiting = false;
        if self.is_polled() {
            let _ = epoll.delete(&self.socket);
            self.place = Place::AtLimit;
        }
    }

    pub(super) fn accept(&self) -> Accepted {
        let error = match accept(&self.socket) {
            Ok((socket, peer)) => {
                return Accepted::Connection(socket, peer.map_or(Party::Unix, Party::from));
            }
            Err(error) => error,
        };
        match error {
            Errno::EAGAIN => Accepted::Empty,
            Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM => {
                Accepted::OutOfDescriptors
            }
            // accept(2): pending errors of the new socket are reported here on Linux, and are to be
            // treated like a connection that was aborted.
            Errno::ECONNABORTED
            | Errno::EPROTO
            | Errno::EPERM
            | Errno::ENETDOWN
            | Errno::ENOPROTOOPT
            | Errno::EHOSTDOWN
            | Errno::ENONET
            | Errno::EHOSTUNREACH
            | Errno::EOPNOTSUPP
            | Errno::ENETUNREACH
            | Errno::ETIMEDOUT => Accepted::Again,
            _ => Accepted::Failed(error.into()),
        }
    }

    /// The address that a connection of this listener came to.
    pub(super) fn local_of(&self, socket: &OwnedFd) -> Party {
        match self.brief.local.socket() {
            Some(bound) if bound.ip().is_unspecified() => {
                let name = getsockname::<SockaddrStorage>(socket.as_raw_fd()).ok();
                let v4 =
                    name.and_then(|name| Some(SocketAddr::V4((*name.as_sockaddr_in()?).into())));
                let v6 = || {
                    name.and_then(|name| Some(SocketAddr::V6((*name.as_sockaddr_in6()?).into())))
                };
                v4.or_else(v6).unwrap_or(bound).into()
            }
            Some(bound) => bound.into(),
            None => Party::Unix,
        }
    }

    /// Who is behind a connection, where the kernel knows it: the process that connected, with the
    /// identity that it had then.
    pub(super) fn credentials_of(&self, socket: &OwnedFd) -> Option<Credentials> {
        if let Socket::Tcp(_) = self.socket {
            return None;
        }
        let known = getsockopt(socket, sockopt::PeerCredentials).ok()?;
        Some(Credentials {
            pid: known.pid().unsigned_abs(),
            uid: known.uid(),
            gid: known.gid(),
        })
    }

    /// What a connection does not inherit from its listening socket: of a TCP one it inherits all,
    /// of a Unix one nothing.
    pub(super) fn equip(&self, socket: &OwnedFd, send_buffer_bytes: Option<u32>) {
        if let (Socket::Unix(_), Some(bytes)) = (&self.socket, send_buffer_bytes) {
            // A connection with another buffer is better than none.
            let _ = setsockopt(socket, sockopt::SndBuf, &(bytes as usize));
        }
    }
}

/// How many connections a listener is asked for in one turn: as many as were there when it was last found
/// empty, for asking in vain costs nearly what a connection does. What is left the event queue tells of
/// again, so nobody waits for longer than a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Portion {
    pub(super) connections: usize,
    full_turns: u32,
}

impl Default for Portion {
    fn default() -> Portion {
        Portion {
            connections: ACCEPTS_MAX,
            full_turns: 0,
        }
    }
}

impl Portion {
    pub(super) fn found_empty(&mut self, accepted: usize) {
        *self = Portion {
            connections: accepted.max(1),
            full_turns: 0,
        };
    }

    pub(super) fn was_there(&mut self) {
        self.full_turns += 1;
        if self.full_turns == FULL_TURNS {
            self.connections = ACCEPTS_MAX.min(2 * self.connections);
            self.full_turns = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks for each of these numbers of waiting connections in turn; how many were asked for at once.
    fn asked_for(portion: &mut Portion, waiting: &[usize]) -> Vec<usize> {
        let turn = |waiting: &usize| {
            let asked = portion.connections;
            match *waiting < asked {
                true => portion.found_empty(*waiting),
                false => portion.was_there(),
            }
            asked
        };
        waiting.iter().map(turn).collect()
    }

    #[test]
    fn as_many_as_were_there_and_more_where_there_are_always_more() {
        let mut portion = Portion::default();
        assert_eq!(asked_for(&mut portion, &[3, 2, 0, 1]), [32, 3, 2, 1]);
        let crowd = asked_for(&mut portion, &[1000; 50]);
        let sizes: Vec<usize> = crowd.chunks(8).map(|turns| turns[0]).collect();
        assert_eq!(sizes[..6], [1, 2, 4, 8, 16, 32]);
        assert_eq!(*crowd.last().expect("there are fifty"), 32);
    }
}
