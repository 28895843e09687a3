//! Sessions that wait to leave, because what they have said on the bus is not ahead of them yet.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use nix::sys::socket::{SockaddrIn, bind, connect, socket};

use super::*;
use crate::channel::Ban;
use crate::worker::handover::BUS_WAIT_MS;

fn connect_from(at: &Running, source: Ipv4Addr) -> TcpStream {
    let SocketAddr::V4(to) = at.address() else {
        panic!("a listener on IPv4");
    };
    let flags = SockFlag::SOCK_CLOEXEC;
    let fd = socket(AddressFamily::Inet, SockType::Stream, flags, None).expect("a socket");
    let from = SockaddrIn::from(SocketAddrV4::new(source, 0));
    bind(fd.as_raw_fd(), &from).expect("all of 127 is ours");
    connect(fd.as_raw_fd(), &SockaddrIn::from(to)).expect("it listens");
    let stream = TcpStream::from(fd);
    stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
    stream
}

/// What a session has said on the bus is there before it; but not for ever is that waited for.
#[test]
fn a_session_leaves_behind_what_it_has_said_or_when_that_takes_too_long() {
    for is_heard in [true, false] {
        let mut at = start(Mode::Unheard, limits());
        let mut stream = at.connect();
        round_trip(&mut stream, b"hello");
        assert_eq!(at.event(), Event::Opened);
        let began = Instant::now();
        let (gives, takes) = pair();
        at.order(give(GRACE_MS), gives);
        say(&takes, &Message::Room(10));
        assert_eq!(at.event(), Event::Waits);
        let mut fds = [PollFd::new(takes.as_fd(), PollFlags::POLLIN)];
        let has_left = poll(&mut fds, PollTimeout::ZERO) == Ok(1);
        let took_too_long = began.elapsed().as_millis() >= u128::from(BUS_WAIT_MS);
        assert!(!has_left || took_too_long, "it has left before that");
        if is_heard {
            at.wake(0);
        }
        let Some((Message::Batch(batch), _sockets)) = hear(&takes) else {
            panic!("a batch comes");
        };
        say(&takes, &adopted(batch.number));
        let board = at.board.clone();
        assert_eq!(at.join(), Outcome::Drained);
        assert_eq!(board.read(Counter::CarriedOut), 1);
    }
}

/// A giver that is told to stop while a batch waits has its sessions as they were.
#[test]
fn a_session_that_waits_to_leave_goes_on_where_it_was_if_there_is_no_time() {
    let mut at = start(Mode::Unheard, limits());
    let mut stream = at.connect();
    round_trip(&mut stream, b"hello");
    assert_eq!(at.event(), Event::Opened);
    let (gives, takes) = pair();
    at.order(give(300), gives);
    say(&takes, &Message::Room(10));
    assert_eq!(at.event(), Event::Waits);
    round_trip(&mut stream, b"served here");
    assert_eq!(stream.read(&mut [0; 1]).expect("drained"), 0);
    drop(stream);
    let board = at.board.clone();
    assert_eq!(at.join(), Outcome::Drained);
    assert_eq!(board.read(Counter::CarriedOut), 0);
    assert_eq!(board.read(Counter::Connections), 0);
}

/// Who is banned while a batch waits is in it no more, and all others of it leave.
#[test]
fn a_session_that_ends_while_its_batch_waits_holds_up_no_other() {
    let mut at = start(Mode::Unheard, limits());
    let mut stays = at.connect();
    round_trip(&mut stays, b"hello");
    assert_eq!(at.event(), Event::Opened);
    let mut goes = connect_from(&at, Ipv4Addr::new(127, 0, 0, 9));
    round_trip(&mut goes, b"hello");
    assert_eq!(at.event(), Event::Opened);
    let (gives, takes) = pair();
    at.order(give(GRACE_MS), gives);
    say(&takes, &Message::Room(10));
    assert_eq!(at.event(), Event::Waits);
    let network = "127.0.0.9/32".parse().expect("a network");
    let for_ms = None;
    at.order(Order::Ban(Ban { network, for_ms }), None);
    match goes.read(&mut [0; 1]) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("it is not cut: {other:?}"),
    }
    at.wake(0);
    let Some((Message::Batch(batch), sockets)) = hear(&takes) else {
        panic!("a batch comes");
    };
    assert_eq!((batch.records.len(), sockets.len()), (1, 1));
    say(&takes, &adopted(batch.number));
    let board = at.board.clone();
    assert_eq!(at.join(), Outcome::Drained);
    assert_eq!(board.read(Counter::CarriedOut), 1);
    assert_eq!(board.read(Counter::CarryBroken), 0);
}
