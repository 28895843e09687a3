//! What hosts say against answers: counted, and no other peer loses one by it.

use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::time::Instant;

use super::{PATIENCE, Running, hear, limits, listener, peer, start};
use crate::plan::Address;
use crate::scoreboard::Counter;
use crate::sys::datagram::take_errors;

fn counted(running: &Running, counter: Counter, least: u64) {
    let begun = Instant::now();
    while running.board.read(counter) < least {
        assert!(begun.elapsed() < PATIENCE, "{counter:?} does not come");
        std::thread::yield_now();
    }
}

#[test]
fn an_error_on_the_way_is_counted_and_loses_no_answer_of_others() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let (socket, local) = listener(address);
        let running = start(vec![(socket.into(), Address::Udp(local))], limits());
        let gone = peer(address);
        gone.send_to(b"wait", local).expect("it is taken");
        running.told();
        // Behind it in one batch, those who stay and those who go take turns.
        let stay: Vec<UdpSocket> = (0..10).map(|_| peer(address)).collect();
        for (nth, peer) in (0..).zip(&stay) {
            peer.send_to(&[nth], local).expect("it is taken");
            gone.send_to(&[nth], local).expect("it is taken");
        }
        drop(gone);
        running.go.send(()).expect("it waits");
        for (nth, peer) in (0..).zip(&stay) {
            assert_eq!(hear(peer).0, [nth], "{address}");
        }
        counted(&running, Counter::DatagramsOut, 21);
        counted(&running, Counter::IcmpErrors, 1);
        let board = running.stop();
        assert_eq!(board.read(Counter::DatagramsDropped), 0, "{address}");
        assert!(board.read(Counter::IcmpErrors) <= 11, "{address}");
    }
}

#[test]
fn an_error_that_comes_before_a_send_is_not_the_end_of_what_is_sent() {
    let (socket, local) = listener("127.0.0.1:0");
    let same = socket.try_clone().expect("a descriptor");
    let running = start(vec![(socket.into(), Address::Udp(local))], limits());
    let asks = peer("127.0.0.1:0");
    asks.send_to(b"wait", local).expect("it is taken");
    running.told();
    // While it is being answered somebody says something against another datagram of this socket.
    let gone = peer("127.0.0.1:0").local_addr().expect("it was bound");
    same.send_to(b"hello", gone).expect("it is taken");
    running.go.send(()).expect("it waits");
    assert_eq!(hear(&asks).0, b"wait");
    let board = running.stop();
    assert_eq!(board.read(Counter::IcmpErrors), 1);
    assert_eq!(board.read(Counter::DatagramsDropped), 0);
}

#[test]
fn an_error_is_heard_of_although_nothing_else_comes_and_only_once() {
    let (socket, local) = listener("127.0.0.1:0");
    let same = socket.try_clone().expect("a descriptor");
    let running = start(vec![(socket.into(), Address::Udp(local))], limits());
    let gone = peer("127.0.0.1:0").local_addr().expect("it was bound");
    same.send_to(b"hello", gone).expect("it is taken");
    counted(&running, Counter::IcmpErrors, 1);
    assert_eq!(
        take_errors(same.as_fd()),
        0,
        "nothing is left to wake up for"
    );
    assert_eq!(running.stop().read(Counter::IcmpErrors), 1);
}
