//! Sessions on their way from worker to worker, with data under way in both directions; and a giver or
//! taker that dies, is silent or talks nonsense at any moment.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use nix::libc::linger;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, setsockopt, shutdown, socketpair, sockopt,
};

use super::script::{Event, Mode};
use super::{PATIENCE, Running, limits, noise, round_trip, start};
use crate::channel::Order;
use crate::engine::handover::{Answer, Answers, Batch, Message};
use crate::engine::session::End;
use crate::plan::Limits;
use crate::scoreboard::Counter;
use crate::sys::passing::{self, Packet};
use crate::worker::Outcome;

mod behind;

const GRACE_MS: u64 = 20_000;

fn pair() -> (OwnedFd, OwnedFd) {
    let flags = SockFlag::SOCK_CLOEXEC;
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).expect("a pair")
}

fn give(grace_ms: u64) -> Order {
    let leaving = Vec::new();
    Order::Give { grace_ms, leaving }
}

fn hand_over(from: &mut Running, to: &mut Running) {
    let (gives, takes) = pair();
    to.order(Order::Take {}, takes);
    from.order(give(GRACE_MS), gives);
}

/// Bytes of which no part is like another of the same length.
fn piece(round: u32) -> Vec<u8> {
    noise(10_007, round)
}

/// Sends until it is told to stop, half-closes, and reads the echo to its end; answers how much.
fn talk(mut stream: TcpStream, stop: Arc<AtomicBool>) -> JoinHandle<usize> {
    round_trip(&mut stream, b"hello");
    let mut reader = stream.try_clone().expect("a descriptor");
    let reading = std::thread::spawn(move || {
        let (mut round, mut heard) = (0, 0);
        let mut echoed = vec![0; piece(0).len()];
        while reader.read_exact(&mut echoed).is_ok() {
            assert!(echoed == piece(round), "piece {round} differs");
            (round, heard) = (round + 1, heard + echoed.len());
        }
        assert_eq!(reader.read(&mut [0]).expect("an orderly end"), 0);
        heard
    });
    std::thread::spawn(move || {
        let (mut round, mut said) = (0, 0);
        while !stop.load(Ordering::Relaxed) {
            stream.write_all(&piece(round)).expect("it is read");
            (round, said) = (round + 1, said + piece(0).len());
        }
        stream.shutdown(Shutdown::Write).expect("it is open");
        let heard = reading.join().expect("every piece came back");
        assert_eq!(heard, said, "and none twice");
        said
    })
}

#[test]
fn no_byte_is_lost_or_repeated_however_often_a_session_is_carried() {
    const ROUNDS: u64 = 60;
    let stop = Arc::new(AtomicBool::new(false));
    let mut at = start(Mode::Echo, limits());
    let connects = |at: &Running| talk(at.connect(), stop.clone());
    let peers: Vec<JoinHandle<usize>> = (0..4).map(|_| connects(&at)).collect();
    let mut silent = at.connect();
    round_trip(&mut silent, b"hello");
    let count = peers.len() as u64 + 1;
    let mut carried_in = 0;
    for _ in 0..ROUNDS {
        let mut next = start(Mode::Echo, limits());
        hand_over(&mut at, &mut next);
        let board = at.board.clone();
        assert_eq!(at.join(), Outcome::Drained);
        assert_eq!(board.read(Counter::CarriedOut), count);
        assert_eq!(board.read(Counter::Connections), 0);
        assert_eq!(board.read(Counter::CarriedIn), carried_in);
        (at, carried_in) = (next, count);
    }
    round_trip(&mut silent, b"still here");
    drop(silent);
    stop.store(true, Ordering::Relaxed);
    for peer in peers {
        let said = peer.join().expect("every byte came back once");
        assert!(said > 0, "it said something");
    }
    assert_eq!(at.stop(), Outcome::Drained);
}

/// Its place is wanted by a third, before the second has said how much room it has.
#[test]
fn a_giver_that_is_told_to_drain_gives_all_the_same() {
    const SESSIONS: u64 = 200;
    let mut at = start(Mode::Echo, limits());
    let mut next = start(Mode::Echo, limits());
    let mut streams: Vec<TcpStream> = (0..SESSIONS).map(|_| at.connect()).collect();
    for stream in &mut streams {
        round_trip(stream, b"hello");
    }
    let (gives, takes) = pair();
    at.order(give(GRACE_MS), gives);
    at.order(
        Order::Drain {
            grace_ms: 10_000,
            leaving: Vec::new(),
            hurried: true,
        },
        None,
    );
    next.order(Order::Take {}, takes);
    let board = at.board.clone();
    assert_eq!(at.join(), Outcome::Drained);
    assert_eq!(board.read(Counter::CarriedOut), SESSIONS);
    for stream in &mut streams {
        round_trip(stream, b"still here");
    }
    drop(streams);
    assert_eq!(next.stop(), Outcome::Drained);
}

