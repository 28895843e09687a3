//! History in SQLite: one file in the state directory, in WAL mode, written in batches.
//!
//! It keeps what the administrator wants: so many messages of a topic, and none that is older than so
//! long. When the file cannot be written or read as it should, history stops until the next start of the
//! hub, with one complaint for whoever asks; the bus goes on without it.
//!
//! Invariant: what `read` returns was appended, and what is committed together is there together.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rusqlite::{Connection, params};

use super::store::{Kept, Line, Remembered, Store};
use fault::{Fault, Result};
use forgetting::{Aged, Portion, forget};
use rows::{Begin, look};

mod fault;
mod forgetting;
mod rows;
pub mod run;
mod sparse;

/// Messages are committed when so many wait, or the first has waited so long.
pub const BATCH_MAX: usize = 256;
pub const BATCH_MS: u64 = 50;
/// Appended messages that are not handed to SQLite yet: many in a row cost far less than one at a time.
const PENDING_MAX: usize = 64;
/// Between two looks for messages that are too old, and between two portions of them.
pub const SWEEP_MS: u64 = 60_000;
pub const PORTION_MS: u64 = 10;
/// Topics that are looked at for one portion.
const SWEPT_MAX: usize = 256;
/// A file up to this is read as a whole when it is opened, to see whether it is sound.
const CHECKED_BYTES_MAX: i64 = 32 << 20;

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
    file: PathBuf,
    database: Option<Connection>,
    retention: Retention,
    topics: Topics,
    /// The last topic that was looked at for messages that are too old.
    swept: i64,
    /// Appended and not handed over; of `PENDING_MAX` messages there are few topics.
    pending: Vec<Pending>,
    pending_count: usize,
    /// Appended and not committed.
    pub waiting: usize,
    /// How often SQLite was asked for something.
    pub asked: u64,
    complaint: Option<String>,
}

