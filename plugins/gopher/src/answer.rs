//! From a request to its reply: find what is meant, and show it in the manner that was asked for.
//!
//! The same code runs on the loop, where it gives up with [`NotNow`] as soon as it would have to wait,
//! and on a thread, where it may. Invariant: it never waits while the patience is
//! [`Patience::None`], and whatever is not shown is the same to the peer.

use std::fs::File;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::cache::{Content, Kept, Ready};
use crate::gopherplus::{self, Ask, UNTIL_DOT, UNTIL_END};
use crate::lookup::{Miss, Patience, Stamp};
use crate::menu::{self, Here, Item, Style};
use crate::ready::{is_settled, ready_file};
use crate::selector::{self, candidates};
use crate::settings::{Choices, Plus, Text};
use crate::site::{Site, Tree};
use crate::text::Lines;
use crate::types::Type;
use crate::{build, caps, http, page, search, url, users, vhosts};

/// Who asks for something, and how.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Request {
    pub(crate) selector: Vec<u8>,
    pub(crate) search: Option<Vec<u8>>,
    pub(crate) manner: Manner,
    pub(crate) here: Arc<Here>,
    pub(crate) host: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Manner {
    Gopher,
    Plus(Ask),
    Http { body: bool },
}

/// What is sent, and then the end.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) head: Vec<u8>,
    pub(crate) body: Body,
    /// For the log.
    pub(crate) outcome: &'static str,
    pub(crate) warnings: Vec<String>,
}

#[derive(Debug)]
pub(crate) enum Body {
    Bytes(Arc<Vec<u8>>),
    File(File, u64),
    Lines(Lines),
}

/// It would have to be waited for.
#[derive(Debug)]
pub(crate) struct NotNow;

