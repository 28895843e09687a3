//! Datagrams through the real daemon, as hosts around it see them: errors that come back for its answers,
//! the rate of a source, and, between two networks, answers from addresses that one machine alone does
//! not have.
//!
//! The networks are made by the test in a namespace, which ends with them. What the worker does with
//! one datagram is shown in its own tests.

mod support;

use std::fs;
use std::io::{BufRead, Read, Write};
use std::net::{SocketAddr, SocketAddrV6, TcpStream, UdpSocket};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::net::if_::if_nametoindex;
use nix::sys::signal::Signal;
use support::daemon::{Daemon, PATIENCE, wait_stopped};
use support::datagrams::{address, counted, hear, peer};
use support::program::program;
use support::sockets::expect_option;
use support::{looking, namespace};

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

const ACROSS: &str = "a_peer_of_another_network_is_answered_from_one_address_whatever_it_asked";
/// Set for the program that is in the other network.
const OTHER: &str = "POLYPORT_TEST_OTHER_NETWORK";

#[test]
fn a_peer_of_another_network_is_answered_from_one_address_whatever_it_asked() {
    match (namespace::is_inside(), std::env::var_os(OTHER)) {
        (_, Some(_)) => ask_across(),
        (true, None) => serve_across(),
        (false, None) => namespace::play(ACROSS),
    }
}

/// Runs `ip` in the network of whoever calls it.
fn ip(words: &str) {
    let status = program("ip", "iproute2").args(words.split(' ')).status();
    assert!(status.expect("it runs").success(), "ip {words}");
}

const SERVED: &str = r#"
[services.four]
plugin = "udp-echo"
workers = 2
listen = ["udp://*:0"]
settings = { allow = ["10.9.8.0/24"], allow_broadcast = true }
socket = { broadcast = true, multicast = ["239.1.2.3@here"], mark = 7 }
[services.six]
plugin = "udp-echo"
workers = 1
listen = ["udp://[::]:0"]
settings = { allow = ["fe80::/10"], allow_broadcast = true }
socket = { v6only = true, multicast = ["ff02::1234@here"] }
[services.link]
plugin = "udp-echo"
workers = 1
listen = ["udp://[fe80::1%here]:0"]
settings = { allow = ["fe80::/10"] }
[services.stream]
plugin = "echo"
workers = 1
listen = ["tcp://[fe80::1%here]:0"]
settings = { mode = "who" }
socket = { backlog = 5, mark = 7 }
"#;

/// One end of a cable between two networks; at the other is this program once more.
fn serve_across() {
    ip("link add here type veth peer name there");
    let itself = std::env::current_exe().expect("a running program");
    let mut other = program("unshare", "util-linux")
        .arg("--net")
        .arg(itself)
        .args(["--exact", ACROSS, "--nocapture"])
        .env(OTHER, "1")
        .stdin(Stdio::piped())
        .spawn()
        .expect("unshare runs");
    let network =
        |process: &str| fs::read_link(format!("/proc/{process}/ns/net")).expect("a process");
    let (begun, pid) = (Instant::now(), other.id().to_string());
    while network(&pid) == network("self") {
        assert!(begun.elapsed() < PATIENCE, "it stays in this network");
        looking::again();
    }
    ip(&format!("link set there netns {pid}"));
    ip("addr add 10.9.8.1/24 broadcast 10.9.8.255 dev here");
    ip("link set here up");
    ip("addr add fe80::1/64 dev here nodad");
    let daemon = Daemon::start("datagrams-across", SERVED);
    expect_option(&daemon, "four", 0, "SO_BROADCAST", "1");
    expect_option(&daemon, "four", 0, "IP_MULTICAST_ALL", "0");
    for service in ["four", "stream"] {
        expect_option(&daemon, service, 0, "SO_MARK", "7");
    }
    let port = |service| {
        let url = daemon.url(service, 0);
        let (_, port) = url.rsplit_once(':').expect("a port");
        port.parse::<u16>().expect("a number")
    };
    let listening = program("ss", "iproute2")
        .args(["-ltnH"])
        .output()
        .expect("it runs");
    let listening = String::from_utf8_lossy(&listening.stdout).into_owned();
    let stream = format!(":{}", port("stream"));
    let line = listening.lines().find(|line| line.contains(&stream));
    // The third column of a listener is how many may wait.
    let backlog = line.and_then(|line| line.split_whitespace().nth(2));
    assert_eq!(backlog, Some("5"), "{listening}");
    let here = if_nametoindex("here").expect("it was made");
    let ports = ["four", "six", "link", "stream"].map(|name| port(name).to_string());
    let mut input = other.stdin.take().expect("piped");
    writeln!(input, "{} {here}", ports.join(" ")).expect("it reads");
    assert!(other.wait().expect("a child").success());
    daemon.finish(&[]);
}

/// The other end.
fn ask_across() {
    let mut line = String::new();
    let heard = std::io::stdin().lock().read_line(&mut line);
    heard.expect("the ports");
    let numbers = line
        .split_whitespace()
        .map(|word| word.parse().expect("a number"));
    let [four, six, link, stream, here]: [u16; 5] =
        numbers.collect::<Vec<_>>().try_into().expect("five");
    ip("addr add 10.9.8.2/24 broadcast 10.9.8.255 dev there");
    ip("link set there up");
    ip("addr add fe80::2/64 dev there nodad");
    ip("route add default via 10.9.8.1");
    let there = if_nametoindex("there").expect("it was made");
    let v6 = |text: &str, port| -> SocketAddr {
        SocketAddrV6::new(text.parse().expect("an address"), port, 0, there).into()
    };
    let v4 = |text: &str| -> SocketAddr {
        (text.parse::<std::net::IpAddr>().expect("one"), four).into()
    };
    let own = v4("10.9.8.1");
    for (asked, from) in [
        (own, own),
        (v4("10.9.8.255"), own),
        (v4("255.255.255.255"), own),
        (v4("239.1.2.3"), own),
        (v6("fe80::1", link), v6("fe80::1", link)),
        (v6("fe80::1", six), v6("fe80::1", six)),
        (v6("ff02::1234", six), v6("fe80::1", six)),
    ] {
        assert_eq!(answer(asked), from, "{asked}");
    }
    // A plugin is told the interface by which a link's own address is to be reached.
    let mut peer = TcpStream::connect(v6("fe80::1", stream)).expect("connected");
    peer.set_read_timeout(Some(PATIENCE)).expect("not zero");
    let port = peer.local_addr().expect("it is connected").port();
    let greeting = format!("You are [fe80::2%{here}]:{port}\r\n");
    let mut heard = vec![0; greeting.len()];
    peer.read_exact(&mut heard).expect("a greeting");
    assert_eq!(String::from_utf8_lossy(&heard), greeting);
}

/// From where an answer comes, once the cable has woken up: until then datagrams are lost.
fn answer(asked: SocketAddr) -> SocketAddr {
    let own = if asked.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let socket = UdpSocket::bind(own).expect("a free port");
    socket.set_broadcast(true).expect("it is a socket");
    let pause = Some(Duration::from_millis(100));
    socket.set_read_timeout(pause).expect("not zero");
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < PATIENCE, "{asked} does not answer");
        let _ = socket.send_to(b"anybody?", asked);
        if let Ok((length, from)) = socket.recv_from(&mut [0; 20]) {
            assert_eq!(length, b"anybody?".len());
            return from;
        }
    }
}
