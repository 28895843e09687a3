//! The first line of a peer: a selector, or the beginning of HTTP. Pure, so that most of the fuzzer's
//! time goes to the readings of it.

use polyport_gopher::http::{self, Parsed};
use polyport_gopher::{gopherplus, selector, url};

/// A line of a gopher client, without its end.
pub fn selector(line: &[u8]) -> bool {
    let Some(fields) = selector::fields(line) else {
        let other = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
        assert!(line.iter().any(other), "refused for nothing");
        return false;
    };
    assert!(!fields.selector.contains(&b'\t'));
    let mut found = false;
    for candidate in selector::candidates(fields.selector) {
        found = true;
        let path = &candidate.path;
        assert!(!path.starts_with(b"/") && !path.ends_with(b"/") && !path.contains(&0));
        let mut parts = path.split(|byte| *byte == b'/');
        assert!(path.is_empty() || parts.all(|part| !part.is_empty() && part[0] != b'.'));
        // A path that may be shown is found under itself, and under what a menu calls it.
        assert_eq!(selector::path(path).as_ref(), Some(path));
        let named = selector::encoded(path);
        let again = selector::candidates(&named);
        assert!(again.iter().any(|it| it.path == *path));
    }
    let word = fields.third.or(fields.second).unwrap_or_default();
    let is_word = word.first().is_some_and(|first| b"+!$".contains(first));
    assert_eq!(gopherplus::ask(word).is_some(), is_word);
    if let Some(page) = url::page(fields.selector) {
        let plain = url::page(b"http://a/").expect("a good address");
        let tags = |page: &[u8]| page.iter().filter(|byte| **byte == b'<').count();
        assert_eq!(tags(&page), tags(&plain));
        assert!(String::from_utf8(page).is_ok());
    }
    found
}

/// What a connection begins with, which may be HTTP. Its first two bytes say where it is cut.
pub fn http(bytes: &[u8]) -> bool {
    let [high, low, request @ ..] = bytes else {
        return false;
    };
    let cut = usize::from(u16::from_be_bytes([*high, *low])) % (request.len() + 1);
    let whole = http::parsed(request);
    match http::parsed(&request[..cut]) {
        Parsed::More => assert_ne!(whole, Parsed::NotHttp),
        Parsed::NotHttp if !request[..cut].contains(&b'\n') => {}
        // Of a head that is too long, the end may yet come.
        Parsed::Refused(431) => {}
        known => assert_eq!(known, whole),
    }
    let Parsed::Asked(asked) = whole else {
        return false;
    };
    assert!(asked.selector.starts_with(b"/"));
    assert!(!asked.selector.contains(&0) && !asked.selector.contains(&0x1b));
    let search = asked.search.unwrap_or_default();
    assert!(!search.iter().any(u8::is_ascii_control));
    true
}
