//! Totals, as `status` tells them: they count what was, so the death of a worker takes nothing away.
//!
//! What each of them counts is shown elsewhere. Invariant: no look finds less than the one before.

use nix::sys::signal::Signal;
use serde_json::Value;

use super::scene::{Peer, good_service};
use crate::support::daemon::Daemon;

const DEATHS: u64 = 6;

#[test]
fn totals_never_go_back_however_workers_end() {
    let service = good_service().replace("workers = 1", "workers = 2");
    let daemon = Daemon::start("totals", &service);
    let mut last = daemon.status();
    let mut look = |status: Value| {
        let totals = |status: &Value| {
            let totals = status["services"]["good"]["totals"].as_object();
            totals.expect("a service has totals").clone()
        };
        let before = totals(&last);
        for (name, now) in totals(&status) {
            let then = before.get(&name).and_then(Value::as_u64).unwrap_or(0);
            assert!(now.as_u64() >= Some(then), "{name}: {now} after {then}");
        }
        assert!(before.keys().all(|name| totals(&status).contains_key(name)));
        last = status;
    };
    for death in 1..=DEATHS {
        let mut peer = Peer::connect(daemon.address("good", 0));
        peer.echoes("0123456789");
        daemon.wait_for("the bytes to be counted", |status| {
            look(status.clone());
            status["services"]["good"]["totals"]["bytes_out"] == 10 * death
        });
        // One of the two has the connection; in the end, each has died with some.
        for pid in daemon.worker_pids("good") {
            daemon.signal(pid, Signal::SIGKILL);
        }
        peer.is_dropped();
        daemon.wait_for("the successors", |status| {
            look(status.clone());
            let workers = status["services"]["good"]["workers"].as_array();
            let is_new =
                |worker: &Value| worker["restarts"] == death && worker["state"] == "serving";
            workers.is_some_and(|workers| workers.iter().all(is_new))
        });
    }
    let status = daemon.status();
    let totals = &status["services"]["good"]["totals"];
    assert_eq!(totals["accepted"], DEATHS, "{totals}");
    assert_eq!(totals["bytes_in"], 10 * DEATHS, "{totals}");
    daemon.finish(&["good/1".to_owned(), "good/2".to_owned()]);
}
