//! A stream over a socket pair: what was kept comes first, and what the loop says is final.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::super::super::stream::Stream;
use super::*;
use crate::engine::Passed;
use crate::plan::Limits;
use crate::scoreboard::{self, Scoreboard};
use crate::sys::shared_memory::SharedWords;

struct Scene {
    peer: UnixStream,
    session: Session,
    stop: Stop,
    slot: Slot,
}

fn scene() -> Scene {
    let (peer, ours) = UnixStream::pair().expect("a pair");
    let file = SharedWords::file("test", scoreboard::BYTES).expect("memory file");
    let board = Scoreboard::over(SharedWords::map(&file).expect("mapping")).expect("long enough");
    Scene {
        peer,
        session: Session::new(Stream::new(ours.into(), 0), false, &Arc::default()),
        stop: Stop::new().expect("descriptors"),
        slot: board.slot(1),
    }
}

impl Scene {
    fn waiting(&self, kept: &[u8], limits: &Limits) -> Waiting<'_> {
        let named = Named {
            session: 1,
            source: 2,
        };
        let patience = Patience::of(limits);
        let session = (&self.session, kept.to_vec());
        Waiting::new(session, &self.stop, patience, &self.slot, named)
    }
}

#[test]
fn what_was_kept_is_shown_and_read_before_what_lies_in_the_socket() {
    let mut scene = scene();
    scene.peer.write_all(b"def").expect("sent");
    let mut stream = scene.waiting(b"abc", &Limits::default());
    let mut buffer = [0; 8];
    assert_eq!(stream.read(&mut buffer, true), Ok(6));
    assert_eq!(&buffer[..6], b"abcdef");
    assert_eq!(stream.read(&mut buffer[..2], true), Ok(2));
    assert_eq!(stream.read(&mut buffer[..2], false), Ok(2));
    assert_eq!(stream.read(&mut buffer, false), Ok(1), "the rest of it");
    assert_eq!(stream.read(&mut buffer[..2], false), Ok(2));
    assert_eq!(stream.read(&mut buffer[2..], true), Ok(1));
    assert_eq!(&buffer[..3], b"def");
}

#[test]
fn whoever_the_loop_has_ended_reads_no_fin_and_hears_the_same_from_every_call() {
    for (passed, halt) in [
        (Passed::Banned, Halt::Gone),
        (Passed::Asked, Halt::Gone),
        (Passed::Pending, Halt::Gone),
        (Passed::Lifetime, Halt::TimedOut),
    ] {
        let scene = scene();
        let mut stream = scene.waiting(b"", &Limits::default());
        scene.session.end(passed);
        // The first reason counts.
        scene.session.end(Passed::Stall);
        assert_eq!(stream.read(&mut [0; 8], false), Err(halt), "{passed:?}");
        assert_eq!(stream.read(&mut [0; 8], true), Err(halt), "{passed:?}");
        assert_eq!(stream.write(b"x", false), Err(halt), "{passed:?}");
        assert_eq!(stream.cut(), Some(Cut::Passed(passed)));
    }
}

#[test]
fn a_session_is_silent_until_something_of_its_peer_is_there() {
    let mut scene = scene();
    assert!(scene.session.is_silent());
    scene.peer.write_all(b"x").expect("sent");
    assert!(!scene.session.is_silent(), "although nobody has read it");
}

#[test]
fn a_handler_that_looks_at_half_a_request_for_too_long_is_cut_short() {
    let mut scene = scene();
    scene.peer.write_all(b"half").expect("sent");
    let limits = Limits {
        progress_ms: 1,
        ..Limits::default()
    };
    let mut stream = scene.waiting(b"", &limits);
    let halt = loop {
        if let Err(halt) = stream.read(&mut [0; 8], true) {
            break halt;
        }
    };
    assert_eq!(halt, Halt::TimedOut);
    assert_eq!(stream.cut(), Some(Cut::Passed(Passed::Progress)));
}
