//! Datagrams through the real daemon, as hosts around it see them: errors that come back for its answers,
//! the rate of a source, and, between two networks, answers from addresses that one machine alone does
//! not have.
//!
//! The networks are made by the test in a namespace, which ends with them. What the worker does with
//! one datagram is shown in its own tests.

mod support;

use std::net::{SocketAddr, UdpSocket};

use nix::sys::signal::Signal;
use support::daemon::{Daemon, PATIENCE, wait_stopped};

fn address(daemon: &Daemon, service: &str) -> SocketAddr {
    let url = daemon.url(service, 0);
    let address = url.strip_prefix("udp://").expect("a UDP service");
    address.parse().expect("an address")
}

fn peer() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
    socket
}

fn hear(socket: &UdpSocket) -> Vec<u8> {
    let mut bytes = [0; 2000];
    let length = socket.recv(&mut bytes).expect("an answer");
    bytes[..length].to_vec()
}

fn counted(daemon: &Daemon, service: &str, counter: &str) -> u64 {
    let status = daemon.status();
    status["services"][service]["totals"][counter]
        .as_u64()
        .unwrap_or_else(|| panic!("no {counter} in {status}"))
}

#[test]
fn whoever_is_gone_is_counted_and_costs_nobody_else_an_answer() {
    // Told of by which way each datagram came, and not, on both families.
    for listen in ["127.0.0.1", "0.0.0.0", "[::1]", "[::]"] {
        let config = format!(
            "[services.echo]\nplugin = \"udp-echo\"\nworkers = 1\n\
             listen = [\"udp://{listen}:0\"]\nsettings = {{ public = true }}\n"
        );
        let daemon = Daemon::start("datagrams-gone", &config);
        let port = address(&daemon, "echo").port();
        let host = if listen == "[::1]" {
            "::1"
        } else {
            "127.0.0.1"
        };
        let ask = |payload: &[u8]| {
            let socket = UdpSocket::bind((host, 0)).expect("a free port");
            socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
            let sent = socket.send_to(payload, (host, port));
            sent.expect("it is taken");
            socket
        };
        let worker = daemon.worker_pids("echo")[0];
        // All of them wait in the queue before the worker looks: some go away, and some stay.
        daemon.signal(worker, Signal::SIGSTOP);
        wait_stopped(worker);
        let (mut gone, mut stay) = (Vec::new(), Vec::new());
        for nth in 0..20 {
            gone.push(ask(&[nth, 1]));
            stay.push(ask(&[nth, 2]));
        }
        drop(gone);
        daemon.signal(worker, Signal::SIGCONT);
        for (nth, peer) in stay.iter().enumerate() {
            assert_eq!(hear(peer), [nth as u8, 2], "{listen}");
        }
        // The kernel says no more than so much to anybody in a second, and other tests hear it too.
        daemon.wait_for("those who are gone to be counted", |status| {
            let totals = &status["services"]["echo"]["totals"];
            totals["datagrams_out"] == 40 && totals["icmp_errors"].as_u64() > Some(0)
        });
        assert!(counted(&daemon, "echo", "icmp_errors") <= 20, "{listen}");
        assert_eq!(counted(&daemon, "echo", "datagrams_dropped"), 0, "{listen}");
        // Nothing is left that would be told again and again.
        hear(&ask(b"still here"));
        daemon.finish(&[]);
    }
}

#[test]
fn a_source_that_sends_too_fast_is_held_to_the_rate_of_its_service() {
    let daemon = Daemon::start(
        "datagrams-rate",
        "[services.echo]\nplugin = \"udp-echo\"\nworkers = 1\nlisten = [\"udp://127.0.0.1:0\"]\n\
         limits = { datagram_rate = 1, datagram_burst = 5 }\n",
    );
    let service = address(&daemon, "echo");
    let peer = peer();
    for nth in 0..20 {
        peer.send_to(&[nth], service).expect("it is taken");
    }
    for nth in 0..5 {
        assert_eq!(hear(&peer), [nth]);
    }
    daemon.wait_log("limits.datagram_rate");
    // A slow machine may let some more pass in between.
    daemon.wait_for("all to be counted", |status| {
        let totals = &status["services"]["echo"]["totals"];
        let count = |counter: &str| totals[counter].as_u64().expect("it is there");
        count("datagrams_limited") > 0 && count("datagrams_out") + count("datagrams_limited") == 20
    });
    daemon.finish(&[]);
}
