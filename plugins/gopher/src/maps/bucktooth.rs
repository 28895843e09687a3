//! The dialect of bucktooth, which most maps are written in, with what gophernicus has added.
//!
//! A line with a TAB is an item, whatever its letter; one without is a text, unless it is one of the
//! directives. Directives are taken narrowly, so that rulers and headings stay what they look like.

use super::{Line, is_relative};
use crate::menu::Item;

/// What one line says; `None` is a comment.
pub fn line(line: &[u8], is_first: bool, text_only: bool) -> Option<Line> {
    if line.contains(&b'\t') {
        return Some(item(line));
    }
    if is_first && line.starts_with(b"#text-only") {
        return None;
    }
    if text_only {
        return Some(Line::Item(Item::text(line)));
    }
    let text = || Line::Item(Item::text(line));
    Some(match line {
        [b'#', ..] => return None,
        b"*" => Line::Listing,
        b"." => Line::End,
        b"~" => Line::Users,
        b"%" => Line::Hosts,
        [b'!', title @ ..] if is_first => Line::Title(title.to_vec()),
        [b'-', name @ ..] if is_name(name) => Line::Hide(name.to_vec()),
        [b'=', path @ ..] if is_name(path) => Line::Include(path.to_vec()),
        [b':', rest @ ..] => letter(rest).unwrap_or_else(text),
        _ => text(),
    })
}

/// Not a ruler, and not a sentence.
fn is_name(bytes: &[u8]) -> bool {
    bytes
        .first()
        .is_some_and(|first| !b" -=*~_".contains(first))
        && !bytes.ends_with(b"-")
        && !bytes.ends_with(b"=")
}

/// `ext=type`.
fn letter(rest: &[u8]) -> Option<Line> {
    let at = rest.iter().position(|byte| *byte == b'=')?;
    let (extension, letter) = (&rest[..at], &rest[at + 1..]);
    match letter {
        [letter] if is_extension(extension) && letter.is_ascii_graphic() => {
            Some(Line::Letter(extension.to_vec(), *letter))
        }
        _ => None,
    }
}

fn is_extension(bytes: &[u8]) -> bool {
    !bytes.is_empty() && !bytes.iter().any(u8::is_ascii_whitespace)
}

/// `Tname<TAB>selector<TAB>host<TAB>port`, all but the first may be missing.
fn item(line: &[u8]) -> Line {
    let mut fields = line.split(|byte| *byte == b'\t');
    let first = fields.next().unwrap_or_default();
    let letter = first.split_first();
    let Some((kind, name)) = letter.filter(|(kind, _)| kind.is_ascii_graphic()) else {
        // Such as a line that begins with a TAB: it has neither a letter nor a name.
        return Line::Item(Item::text(line.trim_ascii_start()));
    };
    let mut field = || fields.next().filter(|field| !field.is_empty());
    let (selector, host, port) = (field(), field(), field());
    let port = port.and_then(|port| super::port(port, host.is_some()));
    let item = Item {
        kind: *kind,
        name: name.to_vec(),
        selector: match (selector, kind) {
            (Some(selector), _) => selector.to_vec(),
            (None, b'i' | b'3') => Vec::new(),
            (None, _) => name.to_vec(),
        },
        host: host.map(<[u8]>::to_vec),
        port,
    };
    match item.host.is_none() && is_relative(item.kind, &item.selector) {
        true => Line::Relative(item),
        false => Line::Item(item),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(kind: u8, name: &str, selector: &str) -> Item {
        Item::local(kind, name, selector)
    }

    #[test]
    fn items_take_what_is_missing_from_here() {
        let remote = Item {
            host: Some(b"h".to_vec()),
            port: Some(7070),
            ..local(b'1', "a", "/x")
        };
        for (line, expected) in [
            ("0a\t/x", Line::Item(local(b'0', "a", "/x"))),
            ("0a\tx", Line::Relative(local(b'0', "a", "x"))),
            ("0a\t", Line::Relative(local(b'0', "a", "a"))),
            ("1a\t/x\th\t7070", Line::Item(remote.clone())),
            (
                "1a\t/x\th\t99999",
                Line::Item(Item {
                    port: Some(70),
                    ..remote.clone()
                }),
            ),
            (
                "1a\t/x\th\t-1",
                Line::Item(Item {
                    port: Some(70),
                    ..remote.clone()
                }),
            ),
            (
                "1a\t/x\th",
                Line::Item(Item {
                    port: None,
                    ..remote.clone()
                }),
            ),
            ("1a\t/x\th\t7070\t+", Line::Item(remote.clone())),
            (
                "1a\tx\th",
                Line::Item(Item {
                    selector: b"x".to_vec(),
                    port: None,
                    ..remote.clone()
                }),
            ),
            (
                "1a\t/x\th\tnone",
                Line::Item(Item {
                    port: Some(70),
                    ..remote.clone()
                }),
            ),
            ("ia\t", Line::Item(Item::text("a"))),
            ("i\t", Line::Item(Item::text(""))),
            (
                "hsite\tURL:http://x/",
                Line::Item(local(b'h', "site", "URL:http://x/")),
            ),
            ("5old\tx", Line::Relative(local(b'5', "old", "x"))),
            ("0a\t../x", Line::Relative(local(b'0', "a", "../x"))),
            ("0a\t../.x", Line::Item(local(b'0', "a", "../.x"))),
            ("\tabc", Line::Item(Item::text("abc"))),
            ("#a\t/x", Line::Item(local(b'#', "a", "/x"))),
        ] {
            let parsed = super::line(line.as_bytes(), false, false);
            assert_eq!(parsed, Some(expected), "{line:?}");
        }
    }

    #[test]
    fn directives_are_taken_narrowly() {
        let text = |line: &str| Some(Line::Item(Item::text(line)));
        for (line, expected) in [
            ("", text("")),
            ("hello", text("hello")),
            ("hello this is no link", text("hello this is no link")),
            ("# comment", None),
            ("*", Some(Line::Listing)),
            ("***", text("***")),
            (".", Some(Line::End)),
            ("...", text("...")),
            ("~", Some(Line::Users)),
            ("~~~", text("~~~")),
            ("%", Some(Line::Hosts)),
            ("% of", text("% of")),
            ("-secret.txt", Some(Line::Hide(b"secret.txt".to_vec()))),
            ("--------", text("--------")),
            ("- a point", text("- a point")),
            ("-", text("-")),
            ("=part.map", Some(Line::Include(b"part.map".to_vec()))),
            ("=====", text("=====")),
            ("= a =", text("= a =")),
            (":md=0", Some(Line::Letter(b"md".to_vec(), b'0'))),
            (":md=", text(":md=")),
            (": a=b", text(": a=b")),
            (":-)", text(":-)")),
            ("!title", text("!title")),
        ] {
            assert_eq!(
                super::line(line.as_bytes(), false, false),
                expected,
                "{line:?}"
            );
        }
        let title = line(b"!title", true, false);
        assert_eq!(title, Some(Line::Title(b"title".to_vec())));
    }
}
