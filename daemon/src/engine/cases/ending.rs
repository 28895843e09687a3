//! Cases of how a connection ends: our FIN, the peer's, and the drain.

use super::play::{Feed, echo, hear, open, play, swallow, take};
use crate::engine::connection::{LINGER_BYTES_MAX, LINGER_MS};
use crate::engine::desk::{Refusal, Said};
use crate::engine::session::{Closing, End, Fed, Token};
use crate::engine::streams::{After, READ_BYTES};

#[test]
fn a_paused_session_that_closes_is_read_again_to_find_the_peers_fin() {
    let mut streams = play(|play, session, input| {
        play.desk.pause(session, true).expect("it is open");
        play.desk
            .write(session, Said::Bytes(b"last"), true)
            .expect("there is room");
        Fed::Took(input.len())
    });
    let token = open(&mut streams, 0);
    hear(&mut streams, token, b"x");
    assert_eq!(take(&mut streams, token, 4, 0), After::ShutWriting);
    while streams.pop_resumed().is_some() {}
    assert!(!streams.wants_read(token));
    streams
        .protocol
        .desk
        .close(token, Closing::Finish)
        .expect("it is open");
    streams.wake(0, 0);
    assert_eq!(streams.pop_resumed(), Some(token));
    assert!(streams.wants_read(token));
}

#[test]
fn after_our_fin_the_peers_is_waited_for_but_not_for_ever() {
    let bye: Feed = |play, session, input| {
        play.desk
            .close(session, Closing::Finish)
            .expect("it is open");
        Fed::Took(input.len())
    };
    for ending in ["fin", "time", "bytes", "reset"] {
        let mut streams = play(bye);
        let token = open(&mut streams, 0);
        hear(&mut streams, token, b"x");
        assert_eq!(take(&mut streams, token, 0, 0), After::ShutWriting);
        assert!(
            streams.wants_read(token),
            "what comes late is read and dropped"
        );
        streams.expire(LINGER_MS - 1);
        hear(&mut streams, token, b"late");
        assert_eq!(streams.len(), 1);
        match ending {
            "fin" => streams.peer_finished(token, 1),
            "time" => streams.expire(LINGER_MS),
            "reset" => streams.lost(token, 1),
            _ => {
                for _ in 0..LINGER_BYTES_MAX / READ_BYTES {
                    hear(&mut streams, token, &[0; READ_BYTES]);
                }
            }
        }
        assert_eq!(
            streams.protocol.closed,
            [(token, End::Finished)],
            "{ending}"
        );
        assert_eq!(streams.protocol.fed.len(), 1, "{ending}");
    }
}

#[test]
fn a_half_closed_session_still_hears_its_peer() {
    let mut streams = play(|play, session, input| {
        let said = play.desk.write(session, Said::Bytes(b"last"), true);
        assert_eq!(
            said.is_ok(),
            play.fed.len() == 1,
            "nothing follows the last"
        );
        Fed::Took(input.len())
    });
    streams.protocol.stays = true;
    let token = open(&mut streams, 0);
    hear(&mut streams, token, b"one");
    assert_eq!(take(&mut streams, token, 2, 0), After::Nothing);
    assert_eq!(take(&mut streams, token, 2, 0), After::ShutWriting);
    hear(&mut streams, token, b"two");
    streams.peer_finished(token, 0);
    assert_eq!(streams.pop_touched(), Some(token));
    take(&mut streams, token, 0, 0);
    assert_eq!(
        streams.protocol.closed,
        [(token, End::Finished)],
        "both ways are finished"
    );
}

#[test]
fn a_session_may_answer_long_after_the_peers_fin() {
    let mut streams = play(swallow);
    streams.protocol.stays = true;
    let token = open(&mut streams, 0);
    streams.peer_finished(token, 0);
    assert!(!streams.wants_read(token));
    streams
        .protocol
        .desk
        .write(token, Said::Bytes(b"answer"), true)
        .expect("there is room");
    streams.wake(0, 0);
    assert_eq!(streams.pop_touched(), Some(token));
    take(&mut streams, token, 6, 0);
    assert_eq!(streams.protocol.closed, [(token, End::Finished)]);
    let parted = streams.pop_parted().expect("its socket is to go");
    assert!(!parted.reset, "closing sends the FIN");
}

