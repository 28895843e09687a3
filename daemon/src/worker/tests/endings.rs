//! How a worker ends, and how it is woken: orders, the end of its channel, its plugin's threads.

use super::*;
use crate::worker::stream::{Heard, Stream};

#[test]
fn a_drain_finishes_the_quiet_ones_and_closes_the_rest_at_its_end() {
    let mut running = start(Mode::Echo, limits());
    let mut streams: Vec<TcpStream> = (0..10).map(|_| running.connect()).collect();
    for stream in &mut streams {
        round_trip(stream, b"hello");
        assert_eq!(running.event(), Event::Opened);
    }
    running.drain(5);
    for mut stream in streams {
        assert_eq!(stream.read(&mut [0; 1]).expect("a FIN"), 0);
    }
    for _ in 0..10 {
        assert_eq!(running.event(), Event::Closed(End::Drain));
    }
    assert_eq!(running.join(), Outcome::Drained);
}

#[test]
fn a_connection_with_unconsumed_input_stays_until_the_end_of_the_grace() {
    let mut running = start(Mode::Deaf, limits());
    let mut stream = running.connect();
    stream.write_all(b"half a li").expect("the kernel takes it");
    assert_eq!(running.event(), Event::Opened);
    running.drain(1);
    let end = stream.read(&mut [0; 1]);
    assert!(matches!(end, Ok(0)), "{end:?}");
    assert_eq!(running.event(), Event::Closed(End::Drain));
    assert_eq!(running.join(), Outcome::Drained);
}

#[test]
fn a_worker_without_a_supervisor_drains() {
    let running = start(Mode::Echo, limits());
    let mut stream = running.connect();
    round_trip(&mut stream, b"hello");
    running
        .channel
        .shutdown(Shutdown::Both)
        .expect("it is open");
    assert_eq!(stream.read(&mut [0; 1]).expect("a FIN"), 0);
    drop(stream);
    let late = TcpStream::connect(running.address()).and_then(|mut stream| {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.read(&mut [0; 1])
    });
    assert!(!matches!(late, Ok(1..)), "nothing new is served: {late:?}");
    assert_eq!(running.join(), Outcome::Orphaned);
}

#[test]
fn a_wake_from_another_thread_reaches_the_protocol() {
    let running = start(Mode::Echo, limits());
    let mut stream = running.connect();
    assert_eq!(running.event(), Event::Opened);
    for token in [1u64, 2, 3] {
        running.wakes.send(token).expect("the worker lives");
        running.wake_fd.write(1).expect("far from full");
        let mut told = [0; 8];
        stream.read_exact(&mut told).expect("it is told");
        assert_eq!(u64::from_le_bytes(told), token);
    }
    drop(stream);
    running.stop();
}

#[test]
fn who_is_done_waits_for_no_peer_and_resets_none() {
    let running = start(Mode::Done, limits());
    let mut stream = running.connect();
    stream.write_all(b"ask").expect("it is read");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("no reset");
    assert_eq!(answer, b"bye");
    // Our end is open still.
    assert_eq!(running.event(), Event::Opened);
    assert_eq!(running.event(), Event::Closed(End::Finished));
    drop(stream);
    assert_eq!(running.stop(), Outcome::Drained);
}

#[test]
fn a_socket_closes_in_order_while_nothing_waits_in_it() {
    let (ours, mut theirs) = UnixStream::pair().expect("a pair");
    let mut stream = Stream::new(ours.into(), 0);
    assert!(stream.would_reset(), "nobody has said how it closes");
    stream.closes_in_order = true;
    assert!(!stream.would_reset());
    theirs.write_all(b"more").expect("it is open");
    assert!(stream.would_reset());
    assert!(matches!(stream.read(&mut [0; 9]), Heard::Bytes(4)));
    assert!(!stream.would_reset(), "it was read");
    drop(theirs);
    assert!(!stream.would_reset(), "a FIN is no input");
}
