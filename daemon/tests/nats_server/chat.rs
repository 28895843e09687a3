//! The chat over a real NATS server: three nodes, and everybody sees the same people come, go, change their
//! names and write to each other, also while a node is stopped and another one is killed.
//!
//! Invariant: a person waits for a line, never for a time; what was shown stays in `lines`.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use nix::sys::signal::Signal;

use super::{NODE_TIMEOUT, Server};
use crate::support::daemon::{Daemon, PATIENCE, family_of};
use crate::support::looking;

const NODES: usize = 3;

fn config(server: &Server) -> String {
    format!(
        "[daemon]\n[daemon.bus]\nbackend = \"nats\"\n[daemon.bus.nats]\nservers = [{:?}]\n\
         node_timeout = \"{}s\"\n[services.chat]\nplugin = \"line-chat\"\n\
         listen = [\"tcp://127.0.0.1:0\"]\nworkers = 1\n[services.chat.settings]\n\
         rate = 1000\nburst = 10000\njoins_per_minute = 0\n",
        server.url(),
        NODE_TIMEOUT.as_secs()
    )
}

fn start(server: &Server, name: &str) -> Vec<Daemon> {
    let nodes = (0..NODES).map(|nth| Daemon::start(&format!("{name}-{nth}"), &config(server)));
    nodes.collect()
}

struct Person {
    reader: BufReader<TcpStream>,
    nick: String,
    lines: Vec<String>,
}

impl Person {
    fn join(node: &Daemon, nick: &str) -> Person {
        let mut person = Person::come(node, nick);
        person.until("you are in #lobby");
        person
    }

    /// Has said its nick, and nothing was answered yet.
    fn come(node: &Daemon, nick: &str) -> Person {
        let stream = TcpStream::connect(node.address("chat", 0)).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        let mut person = Person {
            reader: BufReader::new(stream),
            nick: nick.to_owned(),
            lines: Vec::new(),
        };
        person.say(nick);
        person
    }

    fn say(&mut self, lines: &str) {
        let sent = self
            .reader
            .get_ref()
            .write_all(format!("{lines}\n").as_bytes());
        sent.expect("sent");
    }

    fn next(&mut self) -> &str {
        let mut line = String::new();
        let read = self.reader.read_line(&mut line);
        let is_read = matches!(read, Ok(count) if count > 0);
        let last = &self.lines[self.lines.len().saturating_sub(8)..];
        assert!(is_read, "{}: {read:?} after {last:?}", self.nick);
        self.lines.push(line.trim_end().to_owned());
        self.lines.last().expect("just put there")
    }

    fn until(&mut self, part: &str) {
        while !self.next().contains(part) {}
    }

    /// Up to the end of the session, which nobody asked for.
    fn until_end(&mut self) {
        let mut line = String::new();
        while self
            .reader
            .read_line(&mut line)
            .is_ok_and(|count| count > 0)
        {
            self.lines.push(line.trim_end().to_owned());
            line.clear();
        }
    }

    /// What was shown and has this in it, without the rest.
    fn shown(&self, part: &str) -> Vec<String> {
        let with = self.lines.iter().filter(|line| line.contains(part));
        with.cloned().collect()
    }

    fn who(&mut self) -> Vec<String> {
        self.say("/who\n/uptime");
        let from = self.lines.len();
        self.until("up for");
        let rows = self.lines[from..]
            .iter()
            .filter(|line| line.contains("  #"));
        let nick = |row: &String| row.split_whitespace().next().unwrap_or("").to_owned();
        rows.map(nick).collect()
    }
}

/// One who stays and listens, at each node; each has seen all of them.
fn watchers(nodes: &[Daemon]) -> Vec<Person> {
    let nicks: Vec<String> = (0..nodes.len()).map(|nth| format!("w{nth}")).collect();
    let joins = nodes.iter().zip(&nicks);
    let mut watchers: Vec<Person> = joins.map(|(node, nick)| Person::join(node, nick)).collect();
    agree(&mut watchers, &nicks);
    watchers
}

/// Until everybody sees these people, and nobody else.
fn agree(watchers: &mut [Person], nicks: &[String]) {
    for watcher in watchers {
        let mut tries = 0;
        loop {
            let seen = watcher.who();
            if seen == nicks {
                break;
            }
            tries += 1;
            assert!(
                tries < 2_000,
                "{} sees {seen:?}, not {nicks:?}",
                watcher.nick
            );
            looking::again();
        }
    }
}

