//! One conversation in several workers: order, once, one holder of a nick, history without a gap, in
//! worlds made from seeds, with the bus going away and workers dying. `POLYPORT_SEED=N` repeats one.

use std::collections::BTreeMap;
use std::time::Duration;

use polyport_line_chat::Chat;
use polyport_plugin::testing::{FakeBus, FakeHost, Peer, Setup};

mod apart;
mod orders;
mod private;

/// Small numbers that repeat with their seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % n
    }
}

fn seeds() -> Vec<u64> {
    match std::env::var("POLYPORT_SEED") {
        Ok(seed) => vec![seed.parse().expect("POLYPORT_SEED is a number")],
        Err(_) => (1..=60).collect(),
    }
}

fn worker(bus: &FakeBus) -> FakeHost {
    Setup::of::<Chat>()
        .bus(bus)
        .set("burst", "10000")
        .set("op_passwords", "correct horse")
        .start()
        .expect("it starts")
}

fn settle(workers: &mut [FakeHost]) {
    for _ in 0..3 {
        workers.iter_mut().for_each(FakeHost::hear_bus);
    }
}

fn say(host: &mut FakeHost, peer: Peer, line: &str) {
    host.send(peer, format!("{line}\n").as_bytes());
}

/// Two people who know of each other, each at a worker of their own.
fn eve_and_bob(bus: &FakeBus) -> (Vec<FakeHost>, [Peer; 2]) {
    let mut workers = vec![worker(bus), worker(bus)];
    let (eve, bob) = (workers[0].connect(), workers[1].connect());
    say(&mut workers[0], eve, "eve");
    say(&mut workers[1], bob, "bob");
    settle(&mut workers);
    (workers, [eve, bob])
}

fn shown(host: &FakeHost, peer: Peer) -> String {
    String::from_utf8(host.received(peer).to_vec()).expect("only UTF-8 is shown")
}

/// What was said, as it was shown, without the times of history.
fn said(host: &FakeHost, peer: Peer) -> Vec<String> {
    let mut lines = Vec::new();
    for line in shown(host, peer).lines() {
        if let Some(at) = line.find('<') {
            lines.push(line[at..].to_owned());
        }
    }
    lines
}

#[test]
fn all_are_shown_the_same_lines_in_one_order_and_once() {
    for seed in seeds() {
        let mut dice = Dice(seed);
        let bus = FakeBus::new();
        let mut workers: Vec<FakeHost> = (0..4).map(|_| worker(&bus)).collect();
        let mut people: Vec<(usize, Peer)> = Vec::new();
        let mut from: BTreeMap<Peer, usize> = BTreeMap::new();
        let (mut number, mut is_away) = (0, false);
        for step in 0..150 {
            match dice.below(20) {
                0 if people.len() < 12 && !is_away => {
                    let at = dice.below(workers.len());
                    let host = &mut workers[at];
                    // Peers of different workers have the same names: a few in front of each.
                    let peer = host.connect();
                    say(host, peer, &format!("p{step}"));
                    people.push((at, peer));
                }
                1 if is_away => {
                    bus.restore();
                    is_away = false;
                }
                2 if !is_away => {
                    bus.lose();
                    is_away = true;
                }
                3 => {
                    let at = dice.below(workers.len());
                    workers[at].carry().expect("all are carried");
                }
                4 => settle(&mut workers),
                _ if people.is_empty() => {}
                _ => {
                    let (at, peer) = people[dice.below(people.len())];
                    number += 1;
                    say(&mut workers[at], peer, &format!("line {number}"));
                }
            }
        }
        bus.restore();
        settle(&mut workers);
        from.clear();
        let all: Vec<String> = bus
            .messages("room.lobby")
            .iter()
            .map(|(_, _, bytes)| {
                let text = String::from_utf8(bytes.clone()).expect("text");
                let fields: Vec<&str> = text.split('\t').collect();
                format!("<{}> {}", fields[2], fields[3])
            })
            .collect();
        for (at, peer) in &people {
            let text = shown(&workers[*at], *peer);
            let nick = text
                .split("you are ")
                .nth(1)
                .and_then(|it| it.split(';').next());
            let Some(nick) = nick else {
                continue;
            };
            let own = format!("<{nick}>");
            let seen = said(&workers[*at], *peer);
            let Some(first) = seen.iter().find(|line| !line.starts_with(&own)) else {
                continue;
            };
            let begin = all
                .iter()
                .position(|line| line == first)
                .expect("it was said");
            let expected: Vec<&String> = all[begin..]
                .iter()
                .filter(|it| !it.starts_with(&own))
                .collect();
            let seen: Vec<&String> = seen.iter().filter(|it| !it.starts_with(&own)).collect();
            assert_eq!(seen, expected, "seed {seed}, {nick}");
        }
    }
}

