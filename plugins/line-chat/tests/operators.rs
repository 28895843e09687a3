//! What operators of the chat order, and what whoever it is about may still do.

mod support;

use polyport_line_chat::Chat;
use polyport_plugin::End;
use polyport_plugin::testing::{FakeBus, Peer, Setup};
use support::Worker;

fn busy() -> Setup {
    Setup::of::<Chat>()
        .set("burst", "10000")
        .set("op_passwords", "correct horse")
}

/// With an operator, who has read all that there was.
fn with_operator(setup: Setup) -> (Worker, Peer) {
    let mut chat = Worker::start(setup);
    let op = chat.join("op");
    assert!(chat.ask(op, "/op correct horse").contains("an operator"));
    (chat, op)
}

#[test]
fn whoever_is_muted_shows_nothing_to_others_by_any_way_he_tries() {
    let (mut chat, op) = with_operator(busy().bus(&FakeBus::new()));
    let (eve, bob) = (chat.join("eve"), chat.join("bob"));
    chat.say(op, "/mute bob 5m");
    for (carries, line) in [
        (false, "hello"),
        (false, "/me waves"),
        (false, "/msg eve psst"),
        (false, "/topic look here"),
        (false, "/away look here"),
        (false, "/nick look_here"),
        (false, "/join look-here"),
        (true, "hello"),
        (true, "/topic look here"),
        (true, "/nick look_here"),
    ] {
        if carries {
            chat.host.carry().expect("all are carried");
        }
        chat.news(eve);
        let told = chat.ask(bob, line);
        assert!(told.contains("you are muted"), "{line}: {told}");
        assert_eq!(chat.news(eve), "", "{line}");
    }
    assert!(!chat.ask(eve, "/whois bob").contains("look here"));
    chat.news(eve);
    // What shows no text of his is not kept from him.
    assert!(chat.ask(bob, "/away").contains("you are away"));
    assert!(chat.ask(bob, "/who").contains("(away: away)"));
    chat.ask(bob, "/quit look here");
    assert_eq!(chat.news(eve), "-- bob left #lobby\r\n");
    // It is the nick that is muted as well: coming again is no way out.
    let bob = chat.join("bob");
    assert!(chat.ask(bob, "hello").contains("you are muted"));
    assert!(chat.ask(op, "/unmute bob").contains("done"));
    chat.news(eve);
    chat.ask(bob, "/nick rob");
    chat.ask(bob, "hello");
    assert_eq!(chat.news(eve), "-- bob is now rob\r\n<rob> hello\r\n");
}

/// The order and another nick are under way at once; the bus has the nick first.
#[test]
fn a_nick_that_was_asked_for_before_is_no_way_out_of_being_muted() {
    let bus = FakeBus::new();
    let (mut chat, op) = with_operator(busy().bus(&bus));
    let mut other = Worker::start(busy().bus(&bus));
    let (bob, eve) = (other.join("bob"), other.join("eve"));
    chat.news(op);
    bus.lose();
    other.say(bob, "/nick rob");
    chat.say(op, "/mute bob 5m");
    bus.restore();
    other.news(bob);
    chat.news(op);
    assert!(other.ask(bob, "hello").contains("you are muted"));
    assert!(!other.news(eve).contains("hello"));
    assert!(chat.ask(op, "/unmute rob").contains("done"));
    other.news(bob);
    other.ask(bob, "hello");
    assert!(other.news(eve).contains("<rob> hello"));
}

#[test]
fn a_lock_and_a_limit_hold_for_the_room_that_everybody_comes_into() {
    let (mut chat, op) = with_operator(busy());
    for (order, why, nick) in [
        ("/lock lobby", "#lobby is locked", "eve"),
        ("/lock lobby key", "#lobby is locked", "tom"),
        ("/unlock lobby\n/limit lobby 1", "#lobby is full", "bob"),
    ] {
        chat.ask(op, order);
        let peer = chat.host.connect();
        let shown = chat.ask(peer, nick);
        assert!(
            shown.contains(why) && shown.contains("you are in no room"),
            "{order}: {shown}"
        );
        assert!(chat.ask(peer, "hello").contains("/join one first"));
        assert_eq!(chat.news(op), "", "{order}: nobody is shown to have come");
        assert!(chat.ask(peer, "/join den").contains("you are in #den"));
        assert_eq!(chat.host.end(peer), None);
    }
    chat.ask(op, "/lock lobby key");
    let ann = chat.host.connect();
    chat.ask(ann, "ann");
    assert!(chat.ask(ann, "/join lobby key").contains("#lobby is full"));
    chat.ask(op, "/limit lobby 0");
    assert!(
        chat.ask(ann, "/join lobby key")
            .contains("you are in #lobby")
    );
}

#[test]
fn a_ban_says_what_it_is_not_rather_than_being_another() {
    let (mut chat, op) = with_operator(busy());
    for (order, told) in [
        ("/ban alice 1x no", "1x is no length of time"),
        ("/ban alice 5 minutes", "5 is no length of time"),
        ("/ban alice 0h", "0h is no length of time"),
        ("/ban alice -1h", "-1h is no length of time"),
        (
            "/ban 10.0.0.0/33",
            "10.0.0.0/33 is no nick, address or network",
        ),
        ("/ban 300.1.1.1", "300.1.1.1 is no nick, address or network"),
        ("/ban ::g", "::g is no nick, address or network"),
        ("/ban #lobby", "#lobby is no nick, address or network"),
        ("/ban admin", "admin is no nick, address or network"),
        ("/mute b@b", "b@b is no nick"),
        ("/mute bob 0m", "/mute NICK"),
    ] {
        let shown = chat.ask(op, order);
        assert!(shown.contains(told), "{order}: {shown}");
        assert_eq!(
            chat.ask(op, "/bans"),
            "nobody is banned or muted\r\n",
            "{order}"
        );
    }
    for (order, listed) in [
        ("/ban alice 1w no", "alice is banned by op for 7d 0h: no"),
        (
            "/ban guest123 rude",
            "guest123 is banned by op for 1d 0h: rude",
        ),
        ("/ban 10.1.2.3/8 2h", "10.0.0.0/8 is banned by op for 2h 0m"),
    ] {
        assert!(chat.ask(op, order).contains("done"), "{order}");
        let shown = chat.ask(op, "/bans");
        assert!(shown.contains(listed), "{order}: {shown}");
    }
}

#[test]
fn a_banned_nick_is_refused_to_whoever_has_another_and_he_stays() {
    let (mut chat, op) = with_operator(busy());
    let bob = chat.join("bob");
    chat.ask(op, "/ban mallory 1h rude");
    assert!(chat.ask(bob, "/nick mallory").contains("mallory is banned"));
    assert_eq!(chat.host.end(bob), None::<End>);
    assert!(chat.ask(bob, "/nick rob").contains("you are rob now"));
}
