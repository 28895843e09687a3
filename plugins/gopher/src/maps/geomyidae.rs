//! The dialect of geomyidae: `[type|name|selector|host|port]`, and everything else is text.
//!
//! The words `server` and `port` stand for this server, `\|` for a bar, and a `t` at the beginning
//! of a line only keeps what follows from being read as an item.

use super::{Line, is_relative};
use crate::menu::Item;

/// What one line says.
pub fn line(line: &[u8]) -> Option<Line> {
    if let Some([kind, name, selector, host, port]) = item_fields(line).as_deref() {
        let letter = kind.first().filter(|kind| kind.is_ascii_graphic());
        let Some(kind) = letter else {
            return Some(text(line));
        };
        let host = Some(host).filter(|host| !host.is_empty() && *host != b"server");
        let item = Item {
            kind: *kind,
            name: name.clone(),
            selector: selector.clone(),
            host: host.cloned(),
            port: match &port[..] {
                b"port" | b"" => None,
                port => super::port(port, host.is_some()),
            },
        };
        return Some(match item.host.is_none() && is_relative(*kind, selector) {
            true => Line::Relative(item),
            false => Line::Item(item),
        });
    }
    Some(text(line))
}

fn text(line: &[u8]) -> Line {
    // `[|text`: what looks like an item and is not.
    let shown = match line {
        [b'[', b'|', rest @ ..] | [b't', rest @ ..] => rest,
        line => line,
    };
    Line::Item(Item::text(shown))
}

/// Exactly five fields, or it is no item.
fn item_fields(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut fields = vec![Vec::new()];
    let mut rest = line.strip_prefix(b"[")?;
    loop {
        let count = fields.len();
        let last = fields.last_mut()?;
        match rest {
            [b'\\', b'|', behind @ ..] => {
                last.push(b'|');
                rest = behind;
            }
            [b'|', behind @ ..] => {
                fields.push(Vec::new());
                rest = behind;
            }
            // The end of the item is the first bracket of its last field.
            [b']', ..] if count == 5 => return Some(fields),
            [byte, behind @ ..] => {
                last.push(*byte);
                rest = behind;
            }
            [] => return None,
        }
        if fields.len() > 5 {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_fields_are_an_item_and_all_else_is_text() {
        let text = |text: &str| Line::Item(Item::text(text));
        let remote = Item {
            host: Some(b"h".to_vec()),
            port: Some(71),
            ..Item::local(b'1', "a", "x")
        };
        for (line, expected) in [
            ("", text("")),
            ("hello", text("hello")),
            ("tthe end", text("the end")),
            ("t[0|a|b|c|d]", text("[0|a|b|c|d]")),
            (
                "[0|a|/b|server|port]",
                Line::Item(Item::local(b'0', "a", "/b")),
            ),
            (
                "[0|a|b|server|port]",
                Line::Relative(Item::local(b'0', "a", "b")),
            ),
            (
                "[0|a|b|server|port] and more",
                Line::Relative(Item::local(b'0', "a", "b")),
            ),
            (
                "[1|a|x|h|port]",
                Line::Item(Item {
                    port: None,
                    ..remote.clone()
                }),
            ),
            (
                "[1|a|x|h|seventy]",
                Line::Item(Item {
                    port: Some(70),
                    ..remote.clone()
                }),
            ),
            ("[1|a|x|h|71]", Line::Item(remote)),
            (
                "[0|a \\| b|/c|server|port]",
                Line::Item(Item::local(b'0', "a | b", "/c")),
            ),
            (
                "[0|a]b|/c|server|port]",
                Line::Item(Item::local(b'0', "a]b", "/c")),
            ),
            ("[0|a|b|server]", text("[0|a|b|server]")),
            ("[0|a|b|server|port", text("[0|a|b|server|port")),
            ("[0|a|b|c|d|e]", text("[0|a|b|c|d|e]")),
            ("[|text", text("text")),
            ("[|a|b|c|d]", text("a|b|c|d]")),
            (
                "[h|x|URL:http://x/|server|port]",
                Line::Item(Item::local(b'h', "x", "URL:http://x/")),
            ),
        ] {
            assert_eq!(super::line(line.as_bytes()), Some(expected), "{line:?}");
        }
    }
}
