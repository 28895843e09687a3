//! Whole conversations, as scripts: one who talks, and one who is there the whole time.

use std::time::Duration;

use polyport_line_chat::Chat;
use polyport_plugin::End;
use polyport_plugin::testing::{Conversation, Setup};

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
