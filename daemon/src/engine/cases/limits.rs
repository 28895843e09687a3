//! Rules of the limits that time decides, of pending connections and of proxies' headers.

use std::net::SocketAddr;

use super::*;
use crate::engine::desk::Said;
use crate::engine::limits::{HEADER_MS, Passed};
use crate::engine::session::{Facts, Party};
use crate::engine::streams::Streams;
use crate::plan::Limits;

fn limited(feed: Feed, limits: Limits) -> Streams<Play> {
    play_with(feed, limits)
}

/// Consumes whole lines only.
fn lines(_: &mut Play, _: Token, input: &[u8]) -> Fed {
    Fed::Took(
        input
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |at| at + 1),
    )
}

/// The one connection was closed for this limit, and the protocol was told.
fn closed_for(streams: &mut Streams<Play>, token: Token, passed: Passed) {
    let mut expected = [0; Passed::ALL.len()];
    expected[passed as usize] = 1;
    let tally = streams.take_tally();
    assert_eq!((tally.passed, tally.closed_limit), (expected, 0));
    assert_eq!(streams.protocol.closed, [(token, End::Limit)]);
    assert_eq!(streams.pop_parted().expect("it is over").token, token);
}

/// Runs the clock from deadline to deadline up to `until_ms`.
fn pass_time(streams: &mut Streams<Play>, until_ms: u64) {
    while let Some(at_ms) = streams
        .next_deadline_ms()
        .filter(|at_ms| *at_ms <= until_ms)
    {
        streams.expire(at_ms);
    }
    streams.expire(until_ms);
}

#[test]
fn no_activity_makes_a_connection_older_than_its_lifetime() {
    let limits = Limits {
        lifetime_ms: 1000,
        ..Limits::default()
    };
    let mut streams = limited(swallow, limits);
    let token = open(&mut streams, 0);
    for now_ms in (0..1000).step_by(100) {
        hear_at(&mut streams, token, b"x", now_ms);
        pass_time(&mut streams, now_ms);
    }
    pass_time(&mut streams, 999);
    assert!(streams.protocol.closed.is_empty());
    pass_time(&mut streams, 1000);
    closed_for(&mut streams, token, Passed::Lifetime);
}

#[test]
fn half_a_line_has_its_time_and_each_whole_one_begins_it_anew() {
    let limits = Limits {
        progress_ms: 100,
        ..Limits::default()
    };
    let mut streams = limited(lines, limits);
    let token = open(&mut streams, 0);
    pass_time(&mut streams, 10_000);
    for (now_ms, bytes) in [(10_000, "ab"), (10_090, "c\nd"), (10_180, "e\n")] {
        hear_at(&mut streams, token, bytes.as_bytes(), now_ms);
        pass_time(&mut streams, now_ms);
    }
    pass_time(&mut streams, 20_000);
    assert!(streams.protocol.closed.is_empty(), "nothing was left over");
    hear_at(&mut streams, token, b"f", 20_000);
    hear_at(&mut streams, token, b"g", 20_099);
    pass_time(&mut streams, 20_099);
    assert!(streams.protocol.closed.is_empty());
    pass_time(&mut streams, 20_100);
    closed_for(&mut streams, token, Passed::Progress);
}

#[test]
fn while_the_plugin_pauses_its_input_waits_without_a_limit() {
    let limits = Limits {
        progress_ms: 100,
        ..Limits::default()
    };
    let mut streams = limited(
        |play, session, input| {
            let pausing = play.fed.len() == 1;
            play.desk.pause(session, pausing).expect("it is alive");
            lines(play, session, input)
        },
        limits,
    );
    let token = open(&mut streams, 0);
    hear_at(&mut streams, token, b"x", 0);
    pass_time(&mut streams, 5000);
    assert!(streams.protocol.closed.is_empty());
    streams
        .protocol
        .desk
        .pause(token, false)
        .expect("it is alive");
    streams.wake(0, 5000);
    streams.resume(token, 5000);
    pass_time(&mut streams, 5099);
    assert!(streams.protocol.closed.is_empty(), "its time began anew");
    pass_time(&mut streams, 5100);
    closed_for(&mut streams, token, Passed::Progress);
}

