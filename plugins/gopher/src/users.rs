//! The spaces of users: `/~name` is a folder in the home of that user.
//!
//! It has to belong to whom the home belongs to, who has to be a person (uid 1000 or above), and no
//! link leads there. Otherwise a user could show what is not his.

use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::fs::RawDir;

use crate::lookup::{Disk, Miss, Patience, Rules, Stamp};
use crate::menu::Item;
use crate::selector;
use crate::site::{Site, Tree};

/// The lowest uid of people.
const PEOPLE_FROM_UID: u32 = 1000;

/// `~name/rest` → the tree of that user, and the rest.
pub(crate) fn tree<'p>(
    site: &Site,
    path: &'p [u8],
    suffix: &str,
    patience: Patience,
) -> Option<Result<(Tree, &'p [u8]), Miss>> {
    let homes = homes(site, patience)?;
    let behind = path.strip_prefix(b"~")?;
    let end = behind.iter().position(|byte| *byte == b'/');
    let (name, rest) = behind.split_at(end.unwrap_or(behind.len()));
    if name.is_empty() {
        return None;
    }
    let rest = rest.strip_prefix(b"/").unwrap_or(rest);
    let found = owned(site, &homes, name).and_then(|_| {
        let (folder, _) = homes.folder(&space(site, name))?;
        let name = String::from_utf8_lossy(name);
        Ok(Tree {
            folder: Arc::new(folder),
            prefix: format!("/~{name}"),
            suffix: suffix.to_owned(),
            id: format!("~{name}"),
        })
    });
    Some(found.map(|tree| (tree, rest)))
}

/// The line `~` of a map: those with a space, the latest first.
pub(crate) fn items(site: &Site) -> Vec<Item> {
    let mut users = Vec::new();
    let Some(homes) = homes(site, Patience::Enough) else {
        return users;
    };
    let Ok((folder, _)) = homes.folder(b"") else {
        return users;
    };
    let mut found = Vec::new();
    let mut buffer = vec![MaybeUninit::uninit(); 16 * 1024];
    let mut names = RawDir::new(folder, &mut buffer);
    while let Some(Ok(entry)) = names.next() {
        let name = entry.file_name().to_bytes();
        if name.first() == Some(&b'.') || std::str::from_utf8(name).is_err() {
            continue;
        }
        if let Ok(stamp) = owned(site, &homes, name) {
            found.push((std::cmp::Reverse(stamp.modified_ns()), name.to_vec()));
        }
    }
    found.sort();
    for (_, name) in found {
        let shown = [b"~", &name[..]].concat();
        let selector = [b"/", &shown[..], b"/"].concat();
        users.push(Item::local(b'1', shown, selector));
    }
    users
}

fn homes(site: &Site, patience: Patience) -> Option<Disk<'_>> {
    let rules = Rules {
        follow_links: false,
        world_readable: false,
    };
    site.users.as_ref().map(|homes| Disk {
        folder: homes.as_fd(),
        rules,
        patience,
    })
}

fn space(site: &Site, name: &[u8]) -> Vec<u8> {
    selector::joined(name, site.choices.users_folder.as_bytes())
}

/// The space of a user, if it is his own.
fn owned(site: &Site, homes: &Disk, name: &[u8]) -> Result<Stamp, Miss> {
    let home = homes.look(name)?;
    let space = homes.look(&space(site, name))?;
    if !space.is_folder() || home.owner != space.owner {
        return Err(Miss::NotHere("the space does not belong to that user"));
    }
    if space.owner < PEOPLE_FROM_UID {
        return Err(Miss::NotHere("the space belongs to the system"));
    }
    Ok(space)
}
