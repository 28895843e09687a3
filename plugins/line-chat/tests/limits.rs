//! What is bounded and what is kept from others: rooms, addresses, slow readers, telnet's orders, a rush.

mod support;

use std::time::Duration;

use polyport_line_chat::Chat;
use polyport_plugin::Address;
use polyport_plugin::testing::{FakeBus, Peer, Setup};
use support::Worker;

fn busy() -> Setup {
    Setup::of::<Chat>()
        .set("burst", "10000")
        .set("op_passwords", "correct horse")
}

#[test]
fn rooms_are_few_or_those_that_are_fixed_and_lines_of_others_carry_their_name() {
    let mut chat = Worker::start(busy());
    let (eve, bob) = (chat.join("eve"), chat.join("bob"));
    for nth in 1..8 {
        let shown = chat.ask(eve, &format!("/join room{nth}"));
        assert!(
            shown.contains(&format!("you are in #room{nth} (1 here)")),
            "{shown}"
        );
    }
    assert!(
        chat.ask(eve, "/join one-more")
            .contains("you are in 8 rooms; leave one")
    );
    chat.news(eve);
    chat.say(bob, "in the lobby");
    assert_eq!(chat.news(eve), "#lobby <bob> in the lobby\r\n");
    // A room in which nobody is any more is none, but what was said there is not forgotten.
    chat.say(eve, "in the last one");
    assert!(chat.ask(bob, "/rooms").contains("#room7"));
    chat.say(eve, "/part room7");
    assert!(!chat.ask(bob, "/rooms").contains("#room7"));
    let shown = chat.ask(bob, "/join room7");
    assert!(
        shown.contains("<eve> in the last one\r\n-- end of history --"),
        "{shown}"
    );

    let mut chat = Worker::start(Setup::of::<Chat>().set("fixed_rooms", "garden,den"));
    let bob = chat.join("bob");
    assert!(
        chat.ask(bob, "/join cellar")
            .contains("there is no #cellar; there are #lobby #garden #den")
    );
    assert!(chat.ask(bob, "/join den").contains("you are in #den"));
    assert!(chat.ask(bob, "/join lobby").contains("you speak in #lobby"));
}

#[test]
fn where_somebody_comes_from_is_shown_to_operators_only() {
    let mut chat = Worker::start(busy());
    let far = Address::Ip("192.0.2.7:999".parse().expect("an address"));
    let eve = chat.host.try_connect(far).expect("it may come");
    chat.say(eve, "eve");
    let (op, bob) = (chat.join("op"), chat.join("bob"));
    chat.say(op, "/op correct horse");
    chat.news(op);
    for line in ["/whois eve", "/who", "/names"] {
        assert!(!chat.ask(bob, line).contains("192.0.2.7"), "{line}");
    }
    assert!(chat.ask(op, "/whois eve").contains(", from 192.0.2.7"));
}

/// A session's input, and what of it is said and answered.
#[test]
fn orders_of_telnet_are_obeyed_and_never_said() {
    let mut chat = Worker::start(busy());
    let (eve, bob) = (chat.join("eve"), chat.join("bob"));
    chat.news(eve);
    #[rustfmt::skip]
    let rows: &[(&[u8], &str, &[u8])] = &[
        // Are you there.
        (b"a\xFF\xF6b\n", "<bob> ab\r\n", b"[yes]\r\n"),
        // The last character, and the line, taken back; a break and a go-ahead mean nothing.
        (b"ab\xFF\xF7c\n", "<bob> ac\r\n", b""), (b"ab\xFF\xF8c\n", "<bob> c\r\n", b""),
        (b"n\xC3\xA9\xFF\xF7o\n", "<bob> no\r\n", b""), (b"a\xFF\xF3\xFF\xF1\xFF\xF9b\n", "<bob> ab\r\n", b""),
        // What is asked for and offered is refused, once.
        (b"\xFF\xFD\x01a\xFF\xFB\x1F\xFF\xFD\x01\n", "<bob> a\r\n", b"\xFF\xFC\x01\xFF\xFE\x1F"),
        // A window's size that nobody has asked for is no text, also with a line's end in it.
        (b"\xFF\xFA\x1F\x00\x0A\x00\x0D\xFF\xF0a\n", "<bob> a\r\n", b""),
        // Interrupted: the line goes, and the mark is answered each time.
        (b"half\xFF\xF4\xFF\xFD\x06a\n", "<bob> a\r\n", b"\xFF\xFC\x06"),
        (b"half\xFF\xF4\xFF\xFD\x06b\n", "<bob> b\r\n", b"\xFF\xFC\x06"),
    ];
    for (input, said, answer) in rows {
        let before = chat.host.received(bob).len();
        chat.host.send(bob, input);
        assert_eq!(chat.news(eve), *said, "{input:?}");
        assert_eq!(&chat.host.received(bob)[before..], *answer, "{input:?}");
    }
}

#[test]
fn who_does_not_read_holds_up_nobody_else() {
    let mut chat = Worker::start(busy().output_bytes_max(2000));
    let (stuck, bob, eve) = (chat.join("stuck"), chat.join("bob"), chat.join("eve"));
    chat.news(eve);
    chat.host.peer_stops_reading(stuck);
    for nth in 0..300 {
        chat.say(bob, &format!("line {nth}"));
        assert_eq!(chat.news(eve), format!("<bob> line {nth}\r\n"));
    }
    assert!(chat.host.queued(stuck) <= 2000);
}

#[test]
fn a_crowd_that_comes_at_once_is_all_there() {
    const RUSH: usize = 250;
    let mut chat = Worker::start(busy());
    let first = chat.join("first");
    let rush: Vec<Peer> = (0..RUSH).map(|_| chat.host.connect()).collect();
    for (nth, peer) in rush.iter().enumerate() {
        chat.host.send(*peer, format!("p{nth}\n").as_bytes());
    }
    for (nth, peer) in rush.iter().enumerate() {
        let shown = chat.news(*peer);
        assert!(shown.contains(&format!("you are p{nth};")), "{shown}");
        assert!(shown.contains("-- you are in #lobby ("), "{shown}");
    }
    assert!(chat.ask(first, "/rooms").contains(&format!("{}", RUSH + 1)));
    // Above a hundred, nobody is told who comes: it would be a line for each of them to each.
    let told = String::from_utf8(chat.host.received(first).to_vec()).expect("text");
    assert_eq!(told.matches(" joined #lobby").count(), 99);
    for peer in rush {
        chat.host.peer_vanishes(peer);
    }
    assert!(
        chat.ask(first, "/rooms")
            .contains("#lobby                1")
    );
}

#[test]
fn a_carry_renews_no_pace_and_forgets_nobody_who_is_counted() {
    let setup = Setup::of::<Chat>().bus(&FakeBus::new());
    let mut chat = Worker::start(setup);
    let (eve, bob) = (chat.join("eve"), chat.join("bob"));
    chat.news(eve);
    let paste: String = (0..100).map(|n| format!("line {n}\n")).collect();
    chat.host.send(bob, paste.as_bytes());
    let mut heard = chat.news(eve).lines().count();
    for _ in 0..10 {
        chat.host.carry().expect("all are carried");
        heard += chat.news(eve).lines().count();
    }
    assert!(heard <= 20, "{heard} lines");
    assert_eq!(chat.host.metric("members"), 2);
    chat.host.advance(Duration::from_secs(60));
    assert_eq!(heard + chat.news(eve).lines().count(), 100);
}