/// Its deadline is past when it is fed again, but it has not been.
#[test]
fn input_that_a_timer_lets_go_on_after_long_has_its_time_anew() {
    let limits = Limits {
        progress_ms: 100,
        ..Limits::default()
    };
    let mut streams = limited(
        |play, session, input| {
            if play.fed.len() == 1 {
                play.desk.pause(session, true).expect("it is alive");
                play.desk.timer_set(5000, 0).expect("there is room");
                play.others.push(session);
            }
            lines(play, session, input)
        },
        limits,
    );
    streams.protocol.on_timer = |play| {
        let session = play.others[0];
        play.desk.pause(session, false).expect("it is alive");
    };
    let token = open(&mut streams, 0);
    hear_at(&mut streams, token, b"x", 0);
    pass_time(&mut streams, 5000);
    assert!(streams.protocol.closed.is_empty(), "it was not fed yet");
    streams.resume(token, 5000);
    pass_time(&mut streams, 5099);
    assert!(streams.protocol.closed.is_empty(), "its time began anew");
    pass_time(&mut streams, 5100);
    closed_for(&mut streams, token, Passed::Progress);
}

/// While its output was in the way nothing was read that could have completed it.
#[test]
fn half_a_line_behind_a_slow_reader_has_its_time_anew_once_it_reads() {
    let limits = Limits {
        progress_ms: 100,
        ..Limits::default()
    };
    let mut streams = limited(
        |play, session, input| {
            let answer = [7; OUTPUT_MAX];
            let _ = play.desk.write(session, Said::Bytes(&answer), false);
            lines(play, session, input)
        },
        limits,
    );
    let token = open(&mut streams, 0);
    hear_at(&mut streams, token, b"x", 0);
    take(&mut streams, token, 0, 0);
    pass_time(&mut streams, 5000);
    assert!(streams.protocol.closed.is_empty(), "it was not read");
    take(&mut streams, token, OUTPUT_MAX, 5000);
    pass_time(&mut streams, 5099);
    assert!(streams.protocol.closed.is_empty(), "its time began anew");
    pass_time(&mut streams, 5100);
    closed_for(&mut streams, token, Passed::Progress);
}

#[test]
fn a_reader_that_takes_nothing_is_closed_and_one_that_takes_a_little_is_not() {
    let limits = Limits {
        stall_ms: 100,
        ..Limits::default()
    };
    let mut streams = limited(echo, limits);
    let token = open(&mut streams, 0);
    hear_at(&mut streams, token, &[7; 90], 0);
    for now_ms in (0..=800).step_by(99) {
        take(&mut streams, token, 10, now_ms);
        pass_time(&mut streams, now_ms);
    }
    assert_eq!(streams.queued(token), 0);
    pass_time(&mut streams, 10_000);
    assert!(streams.protocol.closed.is_empty(), "no output waits");
    hear_at(&mut streams, token, &[7; 90], 10_000);
    take(&mut streams, token, 10, 10_000);
    pass_time(&mut streams, 10_099);
    take(&mut streams, token, 0, 10_099);
    assert!(streams.protocol.closed.is_empty());
    pass_time(&mut streams, 10_100);
    let parted = streams.lists.parted.first().copied();
    assert!(parted.is_some_and(|parted| parted.reset), "output is left");
    closed_for(&mut streams, token, Passed::Stall);
}

#[test]
fn of_too_many_silent_connections_the_oldest_goes() {
    let limits = Limits {
        pending: 2,
        ..Limits::default()
    };
    let mut streams = limited(swallow, limits);
    let tokens: Vec<Token> = (0..2).map(|_| open(&mut streams, 0)).collect();
    hear(&mut streams, tokens[0], b"x");
    let third = open(&mut streams, 0);
    assert!(streams.protocol.closed.is_empty(), "the first has spoken");
    streams.lost(third, 0);
    streams.protocol.closed.clear();
    let _ = streams.pop_parted();
    open(&mut streams, 0);
    assert!(streams.protocol.closed.is_empty(), "one of three has gone");
    open(&mut streams, 0);
    closed_for(&mut streams, tokens[1], Passed::Pending);
}

