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
use polyport_plugin::testing::{FakeBus, FakeHost, Peer, Setup, Split};

pub type Target = fn(&[u8]) -> bool;

/// Named as their folders in `fuzz/corpus`.
pub const ALL: [(&str, Target); 4] = [
    ("chat_bus", bus),
    ("chat_carried", carried),
    ("chat_json", json),
    ("chat_session", session),
];

/// All that a peer says, telnet and its nick included; the first byte says how it is cut.
pub fn session(bytes: &[u8]) -> bool {
    let Some((cut, said)) = bytes.split_first() else {
        return false;
    };
    let split = match cut {
        0 => Split::EveryByte,
        n => Split::At(usize::from(*n)),
    };
    let (heard, shown) = talk(Split::Whole, said);
    let (heard_in_pieces, shown_in_pieces) = talk(split, said);
    let same = |one: &[u8], other: &[u8]| without_luck(one) == without_luck(other);
    let (heard, heard_in_pieces) = (without_lists(&heard), without_lists(&heard_in_pieces));
    assert!(same(&heard, &heard_in_pieces), "cut: {split:?}");
    assert!(
        same(shown.as_bytes(), shown_in_pieces.as_bytes()),
        "cut: {split:?}"
    );
    shown.contains("joined")
}

/// What the peer hears, and what is shown to somebody else, which is text whatever the peer says.
fn talk(split: Split, said: &[u8]) -> (Vec<u8>, String) {
    let bus = FakeBus::new();
    let (mut other, eve) = named(&Setup::of::<Chat>().bus(&bus), b"eve\n");
    let mut chat = start(&Setup::of::<Chat>().bus(&bus).split(split));
    let peer = chat.connect();
    chat.send(peer, said);
    chat.hear_bus();
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

/// Without the lines that say who is there: they follow the bus, which may be slower than a peer that says
/// all it has to say at once.
fn without_lists(heard: &[u8]) -> Vec<u8> {
    let is_list = |line: &[u8]| {
        let has = |part: &[u8]| line.windows(part.len()).any(|it| it == part);
        line.starts_with(b" ") || line.starts_with(b"#") || has(b" here") || has(b"\"reply\"")
    };
    let lines = heard.split_inclusive(|byte| *byte == b'\n');
    lines
        .filter(|line| !is_list(line))
        .flatten()
        .copied()
        .collect()
}

/// Without numbers of guests, tokens and times of day, which are other ones in each run.
fn without_luck(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.retain(|byte| !byte.is_ascii_hexdigit());
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
