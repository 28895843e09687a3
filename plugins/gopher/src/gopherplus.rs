//! Gopher+: what an item is, when it was changed, in which form it comes, and what it is about.
//!
//! Asked with a word behind a TAB: `!` is about one item, `$` about all of a menu, `+` asks for the
//! content with a line in front. There are no forms (`ASK`), and one view of each item.

use std::time::SystemTime;

use crate::answer::{self, Found};
use crate::build;
use crate::date::Date;
use crate::lookup::{Patience, Stamp};
use crate::menu::{Here, Item, Lines, Style};
use crate::selector::{self, joined, shown};
use crate::site::{Site, Tree};

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

/// Files and folders that are looked at for one menu each time it is asked for.
const SEEN_MAX: usize = 64;

/// What was looked at: paths of one tree, and what they were.
type Seen = Vec<(Vec<u8>, Stamp)>;

/// The blocks of all items of a menu, with its end; and what they were made from, if that is little
/// enough to be looked at each time.
pub(crate) fn blocks(
    site: &Site,
    tree: &Tree,
    items: &[Item],
    here: &Here,
) -> (Vec<u8>, Option<Seen>) {
    let mut blocks = Vec::new();
    let mut seen = Some(Vec::new());
    for item in items {
        let found = match item.is_local(here) && !item.is_text() {
            true => answer::find(site, Some(tree), &item.selector, Patience::Enough).ok(),
            false => None,
        };
        let known = match &found {
            Some(found) => Known::Place(&found.tree, &found.path, &found.stamp),
            None if item.is_local(here) && !item.is_text() => Known::Made(None),
            None => Known::Nothing,
        };
        if let Some(found) = &found {
            seen = seen.and_then(|seen| with_place(seen, site, tree, found));
        }
        block(&mut blocks, site, item, known, here);
    }
    blocks.extend_from_slice(b".\r\n");
    (blocks, seen)
}

/// With a place and its abstract. A new abstract changes its folder, whose stamp its menu has.
fn with_place(mut seen: Seen, site: &Site, tree: &Tree, found: &Found) -> Option<Seen> {
    let about = abstract_of(&found.path, &found.stamp);
    let disk = tree.disk(site.choices.rules, Patience::Enough);
    seen.push((found.path.clone(), found.stamp));
    if let Ok(stamp) = disk.look(&about) {
        seen.push((about, stamp));
    }
    let is_of_tree = (&found.tree.id, &found.tree.suffix) == (&tree.id, &tree.suffix);
    (is_of_tree && seen.len() <= SEEN_MAX).then_some(seen)
}

fn abstract_of(path: &[u8], stamp: &Stamp) -> Vec<u8> {
    match stamp.is_folder() {
        true => joined(path, b".abstract"),
        false => [path, b".abstract"].concat(),
    }
}

/// What there is to say of an item beyond its line.
#[derive(Clone, Copy)]
pub(crate) enum Known<'a> {
    /// It is at this place of a tree.
    Place(&'a Tree, &'a [u8], &'a Stamp),
    /// It is ours without a file, such as a search; of some the type and the length are known.
    Made(Option<(&'static str, usize)>),
    Nothing,
}

/// What is known of one item.
pub(crate) fn block(blocks: &mut Vec<u8>, site: &Site, item: &Item, known: Known<'_>, here: &Here) {
    blocks.extend_from_slice(b"+INFO: ");
    let style = Style {
        width: site.choices.width,
        plus: true,
    };
    Lines::new(here, style).push(blocks, item);
    let (changed_s, view) = match known {
        Known::Nothing => return,
        Known::Made(view) => (now_s(), view.map(|(media, bytes)| (media, bytes as u64))),
        Known::Place(_, _, stamp) if stamp.is_folder() => {
            (stamp.modified_s(), Some(("application/gopher-menu", 0)))
        }
        Known::Place(tree, path, stamp) => {
            let disk = tree.disk(site.choices.rules, Patience::Enough);
            let media = build::kind(&disk, path).media;
            (stamp.modified_s(), Some((media, stamp.size)))
        }
    };
    let admin = match site.choices.admin.as_str() {
        "" => "nobody",
        admin => admin,
    };
    let changed = Date::of(changed_s).gopher_plus();
    let mut text = format!("+ADMIN:\r\n Admin: {admin}\r\n Mod-Date: {changed}\r\n");
    if let Some((media, bytes)) = view {
        let kilobytes = bytes as f64 / 1024.0;
        text += &format!("+VIEWS:\r\n {media}: <{kilobytes:.1}k>\r\n");
    }
    blocks.extend_from_slice(text.as_bytes());
    let Known::Place(tree, path, stamp) = known else {
        return;
    };
    let disk = tree.disk(site.choices.rules, Patience::Enough);
    let Ok((about, _)) = disk.read(&abstract_of(path, stamp), ABSTRACT_BYTES_MAX) else {
        return;
    };
    blocks.extend_from_slice(b"+ABSTRACT:\r\n");
    for line in about.trim_ascii_end().split(|byte| *byte == b'\n') {
        blocks.push(b' ');
        blocks.extend_from_slice(&shown(selector::without_end(line)));
        blocks.extend_from_slice(b"\r\n");
    }
}

/// What is made when it is asked for has changed just now.
fn now_s() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs() as i64)
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
