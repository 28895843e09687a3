//! The plugin with scripted peers: what they say, when they fall silent, when they go.

use polyport_@LIB@::Shout;
use polyport_plugin::Error;
use polyport_plugin::testing::{FakeHost, Script, Setup, Split};

fn host(split: Split) -> FakeHost {
    let setup = Setup::blocking::<Shout>().set("greeting", "Welcome");
    setup.split(split).start().unwrap()
}

#[test]
fn lines_come_back_in_capitals_however_they_arrive() {
    for split in [Split::Whole, Split::EveryByte, Split::At(5)] {
        let served = host(split).serve(Script::new().says(b"one\ntwo\r\n\n"));
        let expected = b"Welcome\r\nONE\nTWO\r\n2 lines. Bye.\r\n";
        assert_eq!(served.received, expected, "{split:?}");
        assert_eq!(served.answer, Ok(()));
    }
}

#[test]
fn a_peer_that_falls_silent_or_goes_is_not_waited_for() {
    for (script, answer) in [
        (Script::new().says(b"one\ntw").is_silent(), Error::TimedOut),
        (Script::new().says(b"one\ntw").vanishes(), Error::Gone),
        (Script::new().says(b"one\n").drains(), Error::Cancelled),
    ] {
        assert_eq!(host(Split::Whole).serve(script).answer, Err(answer));
    }
}
