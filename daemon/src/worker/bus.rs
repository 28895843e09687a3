//! The worker's end of the bus: one socket, read and written in as few calls as there can be.
//!
//! What frames mean is the protocol's; here they are only cut out of the stream. An end that is over, or
//! that says what nobody understands, is closed, and the protocol is told; the supervisor sends the next.
//!
//! Invariant: there is at most one end, and what is in `input` begins with a whole or unfinished frame.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::epoll::{EpollEvent, EpollFlags};
use nix::sys::socket::{MsgFlags, recv, send};

use super::turn::Worker;
use super::{Orders, Wakes};
use crate::engine::protocol::{BusNews, Protocol};
use crate::hub::wire::{FRAME_BYTES_MAX, next_frame};

/// What an event of the bus is about.
pub(super) const BUS: u64 = (1 << 32) - 2;
/// What one read may bring.
const READ_BYTES: usize = 256 * 1024;
/// Reads in one turn; what is left waits for the next.
const READS_MAX: usize = 4;
/// How long a worker whose sessions are gone stays for what they have said: longer than a hub that
/// replaces another waits for those who knew that one.
const LAST_WORDS_MS: u64 = 5_000;

#[derive(Debug)]
pub(super) struct Bus {
    socket: Option<OwnedFd>,
    input: Vec<u8>,
    /// Bytes of `input` that were read.
    length: usize,
    pub(super) readable: bool,
    writable: bool,
    /// The event queue is to tell when there is room again. Not always: for a Unix socket it would then
    /// tell so whenever the hub has read anything, and each message would cost a turn of its own.
    awaits_room: bool,
    /// Its end is in sight: nobody tells of it twice.
    ending: bool,
    /// The last session is gone; until then the answers to what was said are awaited.
    last_words_ms: Option<u64>,
}

impl Default for Bus {
    fn default() -> Bus {
        Bus {
            socket: None,
            input: Vec::new(),
            length: 0,
            readable: false,
            writable: true,
            awaits_room: false,
            ending: false,
            last_words_ms: None,
        }
    }
}

impl Bus {
    pub(super) fn note(&mut self, events: EpollFlags) {
        self.ending |= events.intersects(EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR);
        self.readable |= self.ending || events.contains(EpollFlags::EPOLLIN);
        self.writable |= events.contains(EpollFlags::EPOLLOUT);
    }

    /// When the answers to last words are waited for no longer, if that has begun.
    pub(super) fn next_deadline_ms(&self) -> Option<u64> {
        self.last_words_ms
    }
}

impl<P: Protocol, W: Wakes, O: Orders> Worker<P, W, O> {
    /// The supervisor has sent an end; one that there was is over.
    pub(super) fn join_bus(&mut self, socket: OwnedFd) {
        self.leave_bus("another one was sent");
        if let Err(error) = self.epoll.add(&socket, interest(false)) {
            return tracing::error!("the bus cannot be polled: {error}");
        }
        self.bus = Bus {
            socket: Some(socket),
            input: vec![0; READ_BYTES + FRAME_BYTES_MAX],
            last_words_ms: self.bus.last_words_ms,
            ..Bus::default()
        };
        if let Err(why) = self.streams.hear_bus(BusNews::There, self.now_ms) {
            self.leave_bus(&why);
        }
    }

    fn leave_bus(&mut self, why: &str) {
        let Some(socket) = self.bus.socket.take() else {
            return;
        };
        tracing::debug!("an end of the bus is over: {why}");
        let _ = self.epoll.delete(&socket);
        self.bus = Bus {
            last_words_ms: self.bus.last_words_ms,
            ..Bus::default()
        };
        // A protocol that does not know the bus has nothing to be told.
        let _ = self.streams.hear_bus(BusNews::Gone, self.now_ms);
        self.part();
    }

    /// Whether what the sessions have said before they went is on the bus, or will not be any more.
    pub(super) fn bus_is_done(&mut self) -> bool {
        if !self.streams.has_unanswered() {
            return true;
        }
        let until_ms = self.now_ms + LAST_WORDS_MS;
        *self.bus.last_words_ms.get_or_insert(until_ms) <= self.now_ms
    }

    /// Reads what there is and tells it, frame by frame.
    pub(super) fn hear_bus(&mut self) {
        for _ in 0..READS_MAX {
            if !self.bus.readable {
                return;
            }
            let Some(socket) = &self.bus.socket else {
                return;
            };
            let space = &mut self.bus.input[self.bus.length..];
            match recv(socket.as_raw_fd(), space, MsgFlags::MSG_DONTWAIT) {
                Ok(0) => return self.leave_bus("it was closed"),
                Ok(count) => {
                    let filled = count == space.len();
                    self.bus.readable = filled || self.bus.ending;
                    self.bus.length += count;
                    if let Err(why) = self.tell_frames() {
                        return self.leave_bus(&why);
                    }
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => self.bus.readable = false,
                Err(error) => return self.leave_bus(error.desc()),
            }
        }
    }

    fn tell_frames(&mut self) -> Result<(), String> {
        let input = std::mem::take(&mut self.bus.input);
        let length = self.bus.length;
        let mut at = 0;
        let told = loop {
            match next_frame(&input[at..length]) {
                Ok(Some((frame, taken))) => {
                    at += taken;
                    if let Err(why) = self.streams.hear_bus(BusNews::Frame(frame), self.now_ms) {
                        break Err(why);
                    }
                }
                Ok(None) => break Ok(()),
                Err(garbled) => break Err(garbled.to_string()),
            }
        };
        self.bus.input = input;
        self.bus.input.copy_within(at..length, 0);
        self.bus.length = length - at;
        self.part();
        told
    }

    /// Sends what the protocol has for the bus.
    pub(super) fn flush_bus(&mut self) {
        self.send_to_bus();
        let awaits_room = !self.bus.writable;
        if let Some(socket) = &self.bus.socket
            && awaits_room != self.bus.awaits_room
        {
            // Room that was made meanwhile is told of by this change.
            match self.epoll.modify(socket, &mut interest(awaits_room)) {
                Ok(()) => self.bus.awaits_room = awaits_room,
                Err(error) => {
                    tracing::error!("the bus cannot be polled: {error}");
                    self.leave_bus("nobody would tell of it");
                }
            }
        }
    }

    fn send_to_bus(&mut self) {
        while self.bus.writable {
            let Some(socket) = &self.bus.socket else {
                return;
            };
            let output = self.streams.bus_output();
            if output.is_empty() {
                return;
            }
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            match send(socket.as_raw_fd(), output, flags) {
                Ok(count) => self.streams.bus_sent(count),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => self.bus.writable = false,
                // What has come before the end is still to be read.
                Err(_) => {
                    self.bus.writable = false;
                    self.bus.readable = true;
                }
            }
        }
    }
}

fn interest(awaits_room: bool) -> EpollEvent {
    let mut edges = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
    edges.set(EpollFlags::EPOLLOUT, awaits_room);
    EpollEvent::new(edges, BUS)
}
