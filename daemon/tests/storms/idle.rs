//! A storm of reloads over many idle connections: never more than two generations, and never more
//! memory than what there was, one pool without connections, and what is under way between the two.
//! The supervisor holds what it held; checks and probes, which come and go with each change, take what
//! they take over no connection at all.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::ops::RangeInclusive;
use std::time::Instant;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use polyport::engine::handover::{BATCH_SESSIONS_MAX, BATCHES_MAX, PACKET_BYTES_MAX};
use serde_json::Value;

use crate::load::dial;
use crate::scene::{carrying, generations, proportional_kib, scale, settled};
use crate::support::daemon::{Daemon, PATIENCE, family_of};

const WORKERS: usize = 2;
/// Changes until each of the places that generations take by turns has been used.
const WARM: usize = 4;
/// What is measured in pages, by many processes, at slightly different moments.
const ROUNDING_KIB: u64 = 512;
/// What a handover may have under way: sessions that both its ends have until an answer is heard, of
/// less than a KiB each, and at each end a packet of them.
const UNDER_WAY_KIB: u64 =
    (WORKERS * (BATCHES_MAX * BATCH_SESSIONS_MAX + 2 * PACKET_BYTES_MAX / 1024)) as u64;

#[test]
fn a_storm_of_reloads_over_idle_connections_holds_two_generations_and_one_more_pool() {
    let (count, reloads) = (scale(4_000, 10_000), scale(30, 1_000));
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("our own");
    setrlimit(Resource::RLIMIT_NOFILE, hard.max(soft), hard).expect("up to the hard limit");
    let daemon = Daemon::start("storm-idle", &roomy(0));
    let alone = memory(&daemon);
    let before = scale(30, 100);
    let trials = storm(&daemon, 1..=before).trials;
    let mut idle: Vec<TcpStream> = (0..count)
        .map(|nth| dial(daemon.address("echo", 0), (nth % 20) as u8).expect("let in"))
        .collect();
    all_answered(&mut idle, &daemon);
    // The first changes make copies of pages that were shared with the file, and each generation has
    // a place of its own in what is counted for all.
    let warm = before + WARM;
    (before + 1..=warm).for_each(|nth| change(&daemon, nth));
    let steady = memory(&daemon);
    let peak = storm(&daemon, warm + 1..=warm + reloads);
    change(&daemon, warm + reloads + 1);
    all_answered(&mut idle, &daemon);
    let last = memory(&daemon);
    let all = format!(
        "KiB without connections {alone:?}, trials then {trials}, before {steady:?}, at the peak \
         {peak:?}, after {last:?}"
    );
    println!("{all}");
    // Or both workers could hold all of them for as long as they like, and nobody would see it.
    let of_idle = steady.workers - alone.workers;
    assert!(of_idle > UNDER_WAY_KIB + ROUNDING_KIB, "{all}");
    assert!(
        peak.workers <= steady.workers + alone.workers + UNDER_WAY_KIB + ROUNDING_KIB,
        "{all}"
    );
    assert!(peak.supervisor <= steady.supervisor + ROUNDING_KIB, "{all}");
    // Of a change and of the next one, which may be met at once, and are the sooner the more there are.
    assert!(peak.trials <= 2 * trials + ROUNDING_KIB, "{all}");
    assert!(last.all() <= steady.all() + ROUNDING_KIB, "{all}");
    drop(idle);
    daemon.finish(&[]);
}

/// Changes by signals in quick succession, and the most that is seen to be held meanwhile.
fn storm(daemon: &Daemon, changes: RangeInclusive<usize>) -> Memory {
    let mut peak = Memory::default();
    for nth in changes {
        daemon.write_config(&roomy(nth));
        daemon.signal(daemon.pid(), Signal::SIGHUP);
        // In the midst of it, more often than not: several become one.
        peak.rise_to(&Memory::of(daemon));
        let status = daemon.status();
        let alive = generations(&status, "echo");
        assert!(alive.len() <= 2, "generations {alive:?}");
    }
    peak
}

/// Each worker has its part of the limit, and shards are not filled evenly: with room for just as many
/// as come, the last ones would wait in the queue of one worker while the other has room. However long
/// it takes, nobody is closed for that.
fn roomy(nth: usize) -> String {
    let limits = "[services.echo.limits]\nconnections = 15000\nidle = \"1d\"\n";
    let patient = "[daemon]\ndrain_timeout = \"1h\"\n";
    format!("{patient}{}{limits}", carrying(WORKERS, nth))
}

/// What became of whoever is not, is in the log.
fn all_answered(idle: &mut [TcpStream], daemon: &Daemon) {
    for (nth, stream) in idle.iter_mut().enumerate() {
        let heard = answered(stream);
        assert!(
            matches!(heard, Ok(b'?')),
            "{nth}: {heard:?}\n{}",
            daemon.log()
        );
    }
}

fn answered(stream: &mut TcpStream) -> io::Result<u8> {
    stream.write_all(b"?")?;
    let mut byte = [0];
    stream.read_exact(&mut byte)?;
    Ok(byte[0])
}

/// In KiB.
#[derive(Debug, Default)]
struct Memory {
    supervisor: u64,
    workers: u64,
    /// Checks and probes.
    trials: u64,
}

impl Memory {
    /// The newest process first: what one gives while this looks is then not counted twice.
    fn of(daemon: &Daemon) -> Memory {
        let mut memory = Memory::default();
        for pid in family_of(daemon.pid()).into_iter().rev() {
            let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let kib = proportional_kib(pid);
            match words.split(|byte| *byte == 0).any(|word| word == b"worker") {
                true => memory.workers += kib,
                false => memory.trials += kib,
            }
        }
        memory.supervisor = proportional_kib(daemon.pid());
        memory
    }

    fn rise_to(&mut self, other: &Memory) {
        self.supervisor = self.supervisor.max(other.supervisor);
        self.workers = self.workers.max(other.workers);
        self.trials = self.trials.max(other.trials);
    }

    fn all(&self) -> u64 {
        self.supervisor + self.workers + self.trials
    }
}

fn memory(daemon: &Daemon) -> Memory {
    settled(daemon);
    Memory::of(daemon)
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
        daemon.write_config(&roomy(step));
        let reply = daemon.ask(r#"{"verb":"reload","wait":true,"dry_run":false}"#);
        assert_eq!(reply["exit"], 0, "{reply:#}");
    }
}