#[test]
fn a_drain_is_spread_over_half_its_grace_and_spares_the_busy_until_its_end() {
    // Long after they came.
    const START: u64 = 60_000;
    let mut streams = play(echo);
    let quiet: Vec<Token> = (0..10).map(|_| open(&mut streams, 0)).collect();
    let busy = open(&mut streams, 0);
    hear(&mut streams, busy, b"hello");
    streams.drain(START, 1000);
    let mut finished = Vec::new();
    for now_ms in START..START + 1000 {
        streams.expire(now_ms);
        while let Some(token) = streams.pop_touched() {
            if token != busy && take(&mut streams, token, 0, now_ms) == After::ShutWriting {
                finished.push(now_ms - START);
                let refused = streams
                    .protocol
                    .desk
                    .write(token, Said::Bytes(b"late"), false);
                assert_eq!(refused, Err(Refusal::Gone));
                streams.peer_finished(token, now_ms);
            }
        }
    }
    assert_eq!(finished.len(), quiet.len());
    let first_half = finished.iter().filter(|at_ms| **at_ms < 250).count();
    assert!((4..=7).contains(&first_half), "{finished:?}");
    assert!(finished.iter().all(|at_ms| *at_ms <= 500));
    assert_eq!(streams.len(), 1);
    streams.expire(START + 1000);
    assert!(streams.is_empty());
    assert!(
        streams
            .protocol
            .closed
            .iter()
            .all(|(_, why)| *why == End::Drain)
    );
}

#[test]
fn a_drain_waits_for_who_has_just_come_or_just_spoken() {
    let mut streams = play(echo);
    let token = open(&mut streams, 0);
    streams.drain(100, 8000);
    streams.expire(100);
    assert!(streams.pop_touched().is_none(), "its request is on its way");
    hear(&mut streams, token, b"half of it");
    assert_eq!(take(&mut streams, token, 10, 900), After::Nothing);
    streams.expire(1000);
    assert!(streams.pop_touched().is_none(), "the rest is on its way");
    streams.expire(1900);
    assert_eq!(streams.pop_touched(), Some(token));
    assert_eq!(take(&mut streams, token, 0, 1900), After::ShutWriting);
}

#[test]
fn a_busy_connection_leaves_the_drain_as_soon_as_it_is_quiet() {
    let mut streams = play(echo);
    let token = open(&mut streams, 0);
    hear(&mut streams, token, b"hello");
    streams.drain(0, 1000);
    streams.expire(600);
    assert_eq!(take(&mut streams, token, 3, 600), After::Nothing);
    assert_eq!(take(&mut streams, token, 2, 700), After::ShutWriting);
}

#[test]
fn a_second_drain_can_only_hasten_the_end() {
    let mut streams = play(|_, _, _| Fed::Took(0));
    let token = open(&mut streams, 0);
    hear(&mut streams, token, b"half a li");
    streams.drain(0, 10_000);
    streams.expire(5000);
    streams.drain(5000, 0);
    streams.expire(5001);
    assert_eq!(streams.protocol.closed, [(token, End::Drain)]);
}

#[test]
fn who_closes_for_good_waits_for_nobody_unless_input_waits() {
    let bye: Feed = |play, session, input| {
        let said = play.desk.write(session, Said::Bytes(b"answer"), false);
        said.expect("there is room");
        play.desk.close(session, Closing::Done).expect("it is open");
        Fed::Took(input.len())
    };
    for would_reset in [false, true] {
        let mut streams = play(bye);
        let token = open(&mut streams, 0);
        hear(&mut streams, token, b"x");
        assert!(streams.pieces(token).more_follows(), "the FIN does");
        assert_eq!(take(&mut streams, token, 2, 0), After::Nothing);
        assert_eq!(take(&mut streams, token, 4, 0), After::CloseAlone);
        assert_eq!(streams.protocol.closed, [], "not before it was looked at");
        let then = streams.looked(token, would_reset, 0);
        if would_reset {
            assert_eq!(then, After::ShutWriting);
            assert!(streams.wants_read(token), "what waits is dropped");
            hear(&mut streams, token, b"more");
            streams.peer_finished(token, 1);
        } else {
            assert_eq!(then, After::Nothing);
        }
        assert_eq!(streams.protocol.closed, [(token, End::Finished)]);
        let parted = streams.pop_parted().expect("its socket is to go");
        assert!(!parted.reset);
    }
}
