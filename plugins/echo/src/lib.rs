//! The echo protocol (RFC 862), and three smaller ones to learn from.
//!
//! `stream` gives every byte back, `line` every line, `once` the first read; `who` tells a peer its
//! address and counts the characters of one line. All of them live on what the daemon keeps: input
//! that was not consumed comes again, output that does not fit is refused, so nothing here buffers
//! more than one line.
//!
//! Invariant: a peer gets back what it has sent, in order and once, however it was cut on the way.
#![forbid(unsafe_code)]

use polyport_plugin::prelude::*;

mod line;
mod mode;
mod session;

use mode::Mode;
use session::Session;

/// The protocol of one service.
pub struct Echo {
    mode: Mode,
    /// Longest line, without its end.
    line_max: usize,
    /// Bytes that a peer may send; `None` means any number.
    max_bytes: Option<u64>,
}

impl Configure for Echo {
    fn new(settings: &Settings, _: &mut Context) -> Result<Self, String> {
        let line_max = settings.size("line_max");
        Ok(Echo {
            mode: Mode::named(settings.text("mode")),
            line_max: usize::try_from(line_max).map_err(|_| "line_max is too large")?,
            max_bytes: Some(settings.size("max_bytes")).filter(|bytes| *bytes > 0),
        })
    }
}

impl Protocol for Echo {
    type Session = Session;

    const OPTIONS: &'static [Opt] = &[
        Opt::text(
            c"mode",
            c"What is given back: every byte, every line, the first read, or who the peer is.",
        )
        .default(c"stream")
        .choices(Mode::NAMES),
        Opt::size(
            c"line_max",
            c"Longest line in the modes line and who; a longer one ends the session.",
        )
        .default(c"4KiB")
        .between(1, 32 * 1024),
        Opt::size(
            c"max_bytes",
            c"A session ends when its peer has sent so many bytes; 0 means never.",
        )
        .default(c"0"),
    ];

    fn open(&mut self, cx: &mut Context, session: SessionId, facts: &Facts) -> Result<Session> {
        if self.mode == Mode::Who {
            cx.write(session, format!("You are {}\r\n", facts.peer()).as_bytes())?;
        }
        Ok(Session::default())
    }

    fn feed(
        &mut self,
        cx: &mut Context,
        from: SessionId,
        session: &mut Session,
        input: &[u8],
    ) -> Result<usize> {
        let (allowed, is_last) = self.allowed(session, input);
        let consumed = match self.mode {
            Mode::Stream => session.stream(cx, from, allowed)?,
            Mode::Line => session.lines(cx, from, allowed, self.line_max)?,
            Mode::Once => session.once(cx, from, allowed)?,
            Mode::Who => session.who(cx, from, allowed, self.line_max)?,
        };
        session.consumed += consumed as u64;
        if is_last {
            // A mode that has ended the session itself was first, with its own reason.
            let _ = cx.close(from, "max_bytes is reached");
        }
        Ok(consumed)
    }

    fn peer_finished(&mut self, cx: &mut Context, id: SessionId, session: &mut Session) -> Result {
        session.last_words = match self.mode {
            Mode::Stream | Mode::Once => Vec::new(),
            Mode::Line => std::mem::take(&mut session.partial),
            Mode::Who if session.partial.is_empty() => Vec::new(),
            Mode::Who => line::answer(&session.partial),
        };
        session.say_last_words(cx, id)
    }

    fn writable(&mut self, cx: &mut Context, id: SessionId, session: &mut Session) {
        if session.peer_has_finished && session.say_last_words(cx, id).is_err() {
            // Refused again after it had room: the session is ending some other way.
            let _ = cx.abort(id, "the last line could not be sent");
        }
    }
}

impl Echo {
    /// The part of the input that `max_bytes` allows, and whether that is all there will be.
    fn allowed<'a>(&self, session: &Session, input: &'a [u8]) -> (&'a [u8], bool) {
        let Some(max) = self.max_bytes else {
            return (input, false);
        };
        // At least one byte is left: the session was closed when the last one was consumed or seen.
        let left = usize::try_from(max - session.consumed).unwrap_or(usize::MAX);
        match input.get(..left) {
            Some(allowed) => (allowed, true),
            None => (input, false),
        }
    }
}

export_plugin!(Echo, name = "echo");
