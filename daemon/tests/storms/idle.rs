//! A storm of reloads over many idle connections: never more than two generations, and never more
//! memory than what there was and one pool without connections.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::load::dial;
use crate::scene::{carrying, generations, proportional_kib, scale, settled};
use crate::support::daemon::{Daemon, PATIENCE};

const WORKERS: usize = 2;
/// Changes until each of the places that generations take by turns has been used.
const WARM: usize = 4;
/// What is measured in pages, by many processes, at slightly different moments.
const ROUNDING_KIB: u64 = 512;

#[test]
fn a_storm_of_reloads_over_idle_connections_holds_two_generations_and_one_more_pool() {
    let (count, reloads) = (scale(500, 10_000), scale(50, 1_000));
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("our own");
    setrlimit(Resource::RLIMIT_NOFILE, hard.max(soft), hard).expect("up to the hard limit");
    let daemon = Daemon::start("storm-idle", &carrying(WORKERS, 0));
    let alone = memory(&daemon);
    let mut idle: Vec<TcpStream> = (0..count)
        .map(|nth| dial(daemon.address("echo", 0), (nth % 20) as u8).expect("let in"))
        .collect();
    idle.iter_mut().for_each(answered);
    // The first changes make copies of pages that were shared with the file, and each generation has
    // a place of its own in what is counted for all.
    (1..=WARM).for_each(|nth| change(&daemon, nth));
    let steady = memory(&daemon);
    let mut peak = 0;
    for nth in WARM + 1..=WARM + reloads {
        daemon.write_config(&carrying(WORKERS, nth));
        daemon.signal(daemon.pid(), Signal::SIGHUP);
        // In the midst of it, more often than not: several become one.
        peak = peak.max(proportional_kib(&daemon));
        let status = daemon.status();
        let alive = generations(&status, "echo");
        assert!(alive.len() <= 2, "generations {alive:?}");
    }
    change(&daemon, WARM + reloads + 1);
    idle.iter_mut().for_each(answered);
    let last = memory(&daemon);
    assert!(
        peak <= steady + alone + ROUNDING_KIB,
        "{peak} KiB at the peak, {steady} KiB before, {alone} KiB without connections"
    );
    assert!(
        last <= steady + ROUNDING_KIB,
        "{last} KiB after the storm, {steady} KiB before"
    );
    drop(idle);
    daemon.finish(&[]);
}

fn answered(stream: &mut TcpStream) {
    stream.write_all(b"?").expect("it is open");
    let mut byte = [0];
    stream.read_exact(&mut byte).expect("answered");
    assert_eq!(byte, *b"?");
}

fn memory(daemon: &Daemon) -> u64 {
    settled(daemon);
    proportional_kib(daemon)
}

/// By a signal, until it serves.
fn change(daemon: &Daemon, nth: usize) {
    let newest = |status: &Value| generations(status, "echo").last().copied();
    let before = newest(&settled(daemon));
    let until = Instant::now() + PATIENCE;
    // A change that was under way may have been as this one would be: nothing changes then.
    let mut step = nth;
    while newest(&settled(daemon)) == before {
        assert!(Instant::now() < until, "no change is made any more");
        step += 1;
        daemon.write_config(&carrying(WORKERS, step));
        let reply = daemon.ask(r#"{"verb":"reload","wait":true,"dry_run":false}"#);
        assert_eq!(reply["exit"], 0, "{reply:#}");
    }
}