#[test]
fn bytes_a_second_hold_each_way_for_what_is_read_and_for_what_is_sent() {
    let limits = Limits {
        bandwidth: 400,
        ..Limits::default()
    };
    let mut streams = limited(echo, limits);
    let token = open(&mut streams, 0);
    let (mut read, mut sent) = (0, 0);
    for now_ms in 0..=10_000 {
        streams.expire(now_ms);
        while let Some(token) = streams.pop_resumed() {
            streams.resume(token, now_ms);
        }
        while streams.wants_read(token) {
            let space = streams.space(token);
            let bytes = space.len().min(64);
            space[..bytes].fill(b'x');
            streams.received(token, bytes, now_ms);
            read += bytes;
            sent += streams.pieces(token).len();
            take(&mut streams, token, usize::MAX, now_ms);
        }
        while let Some(token) = streams.pop_touched() {
            sent += streams.pieces(token).len();
            take(&mut streams, token, usize::MAX, now_ms);
        }
        let most = 100 + 400 * (now_ms as usize) / 1000;
        assert!(
            read <= most && sent <= most,
            "{read} and {sent} at {now_ms}"
        );
    }
    assert!(read >= 3_900 && sent >= 3_900, "{read} and {sent}");
    // A rest ends when half of what may be moved at once is there again, an eighth of a second.
    let held = streams.take_tally().held_bandwidth;
    assert!((150..=170).contains(&held), "{held} rests of both ways");
    assert!(streams.protocol.closed.is_empty());
}

// --- proxies' headers --------------------------------------------------------------------------

fn facts(ends: (Party, Party)) -> Facts<'static> {
    Facts {
        peer: ends.0,
        local: ends.1,
        credentials: None,
        accepted_ms: 0,
        proxied: true,
        endpoint: "tcp://127.0.0.1:7",
    }
}

const HEADER: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 7\r\n";

#[test]
fn a_session_begins_behind_the_header_with_exactly_what_follows_it() {
    let whole = [HEADER, b"hello"].concat();
    for cut in 1..whole.len() {
        let mut streams = play(swallow);
        let token = streams.open_for_proxy(0);
        for bytes in [&whole[..cut], &whole[cut..]] {
            hear(&mut streams, token, bytes);
            while let Some(introduced) = streams.pop_introduced() {
                let ends = introduced.ends.expect("it names them");
                let peer: SocketAddr = "192.0.2.7:40000".parse().expect("an address");
                assert_eq!(ends.0, Party::from(peer));
                let opened = streams.introduce(introduced.token, &facts(ends), 0);
                assert_eq!(opened, Ok(()));
                assert_eq!(streams.pop_resumed(), Some(token));
                streams.resume(token, 0);
            }
        }
        assert_eq!(streams.protocol.fed.concat(), b"hello", "cut at {cut}");
        pass_time(&mut streams, HEADER_MS * 2);
        assert!(
            streams.protocol.closed.is_empty(),
            "the header came in time"
        );
    }
}

#[test]
fn a_header_that_is_wrong_cut_or_late_ends_the_connection_unseen_by_the_protocol() {
    type Story = fn(&mut Streams<Play>, Token);
    let stories: [(&str, Story); 3] = [
        ("wrong", |streams, token| {
            hear(streams, token, b"GET / HTTP/1.0\r\n")
        }),
        ("cut", |streams, token| {
            hear(streams, token, &HEADER[..20]);
            streams.peer_finished(token, 0);
        }),
        ("late", |streams, token| {
            hear(streams, token, &HEADER[..20]);
            pass_time(streams, HEADER_MS - 1);
            assert_eq!(streams.len(), 1);
            pass_time(streams, HEADER_MS);
        }),
    ];
    for (what, story) in stories {
        let mut streams = play(swallow);
        let token = streams.open_for_proxy(0);
        story(&mut streams, token);
        assert_eq!(
            streams.take_tally().passed[Passed::Header as usize],
            1,
            "{what}"
        );
        assert_eq!(streams.pop_parted().expect("it is over").token, token);
        assert!(streams.is_empty() && streams.pop_introduced().is_none());
        assert!(streams.protocol.closed.is_empty() && streams.protocol.fed.is_empty());
        assert_eq!(streams.protocol.desk.session_count(), 0);
    }
}

#[test]
fn whoever_is_turned_away_after_the_header_was_never_a_session() {
    let mut streams = play(swallow);
    let token = streams.open_for_proxy(0);
    hear(&mut streams, token, HEADER);
    assert!(streams.pop_introduced().is_some());
    streams.turn_away(token, 0);
    assert_eq!(streams.pop_parted().expect("it is over").token, token);
    assert!(streams.protocol.closed.is_empty());
}
