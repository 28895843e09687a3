//! What a plugin may ask of its host during a call. Only words and types here; the calls themselves
//! are in `glue`.
//!
//! Invariant: a `Context` is lent for one call and cannot be made, copied, kept or sent to another
//! thread by a plugin, so none of these calls can come at a wrong time.

use std::any::Any;
use std::fmt;
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::abi;
use crate::facts::{Address, ReplyToken};
use crate::glue::{Host, Job, Waker};
use crate::{Error, Result};

/// Names a session: one connection or flow of this instance. A session that has ended keeps its
/// name, and using it answers [`Error::Gone`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub(crate) abi::Session);

/// Names a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerId(pub(crate) abi::Timer);

/// Names a job that [`Context::work`] has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkId(pub(crate) u64);

/// How important a line of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For whoever looks for a mistake.
    Debug,
    /// Worth knowing.
    Info,
    /// Works, but somebody should look.
    Warning,
    /// Does not work.
    Error,
}

/// The daemon, as a plugin sees it during a call.
///
/// Whatever is asked for happens after the call has returned. All writes of one call leave together;
/// bytes that lie inside the input of [`feed`](crate::Protocol::feed) are sent without a copy.
pub struct Context {
    host: Host,
    /// Jobs submitted so far.
    works: u64,
    /// Tokens of the bus given out so far.
    bus_tokens: u64,
}

impl Context {
    pub(crate) fn new(host: Host) -> Context {
        Context {
            host,
            works: 0,
            bus_tokens: 0,
        }
    }

    /// One that was never given out before.
    pub(crate) fn next_bus_token(&mut self) -> u64 {
        self.bus_tokens += 1;
        self.bus_tokens
    }

    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    /// Queues all the bytes, or none of them and answers [`Error::Full`]; then
    /// [`writable`](crate::Protocol::writable) follows later. Any session of this instance will do.
    pub fn write(&mut self, to: SessionId, bytes: &[u8]) -> Result {
        self.host.write(to.0, bytes, 0)
    }

    /// Queues the bytes and then the end of our side: the peer may go on sending.
    pub fn write_and_finish(&mut self, to: SessionId, bytes: &[u8]) -> Result {
        self.host.write(to.0, bytes, abi::WRITE_FINISH)
    }

    /// Queues `length` bytes of a file from `offset` on, behind what was written before; what is
    /// written later leaves after them. They do not pass through the plugin and count against no
    /// limit on output, however many they are; pages that are not in memory are read on a thread.
    ///
    /// The file is used up, also by an error: [`try_clone`](std::fs::File::try_clone) keeps one. Its
    /// position plays no part. [`close`](Context::close) and [`finish`](Context::finish) wait for the
    /// range, and nothing else tells that it has left. A file that becomes shorter meanwhile ends the
    /// session with [`End::File`](crate::End::File); one that grows is sent as far as it was promised.
    ///
    /// [`Error::Argument`]: not a regular file, or the range does not lie in it. [`Error::Full`]:
    /// 32 ranges of this session wait; [`writable`](crate::Protocol::writable) follows.
    ///
    /// ```
    /// # use polyport_plugin::prelude::*;
    /// # use std::fs::File;
    /// /// Sends the whole of a file to whoever asks.
    /// #[derive(Default)]
    /// struct Sending;
    ///
    /// impl Protocol for Sending {
    ///     type Session = ();
    ///     const NEEDS: Needs = Needs { files_read: &[c"/etc/os-release"], ..Needs::NOTHING };
    ///
    ///     fn feed(&mut self, cx: &mut Context, from: SessionId, _: &mut (), input: &[u8]) -> Result<usize> {
    ///         let file = File::open("/etc/os-release").map_err(|_| Error::Failed)?;
    ///         let length = file.metadata().map_err(|_| Error::Failed)?.len();
    ///         cx.send_file(from, file, 0, length)?;
    ///         cx.close(from, "sent")?; // Which waits for the file.
    ///         Ok(input.len())
    ///     }
    /// }
    /// # use polyport_plugin::testing::Setup;
    /// # let mut host = Setup::of::<Sending>().start().unwrap();
    /// # let peer = host.connect();
    /// # host.send(peer, b"?");
    /// # assert_eq!(host.received(peer), std::fs::read("/etc/os-release").unwrap());
    /// ```
    pub fn send_file(
        &mut self,
        to: SessionId,
        file: impl Into<OwnedFd>,
        offset: u64,
        length: u64,
    ) -> Result {
        self.host.send_file(to.0, file.into(), offset, length)
    }

