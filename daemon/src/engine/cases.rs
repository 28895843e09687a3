//! Rules of the engine one by one: a protocol that does what the case says, a clock that the case
//! moves, a socket that takes what the case lets it.

use super::desk::{Refusal, Said};
use super::session::{Closing, End, Fed, Token};
use super::streams::{After, READ_BYTES, Streams};

mod ending;
mod files;
mod limits;
mod play;

use play::{
    Feed, INPUT_MAX, OUTPUT_MAX, Play, echo, hear, hear_at, open, play, play_with, play_with_idle,
    swallow, take,
};

#[test]
fn an_echo_is_sent_from_the_buffer_it_was_read_into_and_costs_no_memory() {
    let mut streams = play(echo);
    let token = open(&mut streams, 0);
    for _ in 0..1000 {
        let lent = streams.space(token).as_ptr();
        hear(&mut streams, token, b"hello");
        assert_eq!(streams.pieces(token).as_slice()[0].as_ptr(), lent);
        assert!(streams.has_lent(token));
        take(&mut streams, token, 5, 0);
        assert_eq!(streams.pop_touched(), None, "flushed once is enough");
    }
    let connection = &streams.connections[token];
    assert_eq!(connection.kept.capacity(), 0);
    assert_eq!(streams.deadlines.len(), 0);
    assert!(streams.lists.touched.capacity() < 10);
}

#[test]
fn what_is_said_to_several_in_the_midst_of_an_echo_goes_behind_it() {
    let mut streams = play(|play, session, input| {
        let kicked = play.others[0];
        play.desk.close(kicked, Closing::Abort).expect("it is open");
        echo(play, session, input)
    });
    streams.protocol.on_closed = |play, _| {
        for told in [play.others[1], play.others[2]] {
            let said = play.desk.write(told, Said::Bytes(b"bye"), false);
            said.expect("there is room");
        }
    };
    let [speaker, kicked, other] = [(); 3].map(|()| open(&mut streams, 0));
    streams.protocol.others = vec![kicked, speaker, other];
    hear(&mut streams, speaker, b"hello");
    let heard = |streams: &Streams<Play>, token| -> Vec<u8> {
        let pieces = streams.pieces(token);
        pieces
            .as_slice()
            .iter()
            .flat_map(|piece| piece.to_vec())
            .collect()
    };
    assert_eq!(heard(&streams, speaker), b"hellobye");
    take(&mut streams, speaker, 8, 0);
    assert_eq!(heard(&streams, other), b"bye");
    take(&mut streams, other, 3, 0);
    streams.protocol.feed = swallow;
    hear(&mut streams, other, b"a secret");
    assert!(heard(&streams, other).is_empty() && heard(&streams, speaker).is_empty());
}

#[test]
fn a_feed_refused_for_lack_of_room_comes_again_once_there_is_room() {
    let mut streams = play(echo);
    let token = open(&mut streams, 0);
    hear(&mut streams, token, &[1; 450]);
    take(&mut streams, token, 0, 0);
    hear(&mut streams, token, &[2; 600]);
    assert_eq!(take(&mut streams, token, 100, 0), After::Nothing);
    assert_eq!(
        streams.pop_resumed(),
        None,
        "350 is above the low watermark"
    );
    assert!(!streams.wants_read(token));
    take(&mut streams, token, 150, 0);
    assert_eq!(streams.pop_resumed(), Some(token));
    streams.resume(token, 0);
    assert_eq!(
        streams.protocol.fed,
        [vec![1; 450], vec![2; 600], vec![2; 600]]
    );
    assert_eq!(streams.protocol.told, [(token, "writable")]);
    assert_eq!(streams.pieces(token).len(), 200 + 600);
}

