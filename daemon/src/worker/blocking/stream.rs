//! A stream socket in the hands of a thread that may wait for it.
//!
//! Every call tries first and waits then: for the socket, for the worker's drain, or until a limit or
//! the handler's deadline has passed. While it waits, the scoreboard says that the plugin is not
//! inside. What has cut a session short stays: every later call answers the same.
//!
//! Invariant: a wait is never longer than `patience` allows, and ends at once when the worker's time
//! to drain is over or the event loop ends the session.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicU8, Ordering};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{MsgFlags, recv, send};

use super::super::clock_ms;
use super::patience::{NEVER, Patience, Until, Waits};
use super::session::{Cut, Session};
use crate::engine::handler::{ByteStream, Halt};
use crate::engine::{Pace, Way};
use crate::scoreboard::{Callback, Slot};

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

/// Which session it is, for whoever looks at the scoreboard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named {
    pub(super) session: u64,
    pub(super) source: u64,
}

pub(super) struct Waiting<'a> {
    session: &'a Session,
    stop: &'a Stop,
    slot: &'a Slot,
    named: Named,
    until: Until,
    pace: Option<Box<Pace>>,
    /// Input that came before the thread had the socket.
    kept: Vec<u8>,
    /// Our FIN is sent.
    finished: bool,
    /// Some of a write was not taken.
    unsent: bool,
    cut: Option<Cut>,
}

impl<'a> Waiting<'a> {
    pub(super) fn new(
        (session, kept): (&'a Session, Vec<u8>),
        stop: &'a Stop,
        patience: Patience,
        slot: &'a Slot,
        named: Named,
    ) -> Waiting<'a> {
        let now_ms = clock_ms();
        Waiting {
            session,
            stop,
            slot,
            named,
            until: Until::new(patience, now_ms),
            pace: Pace::new(patience.bandwidth, now_ms),
            kept,
            finished: false,
            unsent: false,
            cut: None,
        }
    }

    /// How it ended, if the handler had no say in it.
    pub(super) fn cut(&self) -> Option<Cut> {
        self.cut.or(self.session.ended_for().map(Cut::Passed))
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
        let Named { session, source } = self.named;
        self.slot.enter(Callback::Serve, session, source);
        returned
    }

    fn receive(&mut self, buffer: &mut [u8], peek: bool) -> Result<usize, Halt> {
        loop {
            self.check()?;
            self.check_deadline()?;
            self.check_patience(Waits::Input)?;
            // What is only shown is not moved.
            let room = match &self.pace {
                Some(pace) if !peek => pace.input.allowance().min(buffer.len()),
                Some(_) | None => buffer.len(),
            };
            if room == 0 {
                self.rest(|pace| &mut pace.input)?;
                continue;
            }
            match self.take(&mut buffer[..room], peek) {
                // The event loop may have shut the socket: then this is not the peer's FIN.
                Ok(0) => return self.check().map(|()| 0),
                Ok(bytes) => {
                    self.note_heard(bytes, peek);
                    return Ok(bytes);
                }
                Err(Errno::EINTR) => {}
                // What had arrived before the drain was read.
                Err(Errno::EAGAIN) if self.stop.is_draining() => return Err(Halt::Cancelled),
                Err(Errno::EAGAIN) => self.wait(Waits::Input)?,
                Err(_) => return Err(self.cut_by(Cut::Lost)),
            }
        }
    }

    /// From what was kept, then from the socket; a look goes on from one to the other.
    fn take(&mut self, buffer: &mut [u8], peek: bool) -> nix::Result<usize> {
        let fd = self.session.socket.socket.as_raw_fd();
        let from_kept = self.kept.len().min(buffer.len());
        buffer[..from_kept].copy_from_slice(&self.kept[..from_kept]);
        match peek {
            false if from_kept > 0 => {
                self.kept.drain(..from_kept);
                Ok(from_kept)
            }
            false => {
                let bytes = recv(fd, buffer, MsgFlags::MSG_DONTWAIT)?;
                self.slot.count(bytes as u64, 0);
                Ok(bytes)
            }
            true => {
                let rest = &mut buffer[from_kept..];
                match recv(fd, rest, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_PEEK) {
                    Ok(bytes) => Ok(from_kept + bytes),
                    Err(_) if from_kept > 0 => Ok(from_kept),
                    Err(error) => Err(error),
                }
            }
        }
    }

    fn note_heard(&mut self, bytes: usize, peek: bool) {
        self.session.note_spoken();
        self.until.heard(clock_ms());
        if let Some(pace) = self.pace.as_mut().filter(|_| !peek) {
            pace.input.moved(bytes, clock_ms());
        }
    }

