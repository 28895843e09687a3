//! A sample in the blocking style: greets, gives each line back in capitals, and ends after an empty
//! one.
//!
//! Each session has a thread of its own, which may wait; what they share needs a lock.
#![forbid(unsafe_code)]

use std::io::{self, BufRead, Read, Write};
use std::time::Duration;

use polyport_plugin::prelude::*;

/// A line without an end is not kept for ever.
const LINE_BYTES_MAX: u64 = 1024;

/// What all sessions share: here what the administrator has set.
pub struct Shout {
    greeting: String,
}

impl Configure for Shout {
    fn new(settings: &Settings, _: &mut Context) -> Result<Self, String> {
        Ok(Shout {
            greeting: settings.text("greeting").to_owned(),
        })
    }
}

impl Blocking for Shout {
    type Session = u32; // lines so far

    const OPTIONS: &'static [Opt] =
        &[Opt::text(c"greeting", c"What each peer is told first.").default(c"Hello")];

    fn handle(&self, lines: &mut u32, stream: &mut Stream) -> io::Result<()> {
        write!(stream, "{}\r\n", self.greeting)?;
        loop {
            stream.set_deadline(Some(Duration::from_secs(60)))?;
            let mut line = Vec::new();
            (&mut *stream).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
            if !line.ends_with(b"\n") {
                return Ok(()); // The peer has finished, or its line is too long.
            }
            if line.trim_ascii().is_empty() {
                return write!(stream, "{lines} lines. Bye.\r\n");
            }
            *lines += 1;
            stream.write_all(&line.to_ascii_uppercase())?;
        }
    }
}

export_blocking_plugin!(Shout, name = "@NAME@");
