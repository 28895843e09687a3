//! A listener that has much to answer, and when the event queue knows of it.

use std::fs;
use std::net::UdpSocket;
use std::time::Instant;

use nix::sys::stat::fstat;

use super::{PATIENCE, hear, limits, listener, peer, start};
use crate::plan::Address;
use crate::sys::datagram::BATCH;

/// Whether an event queue of this process watches the socket with that inode.
fn is_watched(inode: u64) -> bool {
    let line = format!("ino:{inode:x} ");
    let queues = fs::read_dir("/proc/self/fdinfo").expect("mounted");
    queues.flatten().any(|queue| {
        // Those of other tests come and go.
        let facts = fs::read_to_string(queue.path()).unwrap_or_default();
        facts
            .lines()
            .any(|fact| fact.starts_with("tfd:") && fact.contains(&line))
    })
}

#[test]
fn whoever_is_busy_is_read_unasked_and_watched_again_once_nothing_waits() {
    let (socket, local) = listener("127.0.0.1:0");
    let inode = fstat(&socket).expect("a descriptor").st_ino;
    // One whole batch for as many peers, which no run makes fewer, and one more that stands still.
    let peers: Vec<UdpSocket> = (0..=BATCH).map(|_| peer("127.0.0.1:0")).collect();
    for (nth, peer) in peers.iter().enumerate() {
        let payload: &[u8] = if nth < BATCH { b"many" } else { b"wait" };
        peer.send_to(payload, local).expect("it is taken");
    }
    let running = start(vec![(socket.into(), Address::Udp(local))], limits());
    for _ in &peers {
        running.told();
    }
    assert!(!is_watched(inode), "it left with the first batch");
    // The batch in which it stands was not full: this one is of the next turn.
    peers[0].send_to(b"wait", local).expect("it is taken");
    running.go.send(()).expect("it waits for that");
    running.told();
    assert!(!is_watched(inode), "something waited in it");
    running.go.send(()).expect("it waits for that");
    for peer in peers.iter().chain(&peers[..1]) {
        hear(peer);
    }
    let begun = Instant::now();
    while !is_watched(inode) {
        assert!(begun.elapsed() < PATIENCE, "nothing waits in it");
        std::thread::yield_now();
    }
    peers[0].send_to(b"once more", local).expect("it is taken");
    assert_eq!(hear(&peers[0]).0, b"once more");
    running.stop();
}
