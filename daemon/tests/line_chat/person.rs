//! Somebody in the chat, by a socket: what he says, and all that he was shown.
//!
//! He answers nothing by himself. Invariant: whoever waits for a line is told what came instead.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::TcpStream;

use crate::support::daemon::{Daemon, PATIENCE};

/// A person, and all that was shown.
pub(crate) struct Person {
    pub(crate) reader: BufReader<TcpStream>,
    pub(crate) lines: Vec<String>,
}

impl Person {
    /// Has not said its nick.
    pub(crate) fn come(daemon: &Daemon) -> Person {
        let stream = TcpStream::connect(daemon.address("chat", 0)).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        Person {
            reader: BufReader::new(stream),
            lines: Vec::new(),
        }
    }

    pub(crate) fn join(daemon: &Daemon, nick: &str) -> Person {
        let mut person = Person::come(daemon);
        person.say(nick);
        person.until(|line| line.contains("you are in #lobby"));
        person
    }

    pub(crate) fn say(&mut self, line: &str) {
        let sent = self
            .reader
            .get_ref()
            .write_all(format!("{line}\n").as_bytes());
        sent.expect("sent");
    }

    pub(crate) fn until(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        loop {
            let mut line = String::new();
            let read = self.reader.read_line(&mut line);
            let is_read = matches!(read, Ok(count) if count > 0);
            assert!(is_read, "{read:?} after {:?}", self.lines);
            self.lines.push(line.trim_end().to_owned());
            if wanted(line.trim_end()) {
                return line;
            }
        }
    }

    /// The next line; an empty one if the session has ended, or was lost with its worker.
    pub(crate) fn next_or_end(&mut self) -> String {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("{:?}", self.lines),
            Err(_) | Ok(0) => return String::new(),
            Ok(_) => {}
        }
        self.lines.push(line.trim_end().to_owned());
        line.trim_end().to_owned()
    }

    pub(crate) fn until_said(&mut self, by: &str, text: &str) {
        let wanted = format!("<{by}> {text}");
        self.until(|line| line == wanted);
    }

    /// What others have said.
    pub(crate) fn heard(&self) -> Vec<&String> {
        self.lines
            .iter()
            .filter(|line| line.starts_with('<'))
            .collect()
    }
}
