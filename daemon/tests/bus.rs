//! The bus as peers of two workers see it: one line of messages for both, through the death of the hub
//! and of a worker, and again after a restart of the daemon.

mod support;

use nix::sys::signal::Signal;
use support::daemon::Daemon;
use support::meeting::{Peer, hub_of};

const CONFIG: &str = "[services.meets]
plugin = \"fixture-meets\"
listen = [\"tcp://127.0.0.1:0\"]
workers = 2
";

#[test]
fn both_workers_hear_the_same_once_though_the_hub_is_killed_under_traffic() {
    let daemon = Daemon::start("bus-killed", CONFIG);
    let [mut a, mut b] = Peer::of_both(&daemon);
    for peer in [&mut a, &mut b] {
        peer.say("last room 0");
        peer.until("caught up");
    }
    let mut expected = Vec::new();
    for round in 0..3 {
        for nth in 0..100 {
            a.say(&format!("publish room a{round}.{nth} a{round}.{nth}"));
            b.say(&format!("publish room b{round}.{nth} b{round}.{nth}"));
            if nth == 50 && round < 2 {
                daemon.signal(hub_of(&daemon, round), Signal::SIGKILL);
            }
        }
        for peer in [&mut a, &mut b] {
            let enough = |peer: &Peer| {
                let answers = peer.lines.iter().filter(|line| *line == "published");
                answers.count() == 100 * (round + 1) && peer.messages().len() == 200 * (round + 1)
            };
            while !enough(peer) {
                peer.next();
            }
        }
        expected.extend(
            (0..100).flat_map(|nth| [format!("a{round}.{nth}"), format!("b{round}.{nth}")]),
        );
    }
    assert_eq!(a.messages(), b.messages(), "one order for all");
    let mut texts: Vec<String> = a
        .messages()
        .iter()
        .map(|line| line.rsplit(' ').next().expect("a text").to_owned())
        .collect();
    for from in ["a", "b"] {
        let own: Vec<&String> = texts.iter().filter(|text| text.starts_with(from)).collect();
        let sent: Vec<&String> = expected.iter().filter(|it| it.starts_with(from)).collect();
        assert_eq!(own, sent, "what one has said stays in its order");
    }
    texts.sort();
    expected.sort();
    assert_eq!(texts, expected, "each once");
    drop((a, b));
    let killed = "another one is started".to_owned();
    daemon.finish(&[killed]);
}

#[test]
fn a_lease_has_one_holder_and_is_free_when_its_worker_dies() {
    let daemon = Daemon::start("bus-leases", CONFIG);
    let [mut a, mut b] = Peer::of_both(&daemon);
    a.say("claim nick.bob a s1");
    a.until("won nick.bob a");
    b.say("watch nick.");
    b.until("held nick.bob a");
    b.say("claim nick.bob b s2");
    b.until("denied nick.bob a");
    // A hub that knows of nothing asks before it gives.
    daemon.signal(hub_of(&daemon, 0), Signal::SIGKILL);
    b.until("link false");
    b.say("claim nick.bob b s3");
    b.until("denied nick.bob a");
    let pids = daemon.worker_pids("meets");
    let nth: usize = a
        .worker
        .trim_start_matches("worker ")
        .parse()
        .expect("a number");
    daemon.signal(pids[nth], Signal::SIGKILL);
    b.until("free nick.bob");
    b.say("claim nick.bob b s4");
    b.until("won nick.bob b");
    assert!(!a.lines.iter().any(|line| line.starts_with("lost")));
    drop((a, b));
    daemon.finish(&["another one is started".to_owned(), "worker".to_owned()]);
}

#[test]
fn history_outlives_the_daemon() {
    let mut daemon = Daemon::start("bus-history", CONFIG);
    let mut peer = Peer::connect(&daemon);
    for nth in 0..3 {
        peer.say(&format!("publish room {nth} m{nth}"));
        peer.until("published");
    }
    daemon.restart(CONFIG);
    let mut peer = Peer::connect(&daemon);
    peer.say("history room 2");
    peer.until("caught up");
    assert_eq!(peer.messages(), ["room 2 m1", "room 3 m2"]);
    peer.say("publish room 2 again");
    peer.until("published");
    peer.say("history room 9");
    peer.until("caught up");
    assert_eq!(
        peer.messages().last(),
        Some(&"room 3 m2"),
        "a retry is known after a restart"
    );
    drop(peer);
    daemon.finish(&[]);
}
