//! From the bytes of a line to text that no terminal acts upon.
//!
//! Done once, at entry, for whatever a peer writes; nothing behind it looks at control characters
//! again. What remains is what was written, less what does not show: nothing is put in its place but a
//! space for a TAB. Invariant: the text holds no control character, no escape sequence of any family,
//! nothing that turns the direction or is invisible, and at most four marks on a character.

use std::borrow::Cow;

use unicode_width::UnicodeWidthChar;

/// Marks on one character.
const MARKS_MAX: usize = 4;

/// The text of a line, and whether it was no UTF-8 and so was read as Latin-1.
pub(crate) fn line(bytes: &[u8]) -> (Cow<'_, str>, bool) {
    match std::str::from_utf8(bytes) {
        Ok(text) if is_clean(text) => (text.into(), false),
        Ok(text) => (clean(text).into(), false),
        Err(_) => {
            let text: String = bytes.iter().copied().map(char::from).collect();
            (clean(&text).into(), true)
        }
    }
}

/// Whether it is plain ASCII, from which nothing would be taken: most lines are, and each is looked at in
/// every worker that hears it. All bytes are looked at, which the compiler does many at a time.
pub(crate) fn is_clean(text: &str) -> bool {
    let plain = |so_far, byte: &u8| so_far & matches!(byte, b' '..=b'~');
    text.as_bytes().iter().fold(true, plain)
}

/// The same for what is text already, as what JSON has unfolded.
pub(crate) fn clean(text: &str) -> String {
    if is_clean(text) {
        return text.to_owned();
    }
    let mut cleaned = String::with_capacity(text.len());
    let mut rest = text.chars();
    let mut marks = 0;
    while let Some(c) = rest.next() {
        match c {
            '\u{1B}' => escape(&mut rest),
            '\u{9B}' => sequence(&mut rest),
            '\u{90}' | '\u{98}' | '\u{9D}' | '\u{9E}' | '\u{9F}' => string(&mut rest),
            '\t' => {
                cleaned.push(' ');
                marks = 0;
            }
            JOINER => {
                let joins = cleaned.chars().next_back().is_some_and(is_pictograph)
                    && rest.clone().next().is_some_and(is_pictograph);
                if joins {
                    cleaned.push(c);
                }
            }
            _ if c.is_control() || is_hidden(c) => {}
            _ if is_mark(c) => {
                if marks < MARKS_MAX && !cleaned.is_empty() {
                    cleaned.push(c);
                    marks += 1;
                }
            }
            _ => {
                cleaned.push(c);
                marks = 0;
            }
        }
    }
    cleaned
}

const JOINER: char = '\u{200D}';

/// Behind ESC.
fn escape(rest: &mut std::str::Chars<'_>) {
    let mut ahead = rest.clone();
    match ahead.next() {
        Some('[') => {
            *rest = ahead;
            sequence(rest);
        }
        Some('P' | 'X' | ']' | '^' | '_') => {
            *rest = ahead;
            string(rest);
        }
        // A single shift, as of function keys, takes one more.
        Some('N' | 'O') => {
            *rest = ahead.clone();
            if ahead.next().is_some_and(|c| !c.is_control()) {
                *rest = ahead;
            }
        }
        Some(' '..='/') => {
            while let Some(c) = ahead.next() {
                match c {
                    ' '..='/' => {}
                    '0'..='~' => {
                        *rest = ahead;
                        return;
                    }
                    _ => return,
                }
            }
            *rest = ahead;
        }
        Some('0'..='~') => *rest = ahead,
        // Not an escape at all: only ESC itself goes.
        _ => {}
    }
}

/// Behind CSI: parameters and what is between, then the end.
fn sequence(rest: &mut std::str::Chars<'_>) {
    loop {
        let mut ahead = rest.clone();
        match ahead.next() {
            Some(' '..='?') => *rest = ahead,
            Some('@'..='~') => {
                *rest = ahead;
                return;
            }
            _ => return,
        }
    }
}

/// Behind what opens a string for the terminal: all of it, to its end or that of the line.
fn string(rest: &mut std::str::Chars<'_>) {
    while let Some(c) = rest.next() {
        match c {
            '\u{7}' | '\u{9C}' => return,
            '\u{1B}' if rest.clone().next() == Some('\\') => {
                rest.next();
                return;
            }
            _ => {}
        }
    }
}

