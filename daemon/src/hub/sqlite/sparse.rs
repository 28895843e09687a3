//! History whose numbers have holes: a copy of a stream that numbers all topics of a service together.
//!
//! Between two messages of a topic lie the numbers of others, so what was given up cannot be told from
//! what was never there by the numbers alone: it is written down.
//!
//! Invariant: of a topic, no message at or below its `given_up` is kept, and every one above that was
//! appended is.

use rusqlite::{Connection, OptionalExtension};

use super::fault::Result;
use super::rows::count;
use super::{Sqlite, Topics, number_of};
use crate::hub::store::Line;

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS given_up (
    topic INTEGER PRIMARY KEY,
    sequence INTEGER NOT NULL
)";

impl Sqlite {
    /// It is to hold such a copy.
    pub fn with_holes(mut self) -> Sqlite {
        self.retention.holes = true;
        self.attempt(|database, _, _| Ok(database.execute_batch(SCHEMA)?));
        self
    }

    /// The last number of all topics of a service, 0 if there is none.
    pub fn last_of(&mut self, service: &str) -> u64 {
        self.hand_over();
        let last = self.attempt(|database, _, _| {
            let sql = "SELECT max(last) FROM topics WHERE service = ?1";
            Ok(database.query_row(sql, [service], |row| row.get::<_, Option<i64>>(0))?)
        });
        last.flatten().map_or(0, |last| last as u64)
    }

    pub(super) fn highest_given_up(&mut self, line: Line<'_>) -> u64 {
        if !self.retention.holes {
            return 0;
        }
        self.hand_over();
        let highest = self.attempt(|database, topics, _| {
            let number = number_of(database, topics, line)?;
            let sql = "SELECT sequence FROM given_up WHERE topic = ?1";
            let mut find = database.prepare_cached(sql)?;
            let found = find.query_row([number], |row| row.get::<_, i64>(0));
            Ok(found.optional()?)
        });
        highest.flatten().map_or(0, |sequence| sequence as u64)
    }
}

/// How many messages of a topic are kept, now that it has so many more; they are counted once.
pub(super) fn keep_count(
    database: &Connection,
    topics: &mut Topics,
    topic: i64,
    more: usize,
) -> Result<()> {
    match topics.kept.get_mut(&topic) {
        Some(kept) => *kept += more as u64,
        None => {
            topics.kept.insert(topic, count(database, topic)?);
        }
    }
    Ok(())
}

/// Writes down that this is the highest number that is given up.
pub(super) fn note(database: &Connection, topic: i64, sequence: i64) -> Result<()> {
    let note = "INSERT OR REPLACE INTO given_up (topic, sequence) VALUES (?1, ?2)";
    database.prepare_cached(note)?.execute([topic, sequence])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::hub::sqlite::Retention;
    use crate::hub::store::{Kept, Store};

    const LINE: Line<'_> = Line {
        service: "chat",
        topic: "room",
    };

    fn append(sqlite: &mut Sqlite, topic: &str, sequence: u64, time_ms: u64) {
        let message = Kept {
            sequence,
            time_ms,
            id: Default::default(),
            bytes: Box::default(),
        };
        let line = Line { topic, ..LINE };
        sqlite.append(line, &Rc::new(message));
        // A row for each of them.
        assert!(sqlite.commit());
    }

    #[test]
    fn a_topic_keeps_its_messages_however_far_apart_and_says_what_it_gave_up() {
        let name = format!("polyport-sparse-{}.sqlite", std::process::id());
        let file = std::env::temp_dir().join(name);
        let retention = Retention {
            messages: 10,
            keep_ms: 1_000,
            holes: false,
        };
        let mut sqlite = Sqlite::open(&file, retention).with_holes();
        assert_eq!(sqlite.last_of("chat"), 0);
        for nth in 1..=12 {
            append(&mut sqlite, "room", nth * 64_000, 5_000);
            append(&mut sqlite, "other", nth * 64_000 + 1, 5_000);
        }
        assert_eq!(sqlite.oldest(LINE), Some(3 * 64_000), "ten are kept");
        assert_eq!(sqlite.given_up(LINE), 2 * 64_000);
        assert_eq!(sqlite.last_of("chat"), 12 * 64_000 + 1);
        append(&mut sqlite, "room", 13 * 64_000, 9_000);
        sqlite.sweep(7_000);
        assert_eq!(sqlite.oldest(LINE), Some(13 * 64_000));
        assert_eq!(sqlite.given_up(LINE), 12 * 64_000);
        drop(sqlite);
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{end}", file.display()));
        }
    }
}
