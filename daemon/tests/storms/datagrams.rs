//! Datagrams under changes and deaths: what waits in a socket is answered by whoever reads it next.
//!
//! Each peer has few on their way, so no queue overflows. One is missing once a later one of the same
//! peer was answered, and lost if its answer has not come when nothing is on its way any more; while
//! two generations read a socket, they may overtake each other. If nothing comes another one is sent
//! to find out.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::scene::{reload, scale, settled};
use crate::support::daemon::{Daemon, PATIENCE};
use crate::support::dice::Dice;

/// In the soak so many are on their way, of so many peers, that they are more than 50,000 a second where
/// two processors are free; the default buffer of a socket has room for them all.
fn peer_count() -> usize {
    scale(2, 4)
}

fn window() -> u64 {
    scale(8, 32) as u64
}

/// Answered between two changes.
fn between() -> u64 {
    scale(50, 10_000) as u64
}

fn config(nth: usize) -> String {
    format!(
        "[services.echo]\nplugin = \"udp-echo\"\nlisten = [\"udp://127.0.0.1:0\"]\nworkers = 2\n\
         [services.echo.settings]\nrepeats = {}\n",
        100 + nth % 2
    )
}

#[derive(Default)]
struct Tally {
    stop: AtomicBool,
    answered: AtomicU64,
    lost: AtomicU64,
}

struct Peers {
    tally: Arc<Tally>,
    threads: Vec<JoinHandle<()>>,
    since: Instant,
}

impl Peers {
    fn begin(daemon: &Daemon) -> Peers {
        let url = daemon.url("echo", 0);
        let address = url.strip_prefix("udp://").expect("a UDP endpoint");
        let tally = Arc::new(Tally::default());
        let threads = (0..peer_count()).map(|_| {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("bound");
            socket.connect(address).expect("connected");
            let tally = tally.clone();
            std::thread::spawn(move || ask(&socket, &tally))
        });
        Peers {
            threads: threads.collect(),
            tally,
            since: Instant::now(),
        }
    }

    fn go_on(&self, count: u64) {
        let enough = self.tally.answered.load(Ordering::Relaxed) + count;
        let until = Instant::now() + PATIENCE;
        while self.tally.answered.load(Ordering::Relaxed) < enough {
            assert!(Instant::now() < until, "nobody is answered any more");
            crate::support::looking::again();
        }
    }

    /// How many were lost.
    fn end(self) -> u64 {
        self.tally.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a peer never panics");
        }
        let (answered, passed) = (
            self.tally.answered.load(Ordering::Relaxed),
            self.since.elapsed(),
        );
        let lost = self.tally.lost.load(Ordering::Relaxed);
        println!("{answered} answered and {lost} lost in {passed:.1?}");
        lost
    }
}

fn ask(socket: &UdpSocket, tally: &Tally) {
    let again = Duration::from_millis(200);
    socket.set_read_timeout(Some(again)).expect("not zero");
    // The next to be sent, and the next to be answered.
    let (mut next, mut due, window) = (0u64, 0u64, window());
    let mut silent_since = Instant::now();
    let mut missing = BTreeSet::new();
    let mut is_over = false;
    while !is_over {
        while next - due < window && !tally.stop.load(Ordering::Relaxed) {
            socket.send(&next.to_le_bytes()).expect("sent");
            next += 1;
        }
        let mut answer = [0; 9];
        match socket.recv(&mut answer) {
            Ok(n) => {
                let number = answer[..n].try_into().map(u64::from_le_bytes);
                let number = number.expect("an answer is what was asked");
                if number < due {
                    assert!(missing.remove(&number), "{number} was answered twice");
                } else {
                    assert!(number < next, "{number} was not sent yet");
                    missing.extend(due..number);
                    due = number + 1;
                }
                tally.answered.fetch_add(1, Ordering::Relaxed);
                silent_since = Instant::now();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                assert!(silent_since.elapsed() < PATIENCE, "no answer");
                // Nothing is on its way any more.
                is_over = tally.stop.load(Ordering::Relaxed) && due == next;
                if !is_over {
                    socket.send(&next.to_le_bytes()).expect("sent");
                    next += 1;
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
    tally
        .lost
        .fetch_add(missing.len() as u64, Ordering::Relaxed);
}

#[test]
fn reloads_lose_no_datagram() {
    let daemon = Daemon::start("storm-datagrams", &config(0));
    let peers = Peers::begin(&daemon);
    for nth in 1..=scale(6, 100) {
        peers.go_on(between());
        daemon.write_config(&config(nth));
        reload(&daemon);
    }
    peers.go_on(between());
    assert_eq!(peers.end(), 0, "datagrams lost");
    settled(&daemon);
    daemon.finish(&[]);
}

#[test]
fn a_killed_worker_costs_at_most_the_datagrams_that_it_had_received() {
    let daemon = Daemon::start("storm-datagram-kills", &config(0));
    let peers = Peers::begin(&daemon);
    let mut dice = Dice(6);
    let kills = scale(6, 100);
    for _ in 0..kills {
        peers.go_on(between());
        let status = settled(&daemon);
        let workers = status["services"]["echo"]["workers"].as_array();
        let pids = workers
            .into_iter()
            .flatten()
            .filter_map(|w| w["pid"].as_u64());
        let pids: Vec<u32> = pids.map(|pid| pid as u32).collect();
        daemon.signal(*dice.one_of(&pids), Signal::SIGKILL);
    }
    peers.go_on(between());
    let lost = peers.end();
    let received = (kills * peer_count()) as u64 * window();
    assert!(lost <= received, "{kills} kills lost {lost} datagrams");
    settled(&daemon);
    daemon.finish(&["echo/".to_owned()]);
}
