//! The search over a whole tree: every word has to be in a name, or in a text.
//!
//! There is no index: files are read while somebody waits, so everything is bounded, and what was
//! not looked at is said. Runs on threads that may wait. Invariant: nothing is found that could not
//! be asked for by its selector.

use std::time::{Duration, Instant};

use crate::build;
use crate::listing;
use crate::lookup::{Disk, Patience};
use crate::menu::{Item, cut};
use crate::selector::{PATH_DEPTH_MAX, joined, shown};
use crate::settings::is_part;
use crate::site::{Site, Tree};

/// Items found.
const HITS_MAX: usize = 200;
/// Names looked at.
const NAMES_MAX: usize = 20_000;
/// Bytes of texts read in all.
const READ_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// A longer text is judged by its name only.
const TEXT_BYTES_MAX: u64 = 1024 * 1024;
/// Words that count; further ones are left out.
const WORDS_MAX: usize = 8;
/// Of the words so much is repeated in the answer.
const SHOWN_COLUMNS_MAX: usize = 60;
/// A search takes no longer, by and large.
const SEARCH_MS: u64 = 2000;

/// The answer, as a menu.
pub(crate) fn items(site: &Site, tree: &Tree, terms: &[u8]) -> Vec<Item> {
    let words: Vec<Vec<u8>> = terms
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
        .take(WORDS_MAX)
        .map(lowered)
        .collect();
    let again = [&site.choices.search[..], tree.suffix.as_bytes()].concat();
    let again = Item::local(b'7', "Search", again);
    if words.is_empty() {
        return vec![
            Item::text("Which words? All of them have to be there."),
            again,
        ];
    }
    let mut search = Search {
        site,
        tree,
        disk: tree.disk(site.choices.rules, Patience::Enough),
        words,
        by_name: Vec::new(),
        by_text: Vec::new(),
        names: 0,
        read: 0,
        until: Instant::now() + Duration::from_millis(SEARCH_MS),
        is_cut: false,
    };
    search.folder(b"", 0);
    let count = search.by_name.len() + search.by_text.len();
    let words = cut(&shown(terms), SHOWN_COLUMNS_MAX).into_owned();
    let words = String::from_utf8_lossy(&words);
    let said = match count {
        0 => format!("Nothing was found for: {words}"),
        1 => format!("One thing was found for: {words}"),
        count => format!("{count} things were found for: {words}"),
    };
    let mut items = vec![Item::text(said), Item::text("")];
    items.append(&mut search.by_name);
    items.append(&mut search.by_text);
    if search.is_cut {
        items.push(Item::text(""));
        items.push(Item::text(
            "There is more than one search can look at; this is not all.",
        ));
    }
    items.push(Item::text(""));
    items.push(Item {
        name: b"Search again".to_vec(),
        ..again
    });
    items
}

struct Search<'a> {
    site: &'a Site,
    tree: &'a Tree,
    disk: Disk<'a>,
    words: Vec<Vec<u8>>,
    by_name: Vec<Item>,
    by_text: Vec<Item>,
    names: usize,
    read: u64,
    until: Instant,
    is_cut: bool,
}

impl Search<'_> {
    fn folder(&mut self, folder: &[u8], depth: usize) {
        let choices = &self.site.choices;
        let Ok(entries) = listing::entries(&self.disk, folder, choices.order, false) else {
            return;
        };
        let mut folders = Vec::new();
        for entry in entries {
            self.names += 1;
            if self.is_over() {
                self.is_cut = true;
                return;
            }
            if choices.is_furniture(&entry.name) || is_part(&entry.name) {
                continue;
            }
            let path = joined(folder, &entry.name);
            let in_name = self.has_all_words(&lowered(&entry.name));
            if in_name || (!entry.is_folder && self.is_in_text(&path)) {
                let letter = match entry.is_folder {
                    true => b'1',
                    false => choices.letter(&build::kind(&self.disk, &path)),
                };
                let item = Item::local(letter, path.clone(), self.tree.selector(&path));
                let hits = if in_name {
                    &mut self.by_name
                } else {
                    &mut self.by_text
                };
                hits.push(item);
            }
            // Links to folders may lead around; what they show is found where it is.
            if entry.is_folder {
                folders.push(path);
            }
        }
        for path in folders {
            if depth + 1 < PATH_DEPTH_MAX && !self.is_link(&path) {
                self.folder(&path, depth + 1);
            }
        }
    }

    fn is_link(&self, path: &[u8]) -> bool {
        let mut straight = self.disk;
        straight.rules.follow_links = false;
        straight.look(path).is_err()
    }

    fn is_over(&self) -> bool {
        self.names > NAMES_MAX
            || self.read > READ_BYTES_MAX
            || self.by_name.len() + self.by_text.len() >= HITS_MAX
            || Instant::now() > self.until
    }

    fn is_in_text(&mut self, path: &[u8]) -> bool {
        if !path.ends_with(b".gph") && !build::kind(&self.disk, path).is_text() {
            return false;
        }
        let Ok((text, _)) = self.disk.read(path, TEXT_BYTES_MAX) else {
            return false;
        };
        self.read += text.len() as u64;
        self.has_all_words(&lowered(&text))
    }

    fn has_all_words(&self, text: &[u8]) -> bool {
        self.words.iter().all(|word| contains(text, word))
    }
}

/// Lower case, beyond ASCII only where it is UTF-8.
fn lowered(bytes: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.is_ascii() => text.to_lowercase().into_bytes(),
        _ => bytes.to_ascii_lowercase(),
    }
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    let Some(first) = word.first() else {
        return true;
    };
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| byte == first) {
        if rest[at..].starts_with(word) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_in_any_case() {
        for (text, word, expected) in [
            ("Hello World", "world", true),
            ("Hello World", "worlds", false),
            ("aab", "ab", true),
            ("\u{dc}ber", "\u{fc}BER", true),
            ("", "a", false),
        ] {
            let found = contains(&lowered(text.as_bytes()), &lowered(word.as_bytes()));
            assert_eq!(found, expected, "{text} {word}");
        }
    }
}
