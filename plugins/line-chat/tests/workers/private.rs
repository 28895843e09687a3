//! Private lines: to the session they were meant for, whatever it is called by the time they come, and to
//! nobody else.

use polyport_plugin::testing::FakeBus;

use super::{eve_and_bob, say, settle, shown};

#[test]
fn an_answer_goes_to_who_wrote_and_never_to_another_of_that_name() {
    let bus = FakeBus::new();
    let (mut workers, [eve, bob]) = eve_and_bob(&bus);
    say(&mut workers[1], bob, "/msg eve psst");
    settle(&mut workers);
    say(&mut workers[1], bob, "/nick rob");
    let thief = workers[1].connect();
    say(&mut workers[1], thief, "bob");
    for carries in [false, true] {
        if carries {
            workers[0].carry().expect("eve is carried");
        }
        settle(&mut workers);
        say(&mut workers[0], eve, "/reply yes?");
        settle(&mut workers);
        let count = if carries { 2 } else { 1 };
        assert_eq!(shown(&workers[1], bob).matches("*eve* yes?").count(), count);
        assert!(shown(&workers[0], eve).ends_with("-> rob: yes?\r\n"));
    }
    say(&mut workers[1], bob, "/quit");
    settle(&mut workers);
    say(&mut workers[0], eve, "/reply still there?");
    settle(&mut workers);
    let text = shown(&workers[0], eve);
    assert!(text.ends_with("-- rob has left\r\n"), "{text}");
    let text = shown(&workers[1], thief);
    assert!(!text.contains("*eve*"), "{text}");
}

/// The sender's worker has not heard of it yet.
#[test]
fn a_private_line_that_is_under_way_finds_whom_it_was_meant_for_or_comes_back() {
    let bus = FakeBus::new();
    let (mut workers, [eve, bob]) = eve_and_bob(&bus);
    bus.lose();
    say(&mut workers[1], bob, "/nick rob");
    say(&mut workers[0], eve, "/msg bob psst");
    bus.restore();
    settle(&mut workers);
    let text = shown(&workers[1], bob);
    assert_eq!(text.matches("*eve* psst").count(), 1, "{text}");

    bus.lose();
    say(&mut workers[1], bob, "/quit");
    let thief = workers[1].connect();
    say(&mut workers[1], thief, "rob");
    say(&mut workers[0], eve, "/msg rob secret");
    bus.restore();
    settle(&mut workers);
    settle(&mut workers);
    let text = shown(&workers[0], eve);
    assert!(
        text.contains("-- not delivered: rob has left\r\n"),
        "{text}"
    );
    let text = shown(&workers[1], thief);
    assert!(
        text.contains("you are rob;") && !text.contains("secret"),
        "{text}"
    );
}
