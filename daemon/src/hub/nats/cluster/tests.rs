//! Two hubs and a server of values: what is asked and what comes of it, without a network.

use std::collections::BTreeMap;

use super::*;
use crate::hub::simulation::shelf::Shelf;
use crate::hub::wire::{Ask, next_frame};

/// What a server keeps: one stream, one bucket.
#[derive(Default)]
struct Server {
    stream: Vec<(String, Kept)>,
    bucket: BTreeMap<String, (Lease, u64)>,
    revision: u64,
}

struct Node {
    hub: Hub<Shelf>,
    member: MemberId,
    /// How far it was told of the stream.
    told: usize,
}

impl Node {
    fn new(name: &str) -> Node {
        let mut hub = Hub::new(Shelf::default(), false, 0);
        hub.join(name.to_owned());
        hub.follow("chat", 0);
        let member = hub.attach("chat", false);
        let mut node = Node {
            hub,
            member,
            told: 0,
        };
        node.ask(Ask::Hello { version: VERSION });
        node.ask(Ask::Resumed);
        node
    }

    fn ask(&mut self, ask: Ask<'_>) {
        let mut bytes = Vec::new();
        ask.write(&mut bytes);
        let (content, _) = next_frame(&bytes).expect("a frame").expect("whole");
        self.hub.hear(self.member, content, 0, 0).expect("heard");
    }

    fn publish(&mut self, token: u64, text: &str) {
        self.ask(Ask::Publish {
            token,
            topic: "room",
            id: text.as_bytes(),
            bytes: text.as_bytes(),
        });
    }

    fn claim(&mut self, token: u64, session: &str) {
        self.ask(Ask::Claim {
            token,
            key: "nick.bob",
            value: session.as_bytes(),
            session: session.as_bytes(),
            held: false,
        });
    }

    /// The connection is made, and all that there is is told.
    fn link(&mut self, server: &mut Server, now_ms: u64) {
        self.told = 0;
        self.hub.told(Event::Up, 0, now_ms);
        self.hear(server, now_ms);
        for event in [
            Event::Synced { service: 0 },
            Event::LeasesSeen { service: 0 },
        ] {
            self.hub.told(event, 0, now_ms);
        }
        self.turn(server, now_ms);
    }

    fn hear(&mut self, server: &Server, now_ms: u64) {
        for (topic, kept) in &server.stream[self.told..] {
            let event = Event::Message {
                service: 0,
                topic: topic.clone(),
                kept: kept.clone(),
            };
            self.hub.told(event, 0, now_ms);
        }
        self.told = server.stream.len();
        for (key, (lease, revision)) in &server.bucket {
            let event = Event::Lease {
                service: 0,
                key: key.clone(),
                revision: *revision,
                shown: Shown::Held(lease.clone()),
            };
            self.hub.told(event, 0, now_ms);
        }
    }

    /// Everything that is asked is answered.
    fn turn(&mut self, server: &mut Server, now_ms: u64) {
        while let Some(request) = self.hub.next_request() {
            if let Some(answer) = server.answer(request) {
                self.hub.told(answer, 0, now_ms);
            }
        }
        self.hear(server, now_ms);
    }

    /// What the worker was told since last asked, message bytes and outcomes of claims.
    fn heard(&mut self) -> Vec<String> {
        let output = self.hub.output(self.member).to_vec();
        self.hub.sent(self.member, output.len());
        let mut rest = &output[..];
        let mut heard = Vec::new();
        while let Some((content, taken)) = next_frame(rest).expect("good frames") {
            match News::read(content).expect("good news") {
                News::Welcome { .. } => heard.push("there".to_owned()),
                News::Away => heard.push("away".to_owned()),
                News::Published {
                    token, sequence, ..
                } => {
                    heard.push(format!("{token} is {sequence}"));
                }
                News::Won { token } => heard.push(format!("{token} won")),
                News::Denied { token, .. } => heard.push(format!("{token} denied")),
                News::Held { key, value, .. } => {
                    heard.push(format!("{key} is {}", String::from_utf8_lossy(value)));
                }
                News::Free { key, .. } => heard.push(format!("{key} is free")),
                _ => {}
            }
            rest = &rest[taken..];
        }
        heard
    }
}

