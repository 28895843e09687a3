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
/// So long may what was only numbered here wait for more of it.
const GATHER_MS: u64 = 2;
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
    /// The plugin has not heard all that follows from what it knows or has said.
    pub(super) has_more: bool,
    /// When what was only numbered here is sent.
    due_ms: Option<u64>,
    /// Something of this worker's is not on its way yet.
    pub(super) is_behind: bool,
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
            has_more: false,
            due_ms: None,
            is_behind: false,
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

    /// When the answers to last words are waited for no longer, or something is to be sent.
    pub(super) fn next_deadline_ms(&self) -> Option<u64> {
        let due = [self.last_words_ms, self.due_ms];
        due.into_iter().flatten().min()
    }

    /// Without an end, but with what the plugin has still to hear.
    fn after(&self) -> Bus {
        Bus {
            last_words_ms: self.last_words_ms,
            has_more: self.has_more,
            ..Bus::default()
        }
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
            ..self.bus.after()
        };
        if let Err(why) = self.tell_of_bus(BusNews::There) {
            self.leave_bus(&why);
        }
    }

    fn leave_bus(&mut self, why: &str) {
        let Some(socket) = self.bus.socket.take() else {
            return;
        };
        tracing::debug!("an end of the bus is over: {why}");
        let _ = self.epoll.delete(&socket);
        self.bus = self.bus.after();
        // A protocol that does not know the bus has nothing to be told.
        let _ = self.tell_of_bus(BusNews::Gone);
        self.part();
    }

    fn tell_of_bus(&mut self, news: BusNews<'_>) -> Result<(), String> {
        self.bus.has_more = self.streams.hear_bus(news, self.now_ms)?;
        Ok(())
    }

    /// What the protocol has said, it hears of before anything else. False if not all of that was told.
    pub(super) fn hear_own(&mut self) -> bool {
        if self.bus.socket.is_some() || self.bus.has_more {
            // A protocol that has said something knows the bus.
            let _ = self.tell_of_bus(BusNews::More);
            self.part();
        }
        !self.bus.has_more
    }

    /// Sessions go on elsewhere, or end: what was numbered here is on its way before them.
    pub(super) fn part_with_bus(&mut self) {
        // A protocol that does not know the bus has nothing to be told.
        let _ = self.tell_of_bus(BusNews::Parting);
        self.part();
        self.flush_bus();
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
        if !self.hear_own() {
            return;
        }
        // Of frames that had to wait for that.
        if self.bus.length > 0
            && let Err(why) = self.tell_frames()
        {
            return self.leave_bus(&why);
        }
        for _ in 0..READS_MAX {
            if !self.bus.readable || self.bus.has_more {
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
            if self.bus.has_more {
                break Ok(());
            }
            match next_frame(&input[at..length]) {
                Ok(Some((frame, taken))) => {
                    at += taken;
                    if let Err(why) = self.tell_of_bus(BusNews::Frame(frame)) {
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
        let is_due = self.bus.due_ms.is_some_and(|at_ms| at_ms <= self.now_ms);
        self.send_to_bus(is_due);
        self.bus.is_behind = !self.streams.bus_output(true).is_empty();
        let gathers = self.bus.is_behind && self.bus.writable && self.bus.socket.is_some();
        self.bus.due_ms = match gathers {
            true => Some(self.bus.due_ms.unwrap_or(self.now_ms + GATHER_MS)),
            false => None,
        };
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

    fn send_to_bus(&mut self, is_due: bool) {
        while self.bus.writable {
            let Some(socket) = &self.bus.socket else {
                return;
            };
            let output = self.streams.bus_output(is_due);
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
