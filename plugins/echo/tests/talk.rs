//! Whole conversations, from seeds and with a fault list: however what is said is cut and delayed, and
//! whichever write is refused, the same comes back.

use std::time::Duration;

use polyport_echo::Echo;
use polyport_plugin::End;
use polyport_plugin::testing::{Conversation, Setup};

const PAUSE_MAX: Duration = Duration::from_secs(20);

#[test]
fn lines_come_back_whatever_the_network_does_to_them() {
    let talk = Conversation::new()
        .line("one")
        .line("")
        .expect("one\r\n\r\n")
        .bytes(b"tw\0\xff\r\nthree")
        .expect_bytes(b"tw\0\xff\r\n")
        .pause(PAUSE_MAX)
        .finish()
        .expect("three")
        .expect_end(End::Finished);
    let lines = Setup::of::<Echo>().set("mode", "line");
    lines.each_seed(0..200, &talk, PAUSE_MAX);
    let runs = lines.each_write_refused(|host, _| {
        host.play(&talk);
    });
    assert!(runs > 3, "{runs} runs for four lines");
}

#[test]
fn the_peer_is_told_who_it_is_and_how_much_it_said() {
    let talk = Conversation::new()
        .expect("You are 127.0.0.1:50001\r\n")
        .line("hello")
        .expect("You entered 5 characters: hello\r\n")
        .expect_end(End::Finished);
    let who = Setup::of::<Echo>().set("mode", "who");
    who.each_seed(0..100, &talk, PAUSE_MAX);
}
