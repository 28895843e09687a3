//! Conversations in one worker: what people type and what they are shown.

mod support;

use std::time::Duration;

use polyport_line_chat::Chat;
use polyport_plugin::testing::{FakeBus, Setup, Split};
use polyport_plugin::{Address, End};
use support::Worker;

fn plain() -> Worker {
    Worker::start(Setup::of::<Chat>())
}

#[test]
fn a_whole_conversation_through_a_pipe_whatever_way_it_is_cut() {
    for split in [Split::Whole, Split::EveryByte, Split::At(3), Split::At(7)] {
        let mut chat = Worker::start(Setup::of::<Chat>().split(split).set("motd", "Welcome"));
        let eve = chat.join("eve");
        let bob = chat.host.connect();
        chat.host
            .send(bob, b"bob\nhi\r\n//slash\r\0:waves\n/quit bye now");
        chat.host.peer_finishes(bob);
        assert_eq!(
            chat.news(bob),
            "Welcome\r\nnick: -- you are bob; /help says what you can do\r\n-- you are in #lobby (2 here)\r\n"
        );
        assert_eq!(
            chat.news(eve),
            "-- bob joined #lobby (2 here)\r\n<bob> hi\r\n<bob> /slash\r\n* bob waves\r\n-- bob left #lobby (bye now)\r\n"
        );
        assert_eq!(chat.host.end(bob), Some(End::Finished));
    }
}

#[test]
fn nothing_is_lost_when_output_is_full_at_any_write() {
    for refused in 1..40 {
        let mut chat = Worker::start(Setup::of::<Chat>().full_at(refused));
        let (eve, bob) = (chat.host.connect(), chat.host.connect());
        chat.say(eve, "eve");
        chat.say(bob, "bob");
        for line in ["one", "two", "/me three", "four"] {
            chat.say(bob, line);
        }
        let shown = chat.news(eve);
        let said: Vec<&str> = shown
            .lines()
            .filter(|line| line.contains("bob>") || line.starts_with("* bob"))
            .collect();
        assert_eq!(
            said,
            ["<bob> one", "<bob> two", "* bob three", "<bob> four"],
            "{refused}"
        );
    }
}

#[test]
fn a_carry_at_any_moment_changes_nothing() {
    for moment in 1..40 {
        let bus = FakeBus::new();
        let setup = Setup::of::<Chat>().bus(&bus).carried_at(moment);
        let mut chat = Worker::start(setup);
        let mut other = Worker::start(Setup::of::<Chat>().bus(&bus));
        let eve = other.join("eve");
        let bob = chat.host.connect();
        for bytes in [
            "bo",
            "b\nhel",
            "lo\n/join den\n",
            "in the den\n/ignore mal",
            "lory\n",
            "/ignore\n",
        ] {
            chat.host.send(bob, bytes.as_bytes());
            chat.host.hear_bus();
        }
        other.say(eve, "/join den");
        other.say(eve, "hi bob");
        let shown = chat.news(bob);
        for expected in [
            "you are in #den",
            "you ignore mallory",
            "\r\n<eve> hi bob\r\n",
        ] {
            assert_eq!(
                shown.matches(expected).count(),
                if expected.contains("mallory") { 2 } else { 1 },
                "{moment}: {shown}"
            );
        }
        let seen = other.news(eve);
        assert_eq!(seen.matches("<bob> hello").count(), 1, "{moment}: {seen}");
        assert!(!seen.contains("node lost"), "{moment}: {seen}");
        assert!(bus.holder("nick.bob").is_some());
    }
}

