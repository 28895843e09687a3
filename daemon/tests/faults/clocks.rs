//! A wall clock that is set: only what is meant by the wall clock follows it.
//!
//! The clock of the machine belongs to everybody on it, so it is the daemon's own view that jumps: a library
//! loaded before the C library answers for it. Invariant: the clock that only goes on stays as it is.

use std::fs;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::scarce::wait_asleep;
use super::scene::{Peer, good_service};
use crate::support::daemon::{Daemon, Directory, command};
use crate::support::fixtures::build_fixture;

const YEAR_S: i64 = 365 * 24 * 3_600;

fn bans(daemon: &Daemon) -> usize {
    let output = daemon.operate(&["bans", "--json"]);
    let list: Value = serde_json::from_slice(&output.stdout).expect("a list");
    list["bans"].as_array().expect("bans").len()
}

#[test]
fn a_wall_clock_that_jumps_ends_bans_and_touches_nobody_who_is_served() {
    let directory = Arc::new(Directory::new("faults-clocks"));
    let path = directory.path().join("clock");
    fs::write(&path, 0i64.to_ne_bytes()).expect("written");
    let clock = fs::OpenOptions::new().write(true).open(&path);
    let clock = clock.expect("it is there");
    let service = good_service().replace("workers = 1", "workers = 2\nlimits.idle = \"1h\"");
    let text = format!("[daemon]\nhang_timeout = \"1s\"\n{service}");
    let mut polyport = command(&directory, &text);
    polyport
        .env("LD_PRELOAD", build_fixture("clock"))
        .env("TEST_CLOCK", &path);
    let daemon = Daemon::spawned(polyport, directory);
    let mut peer = Peer::connect(daemon.address("good", 0));
    peer.echoes("before\n");
    for (nth, aside_s) in [10 * YEAR_S, -10 * YEAR_S, 0].into_iter().enumerate() {
        // Those who were replaced are gone.
        daemon.wait_for("two workers", |status| {
            let workers = status["services"]["good"]["workers"].as_array();
            workers.is_some_and(|all| all.len() == 2)
        });
        let pids = daemon.worker_pids("good");
        let banned = daemon.operate(&["ban", "192.0.2.9", "--for", "1h"]);
        assert!(banned.status.success(), "{banned:?}");
        clock
            .write_all_at(&aside_s.to_ne_bytes(), 0)
            .expect("written");
        let left = usize::from(nth == 1);
        assert_eq!(
            bans(&daemon),
            left,
            "an hour is over by a jump forward only"
        );
        peer.echoes("still here\n");
        Peer::connect(daemon.address("good", 0)).echoes("new\n");
        // It looks at its workers now and then, and no more often than before.
        wait_asleep(daemon.pid(), 5);
        assert_eq!(daemon.worker_pids("good"), pids, "{}", daemon.log());
        // A death is followed by a successor, and a change is made.
        daemon.signal(pids[1 - nth % 2], Signal::SIGKILL);
        daemon.wait_for("a successor", |status| {
            let workers = status["services"]["good"]["workers"].as_array();
            let is_new = |it: &Value| {
                it["pid"]
                    .as_u64()
                    .is_some_and(|it| !pids.contains(&(it as u32)))
            };
            workers.is_some_and(|all| {
                all.iter().any(is_new) && all.iter().all(|it| it["state"] == "serving")
            })
        });
        let reply = daemon.ask(r#"{"verb":"restart","service":"good"}"#);
        assert_eq!(reply["exit"], 0, "{reply:#}");
        // The one that was connected may have been at the worker that was killed, or drains.
        peer = Peer::connect(daemon.address("good", 0));
        peer.echoes("next\n");
    }
    drop(peer);
    daemon.finish(&["good/".to_owned()]);
}
