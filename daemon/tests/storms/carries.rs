//! Sessions that go from worker to worker, many times, with data flowing both ways: no byte is lost
//! and none comes twice. When a worker dies in the middle its sessions may be lost, and what was
//! heard of them until then was right.

use std::io::{ErrorKind, Write};
use std::net::{Shutdown, TcpStream};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::load::{Load, bytes, dial, take};
use crate::scene::{carrying, is_done, reload, scale, settled, total};
use crate::support::daemon::Daemon;
use crate::support::dice::Dice;

const PEERS: u8 = 6;

#[test]
fn sessions_go_through_reloads_and_restarts_without_a_byte_lost_or_repeated() {
    let daemon = Daemon::start("storm-carries", &carrying(2, 0));
    let load = Load::begin(daemon.address("echo", 0), 1, PEERS);
    let rounds = scale(4, 50);
    for nth in 1..=rounds {
        load.goes_on(5);
        daemon.write_config(&carrying(2, nth));
        reload(&daemon);
        load.goes_on(5);
        is_done(
            &daemon,
            &daemon.ask(r#"{"verb":"restart","service":"echo"}"#),
        );
    }
    let status = settled(&daemon);
    let (short, long) = load.end();
    short.is_clean();
    long.is_clean();
    assert_eq!(long.answered(), u64::from(PEERS), "one was begun anew");
    let carried = 2 * rounds as u64 * u64::from(PEERS);
    println!("carried {} times", total(&status, "carried_in"));
    assert!(total(&status, "carried_in") >= carried, "{status:#}");
    assert_eq!(total(&status, "carry_broken"), 0, "{status:#}");
    daemon.finish(&[]);
}

/// All was said and nothing read: most of it waits in the socket, unread, and in the output.
#[test]
fn sessions_whose_peers_have_finished_go_along_with_all_that_waits() {
    let daemon = Daemon::start("storm-half-closed", &carrying(2, 0));
    let mut peers: Vec<(TcpStream, usize)> = Vec::new();
    for nth in 0..PEERS {
        let mut stream = dial(daemon.address("echo", 0), nth).expect("let in");
        let mut said = 0;
        stream.set_nonblocking(true).expect("a socket");
        loop {
            match stream.write(bytes(usize::from(nth), said, 10_007)) {
                Ok(n) => said += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
            // Some are short enough to be answered whole before anybody asks.
            if said > 1 << (14 + nth) {
                break;
            }
        }
        stream.set_nonblocking(false).expect("a socket");
        stream.shutdown(Shutdown::Write).expect("half-closed");
        peers.push((stream, said));
    }
    daemon.wait_for("all of them to be let in", |status| {
        total(status, "accepted") == u64::from(PEERS)
    });
    for nth in 1..=scale(6, 100) {
        daemon.write_config(&carrying(2, nth));
        reload(&daemon);
    }
    for (nth, (stream, said)) in peers.iter().enumerate() {
        assert_eq!(take(stream, nth, *said), Ok(()), "peer {nth} said {said}");
    }
    drop(peers);
    settled(&daemon);
    daemon.finish(&[]);
}

#[test]
fn a_death_in_the_middle_of_a_handover_costs_sessions_and_no_byte_is_wrong() {
    let daemon = Daemon::start("storm-carry-deaths", &carrying(2, 0));
    let load = Load::begin(daemon.address("echo", 0), 2, PEERS);
    let mut dice = Dice(4);
    let mut deaths = 0;
    for nth in 1..=scale(6, 200) {
        load.goes_on(5);
        let before = daemon.worker_pids("echo");
        daemon.write_config(&carrying(2, nth));
        // One that gives, as soon as there is one that takes; or one that takes.
        daemon.ask(r#"{"verb":"reload","wait":false,"dry_run":false}"#);
        let wants_giver = dice.chance(50);
        let status = daemon.wait_for("a new generation", |status| {
            let workers = status["services"]["echo"]["workers"].as_array();
            let pids = workers
                .into_iter()
                .flatten()
                .filter_map(|w| w["pid"].as_u64());
            pids.into_iter().any(|pid| !before.contains(&(pid as u32)))
        });
        let workers = status["services"]["echo"]["workers"].as_array();
        let pids = workers
            .into_iter()
            .flatten()
            .filter_map(|w| w["pid"].as_u64());
        let pids: Vec<u32> = pids.map(|pid| pid as u32).collect();
        let meant: Vec<u32> = pids
            .into_iter()
            .filter(|pid| before.contains(pid) == wants_giver)
            .collect();
        // It may have ended in order meanwhile.
        if let Some(pid) = meant.first()
            && kill(Pid::from_raw(*pid as i32), Signal::SIGKILL).is_ok()
        {
            deaths += 1;
        }
        daemon.wait_for("the change to be over", |status| {
            crate::scene::generations(status, "echo").len() == 1
        });
    }
    load.goes_on(20);
    let (short, long) = load.end();
    short.is_honest();
    long.is_honest();
    let most = deaths * u64::from(PEERS + 2);
    let broken = short.broken() + long.broken();
    println!("{deaths} deaths broke {broken}");
    assert!(broken <= most, "{deaths} deaths broke {broken}");
    settled(&daemon);
    daemon.finish(&["echo".to_owned()]);
}
