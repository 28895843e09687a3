//! A conversation in the blocking style: each line comes back in capitals, until an empty one.
//! Build: `cargo build --example blocking`.

use std::io::{self, BufRead, Write};
use std::time::Duration;

use polyport_plugin::prelude::*;

#[derive(Default)]
struct Shout;

impl Blocking for Shout {
    type Session = u32; // lines so far

    fn setup(&self, stream: &mut Stream) -> io::Result<u32> {
        writeln!(stream, "Hello, {}.", stream.peer())?;
        Ok(0)
    }

    fn handle(&self, lines: &mut u32, stream: &mut Stream) -> io::Result<()> {
        loop {
            stream.set_deadline(Some(Duration::from_secs(60)))?;
            let mut line = String::new();
            stream.read_line(&mut line)?;
            if line.trim().is_empty() {
                return Ok(());
            }
            *lines += 1;
            stream.write_all(line.to_uppercase().as_bytes())?;
        }
    }

    fn finish(&self, lines: u32, stream: &mut Stream, _: &io::Result<()>) {
        // A peer that has gone does not hear it.
        let _ = writeln!(stream, "{lines} lines. Bye.");
    }
}

export_blocking_plugin!(Shout, name = "shout");
