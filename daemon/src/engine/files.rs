//! Ranges of files among the output of a connection: how they queue between bytes, and what is to be
//! sent of them next.
//!
//! What a file is, the engine does not know: it holds what a protocol handed in, and lets go of it
//! once the range has left or the connection is over. The worker looks into it, says which part it
//! found in memory, and sends that part; while the rest is being read the connection waits alone.
//!
//! Invariant: the range in front is the only one of which anything was found in memory or has left, but for
//! files that are nowhere else: they need no looking into.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

/// One session has no more ranges queued than this; another is refused as full.
pub const FILE_RANGES_MAX: usize = 32;

/// A file that a protocol handed in. It is let go of with the last one that holds it.
#[derive(Clone)]
pub struct HeldFile {
    file: Arc<dyn Any + Send + Sync>,
    of_memory: bool,
}

impl HeldFile {
    pub fn new<F: Any + Send + Sync>(file: F) -> HeldFile {
        HeldFile {
            file: Arc::new(file),
            of_memory: false,
        }
    }

    /// One that is nowhere but in memory, so that all of it is there.
    pub fn of_memory<F: Any + Send + Sync>(file: F) -> HeldFile {
        HeldFile {
            of_memory: true,
            ..HeldFile::new(file)
        }
    }

    /// What was handed in, if that is what it was.
    pub fn as_kind<F: Any>(&self) -> Option<&F> {
        self.file.downcast_ref()
    }
}

impl PartialEq for HeldFile {
    fn eq(&self, other: &HeldFile) -> bool {
        Arc::ptr_eq(&self.file, &other.file)
    }
}

impl Eq for HeldFile {}

impl fmt::Debug for HeldFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeldFile")
    }
}

/// Bytes of a file, as a protocol asks for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRange {
    pub file: HeldFile,
    pub offset: u64,
    /// At least 1.
    pub length: u64,
}

/// What is to be sent of a file next.
#[derive(Debug)]
pub struct FilePiece<'a> {
    pub file: &'a HeldFile,
    pub offset: u64,
    /// Of the range.
    pub left: u64,
    /// Of those, so many from the front are known to be in memory.
    pub ready: u64,
    /// Nothing of the range has left or was found in memory yet.
    pub untried: bool,
    /// So many may be sent now; at least 1.
    pub room: usize,
}

#[derive(Debug)]
struct Queued {
    /// Bytes that leave between the range in front of this one and this one.
    before: usize,
    range: FileRange,
    ready: u64,
    untried: bool,
}

/// The ranges of one connection; there is at least one.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    queue: VecDeque<Queued>,
    left: u64,
    /// A thread reads the part that comes next.
    awaited: bool,
}

impl Ranges {
    /// Behind all that is queued, which is so many bytes beside files.
    pub(super) fn push(&mut self, range: FileRange, bytes_queued: usize) {
        let between: usize = self.queue.iter().map(|queued| queued.before).sum();
        self.left += range.length;
        let of_memory = range.file.of_memory;
        self.queue.push_back(Queued {
            before: bytes_queued - between,
            ready: if of_memory { range.length } else { 0 },
            untried: !of_memory,
            range,
        });
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// What is left of all of them.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    pub(super) fn is_awaited(&self) -> bool {
        self.awaited
    }

    /// Bytes that leave before the first range does.
    pub(super) fn bytes_before(&self) -> usize {
        self.queue.front().map_or(0, |queued| queued.before)
    }

    /// So many of these have left.
    pub(super) fn bytes_left(&mut self, bytes: usize) {
        if let Some(front) = self.queue.front_mut() {
            front.before -= bytes;
        }
    }

    /// What is next, if it is neither bytes nor waited for.
    pub(super) fn piece(&self, room: usize) -> Option<FilePiece<'_>> {
        let front = self.queue.front()?;
        if front.before > 0 || self.awaited || room == 0 {
            return None;
        }
        Some(FilePiece {
            file: &front.range.file,
            offset: front.range.offset,
            left: front.range.length,
            ready: front.ready,
            untried: front.untried,
            room,
        })
    }

    /// A thread reads what comes next; until then nothing is sent.
    pub(super) fn wait(&mut self) {
        self.awaited = true;
    }

    pub(super) fn found(&mut self, ready: u64) {
        self.awaited = false;
        if let Some(front) = self.queue.front_mut() {
            (front.ready, front.untried) = (ready.min(front.range.length), false);
        }
    }

    pub(super) fn sent(&mut self, bytes: u64) {
        let Some(front) = self.queue.front_mut() else {
            return;
        };
        debug_assert!(bytes <= front.range.length, "no more than was named");
        front.range.offset += bytes;
        front.range.length -= bytes;
        front.ready = front.ready.saturating_sub(bytes);
        self.left -= bytes;
        if front.range.length == 0 {
            self.queue.pop_front();
        }
    }
}
