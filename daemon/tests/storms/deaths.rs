//! Workers that are killed in quick succession: the supervisor neither keeps anything of the dead nor
//! misses one.

use nix::sys::signal::Signal;

use crate::scene::{carrying, descriptors, resident_kib, scale, service};
use crate::support::daemon::{Daemon, wait_stopped};

#[test]
fn the_supervisor_keeps_nothing_of_the_dead() {
    const GROWTH_KIB_MAX: u64 = 1024;
    let daemon = Daemon::start("storm-cycles", &carrying(2, 0));
    let cycle = || {
        let before = daemon.worker_pids("echo");
        for pid in &before {
            daemon.signal(*pid, Signal::SIGKILL);
        }
        daemon.wait_for("others in their place", |status| {
            let workers = status["services"]["echo"]["workers"].as_array();
            workers.into_iter().flatten().all(|worker| {
                let is_new = |pid: u64| !before.contains(&(pid as u32));
                worker["state"] == "serving" && worker["pid"].as_u64().is_some_and(is_new)
            })
        });
    };
    // What the first deaths need once, the records of crashes among it, is no growth.
    (0..4).for_each(|_| cycle());
    let (held, resident) = (descriptors(daemon.pid()), resident_kib(daemon.pid()));
    (0..scale(12, 3_000)).for_each(|_| cycle());
    assert_eq!(descriptors(daemon.pid()), held);
    let grown = resident_kib(daemon.pid()).saturating_sub(resident);
    assert!(grown < GROWTH_KIB_MAX, "{grown} KiB more");
    daemon.finish(&["echo/".to_owned()]);
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
        let is_next =
            |worker: &serde_json::Value| worker["restarts"] == 1 && worker["state"] == "serving";
        workers.is_some_and(|workers| workers.iter().all(is_next))
    });
    daemon.finish(&["echo/".to_owned()]);
}