/// What one that is alone is shown for each line.
#[test]
fn each_line_is_answered() {
    #[rustfmt::skip]
    let rows = [
        ("hello", ""),
        ("/echo on", "echo is on"), ("hello", "<bob> hello"), ("/me waves", "* bob waves"),
        ("/echo off", "echo is off"),
        ("/who", "nick  here     rooms\r\n bob   0s       #lobby"),
        ("/names", "#lobby: bob"), ("/rooms", "#lobby                1"),
        ("/whois bob", "bob: here for 0s, in #lobby"), ("/whois eve", "-- there is no eve here"),
        ("/topic", "#lobby has no topic"), ("/topic tea and cake", "-- bob set the topic of #lobby: tea and cake"),
        ("/topic", "#lobby: tea and cake"),
        ("/join den", "-- you are in #den (1 here)"), ("/join #lobby", "-- you speak in #lobby"),
        ("/join No Room", "-- you are in #no (1 here)"), ("/join !", "-- a room has 1 to 32"),
        ("/part den", "you are in #no now"), ("/part den", "-- you are not in #den"), ("/part", "you are in #lobby now"),
        ("/part", "you are in no room now"), ("hello", "-- you are in no such room; /join one first"),
        ("/part", "-- you are in no room"), ("/names", "-- you are in no room"),
        ("/join lobby", "<bob> hello\r\n"),
        ("/nick rob", "you are rob now"), ("/nick rob", "you are rob now"), ("/nick Rob", "you are Rob now"),
        ("/nick a b", "-- that has a ' '"),
        ("/nick", "-- /nick NAME"), ("/nick admin", "-- admin is reserved"),
        ("/away tea", "you are away"), ("/whois rob", "away: tea"), ("/back", "you are back"),
        ("/msg rob psst", "*Rob* psst\r\n-> Rob: psst"), ("/reply again", "*Rob* again\r\n-> Rob: again"),
        ("/msg eve psst", "-- there is no eve here"), ("/msg eve", "-- /msg NICK TEXT"),
        ("/ignore eve", "you ignore eve"), ("/ignore", "you ignore eve"), ("/unignore eve", "you hear eve"),
        ("/ignore", "you ignore nobody"), ("/quiet on", "quiet is on"), ("/color on", "color is on"),
        ("/color off", "color is off"), ("/time hm", ":"), ("/time off", "time is off"), ("/time now", "-- /time off|hm|iso"),
        ("/mode tea", "-- /mode text|json"), ("/motd", ""), ("/uptime", "up for 0s"),
        ("/token", "-- /resume Rob:"), ("/resume x", "-- /resume TOKEN comes in place"),
        ("/history 2", "* bob waves\r\n-- end of history --"),
        ("/help", "/who [#ROOM]"), ("/help kick", "/kick NICK [WHY]: send"), ("/frob", "-- there is no /frob"),
        ("/kick rob", "-- that is for operators"), ("/op wrong", "-- that is no operator's password"),
        ("/op correct horse", "you are an operator"), ("/help", "/ban WHOM"),
        ("/kick eve", "-- there is no eve here"), ("/ban eve 1h rude", "done"), ("/bans", "eve is banned by Rob for"),
        ("/unban eve", "done"), ("/ban eve 2h", "done"), ("/bans", "eve is banned by Rob for 2h 0m\r\n"), ("/unban eve", "done"),
        ("/bans", "nobody is banned"), ("/mute rob 5m", "-- you are muted for 5m"),
        ("hello", "-- you are muted: nobody hears you"), ("/unmute rob", "-- you may speak again\r\ndone"),
        ("/lock den key", "done"), ("/limit den 3", "done"), ("/unlock den", "done"), ("/announce soon", "-- Rob announces: soon"),
        ("/limit den", "-- /limit ROOM COUNT"),
    ];
    let setup = Setup::of::<Chat>()
        .set("op_passwords", "correct horse")
        .set("burst", "1000");
    let mut chat = Worker::start(setup);
    let bob = chat.join("bob");
    for (line, expected) in rows {
        let shown = chat.ask(bob, line);
        assert!(shown.contains(expected), "{line}: {shown:?}");
        assert!(
            !expected.is_empty() || shown.is_empty(),
            "{line}: {shown:?}"
        );
    }
}

