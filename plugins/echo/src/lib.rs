//! The echo protocol (RFC 862), and the small ones that have always stood beside it.
//!
//! `stream` gives every byte back, `line` every line, `once` the first read; `who` tells a peer its
//! address and counts the characters of one line; `discard`, `chargen`, `daytime`, `time` and `qotd`
//! are RFC 863 to 868. All of them live on what the daemon keeps: input that was not consumed comes
//! again, output that does not fit is refused, so nothing here buffers more than one line.
//!
//! Invariant: a peer gets back what it has sent, in order and once, however it was cut on the way.
#![forbid(unsafe_code)]

use std::time::{SystemTime, UNIX_EPOCH};

use polyport_plugin::prelude::*;

mod carry;
mod line;
mod mode;
mod session;
mod small;

use mode::Mode;
use session::Session;

/// The protocol of one service.
pub struct Echo {
    mode: Mode,
    /// Longest line, without its end.
    line_max: usize,
    /// Bytes that a peer may send; `None` means any number.
    max_bytes: Option<u64>,
    quotes: Vec<String>,
    quotes_said: usize,
}

impl Configure for Echo {
    fn new(settings: &Settings, _: &mut Context) -> Result<Self, String> {
        let line_max = settings.size("line_max");
        check_quotes(settings)?;
        let quotes = match settings.list("quotes") {
            [] => &small::QUOTES,
            written => written,
        };
        Ok(Echo {
            mode: Mode::named(settings.text("mode")),
            line_max: usize::try_from(line_max).map_err(|_| "line_max is too large")?,
            max_bytes: Some(settings.size("max_bytes")).filter(|bytes| *bytes > 0),
            quotes: quotes.iter().map(|quote| (*quote).to_owned()).collect(),
            quotes_said: 0,
        })
    }

    fn check(settings: &Settings) -> Result<(), String> {
        check_quotes(settings)
    }
}

impl Protocol for Echo {
    type Session = Session;

    const CARRY_FORMAT: Option<u32> = Some(carry::FORMAT);

    const OPTIONS: &'static [Opt] = &[
        Opt::text(
            c"mode",
            c"What is given back (every byte, every line, the first read, who the peer is), or another \
              small service: RFC 863, 864, 867, 868 or 865.",
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
        Opt::list(
            c"quotes",
            c"What qotd says, one after the other; each at most 509 bytes. Without any, a few of its own.",
        )
        .default(c""),
    ];

    fn open(&mut self, cx: &mut Context, session: SessionId, facts: &Facts) -> Result<Session> {
        let mut state = Session::default();
        match self.mode {
            Mode::Stream | Mode::Line | Mode::Once | Mode::Discard => {}
            Mode::Who => cx.write(session, format!("You are {}\r\n", facts.peer()).as_bytes())?,
            Mode::Chargen => state.pour(cx, session),
            Mode::Daytime => state.tell(cx, session, small::daytime(unix_s()).as_bytes())?,
            Mode::Time => state.tell(cx, session, &small::time(unix_s()))?,
            Mode::Qotd => {
                let quote = self.next_quote();
                state.tell(cx, session, quote.as_bytes())?;
            }
        }
        Ok(state)
    }

    fn export(
        &mut self,
        _: &mut Context,
        _: SessionId,
        session: &Session,
        out: &mut Vec<u8>,
    ) -> Result {
        carry::export(self.mode, session, out);
        Ok(())
    }

    fn import(
        &mut self,
        _: &mut Context,
        _: SessionId,
        _: &Facts,
        format: u32,
        bytes: &[u8],
    ) -> Result<Session, String> {
        carry::import(self.mode, self.line_max, format, bytes)
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
            // What they are sent plays no part.
            Mode::Discard | Mode::Chargen | Mode::Daytime | Mode::Time | Mode::Qotd => {
                allowed.len()
            }
        };
        session.consumed = session.consumed.saturating_add(consumed as u64);
        if is_last {
            // A mode that has ended the session itself was first, with its own reason.
            let _ = cx.close(from, "max_bytes is reached");
        }
        Ok(consumed)
    }

    fn peer_finished(&mut self, cx: &mut Context, id: SessionId, session: &mut Session) -> Result {
        session.last_words = match self.mode {
            Mode::Stream | Mode::Once | Mode::Discard | Mode::Chargen => Box::default(),
            // Still to be said, if there was no room before.
            Mode::Daytime | Mode::Time | Mode::Qotd => std::mem::take(&mut session.last_words),
            Mode::Line => std::mem::take(&mut session.partial).into(),
            Mode::Who if session.partial.is_empty() => Box::default(),
            Mode::Who => line::answer(&session.partial).into(),
        };
        session.say_last_words(cx, id)
    }

    fn writable(&mut self, cx: &mut Context, id: SessionId, session: &mut Session) {
        let said = match self.mode {
            _ if session.peer_has_finished => session.say_last_words(cx, id),
            Mode::Stream | Mode::Line | Mode::Once | Mode::Who | Mode::Discard => Ok(()),
            Mode::Chargen => {
                session.pour(cx, id);
                Ok(())
            }
            Mode::Daytime | Mode::Time | Mode::Qotd => {
                let answer = std::mem::take(&mut session.last_words);
                session.tell(cx, id, &answer)
            }
        };
        if said.is_err() {
            // Refused again after it had room: the session is ending some other way.
            let _ = cx.abort(id, "the last line could not be sent");
        }
    }
}

impl Echo {
    /// One after the other, so that each is said.
    fn next_quote(&mut self) -> String {
        let quote = &self.quotes[self.quotes_said % self.quotes.len()];
        self.quotes_said += 1;
        format!("{quote}\r\n")
    }

    /// The part of the input that `max_bytes` allows, and whether that is all there will be.
    fn allowed<'a>(&self, session: &Session, input: &'a [u8]) -> (&'a [u8], bool) {
        let Some(max) = self.max_bytes else {
            return (input, false);
        };
        // At least one byte is left: the session was closed when the last one was consumed or seen;
        // unless it was carried here from where more was allowed.
        let left = usize::try_from(max.saturating_sub(session.consumed)).unwrap_or(usize::MAX);
        match input.get(..left) {
            Some(allowed) => (allowed, true),
            None => (input, false),
        }
    }
}

fn check_quotes(settings: &Settings) -> Result<(), String> {
    let max = small::QUOTE_BYTES_MAX;
    match settings
        .list("quotes")
        .iter()
        .find(|quote| quote.len() > max)
    {
        None => Ok(()),
        Some(quote) => Err(format!(
            "quotes: one has {} bytes, and RFC 865 leaves room for {max}: {:.30}...",
            quote.len(),
            quote
        )),
    }
}

/// The wall clock; before 1970 it is 1970.
fn unix_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

export_plugin!(Echo, name = "echo");
