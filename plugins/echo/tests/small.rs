//! The services that only speak or only listen: each with its output refused, and peers that read
//! slowly or not at all.

use std::time::{SystemTime, UNIX_EPOCH};

use polyport_echo::Echo;
use polyport_plugin::End;
use polyport_plugin::testing::{FakeHost, Peer, Setup, Split};

fn start(setup: &Setup) -> FakeHost {
    setup.start().expect("the settings are good")
}

fn mode(mode: &str) -> Setup {
    Setup::of::<Echo>().set("mode", mode)
}

fn text(host: &FakeHost, peer: Peer) -> String {
    String::from_utf8_lossy(host.received(peer)).into_owned()
}

#[test]
fn discard_says_nothing_whatever_it_hears() {
    for split in [Split::Whole, Split::EveryByte] {
        let mut host = start(&mode("discard").split(split));
        let peer = host.connect();
        host.send(peer, b"hello\nworld");
        assert_eq!((host.received(peer), host.end(peer)), (&b""[..], None));
        host.peer_finishes(peer);
        assert_eq!(
            (host.received(peer), host.end(peer)),
            (&b""[..], Some(End::Finished))
        );
    }
}

#[test]
fn an_answer_is_given_unasked_and_whole_and_then_the_end() {
    let unix_s = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
    };
    for name in ["daytime", "time", "qotd"] {
        for refused in 0..3 {
            for sent in [&b""[..], b"ignored"] {
                let before = unix_s().as_secs();
                let mut host = start(&mode(name).full_at(refused));
                let peer = host.connect();
                let after = unix_s().as_secs();
                if host.end(peer).is_none() {
                    host.send(peer, sent);
                }
                let received = host.received(peer);
                let right = match name {
                    "daytime" => received.ends_with(b"-UTC\r\n"),
                    "time" => received.try_into().is_ok_and(|bytes| {
                        let since_1900 = u32::from_be_bytes(bytes);
                        let wire = |unix_s: u64| (unix_s + 2_208_988_800) as u32;
                        (wire(before)..=wire(after)).contains(&since_1900)
                    }),
                    _ => received.ends_with(b"\r\n") && received.len() < 512,
                };
                assert!(right, "{name}: {}", received.escape_ascii());
                assert_eq!(host.end(peer), Some(End::Finished), "{name} {refused}");
            }
        }
    }
}

#[test]
fn an_answer_with_no_room_at_first_is_given_although_the_peer_has_finished() {
    for name in ["daytime", "time", "qotd"] {
        let mut host = start(&mode(name).full_at(1));
        let peer = host.connect();
        if host.end(peer).is_none() {
            host.peer_finishes(peer);
        }
        assert!(!host.received(peer).is_empty(), "{name}");
        assert_eq!(host.end(peer), Some(End::Finished), "{name}");
    }
}

#[test]
fn quotes_follow_each_other_and_come_around() {
    let mut host = start(&mode("qotd").set("quotes", "one, two"));
    let said: Vec<String> = (0..3)
        .map(|_| {
            let peer = host.connect();
            text(&host, peer)
        })
        .collect();
    assert_eq!(said, ["one\r\n", "two\r\n", "one\r\n"]);
    let long = "x".repeat(510);
    for answer in [
        mode("qotd").set("quotes", &long).check(),
        mode("qotd").set("quotes", &long).start().map(drop),
    ] {
        assert!(answer.is_err_and(|reason| reason.starts_with("quotes: one has 510 bytes")));
    }
}

#[test]
fn lines_without_end_wait_for_a_reader_and_cost_no_more_than_the_limit() {
    let limit = 16 * 1024;
    for refused in 0..4 {
        let mut host = start(
            &mode("chargen")
                .output_bytes_max(limit)
                .full_at(refused)
                .appetite(0),
        );
        let peer = host.connect();
        let mut read = 0;
        for step in [1, 73, 74, 5000, 16_000, 40_000] {
            host.peer_reads(peer, step);
            read += step;
            assert_eq!(host.received(peer).len(), read);
            assert!(host.queued(peer) <= limit);
        }
        let received = text(&host, peer);
        for (nth, line) in received.split("\r\n").enumerate() {
            let whole: String = (0..72)
                .map(|at| (b' ' + ((nth + at) % 95) as u8) as char)
                .collect();
            let right =
                line == whole || received.ends_with(line) && whole.starts_with(line.trim_end());
            assert!(right, "line {nth}: {line:?}");
        }
        // It is told of room once for each time that it was refused, and writes as much as fits.
        let told = host.transcript().matches("writable 1").count();
        assert!(told <= 8, "{told} times for {read} bytes");
        host.peer_vanishes(peer);
        assert_eq!(host.end(peer), Some(End::Lost));
    }
}

#[test]
fn lines_without_end_end_when_the_peer_finishes() {
    let mut host = start(&mode("chargen").output_bytes_max(2048).appetite(0));
    let peer = host.connect();
    host.send(peer, b"ignored");
    host.peer_reads(peer, 2000);
    host.peer_stops_reading(peer);
    host.peer_finishes(peer);
    // The end is told once the output is no longer in its way.
    while host.end(peer).is_none() && host.queued(peer) > 0 {
        host.peer_reads(peer, 500);
        assert!(host.received(peer).len() < 100_000, "it does not end");
    }
    assert_eq!(host.end(peer), Some(End::Finished));
}
