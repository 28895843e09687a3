//! A conversation of the blocking style: each line is an order, and what it came to is answered.
//!
//! For the daemon's tests: they see from outside, in answers and log lines, that a handler is set up,
//! woken, limited and finished as it should be.
#![forbid(unsafe_code)]

use std::io::{self, BufRead, Read, Write};
use std::time::Duration;

use polyport_plugin::prelude::*;

#[derive(Default)]
struct Talks;

impl Talks {
    /// False when the conversation is over.
    fn obey(&self, order: &str, stream: &mut Stream) -> io::Result<bool> {
        match order.split_once(' ').unwrap_or((order, "")) {
            ("say", words) => writeln!(stream, "{words}")?,
            ("who", _) => writeln!(stream, "{} at {}", stream.peer(), stream.facts().endpoint())?,
            ("credentials", _) => match stream.facts().credentials() {
                Some(peer) => writeln!(stream, "{} {} {}", peer.pid, peer.uid, peer.gid)?,
                None => writeln!(stream, "none")?,
            },
            ("panic", words) => panic!("{words}"),
            ("fail", _) => return Err(io::ErrorKind::InvalidData.into()),
            ("peek", _) => {
                let seen = stream.peek()?.len();
                writeln!(stream, "something there: {}", seen > 0)?;
            }
            ("deadline", ms) => {
                let ms = ms.parse().map_err(|_| io::ErrorKind::InvalidInput)?;
                stream.set_deadline(Some(Duration::from_millis(ms)))?;
            }
            ("half-close", _) => {
                stream.finish_writing()?;
                let mut rest = String::new();
                stream.read_to_string(&mut rest)?;
                stream.log(Level::Info, format!("heard after half-closing: {rest}"));
                return Ok(false);
            }
            ("pour", _) => loop {
                stream.write_all(&[b'.'; 65_536])?;
            },
            // It never returns, whatever the daemon does.
            ("stay", _) => loop {
                std::thread::park();
            },
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Blocking for Talks {
    type Session = u32; // orders obeyed

    fn setup(&self, stream: &mut Stream) -> io::Result<u32> {
        writeln!(stream, "ready")?;
        stream.flush()?;
        Ok(0)
    }

    fn handle(&self, obeyed: &mut u32, stream: &mut Stream) -> io::Result<()> {
        let mut line = String::new();
        while stream.read_line(&mut line)? > 0 {
            if !self.obey(line.trim_end(), stream)? {
                break;
            }
            *obeyed += 1;
            line.clear();
        }
        Ok(())
    }

    fn finish(&self, obeyed: u32, stream: &mut Stream, result: &io::Result<()>) {
        let result = result.as_ref().map_err(Error::of);
        stream.log(Level::Info, format!("finished after {obeyed}: {result:?}"));
        // A peer that has gone does not hear it.
        let _ = writeln!(stream, "bye");
    }
}

export_blocking_plugin!(Talks, name = "talks");
