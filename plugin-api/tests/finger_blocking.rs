//! The tutorial's finger in the blocking style: the queries and answers of the other two.

use polyport_plugin::Error;
use polyport_plugin::testing::{FakeHost, Script, Setup, Split};

#[path = "../examples/finger_blocking.rs"]
mod finger_blocking;
mod queries;

#[test]
fn it_answers_as_the_others_do_however_the_query_arrives() {
    for (query, answer) in queries::ROWS {
        for split in [Split::Whole, Split::EveryByte, Split::At(2)] {
            let served = host(split).serve(Script::new().says(query.as_bytes()));
            let received = String::from_utf8_lossy(&served.received);
            assert_eq!(received, answer, "{query:?} {split:?}");
            assert_eq!(served.answer, Ok(()));
        }
    }
}

#[test]
fn a_peer_that_does_not_ask_is_not_waited_for() {
    let served = host(Split::Whole).serve(Script::new().says(b"gra").is_silent());
    assert_eq!(served.answer, Err(Error::TimedOut));
    let served = host(Split::Whole).serve(Script::new().says(&[b'x'; 600]));
    assert_eq!((served.received, served.answer), (Vec::new(), Ok(())));
}

fn host(split: Split) -> FakeHost {
    let setup = Setup::table(finger_blocking::polyport_plugin_v1()).split(split);
    let setup = setup.set("people", queries::PEOPLE);
    setup.start().expect("starts")
}
