//! From a request to its reply: find what is meant, and show it in the manner that was asked for.
//!
//! The same code runs on the loop, where it gives up with [`NotNow`] as soon as it would have to wait,
//! and on a thread, where it may. Invariant: it never waits while the patience is
//! [`Patience::None`], and whatever is not shown is the same to the peer.

use std::fs::File;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::cache::{Content, Kept, Ready};
use crate::gopherplus::{self, Ask, Known, UNTIL_DOT, UNTIL_END};
use crate::lookup::{Miss, Patience, Stamp};
use crate::made::made_up;
use crate::menu::Item;
use crate::ready::{is_settled, ready_file};
use crate::reply::{Body, Manner, Reply, Request, about, bytes_reply, ready_menu, written};
use crate::selector::{self, candidates};
use crate::settings::{Choices, Text};
use crate::site::{Site, Tree};
use crate::text::Lines;
use crate::types::{TEXT, Type};
use crate::{build, http, users, vhosts};

/// It would have to be waited for.
#[derive(Debug)]
pub(crate) struct NotNow;

pub(crate) fn answer(site: &Site, request: &Request, patience: Patience) -> Result<Reply, NotNow> {
    let tree = site.tree(request.host.as_deref());
    let shown = visit(site, &tree, &request.selector, patience, |tree, path| {
        show(site, request, tree, path, patience)
    });
    match shown {
        Ok(reply) => Ok(reply),
        Err(Miss::NotNow) => Err(NotNow),
        Err(Miss::NotHere(why)) => made_up(site, request, &tree, patience, why),
    }
}

pub(crate) struct Found {
    pub(crate) tree: Tree,
    pub(crate) path: Vec<u8>,
    pub(crate) stamp: Stamp,
}

/// What a selector names, without showing it.
pub(crate) fn find(
    site: &Site,
    tree: Option<&Tree>,
    selector: &[u8],
    patience: Patience,
) -> Result<Found, Miss> {
    let main = site.tree(None);
    visit(
        site,
        tree.unwrap_or(&main),
        selector,
        patience,
        |tree, path| {
            let stamp = tree.disk(site.choices.rules, patience).look(path)?;
            Ok(Found {
                tree: tree.clone(),
                path: path.to_vec(),
                stamp,
            })
        },
    )
}

/// Tries each reading of a selector until one is there. The miss is that of the most literal one.
fn visit<T>(
    site: &Site,
    tree: &Tree,
    selector: &[u8],
    patience: Patience,
    mut show: impl FnMut(&Tree, &[u8]) -> Result<T, Miss>,
) -> Result<T, Miss> {
    let mut miss = Miss::NotHere("it may not be shown, whatever is there");
    let mut is_first = true;
    let mut attempt = |tree: &Tree, selector: &[u8]| {
        for candidate in candidates(selector) {
            let mut shown = match users::tree(site, &candidate.path, &tree.suffix, patience) {
                Some(Ok((tree, rest))) => show_unless_furniture(site, &tree, rest, &mut show),
                Some(Err(miss)) => Err(miss),
                None => Err(Miss::NotHere("")),
            };
            if matches!(shown, Err(Miss::NotHere(_))) {
                shown = show_unless_furniture(site, tree, &candidate.path, &mut show);
            }
            match shown {
                Err(Miss::NotHere(why)) if is_first => miss = Miss::NotHere(why),
                Err(Miss::NotHere(_)) => {}
                shown => return Some(shown),
            }
            is_first = false;
        }
        None
    };
    if let Some(shown) = attempt(tree, selector) {
        return shown;
    }
    if let Some((selector, host)) = vhosts::of_selector(site, selector) {
        let mut tree = site.tree(Some(host));
        tree.suffix = format!(";{host}");
        if let Some(shown) = attempt(&tree, selector) {
            return shown;
        }
    }
    Err(miss)
}

fn show_unless_furniture<T>(
    site: &Site,
    tree: &Tree,
    path: &[u8],
    show: &mut impl FnMut(&Tree, &[u8]) -> Result<T, Miss>,
) -> Result<T, Miss> {
    match site.choices.is_furniture(selector::name(path)) {
        true => Err(Miss::NotHere("it is a map, or part of how a folder looks")),
        false => show(tree, path),
    }
}

