//! The line that a gopher client sends: its fields, what is refused in it, and under which paths the
//! thing it names may be found.
//!
//! Pure functions over bytes; whether a path exists is not known here. Invariant: a path that leaves
//! this file has no `..`, no name that begins with a dot, and no NUL, so that it can only name what
//! an administrator means to show.

use std::borrow::Cow;

/// Parts of one path; deeper ones are not found.
pub const PATH_DEPTH_MAX: usize = 64;

/// What a line consists of, between its TABs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields<'a> {
    /// What is asked for.
    pub selector: &'a [u8],
    /// The words of a search, or a word of Gopher+.
    pub second: Option<&'a [u8]>,
    /// The word of Gopher+ behind a search.
    pub third: Option<&'a [u8]>,
}

/// A line with a control byte in it, other than TAB, is never meant well.
pub fn fields(line: &[u8]) -> Option<Fields<'_>> {
    let is_bad = |byte: &u8| is_control(*byte) && *byte != b'\t';
    (!line.iter().any(is_bad)).then(|| split(line))
}

/// Whatever is between the TABs.
pub(crate) fn split(line: &[u8]) -> Fields<'_> {
    let mut fields = line.splitn(4, |byte| *byte == b'\t');
    Fields {
        selector: fields.next().unwrap_or_default(),
        second: fields.next(),
        third: fields.next(),
    }
}

/// Without LF, and without the CR before it.
pub fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

pub(crate) fn is_control(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f
}

/// All are looked at, which takes less than stopping at the first: hardly ever is there one.
fn has_control(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .fold(false, |has, byte| has | is_control(*byte))
}

/// One way to read a selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Below the root, without a slash at either end; empty is the root itself.
    pub path: Vec<u8>,
    /// What stood behind the first `?`.
    pub query: Option<Vec<u8>>,
}

/// All ways to read a selector, the most literal first: as it is, percent-decoded, split at the first
/// `?`, and each of these without the item type that some clients put in front.
pub fn candidates(selector: &[u8]) -> Vec<Candidate> {
    let mut all = Vec::new();
    read_as(selector, &mut all);
    if let [kind, b'/', ..] = selector
        && kind.is_ascii_alphanumeric()
    {
        read_as(&selector[1..], &mut all);
    }
    all
}

fn read_as(selector: &[u8], all: &mut Vec<Candidate>) {
    let (before, behind) = match selector.iter().position(|byte| *byte == b'?') {
        Some(at) => (&selector[..at], Some(&selector[at + 1..])),
        None => (selector, None),
    };
    let mut add = |bytes: &[u8], query: Option<&[u8]>| {
        let candidate = path(bytes).map(|path| Candidate {
            path,
            query: query.map(<[u8]>::to_vec),
        });
        if let Some(candidate) = candidate.filter(|it| !all.contains(it)) {
            all.push(candidate);
        }
    };
    let is_encoded = selector.contains(&b'%');
    add(selector, None);
    if is_encoded {
        add(&percent_decoded(selector), None);
    }
    if behind.is_some() {
        add(before, behind);
        if is_encoded {
            add(&percent_decoded(before), behind);
        }
    }
}

/// Without doubled slashes and `.` parts; `None` if it may not be shown, whatever is there.
pub fn path(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut path = Vec::with_capacity(bytes.len());
    let parts = bytes.split(|byte| *byte == b'/');
    for (depth, part) in parts
        .filter(|part| !part.is_empty() && *part != b".")
        .enumerate()
    {
        if depth == PATH_DEPTH_MAX || part[0] == b'.' || part.contains(&0) {
            return None;
        }
        if depth > 0 {
            path.push(b'/');
        }
        path.extend_from_slice(part);
    }
    Some(path)
}

/// A path that a map of `folder` has written; `..` is the folder above, and above the root there is none.
pub(crate) fn resolved(folder: &[u8], written: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> = folder.split(|byte| *byte == b'/').collect();
    for part in written.split(|byte| *byte == b'/') {
        match part {
            b".." => drop(parts.pop()),
            b"" | b"." => {}
            part => parts.push(part),
        }
    }
    path(&parts.join(&b'/'))
}

/// `%20` → a blank; a `%` that no two hexadecimal digits follow stays.
pub fn percent_decoded(bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, behind)) = rest.split_first() {
        let value = match (first, behind) {
            (b'%', [high, low, ..]) => hexadecimal(*high).zip(hexadecimal(*low)),
            _ => None,
        };
        match value {
            Some((high, low)) => {
                decoded.push(high * 16 + low);
                rest = &behind[2..];
            }
            None => {
                decoded.push(*first);
                rest = behind;
            }
        }
    }
    decoded
}

fn hexadecimal(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| value.try_into().ok())
}

/// As a field of a menu: control bytes, which would break the line, are percent-encoded, and so is
/// a `%` where decoding would otherwise give another name.
pub fn encoded(bytes: &[u8]) -> Cow<'_, [u8]> {
    if !has_control(bytes) {
        return bytes.into();
    }
    let mut encoded = Vec::with_capacity(bytes.len() + 8);
    for byte in bytes {
        if is_control(*byte) || *byte == b'%' {
            encoded.extend_from_slice(format!("%{byte:02X}").as_bytes());
        } else {
            encoded.push(*byte);
        }
    }
    encoded.into()
}

