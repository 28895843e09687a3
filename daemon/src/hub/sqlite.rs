//! History in SQLite: one file in the state directory, in WAL mode, written in batches.
//!
//! It keeps what the administrator wants: so many messages of a topic, and none that is older than so
//! long. When the file cannot be written or read as it should, history stops until the next start of the
//! hub, with one complaint for whoever asks; the bus goes on without it.
//!
//! Invariant: what `read` returns was appended, and what is committed together is there together.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::rc::Rc;

use rusqlite::{Connection, OptionalExtension, params};

use super::store::{Kept, Line, Remembered, Store};
use run::{COLUMNS, Packed, Run, backwards, messages, runs};

mod run;
mod sparse;

/// Messages are committed when so many wait, or the first has waited so long.
pub const BATCH_MAX: usize = 256;
pub const BATCH_MS: u64 = 50;
/// Appended messages that are not handed to SQLite yet: many in a row cost far less than one at a time.
const PENDING_MAX: usize = 64;
/// Between two looks for messages that are too old.
pub const SWEEP_MS: u64 = 60_000;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Messages of one topic; none at all with 0.
    pub messages: u64,
    pub keep_ms: u64,
    /// Numbers of a topic have holes.
    pub holes: bool,
}

pub struct Sqlite {
    database: Option<Connection>,
    retention: Retention,
    topics: HashMap<(String, String), i64>,
    /// Appended and not handed over; of `PENDING_MAX` messages there are few topics.
    pending: Vec<Pending>,
    pending_count: usize,
    /// Appended and not committed.
    pub waiting: usize,
    complaint: Option<String>,
}

/// Messages of a topic that are not handed over yet.
struct Pending {
    service: String,
    topic: String,
    messages: Vec<Rc<Kept>>,
}

impl Pending {
    fn line(&self) -> Line<'_> {
        Line {
            service: &self.service,
            topic: &self.topic,
        }
    }
}

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    PRAGMA busy_timeout = 0;
    CREATE TABLE IF NOT EXISTS topics (
        number INTEGER PRIMARY KEY,
        service TEXT NOT NULL,
        name TEXT NOT NULL,
        last INTEGER NOT NULL,
        UNIQUE (service, name)
    );
    CREATE TABLE IF NOT EXISTS messages (
        topic INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        time_ms INTEGER NOT NULL,
        id BLOB NOT NULL,
        bytes BLOB NOT NULL,
        before BLOB,
        PRIMARY KEY (topic, sequence)
    ) WITHOUT ROWID;
    DROP INDEX IF EXISTS messages_by_time;
";

impl Sqlite {
    pub fn open(file: &Path, retention: Retention) -> Sqlite {
        let mut sqlite = Sqlite {
            database: None,
            retention,
            topics: HashMap::new(),
            pending: Vec::new(),
            pending_count: 0,
            waiting: 0,
            complaint: None,
        };
        if retention.messages == 0 {
            return sqlite;
        }
        match prepare(file) {
            Ok(database) => sqlite.database = Some(database),
            Err(error) => {
                let place = file.display();
                sqlite.complaint = Some(format!(
                    "{place}: {error}: history is not kept; the bus goes on without it. Move the \
                     file away, or make room, and restart the daemon"
                ));
            }
        }
        sqlite
    }

    /// What went wrong since last asked.
    pub fn take_complaint(&mut self) -> Option<String> {
        self.complaint.take()
    }

    /// Makes what was appended safe; false if nothing is.
    pub fn commit(&mut self) -> bool {
        self.hand_over();
        self.waiting = 0;
        self.attempt(|database, _, _| match database.is_autocommit() {
            true => Ok(()),
            false => database.execute_batch("COMMIT"),
        })
        .is_some()
    }

    /// Forgets what is older than it may be.
    pub fn sweep(&mut self, time_ms: u64) {
        self.hand_over();
        let before = time_ms.saturating_sub(self.retention.keep_ms) as i64;
        self.attempt(|database, _, retention| {
            let mut all = database.prepare_cached("SELECT number FROM topics")?;
            let numbers = all.query_map([], |row| row.get::<_, i64>(0))?;
            // Old ones are at the beginning of a topic, so each is looked at as far as they go.
            let first = "SELECT sequence FROM messages WHERE topic = ?1 \
                         AND (time_ms >= ?2 OR time_ms = 0) ORDER BY sequence LIMIT 1";
            let mut first = database.prepare_cached(first)?;
            let cut = "DELETE FROM messages WHERE topic = ?1 AND sequence < ?2";
            let mut cut = database.prepare_cached(cut)?;
            for number in numbers.collect::<rusqlite::Result<Vec<_>>>()? {
                let kept = first.query_row([number, before], |row| row.get::<_, i64>(0));
                let kept = kept.optional()?.unwrap_or(i64::MAX);
                if retention.holes {
                    sparse::note(database, number, kept)?;
                }
                cut.execute([number, kept])?;
            }
            Ok(())
        });
    }