#[test]
fn what_an_operator_orders_is_done_before_what_he_says_behind_it() {
    let mut chat = Worker::start(Setup::of::<Chat>().set("op_passwords", "correct horse"));
    let bob = chat.join("bob");
    chat.ask(bob, "/op correct horse");
    let shown = chat.ask(bob, "/ban eve 1h\n/bans\n/unban eve\n/bans\n/quit");
    assert_eq!(
        shown,
        "done\r\neve is banned by bob for 1h 0m\r\ndone\r\nnobody is banned or muted\r\n"
    );
    assert_eq!(chat.host.end(bob), Some(End::Finished));
}

#[test]
fn a_nick_is_asked_for_until_it_is_good() {
    let mut chat = plain();
    chat.join("bob");
    let eve = chat.host.connect();
    assert_eq!(chat.news(eve), "nick: ");
    for (line, answer) in [
        ("BOB", "-- BOB is taken; try BOB2"),
        ("NICK bob", "-- bob is taken; try bob2"),
        ("/nick a_very_long_nick_indeed", "longer than 16"),
        ("server", "reserved"),
        ("two words", "has a ' '"),
        ("/who", "first say what you want to be called"),
        ("/frob", "there is no /frob"),
        ("/resume bob:0", "a token is what /token has shown"),
        (
            "/resume bob:00000000000000000000000000000000",
            "cannot be taken back with that token",
        ),
    ] {
        let shown = chat.ask(eve, line);
        assert!(
            shown.contains(answer) && shown.ends_with("nick: "),
            "{line}: {shown:?}"
        );
    }
    assert!(chat.ask(eve, "").contains("you are guest"));
    let other = chat.host.connect();
    assert!(chat.ask(other, "guest").contains("you are guest"));
}

#[test]
fn who_says_no_nick_is_sent_away_and_who_has_one_may_be_silent() {
    let mut chat = plain();
    let bob = chat.join("bob");
    let eve = chat.host.connect();
    chat.host.advance(Duration::from_secs(61));
    assert_eq!(chat.host.end(eve), Some(End::Finished));
    assert_eq!(chat.host.timers(), 0, "nothing is left to wait for");
    chat.host.advance(Duration::from_secs(86_400));
    assert_eq!(chat.host.end(bob), None);
    assert_eq!(chat.news(bob), "", "nothing is sent while idle");
}

#[test]
fn a_paste_arrives_whole_and_slowly() {
    let mut chat = plain();
    let (eve, bob) = (chat.join("eve"), chat.join("bob"));
    chat.news(eve);
    let paste: String = (0..200).map(|n| format!("line {n}\n")).collect();
    chat.host.send(bob, paste.as_bytes());
    let at_once = chat.news(eve).lines().count();
    assert!((19..=20).contains(&at_once), "{at_once}");
    chat.host.advance(Duration::from_secs(10));
    let later = chat.news(eve).lines().count();
    assert!((38..=42).contains(&later), "{later}");
    chat.host.advance(Duration::from_secs(60));
    let rest = chat.news(eve);
    assert_eq!(at_once + later + rest.lines().count(), 200);
    assert!(rest.ends_with("<bob> line 199\r\n"));
}

#[test]
fn a_reader_that_stops_gets_what_there_is_and_is_told_what_is_not() {
    let mut chat = Worker::start(
        Setup::of::<Chat>()
            .set("burst", "10000")
            .output_bytes_max(2000),
    );
    let (eve, bob) = (chat.join("eve"), chat.join("bob"));
    chat.news(eve);
    chat.host.peer_stops_reading(eve);
    for n in 0..500 {
        chat.say(bob, &format!("line {n}"));
    }
    assert!(chat.host.queued(eve) <= 2000);
    chat.host.peer_reads_on(eve);
    let shown = chat.news(eve);
    let lines: Vec<&str> = shown.lines().collect();
    let skipped = lines
        .iter()
        .position(|line| line.contains("skipped, /history"));
    let at = skipped.unwrap_or_else(|| panic!("{shown}"));
    let count: usize = lines[at]
        .split(' ')
        .nth(1)
        .and_then(|it| it.parse().ok())
        .expect("a number");
    let numbers: Vec<usize> = lines
        .iter()
        .filter_map(|line| line.strip_prefix("<bob> line ")?.parse().ok())
        .collect();
    assert_eq!(numbers.len() + count, 500);
    assert!(numbers.is_sorted(), "and in order");
    assert_eq!(numbers.last(), Some(&499));
}