/// For people: what a terminal might obey is shown as `?`.
pub fn shown(bytes: &[u8]) -> Cow<'_, [u8]> {
    if !has_control(bytes) {
        return bytes.into();
    }
    let replaced = |byte: &u8| if is_control(*byte) { b'?' } else { *byte };
    bytes.iter().map(replaced).collect()
}

/// The folder of a path, which for the root is the root.
pub(crate) fn folder(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte == b'/');
    &path[..end.unwrap_or(0)]
}

/// The last part of a path.
pub(crate) fn name(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => &path[slash + 1..],
        None => path,
    }
}

/// What a name of `folder` is called from the root.
pub(crate) fn joined(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() {
        return name.to_vec();
    }
    [folder, b"/", name].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_split_at_tabs_and_control_bytes_refused() {
        for (line, expected) in [
            (&b""[..], Some((&b""[..], None, None))),
            (b"/a", Some((b"/a", None, None))),
            (b"/a\tb c", Some((b"/a", Some(&b"b c"[..]), None))),
            (
                b"/a\tb\t+\tx\ty",
                Some((b"/a", Some(b"b"), Some(&b"+"[..]))),
            ),
            (b"\t$", Some((b"", Some(b"$"), None))),
            (b"/a\0b", None),
            (b"/a\x1b[2J", None),
            (b"/a\r/b", None),
            (b"/a\x7f", None),
            (b"/\xff\xfe", Some((b"/\xff\xfe", None, None))),
        ] {
            let fields = fields(line).map(|it| (it.selector, it.second, it.third));
            assert_eq!(fields, expected, "{}", line.escape_ascii());
        }
        for (line, expected) in [("a\r\n", "a"), ("a\n", "a"), ("a", "a"), ("\r\n", "")] {
            assert_eq!(without_end(line.as_bytes()), expected.as_bytes());
        }
    }

    #[test]
    fn paths_are_what_may_be_shown() {
        for (written, expected) in [
            ("", Some("")),
            ("/", Some("")),
            ("//a/./b/", Some("a/b")),
            ("a b%20", Some("a b%20")),
            ("/sub/../x", None),
            ("..", None),
            ("/.git", None),
            ("/a/.b/c", None),
            ("/a/...", None),
            ("/a..b", Some("a..b")),
            ("a\0b", None),
        ] {
            let expected = expected.map(|path| path.as_bytes().to_vec());
            assert_eq!(path(written.as_bytes()), expected, "{written:?}");
        }
        assert!(path("a/".repeat(PATH_DEPTH_MAX).as_bytes()).is_some());
        assert!(path("a/".repeat(PATH_DEPTH_MAX + 1).as_bytes()).is_none());
    }

    #[test]
    fn the_most_literal_reading_comes_first() {
        for (selector, expected) in [
            ("/a", &[("a", None)][..]),
            ("", &[("", None)]),
            ("/100%.txt", &[("100%.txt", None)]),
            ("/a%20b", &[("a%20b", None), ("a b", None)]),
            ("/a?b=c", &[("a?b=c", None), ("a", Some("b=c"))]),
            (
                "/%41?x",
                &[
                    ("%41?x", None),
                    ("A?x", None),
                    ("%41", Some("x")),
                    ("A", Some("x")),
                ],
            ),
            ("0/a", &[("0/a", None), ("a", None)]),
            ("1/", &[("1", None), ("", None)]),
            (
                "1/a?b",
                &[
                    ("1/a?b", None),
                    ("1/a", Some("b")),
                    ("a?b", None),
                    ("a", Some("b")),
                ],
            ),
            ("/%2e%2e/x", &[("%2e%2e/x", None)]),
            ("/%2Egit", &[("%2Egit", None)]),
            ("/a%00b", &[("a%00b", None)]),
            ("/../x", &[]),
        ] {
            let found: Vec<_> = candidates(selector.as_bytes())
                .into_iter()
                .map(|it| {
                    let text = |bytes| String::from_utf8(bytes).expect("as written");
                    (text(it.path), it.query.map(text))
                })
                .collect();
            let found: Vec<_> = found
                .iter()
                .map(|(path, query)| (path.as_str(), query.as_deref()))
                .collect();
            assert_eq!(found, expected, "{selector:?}");
        }
    }

    #[test]
    fn what_would_break_a_line_is_encoded_and_found_again() {
        for name in [
            &b"plain %41"[..],
            b"a\tb",
            b"a\r\n.\r\n",
            b"100%\x01",
            b"\xff\n",
        ] {
            let field = encoded(name);
            assert!(!field.iter().any(|byte| is_control(*byte)));
            let back = candidates(&field);
            assert!(
                back.iter().any(|it| it.path == name),
                "{}",
                field.escape_ascii()
            );
        }
    }
}