    /// What was appended goes to SQLite, a topic after the other.
    fn hand_over(&mut self) {
        if std::mem::take(&mut self.pending_count) == 0 {
            return;
        }
        let pending = std::mem::take(&mut self.pending);
        self.attempt(|database, topics, retention| {
            let mut all = pending.iter();
            all.try_for_each(|it| write(database, topics, retention, it.line(), &it.messages))
        });
    }

    /// One piece of work; the first failure ends history.
    fn attempt<R>(
        &mut self,
        work: impl FnOnce(
            &Connection,
            &mut HashMap<(String, String), i64>,
            Retention,
        ) -> rusqlite::Result<R>,
    ) -> Option<R> {
        let database = self.database.as_ref()?;
        match work(database, &mut self.topics, self.retention) {
            Ok(done) => Some(done),
            Err(error) => {
                self.complaint = Some(format!(
                    "history is not kept any more: {error}; live messages go on. Make room, or move \
                     the database in state_dir/bus away, and restart the daemon"
                ));
                self.database = None;
                None
            }
        }
    }
}

fn prepare(file: &Path) -> rusqlite::Result<Connection> {
    let database = Connection::open(file)?;
    database.execute_batch(SCHEMA)?;
    // One of a release that had a row for each message.
    let sql = "SELECT count(*) FROM pragma_table_info('messages') WHERE name = 'before'";
    if database.query_row(sql, [], |row| row.get::<_, i64>(0))? == 0 {
        database.execute_batch("ALTER TABLE messages ADD COLUMN before BLOB")?;
    }
    let sound: String = database.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    match sound.as_str() {
        "ok" => Ok(database),
        _ => Err(rusqlite::Error::InvalidColumnName(sound)),
    }
}

fn number_of(
    database: &Connection,
    topics: &mut HashMap<(String, String), i64>,
    line: Line<'_>,
) -> rusqlite::Result<i64> {
    let name = (line.service.to_owned(), line.topic.to_owned());
    if let Some(number) = topics.get(&name) {
        return Ok(*number);
    }
    let find = "SELECT number FROM topics WHERE service = ?1 AND name = ?2";
    let mut find = database.prepare_cached(find)?;
    let found = find.query_row(params![line.service, line.topic], |row| row.get(0));
    let number = match found.optional()? {
        Some(number) => number,
        None => {
            begin(database)?;
            let make = "INSERT INTO topics (service, name, last) VALUES (?1, ?2, 0)";
            let mut make = database.prepare_cached(make)?;
            make.insert(params![line.service, line.topic])?
        }
    };
    topics.insert(name, number);
    Ok(number)
}

fn begin(database: &Connection) -> rusqlite::Result<()> {
    match database.is_autocommit() {
        true => database.execute_batch("BEGIN"),
        false => Ok(()),
    }
}

/// The next messages of one topic.
fn write(
    database: &Connection,
    topics: &mut HashMap<(String, String), i64>,
    retention: Retention,
    line: Line<'_>,
    messages: &[Rc<Kept>],
) -> rusqlite::Result<()> {
    let (Some(first), Some(last)) = (messages.first(), messages.last()) else {
        return Ok(());
    };
    let number = number_of(database, topics, line)?;
    begin(database)?;
    let put = "INSERT OR IGNORE INTO messages (topic, sequence, time_ms, id, bytes, before) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let mut put = database.prepare_cached(put)?;
    for Run { last, before } in runs(messages) {
        let (sequence, time) = (last.sequence as i64, last.time_ms as i64);
        put.execute(params![
            number,
            sequence,
            time,
            &*last.id,
            &*last.bytes,
            before
        ])?;
    }
    let sequence = last.sequence as i64;
    let mark = "UPDATE topics SET last = ?2 WHERE number = ?1";
    database
        .prepare_cached(mark)?
        .execute(params![number, sequence])?;
    // Not each time: a message more or less is not what an administrator counts.
    let is_time = last.sequence / 64 != (first.sequence - 1) / 64;
    if is_time && retention.holes {
        sparse::cut(database, number, retention)?;
    } else if is_time {
        let cut = "DELETE FROM messages WHERE topic = ?1 AND sequence <= ?2";
        let before = sequence.saturating_sub(retention.messages as i64);
        database
            .prepare_cached(cut)?
            .execute(params![number, before])?;
    }
    Ok(())
}

