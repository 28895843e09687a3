//! Maps: menus that people write. Two dialects, chosen by the file's name: `.gph` is geomyidae's, any
//! other is bucktooth's with gophernicus' directives.
//!
//! Pure: lines to lines. What a line asks for (a listing, another map, the users) is found by
//! whoever builds the menu. Invariant: no line is an error; what cannot be understood is a text.

pub mod bucktooth;
pub mod geomyidae;

use crate::menu::Item;
use crate::selector;

/// Where gopher is found if nothing else is said.
const PORT: u16 = 70;

/// What one line of a map says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A line of the menu.
    Item(Item),
    /// An item whose selector is taken as relative to the folder of the map.
    Relative(Item),
    /// The menu's title.
    Title(Vec<u8>),
    /// Leave this name out of the listing.
    Hide(Vec<u8>),
    /// Files with this extension have this letter, in this folder.
    Letter(Vec<u8>, u8),
    /// Another map goes here.
    Include(Vec<u8>),
    /// All users who have a space.
    Users,
    /// All hosts of this service.
    Hosts,
    /// The folder's listing goes here, and the map ends.
    Listing,
    /// The map ends here.
    End,
}

/// The lines of a map. `text_only`: without a TAB, a line is a text and nothing else.
pub fn parsed(name: &[u8], bytes: &[u8], text_only: bool) -> Vec<Line> {
    let lines = bytes.split(|byte| *byte == b'\n');
    let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    // What stands behind the last end of a line is no line if it is empty.
    let count = lines.clone().count() - usize::from(bytes.is_empty() || bytes.ends_with(b"\n"));
    let lines = lines.take(count);
    if name.ends_with(b".gph") {
        return lines.filter_map(geomyidae::line).collect();
    }
    let text_only = text_only || bytes.starts_with(b"#text-only");
    lines
        .enumerate()
        .filter_map(|(nth, line)| bucktooth::line(line, nth == 0, text_only))
        .collect()
}

/// What nobody should take for a map, such as a script whose source is not meant to be read.
pub fn is_program(bytes: &[u8]) -> bool {
    bytes.starts_with(b"#!") || bytes.starts_with(b"\x7fELF")
}

/// What is no port is that of gopher at another host, and ours at ours.
fn port(written: &[u8], is_elsewhere: bool) -> Option<u16> {
    let port = std::str::from_utf8(written).ok();
    let port = port.and_then(|port| port.trim().parse().ok());
    port.filter(|port| *port != 0)
        .or(is_elsewhere.then_some(PORT))
}

/// Whether this selector of a map is to be taken from the map's folder.
fn is_relative(kind: u8, selector: &[u8]) -> bool {
    let elsewhere = [&b"URL:"[..], b"GET ", b"/"];
    !selector.is_empty()
        && !b"i238TwM".contains(&kind)
        && !elsewhere.iter().any(|it| selector.starts_with(it))
        && selector::resolved(b"", selector).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_says_the_dialect_and_the_last_line_needs_no_end() {
        for (name, text, expected) in [
            ("gophermap", "", 0),
            ("gophermap", "a", 1),
            ("gophermap", "a\n", 1),
            ("gophermap", "a\r\n\r\nb\n", 3),
            ("gophermap", "#c\na\n", 1),
            ("index.gph", "#c\na\n", 2),
        ] {
            let lines = parsed(name.as_bytes(), text.as_bytes(), false);
            assert_eq!(lines.len(), expected, "{name} {text:?}");
        }
    }

    #[test]
    fn a_map_may_be_text_but_for_its_tabs() {
        let map = b"#text-only\n*** news ***\n=====\n*\n.\n0a\t/a\n";
        let lines = parsed(b"gophermap", map, false);
        let texts = ["*** news ***", "=====", "*", "."].map(|it| Line::Item(Item::text(it)));
        assert_eq!(lines[..4], texts);
        assert_eq!(lines[4], Line::Item(Item::local(b'0', "a", "/a")));
        assert_eq!(lines.len(), 5);
        assert_eq!(
            parsed(b"gophermap", b"*\n", true),
            [Line::Item(Item::text("*"))]
        );
    }
}