#[test]
fn reading_stops_at_the_high_watermark_and_goes_on_at_the_low_one() {
    let mut streams = play(echo);
    let token = open(&mut streams, 0);
    hear(&mut streams, token, &[1; OUTPUT_MAX / 2 - 1]);
    take(&mut streams, token, 0, 0);
    assert!(
        streams.wants_read(token),
        "one byte below the high watermark"
    );
    hear(&mut streams, token, &[1; 1]);
    take(&mut streams, token, 0, 0);
    assert!(!streams.wants_read(token));
    take(&mut streams, token, OUTPUT_MAX / 4 - 1, 0);
    assert_eq!(streams.pop_resumed(), None);
    take(&mut streams, token, 1, 0);
    assert_eq!(
        streams.pop_resumed(),
        Some(token),
        "nobody else would look at it again"
    );
    assert!(streams.wants_read(token));
    assert_eq!(streams.protocol.told, [], "nothing was refused");
}

#[test]
fn input_left_for_lack_of_room_is_fed_again_before_the_peers_fin_is_told() {
    let mut streams = play(|play, session, input| {
        let record = input.len().min(950);
        match play.desk.write(session, Said::Lent(0, record), false) {
            Ok(()) if record < input.len() => {
                let next = play
                    .desk
                    .write(session, Said::Lent(record, input.len()), false);
                assert_eq!(next, Err(Refusal::Full));
                Fed::Took(record)
            }
            Ok(()) => Fed::Took(record),
            Err(_) => Fed::Full,
        }
    });
    let token = open(&mut streams, 0);
    hear(&mut streams, token, &[7; 950 + INPUT_MAX]);
    streams.peer_finished(token, 0);
    assert_eq!(streams.protocol.told, []);
    take(&mut streams, token, 950, 0);
    assert_eq!(streams.pop_resumed(), Some(token));
    streams.resume(token, 0);
    assert_eq!(streams.protocol.fed[1], [7; INPUT_MAX]);
    assert_eq!(
        streams.protocol.told,
        [(token, "writable"), (token, "peer finished")]
    );
    take(&mut streams, token, INPUT_MAX, 0);
    assert_eq!(streams.protocol.closed, [(token, End::Finished)]);
}

#[test]
fn a_feed_that_can_never_fit_ends_at_the_limit() {
    let mut streams = play(echo);
    let token = open(&mut streams, 0);
    hear(&mut streams, token, &[1; OUTPUT_MAX + 1]);
    assert_eq!(streams.protocol.closed, [(token, End::Limit)]);
    let parted = streams.pop_parted().expect("its socket is to go");
    assert!(parted.reset);
    assert_eq!(streams.take_tally().closed_limit, 1);
}

#[test]
fn a_refused_feed_does_not_spin_while_the_socket_takes_nothing() {
    let mut streams = play(echo);
    let token = open(&mut streams, 0);
    hear(&mut streams, token, &[1; 200]);
    take(&mut streams, token, 0, 0);
    hear(&mut streams, token, &[2; 900]);
    take(&mut streams, token, 0, 0);
    assert_eq!(
        streams.pop_resumed(),
        None,
        "below the low watermark, but no room was made"
    );
    take(&mut streams, token, 150, 0);
    assert_eq!(streams.pop_resumed(), Some(token));
    streams.resume(token, 0);
    assert_eq!(streams.pieces(token).len(), 50 + 900);
}

#[test]
fn a_write_that_is_refused_with_nothing_in_its_way_ends_at_the_limit_the_second_time() {
    fn too_much(play: &mut Play, session: Token) {
        let refused = play
            .desk
            .write(session, Said::Bytes(&[0; OUTPUT_MAX + 1]), false);
        assert_eq!(refused, Err(Refusal::Full));
    }
    let mut streams = play(|play, session, input| {
        too_much(play, session);
        Fed::Took(input.len())
    });
    streams.protocol.on_writable = too_much;
    let token = open(&mut streams, 0);
    hear(&mut streams, token, b"x");
    assert_eq!(streams.pop_touched(), Some(token));
    take(&mut streams, token, 0, 0);
    assert_eq!(streams.pop_resumed(), Some(token));
    streams.resume(token, 0);
    assert_eq!(streams.protocol.closed, [(token, End::Limit)]);
}