impl Server {
    fn answer(&mut self, request: Request) -> Option<Event> {
        match request {
            Request::Publish {
                serial,
                topic,
                id,
                bytes,
                ..
            } => {
                let known = self.stream.iter().find(|(_, kept)| *kept.id == *id);
                let sequence = known.map_or(self.stream.len() as u64 + 1, |it| it.1.sequence);
                if known.is_none() {
                    let kept = Kept {
                        sequence,
                        time_ms: 1,
                        id: id.into(),
                        bytes: bytes.as_ref().into(),
                    };
                    self.stream.push((topic, kept));
                }
                let sequence = Some(sequence);
                Some(Event::Published { serial, sequence })
            }
            Request::Put {
                service,
                key,
                lease,
                expected,
            } => {
                let found = self.bucket.get(&key).cloned();
                let is_right = found.as_ref().map_or(0, |it| it.1) == expected;
                let answer = match found {
                    Some((lease, revision)) if !is_right => Answer::Found(lease, revision),
                    _ => {
                        self.revision += 1;
                        self.bucket.insert(key.clone(), (lease, self.revision));
                        Answer::Taken(self.revision)
                    }
                };
                Some(Event::Put {
                    service,
                    key,
                    answer,
                })
            }
            Request::Delete {
                service,
                key,
                revision,
                last: _,
            } => {
                let nothing = !self.bucket.contains_key(&key);
                if self.bucket.get(&key).is_some_and(|it| it.1 == revision) {
                    self.bucket.remove(&key);
                }
                Some(Event::Deleted {
                    service,
                    key,
                    nothing,
                })
            }
            Request::Follow { .. } | Request::Leave => None,
        }
    }
}

#[test]
fn one_message_of_a_lane_is_under_way_and_all_are_asked_again_in_their_order() {
    let mut server = Server::default();
    let mut node = Node::new("a");
    assert!(
        node.heard().is_empty(),
        "nobody is welcome before there is a server"
    );
    node.link(&mut server, 0);
    assert_eq!(node.heard(), ["there"]);
    for (token, text) in [(1, "one"), (2, "two"), (3, "three")] {
        node.publish(token, text);
    }
    let asked = node.hub.next_request().expect("the first is asked for");
    assert_eq!(node.hub.next_request(), None, "the others wait for it");
    // It is stored, and the answer is lost with the connection.
    server.answer(asked);
    node.hub.told(Event::Down, 0, 0);
    assert_eq!(node.heard(), ["away"]);
    node.link(&mut server, 0);
    assert_eq!(node.heard(), ["there", "1 is 1", "2 is 2", "3 is 3"]);
    let texts: Vec<&[u8]> = server.stream.iter().map(|(_, kept)| &*kept.bytes).collect();
    assert_eq!(texts, [&b"one"[..], b"two", b"three"]);
}

#[test]
fn of_two_who_claim_at_once_one_wins_and_a_dead_node_frees_its_keys() {
    let mut server = Server::default();
    let (mut a, mut b) = (Node::new("a"), Node::new("b"));
    for node in [&mut a, &mut b] {
        node.link(&mut server, 0);
        node.heard();
    }
    a.claim(1, "s1");
    b.claim(2, "s2");
    a.turn(&mut server, 0);
    b.turn(&mut server, 0);
    assert_eq!(
        (a.heard(), b.heard()),
        (vec!["1 won".to_owned()], vec!["2 denied".to_owned()])
    );
    // It was heard of a moment ago, and then never again.
    let timeout_ms = Some(3_000);
    let node = "a".to_owned();
    b.hub.told(Event::Node { node, timeout_ms }, 0, 10_000);
    b.hub.expire(12_999);
    b.turn(&mut server, 12_999);
    assert!(server.bucket.contains_key("nick.bob"));
    b.hub.expire(13_500);
    b.turn(&mut server, 13_500);
    assert!(server.bucket.is_empty(), "it is dead, and holds nothing");
    let marker = Event::Lease {
        service: 0,
        key: "nick.bob".to_owned(),
        revision: server.revision + 1,
        shown: Shown::Free(None),
    };
    server.revision += 1;
    b.hub.told(marker, 0, 13_500);
    b.claim(3, "s3");
    b.turn(&mut server, 13_500);
    assert_eq!(b.heard(), ["3 won"]);
    // The one that was taken for dead hears who has it, once it is back.
    a.hub.told(Event::Down, 0, 20_000);
    a.link(&mut server, 20_000);
    assert_eq!(a.heard(), ["away", "1 denied", "there"]);
}

#[test]
fn a_server_that_was_away_takes_nothing_from_anybody() {
    let mut server = Server::default();
    let (mut a, mut b) = (Node::new("a"), Node::new("b"));
    for node in [&mut a, &mut b] {
        node.link(&mut server, 0);
    }
    a.claim(1, "s1");
    a.turn(&mut server, 0);
    b.turn(&mut server, 0);
    let (node, timeout_ms) = ("a".to_owned(), Some(3_000));
    b.hub.told(Event::Node { node, timeout_ms }, 0, 0);
    b.hub.told(Event::Down, 0, 1_000);
    b.link(&mut server, 600_000);
    b.hub.expire(600_000);
    b.hub.expire(602_900);
    b.turn(&mut server, 602_900);
    assert!(
        server.bucket.contains_key("nick.bob"),
        "it has its whole time again"
    );
    // Of what the server has forgotten, each claims its own again.
    server.bucket.clear();
    a.hub.told(Event::Down, 0, 0);
    a.heard();
    a.link(&mut server, 0);
    assert!(server.bucket.contains_key("nick.bob"));
    assert_eq!(a.heard(), ["there", "1 won"]);
}