pub(crate) fn answer(site: &Site, request: &Request, patience: Patience) -> Result<Reply, NotNow> {
    if let Some(address) = url::of_selector(&request.selector) {
        return Ok(match url::page(address) {
            Some(page) => own_page(request, 200, page, "a page for an address"),
            None => refusal(site, request, 404, "no address that a page is made for"),
        });
    }
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
    if stamp.is_folder() {
        return match patience {
            Patience::None => Err(Miss::NotNow),
            Patience::Enough => show_folder(site, request, tree, (path, stamp), key),
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

fn show_folder(
    site: &Site,
    request: &Request,
    tree: &Tree,
    (path, stamp): (&[u8], Stamp),
    key: Vec<u8>,
) -> Result<Reply, Miss> {
    let begun = SystemTime::now();
    let built = build::menu(site, tree, path, stamp)?;
    let bytes: Arc<Vec<u8>> = match request.manner {
        Manner::Plus(Ask::Item) => {
            let name = match selector::name(path) {
                b"" => request.here.host.as_bytes(),
                name => name,
            };
            let item = Item::local(b'1', name, tree.selector(path));
            about(site, request, &item, (tree, path, &stamp))
        }
        Manner::Plus(Ask::All) => gopherplus::blocks(site, tree, &built.items, &request.here),
        manner => written(site, request, &built.items, path, manner),
    }
    .into();
    let mut stamps = built.made_from.iter().map(|(_, stamp)| stamp);
    if site.choices.cache > bytes.len() && stamps.all(|stamp| is_settled(stamp, begun)) {
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

fn written(site: &Site, request: &Request, items: &[Item], path: &[u8], manner: Manner) -> Vec<u8> {
    let plus = manner != Manner::Gopher || site.choices.plus == Plus::Advertise;
    let style = Style {
        width: site.choices.width,
        plus,
    };
    match manner {
        Manner::Http { .. } => page::menu(items, &request.here, path),
        Manner::Gopher | Manner::Plus(_) => menu::written(items, &request.here, style),
    }
}

fn ready_menu(request: &Request, menu: Body, length: usize, warnings: Vec<String>) -> Reply {
    let (head, body) = match request.manner {
        Manner::Gopher => (Vec::new(), menu),
        Manner::Plus(_) => (UNTIL_DOT.to_vec(), menu),
        Manner::Http { body: true } => (page::head(200, length), menu),
        Manner::Http { body: false } => (page::head(200, length), Body::Bytes(Arc::default())),
    };
    Reply {
        head,
        body,
        outcome: "a menu",
        warnings,
    }
}

fn bytes_reply(head: Vec<u8>, bytes: Arc<Vec<u8>>, outcome: &'static str) -> Reply {
    Reply {
        head,
        body: Body::Bytes(bytes),
        outcome,
        warnings: Vec::new(),
    }
}

/// What Gopher+ is told of one item.
fn about(site: &Site, request: &Request, item: &Item, found: (&Tree, &[u8], &Stamp)) -> Vec<u8> {
    let mut block = Vec::new();
    gopherplus::block(&mut block, site, item, Some(found), &request.here);
    block.extend_from_slice(b".\r\n");
    block
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
            let block = about(site, request, &item, (tree, path, &stamp));
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
    match Choices::type_by_name(selector::name(path)) {
        Some(kind) => Ok(kind),
        // Its first bytes say it, which have to be read.
        None if patience == Patience::None => Err(Miss::NotNow),
        None => Ok(build::kind(&tree.disk(site.choices.rules, patience), path)),
    }
}

/// What exists without a file: the search, `caps.txt` and `robots.txt`; or else the refusal.
fn made_up(
    site: &Site,
    request: &Request,
    tree: &Tree,
    patience: Patience,
    why: &'static str,
) -> Result<Reply, NotNow> {
    let (selector, tree) = match vhosts::of_selector(site, &request.selector) {
        Some((selector, host)) => {
            let suffix = format!(";{host}");
            (
                selector,
                Tree {
                    suffix,
                    ..site.tree(Some(host))
                },
            )
        }
        None => (&request.selector[..], tree.clone()),
    };
    let search = selector::path(&site.choices.search).filter(|path| !path.is_empty());
    for candidate in candidates(selector) {
        if let Some(text) = caps::named(&site.choices, &request.here, &candidate.path) {
            return Ok(made_text(request, text));
        }
        if search.as_ref() == Some(&candidate.path) {
            if patience == Patience::None {
                return Err(NotNow);
            }
            let words = request
                .search
                .clone()
                .or(candidate.query)
                .unwrap_or_default();
            let items = search::items(site, &tree, &words);
            let found = match request.manner {
                Manner::Plus(Ask::Item | Ask::All) => {
                    gopherplus::blocks(site, &tree, &items, &request.here)
                }
                manner => written(site, request, &items, b"", manner),
            };
            let length = found.len();
            return Ok(Reply {
                outcome: "a search",
                ..ready_menu(request, Body::Bytes(found.into()), length, Vec::new())
            });
        }
    }
    Ok(refusal(site, request, 404, why))
}

fn made_text(request: &Request, text: Vec<u8>) -> Reply {
    let head = match request.manner {
        Manner::Gopher => Vec::new(),
        Manner::Plus(_) => gopherplus::sized(text.len() as u64),
        Manner::Http { .. } => {
            let mut head = http::answer(200, "text/plain; charset=utf-8", text.len() as u64);
            head.extend_from_slice(b"\r\n");
            head
        }
    };
    let text = if request.manner == (Manner::Http { body: false }) {
        Vec::new()
    } else {
        text
    };
    bytes_reply(head, text.into(), "a text that was made")
}

fn own_page(request: &Request, status: u16, page: Vec<u8>, outcome: &'static str) -> Reply {
    let (head, page) = match request.manner {
        Manner::Http { body } => {
            let head = page::head(status, page.len());
            (head, if body { page } else { Vec::new() })
        }
        Manner::Plus(_) => (gopherplus::sized(page.len() as u64), page),
        Manner::Gopher => (Vec::new(), page),
    };
    bytes_reply(head, page.into(), outcome)
}

/// The same words whatever the reason: a peer cannot find out what there is.
pub(crate) fn refusal(site: &Site, request: &Request, status: u16, why: &'static str) -> Reply {
    const NOT_HERE: &str = "There is nothing here by that name.";
    let text = match status {
        404 => NOT_HERE,
        _ => "The server is busy; please try again.",
    };
    match request.manner {
        Manner::Gopher => bytes_reply(Vec::new(), menu::error(text).into(), why),
        Manner::Plus(_) => {
            let code = if status == 404 { 1 } else { 2 };
            let error = gopherplus::error(code, &site.choices.admin, text);
            bytes_reply(error, Arc::default(), why)
        }
        Manner::Http { .. } => own_page(request, status, page::message("Not here", text), why),
    }
}
