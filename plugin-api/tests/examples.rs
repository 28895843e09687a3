//! The two smallest plugins, as an author would first meet them, under all that can go wrong.

use polyport_plugin::End;
use polyport_plugin::testing::{Setup, Split};

mod c_examples;
mod compiler;
#[path = "../examples/smallest.rs"]
mod smallest;

#[test]
fn the_smallest_rust_plugin_echoes_whatever_happens() {
    let table = smallest::polyport_plugin_v1();
    echoes(&Setup::table(table));
}

#[test]
fn the_smallest_c_plugin_echoes_whatever_happens() {
    echoes(&Setup::table(c_examples::load("smallest")));
}

fn echoes(setup: &Setup) {
    let text = b"one\ntwo\n";
    for split in [Split::Whole, Split::EveryByte, Split::At(3)] {
        for refused in 1..=text.len() + 1 {
            let setup = setup.clone().split(split).full_at(refused);
            let mut host = setup.start().expect("an echo takes no settings");
            let (first, second) = (host.connect(), host.connect());
            host.send(first, text);
            host.send(second, b"other");
            host.peer_finishes(first);
            assert_eq!(
                host.received(first),
                text,
                "{split:?}, write {refused} refused"
            );
            assert_eq!(host.received(second), b"other");
            assert_eq!(host.end(first), Some(End::Finished));
            assert_eq!(host.end(second), None);
        }
    }
}

#[test]
fn a_peer_that_does_not_read_stops_an_echo_and_loses_nothing() {
    let setup = Setup::table(smallest::polyport_plugin_v1()).output_bytes_max(8);
    let mut host = setup.start().expect("an echo takes no settings");
    let peer = host.connect();
    host.peer_stops_reading(peer);
    let sent: Vec<u8> = (0..100).collect();
    for chunk in sent.chunks(3) {
        host.send(peer, chunk);
    }
    host.peer_finishes(peer);
    assert_eq!(
        host.queued(peer),
        6,
        "half the limit is passed after two chunks"
    );
    for _ in 0..50 {
        host.peer_reads(peer, 2);
    }
    assert_eq!(host.received(peer), sent);
    assert_eq!(host.end(peer), Some(End::Finished));
}
