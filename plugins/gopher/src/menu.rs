//! A menu: its items, and how they are written for a gopher client.
//!
//! Pure. Invariant: whatever is in an item, it becomes one line of four fields that ends with CRLF;
//! no byte of a name can begin a new field, a new line, or the end of the menu.

use std::borrow::Cow;

use unicode_width::UnicodeWidthChar;

use crate::selector::{encoded, shown};

/// Whom lines that lead nowhere name.
pub(crate) const NOWHERE: (&str, u16) = ("error.host", 1);

/// What clients are told to connect to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Here {
    /// A host name, or an address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// One line of a menu.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The letter.
    pub kind: u8,
    /// What people read.
    pub name: Vec<u8>,
    /// What is to be asked for.
    pub selector: Vec<u8>,
    /// `None` is this server.
    pub host: Option<Vec<u8>>,
    /// `None` is this server's.
    pub port: Option<u16>,
}

impl Item {
    /// Something of this server.
    pub fn local(kind: u8, name: impl Into<Vec<u8>>, selector: impl Into<Vec<u8>>) -> Item {
        Item {
            kind,
            name: name.into(),
            selector: selector.into(),
            host: None,
            port: None,
        }
    }

    /// A line to read.
    pub fn text(name: impl Into<Vec<u8>>) -> Item {
        Item::local(b'i', name, "")
    }

    /// Whether it leads nowhere.
    pub(crate) fn is_text(&self) -> bool {
        matches!(self.kind, b'i' | b'3')
    }

    /// Whether this server has it.
    pub(crate) fn is_local(&self, here: &Here) -> bool {
        let host = self.host.as_deref();
        !self.is_text()
            && host.is_none_or(|host| host.eq_ignore_ascii_case(here.host.as_bytes()))
            && self.port.is_none_or(|port| port == here.port)
    }
}

/// How menus are written.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Columns of a name; 0 is any number.
    pub width: usize,
    /// Whether items of this server say that they know Gopher+.
    pub plus: bool,
}

/// The whole menu, with its end.
pub fn written(items: &[Item], here: &Here, style: Style) -> Vec<u8> {
    let mut menu = Vec::with_capacity(items.len() * 80 + 3);
    let lines = Lines::new(here, style);
    for item in items {
        lines.push(&mut menu, item);
    }
    menu.extend_from_slice(b".\r\n");
    menu
}

/// Writes lines of a menu; what all lines of this server end with is made once.
pub(crate) struct Lines<'a> {
    here: &'a Here,
    style: Style,
    local_end: Vec<u8>,
}

impl Lines<'_> {
    pub(crate) fn new(here: &Here, style: Style) -> Lines<'_> {
        let plus = if style.plus { "\t+" } else { "" };
        Lines {
            here,
            style,
            local_end: format!("\t{}\t{}{plus}\r\n", here.host, here.port).into_bytes(),
        }
    }

    pub(crate) fn push(&self, menu: &mut Vec<u8>, item: &Item) {
        let is_letter = item.kind.is_ascii_graphic();
        menu.push(if is_letter { item.kind } else { b'?' });
        // A text was laid out by whoever wrote it.
        let width = if item.is_text() { 0 } else { self.style.width };
        menu.extend_from_slice(&cut(&shown(&item.name), width));
        menu.push(b'\t');
        menu.extend_from_slice(&encoded(&item.selector));
        if item.is_text() {
            menu.extend_from_slice(format!("\t{}\t{}\r\n", NOWHERE.0, NOWHERE.1).as_bytes());
            return;
        }
        if item.host.is_none() && item.port.is_none() {
            menu.extend_from_slice(&self.local_end);
            return;
        }
        menu.push(b'\t');
        match &item.host {
            Some(host) => menu.extend_from_slice(&encoded(host)),
            None => menu.extend_from_slice(self.here.host.as_bytes()),
        }
        let port = item.port.unwrap_or(self.here.port);
        menu.extend_from_slice(format!("\t{port}").as_bytes());
        if self.style.plus && item.is_local(self.here) {
            menu.extend_from_slice(b"\t+");
        }
        menu.extend_from_slice(b"\r\n");
    }
}

