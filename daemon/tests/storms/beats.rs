//! A worker killed at every beat of a clock, twenty a second, whichever the dice say: what it had
//! accepted may be lost with it, and is counted; what was queued is served by whoever comes next.
//!
//! A beat that comes late kills for those that were missed too. One that finds nobody alive kills
//! nobody: then the supervisor holds the queues, and nobody in them is lost either.
//!
//! Invariant: each kill is one death that is noticed, and one successor.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::unistd::read;
use serde_json::Value;

use crate::load::Load;
use crate::scene::{scale, settled};
use crate::support::daemon::Daemon;
use crate::support::dice::Dice;

const BEAT: Duration = Duration::from_millis(50);
/// Of a service.
const WORKERS: usize = 3;
const SHORT: u8 = 2;
const LONG: u8 = 1;

/// Each pool restarts its workers faster than they are killed.
#[test]
fn a_worker_killed_at_every_beat_costs_what_it_had_accepted() {
    storm("storm-beats", 4, Victims::One);
}

/// More deaths than a pool restarts at once: it backs off, and nobody is left for most of the time.
#[test]
fn a_queue_is_held_while_its_pool_has_no_worker_left() {
    let storm = storm("storm-beats-all", 1, Victims::All);
    assert!(storm.idle > 0, "{storm:?}");
}

/// Of those who are alive at a beat.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Victims {
    One,
    All,
}

#[derive(Debug, Default)]
struct Storm {
    kills: u64,
    /// Beats that found nobody alive.
    idle: u64,
    restarts: u64,
    answered: u64,
    broken: u64,
    /// Open when their worker died, as the supervisor read it off the scoreboards of the dead.
    in_service: u64,
    /// Taken from a queue by a worker that died before it had counted them.
    uncounted: u64,
}

/// Kills workers of so many services, and checks that nobody was lost but those in service.
fn storm(name: &str, services: usize, victims: Victims) -> Storm {
    let names: Vec<String> = (0..services).map(|nth| format!("echo-{nth}")).collect();
    let tables = names.iter().map(|name| {
        format!(
            "[services.{name}]\nplugin = \"echo\"\nlisten = [\"tcp://127.0.0.1:0\"]\n\
             workers = {WORKERS}\n"
        )
    });
    let daemon = Daemon::start(name, &tables.collect::<String>());
    let begin = |name: &String| Load::begin(daemon.address(name, 0), SHORT, LONG);
    let loads: Vec<Load> = names.iter().map(begin).collect();
    let mut storm = Storm::default();
    let mut dice = Dice(9);
    let mut killed = BTreeSet::new();
    let beats = Beats::begin(BEAT);
    let mut left = scale(60, 1_200) as u64;
    while left > 0 {
        let passed = beats.next().min(left);
        left -= passed;
        // One that was killed is still named until it is reaped, and then it is nobody to be killed.
        let mut alive = pids(&daemon.status());
        alive.retain(|pid| !killed.contains(pid));
        for _ in 0..passed {
            let wanted = match victims {
                Victims::One => alive.len().min(1),
                Victims::All => alive.len(),
            };
            storm.idle += u64::from(wanted == 0);
            for _ in 0..wanted {
                let pid = alive.swap_remove(dice.below(alive.len() as u64) as usize);
                daemon.signal(pid, Signal::SIGKILL);
                killed.insert(pid);
                storm.kills += 1;
            }
        }
    }
    loads.iter().for_each(|load| load.goes_on(20));
    for load in loads {
        let (short, long) = load.end();
        short.is_honest();
        long.is_honest();
        storm.answered += short.answered() + long.answered();
        storm.broken += short.broken() + long.broken();
    }
    let status = settled(&daemon);
    let sum = |of: fn(&Value) -> u64| {
        names
            .iter()
            .map(|n| of(&status["services"][n]))
            .sum::<u64>()
    };
    storm.restarts = sum(|service| {
        let workers = service["workers"].as_array().into_iter().flatten();
        workers
            .filter_map(|worker| worker["restarts"].as_u64())
            .sum()
    });
    storm.in_service = sum(|service| counted(service, "closed_death"));
    let ended = storm.answered + storm.broken;
    let accepted = sum(|service| counted(service, "accepted"));
    storm.uncounted = ended.checked_sub(accepted).expect("none counted twice");
    println!("{storm:?}");
    assert_eq!(storm.restarts, storm.kills, "{storm:?}");
    // A worker takes one in at a time. Killed on the way from accepting it to counting it, it leaves
    // that one uncounted, and on the way from there to its session, not in service.
    assert!(storm.uncounted <= storm.kills, "{storm:?}");
    assert!(storm.broken <= storm.in_service + storm.kills, "{storm:?}");
    daemon.finish(&["echo-".to_owned()]);
    storm
}

/// Of all workers.
fn pids(status: &Value) -> Vec<u32> {
    let services = status["services"].as_object().expect("services");
    let workers = services.values().filter_map(|s| s["workers"].as_array());
    let pids = workers
        .flatten()
        .filter_map(|worker| worker["pid"].as_u64());
    pids.map(|pid| pid as u32).collect()
}

fn counted(service: &Value, name: &str) -> u64 {
    service["totals"][name].as_u64().expect("a total")
}

/// The kernel counts those that passed while nobody asked.
pub(crate) struct Beats(TimerFd);

impl Beats {
    pub(crate) fn begin(beat: Duration) -> Beats {
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC);
        let timer = timer.expect("a timer");
        let period = Expiration::Interval(TimeSpec::from(beat));
        timer
            .set(period, TimerSetTimeFlags::empty())
            .expect("a period that is not zero");
        Beats(timer)
    }

    /// Waits for the next; how many there have been since the last call.
    pub(crate) fn next(&self) -> u64 {
        let mut count = [0; 8];
        let n = read(self.0.as_fd(), &mut count).expect("a timer can be read");
        assert_eq!(n, count.len(), "timerfd_create(2): eight bytes");
        u64::from_ne_bytes(count)
    }
}
