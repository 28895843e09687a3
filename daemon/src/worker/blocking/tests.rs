//! Handlers and jobs on threads, with real loopback sockets and closures in place of a plugin. Every
//! wait is for a message or for bytes, with a limit that only a failure reaches.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc;

use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt};

use super::super::Outcome;
use super::super::tests::{PATIENCE, limits};
use crate::engine::handler::{Halt, JobEnd};
use crate::engine::session::End;
use crate::plan::Limits;
use crate::scoreboard::Counter;

mod scene;

use scene::{read_all, rest, scene, telling, with};

#[test]
fn a_handler_reads_to_the_end_and_answers_after_it() {
    let scene = scene(limits(), |stream| {
        let all = read_all(stream).expect("the peer finishes");
        assert_eq!(stream.read(&mut [0; 1], false), Ok(0), "the end stays");
        stream.write(&all, false).expect("the peer reads");
        Ok(())
    });
    let mut peer = scene.running.connect();
    let sent = vec![7; 3 << 20];
    let (mut writer, bytes) = (peer.try_clone().expect("a descriptor"), sent.clone());
    let writing = std::thread::spawn(move || {
        writer.write_all(&bytes).expect("it is read");
        writer.shutdown(Shutdown::Write).expect("it is open");
    });
    let mut back = Vec::new();
    peer.read_to_end(&mut back).expect("an orderly end");
    writing.join().expect("no panic");
    assert!(back == sent);
    let board = scene.running.board.clone();
    assert_eq!(scene.running.stop(), Outcome::Drained);
    for (counter, count) in [
        (Counter::Connections, 0),
        (Counter::Accepted, 1),
        (Counter::BytesIn, 3 << 20),
        (Counter::BytesOut, 3 << 20),
    ] {
        assert_eq!(board.read(counter), count, "{counter:?}");
    }
}

#[test]
fn peeked_bytes_are_read_again_and_a_half_closed_stream_is_read_on() {
    let (tell, told) = telling();
    let scene = scene(limits(), move |stream| {
        let mut buffer = [0; 3];
        assert_eq!(stream.read(&mut buffer, true), Ok(3));
        assert_eq!(stream.read(&mut buffer, true), Ok(3));
        stream.write(b"bye", true).expect("the peer reads");
        assert_eq!(
            stream.write(b"", false),
            Ok(()),
            "nothing is never too late"
        );
        assert_eq!(stream.write(b"late", false), Err(Halt::Gone));
        assert_eq!(stream.write(b"", true), Err(Halt::Gone));
        tell(read_all(stream).expect("the peer finishes"));
        Ok(())
    });
    let mut peer = scene.running.connect();
    peer.write_all(b"abcdef").expect("it is read");
    assert_eq!(rest(&mut peer), "bye");
    peer.write_all(b"ghi").expect("it is still read");
    peer.shutdown(Shutdown::Write).expect("it is open");
    assert_eq!(told(), b"abcdefghi");
    scene.running.stop();
}

#[test]
fn an_answer_arrives_although_the_handler_left_input_unread() {
    let scene = scene(limits(), |stream| {
        stream.read(&mut [0; 1], false).expect("the peer speaks");
        stream.write(b"enough", false).expect("the peer reads");
        Ok(())
    });
    let mut peer = scene.running.connect();
    peer.write_all(&[b'x'; 100_000]).expect("it is taken");
    assert_eq!(rest(&mut peer), "enough");
    // Its connection lingers until it has finished, and is counted as long.
    assert_eq!(scene.running.board.read(Counter::Connections), 1);
    drop(peer);
    scene.running.stop();
}

#[test]
fn how_a_handler_ends_decides_between_a_fin_and_a_reset() {
    for (verdict, reset) in [
        (Ok(()), false),
        (Err(End::Drain), false),
        (Err(End::Aborted), true),
        (Err(End::Fault), true),
    ] {
        let scene = scene(limits(), move |stream| {
            stream.read(&mut [0; 1], false).expect("the peer speaks");
            verdict
        });
        let mut peer = scene.running.connect();
        peer.write_all(b"x").expect("it is read");
        match peer.read(&mut [0; 1]) {
            Ok(count) => assert!(count == 0 && !reset, "{verdict:?}"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                assert!(reset, "{verdict:?}");
            }
        }
        drop(peer);
        let board = scene.running.board.clone();
        scene.running.stop();
        let faults = u64::from(verdict == Err(End::Fault));
        assert_eq!(board.read(Counter::PluginFaults), faults, "{verdict:?}");
    }
}