#[test]
fn a_nick_has_one_holder_though_64_claim_it_on_4_workers() {
    for seed in seeds() {
        let mut dice = Dice(seed);
        let bus = FakeBus::new();
        let mut workers: Vec<FakeHost> = (0..4).map(|_| worker(&bus)).collect();
        let mut claims = Vec::new();
        for _ in 0..64 {
            let at = dice.below(4);
            let peer = workers[at].connect();
            claims.push((at, peer));
        }
        bus.lose();
        settle(&mut workers);
        for (at, peer) in &claims {
            say(
                &mut workers[*at],
                *peer,
                ["bob", "BOB", "Bob"][dice.below(3)],
            );
        }
        bus.restore();
        settle(&mut workers);
        let winners = |workers: &[FakeHost]| {
            let won =
                |(at, peer): &&(usize, Peer)| shown(&workers[*at], *peer).contains("/help says");
            claims.iter().filter(won).copied().collect::<Vec<_>>()
        };
        let first = winners(&workers);
        assert_eq!(first.len(), 1, "seed {seed}");
        let (at, peer) = first[0];
        workers[at].peer_vanishes(peer);
        settle(&mut workers);
        assert_eq!(bus.holder("nick.bob"), None, "seed {seed}");
        let rest: Vec<_> = claims.iter().filter(|it| **it != first[0]).collect();
        for (at, peer) in rest {
            say(&mut workers[*at], *peer, "bob");
        }
        settle(&mut workers);
        assert_eq!(
            winners(&workers).len(),
            2,
            "seed {seed}: one after the other"
        );
    }
}

#[test]
fn a_worker_that_dies_takes_its_people_along_and_nothing_else() {
    let bus = FakeBus::new();
    let (mut a, mut b) = (worker(&bus), worker(&bus));
    let (eve, bob) = (a.connect(), b.connect());
    say(&mut a, eve, "eve");
    say(&mut b, bob, "bob");
    say(&mut b, bob, "hi");
    a.hear_bus();
    b.crash();
    a.hear_bus();
    let text = shown(&a, eve);
    assert!(
        text.ends_with("<bob> hi\r\n-- bob left #lobby (node lost)\r\n"),
        "{text}"
    );
    let again = a.connect();
    say(&mut a, again, "bob");
    let text = shown(&a, again);
    assert!(
        text.contains("<bob> hi\r\n-- end of history --\r\n-- you are in #lobby (2 here)"),
        "{text}"
    );
}

#[test]
fn what_was_said_during_a_carry_is_told_once_however_much_it_is() {
    for count in [1, 63, 64, 65, 200, 1000] {
        let bus = FakeBus::new();
        let (mut workers, [eve, bob]) = eve_and_bob(&bus);
        for nth in 0..count {
            say(&mut workers[0], eve, &format!("line {nth}"));
            workers[0].hear_bus();
        }
        // It has heard of none of them, and the next one keeps the last 64 at hand.
        workers[1].carry().expect("bob is carried");
        settle(&mut workers);
        say(&mut workers[0], eve, "the last");
        settle(&mut workers);
        let mut expected: Vec<String> = (0..count).map(|nth| format!("<eve> line {nth}")).collect();
        expected.push("<eve> the last".to_owned());
        assert_eq!(said(&workers[1], bob), expected, "{count}");
        assert!(!shown(&workers[1], bob).contains("skipped"), "{count}");
    }
}

#[test]
fn private_lines_cross_workers_once_and_are_kept_nowhere() {
    let bus = FakeBus::new();
    let (mut a, mut b) = (worker(&bus), worker(&bus));
    let (eve, bob) = (a.connect(), b.connect());
    say(&mut a, eve, "eve");
    say(&mut b, bob, "bob");
    a.hear_bus();
    say(&mut a, eve, "/msg BOB psst");
    let long = "ä".repeat(1000);
    say(&mut a, eve, &format!("/msg bob {long}"));
    b.hear_bus();
    a.hear_bus();
    say(&mut b, bob, "/reply yes?");
    a.hear_bus();
    let (to_bob, to_eve) = (shown(&b, bob), shown(&a, eve));
    assert!(to_bob.contains("*eve* psst\r\n") && to_eve.contains("-> bob: psst\r\n"));
    assert_eq!(to_bob.matches('ä').count(), 1000);
    assert!(to_eve.ends_with("*bob* yes?\r\n"), "{to_eve}");
    bus.lose();
    bus.restore();
    b.hear_bus();
    assert_eq!(shown(&b, bob).matches("psst").count(), 1);
    say(&mut b, bob, "/history");
    assert!(!shown(&b, bob).contains("> psst"));
    assert!(bus.messages("room.lobby").is_empty());
}

