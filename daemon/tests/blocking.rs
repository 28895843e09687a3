//! Many peers of the blocking style at once, through the real daemon.

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};

use support::daemon::{Daemon, PATIENCE, threads_of};
use support::fixtures::build_fixture;

const TALKS: &str = r#"
[services.talks]
plugin = "fixture-talks"
listen = ["tcp://127.0.0.1:0"]
workers = 1
limits.threads = 8
"#;

#[test]
fn eight_threads_serve_a_hundred_peers_one_after_the_other() {
    let daemon = Daemon::start("hundred-peers", TALKS);
    let address = daemon.address("talks", 0);
    let mut peers: Vec<TcpStream> = (0..100)
        .map(|_| {
            let peer = TcpStream::connect(address).expect("it listens");
            peer.set_read_timeout(Some(PATIENCE)).expect("set");
            peer
        })
        .collect();
    daemon.wait_for("all of them are inside", |status| {
        status["services"]["talks"]["connections"] == 100
    });
    let worker = daemon.worker_pids("talks")[0];
    assert_eq!(threads_of(worker), 1 + 8, "the event loop's and eight");
    for (nth, peer) in peers.iter_mut().enumerate() {
        writeln!(peer, "say {nth}").expect("sent");
        peer.shutdown(Shutdown::Write).expect("half-closed");
    }
    for (nth, peer) in peers.iter_mut().enumerate() {
        let mut said = String::new();
        peer.read_to_string(&mut said).expect("an orderly end");
        assert_eq!(said, format!("ready\n{nth}\nbye\n"));
    }
    drop(peers);
    let status = daemon.wait_for("none is left", |status| {
        status["services"]["talks"]["connections"] == 0
    });
    let totals = &status["services"]["talks"]["totals"];
    assert_eq!(totals["accepted"], 100, "{totals}");
    assert_eq!(totals["refused_busy"], 0, "{totals}");
    daemon.finish(&[]);
}

#[test]
fn datagrams_are_served_on_threads_and_one_that_fails_is_counted() {
    let fixture = build_fixture("serves");
    let config = format!(
        "[services.serves]\nplugin = {fixture:?}\nlisten = [\"udp://127.0.0.1:0\"]\nworkers = 1\n"
    );
    let daemon = Daemon::start("datagram-threads", &config);
    let url = daemon.announced["services"]["serves"]["listen"][0].as_str();
    let address = url
        .and_then(|url| url.strip_prefix("udp://"))
        .expect("a UDP endpoint");
    let peer = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    peer.set_read_timeout(Some(PATIENCE)).expect("set");
    peer.connect(address).expect("connected");
    for nth in 0..20 {
        let sent = format!("datagram {nth}");
        peer.send(sent.as_bytes()).expect("sent");
        let mut answer = [0; 64];
        let length = peer.recv(&mut answer).expect("answered");
        assert_eq!(&answer[..length], sent.as_bytes());
    }
    peer.send(b"n").expect("sent");
    peer.send(b"f").expect("sent");
    daemon.wait_for("both have failed or faulted", |status| {
        let totals = &status["services"]["serves"]["totals"];
        totals["datagrams_failed"] == 1 && totals["plugin_faults"] == 1
    });
    daemon.finish(&["a datagram's fault".to_owned()]);
}

#[test]
fn a_plugin_shows_its_style() {
    let daemon = Daemon::start("style", TALKS);
    let output = daemon.operate(&["plugins", "show", "fixture-talks"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("style     blocking, each on a thread\n"),
        "{text}"
    );
    let output = daemon.operate(&["plugins", "show", "echo"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("style     events, all on one loop\n"),
        "{text}"
    );
    daemon.finish(&[]);
}
