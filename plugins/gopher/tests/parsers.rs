//! What strangers send and administrators write, at random: parsers answer everything, never panic,
//! and never contradict themselves.
//!
//! Each input is a mutation of something right. The seed is printed; `POLYPORT_SEED=N` repeats a run,
//! `POLYPORT_ROUNDS=N` makes it longer.

mod support;

use polyport_gopher::menu::{Here, Item, Style, written};
use polyport_gopher::{gopherplus, http, maps, selector, text, url};
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
        let mut bytes = choices[self.below(choices.len())].to_vec();
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

#[test]
fn a_path_never_names_what_is_hidden_or_outside() {
    let mut dice = Dice::new("selectors");
    let mut found = 0;
    for _ in 0..rounds() {
        let line = dice.mutation(&LINES);
        let Some(fields) = selector::fields(&line) else {
            assert!(
                line.iter()
                    .any(|byte| byte.is_ascii_control() && *byte != b'\t')
            );
            continue;
        };
        assert!(!fields.selector.contains(&b'\t'));
        for candidate in selector::candidates(fields.selector) {
            found += 1;
            let path = &candidate.path;
            assert!(!path.starts_with(b"/") && !path.ends_with(b"/") && !path.contains(&0));
            let mut parts = path.split(|byte| *byte == b'/');
            assert!(path.is_empty() || parts.all(|part| !part.is_empty() && part[0] != b'.'));
            // A path that may be shown is found under itself.
            assert_eq!(selector::path(path).as_ref(), Some(path));
        }
        let word = fields.third.or(fields.second).unwrap_or_default();
        let asked = gopherplus::ask(word).is_some();
        assert_eq!(
            asked,
            word.first().is_some_and(|first| b"+!$".contains(first))
        );
    }
    assert!(found > rounds() / 2, "most lines name something: {found}");
}

#[test]
fn a_map_becomes_a_menu_whose_lines_are_whole() {
    let mut dice = Dice::new("maps");
    let here = Here {
        host: "h.example".into(),
        port: 70,
    };
    for _ in 0..rounds() {
        let map = dice.mutation(&MAPS);
        let name: &[u8] = if dice.below(2) == 0 {
            b"gophermap"
        } else {
            b"index.gph"
        };
        let lines = maps::parsed(name, &map, dice.below(4) == 0);
        let ends = map.iter().filter(|byte| **byte == b'\n').count();
        assert!(lines.len() <= ends + 1);
        let items: Vec<Item> = lines
            .into_iter()
            .filter_map(|line| match line {
                maps::Line::Item(item) | maps::Line::Relative(item) => Some(item),
                _ => None,
            })
            .collect();
        let menu = written(
            &items,
            &here,
            Style {
                width: 20,
                plus: false,
            },
        );
        let mut lines: Vec<&[u8]> = menu.split(|byte| *byte == b'\n').collect();
        assert_eq!(
            (lines.pop(), lines.pop()),
            (Some(&b""[..]), Some(&b".\r"[..]))
        );
        assert_eq!(lines.len(), items.len());
        for line in lines {
            assert_eq!(line.iter().filter(|byte| **byte == b'\t').count(), 3);
            assert_eq!(line.iter().filter(|byte| **byte == b'\r').count(), 1);
        }
    }
}

#[test]
fn what_is_known_of_a_beginning_of_http_holds_for_the_whole() {
    let mut dice = Dice::new("http");
    let plain = url::page(b"http://a/").expect("a good address");
    let tags = plain.iter().filter(|byte| **byte == b'<').count();
    for _ in 0..rounds() {
        let request = dice.mutation(&REQUESTS);
        let whole = http::parsed(&request);
        let cut = &request[..dice.below(request.len() + 1)];
        match http::parsed(cut) {
            http::Parsed::More => assert_ne!(whole, http::Parsed::NotHttp),
            http::Parsed::NotHttp if !cut.contains(&b'\n') => {}
            known => assert_eq!(known, whole, "{}", request.escape_ascii()),
        }
        if let http::Parsed::Asked(asked) = whole {
            assert!(asked.selector.starts_with(b"/"));
            assert!(!asked.selector.contains(&0) && !asked.selector.contains(&0x1b));
        }
        let address = dice.mutation(&[b"http://a/", b"javascript:x", b"mailto:a@b"]);
        if let Some(page) = url::page(&address) {
            let page = String::from_utf8(page).expect("a page is UTF-8");
            assert_eq!(
                page.matches('<').count(),
                tags,
                "{}",
                address.escape_ascii()
            );
        }
    }
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
