//! The tutorial's finger in the event style, in Rust and in C: the same queries, the same answers.

use polyport_plugin::End;
use polyport_plugin::testing::{Setup, Split};

mod c_examples;
mod compiler;
#[path = "../examples/finger.rs"]
mod finger;
mod queries;
/// The test that the tutorial has, by the names that it has in an author's folder.
#[path = "talks/finger.rs"]
mod talk;

extern crate self as polyport_finger;
pub use finger::polyport_plugin_v1;

#[test]
fn both_answer_alike_however_the_query_arrives() {
    for setup in setups() {
        for (query, answer) in queries::ROWS {
            for split in [Split::Whole, Split::EveryByte, Split::At(2)] {
                let setup = setup.clone().set("people", queries::PEOPLE).split(split);
                setup.each_write_refused(|host, refused| {
                    let peer = host.connect();
                    host.send(peer, query.as_bytes());
                    if host.end(peer).is_none() {
                        host.peer_finishes(peer);
                    }
                    let received = String::from_utf8_lossy(host.received(peer));
                    assert_eq!(received, answer, "{query:?} {split:?} {refused}");
                    assert_eq!(host.end(peer), Some(End::Finished), "{query:?}");
                });
            }
        }
    }
}

#[test]
fn a_query_without_an_end_and_a_list_without_names_are_refused() {
    for setup in setups() {
        let mut host = setup.start().expect("nobody is known by default");
        let peer = host.connect();
        host.send(peer, &[b'x'; 600]);
        assert_eq!(host.end(peer), Some(End::Finished));
        let refused = setup.clone().set("people", "grace").start();
        let why = refused.err().expect("no text");
        assert!(why.contains("expected \"name: text\""), "{why}");
    }
}

fn setups() -> [Setup; 2] {
    [
        Setup::table(polyport_plugin_v1()),
        Setup::table(c_examples::load("finger")),
    ]
}
