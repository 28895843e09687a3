//! Loops of datagrams through the real daemon: what one forged datagram starts must stop by itself.
//!
//! A loop with a stranger needs no forging, so it is played wherever this runs. Two services of the
//! daemon can only be set on each other with a forged source, which takes a namespace of its own:
//! there this program runs once more, with the right to forge.
//!
//! Ends are not waited for by time: what is said to one worker later is answered later.

mod support;

use std::net::SocketAddr;

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, socket,
};
use support::daemon::Daemon;
use support::datagrams::{address, counted, hear, peer};
use support::namespace;

const REPEATS: usize = 32;

fn config(settings: &str) -> String {
    ["one", "two"]
        .map(|name| {
            format!(
                "[services.{name}]\nplugin = \"udp-echo\"\nworkers = 1\n\
                 listen = [\"udp://127.0.0.1:0\"]\n[services.{name}.settings]\n{settings}\n"
            )
        })
        .concat()
}

#[test]
fn a_stranger_that_answers_every_answer_is_muted() {
    let daemon = Daemon::start("udp-loop", &config(""));
    let service = address(&daemon, "one");
    let (stranger, other) = (peer(), peer());
    let mut payload = b"ping".to_vec();
    for _ in 0..REPEATS {
        stranger.send_to(&payload, service).expect("it is taken");
        payload = hear(&stranger);
        assert_eq!(payload, b"ping");
    }
    stranger.send_to(&payload, service).expect("it is taken");
    daemon.wait_log("sends the same datagram again and again");
    other.send_to(b"pong", service).expect("it is taken");
    assert_eq!(hear(&other), b"pong", "others are answered");
    stranger.set_nonblocking(true).expect("it is a socket");
    assert!(stranger.recv(&mut [0; 9]).is_err(), "the loop has ended");
    let out = REPEATS as u64 + 1;
    daemon.wait_for("all to be counted", |status| {
        status["services"]["one"]["totals"]["datagrams_out"] == out
    });
    assert_eq!(counted(&daemon, "one", "datagrams_in"), out + 1);
    daemon.finish(&[]);
}

#[test]
fn a_service_for_everybody_wants_that_said() {
    let text = "[services.open]\nplugin = \"udp-echo\"\nlisten = [\"udp://0.0.0.0:0\"]\n\
                [services.chargen]\nplugin = \"udp-echo\"\nlisten = [\"udp://127.0.0.1:0\"]\n\
                settings = { mode = \"chargen\" }\n\
                [services.shut]\nplugin = \"udp-echo\"\nlisten = [\"udp://0.0.0.0:0\"]\n\
                settings = { allow = [\"127.0.0.0/8\"] }\n";
    let daemon = Daemon::start("udp-open", text);
    let status = daemon.status();
    let failure = |service: &str| status["services"][service]["failure"].to_string();
    assert!(
        failure("open").contains("can be reached from elsewhere"),
        "{status}"
    );
    assert!(failure("chargen").contains("CVE-2024-2169"), "{status}");
    let socket = peer();
    let port = address(&daemon, "shut").port();
    socket
        .send_to(b"hello", ("127.0.0.1", port))
        .expect("it is taken");
    assert_eq!(hear(&socket), b"hello");
    daemon.finish(&["open".to_owned(), "chargen".to_owned()]);
}

#[test]
fn two_services_fed_one_forged_datagram_stop() {
    if namespace::is_inside() {
        return forge();
    }
    namespace::play("two_services_fed_one_forged_datagram_stop");
}

/// With the right to send what it likes, on a loopback of its own.
fn forge() {
    let daemon = Daemon::start("udp-forged", &config(""));
    let (one, two) = (address(&daemon, "one"), address(&daemon, "two"));
    for (from, to) in [(one, two), (two, one), (one, one)] {
        send_forged(from, to, b"for ever");
    }
    // Both workers have dealt with what was forged when they have answered this, twice: in between
    // they could have answered each other.
    let peer = peer();
    for round in 0..2 {
        for service in [one, two] {
            peer.send_to(&[round], service).expect("it is taken");
            assert_eq!(hear(&peer), [round]);
        }
    }
    daemon.wait_for("all to be counted", |status| {
        let services = &status["services"];
        let out = |service: &str| services[service]["totals"]["datagrams_out"].as_u64();
        out("one") >= Some(2) && out("two") >= Some(2)
    });
    let total = |counter| counted(&daemon, "one", counter) + counted(&daemon, "two", counter);
    let (came, out) = (total("datagrams_in"), total("datagrams_out"));
    // Three forged and four asked; only these are answered, for each service knows the port of the other.
    assert_eq!((came, out), (7, 4));
    daemon.finish(&[]);
}

/// RFC 791 and 768, without a checksum, which UDP over IPv4 allows.
fn send_forged(from: SocketAddr, to: SocketAddr, payload: &[u8]) {
    let (SocketAddr::V4(from), SocketAddr::V4(to)) = (from, to) else {
        panic!("the services listen on IPv4");
    };
    let length = |headers: usize| ((headers + payload.len()) as u16).to_be_bytes();
    let mut packet = vec![0x45, 0];
    packet.extend(length(28));
    packet.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    packet.extend(from.ip().octets());
    packet.extend(to.ip().octets());
    packet.extend(from.port().to_be_bytes());
    packet.extend(to.port().to_be_bytes());
    packet.extend(length(8));
    packet.extend([0, 0]);
    packet.extend(payload);
    let (kind, none) = (SockType::Raw, SockFlag::empty());
    let raw = socket(AddressFamily::Inet, kind, none, SockProtocol::Raw).expect("the right to it");
    let sent = sendto(
        std::os::fd::AsRawFd::as_raw_fd(&raw),
        &packet,
        &SockaddrIn::from(to),
        MsgFlags::empty(),
    );
    assert_eq!(sent, Ok(packet.len()));
}
