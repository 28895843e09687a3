//! A stream socket: the only place that reads from, writes to or resets one.
//!
//! Sockets stay in blocking mode and every call says "do not wait" itself: accepting then costs one
//! call and not two. Remembered here is what the edge-triggered event queue said and will not say
//! again; what it means for the connection is the engine's business.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc::linger;
use nix::sys::epoll::EpollFlags;
use nix::sys::socket::{
    MsgFlags, Shutdown, SockaddrStorage, recv, send, sendmsg, setsockopt, shutdown, sockopt,
};

use crate::engine::Pieces;

#[derive(Debug)]
pub(super) struct Stream {
    /// Of TCP or a Unix stream: both are read, sent to and shut alike.
    pub(super) socket: OwnedFd,
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
    pub(super) fn new(socket: OwnedFd) -> Stream {
        Stream {
            socket,
            readable: false,
            writable: true,
            hung: false,
            broken: false,
            listed: false,
            resumed: false,
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
        (self.readable || self.resumed) && !std::mem::replace(&mut self.listed, true)
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
        if !self.writable {
            return Ok(0);
        }
        let fd = self.socket.as_raw_fd();
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let (result, offered) = match pieces.as_slice() {
            [] => return Ok(0),
            [piece] => (uninterrupted(|| send(fd, piece, flags)), piece.len()),
            many => {
                let sent = || sendmsg::<SockaddrStorage>(fd, many, &[], flags, None);
                (uninterrupted(sent), pieces.len())
            }
        };
        let sent = match result {
            Err(Errno::EAGAIN) => 0,
            result => result?,
        };
        self.writable = sent == offered;
        Ok(sent)
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
