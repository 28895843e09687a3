//! Many workers that are wanted at once, and do not get on: so many start as may, the others wait
//! without a process, and whoever asks is answered. When they are not wanted any more none of those
//! that wait is ever born.

use nix::sys::signal::Signal;
use serde_json::Value;

use super::scene::{Scene, config};
use crate::support::daemon::{family_of, wait_gone};
use crate::support::fixtures::build_fixture;
use crate::support::plugins::smallest;

const WANTED: usize = 64;
const AT_ONCE: usize = 32;

#[test]
fn who_waits_to_be_started_is_never_born_once_a_change_is_given_up_or_the_daemon_stops() {
    let debug = "log.level = \"debug\"\n";
    let mut scene = Scene::start("many", debug, &smallest(), "");
    let slow = build_fixture("starts-create_sleeps");
    let many = config(debug, &slow, &format!("workers = {WANTED}\n"));
    scene.daemon.write_config(&many);
    let starting = begin(&scene, 2);
    // Three deaths before anybody was ready are too many.
    for pid in starting.into_iter().take(3) {
        scene.daemon.signal(pid, Signal::SIGSEGV);
    }
    let status = scene.daemon.wait_for("the change is given up", |status| {
        workers(status, 2).is_empty()
    });
    assert_eq!(workers(&status, 1).len(), 1, "{status:#}");
    scene.bad().echoes("as before\n");
    scene.neighbour_is_unharmed();

    begin(&scene, 3);
    let family = family_of(scene.daemon.pid());
    scene.daemon.signal(scene.daemon.pid(), Signal::SIGINT);
    assert_eq!(scene.daemon.wait(), 0);
    let log = scene.daemon.log();
    for pid in family {
        wait_gone(pid);
    }
    let last = format!("bad/{WANTED}: starting");
    assert!(log.contains(&format!("bad/{AT_ONCE}: starting")), "{log}");
    assert!(!log.contains(&last), "{log}");
}

/// Has the change made, up to where it does not get on; returns who starts.
fn begin(scene: &Scene, generation: u64) -> Vec<u32> {
    scene
        .daemon
        .ask(r#"{"verb":"reload","wait":false,"dry_run":false}"#);
    let status = scene
        .daemon
        .wait_for("as many as may start at once", |status| {
            let pids = pids(&workers(status, generation));
            pids.len() == AT_ONCE
        });
    let workers = workers(&status, generation);
    assert_eq!(workers.len(), WANTED, "{status:#}");
    assert!(workers.iter().all(|worker| worker["state"] == "starting"));
    pids(&workers)
}

fn workers(status: &Value, generation: u64) -> Vec<Value> {
    let all = status["services"]["bad"]["workers"].as_array();
    let all = all.expect("the service has workers").iter();
    let of_it = all.filter(|worker| worker["generation"] == generation);
    of_it.cloned().collect()
}

fn pids(workers: &[Value]) -> Vec<u32> {
    let pids = workers.iter().filter_map(|worker| worker["pid"].as_u64());
    pids.map(|pid| pid as u32).collect()
}