fn show(
    site: &Site,
    request: &Request,
    tree: &Tree,
    path: &[u8],
    patience: Patience,
) -> Result<Reply, Miss> {
    let disk = tree.disk(site.choices.rules, patience);
    let key = key(request, tree, path);
    let kept = site.cache().kept(&key, Instant::now());
    match kept {
        Some(Kept::Ready(ready)) => {
            let mut is_fresh = true;
            for (path, stamp) in &ready.made_from {
                match disk.look(path) {
                    Err(Miss::NotNow) => return Err(Miss::NotNow),
                    now => is_fresh &= now == Ok(*stamp),
                }
            }
            if is_fresh && let Some(body) = ready.content.body() {
                return Ok(Reply {
                    outcome: ready.outcome,
                    ..ready_menu(request, body, ready.content.length(), Vec::new())
                });
            }
        }
        Some(Kept::File) => match disk.known_file(path) {
            Ok((file, stamp)) => {
                if let Some(ready) = ready_file(site, request, path, (&file, &stamp)) {
                    keep(site, key, ready);
                }
                return show_file(site, request, tree, path, (file, stamp), patience);
            }
            Err(Miss::NotNow) => return Err(Miss::NotNow),
            Err(Miss::NotHere(_)) => {
                let gone = site.cache().forget(&key);
                drop(gone);
            }
        },
        None => {}
    }
    let stamp = disk.look(path)?;
    if stamp.is_folder() || site.choices.is_menu(path) {
        return match patience {
            Patience::None => Err(Miss::NotNow),
            Patience::Enough => show_menu(site, request, tree, (path, stamp), key),
        };
    }
    keep(site, key, Kept::File);
    show_file(site, request, tree, path, disk.known_file(path)?, patience)
}

/// What goes for it is let go when the cache is free for others again.
fn keep(site: &Site, key: Vec<u8>, kept: Kept) {
    let gone = site.cache().keep(key, kept, Instant::now());
    drop(gone);
}

/// What a menu is kept under: everything that its bytes depend on, but for the disk.
fn key(request: &Request, tree: &Tree, path: &[u8]) -> Vec<u8> {
    let manner = match request.manner {
        Manner::Gopher => b'g',
        Manner::Plus(Ask::Content) => b'+',
        Manner::Plus(Ask::Item) => b'!',
        Manner::Plus(Ask::All) => b'$',
        Manner::Http { .. } => b'h',
    };
    let port = request.here.port.to_be_bytes();
    let host = request.here.host.as_bytes();
    let id = tree.id.as_bytes();
    let parts: [&[u8]; 8] = [
        &[manner],
        &port,
        host,
        b"\0",
        id,
        tree.suffix.as_bytes(),
        b"\0",
        path,
    ];
    parts.concat()
}

fn show_menu(
    site: &Site,
    request: &Request,
    tree: &Tree,
    (path, stamp): (&[u8], Stamp),
    key: Vec<u8>,
) -> Result<Reply, Miss> {
    let begun = SystemTime::now();
    let mut built = match stamp.is_folder() {
        true => build::menu(site, tree, path, stamp)?,
        false => build::map(site, tree, path)?,
    };
    // Whether each of what it was made from can be looked at whenever it is asked for.
    let mut is_bounded = true;
    let bytes: Arc<Vec<u8>> = match request.manner {
        Manner::Plus(Ask::Item) => {
            let name = match selector::name(path) {
                b"" => request.here.host.as_bytes(),
                name => name,
            };
            let item = Item::local(b'1', name, tree.selector(path));
            about(site, request, &item, Known::Place(tree, path, &stamp))
        }
        Manner::Plus(Ask::All) => {
            let (blocks, seen) = gopherplus::blocks(site, tree, &built.items, &request.here);
            match seen {
                Some(seen) => built.made_from.extend(seen),
                None => is_bounded = false,
            }
            blocks
        }
        manner => written(site, request, &built.items, (tree, path), manner),
    }
    .into();
    let mut stamps = built.made_from.iter().map(|(_, stamp)| stamp);
    let fits = is_bounded && site.choices.cache > bytes.len();
    if fits && stamps.all(|stamp| is_settled(stamp, begun)) {
        // Another thread may want the cache while a long menu is written into its file.
        let takes_files = site.cache().takes_files();
        let ready = Ready {
            content: match takes_files {
                true => Content::of(&bytes),
                false => Content::Bytes(Arc::clone(&bytes)),
            },
            made_from: built.made_from,
            outcome: "a menu",
        };
        keep(site, key, Kept::Ready(Arc::new(ready)));
    }
    let length = bytes.len();
    Ok(ready_menu(
        request,
        Body::Bytes(bytes),
        length,
        built.warnings,
    ))
}

