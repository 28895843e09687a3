//! Whatever bytes come: nothing but text is shown to others, the worker goes on, and a conversation
//! that is cut or changed anywhere does no harm. `POLYPORT_SEED=N` repeats one, `POLYPORT_ROUNDS=N`
//! makes more of them.

use std::time::Duration;

use polyport_line_chat::Chat;
use polyport_plugin::testing::{FakeBus, Setup, Split};

/// What is changed and put together: good lines and the pieces that bad ones are made of.
const PIECES: &[&[u8]] = &[
    b"bob\n",
    b"hi\r\n",
    b"/join den\n",
    b"/nick rob\n",
    b"/msg eve psst\n",
    b"/topic x\n",
    b"/part\n",
    b"/mode json\n",
    b"{\"text\":\"hi\"}\n",
    b"{\"kind\":\"command\",\"text\":\"who\"}\n",
    b"{\"text\":\"\\u001b[2J\\u202e\"}\n",
    b"/away \x1B]0;x\x07\n",
    b"/me \x1BP",
    b"\x9B31m",
    b"\xFF\xFD\x06",
    b"\xFF\xFD\x01",
    b"\xFF\xFB\x1F",
    b"\xFF\xFA\x18\x00",
    b"\xFF\xF0",
    b"\xFF\xFF",
    b"\xFF\xF4",
    b"\xFF\xF7",
    b"\xFF\xF8",
    b"\xE2\x80\xAE",
    b"\xE2\x80\x8B",
    b"\xF3\xA0\x81\x81",
    b"\xC3",
    b"\xED\xA0\x80",
    b"\x00",
    b"\r",
    b"\n",
    b"\x04",
    b"/quit\n",
    b"/history 5\n",
    b"/token\n",
    b"/op xxxxxxxx\n",
    b"/ignore eve\n",
    b"/echo on\n",
    b"/color on\n",
    b"/time iso\n",
    b"\t",
    b"e\xCC\x81\xCC\x81\xCC\x81\xCC\x81\xCC\x81",
    b"/whois bob\n",
    b"/resume bob:0123456789abcdef0123456789abcdef\n",
    b"guest\n",
    b"//x\n",
    b"/",
    b":",
    b"'",
    b"#",
];

struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % n
    }

    fn bytes(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..self.below(30) {
            bytes.extend_from_slice(PIECES[self.below(PIECES.len())]);
        }
        for _ in 0..self.below(4) {
            let Some(last) = bytes.len().checked_sub(1) else {
                break;
            };
            let at = self.below(last + 1);
            match self.below(3) {
                0 => bytes[at] = u8::try_from(self.below(256)).expect("a byte"),
                1 => drop(bytes.remove(at)),
                _ => bytes.truncate(at),
            }
        }
        bytes
    }
}

fn rounds() -> std::ops::Range<u64> {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|it| it.parse::<u64>().expect("a number"))
    };
    match number("POLYPORT_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..number("POLYPORT_ROUNDS").unwrap_or(600),
    }
}

