//! Who is blamed for a crash: each way to crash in each callback, and what `crashes` says of it.
//!
//! One daemon a callback, with a service for each way, so that no death waits for the one before. With
//! POLYPORT_ROUNDS in the environment, as often as that says, divided by ten thousand.

use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::scene::{Peer, good_service, service_table};
use crate::support::daemon::Daemon;
use crate::support::fixtures::build_fixture;

struct Way {
    /// What the plugin is told.
    word: &'static str,
    /// What the process ends by.
    ended: &'static str,
    /// How sure one can be.
    confidence: &'static str,
    /// Whether the worker writes it down.
    recorded: bool,
}

const fn way(word: &'static str, ended: &'static str, confidence: &'static str) -> Way {
    Way {
        word,
        ended,
        confidence,
        recorded: true,
    }
}

const HUNG: [Way; 3] = [
    way("l", "signal 6 (SIGABRT)", "certain"),
    way("z", "signal 6 (SIGABRT)", "certain"),
    way("w", "signal 6 (SIGABRT)", "certain"),
];

const WAYS: [Way; 10] = [
    way("n", "signal 11 (SIGSEGV)", "certain"),
    way("j", "signal 11 (SIGSEGV)", "certain"),
    way("o", "signal 11 (SIGSEGV)", "certain"),
    way("a", "signal 6 (SIGABRT)", "certain"),
    way("k", "signal 6 (SIGABRT)", "certain"),
    way("d", "signal 6 (SIGABRT)", "certain"),
    way("b", "signal 7 (SIGBUS)", "certain"),
    way("f", "signal 8 (SIGFPE)", "certain"),
    way("i", "signal 4 (SIGILL)", "certain"),
    Way {
        recorded: false,
        ..way("s", "signal 31 (SIGSYS)", "likely")
    },
];

fn rounds() -> u64 {
    let asked = std::env::var("POLYPORT_ROUNDS").ok();
    let asked = asked.and_then(|rounds| rounds.parse::<u64>().ok());
    asked.map_or(1, |rounds| (rounds / 10_000).max(1))
}

#[test]
fn each_way_to_crash_is_blamed_on_its_plugin_and_callback() {
    let mut crashes = 0;
    for _ in 0..rounds() {
        for place in ["open", "feed", "closed", "timer", "serve"] {
            crashes += crash_in(place);
        }
        println!("{crashes} crashes, each blamed on its plugin and callback");
    }
}

/// How many it were.
fn crash_in(place: &str) -> usize {
    // What hangs on a thread is not watched.
    let hung = if place == "serve" {
        &HUNG[..0]
    } else {
        &HUNG[..]
    };
    let ways: Vec<&Way> = WAYS.iter().chain(hung).collect();
    let plugin = build_fixture(&format!("crashes-{place}"));
    let tables = ways
        .iter()
        .map(|way| service_table(&format!("way-{}", way.word), &plugin, ""));
    let text = format!(
        "[daemon]\nhang_timeout = \"1s\"\n{}{}",
        good_service(),
        tables.collect::<String>()
    );
    let daemon = Daemon::start(&format!("blame-{place}"), &text);
    let mut peers = Vec::new();
    for way in &ways {
        let address = daemon.address(&format!("way-{}", way.word), 0);
        let mut peer = Peer::connect(address);
        peer.say(way.word);
        if place == "open" {
            // The one that is open has told the way; the next one goes it.
            peer.hears(way.word);
            peers.push(Peer::connect(address));
        }
        if place == "closed" {
            peer.hears(way.word);
            peer.finishes();
        }
        peers.push(peer);
    }
    for way in &ways {
        let service = format!("way-{}", way.word);
        daemon.wait_for(&format!("the death of {service} in {place}"), |status| {
            !status["services"][&service]["workers"][0]["last_death"].is_null()
        });
        let (summary, report) = crash_of(&daemon, &service);
        let blame = &summary["blame"];
        let told = format!("{place} {}: {report:#}", way.word);
        assert_eq!(summary["plugin"], "crashes 1.2.3", "{told}");
        assert_eq!(summary["ended"], way.ended, "{told}");
        assert_eq!(blame["callback"], place, "{told}");
        assert_eq!(blame["confidence"], way.confidence, "{told}");
        let thread = if place == "serve" { 1 } else { 0 };
        assert_eq!(blame["thread"], thread, "{told}");
        if place == "timer" {
            assert!(
                blame["source"].is_null() && blame["connection"].is_null(),
                "{told}"
            );
        } else {
            assert_eq!(blame["source"], "127.0.0.1/32", "{told}");
            assert!(blame["connection"].is_u64(), "{told}");
        }
        assert_eq!(report["record"].is_null(), !way.recorded, "{told}");
        if way.recorded {
            assert_eq!(
                report["record"]["stack_overflow"],
                way.word == "o",
                "{told}"
            );
            is_found_in(&plugin, &report, &told);
        }
    }
    drop(peers);
    daemon.finish(&[]);
    ways.len()
}

