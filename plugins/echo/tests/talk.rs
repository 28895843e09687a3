//! Whole conversations, from seeds and with a fault list: however what is said is cut and delayed, and
//! whichever write is refused, the same comes back.

use std::time::Duration;

use polyport_echo::Echo;
use polyport_plugin::testing::{Conversation, Setup};
use polyport_plugin::{Address, End};

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

#[test]
fn what_the_daemon_has_no_more_of_costs_a_session_at_most() {
    for mode in ["stream", "line", "who", "daytime", "chargen"] {
        let setup = Setup::of::<Echo>().set("mode", mode).appetite(1000);
        let runs = setup.each_call_refused(|host, _| {
            let Ok(peer) = host.try_connect(Address::Unix) else {
                assert!(host.has_refused(), "{}", host.transcript());
                return;
            };
            host.send(peer, b"one\r\n");
            if host.end(peer).is_none() {
                host.peer_finishes(peer);
            }
            assert!(!host.received(peer).is_empty(), "{}", host.transcript());
        });
        assert!(runs > 1, "{mode} asks for something");
    }
}