    /// Ends our side once everything written has left; the peer may go on sending.
    pub fn finish(&mut self, session: SessionId) -> Result {
        self.write_and_finish(session, &[])
    }

    /// Ends the session once everything written has left. The log shows why.
    pub fn close(&mut self, session: SessionId, why: &str) -> Result {
        self.host.close(session.0, abi::CLOSE_FINISH, why)
    }

    /// As [`close`](Context::close), without waiting for the peer's end: cheaper for short connections,
    /// where the peer has nothing more to say once it is answered. If it has said something by then
    /// that nobody has read, this is as `close`. What it sends later is answered with a reset, and may
    /// cost it what it has not read yet.
    pub fn close_done(&mut self, session: SessionId, why: &str) -> Result {
        self.host.close(session.0, abi::CLOSE_DONE, why)
    }

    /// Ends the session at once and forgets what is queued. The log shows why.
    pub fn abort(&mut self, session: SessionId, why: &str) -> Result {
        self.host.close(session.0, abi::CLOSE_ABORT, why)
    }

    /// Reads nothing more for this session until [`resume`](Context::resume).
    pub fn pause(&mut self, session: SessionId) -> Result {
        self.host.pause(session.0, true)
    }

    /// Ends a [`pause`](Context::pause), however often that was called.
    pub fn resume(&mut self, session: SessionId) -> Result {
        self.host.pause(session.0, false)
    }

    /// Bytes written and not yet taken by the kernel, those of this call included.
    pub fn queued(&self, session: SessionId) -> Result<u64> {
        self.host.queued(session.0)
    }

    /// Ends the session after so long without a byte either way; zero means never.
    pub fn idle(&mut self, session: SessionId, limit: Duration) -> Result {
        self.host.idle(session.0, milliseconds(limit))
    }

    /// Sends one datagram back to whom `via` came from, from where it came to. What does not fit into
    /// the batch is refused with [`Error::Full`] and best forgotten; what the kernel has no room for
    /// is lost, as any datagram may be. Bytes of the payload of
    /// [`datagram`](crate::Protocol::datagram) are sent without a copy.
    pub fn reply(&mut self, via: ReplyToken, payload: &[u8]) -> Result {
        self.host.send(via.0, None, payload)
    }

    /// The same, to somebody else; [`Address::Unix`] means the peer of `via`.
    pub fn send(&mut self, via: ReplyToken, to: Address, payload: &[u8]) -> Result {
        self.host.send(via.0, Some(&to.to_raw()), payload)
    }

    /// Arms a timer that fires once; [`timer`](crate::Protocol::timer) gets the token.
    pub fn timer_set(&mut self, delay: Duration, token: u64) -> Result<TimerId> {
        self.host.timer_set(milliseconds(delay), token).map(TimerId)
    }

    /// After `Ok` the timer never fires; [`Error::Gone`] if it has.
    pub fn timer_cancel(&mut self, timer: TimerId) -> Result {
        self.host.timer_cancel(timer.0)
    }

    /// The way in for another thread: see [`Waker`].
    pub fn waker(&mut self) -> Result<Waker> {
        self.host.waker()
    }

