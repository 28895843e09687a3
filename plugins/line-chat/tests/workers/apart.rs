//! Workers that do not hear each other, and one that ends: what people are told, and what is free then.
//!
//! Invariant: nobody who waits is left without a word.

use std::time::Duration;

use polyport_plugin::testing::FakeBus;

use super::{eve_and_bob, say, settle, shown};

#[test]
fn without_the_link_everybody_is_told_what_cannot_be_done_and_may_leave() {
    let bus = FakeBus::new();
    let (mut workers, [eve, _]) = eve_and_bob(&bus);
    let a = &mut workers[0];
    let late = a.connect();
    bus.lose();
    a.hear_bus();
    // Nobody is alone yet: both wait.
    let kept = a.connect();
    say(a, kept, "kept");
    a.advance(Duration::from_secs(3));
    say(a, late, "late");
    for line in ["/nick ada", "hello", "/topic tea", "/msg bob psst"] {
        say(a, eve, line);
    }
    say(a, late, "hello?");
    say(a, late, "/quit");
    let rows = [
        (kept, "the other servers cannot be reached; waiting"),
        (late, "the other servers cannot be reached; waiting"),
        (
            late,
            "the other servers cannot be reached; only /quit is possible",
        ),
        (
            eve,
            "the other servers cannot be reached; you are still called so",
        ),
        (
            eve,
            "the other servers cannot be reached; it is done once they can",
        ),
        (eve, "not sent: the other servers cannot be reached"),
    ];
    for (peer, words) in rows {
        let text = shown(a, peer);
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(a.is_finished(late) && !a.is_finished(kept));
    // It is not forgotten that it waits, however long it takes.
    a.advance(Duration::from_secs(100));
    bus.restore();
    settle(&mut workers);
    let text = shown(&workers[0], kept);
    assert!(text.contains("you are in #lobby"), "{text}");
    assert!(bus.holder("nick.kept").is_some() && bus.holder("nick.late").is_none());
}

#[test]
fn whoever_writes_to_somebody_who_does_not_hear_it_is_told() {
    let bus = FakeBus::new();
    let (mut workers, [eve, bob]) = eve_and_bob(&bus);
    say(&mut workers[0], eve, "/msg bob one");
    settle(&mut workers);
    workers[0].advance(Duration::from_secs(10));
    assert!(!shown(&workers[0], eve).contains("may not"), "it was heard");
    // He has gone, which the other worker has not heard of.
    say(&mut workers[1], bob, "/quit");
    say(&mut workers[0], eve, "/msg bob two");
    settle(&mut workers);
    let text = shown(&workers[0], eve);
    assert!(
        text.contains("-- not delivered: bob has left\r\n"),
        "{text}"
    );
    // A worker that hears nothing says nothing.
    let tom = workers[1].connect();
    say(&mut workers[1], tom, "tom");
    settle(&mut workers);
    say(&mut workers[0], eve, "/msg tom three");
    workers[0].hear_bus();
    workers[0].advance(Duration::from_secs(6));
    let text = shown(&workers[0], eve);
    assert!(
        text.ends_with("-- tom may not have heard you: its server does not answer\r\n"),
        "{text}"
    );
}

#[test]
fn a_worker_that_ends_tells_its_people_and_gives_up_their_nicks_at_once() {
    let bus = FakeBus::new();
    let (mut workers, [eve, bob]) = eve_and_bob(&bus);
    let nobody = workers[0].connect();
    say(&mut workers[0], eve, "/token");
    workers[0].drain(Duration::from_secs(30));
    settle(&mut workers);
    for peer in [eve, nobody] {
        assert!(shown(&workers[0], peer).ends_with("-- the server stops\r\n"));
        assert!(workers[0].is_finished(peer));
    }
    let text = shown(&workers[1], bob);
    assert!(
        text.ends_with("-- eve left #lobby (the server stops)\r\n"),
        "{text}"
    );
    assert_eq!(bus.holder("nick.eve"), None);
}
