//! From bytes to lines: a line ends with LF, CR LF or CR NUL, and at the end of the input.
//!
//! No meaning and no character set here. Invariant: at most `bytes_max` bytes of a line are kept; of a
//! longer one nothing is, and it is told once, at its end.

use std::borrow::Cow;

/// The half of a line that has come so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Half {
    pub(crate) bytes: Vec<u8>,
    /// It has become too long, and the rest of it is not kept.
    pub(crate) too_long: bool,
    /// A carriage return has come that the next byte makes an end of line, or not.
    pub(crate) after_return: bool,
}

/// A line, without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    Whole(Cow<'a, [u8]>),
    TooLong,
    /// Control-D with nothing before it.
    End,
}

const CONTROL_D: u8 = 4;
/// Bytes that are looked at together.
const PIECE_BYTES: usize = 16;

impl Half {
    pub(crate) fn byte(&mut self, byte: u8, bytes_max: usize) -> Option<Line<'static>> {
        let after_return = std::mem::replace(&mut self.after_return, byte == b'\r');
        match byte {
            b'\r' => None,
            b'\n' => Some(self.end()),
            0 if after_return => Some(self.end()),
            CONTROL_D if self.bytes.is_empty() && !self.too_long => Some(Line::End),
            _ if self.too_long => None,
            _ if self.bytes.len() >= bytes_max => {
                self.too_long = true;
                self.bytes = Vec::new();
                None
            }
            _ => {
                self.bytes.push(byte);
                None
            }
        }
    }

    /// How many of these bytes mean nothing but themselves, wherever they stand: no end of a line, no
    /// control, and not what telnet's orders begin with.
    pub(crate) fn plain(bytes: &[u8]) -> usize {
        let plain = |byte: &u8| matches!(byte, b' '..=0xFE);
        // Whole pieces first: the compiler looks at all bytes of one at a time.
        let is_plain =
            |piece: &&[u8; PIECE_BYTES]| piece.iter().fold(true, |so, it| so & plain(it));
        let (pieces, _) = bytes.as_chunks();
        let at = PIECE_BYTES * pieces.iter().take_while(is_plain).count();
        let rest = &bytes[at..];
        at + rest.iter().position(|it| !plain(it)).unwrap_or(rest.len())
    }

    /// A line that lies in these bytes whole, of which the first so many are plain; and how many bytes it
    /// is with its end.
    pub(crate) fn whole<'a>(
        &self,
        bytes: &'a [u8],
        plain: usize,
        bytes_max: usize,
    ) -> Option<(Line<'a>, usize)> {
        let end = match bytes[plain..] {
            [b'\n', ..] => 1,
            [b'\r', b'\n', ..] => 2,
            _ => return None,
        };
        let begins = self.bytes.is_empty() && !self.too_long && plain <= bytes_max;
        let line = Line::Whole(Cow::Borrowed(&bytes[..plain]));
        (begins && plain > 0).then_some((line, plain + end))
    }

    /// The same as [`byte`](Half::byte) of each of them, which are plain.
    pub(crate) fn run(&mut self, bytes: &[u8], bytes_max: usize) {
        self.after_return = false;
        if self.too_long {
            return;
        }
        if self.bytes.len() + bytes.len() > bytes_max {
            self.too_long = true;
            self.bytes = Vec::new();
        } else {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// The input has ended: what has come so far is a line, if there is any.
    pub(crate) fn finish(&mut self) -> Option<Line<'static>> {
        (self.too_long || !self.bytes.is_empty()).then(|| self.end())
    }

    /// Takes back the last character, which may have several bytes.
    pub(crate) fn erase_character(&mut self) {
        while let Some(byte) = self.bytes.pop() {
            if byte & 0xC0 != 0x80 {
                return;
            }
        }
    }

    /// Takes back the line.
    pub(crate) fn erase(&mut self) {
        *self = Half::default();
    }

    fn end(&mut self) -> Line<'static> {
        // What the next line needs is allocated when it comes: most sessions are idle.
        let Half {
            bytes, too_long, ..
        } = std::mem::take(self);
        if too_long {
            Line::TooLong
        } else {
            Line::Whole(Cow::Owned(bytes))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &[u8]) -> Vec<Line<'_>> {
        let mut half = Half::default();
        let mut lines: Vec<Line<'_>> = input.iter().filter_map(|it| half.byte(*it, 8)).collect();
        lines.extend(half.finish());
        lines
    }

    fn lines_by_runs(mut input: &[u8]) -> Vec<Line<'_>> {
        let mut half = Half::default();
        let mut lines = Vec::new();
        while let [first, ..] = input {
            let plain = Half::plain(input);
            if let Some((line, bytes)) = half.whole(input, plain, 8) {
                half.after_return = false;
                lines.push(line);
                input = &input[bytes..];
                continue;
            }
            if plain == 0 {
                lines.extend(half.byte(*first, 8));
            } else {
                half.run(&input[..plain], 8);
            }
            input = &input[plain.max(1)..];
        }
        lines.extend(half.finish());
        lines
    }

    #[test]
    fn lines_end_in_three_ways_and_at_the_end() {
        let whole = |text: &'static str| Line::Whole(text.as_bytes().into());
        for (input, expected) in [
            (
                &b"a\nb\r\nc\r\0d"[..],
                &[whole("a"), whole("b"), whole("c"), whole("d")][..],
            ),
            (b"\n\r\n", &[whole(""), whole("")]),
            (b"a\rb\n", &[whole("ab")]),
            (b"a\0b\n", &[whole("a\0b")]),
            (b"12345678\n", &[whole("12345678")]),
            (b"123456789\nx\n", &[Line::TooLong, whole("x")]),
            (b"123456789", &[Line::TooLong]),
            (b"a\r12345678\n", &[Line::TooLong]),
            (
                b"123456789\r\n12345678\r\0",
                &[Line::TooLong, whole("12345678")],
            ),
            (b"\x04", &[Line::End]),
            (b"a\x04\n", &[whole("a\x04")]),
            (b"", &[]),
        ] {
            assert_eq!(lines(input), expected, "{input:?}");
            assert_eq!(lines_by_runs(input), expected, "{input:?} in runs");
        }
    }

    #[test]
    fn a_line_without_end_takes_no_memory() {
        let mut half = Half::default();
        for _ in 0..1_000_000 {
            assert_eq!(half.byte(b'x', 1024), None);
        }
        assert_eq!(half.bytes.capacity(), 0);
        assert_eq!(half.byte(b'\n', 1024), Some(Line::TooLong));
    }

    #[test]
    fn what_was_typed_can_be_taken_back() {
        let mut half = Half::default();
        for byte in "né".bytes() {
            half.byte(byte, 8);
        }
        half.erase_character();
        assert_eq!(half.bytes, b"n");
        half.erase();
        half.erase_character();
        assert_eq!(half.finish(), None);
    }
}