#[test]
fn lines_that_are_too_long_or_no_text_cost_nothing_but_a_notice() {
    let mut chat = plain();
    let (eve, bob) = (chat.join("eve"), chat.join("bob"));
    chat.news(eve);
    let answer = chat.ask(bob, &"x".repeat(1025));
    assert_eq!(
        answer,
        "-- that line is longer than 1024 characters, and was not said\r\n"
    );
    for _ in 0..1000 {
        chat.host.send(bob, &[b'x'; 60_000]);
    }
    assert!(chat.ask(bob, "").contains("longer than 1024"));
    assert_eq!(chat.news(eve), "");
    chat.host
        .send(bob, b"caf\xE9 \x1B[2J\xFF\xF1ok\xFF\xFD\x06\n");
    assert_eq!(chat.news(eve), "<bob> café ok\r\n");
    let all = chat.host.received(bob).to_vec();
    assert!(
        all.windows(3).any(|it| it == [255, 252, 6]),
        "the timing mark is refused"
    );
    let told = String::from_utf8_lossy(&all)
        .matches("read as Latin-1")
        .count();
    chat.host.send(bob, b"\xE9\n");
    assert_eq!((told, chat.news(eve)), (1, "<bob> é\r\n".to_owned()));
    chat.host
        .send(bob, b"half a line\xFF\xF4\xFF\xFD\x06a\xFF\xF7whole one\n");
    assert_eq!(chat.news(eve), "<bob> whole one\r\n");
    chat.host.send(bob, b"\x04");
    assert_eq!(chat.host.end(bob), Some(End::Finished));
}

