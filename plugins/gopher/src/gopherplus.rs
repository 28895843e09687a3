//! Gopher+: what an item is, when it was changed, in which form it comes, and what it is about.
//!
//! Asked with a word behind a TAB: `!` is about one item, `$` about all of a menu, `+` asks for the
//! content with a line in front. There are no forms (`ASK`), and one view of each item.

use crate::date::Date;
use crate::lookup::{Patience, Stamp};
use crate::menu::{Here, Item, Lines, Style};
use crate::selector::{self, joined, shown};
use crate::site::{Site, Tree};
use crate::{answer, build};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ask {
    /// The content.
    Content,
    /// What is known of the item.
    Item,
    /// What is known of all items of the menu.
    All,
}

/// Bytes of an abstract.
const ABSTRACT_BYTES_MAX: u64 = 64 * 1024;

/// The word behind the TAB, if it is one.
pub fn ask(word: &[u8]) -> Option<Ask> {
    match word.first()? {
        b'+' => Some(Ask::Content),
        b'!' => Some(Ask::Item),
        b'$' => Some(Ask::All),
        _ => None,
    }
}

/// In front of content whose length is known.
pub fn sized(length: u64) -> Vec<u8> {
    format!("+{length}\r\n").into_bytes()
}

/// In front of what ends with a dot on a line.
pub const UNTIL_DOT: &[u8] = b"+-1\r\n";

/// In front of what ends with the connection.
pub const UNTIL_END: &[u8] = b"+-2\r\n";

/// An error; 1 is that there is no such item, 2 that it may be tried again.
pub fn error(code: u8, admin: &str, text: &str) -> Vec<u8> {
    let admin = if admin.is_empty() { "nobody" } else { admin };
    format!("--1\r\n{code} {admin}\r\n{text}\r\n.\r\n").into_bytes()
}

/// The blocks of all items of a menu, with its end.
pub(crate) fn blocks(site: &Site, tree: &Tree, items: &[Item], here: &Here) -> Vec<u8> {
    let mut blocks = Vec::new();
    for item in items {
        let found = match item.is_local(here) {
            true => answer::find(site, Some(tree), &item.selector, Patience::Enough).ok(),
            false => None,
        };
        let found = found
            .as_ref()
            .map(|found| (&found.tree, &found.path[..], &found.stamp));
        block(&mut blocks, site, item, found, here);
    }
    blocks.extend_from_slice(b".\r\n");
    blocks
}

/// What is known of one item.
pub(crate) fn block(
    blocks: &mut Vec<u8>,
    site: &Site,
    item: &Item,
    found: Option<(&Tree, &[u8], &Stamp)>,
    here: &Here,
) {
    blocks.extend_from_slice(b"+INFO: ");
    let style = Style {
        width: site.choices.width,
        plus: true,
    };
    Lines::new(here, style).push(blocks, item);
    let Some((tree, path, stamp)) = found else {
        return;
    };
    let disk = tree.disk(site.choices.rules, Patience::Enough);
    let admin = match site.choices.admin.as_str() {
        "" => "nobody",
        admin => admin,
    };
    let changed = Date::of(stamp.modified_s()).gopher_plus();
    let media = match stamp.is_folder() {
        true => "application/gopher-menu",
        false => build::kind(&disk, path).media,
    };
    let kilobytes = if stamp.is_folder() {
        0.0
    } else {
        stamp.size as f64 / 1024.0
    };
    let text = format!(
        "+ADMIN:\r\n Admin: {admin}\r\n Mod-Date: {changed}\r\n\
         +VIEWS:\r\n {media}: <{kilobytes:.1}k>\r\n"
    );
    blocks.extend_from_slice(text.as_bytes());
    let about = match stamp.is_folder() {
        true => joined(path, b".abstract"),
        false => [path, b".abstract"].concat(),
    };
    let Ok((about, _)) = disk.read(&about, ABSTRACT_BYTES_MAX) else {
        return;
    };
    blocks.extend_from_slice(b"+ABSTRACT:\r\n");
    for line in about.trim_ascii_end().split(|byte| *byte == b'\n') {
        blocks.push(b' ');
        blocks.extend_from_slice(&shown(selector::without_end(line)));
        blocks.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_heads_are_those_of_gopher_plus() {
        for (word, expected) in [
            ("+", Some(Ask::Content)),
            ("+text/plain", Some(Ask::Content)),
            ("!", Some(Ask::Item)),
            ("!+ADMIN", Some(Ask::Item)),
            ("$", Some(Ask::All)),
            ("$+VIEWS", Some(Ask::All)),
            ("", None),
            ("words", None),
        ] {
            assert_eq!(ask(word.as_bytes()), expected, "{word}");
        }
        assert_eq!(sized(142), b"+142\r\n");
        assert_eq!(error(1, "", "gone"), b"--1\r\n1 nobody\r\ngone\r\n.\r\n");
    }
}
