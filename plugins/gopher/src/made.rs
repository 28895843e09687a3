//! What exists without a file: the search, `caps.txt` and `robots.txt`, pages for addresses, and what
//! Gopher+ says of them.
//!
//! A file of the same name comes first; whoever asks here has found none.

use crate::answer::NotNow;
use crate::gopherplus::{self, Ask, Known, UNTIL_DOT};
use crate::lookup::Patience;
use crate::menu::Item;
use crate::reply::{
    Body, Manner, Reply, Request, about, bytes_reply, own_page, ready_menu, refusal, written,
};
use crate::selector::{self, candidates};
use crate::site::{Site, Tree};
use crate::{caps, http, search, url, vhosts};

/// What exists without a file, or else the refusal.
pub(crate) fn made_up(
    site: &Site,
    request: &Request,
    tree: &Tree,
    patience: Patience,
    why: &'static str,
) -> Result<Reply, NotNow> {
    if let Some(address) = url::of_selector(&request.selector) {
        return Ok(elsewhere(site, request, address));
    }
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
            return Ok(match request.manner {
                Manner::Plus(Ask::Item | Ask::All) => {
                    let name = &candidate.path[..];
                    let item = Item::local(b'0', name, tree.selector(name));
                    described(site, request, &item, Some(("text/plain", text.len())))
                }
                _ => made_text(request, text),
            });
        }
        if search.as_ref() == Some(&candidate.path) {
            if patience == Patience::None {
                return Err(NotNow);
            }
            if request.manner == Manner::Plus(Ask::Item) {
                let item = Item::local(b'7', "Search", tree.selector(&candidate.path));
                return Ok(described(site, request, &item, None));
            }
            let words = request
                .search
                .clone()
                .or(candidate.query)
                .unwrap_or_default();
            let items = search::items(site, &tree, &words);
            let found = match request.manner {
                Manner::Plus(Ask::All) => gopherplus::blocks(site, &tree, &items, &request.here).0,
                manner => written(site, request, &items, (&tree, b""), manner),
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

/// A page that sends a browser on.
fn elsewhere(site: &Site, request: &Request, address: &[u8]) -> Reply {
    match (url::page(address), request.manner) {
        (Some(page), Manner::Plus(Ask::Item | Ask::All)) => {
            let item = Item::local(b'h', address, request.selector.clone());
            described(site, request, &item, Some(("text/html", page.len())))
        }
        (Some(page), _) => own_page(request, 200, page, "a page for an address"),
        (None, _) => refusal(site, request, 404, "no address that a page is made for"),
    }
}

/// What is known of something that has no file.
fn described(
    site: &Site,
    request: &Request,
    item: &Item,
    view: Option<(&'static str, usize)>,
) -> Reply {
    let block = about(site, request, item, Known::Made(view));
    let outcome = "what is known of what is made";
    bytes_reply(UNTIL_DOT.to_vec(), block.into(), outcome)
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
