//! A stream socket: the only place that reads from, writes to or resets one.
//!
//! Every call says "do not wait" itself, so that nothing depends on how a socket was set by who made it;
//! sendfile(2) alone cannot say so. Remembered here is what the edge-triggered event queue said and will
//! not say again; what it means for the connection is the engine's business.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc::{MSG_MORE, linger};
use nix::sys::epoll::EpollFlags;
use nix::sys::sendfile::sendfile;
use nix::sys::socket::{
    MsgFlags, Shutdown, SockaddrStorage, recv, send, sendmsg, setsockopt, shutdown, sockopt,
};

use crate::engine::Pieces;

#[derive(Debug)]
pub(super) struct Stream {
    /// Of TCP or a Unix stream: both are read, sent to and shut alike.
    pub(super) socket: OwnedFd,
    /// When it was accepted, here or by the worker that it comes from.
    pub(super) since_ms: u64,
    /// There may be something to read.
    pub(super) readable: bool,
    /// The last send was not cut short.
    pub(super) writable: bool,
    /// The peer finished or broke: its last word has to be read up to the end.
    hung: bool,
    /// It has failed, which has to be noticed even where nothing is read.
    pub(super) broken: bool,
    /// It is on the ready list.
    pub(super) listed: bool,
    /// The engine has something to tell the protocol about it.
    pub(super) resumed: bool,
    /// It has sent enough in its turn, and could have gone on.
    pub(super) unsent: bool,
    /// It is known that no call for it waits.
    pub(super) non_blocking: bool,
    /// It is known that closing it resets nothing while no input waits in it.
    pub(super) closes_in_order: bool,
}

/// What the socket took of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Took {
    /// At least one.
    Bytes(usize),
    /// It is full.
    Nothing,
    /// There was nothing to take: the file ends here.
    End,
}

/// What a read brought.
#[derive(Debug)]
pub(super) enum Heard {
    Bytes(usize),
    Nothing,
    Finished,
    Lost,
}

impl Stream {
    pub(super) fn new(socket: OwnedFd, since_ms: u64) -> Stream {
        Stream {
            socket,
            since_ms,
            readable: false,
            writable: true,
            hung: false,
            broken: false,
            listed: false,
            resumed: false,
            unsent: false,
            non_blocking: false,
            closes_in_order: false,
        }
    }

    /// Registered once with all of them; the queue is never told anything else.
    pub(super) fn interest() -> EpollFlags {
        EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET
    }

    /// True if it takes bytes again.
    pub(super) fn note(&mut self, events: EpollFlags) -> bool {
        let unblocked = !self.writable && events.contains(EpollFlags::EPOLLOUT);
        let hung = EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR;
        self.hung |= events.intersects(hung);
        self.readable |= events.intersects(EpollFlags::EPOLLIN | hung);
        self.broken |= events.contains(EpollFlags::EPOLLERR);
        self.writable |= unblocked;
        unblocked
    }

    /// True if it can go on and was not on the ready list; now it is.
    pub(super) fn list(&mut self) -> bool {
        let can_go_on = self.readable || self.resumed || self.unsent;
        can_go_on && !std::mem::replace(&mut self.listed, true)
    }

    /// A read that does not fill the space has emptied the socket: whatever comes later is a new
    /// edge. Not so behind a FIN or an error, whose edge has passed already.
    pub(super) fn read(&mut self, space: &mut [u8]) -> Heard {
        match uninterrupted(|| recv(self.socket.as_raw_fd(), space, MsgFlags::MSG_DONTWAIT)) {
            Ok(0) => {
                self.readable = false;
                Heard::Finished
            }
            Ok(bytes) => {
                self.readable = bytes == space.len() || self.hung;
                Heard::Bytes(bytes)
            }
            Err(Errno::EAGAIN) => {
                self.readable = false;
                Heard::Nothing
            }
            Err(_) => Heard::Lost,
        }
    }

    /// How many bytes of the pieces the socket took; all others wait for it to be writable.
    pub(super) fn send(&mut self, pieces: &Pieces<'_>) -> nix::Result<usize> {
        let mut flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        if pieces.more_follows() {
            flags |= MsgFlags::from_bits_retain(MSG_MORE);
        }
        match pieces.as_slice() {
            [] => Ok(0),
            [piece] => self.offer(piece.len(), |fd| send(fd, piece, flags)),
            many => self.offer(pieces.len(), |fd| {
                sendmsg::<SockaddrStorage>(fd, many, &[], flags, None)
            }),
        }
    }

    /// The same of a single piece, behind which nothing follows.
    pub(super) fn send_piece(&mut self, piece: &[u8]) -> nix::Result<usize> {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        self.offer(piece.len(), |fd| send(fd, piece, flags))
    }

    fn offer(
        &mut self,
        bytes: usize,
        call: impl Fn(RawFd) -> nix::Result<usize>,
    ) -> nix::Result<usize> {
        if !self.writable {
            return Ok(0);
        }
        let fd = self.socket.as_raw_fd();
        let sent = match uninterrupted(|| call(fd)) {
            Err(Errno::EAGAIN) => 0,
            result => result?,
        };
        self.writable = sent == bytes;
        Ok(sent)
    }

    /// Sends of a file without a copy. What was not taken waits for the socket to be writable.
    pub(super) fn send_file(
        &mut self,
        file: &OwnedFd,
        offset: u64,
        length: usize,
    ) -> nix::Result<Took> {
        // sendfile(2) has no flag for it.
        if !std::mem::replace(&mut self.non_blocking, true) {
            fcntl(&self.socket, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        let mut at = i64::try_from(offset).map_err(|_| Errno::EOVERFLOW)?;
        match uninterrupted(|| sendfile(&self.socket, file, Some(&mut at), length)) {
            Ok(0) => Ok(Took::End),
            Ok(bytes) => Ok(Took::Bytes(bytes)),
            Err(Errno::EAGAIN) => {
                self.writable = false;
                Ok(Took::Nothing)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether closing it now would reset the connection. Asked of the socket at the last moment: what
    /// has come since it was read last is known to nobody else.
    pub(super) fn would_reset(&self) -> bool {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_PEEK;
        let waits = || recv(self.socket.as_raw_fd(), &mut [0], flags);
        !self.closes_in_order || matches!(uninterrupted(waits), Ok(1..))
    }

    pub(super) fn shut_writing(&self) {
        // Fails only when the peer is gone, which reading finds out.
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Write);
    }

    /// Closes with a reset: what was not sent yet never will be.
    pub(super) fn reset(self) {
        let at_once = linger {
            l_onoff: 1,
            l_linger: 0,
        };
        // If it fails the socket is closed all the same.
        let _ = setsockopt(&self.socket, sockopt::Linger, &at_once);
    }
}

fn uninterrupted<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}
