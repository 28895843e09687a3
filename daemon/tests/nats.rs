//! The bus over a real NATS server: several daemons, one line of messages and one holder of each key,
//! through the death of the server, of a hub and of a node, and a cable that is pulled.

mod nats_server;
mod support;

use std::path::Path;

use nats_server::{Cable, Server, config};
use nix::sys::signal::Signal;
use support::daemon::Daemon;
use support::directory::Directory;
use support::meeting::{Peer, hub_of};
use support::program::program;

fn start(name: &str, url: &str) -> Daemon {
    Daemon::start(name, &config(url, ""))
}

/// One whose bus is there.
fn linked(daemon: &Daemon) -> Peer {
    daemon.wait_log("NATS is there");
    let mut peer = Peer::connect(daemon);
    peer.say("last room 0");
    peer.until("caught up");
    peer
}

fn answers(peer: &Peer) -> usize {
    peer.lines
        .iter()
        .filter(|line| *line == "published")
        .count()
}

/// What both have heard: every message of both once, in the order in which it was said.
fn each_once_in_one_order(peers: &[Peer; 2], rounds: usize, size: usize) -> Vec<String> {
    assert_eq!(
        peers[0].messages(),
        peers[1].messages(),
        "one order for all"
    );
    let heard = texts(&peers[0]);
    for from in ["a", "b"] {
        let own: Vec<&String> = heard.iter().filter(|text| text.starts_with(from)).collect();
        let sent = (0..rounds).flat_map(|round| (0..size).map(move |nth| (round, nth)));
        let sent: Vec<String> = sent
            .map(|(round, nth)| format!("{from}{round}.{nth}"))
            .collect();
        assert_eq!(
            own,
            sent.iter().collect::<Vec<_>>(),
            "each once, in its order"
        );
    }
    heard
}

fn texts(peer: &Peer) -> Vec<String> {
    let last = |line: &&str| line.rsplit(' ').next().expect("a text").to_owned();
    peer.messages().iter().map(last).collect()
}

const KILLED: &str = "another one is started";

#[test]
fn all_nodes_hear_the_same_once_though_the_server_and_hubs_are_killed_under_traffic() {
    let mut server = Server::start("nats-killed");
    let daemons = ["nats-one", "nats-two"].map(|name| start(name, &server.url()));
    let mut peers = [linked(&daemons[0]), linked(&daemons[1])];
    let (rounds, size) = (3, 100);
    for round in 0..rounds {
        for nth in 0..size {
            for (peer, from) in peers.iter_mut().zip(["a", "b"]) {
                peer.say(&format!(
                    "publish room {from}{round}.{nth} {from}{round}.{nth}"
                ));
            }
            match (round, nth) {
                (0, 50) => {
                    server.kill();
                    server.again();
                }
                (1, 50) => daemons[0].signal(hub_of(&daemons[0], 0), Signal::SIGKILL),
                _ => {}
            }
        }
        for peer in &mut peers {
            let all = size * (round + 1);
            while answers(peer) < all || peer.messages().len() < 2 * all {
                peer.next();
            }
        }
    }
    each_once_in_one_order(&peers, rounds, size);
    // A retry that comes late is known, whoever makes it.
    peers[1].say("publish room a0.7 again");
    peers[1].say("publish room end end");
    for peer in &mut peers {
        while texts(peer).last().is_none_or(|text| text != "end") {
            peer.next();
        }
    }
    let heard: Vec<String> = texts(&peers[1]);
    assert_eq!(heard.len(), 2 * rounds * size + 1, "{heard:?}");
    // Who joins later reads the same, and so does somebody who knows nothing of the daemon.
    let mut late = Peer::connect(&daemons[0]);
    late.say("history room 10000");
    late.until("caught up");
    assert_eq!(late.messages(), peers[1].messages());
    let outside = server.messages("meets");
    let outside: Vec<&String> = outside.iter().map(|(_, text)| text).collect();
    assert_eq!(outside, heard.iter().collect::<Vec<_>>());
    drop((peers, late));
    for daemon in daemons {
        daemon.finish(&[KILLED.to_owned()]);
    }
}

