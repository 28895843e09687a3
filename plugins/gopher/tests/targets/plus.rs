//! A line of a Gopher+ client, and an abstract that somebody has written, through a real hole.

use polyport_gopher::http::{self, Parsed};
use polyport_gopher::{gopherplus, selector};

use super::ground::{Ground, answer, assert_is_menu};

thread_local! {
    static GROUND: Ground = Ground::new();
}

/// The line, and behind its end the abstract of `a/b.txt`.
pub fn plus(bytes: &[u8]) -> bool {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (line, about) = match end {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (bytes, &b""[..]),
    };
    let request = [selector::without_end(line), b"\r\n"].concat();
    if http::parsed(&request) != Parsed::NotHttp {
        return false;
    }
    let answered = GROUND.with(|ground| {
        ground.put("a/b.txt.abstract", about);
        answer(&mut ground.host(), &request)
    });
    let fields = selector::fields(selector::without_end(line));
    let word = fields.and_then(|fields| fields.second);
    let asked = word.and_then(gopherplus::ask);
    let is_search = fields.is_some_and(|fields| {
        let host = fields.selector.iter().rposition(|byte| *byte == b';');
        [None, host].into_iter().any(|end| {
            let end = end.unwrap_or(fields.selector.len());
            let mut read = selector::candidates(&fields.selector[..end]).into_iter();
            read.any(|candidate| candidate.path == b"search")
        })
    });
    if asked.is_none() || is_search || line.len() > 1024 {
        assert!(!answered.is_empty());
        return false;
    }
    assert_is_answer(&answered);
    if asked != Some(gopherplus::Ask::Content) && !answered.starts_with(b"--") {
        assert_are_blocks(&answered);
    }
    true
}

/// A head that says how the rest ends, and a rest that does.
fn assert_is_answer(answer: &[u8]) {
    let shown = answer.escape_ascii();
    let end = answer.windows(2).position(|pair| pair == b"\r\n");
    let end = end.unwrap_or_else(|| panic!("no head: {shown}"));
    let (head, rest) = (&answer[..end], &answer[end + 2..]);
    match head {
        b"+-1" => assert!(rest.ends_with(b".\r\n"), "{shown}"),
        b"+-2" => {}
        b"--1" => assert!(
            rest.ends_with(b"\r\n.\r\n") && matches!(rest, [b'1'..=b'9', b' ', ..]),
            "{shown}"
        ),
        [b'+', digits @ ..] => {
            let digits = std::str::from_utf8(digits).expect("digits");
            assert_eq!(digits.parse(), Ok(rest.len()), "{shown}");
        }
        _ => panic!("{shown}"),
    }
}

/// Each block has its name, each item its line, and nothing stands between them.
pub(super) fn assert_are_blocks(answer: &[u8]) {
    let shown = answer.escape_ascii();
    let blocks = answer.strip_prefix(b"+-1\r\n").expect("its head");
    let blocks = blocks.strip_suffix(b".\r\n").expect("its end");
    let names = [&b"+INFO: "[..], b"+ADMIN:\r", b"+VIEWS:\r", b"+ABSTRACT:\r"];
    let mut of_item: Vec<&[u8]> = Vec::new();
    for line in blocks.split_inclusive(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\n").expect("whole lines");
        assert!(line.ends_with(b"\r"), "{shown}");
        match line {
            [b' ', ..] => assert!(of_item.len() > 1, "{shown}"),
            _ => {
                let name = names.iter().find(|name| line.starts_with(name));
                let name = *name.unwrap_or_else(|| panic!("{shown}"));
                if let Some(item) = line.strip_prefix(names[0]) {
                    of_item.clear();
                    let item = item.strip_suffix(b"\r").expect("seen above");
                    assert_is_menu(&[item, b"\r\n.\r\n"].concat(), 4..=5);
                }
                assert!(!of_item.contains(&name), "twice: {shown}");
                of_item.push(name);
            }
        }
    }
}
