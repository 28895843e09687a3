//! Workers that are killed in quick succession: the supervisor neither keeps anything of the dead nor
//! misses one. How much work it has with each is printed, for docs/performance.md.
//!
//! In the soak there are 20,000, or as many as POLYPORT_DEATHS says: a million take hours. What is
//! held is looked at several times on the way, so that a little that each leaves behind would be seen
//! to add up.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::beats::Beats;
use crate::scene::{descriptors, processor_ms, resident_kib, scale, service};
use crate::support::daemon::{Daemon, wait_stopped};

#[test]
fn the_supervisor_keeps_nothing_of_the_dead() {
    const GROWTH_KIB_MAX: u64 = 1024;
    const LOOKS: usize = 4;
    /// Of more than twenty in a second a pool lets the next wait ever longer.
    const BEAT: Duration = Duration::from_millis(100);
    let services = scale(2, 20);
    let named = |nth: usize| service("echo", 1, "").replace("echo]", &format!("echo-{nth}]"));
    let daemon = Daemon::start(
        "storm-cycles",
        &(0..services).map(named).collect::<String>(),
    );
    let beats = Beats::begin(BEAT);
    let cycle = || {
        beats.next();
        let before = pids(&daemon.status());
        for pid in &before {
            daemon.signal(*pid, Signal::SIGKILL);
        }
        daemon.wait_for("others in their place", |status| {
            workers(status).all(|worker| {
                let is_new = |pid: u64| !before.contains(&(pid as u32));
                worker["state"] == "serving" && worker["pid"].as_u64().is_some_and(is_new)
            })
        });
    };
    let deaths = std::env::var("POLYPORT_DEATHS").map_or(20_000, |n| n.parse().expect("a number"));
    let cycles = scale(12, deaths / services / LOOKS * LOOKS);
    // What the first deaths need once, the records of crashes among it, is no growth.
    (0..4).for_each(|_| cycle());
    let (held, resident) = (descriptors(daemon.pid()), resident_kib(daemon.pid()));
    let worked_ms = processor_ms(daemon.pid());
    for look in 1..=LOOKS {
        (0..cycles / LOOKS).for_each(|_| cycle());
        assert_eq!(descriptors(daemon.pid()), held);
        let grown = resident_kib(daemon.pid()).saturating_sub(resident);
        println!(
            "after {} deaths {grown} KiB more",
            look * cycles / LOOKS * services
        );
        assert!(grown < GROWTH_KIB_MAX, "{grown} KiB more");
    }
    let deaths = (cycles * services) as u64;
    let worked_ms = processor_ms(daemon.pid()) - worked_ms;
    println!("{deaths} deaths took {worked_ms} ms of the supervisor, its answers among it");
    daemon.finish(&["echo-".to_owned()]);
}

fn workers(status: &Value) -> impl Iterator<Item = &Value> {
    let services = status["services"].as_object().expect("services");
    let workers = services.values().filter_map(|it| it["workers"].as_array());
    workers.flatten()
}

fn pids(status: &Value) -> Vec<u32> {
    let pids = workers(status).filter_map(|worker| worker["pid"].as_u64());
    pids.map(|pid| pid as u32).collect()
}

/// All die while the supervisor cannot look, so that it hears of them by one signal.
#[test]
fn deaths_that_become_one_signal_are_all_noticed() {
    let count = scale(12, 64);
    let daemon = Daemon::start("storm-at-once", &service("echo", count, ""));
    let pids = daemon.worker_pids("echo");
    assert_eq!(pids.len(), count);
    daemon.signal(daemon.pid(), Signal::SIGSTOP);
    wait_stopped(daemon.pid());
    for pid in pids {
        daemon.signal(pid, Signal::SIGKILL);
    }
    daemon.signal(daemon.pid(), Signal::SIGCONT);
    daemon.wait_for("a successor of each", |status| {
        let workers = status["services"]["echo"]["workers"].as_array();
        let is_next = |worker: &Value| worker["restarts"] == 1 && worker["state"] == "serving";
        workers.is_some_and(|workers| workers.iter().all(is_next))
    });
    daemon.finish(&["echo/".to_owned()]);
}
