//! A sample in the event style: greets, gives each line back in capitals, and ends after an empty one.
//!
//! All sessions share one thread, so nothing here may wait.
#![forbid(unsafe_code)]

use polyport_plugin::prelude::*;

/// A line without an end is not kept for ever.
const LINE_BYTES_MAX: usize = 1024;

/// What all sessions share: here what the administrator has set.
pub struct Shout {
    greeting: String,
}

/// What is remembered of one session.
#[derive(Default)]
pub struct Session {
    lines: u32,
}

impl Configure for Shout {
    fn new(settings: &Settings, _: &mut Context) -> Result<Self, String> {
        Ok(Shout {
            greeting: settings.text("greeting").to_owned(),
        })
    }
}

impl Protocol for Shout {
    type Session = Session;

    const OPTIONS: &'static [Opt] =
        &[Opt::text(c"greeting", c"What each peer is told first.").default(c"Hello")];

    /// Sessions go on in the next worker on a reload. Another number for whatever `export` changes.
    const CARRY_FORMAT: Option<u32> = Some(1);

    fn open(&mut self, cx: &mut Context, session: SessionId, _: &Facts) -> Result<Session> {
        cx.write(session, format!("{}\r\n", self.greeting).as_bytes())?;
        Ok(Session::default())
    }

    fn export(
        &mut self,
        _: &mut Context,
        _: SessionId,
        session: &Session,
        out: &mut Vec<u8>,
    ) -> Result {
        out.extend(session.lines.to_le_bytes());
        Ok(())
    }

    // The bytes may be another version's, or somebody's who means harm.
    fn import(
        &mut self,
        _: &mut Context,
        _: SessionId,
        _: &Facts,
        format: u32,
        bytes: &[u8],
    ) -> Result<Session, String> {
        match (format, bytes.try_into()) {
            (1, Ok(lines)) => Ok(Session {
                lines: u32::from_le_bytes(lines),
            }),
            _ => Err("written by a version that is not known here".to_owned()),
        }
    }

    fn feed(
        &mut self,
        cx: &mut Context,
        from: SessionId,
        session: &mut Session,
        input: &[u8],
    ) -> Result<usize> {
        // If a write finds no room, `?` gives all of this call back and it is made again: so what is
        // remembered changes only after the last write.
        let (mut consumed, mut lines) = (0, session.lines);
        while let Some(end) = input[consumed..].iter().position(|byte| *byte == b'\n') {
            let line = &input[consumed..=consumed + end];
            consumed += line.len();
            if line.trim_ascii().is_empty() {
                cx.write(from, format!("{lines} lines. Bye.\r\n").as_bytes())?;
                cx.close(from, "an empty line")?;
                return Ok(consumed);
            }
            cx.write(from, &line.to_ascii_uppercase())?;
            lines += 1;
        }
        session.lines = lines;
        if input.len() - consumed > LINE_BYTES_MAX {
            cx.close(from, "a line is too long")?;
            consumed = input.len();
        }
        // What is not consumed comes again, with more behind it.
        Ok(consumed)
    }
}

export_plugin!(Shout, name = "@NAME@");
