//! What is said to whoever started this process: answers on standard output, complaints on standard
//! error.
//!
//! `println!` panics when the reader has gone, so neither it nor `eprintln!` is used anywhere in the
//! daemon (`lib.rs` denies them). The daemon's log is another matter, and `log`'s business.
//!
//! Invariant: a reader who leaves early, as `head` does, changes no exit code; an answer that could
//! not be written down does.

use std::io::{self, ErrorKind, Write};

use crate::exit;

/// An answer, with its line ends; the code is returned for the exit, if the answer got out.
pub fn say(code: u8, text: &str) -> u8 {
    let mut output = io::stdout().lock();
    let written = output.write_all(text.as_bytes());
    match written.and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            complain(exit::FAILED, &format!("standard output: {error}"))
        }
        Ok(()) | Err(_) => code,
    }
}

/// A problem; the code is returned for the exit.
pub fn complain(code: u8, text: &str) -> u8 {
    let lines: String = text
        .lines()
        .map(|line| format!("polyport: {line}\n"))
        .collect();
    // There is nowhere to say that this could not be said.
    let _ = io::stderr().write_all(lines.as_bytes());
    code
}
