//! Menus and small files that are ready to be sent, and files that are known to be files.
//!
//! What is ready is kept under what it was asked as, together with the stamps of everything that it was
//! made from; whoever takes it out compares these with what is there now. What was made right after a
//! change is not kept, for a further change might leave the same stamp.
//!
//! Invariant: the bytes and the files kept never exceed their limits; the oldest entries go first.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::lookup::Stamp;

/// What one entry costs beyond its key and its menu.
const ENTRY_BYTES: usize = 256;

/// What has changed so shortly before it is read is not kept.
pub(crate) const SETTLED_MS: u64 = 50;
/// A longer file is not kept: sending it costs more than opening it.
pub(crate) const KEPT_FILE_BYTES_MAX: u64 = 16 * 1024;

/// Each file in memory takes a descriptor.
const MEMORY_FILES_MAX: usize = 256;

#[derive(Clone, Debug)]
pub(crate) enum Kept {
    /// The path is a regular file.
    File,
    Ready(Arc<Ready>),
}

#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) content: Content,
    /// Paths of the same tree, and what they were.
    pub(crate) made_from: Vec<(Vec<u8>, Stamp)>,
    /// For the log.
    pub(crate) outcome: &'static str,
}

#[derive(Debug)]
pub(crate) enum Content {
    Bytes(Arc<Vec<u8>>),
    /// A file in memory of so many bytes, which leaves without a copy.
    File(File, u64),
}

impl Content {
    pub(crate) fn length(&self) -> usize {
        match self {
            Content::Bytes(bytes) => bytes.len(),
            // It was made of bytes.
            Content::File(_, length) => *length as usize,
        }
    }
}

pub(crate) struct Cache {
    bytes_max: usize,
    age_max: Duration,
    bytes: usize,
    files: usize,
    entries: HashMap<Vec<u8>, Entry>,
    /// By age; numbers are never used again.
    order: BTreeMap<u64, Vec<u8>>,
    next: u64,
}

struct Entry {
    kept: Kept,
    since: Instant,
    number: u64,
    bytes: usize,
}

impl Kept {
    /// How many it holds in memory.
    fn files(&self) -> usize {
        match self {
            Kept::Ready(ready) => usize::from(matches!(ready.content, Content::File(..))),
            Kept::File => 0,
        }
    }
}

impl Cache {
    pub(crate) fn new(bytes_max: usize, age_max: Duration) -> Cache {
        Cache {
            bytes_max,
            age_max,
            bytes: 0,
            files: 0,
            entries: HashMap::new(),
            order: BTreeMap::new(),
            next: 0,
        }
    }

    /// Whether there is room for one more without one going for it.
    pub(crate) fn takes_files(&self) -> bool {
        self.files < MEMORY_FILES_MAX
    }

    pub(crate) fn kept(&self, key: &[u8], now: Instant) -> Option<Kept> {
        let entry = self.entries.get(key)?;
        let young = now.saturating_duration_since(entry.since) < self.age_max;
        young.then(|| entry.kept.clone())
    }

    /// What had to go for it is the caller's: a long file in memory takes milliseconds to be let go,
    /// and meanwhile nobody else is to wait for the cache.
    #[must_use]
    pub(crate) fn keep(&mut self, key: Vec<u8>, kept: Kept, now: Instant) -> Vec<Kept> {
        let mut gone = Vec::from_iter(self.forget(&key));
        let content = match &kept {
            Kept::File => 0,
            Kept::Ready(ready) => {
                let paths = ready
                    .made_from
                    .iter()
                    .map(|(path, _)| path.len() + ENTRY_BYTES);
                ready.content.length() + paths.sum::<usize>()
            }
        };
        let bytes = 2 * key.len() + content + ENTRY_BYTES;
        if bytes > self.bytes_max {
            return gone;
        }
        let files = kept.files();
        while self.bytes + bytes > self.bytes_max || self.files + files > MEMORY_FILES_MAX {
            let Some(oldest) = self.order.first_key_value().map(|(_, key)| key.clone()) else {
                break;
            };
            gone.extend(self.forget(&oldest));
        }
        let number = self.next;
        self.next += 1;
        self.bytes += bytes;
        self.files += files;
        self.order.insert(number, key.clone());
        let entry = Entry {
            kept,
            since: now,
            number,
            bytes,
        };
        self.entries.insert(key, entry);
        gone
    }

    #[must_use]
    pub(crate) fn forget(&mut self, key: &[u8]) -> Option<Kept> {
        let entry = self.entries.remove(key)?;
        self.order.remove(&entry.number);
        self.bytes -= entry.bytes;
        self.files -= entry.kept.files();
        Some(entry.kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn menu(bytes: usize) -> Kept {
        Kept::Ready(Arc::new(Ready {
            content: Content::Bytes(vec![b'x'; bytes].into()),
            made_from: Vec::new(),
            outcome: "a menu",
        }))
    }

    #[test]
    fn the_oldest_goes_and_the_limit_holds() {
        let start = Instant::now();
        let mut cache = Cache::new(10_000, Duration::from_secs(10));
        for nth in 0..1000_usize {
            let key = nth.to_string().into_bytes();
            let before = cache.entries.len();
            let gone = cache.keep(key.clone(), menu(nth * 7 % 2000), start);
            assert_eq!(cache.entries.len() + gone.len(), before + 1);
            assert!(cache.bytes <= 10_000);
            assert!(cache.kept(&key, start).is_some());
            assert_eq!(cache.entries.len(), cache.order.len());
        }
        assert!(cache.kept(b"1", start).is_none());
        assert!(
            cache
                .keep(b"large".to_vec(), menu(10_000), start)
                .is_empty()
        );
        assert!(cache.kept(b"large", start).is_none());
        let keys: Vec<_> = cache.entries.keys().cloned().collect();
        assert!(keys.iter().all(|key| cache.forget(key).is_some()));
        assert_eq!((cache.bytes, cache.order.len()), (0, 0));
    }

    #[test]
    fn what_is_too_old_is_not_there() {
        let start = Instant::now();
        let mut cache = Cache::new(10_000, Duration::from_secs(10));
        assert!(cache.keep(b"a".to_vec(), Kept::File, start).is_empty());
        assert!(cache.kept(b"a", start + Duration::from_secs(9)).is_some());
        assert!(cache.kept(b"a", start + Duration::from_secs(10)).is_none());
    }

    #[test]
    fn no_more_files_than_allowed_are_held() {
        let start = Instant::now();
        let mut cache = Cache::new(usize::MAX, Duration::from_secs(10));
        for nth in 0..MEMORY_FILES_MAX + 2 {
            let ready = Ready {
                content: Content::File(File::open("/dev/null").expect("Linux has it"), 20_000),
                made_from: Vec::new(),
                outcome: "a menu",
            };
            let key = nth.to_string().into_bytes();
            let gone = cache.keep(key.clone(), Kept::Ready(Arc::new(ready)), start);
            assert_eq!(gone.len(), usize::from(nth >= MEMORY_FILES_MAX));
            assert!(cache.kept(&key, start).is_some());
        }
        assert_eq!(cache.entries.len(), MEMORY_FILES_MAX);
        assert!(cache.kept(b"1", start).is_none() && cache.kept(b"2", start).is_some());
        assert!(cache.keep(b"bytes".to_vec(), menu(100), start).is_empty());
        assert_eq!(cache.entries.len(), MEMORY_FILES_MAX + 1);
    }
}
