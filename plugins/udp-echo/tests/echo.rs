//! The whole plugin on a host without sockets: what it answers, what it refuses, how it stops.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use polyport_plugin::prelude::*;
use polyport_plugin::testing::{Dice, FakeHost, Sent, Setup};
use polyport_udp_echo::{UdpEcho, polyport_plugin_v1};

/// So many exchanges are taken for ever.
const ENDLESS: usize = 5000;
/// Of one random world.
const DATAGRAMS: usize = 10_000;
const MINUTE: Duration = Duration::from_secs(60);

fn setup() -> Setup {
    Setup::of::<UdpEcho>().endpoints(&["udp://127.0.0.1:7007"])
}

fn start(setup: &Setup) -> FakeHost {
    setup.start().expect("the settings are good")
}

fn address(text: &str) -> Address {
    Address::Ip(text.parse().expect("an address"))
}

fn logged(host: &FakeHost) -> Vec<String> {
    host.log().into_iter().map(|line| line.text).collect()
}

#[test]
fn each_datagram_comes_back_as_it_is() {
    let table = Setup::table(polyport_plugin_v1()).endpoints(&["udp://127.0.0.1:7"]);
    let mut host = start(&table);
    let peers = [
        address("127.0.0.1:5000"),
        address("192.0.2.1:5000"),
        address("[fe80::1%2]:5000"),
        Address::Unix,
    ];
    for peer in peers {
        for size in [0, 1, 512, 1472, 65_507] {
            let payload: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            let local = match peer {
                Address::Ip(ip) if ip.is_ipv6() => address("[fe80::2%2]:7"),
                Address::Ip(_) | Address::Unix => address("127.0.0.1:7"),
            };
            assert_eq!(host.datagram_to(local, false, peer, &payload), Ok(()));
            assert_eq!(host.take_sent(), [Sent { to: peer, payload }]);
        }
    }
}

/// `POLYPORT_SEED=N` repeats a world, `POLYPORT_SECONDS=N` makes more of them for so long.
#[test]
fn nothing_is_sent_unasked_and_never_more_than_came() {
    let number = |name| std::env::var(name).map(|text| text.parse().expect("a number"));
    let lasting = Duration::from_secs(number("POLYPORT_SECONDS").unwrap_or(0));
    let begun = Instant::now();
    let (first, mut seed) = (number("POLYPORT_SEED").unwrap_or(1), 0);
    while seed < 2 || begun.elapsed() < lasting {
        let world = std::panic::catch_unwind(|| one_world(first + seed));
        assert!(world.is_ok(), "POLYPORT_SEED={}", first + seed);
        seed += 1;
    }
    println!("{seed} worlds of {DATAGRAMS} datagrams");
}

/// Datagrams of anybody to anybody, again and again the same in some, as anything may be forged. Every
/// other world is without limits, so that they are not what keeps answers few.
fn one_world(seed: u64) {
    let open = setup().set("rate", "0").set("repeats", "0");
    let is_open = seed % 2 == 1;
    let mut host = start(&if is_open { open } else { setup() });
    let mut dice = Dice::new(seed);
    let (mut came, mut went) = (0, 0);
    let mut last = (address("192.0.2.1:5000"), vec![1]);
    for _ in 0..DATAGRAMS {
        if is_open || dice.below(3) == 0 {
            let ip = [(); 4].map(|()| dice.below(256) as u8);
            let peer = Address::Ip((ip, dice.below(65_536) as u16).into());
            last = (peer, vec![dice.below(256) as u8; dice.below(600)]);
        }
        let (peer, payload) = &last;
        let to_many = dice.below(10) == 0;
        let local = address("192.0.2.9:7007");
        assert_eq!(host.datagram_to(local, to_many, *peer, payload), Ok(()));
        let sent = host.take_sent();
        assert!(sent.len() <= 1);
        came += payload.len();
        for answer in sent {
            assert_eq!((answer.to, &answer.payload), (*peer, payload));
            went += answer.payload.len();
        }
        if dice.below(100) == 0 {
            host.advance(Duration::from_millis(dice.below(100_000) as u64));
            assert_eq!(host.take_sent(), []);
        }
    }
    assert!(went > 0 && went < came, "{went} of {came}");
}

