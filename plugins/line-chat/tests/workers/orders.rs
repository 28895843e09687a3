//! What operators of the chat order: done in each worker, once, and told to whoever has ordered it, also where
//! he has been carried meanwhile.
//!
//! Invariant: what was said behind an order is looked at when that is done.

use std::collections::BTreeSet;
use std::time::Duration;

use polyport_plugin::testing::FakeBus;

use super::{eve_and_bob, say, settle, shown, worker};

/// With the order written down before, at and after the moment at which the bus has answered it.
#[test]
fn an_order_under_way_is_done_in_the_next_worker() {
    for heard in 0..3 {
        let bus = FakeBus::new();
        let (mut workers, [eve, bob]) = eve_and_bob(&bus);
        say(&mut workers[1], bob, "/op correct horse");
        while workers[1].run_work() {}
        say(&mut workers[1], bob, "/announce soon\n/ban mallory\n/bans");
        for _ in 0..heard {
            workers[1].hear_bus();
        }
        for _ in 0..2 {
            workers[1].carry().expect("bob is carried");
            settle(&mut workers);
        }
        let text = shown(&workers[1], bob);
        assert_eq!(text.matches("done\r\n").count(), 2, "{heard}: {text}");
        assert!(
            text.contains("done\r\nmallory is banned by bob"),
            "{heard}: {text}"
        );
        let text = shown(&workers[0], eve);
        assert_eq!(text.matches("soon").count(), 1, "{heard}: {text}");
    }
}

/// However often it is carried before the bus has heard of the order: each worker says it again, and what was
/// said behind it waits, also when the next worker does not know yet who is there.
#[test]
fn an_order_that_the_bus_has_not_heard_of_is_done_once_when_it_is_back() {
    for carries in 0..4 {
        let bus = FakeBus::new();
        let (mut workers, [eve, bob]) = eve_and_bob(&bus);
        say(&mut workers[1], bob, "/op correct horse");
        while workers[1].run_work() {}
        bus.lose();
        say(&mut workers[1], bob, "/announce soon\n/ban mallory\n/bans");
        for _ in 0..carries {
            workers[1].carry().expect("bob is carried");
        }
        assert!(!shown(&workers[1], bob).contains("nobody is banned"));
        bus.restore();
        settle(&mut workers);
        let text = shown(&workers[1], bob);
        assert_eq!(text.matches("done\r\n").count(), 2, "{carries}: {text}");
        assert!(
            text.contains("done\r\nmallory is banned by bob"),
            "{carries}: {text}"
        );
        let text = shown(&workers[0], eve);
        assert_eq!(text.matches("soon").count(), 1, "{carries}: {text}");
    }
}

#[test]
fn an_order_given_without_the_link_holds_nobody_up_and_is_done_once_it_is_back() {
    let bus = FakeBus::new();
    let mut a = worker(&bus);
    let bob = a.connect();
    say(&mut a, bob, "bob");
    say(&mut a, bob, "/op correct horse");
    bus.lose();
    a.hear_bus();
    a.advance(Duration::from_secs(3));
    say(&mut a, bob, "/ban eve 5m");
    say(&mut a, bob, "/bans");
    assert!(
        shown(&a, bob).ends_with("nobody is banned or muted\r\n"),
        "{}",
        shown(&a, bob)
    );
    bus.restore();
    a.hear_bus();
    say(&mut a, bob, "/bans");
    assert!(shown(&a, bob).contains("eve is banned by bob"));
}

#[test]
fn bans_hold_in_every_worker_and_in_one_that_starts_later() {
    let bus = FakeBus::new();
    let (mut a, mut b) = (worker(&bus), worker(&bus));
    let (op, eve) = (a.connect(), b.connect());
    say(&mut a, op, "op");
    say(&mut b, eve, "eve");
    a.hear_bus();
    for line in ["/op correct horse", "/topic tea", "/ban eve 1h rude"] {
        say(&mut a, op, line);
    }
    b.hear_bus();
    assert!(shown(&b, eve).contains("you were banned by op: rude"));
    let mut c = worker(&bus);
    let again = c.connect();
    say(&mut c, again, "eve");
    assert!(shown(&c, again).contains("you are banned"));
    let tom = c.connect();
    say(&mut c, tom, "tom");
    assert!(shown(&c, tom).contains("topic: tea"));
    let nicks: BTreeSet<bool> = [
        bus.holder("nick.eve").is_some(),
        bus.holder("nick.tom").is_some(),
    ]
    .into();
    assert_eq!(nicks.len(), 2);
}