/// One of the frames lies in the plugin's code, where the debugger finds the function.
fn is_found_in(plugin: &std::path::Path, report: &Value, told: &str) {
    let frames = report["record"]["frames"].as_array().expect("frames");
    let offsets: Vec<&str> = frames
        .iter()
        .filter(|frame| frame["file"] == report["code"])
        .filter_map(|frame| frame["offset"].as_str())
        .collect();
    assert!(!offsets.is_empty(), "{told}");
    let found = Command::new("addr2line")
        .args(["-f", "-e"])
        .arg(plugin)
        .args(&offsets)
        .output();
    // Part of the compiler's tools, which build the fixture.
    let found = found.expect("addr2line runs").stdout;
    let found = String::from_utf8_lossy(&found);
    assert!(
        ["crash", "deeper", "smash"]
            .iter()
            .any(|name| found.contains(name)),
        "{found}{told}"
    );
}

pub(super) fn crash_of(daemon: &Daemon, service: &str) -> (Value, Value) {
    let list = document(daemon, &["crashes", "--json"]);
    let crashes = list["crashes"].as_array().expect("a list").clone();
    let mut of_service = crashes
        .into_iter()
        .filter(|crash| crash["service"] == *service);
    let summary = of_service.next().expect("it is on record");
    assert_eq!(of_service.next(), None, "{service} crashed once");
    let id = summary["id"].to_string();
    let report = document(daemon, &["crashes", "show", &id, "--json"]);
    (summary, report)
}

fn document(daemon: &Daemon, words: &[&str]) -> Value {
    let output = daemon.operate(words);
    assert!(output.status.success(), "{words:?}: {output:?}");
    serde_json::from_slice(&output.stdout).expect("a document")
}

/// Nobody is blamed for what memory may have been the reason of without the kernel's word.
#[test]
fn nobody_is_blamed_for_a_signal_from_outside() {
    let plugin = build_fixture("crashes-feed");
    for (signal, recorded) in [
        (Signal::SIGKILL, false),
        (Signal::SIGTERM, false),
        (Signal::SIGSEGV, true),
    ] {
        let text = format!("[daemon]\n{}", service_table("bad", &plugin, ""));
        let daemon = Daemon::start(&format!("blame-outside-{signal}"), &text);
        let pid = daemon.worker_pids("bad")[0];
        let mut peer = Peer::connect(daemon.address("bad", 0));
        peer.say("l");
        // Before that it may still be the queue's, and then its successor gets it.
        daemon.wait_log("its plugin has been in feed");
        daemon.signal(pid, signal);
        daemon.wait_for("its death", |status| {
            !status["services"]["bad"]["workers"][0]["last_death"].is_null()
        });
        let (summary, report) = crash_of(&daemon, "bad");
        assert_eq!(summary["blame"], json!(null), "{signal}");
        assert_eq!(!report["record"].is_null(), recorded, "{signal}");
        let shown = daemon.operate(&["crashes", "show", "1"]);
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(shown.contains("blamed      nobody\n"), "{shown}");
        drop(peer);
        daemon.finish(&[]);
    }
}

#[test]
fn crashes_outlive_the_daemon_and_an_unknown_one_is_said_to_be() {
    let plugin = build_fixture("crashes-feed");
    let text = format!("[daemon]\n{}", service_table("bad", &plugin, ""));
    let mut daemon = Daemon::start("blame-kept", &text);
    assert_eq!(
        document(&daemon, &["crashes", "--json"]),
        json!({ "crashes": [] })
    );
    let output = daemon.operate(&["crashes", "show", "1"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("polyport crashes"), "{said}");
    Peer::connect(daemon.address("bad", 0)).say("n");
    daemon.wait_for("its death", |status| {
        status["services"]["bad"]["workers"][0]["restarts"] == 1
    });
    let before = crash_of(&daemon, "bad");
    daemon.restart(&text);
    assert_eq!(crash_of(&daemon, "bad"), before);
    daemon.finish(&[]);
}

/// A source that brings a worker down is kept out, and nobody else is.
#[test]
fn a_source_that_crashes_a_worker_gets_a_penalty() {
    let plugin = build_fixture("crashes-feed");
    let access = "[services.bad.access]\nproxy_from = [\"127.0.0.1\"]\n";
    let text = format!("[daemon]\n{}", service_table("bad", &plugin, access));
    let daemon = Daemon::start("blame-penalty", &text);
    let from = |source: &str, word: &str| {
        let mut peer = Peer::connect(daemon.address("bad", 0));
        peer.say(&format!(
            "PROXY TCP4 {source} 192.0.2.1 5000 5001\r\n{word}"
        ));
        peer
    };
    from("192.0.2.7", "n").is_dropped();
    daemon.wait_for("its death", |status| {
        status["services"]["bad"]["workers"][0]["restarts"] == 1
    });
    let (summary, report) = crash_of(&daemon, "bad");
    assert_eq!(summary["blame"]["source"], "192.0.2.7/32");
    assert_eq!(
        report["decided"],
        json!(["192.0.2.7/32 is kept out for 90 s"])
    );
    let bans = document(&daemon, &["bans", "--json"]);
    let ban = &bans["bans"][0];
    assert_eq!(ban["network"], "192.0.2.7/32");
    assert_eq!(ban["why"], "penalty: brought down a worker of bad");
    from("192.0.2.7", "n").is_dropped();
    from("192.0.2.8", "x").hears("x");
    let status = daemon.status();
    assert_eq!(status["services"]["bad"]["totals"]["refused_banned"], 1);
    assert_eq!(status["services"]["bad"]["workers"][0]["restarts"], 1);
    daemon.finish(&[]);
}