    fn send_all(&mut self, mut bytes: &[u8]) -> Result<(), Halt> {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        // Without a byte too, so that a call tells what every call would.
        self.check()?;
        while !bytes.is_empty() {
            self.unsent = true;
            self.check()?;
            let allowed = self.pace.as_ref();
            let room = allowed.map_or(usize::MAX, |pace| pace.output.allowance());
            if room == 0 {
                self.check_deadline()?;
                self.rest(|pace| &mut pace.output)?;
                continue;
            }
            let next = &bytes[..bytes.len().min(room)];
            match send(self.session.socket.socket.as_raw_fd(), next, flags) {
                Ok(sent) => {
                    self.until.said();
                    self.slot.count(0, sent as u64);
                    if let Some(pace) = &mut self.pace {
                        pace.output.moved(sent, clock_ms());
                    }
                    bytes = &bytes[sent..];
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    self.check_deadline()?;
                    self.wait(Waits::Output)?;
                }
                // The event loop may have shut the socket.
                Err(_) => return Err(self.check().err().unwrap_or_else(|| self.cut_by(Cut::Lost))),
            }
        }
        self.unsent = false;
        Ok(())
    }

    /// Whether the stream may still be used.
    fn check(&mut self) -> Result<(), Halt> {
        if let Some(cut) = self.cut() {
            return Err(self.cut_by(cut));
        }
        if self.stop.is_over() {
            return Err(Halt::Cancelled);
        }
        if has_passed(self.until.handler_ms()) {
            return Err(self.cut_by(Cut::Handler));
        }
        Ok(())
    }

    fn check_deadline(&self) -> Result<(), Halt> {
        match self.until.deadline_has_passed(clock_ms()) {
            true => Err(Halt::TimedOut),
            false => Ok(()),
        }
    }

    fn check_patience(&mut self, waits: Waits) -> Result<(), Halt> {
        match self.until.passed(waits, clock_ms()) {
            Some(cut) => Err(self.cut_by(cut)),
            None => Ok(()),
        }
    }

    /// Until the socket is ready, somebody says stop, or patience is at an end.
    fn wait(&mut self, waits: Waits) -> Result<(), Halt> {
        let begun_ms = clock_ms();
        let timeout = timeout(self.until.begin_wait(waits, begun_ms));
        // The drain wakes only those who wait for their peers to speak.
        let (wanted, watched) = match waits {
            Waits::Input => (PollFlags::POLLIN, 3),
            Waits::Output => (PollFlags::POLLOUT, 2),
        };
        let mut fds = [
            PollFd::new(self.session.socket.socket.as_fd(), wanted),
            PollFd::new(self.stop.over.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.stop.draining.as_fd(), PollFlags::POLLIN),
        ];
        let ready = match poll(&mut fds[..watched], timeout) {
            Ok(ready) => ready,
            Err(Errno::EINTR) => 1,
            Err(_) => return Err(self.cut_by(Cut::Lost)),
        };
        if let Some(cut) = (self.until).end_wait(waits, ready == 0, begun_ms, clock_ms()) {
            return Err(self.cut_by(cut));
        }
        Ok(())
    }

    /// Until so much may be moved again that it is worth a call. The socket is not looked at: one
    /// that is broken would be ready all the time. A rest is a second at most.
    fn rest(&mut self, way: fn(&mut Pace) -> &mut Way) -> Result<(), Halt> {
        let pace = self.pace.as_mut().expect("only who has a pace rests");
        let now_ms = clock_ms();
        let until_ms = way(pace).until_ms();
        if !way(pace).wake(now_ms) {
            self.slot.count_rest();
            let left_ms = self.until.rest_ms(until_ms, now_ms);
            let mut fds = [PollFd::new(self.stop.over.as_fd(), PollFlags::POLLIN)];
            // A signal only makes it shorter.
            let _ = poll(&mut fds, timeout(left_ms));
            way(pace).wake(clock_ms());
        }
        Ok(())
    }

    fn cut_by(&mut self, cut: Cut) -> Halt {
        self.cut.get_or_insert(cut).halt()
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
                stream.session.socket.shut_writing();
            }
            Ok(())
        })
    }

    fn set_deadline(&mut self, after_ms: u64) {
        self.until.set_deadline(after_ms, clock_ms());
    }
}

fn has_passed(at_ms: u64) -> bool {
    at_ms != NEVER && clock_ms() >= at_ms
}

/// A longer one is waited for in pieces.
fn timeout(wait_ms: u64) -> PollTimeout {
    match wait_ms {
        NEVER => PollTimeout::NONE,
        wait_ms => PollTimeout::try_from(wait_ms).unwrap_or(PollTimeout::MAX),
    }
}

#[cfg(test)]
mod tests;
