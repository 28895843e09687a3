//! A stream socket in the hands of a thread that may wait for it.
//!
//! Every call tries first and waits then: for the socket, for the worker's drain, or until a limit or
//! the handler's deadline has passed. While it waits, the scoreboard says that the plugin is not
//! inside. What a limit has ended stays ended.
//!
//! Invariant: a wait is never longer than the nearest of deadline, idle limit and handler limit, and
//! ends at once when the worker's time to drain is over.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicU8, Ordering};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{MsgFlags, recv, send};

use super::super::stream::Stream;
use super::super::turn::clock_ms;
use crate::engine::handler::{ByteStream, Halt};
use crate::engine::session::End;
use crate::scoreboard::{Callback, Slot};

const NEVER: u64 = u64::MAX;

/// How all threads of a worker learn that they are to stop.
#[derive(Debug)]
pub(super) struct Stop {
    stage: AtomicU8,
    /// Readable from the drain on.
    draining: EventFd,
    /// Readable once its time is over.
    over: EventFd,
}

const DRAINING: u8 = 1;
const OVER: u8 = 2;

impl Stop {
    pub(super) fn new() -> nix::Result<Stop> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Stop {
            stage: AtomicU8::new(0),
            draining: EventFd::from_flags(flags)?,
            over: EventFd::from_flags(flags)?,
        })
    }

    /// Whoever waits for a peer to speak is woken.
    pub(super) fn drain(&self) {
        self.stage.fetch_max(DRAINING, Ordering::Release);
        let _ = self.draining.write(1);
    }

    /// Whoever waits is woken.
    pub(super) fn end(&self) {
        self.stage.fetch_max(OVER, Ordering::Release);
        let _ = self.over.write(1);
    }

    pub(super) fn is_over(&self) -> bool {
        self.stage.load(Ordering::Acquire) >= OVER
    }

    fn is_draining(&self) -> bool {
        self.stage.load(Ordering::Acquire) >= DRAINING
    }
}

/// What may end a session that a handler serves; 0 is no limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) idle_ms: u64,
    pub(super) handler_ms: u64,
}

pub(super) struct Waiting<'a> {
    socket: &'a Stream,
    stop: &'a Stop,
    slot: &'a Slot,
    session: u64,
    source: u64,
    idle_ms: u64,
    handler_end_ms: u64,
    deadline_ms: u64,
    /// Waited for without a byte since the last one.
    waited_ms: u64,
    /// Our FIN is sent.
    finished: bool,
    /// Some of a write was not taken.
    unsent: bool,
    /// Why the session is over, whatever its handler says.
    ended: Option<End>,
}

