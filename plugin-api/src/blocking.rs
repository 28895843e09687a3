//! The blocking style: what a plugin implements whose sessions each have a thread of their own.
//!
//! A handler reads and writes as if its peer were the only one, and may wait as long as its limits
//! allow. For many peers that say little the event style, [`Protocol`](crate::Protocol), costs far
//! less; this one is for protocols that are a conversation, and for libraries that block.
//!
//! Invariant: a session's `finish` runs exactly once after its `setup` has succeeded, whatever
//! happened in between.

use std::fmt;
use std::io::{self, BufRead, Read, Write};
use std::time::Duration;

use crate::context::milliseconds;
use crate::glue::{Host, RawStream};
use crate::{
    Address, Configure, Credentials, Datagram, Error, Facts, Level, Needs, Opt, ReplyToken, Result,
    SessionId, abi,
};

/// Bytes that are read or written at once.
const BUFFER_BYTES: usize = 8 * 1024;

/// A protocol whose sessions each run on a thread of their own.
///
/// All sessions share the plugin, so it must be [`Sync`]: what they change together is behind a lock
/// or an atomic. [`setup`](Blocking::setup), [`handle`](Blocking::handle) and
/// [`finish`](Blocking::finish) of one session run on one thread, one after the other.
///
/// ```
/// use std::io::{self, BufRead, Write};
///
/// use polyport_plugin::prelude::*;
/// use polyport_plugin::testing::{Script, Setup};
///
/// #[derive(Default)]
/// struct Greeter;
///
/// impl Blocking for Greeter {
///     type Session = ();
///
///     fn handle(&self, _: &mut (), stream: &mut Stream) -> io::Result<()> {
///         write!(stream, "Who are you? ")?;
///         let mut name = String::new();
///         stream.read_line(&mut name)?;
///         writeln!(stream, "Hello, {}!", name.trim())
///     }
/// }
///
/// let mut host = Setup::blocking::<Greeter>().start().unwrap();
/// let served = host.serve(Script::new().says(b"Grace\n"));
/// assert_eq!(served.received, b"Who are you? Hello, Grace!\n");
/// ```
pub trait Blocking: Configure + Sync + 'static {
    /// What a session remembers from `setup` to `finish`; it never leaves its thread.
    type Session: Default;

    /// Whether it serves connections: [`handle`](Blocking::handle).
    const STREAMS: bool = true;
    /// Whether it serves datagrams: [`datagram`](Blocking::datagram).
    const DATAGRAMS: bool = false;

    /// The options that an administrator may set, at most 64.
    const OPTIONS: &'static [Opt] = &[];
    /// Whether the peer always speaks first; serving may then wait until it has.
    const PEER_FIRST: bool = false;
    /// What its sandbox must allow beyond what every worker may do.
    const NEEDS: Needs = Needs::NOTHING;
    /// What whoever connects is told while the host does not run this plugin, because it keeps
    /// crashing; at most 1,024 bytes.
    const REFUSAL: &'static [u8] = b"";
    /// Sessions and datagrams that may be served at once; 0 means as many as the administrator allows.
    const MAX_PARALLEL: u32 = 0;

    /// Before anything else. An error ends the session: then neither `handle` nor `finish` runs.
    fn setup(&self, stream: &mut Stream) -> io::Result<Self::Session> {
        let _ = stream;
        Ok(Self::Session::default())
    }

    /// The conversation. When it returns, what was written leaves and the stream is finished.
    ///
    /// Errors of the stream are best passed on: a drain, a deadline and a peer that has gone end the
    /// session in order. Any other error resets the connection.
    fn handle(&self, session: &mut Self::Session, stream: &mut Stream) -> io::Result<()> {
        let _ = (session, stream);
        Err(Error::Unsupported.into())
    }

    /// After `handle`, whether it returned, failed or panicked; `result` says which. After a panic
    /// ([`Error::Panicked`](crate::Error::Panicked)) the session may be half changed, and nothing that is written arrives.
    fn finish(&self, session: Self::Session, stream: &mut Stream, result: &io::Result<()>) {
        let _ = (session, stream, result);
    }

    /// One datagram, whole. What is replied leaves when this returns. An error is counted and changes
    /// nothing else.
    fn datagram(&self, from: &Datagram, payload: &[u8], replies: &mut Replies) -> Result {
        let _ = (from, payload, replies);
        Err(Error::Unsupported)
    }

    /// No session follows; those that wait for their peers are woken with [`Error::Cancelled`](crate::Error::Cancelled), and
    /// all have `grace` to end. Called on the event loop, so it must not block.
    fn drain(&self, grace: Duration) {
        let _ = grace;
    }
}

