//! The menu of a folder: from its map, or from its listing with header and footer; and that of a map which
//! is asked for by its own name.
//!
//! Whatever a map says, what is read stays inside the tree; includes are bounded in depth and in
//! number, so that maps may include each other. Everything that was read leaves its stamp, for whoever
//! keeps the menu. Runs on threads that may wait.

use std::collections::HashSet;
use std::mem::replace;

use crate::date::Date;
use crate::listing::{self, Entry};
use crate::lookup::{Disk, Miss, Patience, Stamp, TOO_LONG, read_at};
use crate::maps::{self, Line};
use crate::menu::{Item, columns, cut};
use crate::selector::{self, joined};
use crate::settings::{Choices, is_part};
use crate::site::{Site, Tree};
use crate::types::{self, SNIFF_BYTES, Type};
use crate::{url, users, vhosts};

/// A longer map is taken as not there.
const MAP_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// How deep maps may include each other.
const INCLUDE_DEPTH_MAX: usize = 4;

/// Maps that one menu may include in all.
const INCLUDES_MAX: usize = 256;

/// Bytes of a folder's name for menus.
const TAG_BYTES_MAX: u64 = 4096;

/// A menu and all that it was made from.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) items: Vec<Item>,
    pub(crate) made_from: Vec<(Vec<u8>, Stamp)>,
    /// What the administrator should know.
    pub(crate) warnings: Vec<String>,
}

/// Of the folder that had this stamp a moment ago.
pub(crate) fn menu(site: &Site, tree: &Tree, path: &[u8], stamp: Stamp) -> Result<Built, Miss> {
    let mut builder = Builder::new(site, tree, path);
    builder.built.made_from.push((path.to_vec(), stamp));
    let map = site
        .choices
        .maps
        .iter()
        .find_map(|name| builder.read(&joined(path, name)));
    match map {
        Some((name, bytes)) => builder.map(&name, &bytes, 0)?,
        None => builder.listing(true)?,
    }
    Ok(builder.built)
}

/// Of a file that is a map without being that of its folder.
pub(crate) fn map(site: &Site, tree: &Tree, path: &[u8]) -> Result<Built, Miss> {
    let mut builder = Builder::new(site, tree, selector::folder(path));
    match builder.read(path) {
        Some((name, bytes)) => builder.map(&name, &bytes, 0)?,
        None => return Err(Miss::NotHere("it is no map, but a program or too long")),
    }
    Ok(builder.built)
}

struct Builder<'a> {
    site: &'a Site,
    tree: &'a Tree,
    disk: Disk<'a>,
    path: &'a [u8],
    built: Built,
    /// Names that a map has hidden.
    hidden: HashSet<Vec<u8>>,
    /// Selectors that a map has named; its listing leaves them out.
    named: HashSet<Vec<u8>>,
    /// What the map says about extensions.
    letters: Vec<(Vec<u8>, u8)>,
    includes: usize,
    /// A folder is listed once in its menu, whatever its maps say.
    is_listed: bool,
}

