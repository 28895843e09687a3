//! Rules of files among the output: their order, their number, and what waiting for one means.

use super::*;
use crate::engine::files::{FILE_RANGES_MAX, HeldFile};
use crate::engine::session::Closing;
use crate::engine::streams::Streams;
use crate::plan::Limits;

/// Each byte of the input is an order: `f` sends a file of 2000 bytes, any other is echoed.
fn sends(play: &mut Play, session: Token, input: &[u8]) -> Fed {
    for (nth, order) in input.iter().enumerate() {
        let done = match order {
            b'f' => play
                .desk
                .send_file(session, 10, 2000, || HeldFile::new("a file")),
            b'c' => play.desk.close(session, Closing::Finish),
            _ => play.desk.write(session, Said::Lent(nth, nth + 1), false),
        };
        if done.is_err() {
            return Fed::Full;
        }
    }
    Fed::Took(input.len())
}

/// What leaves when the socket takes everything and all files are in memory.
fn all_that_leaves(streams: &mut Streams<Play>, token: Token) -> String {
    let mut left = String::new();
    loop {
        let pieces = streams.pieces(token);
        for piece in pieces.as_slice() {
            left += std::str::from_utf8(piece).expect("ASCII");
        }
        let bytes = pieces.len();
        let mut after = streams.sent(token, bytes, 0);
        while after == After::SendFile {
            streams.file_found(token, 1500, 0);
            let piece = streams.file_piece(token).expect("it was just said");
            let bytes = piece.ready as usize;
            left += &format!("[{}+{bytes}]", piece.offset);
            after = streams.file_sent(token, bytes, 0);
        }
        if after == After::ShutWriting {
            left += "!";
        }
        if streams.pieces(token).is_empty() {
            return left;
        }
    }
}

#[test]
fn files_and_bytes_leave_in_the_order_in_which_they_were_said() {
    for (said, expected) in [
        ("f", "[10+1500][1510+500]"),
        ("af", "a[10+1500][1510+500]"),
        ("abfdc", "ab[10+1500][1510+500]d!"),
        ("fafbbc", "[10+1500][1510+500]a[10+1500][1510+500]bb!"),
        ("ffc", "[10+1500][1510+500][10+1500][1510+500]!"),
    ] {
        let mut streams = play(sends);
        let token = open(&mut streams, 0);
        hear(&mut streams, token, said.as_bytes());
        assert_eq!(all_that_leaves(&mut streams, token), expected, "{said}");
        assert!(streams.holds_no_file(token));
        assert_eq!(streams.protocol.desk.queued(token), Ok(0), "{said}");
    }
}

#[test]
fn what_is_nowhere_but_in_memory_is_not_looked_for() {
    fn sends_memory(play: &mut Play, session: Token, input: &[u8]) -> Fed {
        let file = || HeldFile::of_memory("a file in memory");
        let sent = play.desk.send_file(session, 10, 2000, file);
        assert_eq!(sent, Ok(()), "for {input:?}");
        Fed::Took(input.len())
    }
    let mut streams = play(sends_memory);
    let token = open(&mut streams, 0);
    hear(&mut streams, token, b"?");
    for (sent, left) in [(0, 2000), (700, 1300), (1300, 0)] {
        streams.file_sent(token, sent, 0);
        let piece = streams.file_piece(token);
        let ready = piece.map_or(0, |piece| piece.ready);
        assert_eq!(ready, left);
    }
    assert!(streams.holds_no_file(token));
}

#[test]
fn the_last_packet_before_a_file_waits_for_it_and_no_other() {
    let mut streams = play(sends);
    let token = open(&mut streams, 0);
    hear(&mut streams, token, b"abfde");
    assert!(streams.pieces(token).more_follows());
    take(&mut streams, token, 2, 0);
    streams.file_found(token, 2000, 0);
    streams.file_sent(token, 2000, 0);
    assert_eq!(streams.pieces(token).len(), 2);
    assert!(!streams.pieces(token).more_follows());
}

