//! Texts that come from a plugin: bounded, made UTF-8 and harmless to a terminal.
//!
//! Names and ids are refused if they are not clean; free texts (log lines, refusals) are escaped
//! instead, because an administrator should see them whatever they are.
//!
//! Invariant: no `String` made here holds a control character or one that turns the direction of
//! text, and none is longer than its bound.

use std::ffi::{CStr, c_char};

/// A plugin's own words may be this long in a log line.
pub(super) const LOG_BYTES_MAX: usize = 4096;
/// A name, a version or an id.
pub(super) const NAME_BYTES_MAX: usize = 256;

/// Free text: cut at `bytes_max`, invalid UTF-8 replaced, control characters escaped.
pub(super) fn escaped(bytes: &[u8], bytes_max: usize) -> String {
    let cut = &bytes[..bytes.len().min(bytes_max)];
    let mut text = String::with_capacity(cut.len());
    for character in String::from_utf8_lossy(cut).trim_end_matches('\n').chars() {
        if is_harmful(character) {
            text.extend(character.escape_default());
        } else {
            text.push(character);
        }
    }
    if bytes.len() > bytes_max {
        text.push('…');
    }
    text
}

/// A static, NUL-terminated text; `Err` says what is wrong with it.
///
/// # Safety
///
/// `text` is null or points to bytes that are readable up to a NUL or `bytes_max`, and immutable.
pub(super) unsafe fn clean(
    text: *const c_char,
    bytes_max: usize,
) -> Result<Option<String>, String> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: readable up to its NUL or the bound, as the caller promises; strnlen(3) reads no
    // further than the bound.
    let length = unsafe { libc::strnlen(text, bytes_max + 1) };
    if length > bytes_max {
        return Err(format!("is longer than {bytes_max} bytes"));
    }
    // SAFETY: strnlen found the NUL at `length`, so the text ends there.
    let text = unsafe { CStr::from_ptr(text) };
    let text = text.to_str().map_err(|_| "is not UTF-8".to_owned())?;
    if text.chars().any(is_harmful) {
        return Err(format!(
            "holds control characters: \"{}\"",
            escaped(text.as_bytes(), 64)
        ));
    }
    Ok(Some(text.to_owned()))
}

/// A static list of texts, ended by null.
///
/// # Safety
///
/// `list` is null, or points to immutable pointers of which the last is null and each other one
/// points to a text ended by NUL.
pub(super) unsafe fn text_list(
    list: *const *const c_char,
    count_max: usize,
    bytes_max: usize,
) -> Result<Vec<String>, String> {
    let mut texts = Vec::new();
    if list.is_null() {
        return Ok(texts);
    }
    loop {
        // SAFETY: the entries before this one were not null, so this one exists.
        let entry = unsafe { list.add(texts.len()).read() };
        // SAFETY: null or a static text, as the caller promises.
        match unsafe { clean(entry, bytes_max) }
            .map_err(|why| format!("holds a text that {why}"))?
        {
            None => return Ok(texts),
            Some(_) if texts.len() == count_max => {
                return Err(format!("has more than {count_max} entries"));
            }
            Some(text) => texts.push(text),
        }
    }
}

fn is_harmful(character: char) -> bool {
    // Besides the controls: line and paragraph separators, and what reorders text on a terminal.
    character.is_control() || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_text_is_bounded_and_cannot_move_a_cursor() {
        let cases: &[(&[u8], usize, &str)] = &[
            (b"plain", 10, "plain"),
            (b"line\n", 10, "line"),
            (b"two\nlines", 10, "two\\nlines"),
            (b"\x1b[2Jgone", 10, "\\u{1b}[2Jgone"),
            (b"\xff\xfe", 10, "\u{fffd}\u{fffd}"),
            (b"abcdef", 3, "abc…"),
            ("é".as_bytes(), 1, "\u{fffd}…"),
            ("a\u{202e}b".as_bytes(), 10, "a\\u{202e}b"),
        ];
        for (bytes, bytes_max, expected) in cases {
            assert_eq!(escaped(bytes, *bytes_max), *expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_name_is_refused_if_it_is_not_clean() {
        let read = |text: &'static CStr, max| {
            // SAFETY: a static text that ends with NUL.
            unsafe { clean(text.as_ptr(), max) }
        };
        assert_eq!(read(c"echo", 4), Ok(Some("echo".to_owned())));
        assert_eq!(read(c"echo", 3), Err("is longer than 3 bytes".to_owned()));
        assert_eq!(read(c"\xff", 3), Err("is not UTF-8".to_owned()));
        assert!(read(c"a\tb", 3).is_err_and(|why| why.contains("control characters")));
        // SAFETY: null is allowed.
        assert_eq!(unsafe { clean(std::ptr::null(), 3) }, Ok(None));
    }
}
