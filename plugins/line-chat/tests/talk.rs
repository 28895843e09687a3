//! Whole conversations, as scripts: one who talks, and one who is there the whole time.

use std::time::Duration;

use polyport_line_chat::Chat;
use polyport_plugin::testing::{Conversation, Setup};
use polyport_plugin::{Address, End};

fn eve() -> Conversation {
    Conversation::new()
        .expect("nick: ")
        .line("eve")
        .expect("-- you are eve; /help says what you can do\r\n-- you are in #lobby (1 here)\r\n")
}

#[test]
fn what_is_typed_in_pieces_and_slowly_is_understood() {
    // Faster than the time in which a nick has to be said.
    let pause_max = Duration::from_millis(500);
    Setup::of::<Chat>().each_seed(0..100, &eve(), pause_max);
}

#[test]
fn one_hears_what_the_other_says_and_how_it_goes() {
    let mut host = Setup::of::<Chat>().start().expect("it starts");
    let stays = host.play(&eve());
    let bob = Conversation::new()
        .line("bob")
        .bytes(b"hi\n")
        .pause(Duration::from_secs(2))
        .bytes(b"/me waves\n")
        .vanish()
        .expect_end(End::Lost);
    host.play(&bob);
    let heard = Conversation::new().expect(
        "-- bob joined #lobby (2 here)\r\n<bob> hi\r\n* bob waves\r\n-- bob left #lobby (connection lost)\r\n",
    );
    host.play_on(stays, &heard);
}

#[test]
fn what_the_daemon_has_no_more_of_costs_a_member_at_most() {
    let runs = Setup::of::<Chat>().each_call_refused(|host, refused| {
        for nick in ["ann", "bob"] {
            let Ok(peer) = host.try_connect(Address::Unix) else {
                continue;
            };
            host.send(peer, format!("{nick}\nhello\n").as_bytes());
            while host.run_work() {}
        }
        // Whoever asks again is served.
        let late = host.connect();
        for _ in 0..2 {
            host.send(late, b"eve\n");
            while host.run_work() {}
        }
        let told = String::from_utf8_lossy(host.received(late)).into_owned();
        assert!(told.contains("-- you are "), "call {refused}: {told}");
    });
    assert!(runs > 10, "{runs} runs");
}