#[test]
fn only_text_is_shown_and_the_worker_goes_on_whatever_comes() {
    for seed in rounds() {
        let mut dice = Dice(seed);
        let bus = FakeBus::new();
        let split = [Split::Whole, Split::EveryByte, Split::At(5)][dice.below(3)];
        let setup = Setup::of::<Chat>()
            .bus(&bus)
            .split(split)
            .set("op_passwords", "xxxxxxxx");
        let mut chat = setup.start().expect("it starts");
        let mut other = Setup::of::<Chat>().bus(&bus).start().expect("it starts");
        let eve = other.connect();
        other.send(eve, b"eve\n");
        let mut rude = Vec::new();
        for _ in 0..3 {
            let peer = chat.connect();
            if dice.below(3) > 0 {
                chat.send(peer, format!("n{}\n", rude.len()).as_bytes());
            }
            chat.send(peer, &dice.bytes());
            rude.push(peer);
            match dice.below(5) {
                0 => chat.advance(Duration::from_secs(5)),
                1 => chat.carry().expect("all are carried"),
                2 => {
                    bus.lose();
                    chat.hear_bus();
                    bus.restore();
                }
                _ => {}
            }
        }
        chat.advance(Duration::from_secs(30));
        other.hear_bus();
        let shown = std::str::from_utf8(other.received(eve));
        let shown = shown.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        for line in shown.split("\r\n") {
            let wrong = line.chars().find(|c| {
                c.is_control() || matches!(c, '\u{200B}' | '\u{202E}' | '\u{E0041}' | '\u{2028}')
            });
            assert_eq!(wrong, None, "seed {seed}: {line:?}");
        }
        other.send(eve, b"/uptime\n");
        other.hear_bus();
        let shown = String::from_utf8_lossy(other.received(eve)).into_owned();
        let is_gone = shown.contains("you were");
        assert!(is_gone || shown.contains("up for"), "seed {seed}: {shown}");
    }
}

/// Bytes changed as somebody would who wants to see what comes of it.
fn spoil(dice: &mut Dice, bytes: &mut Vec<u8>) {
    for _ in 0..1 + dice.below(4) {
        let at = dice.below(bytes.len() + 1);
        match dice.below(5) {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            2 => {
                let rude = dice.bytes();
                bytes.splice(at..at, rude);
            }
            // A length, perhaps, that is not that of what follows.
            3 if at + 4 <= bytes.len() => {
                let length = [0, 1, 0x7FFF_FFFF, u32::MAX][dice.below(4)];
                bytes[at..at + 4].copy_from_slice(&length.to_be_bytes());
            }
            // The text of a field, as long as it was.
            _ => {
                let texts: [&[u8]; 4] = [b"\x1B[2J", b"\xFF\xFE", b"a\tb\r\n", b"../../x"];
                let text = texts[dice.below(4)];
                if at + text.len() <= bytes.len() {
                    bytes[at..at + text.len()].copy_from_slice(text);
                }
            }
        }
    }
}

#[test]
fn what_is_carried_is_not_trusted() {
    let (mut refused, mut taken) = (0, 0);
    for seed in rounds() {
        let mut dice = Dice(seed.wrapping_mul(77));
        let bus = FakeBus::new();
        let setup = Setup::of::<Chat>().bus(&bus);
        let (mut chat, mut other) = (
            setup.start().expect("it starts"),
            setup.start().expect("it starts"),
        );
        let (peer, eve) = (chat.connect(), other.connect());
        other.send(eve, b"eve\n");
        chat.send(peer, b"bob\n/join den\n/away tea\n/ignore x\nhalf a li");
        chat.hear_bus();
        match chat.carry_changed(|bytes| spoil(&mut dice, bytes)) {
            Ok(()) => taken += 1,
            Err(why) => {
                let known = why.contains("makes no sense") || why.contains("is not known");
                assert!(known, "seed {seed}: {why}");
                refused += 1;
            }
        }
        if chat.end(peer).is_none() {
            chat.send(peer, b"ne\n/join lobby\nhi\n/who\n");
        }
        for _ in 0..3 {
            chat.hear_bus();
            other.send(eve, b"/who\n/names\n");
        }
        let all = [chat.received(peer), other.received(eve)].concat();
        let shown = String::from_utf8(all).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        // Colors may have been switched on by that.
        let mut plain = shown.replace("\r\n", "");
        for color in ["\x1B[0m", "\x1B[2m", "\x1B[35m", "\x1B[36m"] {
            plain = plain.replace(color, "");
        }
        assert!(!plain.contains(char::is_control), "seed {seed}: {shown:?}");
        assert!(chat.take_faults().is_empty(), "seed {seed}");
    }
    assert!(refused > 0 && taken > 0, "{refused} refused, {taken} taken");
}
