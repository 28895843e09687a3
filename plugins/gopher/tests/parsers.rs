//! What strangers send and administrators write, at random: parsers answer everything, never panic,
//! and never contradict themselves.
//!
//! Each input is a mutation of something right. The seed is printed; `POLYPORT_SEED=N` repeats a run,
//! `POLYPORT_ROUNDS=N` makes it longer.

mod support;
mod targets;

use polyport_gopher::text;
use polyport_plugin::testing::Split;
use support::{Hole, ask};

/// Xorshift.
struct Dice(u64);

impl Dice {
    fn new(test: &str) -> Dice {
        let seed = match std::env::var("POLYPORT_SEED") {
            Ok(seed) => seed.parse().expect("a number"),
            Err(_) => 0x5EED,
        };
        println!("{test}: POLYPORT_SEED={seed}");
        Dice(seed | 1)
    }

    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % n.max(1)
    }

    /// One of these, with some bytes changed, doubled, left out or put in.
    fn mutation(&mut self, choices: &[&[u8]]) -> Vec<u8> {
        let chosen = self.below(choices.len());
        let mut bytes = choices[chosen].to_vec();
        for _ in 0..self.below(5) {
            let at = self.below(bytes.len());
            let special = b"\t\r\n\0/.?%;~*=-!:[|] \\\x1b\xff";
            let other = match self.below(2) {
                0 => special[self.below(special.len())],
                _ => self.below(256) as u8,
            };
            match self.below(5) {
                _ if bytes.is_empty() => bytes.push(other),
                0 => bytes[at] = other,
                1 => bytes.insert(at, other),
                2 => drop(bytes.remove(at)),
                3 => bytes.truncate(at),
                _ => {
                    let again = bytes[at..].to_vec();
                    bytes.extend(again);
                }
            }
        }
        bytes
    }
}

fn rounds() -> usize {
    let rounds = std::env::var("POLYPORT_ROUNDS");
    rounds.map_or(20_000, |rounds| rounds.parse().expect("a number"))
}

const LINES: [&[u8]; 8] = [
    b"/a/b.txt",
    b"0/a%20b?c=d",
    b"//x/./y;b.example",
    b"/~ada/a",
    b"/search\twords and\t+text/plain",
    b"\t$",
    b"URL:http://example.org/?a=b",
    b"/../.hidden",
];

const REQUESTS: [&[u8]; 5] = [
    b"GET / HTTP/1.1\r\nHost: h:70\r\n\r\n",
    b"HEAD /a%20b?q=c+d HTTP/1.0\r\n\r\n",
    b"GET http://h/x HTTP/1.1\nhost:x\n\n",
    b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
    b"/plain\r\n",
];

const MAPS: [&[u8]; 4] = [
    b"!T\nhello\n0a\tb\n1c\t/d\te.example\t70\n-x\n:md=0\n=y\n*\n.\n~\n%\n#c\n",
    b"#text-only\n***\n0a\tb\n",
    b"[0|a|b|server|port]\n[1|c \\| d|/e|h|70]\ntext\n[|bar\nt[x\n[0|short]\n",
    b"\r\n\t\t\t\n\xff\xfe\tx\n",
];

const PLUS: [&[u8]; 6] = [
    b"/a/b.txt\t+\nAbout\nit",
    b"\t$",
    b"/a/b.txt\t!\nIn two\r\nlines",
    b"/missing\t+",
    b"/mapped\t+text/plain",
    b"/search\twords\t+",
];

/// How many of so many mutations the target has taken.
fn taken(test: &str, right: &[&[u8]], rounds: usize, target: targets::Target) -> usize {
    let mut dice = Dice::new(test);
    for input in right {
        target(input);
    }
    let mutations = (0..rounds).map(|_| dice.mutation(right));
    mutations.filter(|input| target(input)).count()
}

#[test]
fn a_path_never_names_what_is_hidden_or_outside() {
    let found = taken("selectors", &LINES, rounds(), targets::requests::selector);
    assert!(found > rounds() / 2, "most lines name something: {found}");
}

#[test]
fn what_is_known_of_a_beginning_of_http_holds_for_the_whole() {
    for cut in 0..60 {
        let cut_there = REQUESTS.map(|request| [&[0, cut][..], request].concat());
        let cut_there: Vec<&[u8]> = cut_there.iter().map(Vec::as_slice).collect();
        let rounds = rounds() / 60;
        let asked = taken("http", &cut_there, rounds, targets::requests::http);
        assert!(asked > rounds / 20, "{asked} are more noise than mutation");
    }
}

#[test]
fn a_map_becomes_a_menu_whose_lines_are_whole() {
    for choice in 0..8 {
        let chosen = MAPS.map(|map| [&[choice][..], map].concat());
        let chosen: Vec<&[u8]> = chosen.iter().map(Vec::as_slice).collect();
        let rounds = rounds() / 40;
        let items = taken("maps", &chosen, rounds, targets::map::map);
        assert!(items > rounds / 20, "{items} are more noise than mutation");
    }
}

#[test]
fn what_gopher_plus_is_told_has_a_head_blocks_and_an_end() {
    let rounds = rounds() / 10;
    let asked = taken("gopher+", &PLUS, rounds, targets::plus::plus);
    assert!(asked > rounds / 3, "{asked} are more noise than mutation");
}

#[test]
fn the_ends_of_lines_do_not_depend_on_the_cut() {
    let mut dice = Dice::new("text");
    for _ in 0..rounds() {
        let content = dice.mutation(&[b"a\n.\r\n..b\n\n", b"\r\r\n.\n", b"x"]);
        let dots = dice.below(2) == 0;
        let at = dice.below(content.len() + 1);
        let sent = |pieces: &[&[u8]]| {
            let (mut ends, mut out) = (text::Ends::new(dots), Vec::new());
            pieces.iter().for_each(|piece| ends.piece(piece, &mut out));
            ends.end(&mut out);
            out
        };
        let whole = sent(&[&content]);
        assert_eq!(sent(&[&content[..at], &content[at..]]), whole);
        assert!(!dots || whole.ends_with(b".\r\n"));
    }
}

#[test]
fn whatever_is_asked_gets_one_answer_and_the_end() {
    let mut dice = Dice::new("requests");
    let hole = Hole::of(&[
        ("a/b.txt", b"b"),
        ("a/gophermap", b"hello\n"),
        ("x/y", b"y"),
    ]);
    let mut host = hole.host();
    let all: Vec<&[u8]> = LINES.iter().chain(&REQUESTS).copied().collect();
    for _ in 0..rounds() / 20 {
        let mut request = dice.mutation(&all);
        request.extend_from_slice(b"\r\n\r\n");
        let answer = ask(&mut host, &request);
        assert!(!answer.is_empty(), "{}", request.escape_ascii());
        let mut cut = hole
            .setup()
            .split(Split::EveryByte)
            .start()
            .expect("good settings");
        assert_eq!(
            ask(&mut cut, &request),
            answer,
            "{}",
            request.escape_ascii()
        );
    }
}
