//! Plugins that keep failing, sources that make them, and workers at whose sockets nobody accepts: what
//! peers and neighbours see of it.
//!
//! When what is tried again is shown with a virtual clock elsewhere.

use nix::sys::signal::Signal;
use serde_json::Value;

use super::scene::{Peer, Scene, good_service};
use crate::support::daemon::{Daemon, wait_stopped};
use crate::support::fixtures::build_fixture;

/// A peer behind a proxy on this machine.
fn peer_from(daemon: &Daemon, source: &str) -> Peer {
    let mut peer = Peer::connect(daemon.address("bad", 0));
    peer.say(&format!("PROXY TCP4 {source} 203.0.113.1 40000 7\r\n"));
    peer
}

fn crash_from(daemon: &Daemon, source: &str) {
    let mut peer = peer_from(daemon, source);
    peer.say("!");
    peer.is_dropped();
}

fn crashes(daemon: &Daemon) -> usize {
    let out = daemon.operate(&["crashes", "--json"]);
    let list: Value = serde_json::from_slice(&out.stdout).expect("a list");
    list["crashes"].as_array().expect("crashes").len()
}

const BEHIND_PROXY: &str = "workers = 2\naccess.proxy_from = [\"127.0.0.1\"]\n";

#[test]
fn a_plugin_that_crashes_for_everybody_is_suspended_and_its_neighbour_notices_nothing() {
    let plugin = build_fixture("rude-segfault");
    let scene = Scene::start("failing", "", &plugin, BEHIND_PROXY);
    let daemon = &scene.daemon;
    for nth in 1..=3 {
        daemon.wait_for("somebody who serves", |status| {
            let workers = status["services"]["bad"]["workers"].as_array();
            workers.is_some_and(|all| all.iter().all(|one| one["state"] == "serving"))
        });
        crash_from(daemon, &format!("198.51.100.{nth}"));
        daemon.wait_for("its record", |_| crashes(daemon) == nth);
    }
    let status = daemon.wait_for("stand-ins", |status| {
        let workers = status["services"]["bad"]["workers"].as_array();
        let stands = |one: &Value| one["state"] == "serving" && one["stand_in"] == true;
        workers.is_some_and(|all| all.len() == 2 && all.iter().all(stands))
    });
    let bad = &status["services"]["bad"];
    assert_eq!(status["healthy"], false);
    assert_eq!(bad["state"], "serving");
    assert_eq!(bad["breaker"]["course"], "open");
    assert_eq!(bad["breaker"]["why"], "signal 11 (SIGSEGV) in feed");
    // Whoever comes now is answered, by nobody of the plugin.
    for nth in 100..120 {
        let mut peer = peer_from(daemon, &format!("198.51.100.{nth}"));
        peer.say("!");
        peer.is_dropped();
    }
    let status = daemon.wait_for("all to be refused", |status| {
        status["services"]["bad"]["totals"]["refused_failing"] == 20
    });
    assert_eq!(crashes(daemon), 3, "{status:#}");
    let page = String::from_utf8_lossy(&daemon.operate(&["status"]).stdout).into_owned();
    assert!(page.contains("suspended signal 11"), "{page}");
    assert!(page.contains("stands in for the plugin"), "{page}");
    let health = daemon.operate(&["health"]);
    let page = String::from_utf8_lossy(&health.stdout).into_owned();
    assert_eq!(health.status.code(), Some(7), "{page}");
    let why = "2 of 2 workers serve; the plugin is suspended: signal 11 (SIGSEGV) in feed";
    assert!(page.contains(why), "{page}");
    scene.finish(&["bad/", "bad: suspended"]);
}

#[test]
fn a_source_that_brings_workers_down_is_kept_out_and_everybody_else_is_served() {
    let plugin = build_fixture("rude-segfault");
    let scene = Scene::start("attacked", "", &plugin, BEHIND_PROXY);
    let daemon = &scene.daemon;
    for nth in 0..50 {
        crash_from(daemon, "198.51.100.66");
        daemon.wait_for("its record", |_| crashes(daemon) > 0);
        peer_from(daemon, &format!("198.51.100.{nth}")).echoes("served\n");
    }
    let status = daemon.status();
    let bad = &status["services"]["bad"];
    assert!(crashes(daemon) <= 2, "{status:#}");
    assert!(bad["breaker"].is_null(), "{status:#}");
    assert_eq!(bad["totals"]["refused_failing"], 0);
    scene.finish(&["bad/"]);
}

#[test]
fn whoever_comes_while_a_worker_is_stopped_is_served_by_its_sibling() {
    let service = good_service().replace("workers = 1", "workers = 2");
    let daemon = Daemon::start("lent", &service);
    for pid in daemon.worker_pids("good") {
        daemon.signal(pid, Signal::SIGSTOP);
        wait_stopped(pid);
        for _ in 0..40 {
            Peer::connect(daemon.address("good", 0)).echoes("served\n");
        }
        daemon.signal(pid, Signal::SIGCONT);
        // It serves what comes to it.
        for _ in 0..40 {
            Peer::connect(daemon.address("good", 0)).echoes("back\n");
        }
    }
    let status = daemon.status();
    assert_eq!(status["services"]["good"]["totals"]["accepted"], 160);
    daemon.finish(&[]);
}

#[test]
fn whoever_comes_while_a_callback_does_not_return_is_served_by_a_sibling() {
    let plugin = build_fixture("rude-loop");
    let lines = "workers = 2\n";
    let scene = Scene::start("hanging", "hang_timeout = \"4s\"\n", &plugin, lines);
    let mut stuck = scene.bad();
    stuck.say("!");
    let log = scene.daemon.wait_log("is lent to worker");
    assert!(log.contains("tcp://127.0.0.1"), "{log}");
    for _ in 0..40 {
        scene.bad().echoes("served\n");
    }
    stuck.is_dropped();
    scene.daemon.wait_for("its successor", |status| {
        let workers = status["services"]["bad"]["workers"].as_array();
        let serving = |one: &Value| one["state"] == "serving";
        workers.is_some_and(|all| {
            all.iter().all(serving) && all.iter().any(|one| one["restarts"] == 1)
        })
    });
    for _ in 0..40 {
        scene.bad().echoes("served again\n");
    }
    scene.finish(&["bad/"]);
}
