//! Whole conversations from seeds: a request that comes in pieces and late is one request.

mod support;

use std::time::Duration;

use polyport_plugin::End;
use polyport_plugin::testing::Conversation;
use support::{Hole, NOT_HERE};

#[test]
fn a_request_is_answered_whatever_the_network_does_to_it() {
    let hole = Hole::of(&[("a.txt", b"one\n.\ntwo\n"), ("deep/b.txt", b"b")]);
    for (request, answer) in [
        ("/a.txt", "one\n.\ntwo\n"),
        ("0/deep/b.txt", "b"),
        ("/missing.txt", NOT_HERE),
    ] {
        let talk = Conversation::new()
            .line(request)
            .expect(answer)
            .expect_end(End::Finished);
        let pause_max = Duration::from_millis(200);
        hole.setup().each_seed(0..50, &talk, pause_max);
    }
}

#[test]
fn who_asks_nothing_is_not_waited_for() {
    let hole = Hole::of(&[("a.txt", b"a")]);
    let talk = Conversation::new()
        .bytes(b"/a.t")
        .pause(Duration::from_secs(3600))
        .expect("")
        .expect_end(End::Idle);
    hole.host().play(&talk);
}