/// A session's stream. Reading waits for the peer, writing waits for the kernel.
///
/// Both are buffered. What was written leaves when 8 KiB have come together, before the handler
/// waits for the peer, when it returns, and on [`flush`](Write::flush).
///
/// The errors of all of it carry an [`Error`](crate::Error) inside, see [`Error::of`](crate::Error::of).
pub struct Stream<'a> {
    raw: RawStream<'a>,
    host: &'a Host,
    facts: Facts<'a>,
    input: Vec<u8>,
    /// Bytes of `input` that were consumed.
    consumed: usize,
    output: Vec<u8>,
}

impl<'a> Stream<'a> {
    pub(crate) fn new(raw: RawStream<'a>, host: &'a Host, facts: Facts<'a>) -> Stream<'a> {
        Stream {
            raw,
            host,
            facts,
            input: Vec::new(),
            consumed: 0,
            output: Vec::new(),
        }
    }

    /// Waits until there is something to read, and shows it without consuming it: at least a byte,
    /// or none at the end of the peer's stream.
    pub fn peek(&mut self) -> io::Result<&[u8]> {
        self.fill_buf()
    }

    /// From so long from now on, reading fails with [`io::ErrorKind::TimedOut`], and so does writing
    /// where it has to wait: a goodbye can still be said. `None` takes the deadline away; a later one
    /// replaces it.
    pub fn set_deadline(&mut self, after: Option<Duration>) -> io::Result<()> {
        // 0 would mean none.
        let ms = after.map_or(0, |after| milliseconds(after).max(1));
        Ok(self.raw.deadline(ms)?)
    }

    /// Ends our side after what was written; the peer may go on sending.
    pub fn finish_writing(&mut self) -> io::Result<()> {
        let output = std::mem::take(&mut self.output);
        Ok(self.raw.write(&output, abi::WRITE_FINISH)?)
    }

    /// The session's name.
    pub fn session(&self) -> SessionId {
        SessionId(self.raw.session())
    }

    /// All that is known of the session.
    pub fn facts(&self) -> Facts<'a> {
        self.facts
    }

    /// The other end.
    pub fn peer(&self) -> Address {
        self.facts.peer()
    }

    /// Our end, as the peer addressed it.
    pub fn local(&self) -> Address {
        self.facts.local()
    }

    /// The peer's process and user, where the transport knows them.
    pub fn credentials(&self) -> Option<Credentials> {
        self.facts.credentials()
    }

    /// One line for the log, about this session. The text is made only if the daemon wants lines of
    /// this level.
    pub fn log(&self, level: Level, text: impl fmt::Display) {
        if self.host.log_level() <= level as u32 {
            let session = self.raw.session();
            self.host.log(level as u32, session, &text.to_string());
        }
    }

    pub(crate) fn host(&self) -> &Host {
        self.host
    }

    /// What was written by a session that panicked is not to leave.
    pub(crate) fn forget_output(&mut self) {
        self.output.clear();
    }

    fn unread(&self) -> &[u8] {
        &self.input[self.consumed..]
    }
}

/// The way back for the datagram that is being served. What is sent leaves when it has been.
pub struct Replies<'a> {
    via: ReplyToken,
    host: &'a Host,
}

impl<'a> Replies<'a> {
    pub(crate) fn new(via: ReplyToken, host: &'a Host) -> Replies<'a> {
        Replies { via, host }
    }

    pub(crate) fn host(&self) -> &Host {
        self.host
    }

    /// Sends one datagram back to whom this one came from, from where it came to.
    pub fn reply(&mut self, payload: &[u8]) -> Result {
        self.host.send(self.via.0, None, payload)
    }

    /// The same, to somebody else.
    pub fn send(&mut self, to: Address, payload: &[u8]) -> Result {
        self.host.send(self.via.0, Some(&to.to_raw()), payload)
    }

    /// One line for the log. The text is made only if the daemon wants lines of this level.
    pub fn log(&self, level: Level, text: impl fmt::Display) {
        if self.host.log_level() <= level as u32 {
            self.host.log(level as u32, 0, &text.to_string());
        }
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.unread().is_empty() && buffer.len() >= BUFFER_BYTES {
            self.flush()?;
            return Ok(self.raw.read(buffer)?);
        }
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Stream<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.unread().is_empty() {
            // The peer may be waiting for an answer as we wait for its next word.
            self.flush()?;
            self.consumed = 0;
            self.input.resize(BUFFER_BYTES, 0);
            let count = self.raw.read(&mut self.input);
            self.input.truncate(count.unwrap_or(0));
            count?;
        }
        Ok(self.unread())
    }

    fn consume(&mut self, count: usize) {
        self.consumed = (self.consumed + count).min(self.input.len());
    }
}

impl Write for Stream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.output.len() + bytes.len() > BUFFER_BYTES {
            self.flush()?;
        }
        if bytes.len() < BUFFER_BYTES {
            self.output.extend_from_slice(bytes);
        } else {
            self.raw.write(bytes, 0)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        // Some of it may have left even if this fails, so it is not to be written again.
        let written = self.raw.write(&self.output, 0);
        self.output.clear();
        Ok(written?)
    }
}