#[test]
fn a_bus_that_is_away_is_told_of_and_nothing_is_shown_twice_when_it_is_back() {
    let bus = FakeBus::new();
    let (mut a, mut b) = (worker(&bus), worker(&bus));
    let (eve, bob, tom) = (a.connect(), a.connect(), b.connect());
    for (peer, nick) in [(eve, "eve"), (bob, "bob")] {
        say(&mut a, peer, nick);
    }
    say(&mut b, tom, "tom");
    a.hear_bus();
    bus.lose();
    say(&mut a, bob, "first");
    a.hear_bus();
    assert!(!shown(&a, eve).contains("first"), "it may be back soon");
    a.advance(Duration::from_secs(3));
    say(&mut a, bob, "second");
    let text = shown(&a, eve);
    assert!(
        text.ends_with("-- link lost, local only\r\n<bob> first\r\n<bob> second\r\n"),
        "{text}"
    );
    bus.restore();
    a.hear_bus();
    b.hear_bus();
    say(&mut a, bob, "third");
    b.hear_bus();
    assert_eq!(
        said(&a, eve),
        ["<bob> first", "<bob> second", "<bob> third"]
    );
    assert_eq!(
        said(&b, tom),
        ["<bob> first", "<bob> second", "<bob> third"]
    );
    assert!(shown(&a, eve).contains("-- the link is back"));
    bus.lose();
    a.hear_bus();
    for n in 0..1001 {
        say(&mut a, bob, &format!("line {n}"));
    }
    assert_eq!(shown(&a, bob).matches("not sent").count(), 1);
}

#[test]
fn whoever_has_a_token_comes_back_and_whoever_lost_a_race_is_a_guest() {
    let bus = FakeBus::new();
    let (mut a, mut b) = (worker(&bus), worker(&bus));
    for is_lost in [true, false] {
        let bob = a.connect();
        say(&mut a, bob, "bob");
        say(&mut a, bob, "/token");
        let text = shown(&a, bob);
        let token = text.lines().find_map(|line| {
            line.strip_prefix("-- ")
                .filter(|it| it.starts_with("/resume"))
        });
        let token = token.expect("a token").to_owned();
        if is_lost {
            a.peer_vanishes(bob);
        }
        let thief = b.connect();
        say(&mut b, thief, "bob");
        assert!(shown(&b, thief).contains("bob is taken"));
        let back = b.connect();
        say(&mut b, back, &token);
        assert!(
            shown(&b, back).contains("you are bob;"),
            "{}",
            shown(&b, back)
        );
        a.hear_bus();
        if !is_lost {
            assert!(shown(&a, bob).contains("you came back in another session"));
        }
        say(&mut b, back, "/quit");
        b.peer_vanishes(thief);
        settle(std::slice::from_mut(&mut a));
        assert_eq!(bus.holder("nick.bob"), None);
    }
    let eve = a.connect();
    say(&mut a, eve, "eve");
    bus.steal("nick.eve", b"x\ty\teve\t\t0\t\t\t\t\t");
    a.hear_bus();
    let text = shown(&a, eve);
    assert!(
        text.contains("eve was taken by somebody else") && text.contains("you are guest"),
        "{text}"
    );
    let gone = a.connect();
    say(&mut a, gone, "gone");
    say(&mut a, gone, "/token");
    a.peer_vanishes(gone);
    assert!(bus.holder("nick.gone").is_some());
    a.advance(Duration::from_secs(601));
    assert_eq!(bus.holder("nick.gone"), None);
}

#[test]
fn who_comes_at_the_same_time_as_others_counts_himself() {
    let bus = FakeBus::new();
    let mut workers = [worker(&bus), worker(&bus)];
    let [carol, alice, eve] = ["carol", "alice", "eve"].map(|nick| {
        let peer = workers[1].connect();
        say(&mut workers[1], peer, nick);
        peer
    });
    let bob = workers[0].connect();
    say(&mut workers[0], bob, "bob");
    settle(&mut workers);
    say(&mut workers[1], carol, "/join den");
    settle(&mut workers);
    // Both ask before either has heard of the other; bob's worker is the first to say so.
    bus.lose();
    say(&mut workers[0], bob, "/join den");
    say(&mut workers[1], alice, "/join den");
    bus.restore();
    settle(&mut workers);
    let counts = |host: &FakeHost, peer| {
        let text = shown(host, peer);
        let lines = text.lines().filter(|line| line.contains("#den ("));
        lines.map(str::to_owned).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(
        counts(&workers[1], alice),
        "-- you are in #den (2 here); -- bob joined #den (3 here)"
    );
    assert_eq!(
        counts(&workers[1], carol),
        "-- you are in #den (1 here); -- bob joined #den (2 here); -- alice joined #den (3 here)"
    );
    assert_eq!(counts(&workers[1], eve), "");
    assert!(counts(&workers[0], bob).ends_with("alice joined #den (3 here)"));
}