#[test]
fn whose_fault_it_was_ends_and_nobody_else() {
    let broken: [Feed; 2] = [
        |_, _, input| Fed::Took(input.len() + 1),
        |play, _, input| {
            play.desk.fault("a panic".to_owned());
            Fed::Took(input.len())
        },
    ];
    for feed in broken {
        let mut streams = play(feed);
        let (bystander, token) = (open(&mut streams, 0), open(&mut streams, 0));
        hear(&mut streams, token, b"x");
        assert_eq!(streams.protocol.closed, [(token, End::Fault)]);
        assert_eq!(streams.take_tally().faults, 1);
        assert!(streams.wants_read(bystander));
    }
}

#[test]
fn a_fault_outside_a_session_is_counted_and_ends_none() {
    let mut streams = play(swallow);
    open(&mut streams, 0);
    streams.protocol.on_timer = |play| play.desk.fault("a panic".to_owned());
    streams
        .protocol
        .desk
        .timer_set(10, 0)
        .expect("there is room");
    streams.wake(0, 0);
    streams.expire(10);
    assert_eq!(streams.take_tally().faults, 1);
    assert_eq!(streams.len(), 1);
}

#[test]
fn unconsumed_input_is_kept_up_to_its_limit() {
    let mut streams = play(|_, _, _| Fed::Took(0));
    let token = open(&mut streams, 0);
    hear(&mut streams, token, &[1; 60]);
    hear(&mut streams, token, &[2; 40]);
    assert_eq!(
        streams.protocol.fed[1],
        [[1; 60].as_slice(), &[2; 40]].concat()
    );
    assert_eq!(streams.len(), 1);
    hear(&mut streams, token, &[3; 1]);
    assert_eq!(streams.protocol.closed, [(token, End::Limit)]);
}

#[test]
fn input_held_back_by_a_pause_is_not_the_peers_fault_and_comes_again() {
    let mut streams = play(|play, session, input| {
        let first = play.fed.len() == 1;
        play.desk.pause(session, first).expect("it is open");
        Fed::Took(if first { 1 } else { input.len() })
    });
    streams.protocol.on_timer = |play| {
        let session = play.told[0].0;
        play.desk.pause(session, false).expect("it is open");
    };
    let token = open(&mut streams, 0);
    streams.protocol.told.push((token, "to be resumed"));
    hear(&mut streams, token, &[1; READ_BYTES]);
    assert!(!streams.wants_read(token));
    streams.peer_finished(token, 0);
    assert_eq!(
        streams.protocol.told.len(),
        1,
        "the FIN waits for the input before it"
    );
    streams
        .protocol
        .desk
        .timer_set(10, 0)
        .expect("there is room");
    streams.wake(0, 0);
    streams.expire(10);
    assert_eq!(streams.pop_resumed(), Some(token));
    streams.resume(token, 10);
    assert_eq!(streams.protocol.fed[1].len(), READ_BYTES - 1);
    assert_eq!(streams.protocol.told[1], (token, "peer finished"));
}

#[test]
fn a_timer_fires_once_unless_cancelled_and_cannot_hold_up_a_turn() {
    let mut streams = play(swallow);
    let cancelled = streams
        .protocol
        .desk
        .timer_set(5, 0)
        .expect("there is room");
    streams
        .protocol
        .desk
        .timer_set(5, 0)
        .expect("there is room");
    streams
        .protocol
        .desk
        .timer_cancel(cancelled)
        .expect("it has not fired");
    streams.wake(0, 100);
    streams.expire(104);
    assert_eq!(streams.protocol.fired, 0);
    assert_eq!(streams.next_deadline_ms(), Some(105));
    streams.protocol.on_timer = |play| {
        play.desk.timer_set(0, 0).expect("there is room");
    };
    streams.expire(105);
    assert_eq!(streams.protocol.fired, 1);
    streams.expire(106);
    assert_eq!(streams.protocol.fired, 2);
}