#[test]
fn of_64_claims_on_4_nodes_one_wins() {
    let server = Server::start("nats-claims");
    let names = ["nats-a", "nats-b", "nats-c", "nats-d"];
    let daemons = names.map(|name| start(name, &server.url()));
    let mut peers: Vec<Peer> = daemons.iter().map(linked).collect();
    for round in 0..4 {
        let key = format!("nick.{round}");
        for nth in 0..16 {
            for (node, peer) in peers.iter_mut().enumerate() {
                peer.say(&format!("claim {key} v{node}.{nth} s{round}.{node}.{nth}"));
            }
        }
        let mut winners = Vec::new();
        for peer in &mut peers {
            let of_key = |line: &&String| line.split(' ').nth(1) == Some(&key);
            while peer.lines.iter().filter(of_key).count() < 16 {
                peer.next();
            }
            let won = peer
                .lines
                .iter()
                .filter(|line| line.starts_with(&format!("won {key} ")));
            winners.extend(won.cloned());
            assert!(!peer.lines.iter().any(|line| line.starts_with("lost")));
        }
        assert_eq!(winners.len(), 1, "{winners:?}");
    }
    // Who releases lets the others win again, and a daemon that stops lets go of all.
    peers[1].say("watch nick.");
    peers[0].say("claim nick.x a sx");
    peers[0].until("won nick.x a");
    peers[1].until("held nick.x a");
    peers[0].say("release nick.x sx");
    peers[1].until("free nick.x");
    peers[1].say("claim nick.x b sy");
    peers[1].until("won nick.x b");
    peers.truncate(2);
    let mut held = server.held("meets");
    held.sort();
    assert_eq!(
        held,
        ["nick=2E0", "nick=2E1", "nick=2E2", "nick=2E3", "nick=2Ex"]
    );
    drop(peers);
    for daemon in daemons {
        daemon.finish(&[]);
    }
    assert!(
        server.held("meets").is_empty(),
        "those who stopped hold nothing"
    );
}

#[test]
fn a_node_that_is_cut_off_loses_what_it_holds_and_misses_nothing() {
    let server = Server::start("nats-cut");
    let cable = Cable::to(&server);
    let daemons = [
        start("nats-far", &cable.url()),
        start("nats-near", &server.url()),
    ];
    let mut far = linked(&daemons[0]);
    let mut near = linked(&daemons[1]);
    far.say("claim nick.bob far s1");
    far.until("won nick.bob far");
    far.say("claim nick.eve far s2");
    far.until("won nick.eve far");
    near.say("watch nick.");
    near.until("held nick.bob far");
    near.say("claim nick.bob near s3");
    near.until("denied nick.bob far");
    cable.cut();
    near.until("free nick.bob");
    near.say("claim nick.bob near s4");
    near.until("won nick.bob near");
    far.until("link false");
    for nth in 0..10 {
        far.say(&format!("publish room f{nth} f{nth}"));
        near.say(&format!("publish room n{nth} n{nth}"));
    }
    while answers(&near) < 10 {
        near.next();
    }
    cable.mend();
    far.until("lost nick.bob near");
    for peer in [&mut far, &mut near] {
        while peer.messages().len() < 20 {
            peer.next();
        }
    }
    assert_eq!(far.messages(), near.messages());
    let of_far = |text: &&String| text.starts_with('f');
    let sent: Vec<String> = (0..10).map(|nth| format!("f{nth}")).collect();
    let heard = texts(&near);
    assert_eq!(
        heard.iter().filter(of_far).collect::<Vec<_>>(),
        sent.iter().collect::<Vec<_>>()
    );
    // What nobody took meanwhile is its own again.
    near.say("claim nick.eve near s5");
    near.until("denied nick.eve far");
    drop((far, near));
    for daemon in daemons {
        daemon.finish(&[]);
    }
}

#[test]
fn a_bus_whose_server_is_not_there_yet_is_a_pause() {
    let mut server = Server::start("nats-late");
    server.kill();
    let daemon = start("nats-early", &server.url());
    daemon.wait_log("NATS is away");
    let mut peer = Peer::connect(&daemon);
    peer.say("last room 0");
    peer.say("publish room m1 hello");
    peer.say("claim nick.bob a s1");
    server.again();
    let wanted = ["published", "caught up", "won nick.bob a"];
    while !wanted
        .iter()
        .all(|it| peer.lines.iter().any(|line| line == it))
    {
        peer.next();
    }
    drop(peer);
    daemon.finish(&[]);
}

