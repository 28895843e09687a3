//! What was asked, and what is sent for it: heads and bodies by the manner of asking.
//!
//! What it says is decided elsewhere; here are the forms. Invariant: a refusal is the same to the peer
//! whatever its reason.

use std::fs::File;
use std::sync::Arc;

use crate::gopherplus::{self, Ask, Known, UNTIL_DOT};
use crate::menu::{self, Here, Item, Style};
use crate::settings::Plus;
use crate::site::{Site, Tree};
use crate::text::Lines;
use crate::{page, selector};

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

pub(crate) fn written(
    site: &Site,
    request: &Request,
    items: &[Item],
    (tree, path): (&Tree, &[u8]),
    manner: Manner,
) -> Vec<u8> {
    let plus = manner != Manner::Gopher || site.choices.plus == Plus::Advertise;
    let style = Style {
        width: site.choices.width,
        plus,
    };
    match manner {
        Manner::Http { .. } => {
            let place = [tree.prefix.as_bytes(), b"/", path].concat();
            // Whatever is shown has a path that may be shown.
            let place = selector::path(&place).unwrap_or_default();
            page::menu(items, &request.here, (&place, &tree.suffix))
        }
        Manner::Gopher | Manner::Plus(_) => menu::written(items, &request.here, style),
    }
}

pub(crate) fn ready_menu(
    request: &Request,
    menu: Body,
    length: usize,
    warnings: Vec<String>,
) -> Reply {
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

pub(crate) fn bytes_reply(head: Vec<u8>, bytes: Arc<Vec<u8>>, outcome: &'static str) -> Reply {
    Reply {
        head,
        body: Body::Bytes(bytes),
        outcome,
        warnings: Vec::new(),
    }
}

/// What Gopher+ is told of one item.
pub(crate) fn about(site: &Site, request: &Request, item: &Item, known: Known<'_>) -> Vec<u8> {
    let mut block = Vec::new();
    gopherplus::block(&mut block, site, item, known, &request.here);
    block.extend_from_slice(b".\r\n");
    block
}

pub(crate) fn own_page(
    request: &Request,
    status: u16,
    page: Vec<u8>,
    outcome: &'static str,
) -> Reply {
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