#[test]
fn a_session_that_cannot_be_carried_stays_and_one_that_is_refused_ends_in_order() {
    for (from, to) in [(Mode::Stays, Mode::Echo), (Mode::Echo, Mode::Refuses)] {
        let mut at = start(from, limits());
        let mut next = start(to, limits());
        let mut stream = at.connect();
        round_trip(&mut stream, b"hello");
        let (gives, takes) = pair();
        next.order(Order::Take {}, takes);
        at.order(give(200), gives);
        assert_eq!(stream.read(&mut [0; 1]).expect("an orderly end"), 0);
        drop(stream);
        let board = at.board.clone();
        assert_eq!(at.join(), Outcome::Drained);
        assert_eq!(board.read(Counter::CarriedOut), 0);
        let refused = u64::from(to == Mode::Refuses);
        assert_eq!(next.board.read(Counter::CarryRefused), refused);
        next.stop();
    }
}

#[test]
fn what_peers_have_finished_or_reset_is_found_out_by_the_taker() {
    let mut at = start(Mode::Echo, limits());
    let mut next = start(Mode::Echo, limits());
    let [mut finished, mut reset, mut slow] = [at.connect(), at.connect(), at.connect()];
    for stream in [&mut finished, &mut reset, &mut slow] {
        round_trip(stream, b"hello");
    }
    // More than the kernel buffers, so that the worker keeps output and leaves input.
    let bytes = noise(8 << 20, 7);
    let (mut writer, sent) = (slow.try_clone().expect("a descriptor"), bytes.clone());
    let writing = std::thread::spawn(move || {
        writer.write_all(&sent).expect("it is read");
        writer.shutdown(Shutdown::Write).expect("it is open");
    });
    // Between the two orders nobody reads: what the peers do meanwhile waits for the taker.
    let (gives, takes) = pair();
    at.order(give(GRACE_MS), gives);
    finished.write_all(b"last words").expect("it is read");
    finished.shutdown(Shutdown::Write).expect("it is open");
    let at_once = linger {
        l_onoff: 1,
        l_linger: 0,
    };
    setsockopt(&reset, sockopt::Linger, &at_once).expect("it is a socket");
    drop(reset);
    next.order(Order::Take {}, takes);
    let mut echoed = Vec::new();
    finished.read_to_end(&mut echoed).expect("an orderly end");
    assert_eq!(echoed, b"last words");
    let mut echoed = vec![0; bytes.len()];
    slow.read_exact(&mut echoed).expect("all of it");
    assert!(echoed == bytes, "an echo differs");
    writing.join().expect("no panic");
    assert_eq!(slow.read(&mut [0; 1]).expect("an orderly end"), 0);
    assert_eq!(at.join(), Outcome::Drained);
    drop((finished, slow));
    next.stop();
}

// --- one side is played by the test ---------------------------------------------------------------

/// What the giver says, once there is something; the sockets with it.
fn hear(stream: &OwnedFd) -> Option<(Message, Vec<OwnedFd>)> {
    let mut fds = [PollFd::new(stream.as_fd(), PollFlags::POLLIN)];
    let patience = PollTimeout::try_from(PATIENCE).expect("it fits");
    assert_eq!(poll(&mut fds, patience), Ok(1), "something comes");
    let mut buffer = vec![0; 1 << 18];
    match passing::receive(stream, &mut buffer) {
        Ok(Packet { bytes: 0, .. }) | Err(_) => None,
        Ok(packet) => {
            let message = Message::read(&buffer[..packet.bytes]).expect("a message");
            Some((message, packet.fds))
        }
    }
}

fn say(stream: &OwnedFd, message: &Message) {
    passing::send(stream, &message.write(), &[]).expect("it is heard");
}