    /// Runs a closure on a thread that may block; [`worked`](crate::Protocol::worked) gets what it
    /// returns. [`Error::Busy`]: too many wait for a thread, and this one was dropped.
    ///
    /// The closure owns what it needs: it cannot reach the protocol, which goes on meanwhile.
    ///
    /// ```
    /// # use polyport_plugin::prelude::*;
    /// # use std::any::Any;
    /// # use std::collections::HashMap;
    /// /// Adds the numbers of a line up, which may take its time.
    /// #[derive(Default)]
    /// struct Adding {
    ///     asked: HashMap<WorkId, SessionId>,
    /// }
    ///
    /// impl Protocol for Adding {
    ///     type Session = ();
    ///
    ///     fn feed(&mut self, cx: &mut Context, from: SessionId, _: &mut (), input: &[u8]) -> Result<usize> {
    ///         let Some(end) = input.iter().position(|byte| *byte == b'\n') else {
    ///             return Ok(0);
    ///         };
    ///         let line = String::from_utf8_lossy(&input[..end]).into_owned();
    ///         let work = cx.work(move || {
    ///             let numbers = line.split_whitespace().filter_map(|word| word.parse::<u64>().ok());
    ///             numbers.fold(0, u64::wrapping_add)
    ///         })?;
    ///         self.asked.insert(work, from);
    ///         cx.pause(from)?; // One job a session at a time.
    ///         Ok(end + 1)
    ///     }
    ///
    ///     fn worked(&mut self, cx: &mut Context, work: WorkId, result: Result<Box<dyn Any + Send>>) {
    ///         let sum = result.ok().and_then(|sum| sum.downcast::<u64>().ok());
    ///         if let (Some(session), Some(sum)) = (self.asked.remove(&work), sum) {
    ///             // Whoever has gone meanwhile, or does not read, misses it.
    ///             let _ = cx.write(session, format!("{sum}\n").as_bytes());
    ///             let _ = cx.resume(session);
    ///         }
    ///     }
    /// }
    /// # use polyport_plugin::testing::Setup;
    /// # let mut host = Setup::of::<Adding>().start().unwrap();
    /// # let peer = host.connect();
    /// # host.send(peer, b"1 2 3\n4\n");
    /// # while host.run_work() {}
    /// # assert_eq!(host.received(peer), b"6\n4\n");
    /// ```
    pub fn work<T: Any + Send>(
        &mut self,
        closure: impl FnOnce() -> T + Send + 'static,
    ) -> Result<WorkId> {
        let work = self.works + 1;
        self.host.submit(Job::new(closure), work)?;
        self.works = work;
        Ok(WorkId(work))
    }

    /// A clock that never goes back; it starts anywhere and stands still during a call.
    pub fn now(&self) -> Duration {
        Duration::from_millis(self.host.now_ms())
    }

    /// One line for the log, about a session or the whole instance. The text is made only if the
    /// daemon wants lines of this level.
    pub fn log(&mut self, level: Level, about: Option<SessionId>, text: impl fmt::Display) {
        if self.host.log_level() <= level as u32 {
            let session = about.map_or(0, |session| session.0);
            self.host.log(level as u32, session, &text.to_string());
        }
    }

    /// [`log`](Context::log) at [`Level::Debug`].
    pub fn debug(&mut self, text: impl fmt::Display) {
        self.log(Level::Debug, None, text);
    }

    /// [`log`](Context::log) at [`Level::Info`].
    pub fn info(&mut self, text: impl fmt::Display) {
        self.log(Level::Info, None, text);
    }

    /// [`log`](Context::log) at [`Level::Warning`].
    pub fn warning(&mut self, text: impl fmt::Display) {
        self.log(Level::Warning, None, text);
    }

    /// [`log`](Context::log) at [`Level::Error`].
    pub fn error(&mut self, text: impl fmt::Display) {
        self.log(Level::Error, None, text);
    }
}

/// Longer than the ABI can say is as good as never.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl From<Error> for String {
    /// So that `?` works in [`Configure::new`](crate::Configure::new).
    fn from(error: Error) -> String {
        error.to_string()
    }
}

const _: () = {
    // The numbers of `Level` are those of the ABI.
    assert!(Level::Debug as u32 == abi::LOG_DEBUG);
    assert!(Level::Info as u32 == abi::LOG_INFO);
    assert!(Level::Warning as u32 == abi::LOG_WARNING);
    assert!(Level::Error as u32 == abi::LOG_ERROR);
};