#[test]
fn an_end_that_was_not_heard_denies_nothing_and_one_that_is_heard_late_is_told_with_what_it_ended()
{
    let mut server = Server::default();
    let (mut a, mut b) = (Node::new("a"), Node::new("b"));
    for node in [&mut a, &mut b] {
        node.link(&mut server, 0);
    }
    let (token, prefix) = (9, "nick.");
    b.ask(Ask::Watch { token, prefix });
    b.heard();
    a.claim(1, "s1");
    a.turn(&mut server, 0);
    b.turn(&mut server, 0);
    assert_eq!(b.heard(), ["nick.bob is s1"]);
    // It is free, and nobody says so: the server is asked.
    server.bucket.clear();
    b.claim(2, "s2");
    b.turn(&mut server, 0);
    assert_eq!(b.heard(), ["2 won", "nick.bob is s2"]);
    // Held and free again before anything was told of it.
    let last = Lease {
        node: "a".to_owned(),
        session: Box::default(),
        value: (*b"psst").into(),
    };
    let late = Event::Lease {
        service: 0,
        key: "nick.eve".to_owned(),
        revision: server.revision + 2,
        shown: Shown::Free(Some(last)),
    };
    b.hub.told(late.clone(), 0, 0);
    assert_eq!(b.heard(), ["nick.eve is psst", "nick.eve is free"]);
    // As it is shown once more on the next connection.
    b.hub.told(late, 0, 0);
    assert!(b.heard().is_empty());
    // A node that is dead held something, of which the server knows nothing.
    let (service, key) = (0, "nick.tom".to_owned());
    let held = Lease {
        node: "c".to_owned(),
        session: Box::default(),
        value: (*b"tom").into(),
    };
    let (revision, shown) = (server.revision + 3, Shown::Held(held));
    let seen = Event::Lease {
        service,
        key,
        revision,
        shown,
    };
    b.hub.told(seen, 0, 0);
    b.hub.expire(60_000);
    b.turn(&mut server, 60_000);
    assert_eq!(b.heard(), ["nick.tom is tom", "nick.tom is free"]);
}

#[test]
fn who_took_a_lease_over_and_gave_it_up_before_that_was_told_has_had_it() {
    let mut server = Server::default();
    let mut a = Node::new("a");
    a.link(&mut server, 0);
    a.claim(1, "s1");
    a.turn(&mut server, 0);
    a.heard();
    for (node, session, heard, is_held) in [
        // This node was taken for dead.
        ("a", "s1", &[][..], true),
        ("b", "s2", &[], true),
        ("b", "s1", &["1 denied"], false),
    ] {
        server.bucket.clear();
        server.revision += 2;
        let last = Lease {
            node: node.to_owned(),
            session: session.as_bytes().into(),
            value: Box::default(),
        };
        let late = Event::Lease {
            service: 0,
            key: "nick.bob".to_owned(),
            revision: server.revision,
            shown: Shown::Free(Some(last)),
        };
        a.hub.told(late, 0, 0);
        a.turn(&mut server, 0);
        let told = a.heard();
        let told: Vec<&str> = told
            .iter()
            .map(String::as_str)
            .filter(|it| !it.contains("won"))
            .collect();
        assert_eq!(told, heard, "{node} {session}");
        assert_eq!(
            server.bucket.contains_key("nick.bob"),
            is_held,
            "{node} {session}"
        );
    }
}

#[test]
fn what_a_worker_held_is_free_in_the_order_of_the_names() {
    let mut server = Server::default();
    let mut a = Node::new("a");
    a.link(&mut server, 0);
    let keys: Vec<String> = (0..20)
        .map(|nth| format!("key.{:02}", nth * 7 % 20))
        .collect();
    for (token, key) in (0..).zip(&keys) {
        a.ask(Ask::Claim {
            token,
            key,
            value: b"",
            session: b"s",
            held: false,
        });
    }
    a.turn(&mut server, 0);
    a.hub.detach(a.member);
    let mut freed = Vec::new();
    while let Some(request) = a.hub.next_request() {
        if let Request::Delete { key, .. } = request {
            freed.push(key);
        }
    }
    let mut sorted = keys;
    sorted.sort();
    assert_eq!(freed, sorted);
}
