//! A hostile worker: its plugin writes to the channel what no worker says. The supervisor kills it,
//! starts another, and has suffered nothing.

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
