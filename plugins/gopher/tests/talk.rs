//! Whole conversations from seeds: a request that comes in pieces and late is one request.

mod support;

use std::time::Duration;

use polyport_plugin::End;
use polyport_plugin::testing::{Conversation, FakeHost};
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

#[test]
fn an_answer_is_whole_or_the_peer_sees_that_it_is_not() {
    let large = vec![b'x'; 300_000];
    let hole = Hole::of(&[("a.txt", b"one\n"), ("deep/b.bin", &large)]);
    for request in [
        &b"\r\n"[..],
        b"/a.txt\r\n",
        b"/deep/b.bin\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
    ] {
        let ask = |host: &mut FakeHost| {
            let peer = host.connect();
            host.send(peer, request);
            while host.run_work() {}
            (host.received(peer).to_vec(), host.end(peer))
        };
        let whole = ask(&mut hole.host()).0;
        let runs = hole.setup().each_call_refused(|host, refused| {
            let (answer, end) = ask(host);
            // An error of Gopher, and one of HTTP.
            let is_refusal = answer.starts_with(b"3") || answer.starts_with(b"HTTP/1.1 5");
            let is_cut = end != Some(End::Finished);
            let shown = String::from_utf8_lossy(&answer);
            assert!(
                answer == whole || is_refusal || is_cut,
                "call {refused}: {shown}"
            );
        });
        assert!(runs > 2, "{runs} runs");
    }
}
