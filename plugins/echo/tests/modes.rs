//! Each mode, with its input cut everywhere, its output refused at every write, and its peer slow.

use polyport_echo::{Echo, polyport_plugin_v1};
use polyport_plugin::End;
use polyport_plugin::testing::{FakeHost, Setup, Split};

/// A whole conversation: what the peer sends, whether it then finishes, what it gets, how it ends.
struct Case {
    settings: &'static [(&'static str, &'static str)],
    sent: &'static str,
    finishes: bool,
    received: &'static str,
    end: Option<End>,
}

const fn case(
    settings: &'static [(&'static str, &'static str)],
    sent: &'static str,
    finishes: bool,
    received: &'static str,
    end: Option<End>,
) -> Case {
    Case {
        settings,
        sent,
        finishes,
        received,
        end,
    }
}

const DONE: Option<End> = Some(End::Finished);
const LINE: (&str, &str) = ("mode", "line");
const WHO: (&str, &str) = ("mode", "who");

#[rustfmt::skip]
const CASES: &[Case] = &[
    // Everything comes back, and the end only after it.
    case(&[], "hello\nworld", false, "hello\nworld", None),
    case(&[], "hello\nworld", true, "hello\nworld", DONE),
    case(&[], "", true, "", DONE),
    case(&[("max_bytes", "8B")], "hello\nworld", false, "hello\nwo", DONE),
    case(&[("max_bytes", "8B")], "hello\nwo", false, "hello\nwo", DONE),
    case(&[("max_bytes", "8B")], "hello\nw", false, "hello\nw", None),
    // Only whole lines come back; the last one also without its end.
    case(&[LINE], "one\r\ntwo\nthr", false, "one\r\ntwo\n", None),
    case(&[LINE], "one\r\ntwo\nthr", true, "one\r\ntwo\nthr", DONE),
    case(&[LINE], "one\ntwo\n", true, "one\ntwo\n", DONE),
    case(&[LINE], "", true, "", DONE),
    case(&[LINE, ("line_max", "3B")], "abc\nabcd\n", false, "abc\n", DONE),
    case(&[LINE, ("line_max", "3B")], "abc\r\nabcdef", false, "abc\r\n", DONE),
    case(&[LINE, ("max_bytes", "6B")], "one\ntwo\n", false, "one\n", DONE),
    case(&[LINE, ("max_bytes", "8B")], "one\ntwo\n", false, "one\ntwo\n", DONE),
    // The greeting comes unasked, and one line is answered.
    case(&[WHO], "", false, "You are 127.0.0.1:50001\r\n", None),
    case(&[WHO], "hello\nmore\n", false,
        "You are 127.0.0.1:50001\r\nYou entered 5 characters: hello\r\n", DONE),
    case(&[WHO], "hello", true,
        "You are 127.0.0.1:50001\r\nYou entered 5 characters: hello\r\n", DONE),
    case(&[WHO], "", true, "You are 127.0.0.1:50001\r\n", DONE),
    case(&[WHO, ("line_max", "4B")], "hello\n", false, "You are 127.0.0.1:50001\r\n", DONE),
    case(&[WHO, ("max_bytes", "4B")], "hello\n", false, "You are 127.0.0.1:50001\r\n", DONE),
];

#[test]
fn a_conversation_is_the_same_however_it_is_cut_and_refused() {
    for case in CASES {
        for split in splits(case.sent.len()) {
            // Write 0 is none. In `who`, the first is the greeting: refusing it refuses the session.
            for refused in
                (0..case.sent.len() + 3).filter(|n| *n != 1 || case.settings.first() != Some(&WHO))
            {
                let mut host = start(setup(case).split(split).full_at(refused));
                let peer = host.connect();
                host.send(peer, case.sent.as_bytes());
                if case.finishes && host.end(peer).is_none() {
                    host.peer_finishes(peer);
                }
                let place = format!(
                    "{:?} {:?} {split:?}, write {refused} refused\n{}",
                    case.settings,
                    case.sent,
                    host.transcript()
                );
                let received = String::from_utf8_lossy(host.received(peer)).into_owned();
                assert_eq!(received, case.received, "{place}");
                assert_eq!(host.end(peer), case.end, "{place}");
            }
        }
    }
}