fn show_file(
    site: &Site,
    request: &Request,
    tree: &Tree,
    path: &[u8],
    (file, stamp): (File, Stamp),
    patience: Patience,
) -> Result<Reply, Miss> {
    let kind = || kind(site, tree, path, patience);
    let changed = |head: &[u8], file: File, dots: bool| Reply {
        head: head.to_vec(),
        body: Body::Lines(Lines::new(file, stamp.size, dots)),
        outcome: "a text",
        warnings: Vec::new(),
    };
    let as_is = |head: Vec<u8>, file: File| Reply {
        head,
        body: Body::File(file, stamp.size),
        outcome: "a file",
        warnings: Vec::new(),
    };
    match (request.manner, site.choices.text) {
        (Manner::Gopher, Text::Raw) => Ok(as_is(Vec::new(), file)),
        (Manner::Plus(Ask::Content), Text::Raw) => Ok(as_is(gopherplus::sized(stamp.size), file)),
        (Manner::Gopher, text) => Ok(match kind()?.is_text() {
            true => changed(b"", file, text == Text::Rfc1436),
            false => as_is(Vec::new(), file),
        }),
        (Manner::Plus(Ask::Content), text) => Ok(match (kind()?.is_text(), text) {
            (true, Text::Rfc1436) => changed(UNTIL_DOT, file, true),
            (true, _) => changed(UNTIL_END, file, false),
            (false, _) => as_is(gopherplus::sized(stamp.size), file),
        }),
        (Manner::Plus(Ask::Item | Ask::All), _) => {
            if patience == Patience::None {
                return Err(Miss::NotNow);
            }
            let letter = Choices::letter_of_name(&site.choices.letters, path);
            let letter = letter.unwrap_or(site.choices.letter(&kind()?));
            let item = Item::local(letter, selector::name(path), tree.selector(path));
            let block = about(site, request, &item, Known::Place(tree, path, &stamp));
            Ok(bytes_reply(
                UNTIL_DOT.to_vec(),
                block.into(),
                "what is known of a file",
            ))
        }
        (Manner::Http { body }, _) => {
            let kind = kind()?;
            let media = match kind.media.starts_with("text/") {
                true => format!("{}; charset={}", kind.media, site.choices.charset),
                false => kind.media.to_owned(),
            };
            let mut head = http::answer(200, &media, stamp.size);
            head.extend_from_slice(b"\r\n");
            Ok(match body {
                true => as_is(head, file),
                false => bytes_reply(head, Arc::default(), "the head of a file"),
            })
        }
    }
}

fn kind(site: &Site, tree: &Tree, path: &[u8], patience: Patience) -> Result<Type, Miss> {
    // The administrator's word for a text is more than its name.
    let is_called_text = Choices::letter_of_name(&site.choices.letters, path) == Some(b'0');
    match Choices::type_by_name(selector::name(path)) {
        Some(kind) if is_called_text && !kind.is_text() => Ok(TEXT),
        Some(kind) => Ok(kind),
        // Its first bytes say it, which have to be read.
        None if patience == Patience::None => Err(Miss::NotNow),
        None => Ok(build::kind(&tree.disk(site.choices.rules, patience), path)),
    }
}
