//! What plugins do while they serve: the connection or the worker ends, the service comes back, the
//! neighbour does not notice.

use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use super::scene::{Peer, Scene};
use crate::support::daemon::wait_stopped;
use crate::support::fixtures::build_fixture;

fn rude(crime: &str) -> PathBuf {
    build_fixture(&format!("rude-{crime}"))
}

/// Rows of the crime and how the log tells it.
#[test]
fn a_worker_that_its_plugin_ends_is_replaced_and_the_callback_blamed() {
    for (crime, told) in [
        ("segfault", "worker died: signal 11 (SIGSEGV) in feed"),
        ("abort", "worker died: signal 6 (SIGABRT) in feed"),
        ("exit", "worker died: exit code 0 in feed"),
        // A number without a name, which some wrappers of waitid take for an error.
        ("realtime", "worker died: signal 34 in feed"),
        ("loop", "worker died: in feed for 0 s without returning"),
    ] {
        let daemon = "hang_timeout = \"300ms\"\n";
        let mut scene = Scene::start(&format!("crimes-{crime}"), daemon, &rude(crime), "");
        let first = scene.bad_pid();
        let (mut culprit, mut bystander) = (scene.bad(), scene.bad());
        bystander.echoes("not yet\n");
        culprit.say("!");
        culprit.is_dropped();
        // Who shares the worker shares its end.
        bystander.is_dropped();
        let line = scene.daemon.wait_log("worker died");
        assert!(
            line.contains(told) && line.contains("bad/1"),
            "{crime}: {line}"
        );
        let status = scene.wait_restarted(1);
        let worker = &status["services"]["bad"]["workers"][0];
        let last = worker["last_death"].as_str().expect("a death");
        assert!(told.ends_with(last), "{crime}: {last}");
        assert_ne!(worker["pid"], first, "{crime}: the old process");
        assert_eq!(status["healthy"], true);
        scene.bad().echoes("again\n");
        scene.neighbour_is_unharmed();
        scene.finish(&[]);
    }
}

/// Rows of the crime and whether it counts as a fault of the plugin.
#[test]
fn a_connection_that_its_plugin_betrays_ends_and_the_worker_stays() {
    for (crime, faults) in [("overconsume", 1), ("panic", 1), ("fault", 1), ("fail", 0)] {
        let scene = Scene::start(&format!("crimes-{crime}"), "", &rude(crime), "");
        let pid = scene.bad_pid();
        let (mut culprit, mut bystander) = (scene.bad(), scene.bad());
        bystander.echoes("before\n");
        culprit.say("!");
        culprit.is_dropped();
        bystander.echoes("after\n");
        scene.bad().echoes("new\n");
        assert_eq!(scene.daemon.worker_pids("bad"), [pid], "{crime}");
        // Counters are published at the end of a turn, the connection ends in it.
        let status = scene.daemon.wait_for("the fault to be counted", |status| {
            status["services"]["bad"]["totals"]["plugin_faults"] == faults
        });
        assert_eq!(status["services"]["bad"]["workers"][0]["restarts"], 0);
        drop(bystander);
        scene.finish(&FAULT_TOLD);
    }
}

/// By the plugin's name and callback, and by the worker in general.
const FAULT_TOLD: [&str; 2] = ["fault of plugin", "the plugin broke a rule"];

#[test]
fn a_panic_ends_its_connection_and_nothing_else() {
    for (place, provoked) in [
        ("open", ""),
        ("feed", "x"),
        ("peer_finished", "x"),
        ("closed", "x"),
    ] {
        let settings = format!("[services.bad.settings]\nwhere = \"{place}\"\n");
        let plugin = Path::new("fixture-panics");
        let scene = Scene::start(&format!("crimes-panic-{place}"), "", plugin, &settings);
        let pid = scene.bad_pid();
        let mut culprit = scene.bad();
        culprit.say(provoked);
        culprit.finishes();
        culprit.ends();
        scene
            .daemon
            .wait_log(&format!("fault of plugin panics in {place}: "));
        scene.daemon.wait_for("the panic to be counted", |status| {
            status["services"]["bad"]["totals"]["plugin_faults"] == 1
        });
        assert_eq!(scene.daemon.worker_pids("bad"), [pid], "{place}");
        scene.finish(&FAULT_TOLD);
    }
}

#[test]
fn a_write_to_a_session_that_has_ended_is_answered_gone() {
    let scene = Scene::start("crimes-stale", "", &rude("stale"), "");
    let mut first = scene.bad();
    first.echoes("then\n");
    drop(first);
    scene
        .daemon
        .wait_for("the first connection to be closed", |status| {
            status["services"]["bad"]["connections"] == 0
        });
    let mut second = scene.bad();
    second.say("!");
    second.hears("gone\n");
    second.echoes("and on\n");
    drop(second);
    scene.finish(&[]);
}

/// A peer that never reads costs no more than the limit on output; one that reads gets all it wants.
#[test]
fn a_flood_of_output_is_held_at_the_limit() {
    let scene = Scene::start("crimes-flood", "", &rude("flood"), "");
    let (mut silent, mut greedy) = (scene.bad(), scene.bad());
    silent.say("!");
    greedy.say("!");
    let before = resident_kib(scene.bad_pid());
    greedy.takes(50 << 20);
    let after = resident_kib(scene.bad_pid());
    assert!(after < before + 8 * 1024, "{before} KiB became {after} KiB");
    scene.bad().echoes("meanwhile\n");
    assert_eq!(
        scene.daemon.status()["services"]["bad"]["workers"][0]["restarts"],
        0
    );
    drop((silent, greedy));
    scene.finish(&[]);
}

#[test]
fn connections_queued_at_a_killed_worker_are_served_by_its_successor() {
    let scene = Scene::start("crimes-queue", "", &crate::support::plugins::smallest(), "");
    let pid = scene.bad_pid();
    scene.daemon.signal(pid, Signal::SIGSTOP);
    wait_stopped(pid);
    let mut queued: Vec<Peer> = (0..100).map(|_| scene.bad()).collect();
    for (number, peer) in queued.iter_mut().enumerate() {
        peer.say(&format!("line {number}\n"));
    }
    scene.daemon.signal(pid, Signal::SIGKILL);
    for (number, peer) in queued.iter_mut().enumerate() {
        peer.hears(&format!("line {number}\n"));
    }
    let status = scene.wait_restarted(1);
    let bad = &status["services"]["bad"];
    assert_ne!(bad["workers"][0]["pid"], pid);
    assert_eq!(
        bad["totals"]["accepted"], 100,
        "the first accepted none of them"
    );
    drop(queued);
    scene.finish(&[]);
}

/// Each death waits longer than the one before, and each is counted.
#[test]
fn a_plugin_that_dies_again_and_again_is_restarted_again_and_again() {
    let scene = Scene::start("crimes-again", "", &rude("segfault"), "");
    let waits = ["at once", " ms", " ms", " ms"];
    for (times, wait) in (1..).zip(waits) {
        let mut culprit = scene.bad();
        culprit.say("!");
        culprit.is_dropped();
        let line = scene.daemon.wait_log("worker died");
        assert!(
            line.contains("the next one starts ") && line.ends_with(wait),
            "{times}: {line}"
        );
        // The queue stays while there is no worker.
        scene.bad().echoes("still here\n");
        scene.wait_restarted(times);
    }
    scene.finish(&[]);
}

/// What lies in memory now, from statm: pages of 4 KiB.
fn resident_kib(pid: u32) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).expect("alive");
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.expect("a number of pages") * 4
}