/// An error, as a menu: the one form that every client can show.
pub fn error(text: &str) -> Vec<u8> {
    let item = Item::local(b'3', text, "");
    let nowhere = Here {
        host: NOWHERE.0.to_owned(),
        port: NOWHERE.1,
    };
    written(
        &[item],
        &nowhere,
        Style {
            width: 0,
            plus: false,
        },
    )
}

/// At most `width` columns, cut between characters; the last two columns then are dots. What is not
/// UTF-8 is taken as one column a byte.
pub(crate) fn cut(name: &[u8], width: usize) -> Cow<'_, [u8]> {
    if width == 0 || name.len() <= width || columns(name).map(|it| it.1).sum::<usize>() <= width {
        return name.into();
    }
    let mut kept = Vec::with_capacity(width + 2);
    let mut used = 0;
    for (bytes, columns) in columns(name) {
        if used + columns + 2 > width {
            break;
        }
        used += columns;
        kept.extend_from_slice(bytes);
    }
    kept.extend_from_slice(b"..");
    kept.into()
}

/// Each character, and how many columns it takes.
pub(crate) fn columns(name: &[u8]) -> impl Iterator<Item = (&[u8], usize)> {
    name.utf8_chunks().flat_map(|chunk| {
        let valid = chunk.valid();
        let characters = valid.char_indices().map(move |(at, character)| {
            let bytes = &valid.as_bytes()[at..at + character.len_utf8()];
            (bytes, character.width().unwrap_or(0))
        });
        let others = chunk.invalid().chunks(1).map(|byte| (byte, 1));
        characters.chain(others)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> Here {
        Here {
            host: "gopher.example".into(),
            port: 70,
        }
    }

    #[test]
    fn every_item_is_one_line_of_four_fields() {
        let names = [
            &b"plain"[..],
            b"",
            b"a\tb\r\nc",
            b".",
            b"\xff\xfe",
            b"\x1b[2J\0",
            "\u{4e2d}\u{6587}".as_bytes(),
        ];
        for name in names {
            for kind in b"0i3h7" {
                let menu = written(
                    &[Item::local(*kind, name, name)],
                    &here(),
                    Style {
                        width: 5,
                        plus: false,
                    },
                );
                let line = menu
                    .strip_suffix(b"\r\n.\r\n")
                    .expect("one line and the end");
                assert!(!line.contains(&b'\n') && !line.contains(&b'\r'));
                assert_eq!(line.split(|byte| *byte == b'\t').count(), 4);
            }
        }
    }

    #[test]
    fn lines_name_who_has_the_item() {
        let remote = Item {
            host: Some(b"other.example".to_vec()),
            port: Some(7070),
            ..Item::local(b'1', "there", "/x")
        };
        let items = [Item::text("hello"), Item::local(b'0', "a", "/a"), remote];
        for (plus, expected) in [
            (
                false,
                "ihello\t\terror.host\t1\r\n0a\t/a\tgopher.example\t70\r\n1there\t/x\tother.example\t7070\r\n.\r\n",
            ),
            (
                true,
                "ihello\t\terror.host\t1\r\n0a\t/a\tgopher.example\t70\t+\r\n1there\t/x\tother.example\t7070\r\n.\r\n",
            ),
        ] {
            let menu = written(&items, &here(), Style { width: 67, plus });
            assert_eq!(String::from_utf8_lossy(&menu), expected);
        }
        assert_eq!(
            error("no such thing"),
            b"3no such thing\t\terror.host\t1\r\n.\r\n"
        );
    }

    #[test]
    fn names_are_cut_between_characters_by_columns() {
        for (name, width, expected) in [
            ("abcdef", 6, "abcdef"),
            ("abcdefg", 6, "abcd.."),
            ("abcdefg", 0, "abcdefg"),
            ("\u{e4}\u{f6}\u{fc}\u{df}", 4, "\u{e4}\u{f6}\u{fc}\u{df}"),
            ("\u{e4}\u{f6}\u{fc}\u{df}x", 4, "\u{e4}\u{f6}.."),
            ("\u{4e2d}\u{6587}\u{5b57}", 5, "\u{4e2d}.."),
        ] {
            let cut = cut(name.as_bytes(), width);
            assert_eq!(String::from_utf8_lossy(&cut), expected, "{name} {width}");
        }
        assert_eq!(*cut(b"\xff\xfe\xfd\xfc", 3), *b"\xff..");
    }
}