#[test]
fn a_peer_that_reads_a_byte_at_a_time_gets_the_same() {
    for case in CASES {
        let mut host = start(setup(case).output_bytes_max(64));
        let peer = host.connect();
        host.peer_stops_reading(peer);
        host.send(peer, case.sent.as_bytes());
        if case.finishes && host.end(peer).is_none() {
            host.peer_finishes(peer);
        }
        for _ in 0..200 {
            host.peer_reads(peer, 1);
        }
        let received = String::from_utf8_lossy(host.received(peer)).into_owned();
        assert_eq!(
            received, case.received,
            "{:?} {:?}",
            case.settings, case.sent
        );
        assert_eq!(
            host.end(peer),
            case.end,
            "{:?} {:?}",
            case.settings,
            case.sent
        );
    }
}

#[test]
fn the_last_line_waits_for_room_after_the_peer_has_finished() {
    let setup = Setup::of::<Echo>().set("mode", "line").output_bytes_max(16);
    let mut host = start(setup);
    let peer = host.connect();
    host.peer_stops_reading(peer);
    host.send(peer, b"1234567890\n");
    host.send(peer, b"no end");
    host.peer_finishes(peer);
    assert_eq!(host.queued(peer), 11);
    host.peer_reads(peer, 6);
    host.peer_reads(peer, 5);
    host.peer_reads_on(peer);
    assert_eq!(host.received(peer), b"1234567890\nno end");
    assert_eq!(host.end(peer), DONE);
}

#[test]
fn once_gives_back_the_first_read_only() {
    for (split, received) in [
        (Split::Whole, "hello\nworld"),
        (Split::At(3), "hel"),
        (Split::EveryByte, "h"),
    ] {
        let setup = Setup::of::<Echo>().set("mode", "once").split(split);
        let runs = setup.each_write_refused(|host, refused| {
            let peer = host.connect();
            host.send(peer, b"hello\nworld");
            let place = format!("{split:?}, write {refused} refused");
            assert_eq!(host.received(peer), received.as_bytes(), "{place}");
            assert_eq!(host.end(peer), DONE, "{place}");
        });
        assert_eq!(runs, 2, "it writes once");
    }
    let mut host = start(Setup::of::<Echo>().set("mode", "once"));
    let peer = host.connect();
    host.peer_finishes(peer);
    assert_eq!((host.received(peer), host.end(peer)), (&b""[..], DONE));
}

#[test]
fn the_reason_of_an_end_is_given() {
    for (settings, sent, reason) in [
        (
            &[LINE, ("line_max", "1B")][..],
            "ab\n",
            "close 1 \"a line is longer than line_max\"",
        ),
        (
            &[("max_bytes", "2B")],
            "abc",
            "close 1 \"max_bytes is reached\"",
        ),
        (&[("mode", "once")], "a", "close 1 \"said once\""),
        (&[WHO], "a\n", "close 1 \"answered\""),
    ] {
        let mut host = start(with(settings));
        let peer = host.connect();
        host.send(peer, sent.as_bytes());
        assert!(host.transcript().contains(reason), "{}", host.transcript());
    }
}

#[test]
fn wrong_settings_are_refused() {
    for (option, text) in [
        ("mode", "shout"),
        ("line_max", "0"),
        ("line_max", "1GiB"),
        ("max_bytes", "-1"),
        ("nonsense", "1"),
    ] {
        let refusal = Setup::of::<Echo>().set(option, text).start().err();
        assert!(
            refusal.is_some_and(|reason| reason.contains(option)),
            "{option} = {text}"
        );
    }
}

#[test]
fn the_exported_table_is_that_of_the_protocol() {
    let mut host = start(Setup::table(polyport_plugin_v1()).set("mode", "line"));
    let peer = host.connect();
    host.send(peer, b"a\nb");
    assert_eq!(host.received(peer), b"a\n");
}

fn splits(length: usize) -> Vec<Split> {
    let mut splits = vec![Split::Whole, Split::EveryByte];
    splits.extend((1..length).map(Split::At));
    splits
}

fn setup(case: &Case) -> Setup {
    with(case.settings)
}

fn with(settings: &[(&str, &str)]) -> Setup {
    settings
        .iter()
        .fold(Setup::of::<Echo>(), |setup, (option, text)| {
            setup.set(option, text)
        })
}

fn start(setup: Setup) -> FakeHost {
    setup.start().expect("the settings are good")
}