fn adopted(number: u32) -> Message {
    Message::Answers(Answers {
        number,
        room: 0,
        answers: vec![Answer::Adopted],
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taker {
    GoneAtOnce,
    GoneBeforeTheBatch,
    GoneWithTheBatch,
    TalksNonsense,
    AnswersSomethingElse,
    HasNoRoom,
    TakesNothing,
    Silent,
}

/// Whatever becomes of the taker, a session that it has not adopted goes on where it was, for as long
/// as that may take.
#[test]
fn a_taker_that_fails_at_any_moment_costs_no_session() {
    for taker in [
        Taker::GoneAtOnce,
        Taker::GoneBeforeTheBatch,
        Taker::GoneWithTheBatch,
        Taker::TalksNonsense,
        Taker::AnswersSomethingElse,
        Taker::HasNoRoom,
        Taker::TakesNothing,
        Taker::Silent,
    ] {
        let mut at = start(Mode::Echo, limits());
        let mut stream = at.connect();
        round_trip(&mut stream, b"hello");
        stream.write_all(b"under way").expect("the kernel takes it");
        let (gives, takes) = pair();
        let grace_ms = if taker == Taker::Silent { 300 } else { 2000 };
        if taker == Taker::GoneAtOnce {
            drop(takes);
            at.order(give(grace_ms), gives);
        } else {
            at.order(give(grace_ms), gives);
            act(taker, takes);
        }
        let mut echoed = [0; 9];
        stream.read_exact(&mut echoed).expect("it is served here");
        assert_eq!(&echoed, b"under way", "{taker:?}");
        assert_eq!(stream.read(&mut [0; 1]).expect("drained"), 0, "{taker:?}");
        drop(stream);
        let board = at.board.clone();
        assert_eq!(at.join(), Outcome::Drained);
        assert_eq!(board.read(Counter::CarriedOut), 0, "{taker:?}");
        let broken = [Taker::TalksNonsense, Taker::AnswersSomethingElse].contains(&taker);
        assert_eq!(board.read(Counter::CarryBroken), u64::from(broken));
    }
}

fn act(taker: Taker, stream: OwnedFd) {
    match taker {
        Taker::GoneAtOnce | Taker::GoneBeforeTheBatch => return,
        Taker::HasNoRoom => return say(&stream, &Message::Room(0)),
        _ => say(&stream, &Message::Room(10)),
    }
    let Some((Message::Batch(batch), sockets)) = hear(&stream) else {
        panic!("a batch comes");
    };
    assert_eq!((batch.records.len(), sockets.len()), (1, 1));
    match taker {
        Taker::TalksNonsense => passing::send(&stream, b"nonsense", &[]).expect("it is heard"),
        Taker::AnswersSomethingElse => say(&stream, &adopted(batch.number + 1)),
        Taker::TakesNothing => say(
            &stream,
            &Message::Answers(Answers {
                number: batch.number,
                room: 0,
                answers: vec![Answer::NotTaken],
            }),
        ),
        // It is told that the session is not to be adopted any more, before that goes on.
        Taker::Silent => assert_eq!(hear(&stream).map(|it| it.0), Some(Message::Revoked)),
        _ => {}
    }
    if taker == Taker::TakesNothing {
        assert!(hear(&stream).is_none(), "the giver has nothing more to say");
    }
}

/// Whoever dies meanwhile leaves in its count what dies with it, and nothing that another has.
#[test]
fn a_session_on_its_way_is_counted_by_nobody_but_whoever_has_it_then() {
    for (answer, has_it) in [(Answer::Adopted, 0), (Answer::NotTaken, 1)] {
        let mut at = start(Mode::Echo, limits());
        let mut stream = at.connect();
        round_trip(&mut stream, b"hello");
        assert_eq!(at.board.read(Counter::Connections), 1);
        let (gives, takes) = pair();
        at.order(give(GRACE_MS), gives);
        say(&takes, &Message::Room(10));
        let Some((Message::Batch(batch), _sockets)) = hear(&takes) else {
            panic!("a batch comes");
        };
        becomes(&at, 0);
        let answers = Message::Answers(Answers {
            number: batch.number,
            room: 0,
            answers: vec![answer],
        });
        say(&takes, &answers);
        if has_it == 1 {
            round_trip(&mut stream, b"still here");
        }
        becomes(&at, has_it);
        drop(stream);
        let board = at.board.clone();
        assert_eq!(at.join(), Outcome::Drained);
        assert_eq!(board.read(Counter::Connections), 0);
        assert_eq!(board.read(Counter::CarriedOut), 1 - has_it);
    }
}

fn becomes(at: &Running, connections: u64) {
    let until = Instant::now() + PATIENCE;
    while at.board.read(Counter::Connections) != connections {
        assert!(Instant::now() < until, "it is never {connections}");
        std::thread::yield_now();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Giver {
    /// Killed before it could hear the answer.
    Dies,
    /// Has given up waiting before it could hear the answer.
    Revokes,
    HasFewerSockets,
    TalksNonsense,
}

/// Whose a session is, is the same question to both sides at every moment.
#[test]
fn a_giver_that_fails_leaves_a_session_to_the_taker_or_keeps_it_and_never_both() {
    for giver in [
        Giver::Dies,
        Giver::Revokes,
        Giver::HasFewerSockets,
        Giver::TalksNonsense,
    ] {
        // A real giver makes the record and the socket.
        let mut at = start(Mode::Echo, limits());
        let mut next = start(Mode::Echo, limits());
        let mut stream = at.connect();
        round_trip(&mut stream, b"hello");
        let (gives, from_giver) = pair();
        at.order(give(2000), gives);
        say(&from_giver, &Message::Room(10));
        let Some((Message::Batch(batch), sockets)) = hear(&from_giver) else {
            panic!("a batch comes");
        };
        let (to_taker, takes) = pair();
        next.order(Order::Take {}, takes);
        assert!(matches!(hear(&to_taker), Some((Message::Room(1000), _))));
        let lent: Vec<BorrowedFd<'_>> = sockets.iter().map(AsFd::as_fd).collect();
        let message = Message::Batch(Batch {
            number: 1,
            ..batch.clone()
        });
        match giver {
            Giver::TalksNonsense => passing::send(&to_taker, b"nonsense", &lent),
            Giver::HasFewerSockets => passing::send(&to_taker, &message.write(), &[]),
            Giver::Dies | Giver::Revokes => {
                shutdown(to_taker.as_raw_fd(), nix::sys::socket::Shutdown::Read)
                    .expect("it is open");
                passing::send(&to_taker, &message.write(), &lent)
            }
        }
        .expect("it is heard");
        drop(sockets);
        match giver {
            Giver::Dies => {}
            Giver::Revokes => say(&to_taker, &Message::Revoked),
            Giver::HasFewerSockets | Giver::TalksNonsense => {
                assert!(hear(&to_taker).is_none(), "the taker hangs up");
            }
        }
        drop(to_taker);
        let taken = giver == Giver::Dies;
        if taken {
            say(&from_giver, &adopted(batch.number));
            assert_eq!(at.join(), Outcome::Drained);
            assert_eq!(next.event(), Event::Taken);
            round_trip(&mut stream, b"at the taker");
        } else {
            if giver == Giver::Revokes {
                assert_eq!(next.event(), Event::Taken);
                assert_eq!(next.event(), Event::Closed(End::Carried));
            }
            stream
                .write_all(b"where it was")
                .expect("the kernel takes it");
            drop(from_giver);
            let mut echoed = Vec::new();
            stream.read_to_end(&mut echoed).expect("drained in order");
            assert_eq!(echoed, b"where it was", "{giver:?}");
            stream.shutdown(Shutdown::Both).expect("it is a socket");
            assert_eq!(at.join(), Outcome::Drained);
        }
        drop(stream);
        let board = next.board.clone();
        next.stop();
        assert_eq!(
            board.read(Counter::CarriedIn),
            u64::from(taken),
            "{giver:?}"
        );
        let broken = [Giver::HasFewerSockets, Giver::TalksNonsense].contains(&giver);
        assert_eq!(
            board.read(Counter::CarryBroken),
            u64::from(broken),
            "{giver:?}"
        );
    }
}

#[test]
fn what_the_taker_has_no_room_for_stays_and_what_it_has_is_carried() {
    let mut at = start(Mode::Echo, limits());
    let small = Limits {
        connections: 70,
        ..limits()
    };
    let mut next = start(Mode::Echo, small);
    let mut streams: Vec<TcpStream> = (0..100).map(|_| at.connect()).collect();
    for stream in &mut streams {
        round_trip(stream, b"hello");
    }
    let (gives, takes) = pair();
    next.order(Order::Take {}, takes);
    at.order(give(200), gives);
    let board = at.board.clone();
    assert_eq!(at.join(), Outcome::Drained);
    assert_eq!(board.read(Counter::CarriedOut), 70);
    let mut alive = 0;
    for stream in &mut streams {
        stream.write_all(b"x").unwrap_or_default();
        match stream.read(&mut [0; 1]) {
            Ok(1) => alive += 1,
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
    assert_eq!(alive, 70);
    drop(streams);
    next.stop();
}