/// Every coming that was shown is followed by the changes of its name, and by its going for the reason it
/// gave; of all who came, whoever hears late may have missed some altogether.
fn lives_are_whole(watcher: &Person, most: usize) {
    let mut there: HashSet<&str> = HashSet::new();
    let mut whole = 0;
    let notices = watcher
        .lines
        .iter()
        .filter_map(|line| line.strip_prefix("-- "));
    for (nick, what) in notices.filter_map(|line| line.split_once(' ')) {
        let is_right = if nick == "you" || nick.starts_with('w') {
            true
        } else if what.starts_with("joined #lobby") {
            there.insert(nick)
        } else if let Some(name) = what.strip_prefix("is now ") {
            there.remove(nick) && there.insert(name)
        } else if what == "left #lobby (bye)" {
            whole += 1;
            there.remove(nick)
        } else {
            false
        };
        assert!(
            is_right,
            "{}: {nick} {what}: {:?}",
            watcher.nick, watcher.lines
        );
    }
    assert!(
        there.is_empty(),
        "{}: {there:?} have not gone",
        watcher.nick
    );
    assert!((most / 2..=most).contains(&whole), "{whole} of {most}");
}

#[test]
fn whoever_comes_goes_or_changes_its_name_is_seen_so_by_all_nodes() {
    let server = Server::start("nats-chat");
    let nodes = start(&server, "nats-chat");
    let mut watchers = watchers(&nodes);
    let nicks: Vec<String> = watchers.iter().map(|it| it.nick.clone()).collect();
    let (rounds, each, called_otherwise) = (12, 4, 8);
    for round in 0..rounds {
        let come = |nth| Person::come(&nodes[nth % NODES], &format!("g{round}_{nth}"));
        let guests: Vec<Person> = (0..each * NODES).map(come).collect();
        for mut guest in guests {
            guest.until("you are in #lobby");
            guest.say("/quit bye");
        }
    }
    // What somebody says of himself before he changes his name is not heard behind it.
    for round in 0..called_otherwise {
        let mut person = Person::join(&nodes[0], &format!("ra{round}"));
        person.say(&format!(
            "/away tea\n/nick rb{round}\n/join den\n/away x\n/nick rc{round}\n/quit bye"
        ));
        person.until_end();
    }
    agree(&mut watchers, &nicks);
    for watcher in &watchers {
        lives_are_whole(watcher, rounds * each * NODES + called_otherwise);
    }
    drop(watchers);
    for node in nodes {
        node.finish(&[]);
    }
}

#[test]
fn private_lines_reach_another_node_or_their_sender_is_told() {
    let server = Server::start("nats-letters");
    let nodes = start(&server, "nats-letters");
    let mut people = watchers(&nodes);
    let count = 400;
    for nth in 0..count {
        people[0].say(&format!("/msg w2 n{nth}."));
        people[0].until(&format!("n{nth}."));
    }
    people[0].say("/msg w2 last.");
    people[2].until("last.");
    let heard = people[2].shown("*w0* n");
    let sent: Vec<String> = (0..count).map(|nth| format!("*w0* n{nth}.")).collect();
    let lost: Vec<&String> = sent.iter().filter(|it| !heard.contains(it)).collect();
    assert!(lost.is_empty(), "of {count}: {lost:?}");
    assert_eq!(heard, sent);
    drop(people);
    for node in nodes {
        node.finish(&[]);
    }
}

#[test]
fn people_of_a_node_that_stops_or_is_killed_are_gone_for_all_others() {
    let server = Server::start("nats-gone");
    let mut nodes = start(&server, "nats-gone");
    let mut watchers = watchers(&nodes);
    let mut bob = Person::join(&nodes[1], "bob");
    let eve = Person::join(&nodes[2], "eve");
    agree(
        &mut watchers,
        &["bob", "eve", "w0", "w1", "w2"].map(str::to_owned),
    );
    // Nobody there hangs up by himself.
    nodes[1].signal(nodes[1].pid(), Signal::SIGTERM);
    for nth in [0, 2] {
        watchers[nth].until("bob left #lobby (the server stops)");
    }
    bob.until("the server stops");
    let mut again = Person::join(&nodes[0], "bob");
    again.say("/quit bye");
    again.until_end();
    drop(bob);
    drop(watchers.remove(1));
    let mut stopped = nodes.remove(1);
    assert_eq!(stopped.wait(), 0);
    stopped.finish(&[]);
    agree(&mut watchers, &["eve", "w0", "w2"].map(str::to_owned));
    let killed = nodes.remove(1);
    // It starts nobody anew.
    killed.signal(killed.pid(), Signal::SIGSTOP);
    for pid in family_of(killed.pid()) {
        killed.signal(pid, Signal::SIGKILL);
    }
    drop(killed);
    // Nobody can know it yet.
    watchers[0].say("/msg eve hello");
    watchers[0].until("-> eve: hello");
    let told = ["eve left #lobby (node lost)", "not delivered: eve has left"];
    while told.iter().any(|it| watchers[0].shown(it).is_empty()) {
        watchers[0].next();
    }
    drop((eve, watchers.remove(1)));
    agree(&mut watchers, &["w0".to_owned()]);
    let taken = Person::join(&nodes[0], "eve");
    drop((taken, watchers));
    nodes.remove(0).finish(&[]);
}