impl Store for Sqlite {
    fn keeps(&self) -> bool {
        self.database.is_some()
    }

    fn recall(&mut self, line: Line<'_>, ids_max: usize) -> Remembered {
        self.hand_over();
        let recalled = self.attempt(|database, topics, _| {
            let find = "SELECT number, last FROM topics WHERE service = ?1 AND name = ?2";
            let mut find = database.prepare_cached(find)?;
            let found = find.query_row(params![line.service, line.topic], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
            });
            let Some((number, last)) = found.optional()? else {
                return Ok(Remembered::default());
            };
            topics.insert((line.service.to_owned(), line.topic.to_owned()), number);
            let mut ids = Vec::new();
            backwards(database, number, |message| {
                if ids.len() >= ids_max {
                    return ControlFlow::Break(());
                }
                ids.push((message.id.into(), message.sequence));
                ControlFlow::Continue(())
            })?;
            ids.reverse();
            Ok(Remembered {
                last: last as u64,
                ids,
            })
        });
        recalled.unwrap_or_default()
    }

    fn append(&mut self, line: Line<'_>, message: &Rc<Kept>) {
        if self.database.is_none() {
            return;
        }
        // Most likely it goes where the one before it went.
        match self.pending.iter_mut().rfind(|it| it.line() == line) {
            Some(pending) => pending.messages.push(Rc::clone(message)),
            None => self.pending.push(Pending {
                service: line.service.to_owned(),
                topic: line.topic.to_owned(),
                messages: vec![Rc::clone(message)],
            }),
        }
        self.waiting += 1;
        self.pending_count += 1;
        if self.pending_count >= PENDING_MAX {
            self.hand_over();
        }
    }

    fn given_up(&mut self, line: Line<'_>) -> u64 {
        self.highest_given_up(line)
    }

    fn oldest(&mut self, line: Line<'_>) -> Option<u64> {
        self.hand_over();
        let oldest = self.attempt(|database, topics, _| {
            let number = number_of(database, topics, line)?;
            let sql = format!(
                "SELECT {COLUMNS} FROM messages WHERE topic = ?1 ORDER BY sequence LIMIT 1"
            );
            let mut find = database.prepare_cached(&sql)?;
            find.query_row([number], |row| Ok(messages(row)?[0].sequence))
                .optional()
        });
        oldest.flatten()
    }

    fn first_of_last(&mut self, line: Line<'_>, count: u64) -> Option<u64> {
        self.hand_over();
        let first = self.attempt(|database, topics, _| {
            let number = number_of(database, topics, line)?;
            let (mut first, mut left) = (None, count);
            backwards(database, number, |message| {
                if left == 0 {
                    return ControlFlow::Break(());
                }
                (first, left) = (Some(message.sequence), left - 1);
                ControlFlow::Continue(())
            })?;
            Ok(first)
        });
        first.flatten()
    }

    fn read(&mut self, line: Line<'_>, from: u64, count: usize) -> Vec<Kept> {
        self.hand_over();
        let rows = self.attempt(|database, topics, _| {
            let number = number_of(database, topics, line)?;
            // At least one message of each row is wanted.
            let sql = format!(
                "SELECT {COLUMNS} FROM messages WHERE topic = ?1 AND sequence >= ?2 \
                 ORDER BY sequence LIMIT ?3"
            );
            let mut read = database.prepare_cached(&sql)?;
            let first = i64::try_from(from).unwrap_or(i64::MAX);
            let mut rows = read.query(params![number, first, count as i64])?;
            let mut kept = Vec::new();
            while kept.len() < count
                && let Some(row) = rows.next()?
            {
                let found = messages(row)?;
                let wanted = found.iter().filter(|it| it.sequence >= from);
                kept.extend(wanted.take(count - kept.len()).map(Packed::unpacked));
            }
            Ok(kept)
        });
        rows.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
