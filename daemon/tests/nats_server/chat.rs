//! The chat over a real NATS server: three nodes, and everybody sees the same people come, go, change their
//! names and write to each other, also while a node is stopped and another one is killed.
//!
//! Invariant: a person waits for a line, never for a time; what was shown stays in `lines`.

use std::collections::BTreeMap;
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

/// Nick → what was shown of its coming and going, in order.
fn lives(watcher: &Person, of: &str) -> BTreeMap<String, String> {
    let mut lives: BTreeMap<String, String> = BTreeMap::new();
    for line in &watcher.lines {
        let Some((nick, what)) = line.strip_prefix("-- ").and_then(|it| it.split_once(' ')) else {
            continue;
        };
        if nick.starts_with(of) {
            let what = what.split(" (1").next().unwrap_or(what);
            let what = match what.find(" here)") {
                Some(_) => what.split(" (").next().unwrap_or(what),
                None => what,
            };
            *lives.entry(nick.to_owned()).or_default() += &format!("{what};");
        }
    }
    lives
}

#[test]
fn whoever_comes_goes_or_changes_its_name_is_seen_so_by_all_nodes() {
    let server = Server::start("nats-chat");
    let nodes = start(&server, "nats-chat");
    let mut watchers = watchers(&nodes);
    let nicks: Vec<String> = watchers.iter().map(|it| it.nick.clone()).collect();
    let (rounds, each) = (12, 4);
    for round in 0..rounds {
        let mut guests = Vec::new();
        for nth in 0..each * NODES {
            guests.push(Person::come(
                &nodes[nth % NODES],
                &format!("g{round}.{nth}").replace('.', "_"),
            ));
        }
        for mut guest in guests {
            guest.until("you are in #lobby");
            guest.say("/quit bye");
        }
    }
    agree(&mut watchers, &nicks);
    for watcher in &watchers {
        let lives = lives(watcher, "g");
        assert_eq!(lives.len(), rounds * each * NODES);
        for (nick, life) in lives {
            assert_eq!(
                life, "joined #lobby;left #lobby (bye);",
                "{nick} for {}",
                watcher.nick
            );
        }
    }
    // What somebody says of himself before he changes his name is not heard behind it.
    for round in 0..8 {
        let mut person = Person::join(&nodes[0], &format!("ra{round}"));
        person.say(&format!(
            "/away tea\n/nick rb{round}\n/join den\n/away x\n/nick rc{round}\n/quit bye"
        ));
        person.until_end();
    }
    agree(&mut watchers, &nicks);
    for watcher in &watchers {
        let lives: Vec<String> = lives(watcher, "r")
            .into_iter()
            .map(|(nick, life)| format!("{nick} {life}"))
            .collect();
        let life = |name: &str, life: &str| {
            (0..8)
                .map(|it| format!("{name}{it} {}", life.replace('N', &it.to_string())))
                .collect::<Vec<_>>()
        };
        let wanted = [
            life("ra", "joined #lobby;is now rbN;"),
            life("rb", "is now rcN;"),
            life("rc", "left #lobby (bye);"),
        ]
        .concat();
        assert_eq!(lives, wanted, "for {}", watcher.nick);
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
    nodes.remove(1).finish(&[]);
    agree(&mut watchers, &["eve", "w0", "w2"].map(str::to_owned));
    let killed = nodes.remove(1);
    // It starts nobody anew.
    killed.signal(killed.pid(), Signal::SIGSTOP);
    for pid in family_of(killed.pid()) {
        killed.signal(pid, Signal::SIGKILL);
    }
    drop(killed);
    watchers[0].until("eve left #lobby (node lost)");
    drop((eve, watchers.remove(1)));
    agree(&mut watchers, &["w0".to_owned()]);
    let taken = Person::join(&nodes[0], "eve");
    drop((taken, watchers));
    nodes.remove(0).finish(&[]);
}
