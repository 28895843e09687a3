//! The example of each extension, compiled as an author would and met by peers: what `docs/extensions.md`
//! quotes is what runs here.

use std::fs;
use std::path::PathBuf;

use polyport_plugin::End;
use polyport_plugin::testing::{FakeBus, FakeHost, Setup};

mod c_examples;
mod compiler;

fn setup(name: &str) -> Setup {
    Setup::table(c_examples::load(name))
}

/// A file with these bytes, for one test.
fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = compiler::scratch(name).join("file");
    fs::write(&path, bytes).expect("cargo's folder for tests is writable");
    path
}

fn heard(host: &FakeHost, peer: polyport_plugin::testing::Peer) -> String {
    String::from_utf8_lossy(host.received(peer)).into_owned()
}

#[test]
fn needs_name_the_file_of_an_option() {
    let path = file("greeting", b"Good day\n");
    let setup = setup("greeting");
    let mut host = setup
        .clone()
        .set("file", path.to_str().expect("UTF-8"))
        .start()
        .expect("the file is there");
    let peer = host.connect();
    host.send(peer, b"hello\n");
    assert_eq!(heard(&host, peer), "Good day\n");
    let refused = setup.set("file", "/nowhere").start().map(drop);
    assert_eq!(refused, Err("file: it cannot be read".to_owned()));
}

#[test]
fn work_is_done_elsewhere_and_answered_in_order() {
    let mut host = setup("proving").start().expect("it takes no settings");
    let (peer, other) = (host.connect(), host.connect());
    host.send(peer, b"one\ntwo\n");
    host.send(other, b"three\n");
    assert_eq!(host.works(), 2, "one a session");
    host.peer_vanishes(other);
    while host.run_work() {}
    assert_eq!(heard(&host, peer), "proved\nproved\n");
}

#[test]
fn a_file_is_sent_before_the_end() {
    let path = file("sending", &[b'x'; 5000]);
    let setup = setup("sending").set("file", path.to_str().expect("UTF-8"));
    let mut host = setup.start().expect("it is not opened yet");
    let peer = host.connect();
    host.send(peer, b"?");
    assert_eq!(host.sent_files(peer), vec![0..5000]);
    host.peer_finishes(peer);
    assert_eq!(host.end(peer), Some(End::Finished));
}

#[test]
fn a_session_goes_on_counting_wherever_it_is_carried() {
    let setup = setup("carrying");
    for nth in 1..12 {
        let mut host = setup.clone().carried_at(nth).start().expect("no settings");
        let peer = host.connect();
        host.send(peer, b"one\ntwo\nth");
        host.send(peer, b"ree\n");
        assert_eq!(heard(&host, peer), "1\n2\n3\n", "carried after {nth}");
    }
    let mut host = setup.start().expect("no settings");
    host.connect();
    let refused = host.carry_changed(|bytes| bytes.truncate(3));
    assert!(refused.is_err_and(|why| why.contains("a version that is not known")));
}

#[test]
fn what_is_shouted_is_heard_in_all_workers_in_one_order() {
    let bus = FakeBus::new();
    let setup = setup("shouting").bus(&bus);
    let (mut one, mut other) = (
        setup.start().expect("it starts"),
        setup.start().expect("it starts"),
    );
    let (ann, bob) = (one.connect(), other.connect());
    one.send(ann, b"hello\nyou there\nand ");
    one.send(ann, b"you\n");
    other.send(bob, b"yes?\n");
    one.hear_bus();
    other.hear_bus();
    let street = "hello\nyou there\nand you\nyes?\n";
    assert_eq!(
        (heard(&one, ann), heard(&other, bob)),
        (street.to_owned(), street.to_owned())
    );
}

#[test]
fn each_call_that_may_be_refused_is_and_the_examples_bear_it() {
    let path = file("refused", b"Good day\n");
    let path = path.to_str().expect("UTF-8");
    for (name, calls) in [
        // Of each, what it asks for from `create` on, and then for one line.
        ("greeting", "write"),
        ("proving", "extension, submit, write"),
        ("sending", "extension, send_file"),
        ("carrying", "write"),
        ("shouting", "extension, subscribe, publish, write"),
        ("counting", "extension, define, define, write"),
    ] {
        let setup = match name {
            "greeting" | "sending" => setup(name).set("file", path),
            _ => setup(name),
        };
        let runs = setup.each_call_refused(|host, _| {
            let Ok(peer) = host.try_connect(polyport_plugin::Address::Unix) else {
                return;
            };
            host.send(peer, b"one\n");
            while host.run_work() {}
            let transcript = host.transcript();
            let told = heard(host, peer);
            assert!(!told.is_empty() || host.has_refused(), "{transcript}");
        });
        assert_eq!(runs, calls.split(", ").count() + 1, "{name}: {calls}");
    }
}
