//! What was said in rooms, written down for the administrator: a file for each room and day.
//!
//! Each worker writes what was said in it, once the bus has numbered it; files are opened anew for each
//! piece of writing, so they may be moved away at any time. Private lines never come here. A thread
//! writes, one piece at a time; what waits meanwhile is bounded, and what does not fit is counted and told
//! of in the log.
//!
//! Invariant: lines of one worker are written in the order in which the bus has numbered them.

use std::any::Any;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use polyport_plugin::prelude::*;

use crate::message::{Kind, Said};
use crate::{clock, unix_ms};

/// Bytes that may wait to be written.
const WAITING_BYTES_MAX: usize = 1 << 20;

#[derive(Debug, Default)]
pub(crate) struct Record {
    folder: Option<PathBuf>,
    /// Files and the lines for them, in order.
    waiting: Vec<(PathBuf, String)>,
    waiting_bytes: usize,
    writing: Option<WorkId>,
    lost: u64,
    /// The administrator was told that it cannot be written, and not yet that it can.
    is_broken: bool,
}

impl Record {
    /// An empty name is none.
    pub(crate) fn new(folder: &str) -> Record {
        Record {
            folder: (!folder.is_empty()).then(|| PathBuf::from(folder)),
            ..Record::default()
        }
    }

    pub(crate) fn note(&mut self, cx: &mut Context, room: &str, said: &Said) {
        let Some(folder) = &self.folder else {
            return;
        };
        let time_ms = unix_ms();
        let file = folder.join(room).join(clock::day(time_ms) + ".log");
        let (time, nick, text) = (clock::iso(time_ms), said.nick(), said.text());
        let line = match said.kind {
            Kind::Text => format!("{time} <{nick}> {text}\n"),
            Kind::Action => format!("{time} * {nick} {text}\n"),
        };
        if self.waiting_bytes + line.len() > WAITING_BYTES_MAX {
            self.lost += 1;
            return;
        }
        self.waiting_bytes += line.len();
        match self.waiting.last_mut() {
            Some((last, lines)) if *last == file => *lines += &line,
            _ => self.waiting.push((file, line)),
        }
        self.go_on(cx);
    }

    pub(crate) fn is_writing(&self, work: WorkId) -> bool {
        self.writing == Some(work)
    }

    pub(crate) fn written(&mut self, cx: &mut Context, result: Result<Box<dyn Any + Send>>) {
        self.writing = None;
        let failed = match result.map(|it| it.downcast::<Option<String>>()) {
            Ok(Ok(failed)) => *failed,
            // It panicked, which was logged, or the worker ends.
            _ => None,
        };
        match failed {
            Some(why) if !self.is_broken => {
                self.is_broken = true;
                cx.error(format_args!(
                    "what is said is not written down: {why}; make the folder of the setting record \
                     writable for the daemon's user, or make room"
                ));
            }
            None if self.is_broken => {
                self.is_broken = false;
                cx.info("what is said is written down again");
            }
            _ => {}
        }
        let lost = std::mem::take(&mut self.lost);
        if lost > 0 {
            cx.warning(format_args!(
                "{lost} lines were not written down: the disk is too slow"
            ));
        }
        self.go_on(cx);
    }

    fn go_on(&mut self, cx: &mut Context) {
        if self.writing.is_some() || self.waiting.is_empty() {
            return;
        }
        let pieces = std::mem::take(&mut self.waiting);
        let bytes = std::mem::take(&mut self.waiting_bytes);
        let copies = pieces.clone();
        match cx.work(move || write_all(&copies)) {
            Ok(work) => self.writing = Some(work),
            // All threads are busy: with the next line.
            Err(_) => (self.waiting, self.waiting_bytes) = (pieces, bytes),
        }
    }
}

/// Why the first of them could not be written that could not.
fn write_all(pieces: &[(PathBuf, String)]) -> Option<String> {
    let write = |(file, lines): &(PathBuf, String)| {
        let why = |error: io::Error| format!("{}: {error}", file.display());
        append(file, lines).map_err(why).err()
    };
    // All of them are tried.
    let failures: Vec<String> = pieces.iter().filter_map(write).collect();
    failures.into_iter().next()
}

fn append(file: &Path, lines: &str) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("/"));
    match DirBuilder::new().mode(0o750).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut file = options.append(true).create(true).mode(0o640).open(file)?;
    // One call, so that two workers' lines do not mix.
    file.write_all(lines.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_appended_and_the_first_failure_is_told() {
        let folder = std::env::temp_dir().join(format!("line-chat-record-{}", std::process::id()));
        std::fs::create_dir(&folder).expect("made");
        let file = |room: &str| folder.join(room).join("2026-11-21.log");
        let piece = |room: &str, lines: &str| (file(room), lines.to_owned());
        for lines in ["one\n", "two\n"] {
            assert_eq!(
                write_all(&[piece("lobby", lines), piece("den", lines)]),
                None
            );
        }
        for room in ["lobby", "den"] {
            let written = std::fs::read_to_string(file(room)).expect("written");
            assert_eq!(written, "one\ntwo\n");
        }
        // A folder where the file is to be.
        std::fs::create_dir_all(file("attic")).expect("made");
        let why = write_all(&[piece("attic", "x\n"), piece("lobby", "three\n")]);
        assert!(why.is_some_and(|why| why.contains("attic")));
        let written = std::fs::read_to_string(file("lobby")).expect("written");
        assert_eq!(written, "one\ntwo\nthree\n", "the others are written");
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