/// Shown as nothing, or as something else than where it stands.
fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}'
        | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FDD0}'..='\u{FDEF}' | '\u{FEFF}' | '\u{FFA0}'
        | '\u{FFF0}'..='\u{FFFB}' | '\u{FFFE}' | '\u{FFFF}' | '\u{1BCA0}'..='\u{1BCA3}'
        | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
        || u32::from(c) & 0xFFFE == 0xFFFE
}

fn is_mark(c: char) -> bool {
    c.width() == Some(0)
}

/// What a joiner joins.
fn is_pictograph(c: char) -> bool {
    matches!(c, '\u{1F000}'..='\u{1FAFF}' | '\u{2190}'..='\u{23FF}' | '\u{2600}'..='\u{27BF}'
        | '\u{2B00}'..='\u{2BFF}' | '\u{FE0F}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_passes_that_a_terminal_acts_upon() {
        #[rustfmt::skip]
        let rows: &[(&str, &str)] = &[
            // What people write stays.
            ("hello, world", "hello, world"), ("naïve Привет 你好 مرحبا", "naïve Привет 你好 مرحبا"),
            ("a\tb", "a b"), ("👩\u{200D}🚀 👍🏽 1\u{FE0F}\u{20E3}", "👩\u{200D}🚀 👍🏽 1\u{FE0F}\u{20E3}"),
            ("❤\u{FE0F}\u{200D}🔥", "❤\u{FE0F}\u{200D}🔥"),
            // Sequences of every family go whole.
            ("a\u{1B}[31mb\u{1B}[0m", "ab"), ("a\u{1B}[?1;2cb", "ab"), ("\u{1B}[Ax", "x"),
            ("a\u{1B}]0;title\u{7}b", "ab"), ("a\u{1B}]8;;http://x\u{1B}\\b", "ab"),
            ("a\u{1B}]0;never ended", "a"), ("a\u{1B}P1$r0m\u{1B}\\b", "ab"),
            ("a\u{1B}_apc\u{9C}b", "ab"), ("a\u{1B}^pm\u{1B}\\b", "ab"), ("a\u{1B}Xsos\u{1B}\\b", "ab"),
            ("a\u{1B}OPb", "ab"), ("a\u{1B}Nxb", "ab"), ("a\u{1B}(Bb", "ab"), ("a\u{1B}#8b", "ab"), ("a\u{1B}cb", "ab"),
            ("a\u{1B}7b\u{1B}8", "ab"), ("a\u{9B}31mb", "ab"), ("a\u{9D}0;t\u{9C}b", "ab"),
            ("a\u{90}q\u{9C}b", "ab"), ("a\u{9F}q\u{9C}b", "ab"), ("a\u{98}q\u{9C}b", "ab"),
            ("a\u{9E}q\u{9C}b", "ab"), ("a\u{1B}", "a"), ("a\u{1B}[", "a"), ("a\u{1B}[1", "a"),
            ("a\u{1B}[1\u{E9}b", "a\u{E9}b"), ("a\u{1B}\u{1B}[31mb", "ab"), ("a\u{1B}éb", "aéb"),
            // Controls alone, of both sets.
            ("a\u{7}b\u{8}c\u{0}d\u{7F}e\u{85}f\u{4}", "abcdef"), ("a\rb", "ab"),
            // Lines, direction, and what cannot be seen.
            ("a\u{2028}b\u{2029}c", "abc"), ("\u{202E}evil\u{202C}", "evil"),
            ("\u{2066}a\u{2069}\u{200E}\u{200F}\u{61C}", "a"), ("a\u{200B}b\u{FEFF}c\u{AD}d", "abcd"),
            ("a\u{200D}b", "ab"), ("\u{200D}", ""), ("👩\u{200D}b", "👩b"), ("a\u{E0041}\u{E007F}b", "ab"),
            ("a\u{E0100}b", "ab"), ("a\u{3164}b\u{FFA0}", "ab"), ("a\u{1FFFE}b", "ab"),
            // Marks: four on a character, none on nothing.
            ("e\u{301}\u{302}\u{303}\u{304}\u{305}\u{306}x\u{301}", "e\u{301}\u{302}\u{303}\u{304}x\u{301}"),
            ("\u{301}a", "a"),
        ];
        for (text, expected) in rows {
            assert_eq!(clean(text), *expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_utf8_is_latin1() {
        assert_eq!(line(b"caf\xE9"), ("café".into(), true));
        assert_eq!(line("café".as_bytes()), ("café".into(), false));
        assert_eq!(line(b"a\x9B31m\xFF"), ("aÿ".into(), true));
        assert_eq!(line(b"\xED\xA0\x80"), ("í\u{A0}".into(), true));
    }
}
