//! Menus as pages for browsers: plain, readable, without scripts.
//!
//! Pure. Invariant: every byte that comes from a name, a map or a peer goes through [`escaped`], and
//! no link has a scheme that is not on the list of `url`.

use crate::menu::{Here, Item};
use crate::{http, selector, url};

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1c2024;--soft:#697077;--line:#dcdfe3;--link:#0a58a8;--back:#fcfcfa;\
--field:#fff;--bad:#a3301e}\
body{max-width:44rem;margin:0 auto;padding:1.5rem 1.25rem 4rem;font:1rem/1.5 system-ui,sans-serif;\
color:var(--ink);background:var(--back)}\
nav{color:var(--soft);font-size:.875rem;padding-bottom:.6rem;margin-bottom:1.75rem;\
border-bottom:1px solid var(--line);overflow-wrap:anywhere}\
h1{font-size:1.5rem;line-height:1.25;margin:0 0 1.1rem;overflow-wrap:anywhere}\
pre{font:.9rem/1.45 ui-monospace,'DejaVu Sans Mono',monospace;margin:.35rem 0;overflow-x:auto}\
a{color:var(--link);text-decoration:none}a:hover,a:focus{text-decoration:underline}\
.i{display:grid;grid-template-columns:3.5rem 1fr;align-items:baseline;padding:.14rem 0}\
.i b{font:.75rem ui-monospace,'DejaVu Sans Mono',monospace;color:var(--soft)}\
.i a,.i span{overflow-wrap:anywhere;white-space:pre-wrap}.e{color:var(--bad)}\
form{display:flex;gap:.5rem;flex-wrap:wrap;align-items:baseline}\
input,button{font:inherit;color:inherit;padding:.15rem .6rem;border:1px solid var(--line);\
border-radius:.3rem;background:var(--field)}button{cursor:pointer}\
@media(prefers-color-scheme:dark){:root{--ink:#dcdfe3;--soft:#8f97a1;--line:#3a4048;--link:#7ab7f5;\
--back:#17191c;--field:#22262b;--bad:#f08a78}}";

/// A menu. `path` is where it is and `suffix` what stands behind each selector, for the way up.
pub(crate) fn menu(items: &[Item], here: &Here, (path, suffix): (&[u8], &str)) -> Vec<u8> {
    let title = items
        .iter()
        .find(|item| item.kind == b'i' && item.selector == b"TITLE");
    let name = match (title, path) {
        (Some(title), _) => escaped(&title.name),
        (None, b"") => escaped(here.host.as_bytes()),
        (None, path) => escaped(path),
    };
    let mut body = way(here, path, suffix);
    if title.is_none() && !path.is_empty() {
        body += &format!("<h1>{}</h1>\n", escaped(selector::name(path)));
    }
    let mut lines: Vec<&Item> = Vec::new();
    for item in items {
        if item.kind == b'i' {
            match title == Some(item) {
                true => {
                    text(&mut body, &mut lines);
                    body += &format!("<h1>{name}</h1>\n");
                }
                false => lines.push(item),
            }
            continue;
        }
        text(&mut body, &mut lines);
        body += &row(item, here);
    }
    text(&mut body, &mut lines);
    page(&name, &body)
}

/// An error, or a word to somebody who has to be told something.
pub(crate) fn message(title: &str, text: &str) -> Vec<u8> {
    let (title, text) = (escaped(title.as_bytes()), escaped(text.as_bytes()));
    let body =
        format!("<h1>{title}</h1>\n<p>{text}</p>\n<p><a href=\"/\">To the beginning</a></p>\n");
    page(&title, &body)
}

fn page(title: &str, body: &str) -> Vec<u8> {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )
    .into_bytes()
}

/// The folders above, each a link.
fn way(here: &Here, path: &[u8], suffix: &str) -> String {
    let link = |path: &[u8], name: &[u8]| {
        let target = percent(&[b"/", path, suffix.as_bytes()].concat());
        format!("<a href=\"{target}\">{}</a>", escaped(name))
    };
    let mut way = format!("<nav>{}", link(b"", here.host.as_bytes()));
    let mut target = Vec::new();
    for part in path
        .split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty())
    {
        target = selector::joined(&target, part);
        way += &format!(" / {}", link(&target, part));
    }
    way + "</nav>\n"
}

/// Lines that follow each other keep their columns.
fn text(body: &mut String, lines: &mut Vec<&Item>) {
    if lines.is_empty() {
        return;
    }
    // The first end of a line in it is not shown, and the first line may be empty.
    *body += "<pre>\n";
    for line in lines.drain(..) {
        *body += &escaped(&line.name);
        body.push('\n');
    }
    *body += "</pre>\n";
}

fn row(item: &Item, here: &Here) -> String {
    let name = match escaped(&item.name) {
        name if name.trim().is_empty() => "(without a name)".to_owned(),
        name => name,
    };
    let label = label(item.kind);
    if item.kind == b'3' {
        return format!("<div class=\"i\"><b>{label}</b><span class=\"e\">{name}</span></div>\n");
    }
    if item.kind == b'7' && item.is_local(here) {
        let action = percent(&rooted(&item.selector));
        return format!(
            "<div class=\"i\"><b>{label}</b><form action=\"{action}\"><label>{name} \
             <input name=\"q\" type=\"search\"></label><button>Search</button></form></div>\n"
        );
    }
    match target(item, here) {
        Some(target) => {
            format!("<div class=\"i\"><b>{label}</b><a href=\"{target}\">{name}</a></div>\n")
        }
        None => format!("<div class=\"i\"><b>{label}</b><span>{name}</span></div>\n"),
    }
}

