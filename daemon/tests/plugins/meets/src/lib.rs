//! A test plugin that does on the bus what its peers tell it, line by line, and tells all peers of its
//! worker what it hears.
//!
//! Invariant: it decides nothing by itself, so that what a test sees is the daemon's doing.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use polyport_plugin::bus::{Event, Lease, Start};
use polyport_plugin::prelude::*;

struct Meets {
    worker: u32,
    peers: BTreeSet<SessionId>,
}

impl Configure for Meets {
    fn new(settings: &Settings, _: &mut Context) -> Result<Meets, String> {
        Ok(Meets {
            worker: settings.worker_index(),
            peers: BTreeSet::new(),
        })
    }
}

impl Protocol for Meets {
    type Session = ();
    const BUS: bool = true;

    fn open(&mut self, cx: &mut Context, session: SessionId, _: &Facts) -> Result<()> {
        cx.write(session, format!("worker {}\n", self.worker).as_bytes())?;
        self.peers.insert(session);
        Ok(())
    }

    fn feed(
        &mut self,
        cx: &mut Context,
        from: SessionId,
        _: &mut (),
        input: &[u8],
    ) -> Result<usize> {
        let mut consumed = 0;
        for line in input.split_inclusive(|byte| *byte == b'\n') {
            let Some(line) = line.strip_suffix(b"\n") else {
                break;
            };
            consumed += line.len() + 1;
            if let Err(error) = carry_out(cx, &String::from_utf8_lossy(line)) {
                cx.write(from, format!("refused: {error}\n").as_bytes())?;
            }
        }
        Ok(consumed)
    }

    fn closed(&mut self, _: &mut Context, session: SessionId, (): (), _: End) {
        self.peers.remove(&session);
    }

    fn bus(&mut self, cx: &mut Context, event: Event<'_>) {
        let line = shown(event) + "\n";
        for peer in &self.peers {
            // A peer that does not read is the test's own fault.
            let _ = cx.write(*peer, line.as_bytes());
        }
    }
}

fn carry_out(cx: &mut Context, line: &str) -> Result {
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        ["publish", topic, id, text] => cx.publish(topic, id.as_bytes(), text.as_bytes()).map(drop),
        ["last", topic, count] => {
            let start = Start::Last(count.parse().map_err(|_| Error::Argument)?);
            cx.subscribe(topic, start).map(drop)
        }
        ["history", topic, count] => {
            let start = Start::Last(count.parse().map_err(|_| Error::Argument)?);
            cx.history(topic, start).map(drop)
        }
        ["claim", key, value, session] => cx
            .claim(key, value.as_bytes(), session.as_bytes())
            .map(drop),
        ["release", key, session] => cx.release(key, session.as_bytes()),
        ["watch", prefix] => cx.watch(prefix).map(drop),
        _ => Err(Error::Argument),
    }
}

fn shown(event: Event<'_>) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match event {
        Event::Link { up } => format!("link {up}"),
        Event::Message { message, .. } => {
            let (topic, sequence) = (message.topic, message.sequence);
            format!("{topic} {sequence} {}", text(message.bytes))
        }
        Event::Missed { from, to, .. } => format!("missed {from}-{to}"),
        Event::CaughtUp { .. } => "caught up".to_owned(),
        Event::Published { result, .. } => match result {
            Ok(_) => "published".to_owned(),
            Err(error) => format!("not published: {error}"),
        },
        Event::Lease {
            key, lease, value, ..
        } => {
            let what = match lease {
                Lease::Won => "won",
                Lease::Denied => "denied",
                Lease::Lost => "lost",
            };
            format!("{what} {key} {}", text(value))
        }
        Event::Seen { key, held, .. } => match held {
            Some(value) => format!("held {key} {}", text(value)),
            None => format!("free {key}"),
        },
    }
}

export_plugin!(Meets, name = "fixture-meets");
