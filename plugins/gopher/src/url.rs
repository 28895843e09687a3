//! `URL:` selectors: a page that sends a browser on, for clients that cannot go there themselves.
//!
//! Pure. Invariant: only schemes of the list get a page, and no byte of the address reaches it
//! unescaped. gopher and telnet are not on the list: a client that asks a gopher server for a page
//! about them can go there itself.

use crate::page::escaped;

const SCHEMES: [&str; 8] = [
    "http", "https", "gemini", "ftp", "irc", "ircs", "mailto", "news",
];

/// What stands behind `URL:` or `/URL:`.
pub fn of_selector(selector: &[u8]) -> Option<&[u8]> {
    let selector = selector.strip_prefix(b"/").unwrap_or(selector);
    selector.strip_prefix(b"URL:")
}

/// Whether an address may be linked to.
pub fn is_allowed(address: &[u8]) -> bool {
    let Some(colon) = address.iter().position(|byte| *byte == b':') else {
        return false;
    };
    let scheme = &address[..colon];
    SCHEMES
        .iter()
        .any(|it| it.as_bytes().eq_ignore_ascii_case(scheme))
        && address.len() > colon + 1
        && !address
            .iter()
            .any(|byte| byte.is_ascii_control() || *byte == b' ')
}

/// The page.
pub fn page(address: &[u8]) -> Option<Vec<u8>> {
    if !is_allowed(address) {
        return None;
    }
    let address = escaped(address);
    let page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"refresh\" content=\"1; url={address}\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <title>Outside of gopher</title>\n</head>\n<body>\n\
         <p>This link leads out of gopherspace, to <a href=\"{address}\">{address}</a>.</p>\n\
         </body>\n</html>\n"
    );
    Some(page.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_schemes_get_a_page_and_nothing_gets_out_of_it() {
        for (address, allowed) in [
            ("http://example.org/", true),
            ("HTTPS://example.org/?a=b&c=d", true),
            ("mailto:a@example.org", true),
            ("http://x/\"><script>alert(1)</script>", true),
            ("http://x/'><b>", true),
            ("javascript:alert(1)", false),
            ("data:text/html,x", false),
            ("gopher://example.org/", false),
            ("telnet://example.org/", false),
            ("//example.org/", false),
            ("http:", false),
            ("http://a b", false),
            ("", false),
        ] {
            let page = page(address.as_bytes());
            assert_eq!(page.is_some(), allowed, "{address}");
            let text = String::from_utf8(page.unwrap_or_default()).expect("UTF-8");
            assert!(
                !text.contains("<script") && !text.contains("<b>"),
                "{address}"
            );
        }
        assert_eq!(of_selector(b"URL:x"), Some(&b"x"[..]));
        assert_eq!(of_selector(b"/URL:x"), Some(&b"x"[..]));
        assert_eq!(of_selector(b"/a/URL:x"), None);
    }
}