impl<'a> Waiting<'a> {
    pub(super) fn new(
        socket: &'a Stream,
        stop: &'a Stop,
        patience: Patience,
        slot: &'a Slot,
        (session, source): (u64, u64),
    ) -> Waiting<'a> {
        Waiting {
            socket,
            stop,
            slot,
            session,
            source,
            idle_ms: patience.idle_ms,
            handler_end_ms: after(patience.handler_ms),
            deadline_ms: NEVER,
            waited_ms: 0,
            finished: false,
            unsent: false,
            ended: None,
        }
    }

    /// How it ended, if the handler had no say in it.
    pub(super) fn ended(&self) -> Option<End> {
        self.ended
    }

    /// Output was promised to the socket that it did not take.
    pub(super) fn is_unsent(&self) -> bool {
        self.unsent
    }

    pub(super) fn has_finished(&self) -> bool {
        self.finished
    }

    /// The host's part of a call: for that long, the plugin is not inside.
    fn outside<T>(&mut self, call: impl FnOnce(&mut Self) -> T) -> T {
        self.slot.leave();
        let returned = call(self);
        self.slot.enter(Callback::Serve, self.session, self.source);
        returned
    }

    fn receive(&mut self, buffer: &mut [u8], peek: bool) -> Result<usize, Halt> {
        let peeked = if peek {
            MsgFlags::MSG_PEEK
        } else {
            MsgFlags::empty()
        };
        loop {
            self.check()?;
            self.check_deadline()?;
            match recv(
                self.socket.socket.as_raw_fd(),
                buffer,
                MsgFlags::MSG_DONTWAIT | peeked,
            ) {
                Ok(bytes) => {
                    self.waited_ms = 0;
                    if !peek {
                        self.slot.count(bytes as u64, 0);
                    }
                    return Ok(bytes);
                }
                Err(Errno::EINTR) => {}
                // What had arrived before the drain was read.
                Err(Errno::EAGAIN) if self.stop.is_draining() => return Err(Halt::Cancelled),
                Err(Errno::EAGAIN) => self.wait(PollFlags::POLLIN)?,
                Err(_) => return Err(self.lost()),
            }
        }
    }

    fn send_all(&mut self, mut bytes: &[u8]) -> Result<(), Halt> {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        // Without a byte too, so that a call tells what every call would.
        self.check()?;
        while !bytes.is_empty() {
            self.unsent = true;
            self.check()?;
            match send(self.socket.socket.as_raw_fd(), bytes, flags) {
                Ok(sent) => {
                    self.waited_ms = 0;
                    self.slot.count(0, sent as u64);
                    bytes = &bytes[sent..];
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    self.check_deadline()?;
                    self.wait(PollFlags::POLLOUT)?;
                }
                Err(_) => return Err(self.lost()),
            }
        }
        self.unsent = false;
        Ok(())
    }

    /// Whether the stream may still be used.
    fn check(&mut self) -> Result<(), Halt> {
        match self.ended {
            Some(End::Lost) => return Err(Halt::Gone),
            Some(_) => return Err(Halt::TimedOut),
            None => {}
        }
        if self.stop.is_over() {
            return Err(Halt::Cancelled);
        }
        if has_passed(self.handler_end_ms) {
            self.ended = Some(End::Limit);
            return Err(Halt::TimedOut);
        }
        Ok(())
    }

    fn check_deadline(&self) -> Result<(), Halt> {
        match has_passed(self.deadline_ms) {
            true => Err(Halt::TimedOut),
            false => Ok(()),
        }
    }

    fn wait(&mut self, wanted: PollFlags) -> Result<(), Halt> {
        let begun_ms = clock_ms();
        let idle_left_ms = match self.idle_ms {
            0 => NEVER,
            idle_ms => idle_ms.saturating_sub(self.waited_ms),
        };
        let end_ms = self.handler_end_ms.min(self.deadline_ms);
        let wait_ms = end_ms.saturating_sub(begun_ms).min(idle_left_ms);
        let timeout = match wait_ms {
            NEVER => PollTimeout::NONE,
            // A longer one is waited for in pieces.
            wait_ms => PollTimeout::try_from(wait_ms).unwrap_or(PollTimeout::MAX),
        };
        let mut fds = [
            PollFd::new(self.socket.socket.as_fd(), wanted),
            PollFd::new(self.stop.over.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.stop.draining.as_fd(), PollFlags::POLLIN),
        ];
        // The drain wakes only those who wait for their peers to speak.
        let watched = if wanted == PollFlags::POLLIN { 3 } else { 2 };
        let ready = match poll(&mut fds[..watched], timeout) {
            Ok(ready) => ready,
            Err(Errno::EINTR) => 1,
            Err(_) => return Err(self.lost()),
        };
        self.waited_ms += clock_ms().saturating_sub(begun_ms);
        if ready == 0 && self.idle_ms > 0 && self.waited_ms >= self.idle_ms {
            self.ended = Some(End::Idle);
        }
        Ok(())
    }

    fn lost(&mut self) -> Halt {
        self.ended = Some(End::Lost);
        Halt::Gone
    }
}

impl ByteStream for Waiting<'_> {
    fn read(&mut self, buffer: &mut [u8], peek: bool) -> Result<usize, Halt> {
        self.outside(|stream| stream.receive(buffer, peek))
    }

    fn write(&mut self, bytes: &[u8], finish: bool) -> Result<(), Halt> {
        if self.finished && (finish || !bytes.is_empty()) {
            return Err(Halt::Gone);
        }
        self.outside(|stream| {
            stream.send_all(bytes)?;
            if finish {
                stream.finished = true;
                stream.socket.shut_writing();
            }
            Ok(())
        })
    }

    fn set_deadline(&mut self, after_ms: u64) {
        self.deadline_ms = after(after_ms);
    }
}

fn has_passed(at_ms: u64) -> bool {
    at_ms != NEVER && clock_ms() >= at_ms
}

/// The moment so many milliseconds from now; 0 is never.
fn after(ms: u64) -> u64 {
    match ms {
        0 => NEVER,
        ms => clock_ms().saturating_add(ms),
    }
}