/// Where a link goes; `None` is nowhere that a page may link to.
fn target(item: &Item, here: &Here) -> Option<String> {
    if let Some(address) = url::of_selector(&item.selector) {
        return url::is_allowed(address).then(|| escaped(address));
    }
    if item.is_local(here) && !matches!(item.kind, b'8' | b'T' | b'2') {
        return Some(percent(&rooted(&item.selector)));
    }
    let host = item.host.as_deref().unwrap_or(here.host.as_bytes());
    let is_host = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_:".contains(byte);
    if host.is_empty() || !host.iter().all(is_host) {
        return None;
    }
    let host = match host.contains(&b':') {
        true => format!("[{}]", escaped(host)),
        false => escaped(host),
    };
    let port = item.port.unwrap_or(here.port);
    Some(match item.kind {
        b'8' => format!("telnet://{host}:{port}/"),
        b'T' => format!("tn3270://{host}:{port}/"),
        kind => {
            let path = [&[b'/', kind][..], &item.selector].concat();
            format!("gopher://{host}:{port}{}", percent(&path))
        }
    })
}

fn rooted(selector: &[u8]) -> Vec<u8> {
    // Two slashes in front would be a host.
    let behind = selector
        .iter()
        .position(|byte| *byte != b'/')
        .unwrap_or(selector.len());
    [b"/", &selector[behind..]].concat()
}

fn label(kind: u8) -> &'static str {
    match kind {
        b'0' => "text",
        b'1' => "menu",
        b'2' => "book",
        b'3' => "error",
        b'7' => "search",
        b'8' | b'T' => "telnet",
        b'g' | b'I' | b'p' | b':' => "image",
        b'h' => "page",
        b's' | b'<' => "sound",
        b';' => "film",
        b'd' | b'P' => "paper",
        _ => "file",
    }
}

/// For text and for attributes in double quotes. What is not UTF-8 becomes the sign for that.
pub(crate) fn escaped(bytes: &[u8]) -> String {
    let mut escaped = String::with_capacity(bytes.len());
    for character in String::from_utf8_lossy(bytes).chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\t' => escaped.push('\t'),
            character if character.is_control() => escaped.push('\u{fffd}'),
            character => escaped.push(character),
        }
    }
    escaped
}

/// As the path of an address: safe in an attribute, and the same bytes when it comes back.
fn percent(bytes: &[u8]) -> String {
    let mut encoded = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => encoded.push(char::from(*byte)),
            b'/' | b'-' | b'.' | b'_' | b'~' | b'!' | b'*' | b',' | b';' | b'=' | b':' | b'@' => {
                encoded.push(char::from(*byte));
            }
            byte => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}

/// The head of a page that was made here.
pub(crate) fn head(status: u16, length: usize) -> Vec<u8> {
    let mut head = http::answer(status, "text/html; charset=utf-8", length as u64);
    head.extend_from_slice(http::OWN_PAGE.as_bytes());
    head.extend_from_slice(b"\r\n");
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> Here {
        Here {
            host: "here.example".into(),
            port: 70,
        }
    }

    #[test]
    fn links_lead_where_the_item_is_and_nowhere_else() {
        let remote = |kind, selector: &str, host: &str| Item {
            host: Some(host.as_bytes().to_vec()),
            port: Some(7070),
            ..Item::local(kind, "x", selector)
        };
        for (item, expected) in [
            (Item::local(b'0', "x", "/a b?c%"), Some("/a%20b%3Fc%25")),
            (Item::local(b'1', "x", ""), Some("/")),
            (
                Item::local(b'1', "x", "//evil.example"),
                Some("/evil.example"),
            ),
            (
                Item::local(b'h', "x", "URL:http://a/?b&c"),
                Some("http://a/?b&amp;c"),
            ),
            (Item::local(b'h', "x", "URL:javascript:alert(1)"), None),
            (
                remote(b'1', "/x y", "there.example"),
                Some("gopher://there.example:7070/1/x%20y"),
            ),
            (
                remote(b'1', "/", "2001:db8::1"),
                Some("gopher://[2001:db8::1]:7070/1/"),
            ),
            (
                remote(b'8', "", "bbs.example"),
                Some("telnet://bbs.example:7070/"),
            ),
            (remote(b'1', "/", "a\"onclick=x"), None),
        ] {
            assert_eq!(target(&item, &here()).as_deref(), expected, "{item:?}");
        }
    }

    #[test]
    fn nothing_of_a_menu_gets_out_of_its_place() {
        let evil = "\"><script>alert('1')</script>&\x1b\0";
        for kind in 0x20..0x7f_u8 {
            let item = Item {
                host: Some(evil.into()),
                ..Item::local(kind, evil, evil)
            };
            let items = [
                item,
                Item::local(kind, evil, evil),
                Item::local(b'i', evil, "TITLE"),
            ];
            let page = menu(&items, &here(), (evil.as_bytes(), ""));
            let page = String::from_utf8(page).expect("a page is UTF-8");
            assert!(
                !page.contains("<script") && !page.contains('\x1b'),
                "{kind}"
            );
            assert_eq!(page.matches("<a ").count(), page.matches("</a>").count());
        }
    }
}
