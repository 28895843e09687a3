//! One worker of the chat, in which people say things and are shown things.
//!
//! Invariant: what a peer was shown is looked at once.

use std::collections::BTreeMap;

use polyport_plugin::testing::{FakeHost, Peer, Setup};

/// A worker, and how much of what each peer was sent has been looked at.
pub(crate) struct Worker {
    pub(crate) host: FakeHost,
    read: BTreeMap<Peer, usize>,
}

impl Worker {
    pub(crate) fn start(setup: Setup) -> Worker {
        let host = setup.start().expect("it starts");
        Worker {
            host,
            read: BTreeMap::new(),
        }
    }

    /// In, with the greeting read.
    pub(crate) fn join(&mut self, nick: &str) -> Peer {
        let peer = self.host.connect();
        self.say(peer, nick);
        let greeting = self.news(peer);
        assert!(greeting.contains("you are in #lobby"), "{greeting}");
        peer
    }

    pub(crate) fn say(&mut self, peer: Peer, line: &str) {
        self.host.send(peer, format!("{line}\n").as_bytes());
    }

    /// What it is shown for a line.
    pub(crate) fn ask(&mut self, peer: Peer, line: &str) -> String {
        self.say(peer, line);
        self.news(peer)
    }

    pub(crate) fn news(&mut self, peer: Peer) -> String {
        self.host.hear_bus();
        while self.host.run_work() {}
        let all = self.host.received(peer);
        let read = self.read.entry(peer).or_default();
        let new = String::from_utf8(all[*read..].to_vec()).expect("only UTF-8 is shown");
        *read = all.len();
        new
    }
}
