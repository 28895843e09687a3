//! What must hold whatever bytes come: one function for each language that is read here, which panics
//! where the promise is broken and says whether the input came to anything.
//!
//! They are fed by the kept corpus, and by the fuzzer in `fuzz`; seeded mutations of good lines are in
//! `mutations.rs`. What an answer means is tested elsewhere.
//!
//! Invariant: a target keeps nothing from one input to the next.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each program feeds the targets that it needs"
)]

use polyport_line_chat::Chat;
use polyport_plugin::testing::{FakeBus, FakeHost, Peer, Setup};

pub type Target = fn(&[u8]) -> bool;

/// Named as their folders in `fuzz/corpus`.
pub const ALL: [(&str, Target); 4] = [
    ("chat_bus", bus),
    ("chat_carried", carried),
    ("chat_json", json),
    ("chat_session", session),
];

/// All that a peer says, telnet and its nick included; the first byte says how it is cut. Half a line does
/// nothing, so a cut in a line is as one right before it; and others are shown the same as if it were not cut.
pub fn session(bytes: &[u8]) -> bool {
    let Some((cut, said)) = bytes.split_first() else {
        return false;
    };
    let cuts = match usize::from(*cut) {
        0 => 1..said.len().max(1),
        n => n..n + 1,
    };
    let moved = cuts.clone().map(|cut| done_before(said, cut));
    let (heard, shown) = talk(&pieces(said, moved));
    let (heard_in_pieces, shown_in_pieces) = talk(&pieces(said, cuts));
    let (_, shown_at_once) = talk(&[said]);
    let same = |one: &[u8], other: &[u8]| without_luck(one) == without_luck(other);
    assert!(same(&heard, &heard_in_pieces), "cut: {cut}");
    for in_pieces in [shown, shown_in_pieces] {
        let is_same = same(shown_at_once.as_bytes(), in_pieces.as_bytes());
        assert!(is_same, "cut: {cut}");
    }
    shown_at_once.contains("joined")
}

/// What is said up to each of these places, and behind the last.
fn pieces(said: &[u8], cuts: impl Iterator<Item = usize>) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let mut from = 0;
    for to in cuts.chain([said.len()]) {
        let to = to.min(said.len());
        if to > from {
            pieces.push(&said[from..to]);
            from = to;
        }
    }
    pieces
}

/// Where the last line or command of telnet ends that is whole before the cut. No byte between is answered.
fn done_before(said: &[u8], cut: usize) -> usize {
    const IAC: u8 = 255;
    let before = &said[..cut.min(said.len())];
    let end = |byte: &u8| matches!(byte, b'\n' | 0 | 4);
    let line = before.iter().rposition(end).map_or(0, |at| at + 1);
    let Some(at) = before[line..].iter().rposition(|byte| *byte == IAC) else {
        return line;
    };
    match before[line + at + 1..] {
        [] | [251..=254] | [250, ..] => line + at,
        [251..=254, ..] => line + at + 3,
        [..] => line + at + 2,
    }
}

/// What the peer hears, and what is shown to somebody else, which is text whatever the peer says. All that
/// the bus has to say is heard between one piece and the next.
fn talk(pieces: &[&[u8]]) -> (Vec<u8>, String) {
    let bus = FakeBus::new();
    let (mut other, eve) = named(&Setup::of::<Chat>().bus(&bus), b"eve\n");
    let mut chat = start(&Setup::of::<Chat>().bus(&bus));
    let peer = chat.connect();
    for piece in pieces {
        if chat.end(peer).is_none() {
            chat.send(peer, piece);
        }
    }
    other.hear_bus();
    let shown = text(other.received(eve));
    for line in shown.split("\r\n") {
        let is_bare = |c: char| {
            c.is_control() || matches!(c, '\u{200B}' | '\u{202E}' | '\u{E0041}' | '\u{2028}')
        };
        assert!(!line.contains(is_bare), "{line:?}");
    }
    (chat.received(peer).to_vec(), shown)
}

/// Without numbers of guests, tokens and times of day, which are other ones in each run, and the blanks beside them.
fn without_luck(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.retain(|byte| !byte.is_ascii_hexdigit() && *byte != b' ');
    bytes
}

/// Lines of a program. Whoever listens as one hears an object on each line.
pub fn json(bytes: &[u8]) -> bool {
    let bus = FakeBus::new();
    let setup = Setup::of::<Chat>().bus(&bus);
    let (mut other, eve) = named(&setup, b"eve\n/mode json\n");
    let before = other.received(eve).len();
    let (mut chat, peer) = named(&setup, b"bob\n/mode json\n");
    chat.send(peer, bytes);
    chat.hear_bus();
    other.hear_bus();
    let shown = text(&other.received(eve)[before..]);
    let mut said = 0;
    for line in shown.lines() {
        let object: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert!(object.is_object(), "{line:?}");
        said += u32::from(object["nick"] == "bob" && object["text"].is_string());
    }
    said > 0
}

/// What other workers say over the bus, which may be another version, or taken over: a message in the room,
/// an order, or who holds a nick. Its first byte chooses.
pub fn bus(bytes: &[u8]) -> bool {
    let Some((what, message)) = bytes.split_first() else {
        return false;
    };
    let bus = FakeBus::new();
    let (mut chat, eve) = named(&Setup::of::<Chat>().bus(&bus), b"eve\n");
    let before = chat.received(eve).len();
    match what % 3 {
        0 => bus.publish("room.lobby", message),
        1 => bus.publish("orders", message),
        _ => bus.steal("nick.bob", message),
    }
    chat.hear_bus();
    let is_there = chat.end(eve).is_none();
    let heard = text(&chat.received(eve)[before..]);
    if is_there {
        chat.send(eve, b"/who\n/topic\nhello\n");
        chat.hear_bus();
    }
    let shown = text(chat.received(eve));
    for line in shown.split("\r\n") {
        assert!(!line.contains(char::is_control), "{line:?}");
    }
    assert!(chat.take_faults().is_empty());
    !heard.is_empty()
}

/// A session from another worker, as that one wrote it down or claims to have.
pub fn carried(bytes: &[u8]) -> bool {
    let bus = FakeBus::new();
    let setup = Setup::of::<Chat>().bus(&bus);
    let (mut other, eve) = named(&setup, b"eve\n");
    let (mut chat, peer) = named(&setup, b"bob\n");
    let taken = chat.carry_changed(|of_bob| *of_bob = bytes.to_vec());
    if let Err(why) = &taken {
        let known = why.contains("makes no sense") || why.contains("is not known");
        assert!(known, "{why}");
    }
    if chat.end(peer).is_none() {
        chat.send(peer, b"hi\n/who\n");
    }
    for _ in 0..2 {
        chat.hear_bus();
        other.send(eve, b"/who\n");
    }
    text(other.received(eve));
    assert!(chat.take_faults().is_empty());
    taken.is_ok()
}

fn start(setup: &Setup) -> FakeHost {
    setup.start().expect("it starts")
}

fn named(setup: &Setup, says: &[u8]) -> (FakeHost, Peer) {
    let mut chat = start(setup);
    let peer = chat.connect();
    chat.send(peer, says);
    chat.hear_bus();
    (chat, peer)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}
