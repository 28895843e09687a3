//! The plugin on a host without sockets.

use polyport_@LIB@::Shout;
use polyport_plugin::testing::{Sent, Setup};
use polyport_plugin::Address;

#[test]
fn each_datagram_comes_back_in_capitals() {
    let setup = Setup::of::<Shout>().endpoints(&["udp://127.0.0.1:4000"]);
    let mut host = setup.start().unwrap();
    let peer = Address::Ip(([192, 0, 2, 1], 5000).into());
    for (question, answer) in [("one", Some("ONE")), ("", None), ("two\n", Some("TWO\n"))] {
        assert_eq!(host.datagram(peer, question.as_bytes()), Ok(()));
        let expected = answer.map(|answer| Sent {
            to: peer,
            payload: answer.into(),
        });
        assert_eq!(host.take_sent(), Vec::from_iter(expected));
    }
}
