//! The plugin on a host without sockets, with input in pieces and output that is full at its worst.

use polyport_@LIB@::Shout;
use polyport_plugin::End;
use polyport_plugin::testing::{Setup, Split};

#[test]
fn lines_come_back_in_capitals_whatever_happens() {
    for split in [Split::Whole, Split::EveryByte, Split::At(5)] {
        // The first write is the greeting: who cannot be greeted is refused.
        for full in 2..8 {
            let setup = Setup::of::<Shout>().set("greeting", "Welcome");
            let mut host = setup.split(split).full_at(full).start().unwrap();
            let peer = host.connect();
            host.send(peer, b"one\ntwo\r\n\n");
            let expected = b"Welcome\r\nONE\nTWO\r\n2 lines. Bye.\r\n";
            assert_eq!(host.received(peer), expected, "{split:?}, {full}");
            assert_eq!(host.end(peer), Some(End::Finished));
        }
    }
}

#[test]
fn a_session_goes_on_counting_in_the_next_worker() {
    for nth in 1..8 {
        let setup = Setup::of::<Shout>().carried_at(nth);
        let mut host = setup.start().unwrap();
        let peer = host.connect();
        host.send(peer, b"one\ntw");
        host.send(peer, b"o\n\n");
        let expected = b"Hello\r\nONE\nTWO\n2 lines. Bye.\r\n";
        assert_eq!(host.received(peer), expected, "carried after {nth}");
    }
}

#[test]
fn a_line_without_an_end_ends_the_session() {
    let mut host = Setup::of::<Shout>().start().unwrap();
    let peer = host.connect();
    host.send(peer, &[b'x'; 2000]);
    assert_eq!(host.end(peer), Some(End::Finished));
}
