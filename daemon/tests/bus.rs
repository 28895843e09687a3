//! The bus as peers of two workers see it: one line of messages for both, through the death of the hub
//! and of a worker, and again after a restart of the daemon.

mod support;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use nix::sys::signal::Signal;
use support::daemon::{Daemon, Directory, PATIENCE};
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
fn a_worker_that_alone_follows_a_room_goes_on_without_the_hub_and_nothing_of_it_is_lost() {
    let daemon = Daemon::start("bus-pen", CONFIG);
    let [mut a, mut b] = Peer::of_both(&daemon);
    a.say("last room 0");
    a.until("caught up");
    let publish = |peer: &mut Peer, nth: u32| {
        peer.say(&format!("publish room id{nth} m{nth}"));
        peer.until("published");
    };
    for nth in 1..=20 {
        publish(&mut a, nth);
    }
    // By now it has the pen: the hub cannot answer.
    let hub = hub_of(&daemon, 0);
    daemon.signal(hub, Signal::SIGSTOP);
    for nth in 21..=40 {
        publish(&mut a, nth);
    }
    daemon.signal(hub, Signal::SIGKILL);
    a.until("link false");
    a.until("link true");
    b.say("last room 100");
    b.until("caught up");
    let all: Vec<String> = (1..=40).map(|nth| format!("room {nth} m{nth}")).collect();
    assert_eq!(a.messages(), all);
    assert_eq!(b.messages(), all, "what the dead hub never heard");
    // A retry, in another worker, of what was never asked of a hub.
    publish(&mut b, 30);
    publish(&mut b, 41);
    a.until("room 41 m41");
    assert_eq!(a.messages(), b.messages());
    drop((a, b));
    daemon.finish(&["another one is started".to_owned()]);
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

#[test]
fn a_history_with_damage_ends_where_it_is_found_and_the_room_goes_on() {
    let mut daemon = Daemon::start("bus-damage", CONFIG);
    let mut peer = Peer::connect(&daemon);
    for nth in 0..3 {
        peer.say(&format!("publish room {nth} m{nth}"));
        peer.until("published");
    }
    daemon.signal(daemon.pid(), Signal::SIGTERM);
    assert_eq!(daemon.wait(), 0, "{}", daemon.log());
    let file = daemon.directory().join("state/bus/history.sqlite");
    let database = rusqlite::Connection::open(&file).expect("opened");
    let spoil = "UPDATE bodies SET packed = randomblob(30)";
    assert!(database.execute(spoil, []).is_ok_and(|rows| rows > 0));
    drop((peer, database));
    daemon = daemon.succeed(CONFIG);
    let [mut a, mut b] = Peer::of_both(&daemon);
    for peer in [&mut a, &mut b] {
        peer.say("last room 3");
        peer.until("caught up");
    }
    let complaint = daemon.wait_log("history is not kept any more");
    for part in [&*file.to_string_lossy(), "damaged", "move the file away"] {
        assert!(complaint.contains(part), "{complaint}");
    }
    a.say("publish room 9 live");
    a.until("published");
    b.until("room 4 live");
    drop((a, b));
    daemon.finish(&["history is not kept any more".to_owned()]);
}

/// The pid in `status`, which says so as well as the log.
fn hub_in_status(daemon: &Daemon) -> u64 {
    let status = daemon.wait_for("a hub", |status| status["hub"]["pid"].is_u64());
    status["hub"]["pid"].as_u64().expect("a number")
}

#[test]
fn a_hub_is_replaced_in_order_when_what_it_is_started_with_changes() {
    let daemon = Daemon::start("bus-renewed", CONFIG);
    let [mut a, mut b] = Peer::of_both(&daemon);
    for peer in [&mut a, &mut b] {
        peer.say("last room 0");
        peer.until("caught up");
    }
    let (mut hub, workers) = (hub_in_status(&daemon), daemon.worker_pids("meets"));
    for (round, keys) in ["bus.history = 7", "bus.keep = \"2h\""].iter().enumerate() {
        daemon.write_config(&format!("[daemon]\n{keys}\n{CONFIG}"));
        for nth in 0..20 {
            a.say(&format!("publish room a{round}.{nth} a{round}.{nth}"));
            b.say(&format!("publish room b{round}.{nth} b{round}.{nth}"));
        }
        let reloaded = daemon.operate(&["reload", "--wait"]);
        assert!(reloaded.status.success(), "{reloaded:?}");
        daemon.wait_for("the next hub", |status| {
            let pid = status["hub"]["pid"].as_u64();
            pid.is_some_and(|pid| pid != hub) && status["hub"]["workers"] == 2
        });
        hub = hub_in_status(&daemon);
        for peer in [&mut a, &mut b] {
            while peer.messages().len() < 40 * (round + 1) {
                peer.next();
            }
        }
        let again = daemon.operate(&["reload", "--wait"]);
        let said = String::from_utf8_lossy(&again.stdout).into_owned();
        assert!(said.contains("nothing has changed"), "{said}");
        assert_eq!(
            hub_in_status(&daemon),
            hub,
            "nothing was replaced for nothing"
        );
    }
    assert_eq!(a.messages(), b.messages(), "one order for all");
    assert_eq!(daemon.worker_pids("meets"), workers, "workers go on");
    let page = daemon.operate(&["status"]).stdout;
    let page = String::from_utf8_lossy(&page).into_owned();
    assert!(
        page.contains(&format!("hub  pid {hub}, serving for ")),
        "{page}"
    );
    drop((a, b));
    daemon.finish(&[]);
}

fn wait_file(path: &Path, text: &str) -> String {
    let until = Instant::now() + PATIENCE;
    loop {
        let found = fs::read_to_string(path).unwrap_or_default();
        if found.contains(text) {
            return found;
        }
        assert!(Instant::now() < until, "no {text:?} in {}", path.display());
        support::looking::again();
    }
}

/// As logrotate(8) does it: the file is moved away, then everybody is told.
#[test]
fn a_log_that_is_moved_away_is_begun_anew_by_supervisor_workers_and_hub() {
    let directory = Arc::new(Directory::new("bus-log"));
    let log = directory.path().join("log");
    let target = format!("[daemon]\nlog.target = \"file\"\nlog.file = {log:?}\n");
    let daemon = Daemon::start_in(directory.clone(), &(target + CONFIG));
    let [a, b] = Peer::of_both(&daemon);
    let level = daemon.operate(&["log-level", "debug"]);
    assert!(level.status.success(), "{level:?}");
    let moved = directory.path().join("log.1");
    fs::rename(&log, &moved).expect("moved");
    daemon.signal(daemon.pid(), Signal::SIGUSR1);
    wait_file(&log, "the log was reopened");
    let before = fs::read_to_string(&moved).expect("it is there");
    drop((a, b));
    wait_file(&log, "connection closed");
    let worker = daemon.worker_pids("meets")[0];
    daemon.signal(worker, Signal::SIGKILL);
    wait_file(&log, "a member leaves the bus");
    let after = fs::read_to_string(&moved).expect("it is there");
    assert_eq!(after, before, "nobody writes where it was");
    daemon.finish(&[]);
}
