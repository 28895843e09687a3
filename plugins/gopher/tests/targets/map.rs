//! A map as somebody has written it: read by itself, and served in all manners.

use polyport_gopher::maps::{self, Line};
use polyport_gopher::menu::{Here, Item, Style, written};

use super::ground::{Ground, answer, assert_is_menu};

thread_local! {
    static GROUND: Ground = Ground::new();
}

/// Its first byte chooses the dialect, and whether it is text only.
pub fn map(bytes: &[u8]) -> bool {
    let [choice, map @ ..] = bytes else {
        return false;
    };
    let name: &[u8] = match choice & 1 {
        0 => b"gophermap",
        _ => b"index.gph",
    };
    let lines = maps::parsed(name, map, choice & 2 != 0);
    let ends = map.iter().filter(|byte| **byte == b'\n').count();
    assert!(lines.len() <= ends + 1);
    let items = lines.iter().filter_map(|line| match line {
        Line::Item(item) | Line::Relative(item) => Some(item.clone()),
        _ => None,
    });
    let items: Vec<Item> = items.collect();
    let here = Here {
        host: "h.example".into(),
        port: 70,
    };
    let style = Style {
        width: 20,
        plus: false,
    };
    let menu = written(&items, &here, style);
    assert_is_menu(&menu, 4..=4);
    let count = menu.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(count, items.len() + 1);
    if items.len() < lines.len() || choice & 4 != 0 {
        GROUND.with(|ground| serve(ground, choice & 1 == 0, map));
    }
    items.iter().any(|item| item.kind != b'i')
}

/// With its includes, listings and links, whose effects are not seen in the lines alone.
fn serve(ground: &Ground, is_bucktooth: bool, map: &[u8]) {
    let (used, other) = match is_bucktooth {
        true => ("x/gophermap", "x/index.gph"),
        false => ("x/index.gph", "x/gophermap"),
    };
    // The first of the two that is there counts; an empty one is there.
    ground.put(used, map);
    ground.remove(other);
    let mut host = ground.host();
    assert_is_menu(&answer(&mut host, b"/x\r\n"), 4..=4);
    let plus = answer(&mut host, b"/x\t+\r\n");
    let plus = plus.strip_prefix(b"+-1\r\n").expect("its head");
    assert_is_menu(plus, 4..=5);
    let blocks = answer(&mut host, b"/x\t$\r\n");
    super::plus::assert_are_blocks(&blocks);
    let page = answer(&mut host, b"GET /x HTTP/1.0\r\n\r\n");
    let page = String::from_utf8(page).expect("a page is UTF-8");
    let (head, body) = page.split_once("\r\n\r\n").expect("a head");
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())));
    assert_is_page(body);
}

/// Whether all its tags are ours.
fn assert_is_page(page: &str) {
    const TAGS: [&str; 21] = [
        "!DOCTYPE", "html", "head", "meta", "title", "style", "body", "nav", "main", "h1", "pre",
        "div", "b", "a", "span", "form", "label", "input", "button", "footer", "p",
    ];
    for piece in page.split('<').skip(1) {
        let name = piece.trim_start_matches('/');
        let end = name.find([' ', '>', '\n']).unwrap_or(name.len());
        assert!(TAGS.contains(&&name[..end]), "{piece}");
    }
    for (open, close) in [
        ("<a ", "</a>"),
        ("<pre>\n", "</pre>\n"),
        ("<div ", "</div>"),
    ] {
        assert_eq!(page.matches(open).count(), page.matches(close).count());
    }
}