#[test]
fn a_timer_set_while_the_protocol_was_made_counts_from_the_start() {
    let mut streams = play(swallow);
    streams
        .protocol
        .desk
        .timer_set(5, 0)
        .expect("there is room");
    streams.start(100);
    assert_eq!(streams.next_deadline_ms(), Some(105));
}

#[test]
fn undoing_a_refused_feed_takes_back_its_half_close_but_not_an_earlier_one() {
    let rows = [(true, Err(Refusal::Gone)), (false, Ok(()))];
    for (before, then) in rows {
        let mut streams = play(swallow);
        let token = open(&mut streams, 0);
        let desk = &mut streams.protocol.desk;
        if before {
            desk.write(token, Said::Bytes(b"last"), true)
                .expect("there is room");
            desk.clear();
        } else {
            desk.write(token, Said::Bytes(b"undone"), true)
                .expect("there is room");
        }
        desk.undo_writes(token);
        assert_eq!(desk.write(token, Said::Bytes(b"x"), false), then);
        assert_eq!(desk.queued(token), Ok(if before { 4 } else { 1 }));
    }
}

#[test]
fn a_session_may_choose_its_own_idle_time() {
    // The service's, the session's own, and when it must be gone.
    let rows = [
        (0, Some(10), Some(10)),
        (50, None, Some(50)),
        (50, Some(0), None),
    ];
    for (service_ms, own_ms, gone_ms) in rows {
        let mut streams = play_with_idle(swallow, service_ms);
        let token = open(&mut streams, 0);
        if let Some(idle_ms) = own_ms {
            streams
                .protocol
                .desk
                .idle(token, idle_ms)
                .expect("it is open");
            streams.wake(0, 0);
        }
        let mut gone = None;
        for now_ms in 0..1000 {
            streams.expire(now_ms);
            if streams.is_empty() && gone.is_none() {
                gone = Some(now_ms);
            }
        }
        assert_eq!(gone, gone_ms, "service {service_ms}, session {own_ms:?}");
    }
}

#[test]
fn what_one_session_says_to_another_waits_for_the_end_of_the_turn() {
    let mut streams = play(|play, _, input| {
        let other = play.told[0].0;
        play.desk
            .write(other, Said::Lent(1, 3), false)
            .expect("there is room");
        play.desk
            .write(other, Said::Bytes(b"!"), false)
            .expect("there is room");
        Fed::Took(input.len())
    });
    let (token, other) = (open(&mut streams, 0), open(&mut streams, 0));
    streams.protocol.told.push((other, "to be written to"));
    hear(&mut streams, token, b"abcd");
    hear(&mut streams, token, b"wxyz");
    assert!(!streams.has_lent(token) && !streams.has_lent(other));
    assert_eq!(streams.pop_touched(), Some(other));
    assert_eq!(&*streams.pieces(other).as_slice()[0], b"bc!xy!");
    assert_eq!(streams.pop_touched(), None);
}

#[test]
fn a_connection_that_was_busy_gives_its_memory_back() {
    let mut streams = play(echo);
    let token = open(&mut streams, 0);
    hear(&mut streams, token, &[1; 900]);
    take(&mut streams, token, 100, 0);
    take(&mut streams, token, 800, 0);
    assert_eq!(streams.queued(token), 0);
    assert_eq!(streams.connections[token].output.memory(), 0);
}

#[test]
fn an_active_connection_keeps_one_entry_among_the_deadlines() {
    let mut streams = play_with_idle(echo, 100);
    let token = open(&mut streams, 0);
    for now_ms in 0..1000 {
        hear_at(&mut streams, token, b"x", now_ms);
        take(&mut streams, token, 1, now_ms);
        streams.expire(now_ms);
        assert_eq!(streams.deadlines.len(), 1);
    }
    streams.expire(999 + 100);
    assert_eq!(streams.protocol.closed, [(token, End::Idle)]);
}