#[test]
fn a_refused_datagram_is_counted_by_its_reason_in_a_line_a_minute() {
    let open = setup().udp_ports(&[7008]).sends_max(0);
    let mut host = start(&open);
    for port in [7, 53, 7007, 7008, 1900, 5000] {
        let peer = Address::Ip(([192, 0, 2, 1], port).into());
        let local = address("127.0.0.1:7007");
        assert_eq!(host.datagram_to(local, false, peer, b"x"), Ok(()));
    }
    host.advance(MINUTE - Duration::from_millis(1));
    assert_eq!(logged(&host), [] as [&str; 0]);
    host.advance(Duration::from_millis(1));
    assert_eq!(
        logged(&host),
        [
            "6 in, 0 out, 6 dropped (port below 1024 2, our own port 1, a port of this daemon 1, \
          refused port 1, batch full 1); most of them, 6, from 192.0.2.1"
        ]
    );
    // A quiet minute is not worth a line, nor a timer.
    assert_eq!(host.timers(), 0);
    host.advance(MINUTE * 3);
    assert_eq!(logged(&host).len(), 1);
    assert_eq!(host.datagram(address("192.0.2.1:7"), b"x"), Ok(()));
    host.drain(Duration::ZERO);
    assert_eq!(
        logged(&host)[1],
        "1 in, 0 out, 1 dropped (port below 1024 1); most of them, 1, from 192.0.2.1"
    );
}

#[test]
fn a_source_has_its_rate_and_a_prefix_is_one_source() {
    // (settings, sources by turns, datagrams in one moment, how many are answered)
    type Case = (
        &'static [(&'static str, &'static str)],
        &'static [&'static str],
        usize,
        usize,
    );
    let cases: [Case; 7] = [
        (&[], &["192.0.2.1:5000"], 300, 200),
        (&[], &["192.0.2.1:5000", "192.0.2.1:5001"], 300, 200),
        (&[], &["192.0.2.1:5000", "192.0.2.2:5000"], 300, 300),
        (
            &[],
            &["[2001:db8::1]:5000", "[2001:db8::ffff:1]:5000"],
            300,
            200,
        ),
        (&[], &["127.0.0.1:5000"], 300, 300),
        (&[("rate", "100")], &["127.0.0.1:5000"], 300, 200),
        (
            &[("rate", "0"), ("service_rate", "50")],
            &["192.0.2.1:5000"],
            300,
            50,
        ),
    ];
    for (settings, sources, count, expected) in cases {
        let with = |setup: Setup, (option, text): &(&str, &str)| setup.set(option, text);
        let mut host = start(&settings.iter().fold(setup(), with));
        for nth in 0..count {
            let peer = address(sources[nth % sources.len()]);
            let payload = (nth as u32).to_be_bytes();
            assert_eq!(host.datagram(peer, &payload), Ok(()));
        }
        assert_eq!(host.take_sent().len(), expected, "{settings:?} {sources:?}");
    }
}

/// Two services whose answers reach each other, as one forged datagram makes them; how many of
/// them there were before it was over.
fn exchanges(one: &mut FakeHost, other: &mut FakeHost, ports: [u16; 2]) -> usize {
    let [first, second] = ports.map(|port| Address::Ip(([127, 0, 0, 1], port).into()));
    // It says that it comes from the second service.
    let mut flying = VecDeque::from([(first, b"ping".to_vec())]);
    let mut count = 0;
    while let Some((to, payload)) = flying.pop_front().filter(|_| count < ENDLESS) {
        let (host, from) = if to == first {
            (&mut *one, second)
        } else {
            (&mut *other, first)
        };
        assert_eq!(host.datagram_to(to, false, from, &payload), Ok(()));
        for answer in host.take_sent() {
            count += 1;
            flying.push_back((answer.to, answer.payload));
        }
    }
    count
}

#[test]
fn two_services_of_one_daemon_do_not_answer_each_other() {
    // The later one knows of the earlier, and one of them is enough.
    for (known_to_one, known_to_other) in [(&[7007, 7008][..], &[][..]), (&[], &[7007, 7008])] {
        let mut one = start(&setup().udp_ports(known_to_one));
        let mut other = start(&setup().udp_ports(known_to_other));
        assert!(exchanges(&mut one, &mut other, [7007, 7008]) <= 1);
    }
    let [mut one, mut other] = [start(&setup()), start(&setup())];
    assert_eq!(
        exchanges(&mut one, &mut other, [7007, 7007]),
        0,
        "two machines"
    );
}

