//! Peers of the test plugin `meets`, which does on the bus what they say and tells them what it hears.
//!
//! Invariant: a peer waits for a line, never for a time; what it was told stays in `lines`.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use super::daemon::{Daemon, PATIENCE};

/// A peer of one worker, and all that it was told.
pub struct Peer {
    reader: BufReader<TcpStream>,
    pub worker: String,
    pub lines: Vec<String>,
}

impl Peer {
    pub fn connect(daemon: &Daemon) -> Peer {
        let stream = TcpStream::connect(daemon.address("meets", 0)).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        let mut peer = Peer {
            reader: BufReader::new(stream),
            worker: String::new(),
            lines: Vec::new(),
        };
        peer.worker = peer.next();
        peer
    }

    /// One peer of each worker: where a connection goes is the kernel's choice.
    pub fn of_both(daemon: &Daemon) -> [Peer; 2] {
        let first = Peer::connect(daemon);
        loop {
            let second = Peer::connect(daemon);
            if second.worker != first.worker {
                return [first, second];
            }
        }
    }

    pub fn say(&mut self, line: &str) {
        let mut stream = self.reader.get_ref();
        stream
            .write_all(format!("{line}\n").as_bytes())
            .expect("sent");
    }

    pub fn next(&mut self) -> String {
        let mut line = String::new();
        let read = self.reader.read_line(&mut line);
        assert!(
            read.is_ok_and(|count| count > 0),
            "nothing after {:?}",
            self.lines.last()
        );
        let line = line.trim_end().to_owned();
        self.lines.push(line.clone());
        line
    }

    pub fn until(&mut self, wanted: &str) {
        while self.next() != wanted {}
    }

    /// The messages of a topic that it was told.
    pub fn messages(&self) -> Vec<&str> {
        let messages = self.lines.iter().filter(|line| line.starts_with("room "));
        messages.map(String::as_str).collect()
    }
}

/// The pid of the daemon's hub, or of the one after so many others.
pub fn hub_of(daemon: &Daemon, nth: usize) -> u32 {
    loop {
        let log = daemon.log();
        let mut pids = log.split("the hub is ").skip(1);
        if let Some(text) = pids.nth(nth) {
            let pid = text.split(',').next().expect("a number");
            return pid.parse().expect("a number");
        }
        daemon.wait_log("the hub is ");
        super::looking::again();
    }
}