#[test]
fn programs_speak_json() {
    let mut chat = plain();
    let bob = chat.join("bob");
    let bot = chat.host.connect();
    chat.news(bot);
    chat.host
        .send(bot, b"JSON\n{\"kind\":\"command\",\"text\":\"nick bot\"}\n");
    let shown = chat.news(bot);
    let kinds = |shown: &str| -> Vec<String> {
        let objects = shown.lines().map(serde_json::from_str::<serde_json::Value>);
        objects
            .map(|it| {
                it.expect(shown)["kind"]
                    .as_str()
                    .expect("a kind")
                    .to_owned()
            })
            .collect()
    };
    let objects = shown
        .strip_prefix("\r\n")
        .expect("the end of the question before it");
    assert_eq!(kinds(objects), ["prompt", "welcome", "room"]);
    for (line, kind) in [
        (r#"{"text":"hi","room":"nowhere"}"#, "error"),
        (r#"{"text":7}"#, "error"),
        (r#"{"kind":"msg","nick":"bob","text":"psst"}"#, "sent"),
        (r#"{"kind":"command","text":"names"}"#, "reply"),
        ("/names", "reply"),
    ] {
        let shown = chat.ask(bot, line);
        assert_eq!(kinds(&shown), [kind], "{line}");
    }
    chat.news(bob);
    chat.say(bot, r#"{"text":"hi \u001b[2Jthere"}"#);
    assert_eq!(chat.news(bob), "<bot> hi there\r\n");
    chat.say(bob, "say \"hello\"");
    let object: serde_json::Value = serde_json::from_str(&chat.news(bot)).expect("JSON");
    assert_eq!(object["nick"], "bob");
    assert_eq!(object["room"], "lobby");
    assert_eq!(object["text"], "say \"hello\"");
    assert!(object["seq"].is_u64());
}

#[test]
fn operators_are_obeyed_and_the_ignored_are_not_heard() {
    let setup = Setup::of::<Chat>()
        .set("op_passwords", "correct horse")
        .set("burst", "1000");
    let mut chat = Worker::start(setup);
    let (op, bob, mal) = (chat.join("op"), chat.join("bob"), chat.join("mal"));
    chat.say(op, "/op correct horse");
    chat.say(bob, "/ignore mal");
    chat.news(bob);
    for line in [
        "hi",
        "/me waves",
        "/msg bob psst",
        "/topic mine",
        "/nick evil",
        "hi",
        "/join den",
    ] {
        chat.say(mal, line);
    }
    assert_eq!(chat.news(bob), "");
    chat.say(op, "/lock vault secret");
    assert!(
        chat.ask(bob, "/join vault wrong")
            .contains("#vault is locked")
    );
    assert!(
        chat.ask(bob, "/join vault secret")
            .contains("you are in #vault")
    );
    chat.say(op, "/limit hut 1");
    chat.say(op, "/join hut");
    assert!(chat.ask(bob, "/join hut").contains("#hut is full"));
    chat.say(op, "/kick evil be gone");
    assert!(
        chat.news(mal)
            .ends_with("-- you were kicked by op: be gone\r\n")
    );
    assert_eq!(chat.host.end(mal), Some(End::Finished));
    chat.say(op, "/ban evil 1h rude");
    let again = chat.host.connect();
    assert!(
        chat.ask(again, "EVIL")
            .contains("you are banned for another")
    );
    assert_eq!(chat.host.end(again), Some(End::Finished));
    chat.say(op, "/ban 192.0.2.0/24");
    let far = Address::Ip("192.0.2.9:999".parse().expect("an address"));
    let stranger = chat.host.try_connect(far).expect("it is told why");
    assert!(chat.news(stranger).contains("you are banned"));
    let other = Address::Ip("198.51.100.1:999".parse().expect("an address"));
    let guest = chat.host.try_connect(other).expect("it may come");
    chat.say(guest, "far");
    assert!(
        chat.ask(guest, "/op correct horse")
            .contains("from this machine only")
    );
    for _ in 0..3 {
        chat.say(bob, "/op wrong password");
    }
    assert_eq!(chat.host.end(bob), Some(End::Finished));
}

#[test]
fn sources_come_only_so_often() {
    let mut chat = plain();
    let far = |port: u16| Address::Ip(([192, 0, 2, 1], port).into());
    for port in 0..12 {
        let peer = chat.host.try_connect(far(port)).expect("it may come");
        assert_eq!(chat.news(peer), "nick: ");
    }
    let peer = chat.host.try_connect(far(99)).expect("it is told why");
    assert!(chat.news(peer).contains("come back in 60 s"));
    assert_eq!(chat.host.end(peer), Some(End::Finished));
}

#[test]
fn what_is_said_and_refused_is_counted() {
    let mut chat = Worker::start(Setup::of::<Chat>().set("line_max", "80"));
    let (ann, bob) = (chat.join("ann"), chat.join("bob"));
    chat.ask(ann, "hello");
    chat.ask(ann, "again");
    chat.ask(bob, &"x".repeat(81));
    chat.ask(bob, "/nick ann");
    chat.ask(bob, "/join garden");
    for (metric, expected) in [
        ("logins", 2),
        ("joins", 3),
        ("messages", 2),
        ("messages_refused", 1),
        ("nicks_refused", 1),
        ("joins_refused", 0),
        ("members", 2),
        ("rooms", 2),
        ("links_lost", 0),
        ("bus_ms", 0),
    ] {
        assert_eq!(chat.host.metric(metric), expected, "{metric}");
    }
    assert_eq!(chat.host.histogram("bus_ms")[0], 2);
    chat.host.peer_vanishes(bob);
    assert_eq!(chat.host.metric("members"), 1);
    assert_eq!(chat.host.metric("rooms"), 1);
}
