//! A hostile worker: its plugin writes to the channel what no worker says, or on the scoreboard what
//! cannot be. The supervisor kills it, starts another, and has suffered nothing.

use nix::sys::signal::Signal;

use super::scene::Scene;
use crate::support::fixtures::build_fixture;

/// Rows of what is sent and how the log tells it.
#[test]
fn a_worker_that_breaks_the_protocol_of_its_channel_is_killed_and_replaced() {
    for (abuse, told) in [
        ("garbage", "sent an unreadable message (expected value"),
        (
            "oversize",
            "sent an unreadable message (longer than 65536 bytes)",
        ),
        ("out_of_turn", "sent a second report (Resolved"),
        ("refusal", "sent a second report (Refused"),
        ("descriptors", "sent an unreadable message"),
        ("flood", "sent an unreadable message"),
        ("empty", "after it closed its channel"),
        ("closes", "after it closed its channel"),
    ] {
        let plugin = build_fixture(&format!("channel-{abuse}"));
        let scene = Scene::start(&format!("channel-{abuse}"), "", &plugin, "");
        let pid = scene.bad_pid();
        let mut peer = scene.bad();
        peer.say("!");
        let line = scene.daemon.wait_log(told);
        assert!(line.contains(&pid.to_string()), "{abuse}: {line}");
        assert!(!line.contains('\x1b'), "{abuse}: a terminal would obey it");
        peer.ends();
        let status = scene.wait_restarted(1);
        assert_ne!(
            status["services"]["bad"]["workers"][0]["pid"], pid,
            "{abuse}"
        );
        scene.bad().echoes("again\n");
        scene.finish(&["sent an unreadable message", "sent a second report"]);
    }
}

/// Numbers are shown as they stand there, and nothing else comes of them; a record of a crash that
/// never was is none of a plugin that could be blamed.
#[test]
fn what_a_worker_writes_all_over_its_scoreboard_harms_nobody() {
    for lie in ["fills", "draws"] {
        let plugin = build_fixture(&format!("channel-{lie}"));
        let scene = Scene::start(&format!("channel-{lie}"), "", &plugin, "");
        let mut peer = scene.bad();
        peer.echoes("!");
        for verb in [
            "status",
            "health",
            "metrics",
            "crashes",
            "connections",
            "config show",
        ] {
            let words: Vec<&str> = verb.split(' ').collect();
            let output = scene.daemon.operate(&words);
            assert!(!output.stdout.is_empty(), "{lie}: {verb}: {output:?}");
        }
        // If it is still there: it may have been found stuck for what it wrote.
        let bad = scene.daemon.status()["services"]["bad"].clone();
        let told = bad["totals"]["accepted"].as_u64();
        assert!(told > Some(1 << 32), "{lie}: {bad:#}");
        let worker = &bad["workers"][0];
        if worker["restarts"] == 0 {
            let pid = worker["pid"].as_u64().expect("a process") as u32;
            scene.daemon.signal(pid, Signal::SIGKILL);
        }
        peer.ends();
        scene.wait_restarted(1);
        scene.bad().echoes("again\n");
        let crashes = scene.daemon.operate(&["crashes", "show", "1"]);
        assert!(crashes.status.success(), "{lie}: {crashes:?}");
        scene.finish(&["bad"]);
    }
}
