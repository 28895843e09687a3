//! Finger (RFC 1288) in the blocking style: each session waits for its line on a thread of its own.
//! Build: `cargo build --example finger_blocking`.

use std::io::{self, BufRead, Read, Write};
use std::time::Duration;

use polyport_plugin::prelude::*;

const QUERY_BYTES_MAX: u64 = 512;
const PATIENCE: Duration = Duration::from_secs(30);

struct Finger {
    people: Vec<(String, String)>,
}

impl Configure for Finger {
    fn new(settings: &Settings, _: &mut Context) -> Result<Self, String> {
        let people = settings.list("people").iter();
        let people = people.map(|entry| match entry.split_once(": ") {
            Some((name, text)) => Ok((name.to_owned(), text.to_owned())),
            None => Err(format!(
                "people: expected \"name: text\", found \"{entry}\""
            )),
        });
        Ok(Finger {
            people: people.collect::<Result<_, String>>()?,
        })
    }
}

impl Blocking for Finger {
    type Session = ();

    const PEER_FIRST: bool = true;
    const OPTIONS: &'static [Opt] =
        &[Opt::list(c"people", c"Who is known, each as \"name: text\".").default(c"")];

    fn handle(&self, _: &mut (), stream: &mut Stream) -> io::Result<()> {
        stream.set_deadline(Some(PATIENCE))?;
        let mut query = Vec::new();
        (&mut *stream)
            .take(QUERY_BYTES_MAX)
            .read_until(b'\n', &mut query)?;
        if !query.ends_with(b"\n") {
            return Ok(()); // The peer has finished without a query, or it is too long.
        }
        stream.write_all(self.answer(&query).as_bytes())
    }
}

impl Finger {
    fn answer(&self, query: &[u8]) -> String {
        let query = String::from_utf8_lossy(query);
        let query = query.trim();
        let query = query.strip_prefix("/W").unwrap_or(query).trim();
        if query.contains('@') {
            return "Finger forwarding service denied.\r\n".to_owned();
        }
        let known = self.people.iter();
        match known.clone().find(|(name, _)| name == query) {
            Some((name, text)) => format!("{name}: {text}\r\n"),
            None if query.is_empty() => known.map(|(name, _)| format!("{name}\r\n")).collect(),
            None => "Nobody of that name is here.\r\n".to_owned(),
        }
    }
}

export_blocking_plugin!(Finger, name = "finger");