#[test]
fn files_count_as_queued_and_not_against_the_limit_of_output() {
    let mut streams = play(sends);
    let token = open(&mut streams, 0);
    hear(&mut streams, token, b"aff");
    let queued = streams.protocol.desk.queued(token);
    assert_eq!(queued, Ok(4001), "four times the limit");
    take(&mut streams, token, 1, 0);
    assert!(!streams.wants_read(token), "above the high watermark");
    for sent in [2000, 1800] {
        streams.file_found(token, sent, 0);
        streams.file_sent(token, sent as usize, 0);
    }
    assert_eq!(streams.pop_resumed(), Some(token), "below the low one");
    assert!(streams.wants_read(token));
    assert_eq!(streams.protocol.desk.queued(token), Ok(200));
}

#[test]
fn one_range_too_many_is_refused_and_writable_follows_when_some_have_left() {
    let mut streams = play(sends);
    let token = open(&mut streams, 0);
    hear(&mut streams, token, &[b'f'; FILE_RANGES_MAX]);
    hear(&mut streams, token, b"f");
    take(&mut streams, token, 0, 0);
    let all = 2000 * FILE_RANGES_MAX;
    assert_eq!(streams.queued(token), all, "nothing of the last one");
    for _ in 0..FILE_RANGES_MAX {
        assert_eq!(streams.pop_resumed(), None);
        streams.file_found(token, 2000, 0);
        streams.file_sent(token, 2000, 0);
    }
    assert_eq!(streams.pop_resumed(), Some(token));
    streams.resume(token, 0);
    assert_eq!(streams.protocol.told, [(token, "writable")]);
    assert_eq!(streams.queued(token), 2000, "the feed came again");
}

#[test]
fn a_refused_feed_lets_go_of_its_files() {
    let mut streams = play(|play, session, _| {
        let file = || HeldFile::new("a file");
        let sent = play.desk.send_file(session, 0, 5, file);
        assert_eq!(sent, Ok(()));
        let too_much = [0; OUTPUT_MAX + 1];
        let refused = play.desk.write(session, Said::Bytes(&too_much), false);
        assert_eq!(refused, Err(Refusal::Full));
        assert_eq!(play.desk.queued(session), Ok(5));
        Fed::Full
    });
    let token = open(&mut streams, 0);
    hear(&mut streams, token, b"x");
    assert_eq!(streams.protocol.closed, [(token, End::Limit)]);
    assert!(streams.is_empty());
}

#[test]
fn while_a_file_is_read_it_is_not_the_peer_who_keeps_it_waiting() {
    let limits = Limits {
        stall_ms: 100,
        ..Limits::default()
    };
    let mut streams = play_with(sends, limits);
    let token = open(&mut streams, 0);
    hear(&mut streams, token, b"f");
    assert_eq!(take(&mut streams, token, 0, 0), After::SendFile);
    streams.file_awaited(token);
    assert!(streams.file_piece(token).is_none(), "it waits");
    streams.expire(5000);
    assert_eq!(take(&mut streams, token, 0, 5000), After::Nothing);
    assert_eq!(streams.protocol.closed, []);
    streams.file_found(token, 1000, 5000);
    assert!(streams.file_piece(token).is_some());
    streams.expire(5099);
    assert_eq!(streams.protocol.closed, []);
    streams.expire(5100);
    assert_eq!(streams.protocol.closed, [(token, End::Limit)]);
}

#[test]
fn half_a_file_never_ends_in_order() {
    let half_sent = || {
        let mut streams = play(sends);
        let token = open(&mut streams, 0);
        hear(&mut streams, token, b"fc");
        take(&mut streams, token, 0, 0);
        streams.file_found(token, 1000, 0);
        streams.file_sent(token, 1000, 0);
        (streams, token)
    };
    let (mut streams, token) = half_sent();
    streams.file_failed(token, 0);
    assert_eq!(streams.protocol.closed, [(token, End::File)]);
    assert!(streams.pop_parted().is_some_and(|parted| parted.reset));
    assert_eq!(streams.take_tally().files_short, 1);
    // What comes too late is about nobody.
    streams.file_found(token, 1000, 0);
    streams.file_failed(token, 0);
    assert_eq!(streams.take_tally().files_short, 0);

    let (mut streams, token) = half_sent();
    streams.drain(0, 50);
    streams.expire(50);
    assert_eq!(streams.protocol.closed, [(token, End::Drain)]);
    assert!(streams.pop_parted().is_some_and(|parted| parted.reset));
}