/// What is known of the topics without asking.
#[derive(Default)]
struct Topics {
    numbers: HashMap<(String, String), i64>,
    /// How many messages are kept, where numbers have holes.
    kept: HashMap<i64, u64>,
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

const PRAGMAS: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    PRAGMA busy_timeout = 0;
";

impl Sqlite {
    pub fn open(file: &Path, retention: Retention) -> Sqlite {
        let mut sqlite = Sqlite {
            file: file.to_owned(),
            database: None,
            retention,
            topics: Topics::default(),
            swept: 0,
            pending: Vec::new(),
            pending_count: 0,
            waiting: 0,
            asked: 0,
            complaint: None,
        };
        if retention.messages == 0 {
            return sqlite;
        }
        match prepare(file) {
            Ok(database) => sqlite.database = Some(database),
            Err(fault) => {
                let place = file.display();
                sqlite.complaint = Some(format!(
                    "{place}: {fault}: history is not kept; the bus goes on without it. Move the \
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
            false => Ok(database.execute_batch("COMMIT")?),
        })
        .is_some()
    }

    /// Forgets a portion of what is older than it may be, up to the next commit; true if there may be more.
    pub fn sweep(&mut self, time_ms: u64) -> bool {
        self.hand_over();
        let before_ms = time_ms.saturating_sub(self.retention.keep_ms) as i64;
        let from = self.swept;
        let swept = self.attempt(|database, topics, retention| {
            let sql = "SELECT number, last FROM topics WHERE number > ?1 ORDER BY number LIMIT ?2";
            let mut find = database.prepare_cached(sql)?;
            let aged = |row: &rusqlite::Row<'_>| {
                Ok(Aged {
                    topic: row.get(0)?,
                    last: row.get(1)?,
                    before_ms,
                })
            };
            let found = find.query_map([from, SWEPT_MAX as i64], aged)?;
            let found = found.collect::<rusqlite::Result<Vec<_>>>()?;
            begin(database)?;
            let mut portion = Portion::new();
            for aged in &found {
                forget(database, topics, retention, aged, &mut portion)?;
                if portion.is_used_up() {
                    // There may be more of the same.
                    return Ok(Some(aged.topic - 1));
                }
            }
            let is_all = found.len() < SWEPT_MAX;
            Ok(found.last().map(|it| it.topic).filter(|_| !is_all))
        });
        let more = swept.flatten();
        self.swept = more.unwrap_or(0);
        more.is_some()
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
        work: impl FnOnce(&Connection, &mut Topics, Retention) -> Result<R>,
    ) -> Option<R> {
        let database = self.database.as_ref()?;
        self.asked += 1;
        match work(database, &mut self.topics, self.retention) {
            Ok(done) => Some(done),
            Err(fault) => {
                let place = self.file.display();
                self.complaint = Some(format!(
                    "{place}: {fault}: history is not kept any more; live messages go on. Make \
                     room, or move the file away, and restart the daemon"
                ));
                self.database = None;
                None
            }
        }
    }
}

fn prepare(file: &Path) -> Result<Connection> {
    let database = Connection::open(file)?;
    database.execute_batch(PRAGMAS)?;
    database.execute_batch(rows::SCHEMA)?;
    // One of a release that had a row for each message.
    let sql = "SELECT count(*) FROM pragma_table_info('messages') WHERE name = 'before'";
    if database.query_row(sql, [], |row| row.get::<_, i64>(0))? == 0 {
        database.execute_batch("ALTER TABLE messages ADD COLUMN before BLOB")?;
    }
    let sql = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
    let bytes: i64 = database.query_row(sql, [], |row| row.get(0))?;
    // Of a larger one, what damage there is in messages is found by whoever reads them.
    let check = match bytes <= CHECKED_BYTES_MAX {
        true => "PRAGMA quick_check(1)",
        false => "PRAGMA quick_check(topics)",
    };
    let sound: String = database.query_row(check, [], |row| row.get(0))?;
    match sound.as_str() {
        "ok" => Ok(database),
        _ => Err(Fault::Unsound(sound)),
    }
}

fn number_of(database: &Connection, topics: &mut Topics, line: Line<'_>) -> Result<i64> {
    let name = (line.service.to_owned(), line.topic.to_owned());
    if let Some(number) = topics.numbers.get(&name) {
        return Ok(*number);
    }
    let number = match rows::topic(database, line)? {
        Some((number, _)) => number,
        None => {
            begin(database)?;
            let make = "INSERT INTO topics (service, name, last) VALUES (?1, ?2, 0)";
            let mut make = database.prepare_cached(make)?;
            make.insert(params![line.service, line.topic])?
        }
    };
    topics.numbers.insert(name, number);
    Ok(number)
}

fn begin(database: &Connection) -> Result<()> {
    if database.is_autocommit() {
        database.execute_batch("BEGIN")?;
    }
    Ok(())
}

/// The next messages of one topic.
fn write(
    database: &Connection,
    topics: &mut Topics,
    retention: Retention,
    line: Line<'_>,
    messages: &[Rc<Kept>],
) -> Result<()> {
    let (Some(first), Some(last)) = (messages.first(), messages.last()) else {
        return Ok(());
    };
    let topic = number_of(database, topics, line)?;
    begin(database)?;
    for run in run::runs(messages) {
        rows::put(database, topic, &run)?;
    }
    let aged = Aged {
        topic,
        last: last.sequence as i64,
        before_ms: 0,
    };
    let mark = "UPDATE topics SET last = ?2 WHERE number = ?1";
    database.prepare_cached(mark)?.execute([topic, aged.last])?;
    if retention.holes {
        sparse::keep_count(database, topics, topic, messages.len())?;
    }
    // Not each time: a message more or less is not what an administrator counts.
    let is_time = last.sequence / 64 != (first.sequence - 1) / 64;
    if is_time {
        forget(database, topics, retention, &aged, &mut Portion::new())?;
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
            let Some((number, last)) = rows::topic(database, line)? else {
                return Ok(Remembered::default());
            };
            let name = (line.service.to_owned(), line.topic.to_owned());
            topics.numbers.insert(name, number);
            let mut ids = Vec::new();
            look(database, number, Begin::Latest, |message| {
                if ids.len() >= ids_max {
                    return ControlFlow::Break(());
                }
                ids.push((message.id.into(), message.sequence));
                ControlFlow::Continue(())
            })?;
            ids.reverse();
            Ok(Remembered { last, ids })
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
            oldest(database, number)
        });
        oldest.flatten()
    }

    fn first_of_last(&mut self, line: Line<'_>, count: u64) -> Option<u64> {
        self.hand_over();
        let first = self.attempt(|database, topics, _| {
            let number = number_of(database, topics, line)?;
            let (mut first, mut left) = (None, count);
            look(database, number, Begin::Latest, |message| {
                if left == 0 {
                    return ControlFlow::Break(());
                }
                (first, left) = (Some(message.sequence), left - 1);
                ControlFlow::Continue(())
            })?;
            // Further back than a look goes, each number is taken for a message.
            Ok(match (first, left) {
                (Some(first), 1..) => oldest(database, number)?.max(first.checked_sub(left)),
                _ => first,
            })
        });
        first.flatten()
    }

    fn read(&mut self, line: Line<'_>, from: u64, count: usize) -> Vec<Kept> {
        self.hand_over();
        let rows = self.attempt(|database, topics, _| {
            let number = number_of(database, topics, line)?;
            rows::read(database, number, from, count)
        });
        rows.unwrap_or_default()
    }
}

/// The first number of a topic that is kept.
fn oldest(database: &Connection, topic: i64) -> Result<Option<u64>> {
    let mut oldest = None;
    look(database, topic, Begin::Oldest, |message| {
        oldest = Some(message.sequence);
        ControlFlow::Break(())
    })?;
    Ok(oldest)
}

#[cfg(test)]
mod tests;