#[test]
fn a_loop_that_no_rule_knows_stops_by_itself_and_is_logged_once() {
    let [mut one, mut other] = [start(&setup()), start(&setup())];
    let count = exchanges(&mut one, &mut other, [51423, 51424]);
    assert!((32..=64).contains(&count), "{count} answers");
    let warning = "127.0.0.1:51424 sends the same datagram again and again, as two services do \
                   that answer each other; it is not answered for 60s";
    assert_eq!(logged(&one), [warning]);
    assert_eq!(exchanges(&mut one, &mut other, [51423, 51424]), 0, "muted");
    one.advance(MINUTE);
    other.advance(MINUTE);
    assert!(
        exchanges(&mut one, &mut other, [51423, 51424]) > 0,
        "no longer muted"
    );
    let mutes = |lines: Vec<String>| lines.iter().filter(|line| line.contains("again")).count();
    assert_eq!(mutes(logged(&one)), 2);
    // Without the guard it would go on for ever.
    let open = setup().set("repeats", "0");
    let [mut one, mut other] = [start(&open), start(&open)];
    let count = exchanges(&mut one, &mut other, [51423, 51424]);
    assert_eq!(count, ENDLESS);
}

#[test]
fn discard_answers_nobody() {
    let mut host = start(&setup().set("mode", "discard"));
    assert_eq!(host.datagram(address("127.0.0.1:5000"), b"x"), Ok(()));
    assert_eq!(host.take_sent(), []);
    host.advance(MINUTE);
    assert!(logged(&host)[0].starts_with("1 in, 0 out, 1 dropped (discarded 1)"));
}

#[test]
fn dangerous_settings_are_refused_with_a_remedy() {
    const PUBLIC: &[&str] = &["udp://127.0.0.1:7", "udp://0.0.0.0:7"];
    const LOCAL: &[&str] = &["udp://[::1]:7", "unixgram:/run/echo"];
    for (endpoints, option, text, reason) in [
        (LOCAL, "mode", "echo", ""),
        (LOCAL, "mode", "discard", ""),
        (LOCAL, "mode", "chargen", "CVE-2024-2169"),
        (LOCAL, "mode", "qotd", "CVE-2024-2169"),
        (LOCAL, "mode", "daytime", "CVE-2024-2169"),
        (LOCAL, "mode", "time", "no time over UDP"),
        (LOCAL, "mode", "shout", "\"echo\" or \"discard\""),
        (LOCAL, "refuse_ports", "53,http", "\"http\" is no port"),
        (LOCAL, "refuse_ports", "65536", "\"65536\" is no port"),
        (
            LOCAL,
            "allow",
            "192.0.2.0/33",
            "\"192.0.2.0/33\" is no network",
        ),
        (
            PUBLIC,
            "mode",
            "echo",
            "udp://0.0.0.0:7 can be reached from elsewhere",
        ),
        (
            PUBLIC,
            "mode",
            "echo",
            "public = true, in [services.under-test.settings]",
        ),
        (PUBLIC, "public", "true", ""),
        (PUBLIC, "allow", "192.0.2.0/24", ""),
        (PUBLIC, "allow", "192.0.2.1, 2001:db8::/32", ""),
        (
            &["udp://[::]:7"],
            "public",
            "false",
            "udp://[::]:7 can be reached",
        ),
    ] {
        let setup = Setup::of::<UdpEcho>()
            .endpoints(endpoints)
            .set(option, text);
        for answer in [setup.check(), setup.start().map(drop)] {
            let said = answer.err().unwrap_or_default();
            let right = if reason.is_empty() {
                said.is_empty()
            } else {
                said.contains(reason)
            };
            assert!(right, "{endpoints:?} {option} = {text}: {said}");
        }
    }
}

#[test]
fn a_datagram_for_which_there_is_no_room_is_lost_and_no_other() {
    let peer = address("192.0.2.1:5000");
    let runs = setup().each_call_refused(|host, _| {
        for payload in [&b"one"[..], b"two", b"three"] {
            let _ = host.datagram(peer, payload);
        }
        let lost = usize::from(host.has_refused());
        assert!(host.take_sent().len() >= 3 - lost, "{}", host.transcript());
    });
    assert!(runs > 3, "{runs} runs");
}