#[test]
fn limits_end_a_wait_for_good_and_a_deadline_until_the_next_one() {
    type Case = (&'static str, fn(&mut Limits), u64, Counter);
    let cases: [Case; 2] = [
        ("idle", |limits| limits.idle_ms = 30, 1, Counter::ClosedIdle),
        (
            "handler",
            |limits| limits.threads.handler_ms = 30,
            1,
            Counter::ClosedHandler,
        ),
    ];
    for (name, change, count, counter) in cases {
        let (tell, told) = telling();
        let scene = scene(with(change), move |stream| {
            tell(stream.read(&mut [0; 1], false));
            stream.set_deadline(0);
            tell(stream.read(&mut [0; 1], true));
            tell(stream.write(b"x", false).map(|()| 0));
            Ok(())
        });
        let mut peer = scene.running.connect();
        for _ in 0..3 {
            assert_eq!(told(), Err(Halt::TimedOut), "{name}");
        }
        assert_eq!(rest(&mut peer), "", "{name}");
        let board = scene.running.board.clone();
        scene.running.stop();
        assert_eq!(board.read(counter), count, "{name}");
    }
    let (tell, told) = telling();
    let scene = scene(limits(), move |stream| {
        stream.set_deadline(1);
        tell(stream.read(&mut [0; 1], false));
        stream.write(b"late", false).expect("it need not wait");
        stream.set_deadline(0);
        tell(stream.read(&mut [0; 1], false));
        Ok(())
    });
    let mut peer = scene.running.connect();
    assert_eq!(told(), Err(Halt::TimedOut));
    peer.write_all(b"x").expect("it is read");
    assert_eq!(told(), Ok(1));
    assert_eq!(rest(&mut peer), "late");
    scene.running.stop();
}

#[test]
fn a_writer_that_has_to_wait_hears_of_its_deadline() {
    let (tell, told) = telling();
    let scene = scene(limits(), move |stream| {
        stream.set_deadline(20);
        // More than the sockets of both sides hold.
        tell(stream.write(&vec![0; 64 << 20], false));
        Err(End::Aborted)
    });
    let peer = scene.running.connect();
    assert_eq!(told(), Err(Halt::TimedOut));
    drop(peer);
    scene.running.stop();
}

#[test]
fn a_deadline_passes_although_the_peer_goes_on_talking() {
    let scene = scene(limits(), |stream| {
        stream.set_deadline(20);
        let (_, halt) = read_all(stream).expect_err("the peer never finishes");
        assert_eq!(halt, Halt::TimedOut);
        Err(End::Aborted)
    });
    let mut peer = scene.running.connect();
    // Until the reset arrives.
    while peer.write_all(&[b'x'; 1000]).is_ok() {}
    scene.running.stop();
}

#[test]
fn a_peer_that_resets_is_gone_for_its_handler() {
    let (tell, told) = telling();
    let scene = scene(limits(), move |stream| {
        tell(stream.read(&mut [0; 1], false));
        tell(stream.read(&mut [0; 1], false));
        tell(stream.write(b"x", false).map(|()| 0));
        Err(End::Aborted)
    });
    let mut peer = scene.running.connect();
    peer.write_all(b"x").expect("it is read");
    assert_eq!(told(), Ok(1));
    let at_once = linger {
        l_onoff: 1,
        l_linger: 0,
    };
    setsockopt(&peer, sockopt::Linger, &at_once).expect("set");
    drop(peer);
    assert_eq!(told(), Err(Halt::Gone));
    assert_eq!(told(), Err(Halt::Gone));
    scene.running.stop();
}

#[test]
fn a_drain_wakes_who_waits_for_a_peer_and_lets_everybody_speak_to_the_end() {
    let (tell, told) = telling();
    let mut scene = scene(limits(), move |stream| {
        tell(stream.read(&mut [0; 8], false));
        tell(stream.read(&mut [0; 8], false));
        tell(stream.read(&mut [0; 8], true));
        stream
            .write(b"goodbye", false)
            .expect("there is time for it");
        Err(End::Drain)
    });
    let mut peer = scene.running.connect();
    peer.write_all(b"request").expect("it is read");
    assert_eq!(told(), Ok(7));
    scene.running.drain(200);
    assert_eq!(told(), Err(Halt::Cancelled));
    assert_eq!(told(), Err(Halt::Cancelled));
    assert_eq!(rest(&mut peer), "goodbye");
    drop(peer);
    assert_eq!(scene.running.join_with_protocol(), (Outcome::Drained, true));
}

#[test]
fn when_the_time_to_drain_is_over_a_blocked_writer_is_woken_too() {
    let (tell, told) = telling();
    let mut scene = scene(limits(), move |stream| {
        tell(Ok(()));
        // More than the sockets of both sides hold.
        tell(stream.write(&vec![0; 64 << 20], false));
        Err(End::Drain)
    });
    let peer = scene.running.connect();
    assert_eq!(told(), Ok(()));
    scene.running.drain(1);
    assert_eq!(told(), Err(Halt::Cancelled));
    assert_eq!(scene.running.join_with_protocol(), (Outcome::Drained, true));
    drop(peer);
}

#[test]
fn a_handler_that_does_not_return_is_left_behind_with_its_protocol() {
    let (stay, staying) = mpsc::channel::<()>();
    let staying = Mutex::new(staying);
    let (tell, told) = telling();
    let mut scene = scene(limits(), move |_| {
        tell(());
        let _ = staying.lock().expect("nobody panics with it").recv();
        Ok(())
    });
    let peer = scene.running.connect();
    told();
    scene.running.drain(0);
    assert_eq!(
        scene.running.join_with_protocol(),
        (Outcome::Drained, false)
    );
    drop((peer, stay));
}

#[test]
fn when_all_threads_serve_some_wait_and_the_others_are_refused() {
    let change = |limits: &mut Limits| (limits.threads.max, limits.threads.queue_max) = (2, 1);
    let (tell, told) = telling();
    let scene = scene(with(change), move |stream| {
        tell(());
        let all = read_all(stream).expect("the peer finishes");
        stream.write(&all, false).expect("the peer reads");
        Ok(())
    });
    let mut served: Vec<TcpStream> = (0..2).map(|_| scene.running.connect()).collect();
    served.iter().for_each(|_| told());
    // Both threads are busy: the third waits, the fourth is turned away.
    let mut waiting = scene.running.connect();
    let mut refused = scene.running.connect();
    assert_eq!(rest(&mut refused), "");
    assert_eq!(scene.running.board.read(Counter::RefusedBusy), 1);
    assert_eq!(scene.running.board.read(Counter::Connections), 3);
    for peer in &mut served {
        peer.write_all(b"done").expect("it is read");
        peer.shutdown(Shutdown::Write).expect("it is open");
        assert_eq!(rest(peer), "done");
    }
    told();
    waiting.write_all(b"at last").expect("it is read");
    waiting.shutdown(Shutdown::Write).expect("it is open");
    assert_eq!(rest(&mut waiting), "at last");
    scene.running.stop();
}

#[test]
fn sessions_of_threads_count_against_the_limit_on_connections() {
    let (tell, told) = telling();
    let scene = scene(with(|limits| limits.connections = 1), move |stream| {
        tell(());
        let all = read_all(stream).expect("the peer finishes");
        stream.write(&all, false).expect("the peer reads");
        Ok(())
    });
    let mut first = scene.running.connect();
    told();
    let mut second = scene.running.connect();
    second.write_all(b"second").expect("it is taken");
    second.shutdown(Shutdown::Write).expect("it is open");
    first.write_all(b"first").expect("it is read");
    assert_eq!(scene.running.board.read(Counter::Accepted), 1);
    first.shutdown(Shutdown::Write).expect("it is open");
    assert_eq!(rest(&mut first), "first");
    told();
    assert_eq!(rest(&mut second), "second");
    scene.running.stop();
}

#[test]
fn jobs_run_and_are_told_of_once_each_and_more_than_may_wait_are_refused() {
    let scene = scene(limits(), |_| Ok(()));
    for token in 0..4 {
        scene.running.wake(token);
    }
    let end = || scene.ends.recv_timeout(PATIENCE).expect("a job is over");
    assert_eq!(end(), JobEnd::Faulted("refused".into()), "three are taken");
    for _ in 0..3 {
        scene.gate.send(()).expect("they wait");
        assert_eq!(end(), JobEnd::Ran);
    }
    scene.running.wake(9);
    scene.gate.send(()).expect("it waits");
    assert_eq!(end(), JobEnd::Ran, "there is room again");
    scene.running.stop();
}

#[test]
fn a_drain_waits_for_jobs_that_were_taken_and_takes_no_more() {
    let change = |limits: &mut Limits| limits.threads.max = 1;
    let mut scene = scene(with(change), |_| Ok(()));
    let end = || scene.ends.recv_timeout(PATIENCE).expect("a job is over");
    for token in 0..2 {
        scene.running.wake(token);
    }
    scene.began.recv_timeout(PATIENCE).expect("a job begins");
    scene.running.drain(200);
    // It runs, and once it is done the worker has heard of the drain.
    scene.gate.send(()).expect("it waits");
    assert_eq!(end(), JobEnd::Ran);
    scene.running.wake(9);
    assert_eq!(end(), JobEnd::Faulted("refused".into()));
    scene.gate.send(()).expect("the other one waits");
    assert_eq!(end(), JobEnd::Ran);
    assert_eq!(scene.running.join_with_protocol(), (Outcome::Drained, true));
}

#[test]
fn when_the_time_to_drain_is_over_jobs_that_wait_are_cancelled_and_one_that_runs_is_left() {
    let change = |limits: &mut Limits| limits.threads.max = 1;
    let mut scene = scene(with(change), |_| Ok(()));
    for token in 0..2 {
        scene.running.wake(token);
    }
    scene.began.recv_timeout(PATIENCE).expect("a job begins");
    scene.running.drain(1);
    let end = scene.ends.recv_timeout(PATIENCE).expect("a job is over");
    assert_eq!(end, JobEnd::Cancelled);
    assert_eq!(
        scene.running.join_with_protocol(),
        (Outcome::Drained, false)
    );
}