impl<'a> Builder<'a> {
    fn new(site: &'a Site, tree: &'a Tree, path: &'a [u8]) -> Builder<'a> {
        Builder {
            site,
            tree,
            disk: tree.disk(site.choices.rules, Patience::Enough),
            path,
            built: Built {
                items: Vec::new(),
                made_from: Vec::new(),
                warnings: Vec::new(),
            },
            hidden: HashSet::new(),
            named: HashSet::new(),
            letters: Vec::new(),
            includes: 0,
            is_listed: false,
        }
    }

    fn map(&mut self, name: &[u8], bytes: &[u8], depth: usize) -> Result<(), Miss> {
        for line in maps::parsed(name, bytes, self.site.choices.maps_text_only) {
            match line {
                Line::Item(item) => self.push(item),
                Line::Relative(mut item) => {
                    let path = selector::resolved(self.path, &item.selector);
                    // The parser lets only paths through that may be shown.
                    item.selector = self.tree.selector(&path.unwrap_or_default());
                    self.named.insert(item.selector.clone());
                    self.built.items.push(item);
                }
                Line::Title(title) => self.built.items.push(Item::local(b'i', title, "TITLE")),
                Line::Hide(name) => drop(self.hidden.insert(name)),
                Line::Letter(extension, letter) => self.letters.push((extension, letter)),
                Line::Include(path) => self.include(&path, depth)?,
                Line::Users => self.built.items.extend(users::items(self.site)),
                Line::Hosts => self.built.items.extend(vhosts::items(self.site)),
                Line::Listing => return self.listing(false),
                Line::End => return Ok(()),
            }
        }
        Ok(())
    }

    fn push(&mut self, mut item: Item) {
        let is_ours = item.host.is_none() && item.selector.starts_with(b"/");
        if is_ours && url::of_selector(&item.selector).is_none() {
            let path = selector::resolved(b"", &item.selector);
            let path = path.map(|path| [b"/", &path[..], self.tree.suffix.as_bytes()].concat());
            if item
                .selector
                .split(|byte| *byte == b'/')
                .any(|part| part == b"..")
            {
                item.selector = path.clone().unwrap_or(item.selector);
            } else {
                item.selector.extend_from_slice(self.tree.suffix.as_bytes());
            }
            // As a listing would have it, whatever slashes the map has.
            self.named.extend(path);
        }
        self.built.items.push(item);
    }

    fn include(&mut self, written: &[u8], depth: usize) -> Result<(), Miss> {
        let from = if written.starts_with(b"/") {
            b""
        } else {
            self.path
        };
        let Some(path) = selector::resolved(from, written) else {
            return Ok(());
        };
        self.part(&path, depth)
    }

    /// Another map, in the place where we are.
    fn part(&mut self, path: &[u8], depth: usize) -> Result<(), Miss> {
        if depth >= INCLUDE_DEPTH_MAX || self.includes >= INCLUDES_MAX {
            let path = path.escape_ascii();
            self.built.warnings.push(format!(
                "the map {path} is not included: at most {INCLUDE_DEPTH_MAX} may lie in each other, \
                 and {INCLUDES_MAX} in one menu"
            ));
            return Ok(());
        }
        self.includes += 1;
        match self.read(path) {
            Some((name, bytes)) => self.map(&name, &bytes, depth + 1),
            None => Ok(()),
        }
    }

    /// The name and the content of a map that is there and is one.
    fn read(&mut self, path: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        let (bytes, stamp) = match self.disk.read(path, MAP_BYTES_MAX) {
            Ok(read) => read,
            Err(Miss::NotHere(TOO_LONG)) => {
                let megabytes = MAP_BYTES_MAX >> 20;
                self.leave_out(
                    path,
                    &format!("too long: a map has at most {megabytes} MiB"),
                );
                return None;
            }
            Err(_) => return None,
        };
        self.built.made_from.push((path.to_vec(), stamp));
        if maps::is_program(&bytes) {
            self.leave_out(path, "a program, which this release does not run");
            return None;
        }
        Some((selector::name(path).to_vec(), bytes))
    }

    fn leave_out(&mut self, path: &[u8], why: &str) {
        let path = path.escape_ascii();
        let warning = format!("the map {path} is {why}; it is left out");
        self.built.warnings.push(warning);
    }

    fn listing(&mut self, whole: bool) -> Result<(), Miss> {
        if replace(&mut self.is_listed, true) {
            return Ok(());
        }
        let choices = &self.site.choices;
        let is_top = self.path.is_empty() && self.tree.prefix.is_empty();
        if whole {
            if choices.parent && !is_top {
                let up = match self.path {
                    b"" => b"/".to_vec(),
                    path => self.tree.selector(selector::folder(path)),
                };
                self.built.items.push(Item::local(b'1', "..", up));
            }
            self.furniture(&choices.header)?;
        }
        let measured = choices.dates || choices.sizes;
        let entries = listing::entries(&self.disk, self.path, choices.order, measured)?;
        self.built.items.reserve(entries.len());
        for entry in entries {
            if is_part(&entry.name) {
                self.part(&joined(self.path, &entry.name), 0)?;
            } else if !choices.is_furniture(&entry.name)
                && !entry.name.ends_with(b".abstract")
                && !self.hidden.contains(&entry.name)
            {
                let item = self.item(entry);
                if !self.named.contains(&item.selector) {
                    self.built.items.push(item);
                }
            }
        }
        if whole {
            self.furniture(&choices.footer)?;
        }
        Ok(())
    }

    fn furniture(&mut self, name: &[u8]) -> Result<(), Miss> {
        match name {
            b"" => Ok(()),
            name => self.part(&joined(self.path, name), 0),
        }
    }

    fn item(&self, entry: Entry) -> Item {
        let selector = self.tree.selector_in(self.path, &entry.name);
        let choices = &self.site.choices;
        if entry.is_folder {
            let path = joined(self.path, &entry.name);
            let name = self.tag(&path).unwrap_or_else(|| entry.name.clone());
            return Item::local(b'1', self.measured(name, &entry), selector);
        }
        let written = Choices::letter_of_name(&self.letters, &entry.name)
            .or_else(|| Choices::letter_of_name(&choices.letters, &entry.name))
            .or_else(|| Choices::type_by_name(&entry.name).map(|kind| choices.letter(&kind)));
        let letter = written.unwrap_or_else(|| {
            let path = joined(self.path, &entry.name);
            choices.letter(&kind(&self.disk, &path))
        });
        let name = match choices.dates || choices.sizes {
            true => self.measured(entry.name.clone(), &entry),
            false => entry.name,
        };
        Item::local(letter, name, selector)
    }

    /// What a folder wants to be called.
    fn tag(&self, path: &[u8]) -> Option<Vec<u8>> {
        let tag = &self.site.choices.tag;
        if tag.is_empty() {
            return None;
        }
        let (bytes, _) = self.disk.read(&joined(path, tag), TAG_BYTES_MAX).ok()?;
        let line = bytes.split(|byte| *byte == b'\n').next()?.trim_ascii();
        (!line.is_empty()).then(|| line.to_vec())
    }

    /// With the date and the size behind the name, if they are wanted.
    fn measured(&self, name: Vec<u8>, entry: &Entry) -> Vec<u8> {
        let choices = &self.site.choices;
        let mut behind = String::new();
        if choices.dates {
            behind += &format!("  {}", Date::of(entry.modified_s).short());
        }
        if choices.sizes {
            let size = if entry.is_folder {
                String::new()
            } else {
                size(entry.size)
            };
            behind += &format!("  {size:>8}");
        }
        if behind.is_empty() {
            return name;
        }
        let width = match choices.width {
            0 => 60,
            width => width.saturating_sub(behind.len()).max(8),
        };
        let mut shown = cut(&name, width).into_owned();
        let used: usize = columns(&shown).map(|it| it.1).sum();
        shown.resize(shown.len() + width.saturating_sub(used), b' ');
        shown.extend_from_slice(behind.as_bytes());
        shown
    }
}

/// What a file is: by its name, else by how it begins.
pub(crate) fn kind(disk: &Disk, path: &[u8]) -> Type {
    if let Some(kind) = Choices::type_by_name(selector::name(path)) {
        return kind;
    }
    let mut start = [0; SNIFF_BYTES];
    let read = disk
        .file(path)
        .map(|(file, _)| read_at(&file, &mut start, 0).unwrap_or(0));
    types::by_content(&start[..read.unwrap_or(0)])
}

fn size(bytes: u64) -> String {
    let mut size = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if size < 1000.0 {
            return match unit {
                "B" => format!("{size:.0} B"),
                unit => format!("{size:.1} {unit}"),
            };
        }
        size /= 1024.0;
    }
    format!("{size:.1} TiB")
}
