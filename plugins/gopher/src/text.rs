//! Text whose lines are changed on the way, for `text = "crlf"` and `text = "rfc1436"`.
//!
//! A file is read in pieces, each on a thread that may wait, so that its length does not matter.
//! Invariant: wherever a piece ends, the bytes that leave are the same.

use std::fs::File;
use std::io;

use crate::lookup::read_at;

/// Bytes of one piece.
const PIECE_BYTES: usize = 64 * 1024;

/// Puts the ends of lines right.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// Doubles dots at the beginning of lines, and ends the text with one.
    dots: bool,
    last: u8,
}

impl Ends {
    /// At the beginning of a text.
    pub fn new(dots: bool) -> Ends {
        Ends { dots, last: b'\n' }
    }

    /// A piece of it.
    pub fn piece(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        for byte in piece {
            if *byte == b'\n' && self.last != b'\r' {
                out.push(b'\r');
            }
            if *byte == b'.' && self.last == b'\n' && self.dots {
                out.push(b'.');
            }
            out.push(*byte);
            self.last = *byte;
        }
    }

    /// Behind the last piece.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        if self.dots {
            if self.last != b'\n' {
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(b".\r\n");
        }
    }
}

/// A file on its way.
#[derive(Debug)]
pub(crate) struct Lines {
    file: File,
    at: u64,
    /// What it had when it was opened; what was added since is not sent.
    length: u64,
    ends: Ends,
}

impl Lines {
    pub(crate) fn new(file: File, length: u64, dots: bool) -> Lines {
        Lines {
            file,
            at: 0,
            length,
            ends: Ends::new(dots),
        }
    }

    /// As it is stored.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// What leaves next, and whether there is more.
    ///
    /// A file that has become shorter is an error: an end that is put right would make a half look whole.
    pub(crate) fn next(&mut self) -> io::Result<(Vec<u8>, bool)> {
        let left = usize::try_from(self.length - self.at).unwrap_or(usize::MAX);
        let mut piece = vec![0; left.min(PIECE_BYTES)];
        let read = read_at(&self.file, &mut piece, self.at)?;
        if read < piece.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += read as u64;
        let mut out = Vec::with_capacity(read + read / 16 + 8);
        self.ends.piece(&piece, &mut out);
        let more = self.at < self.length;
        if !more {
            self.ends.end(&mut out);
        }
        Ok((out, more))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_right_wherever_they_are_cut() {
        for (text, crlf, dots) in [
            ("", "", ".\r\n"),
            ("a", "a", "a\r\n.\r\n"),
            ("a\nb\n", "a\r\nb\r\n", "a\r\nb\r\n.\r\n"),
            ("a\r\nb\r\n", "a\r\nb\r\n", "a\r\nb\r\n.\r\n"),
            (
                ".\n..\na.\n",
                ".\r\n..\r\na.\r\n",
                "..\r\n...\r\na.\r\n.\r\n",
            ),
            ("a\r", "a\r", "a\r\r\n.\r\n"),
        ] {
            for cut in 0..=text.len() {
                for (doubled, expected) in [(false, crlf), (true, dots)] {
                    let mut ends = Ends::new(doubled);
                    let mut out = Vec::new();
                    ends.piece(&text.as_bytes()[..cut], &mut out);
                    ends.piece(&text.as_bytes()[cut..], &mut out);
                    ends.end(&mut out);
                    assert_eq!(String::from_utf8_lossy(&out), expected, "{text:?} at {cut}");
                }
            }
        }
    }
}