#[test]
fn two_who_say_the_same_at_once_are_heard_once() {
    let server = Server::start("nats-same");
    let daemons = ["nats-left", "nats-right"].map(|name| start(name, &server.url()));
    let mut peers = [linked(&daemons[0]), linked(&daemons[1])];
    for nth in 0..50 {
        for peer in &mut peers {
            peer.say(&format!("publish room id{nth} m{nth}"));
        }
    }
    for peer in &mut peers {
        while answers(peer) < 50 || peer.messages().len() < 50 {
            peer.next();
        }
        // Another topic has ids of its own.
        peer.say("last other 0");
        peer.until("caught up");
    }
    peers[0].say("publish other id0 first");
    let first = |line: &String| line.starts_with("other ") && line.ends_with(" first");
    for peer in &mut peers {
        while !peer.lines.iter().any(first) {
            peer.next();
        }
        let mut heard = texts(peer);
        heard.sort_by_key(|text| text[1..].parse::<usize>().expect("a number"));
        let wanted: Vec<String> = (0..50).map(|nth| format!("m{nth}")).collect();
        assert_eq!(heard, wanted);
    }
    assert_eq!(server.messages("meets").len(), 51);
    drop(peers);
    for daemon in daemons {
        daemon.finish(&[]);
    }
}

#[test]
fn what_a_dead_node_or_a_dead_worker_held_is_free() {
    let server = Server::start("nats-dead");
    let daemons = ["nats-dies", "nats-lives"].map(|name| start(name, &server.url()));
    let mut first = linked(&daemons[0]);
    let mut second = linked(&daemons[1]);
    second.say("watch nick.");
    for (key, session) in [("nick.a", "s1"), ("nick.b", "s2")] {
        first.say(&format!("claim {key} a {session}"));
        first.until(&format!("won {key} a"));
        second.until(&format!("held {key} a"));
    }
    // A hub that is killed comes back and has what its workers hold; nobody hears of it.
    daemons[0].signal(hub_of(&daemons[0], 0), Signal::SIGKILL);
    first.until("link false");
    first.until("link true");
    second.say("claim nick.a b s3");
    second.until("denied nick.a a");
    // Nor when it is replaced because its settings change.
    let changed = config(&server.url(), "").replace("[daemon.bus]", "[daemon.bus]\nkeep = \"2h\"");
    daemons[0].write_config(&changed);
    let reloaded = daemons[0].operate(&["reload", "--wait"]);
    assert!(reloaded.status.success(), "{reloaded:?}");
    first.until("link false");
    first.until("link true");
    second.say("claim nick.a b s6");
    second.until("denied nick.a a");
    assert!(!second.lines.iter().any(|line| line.starts_with("free")));
    // A worker that is killed lets go of all.
    daemons[0].signal(daemons[0].worker_pids("meets")[0], Signal::SIGKILL);
    second.until("free nick.a");
    let mut first = linked(&daemons[0]);
    first.say("claim nick.a c s4");
    first.until("won nick.a c");
    second.until("held nick.a c");
    // A hub that stands still says nothing, and is given up; when it goes on, it hears of that.
    let hub = hub_of(&daemons[0], 2);
    daemons[0].signal(hub, Signal::SIGSTOP);
    second.until("free nick.a");
    second.say("claim nick.a b s5");
    second.until("won nick.a b");
    daemons[0].signal(hub, Signal::SIGCONT);
    first.until("lost nick.a b");
    assert!(!second.lines.iter().any(|line| line.starts_with("lost")));
    drop((first, second));
    for daemon in daemons {
        daemon.finish(&[KILLED.to_owned(), "worker".to_owned(), "meets".to_owned()]);
    }
}

#[test]
fn tls_is_spoken_to_servers_that_ask_for_it_and_to_none_that_nobody_vouches_for() {
    let place = Directory::new("nats-papers");
    let file = |name: &str| place.path().join(name);
    let (certificate, key) = (file("own.pem"), file("own.key"));
    let made = program("openssl", "openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ])
        .args(["-nodes", "-days", "2", "-subj", "/CN=polyport test"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "extendedKeyUsage=serverAuth,clientAuth"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .expect("openssl");
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let (own, its_key) = (text(&certificate), text(&key));
    let wants = [
        "--tls",
        "--tlscert",
        &own,
        "--tlskey",
        &its_key,
        "--tlscacert",
        &own,
        "--tlsverify",
    ];
    let server = Server::start_with("nats-tls", &wants);
    let papers = format!("certificate = {own:?}\nkey = {its_key:?}\n");
    let trusting = format!("{papers}ca = {own:?}");
    let daemon = Daemon::start("nats-trusts", &config(&server.url(), &trusting));
    let mut peer = linked(&daemon);
    peer.say("publish room m1 hello");
    peer.until("published");
    drop(peer);
    daemon.finish(&[]);
    let daemon = Daemon::start("nats-doubts", &config(&server.url(), &papers));
    daemon.wait_log("NATS is away");
    let log = daemon.log();
    assert!(log.contains("certificate"), "{log}");
    daemon.finish(&[]);
}
