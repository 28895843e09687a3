//! The runs of a topic in their tables: how they are put, and how they are read.
//!
//! SQLite comes to a column by way of all that lies before it in its row, and compares keys of a table
//! without rowids by reading whole rows. So a row of `runs` is small, with the numbers and ids of its
//! messages, and the messages lie in `bodies`, where only who wants them looks. In `messages` lies what
//! hubs of before have written, each row a run with its last message in columns: whoever looks there reads
//! all of it, and does not look further than the allowance goes.
//!
//! Invariant: of a row of `runs` there is one of `bodies`.

use std::ops::ControlFlow;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::fault::{Fault, Result};
use super::run::{Packed, Run, unpack, unpack_with};
use crate::hub::store::{Kept, Line};

/// What one look for numbers and ids may read.
const LOOK_BYTES_MAX: usize = 4 << 20;
/// What is read at once of messages that somebody has missed, but for one run.
const READ_BYTES_MAX: usize = 256 * 1024;

pub(super) const SCHEMA: &str = "
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
    CREATE TABLE IF NOT EXISTS runs (
        topic INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        time_ms INTEGER NOT NULL,
        count INTEGER NOT NULL,
        length INTEGER NOT NULL,
        heads BLOB NOT NULL,
        body INTEGER NOT NULL,
        PRIMARY KEY (topic, sequence)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS bodies (
        number INTEGER PRIMARY KEY,
        packed BLOB NOT NULL
    );
";

pub(super) fn put(database: &Connection, topic: i64, run: &Run<'_>) -> Result<()> {
    let put = "INSERT INTO bodies (packed) VALUES (?1)";
    let body = database.prepare_cached(put)?.insert([&run.packed])?;
    let put = "INSERT OR IGNORE INTO runs (topic, sequence, time_ms, count, length, heads, body) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let values = params![
        topic,
        run.last.sequence as i64,
        run.last.time_ms as i64,
        run.count as i64,
        run.packed.len() as i64,
        run.heads,
        body
    ];
    if database.prepare_cached(put)?.execute(values)? == 0 {
        let cut = "DELETE FROM bodies WHERE number = ?1";
        database.prepare_cached(cut)?.execute([body])?;
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    Oldest,
    Latest,
}

/// Looks at a topic's messages, without their bytes, one after the other until it is told to stop, or the
/// allowance is used up.
pub(super) fn look(
    database: &Connection,
    topic: i64,
    begin: Begin,
    mut look: impl FnMut(&Packed<'_>) -> ControlFlow<()>,
) -> Result<()> {
    let order = match begin {
        Begin::Oldest => "ASC",
        Begin::Latest => "DESC",
    };
    let sql = format!(
        "SELECT sequence, heads, NULL, NULL, length(heads) FROM runs WHERE topic = ?1 \
         UNION ALL \
         SELECT sequence, before, time_ms, id, length(bytes) + ifnull(length(before), 0) \
         FROM messages WHERE topic = ?1 ORDER BY 1 {order}"
    );
    let mut find = database.prepare_cached(&sql)?;
    let mut rows = find.query([topic])?;
    let mut allowance = LOOK_BYTES_MAX;
    while let Some(row) = rows.next()? {
        let Some(left) = allowance.checked_sub(row.get(4)?) else {
            break;
        };
        allowance = left;
        let mut messages = messages(topic, row, None)?;
        if begin == Begin::Latest {
            messages.reverse();
        }
        if messages.iter().any(|it| look(it).is_break()) {
            break;
        }
    }
    Ok(())
}

/// The messages of a topic from this number on, at most so many.
pub(super) fn read(
    database: &Connection,
    topic: i64,
    from: u64,
    count: usize,
) -> Result<Vec<Kept>> {
    // At least one message of each row is wanted.
    let sql = "SELECT sequence, packed, NULL, NULL, NULL FROM runs LEFT JOIN bodies ON number = body \
               WHERE topic = ?1 AND sequence >= ?2 \
               UNION ALL \
               SELECT sequence, before, time_ms, id, bytes FROM messages \
               WHERE topic = ?1 AND sequence >= ?2 ORDER BY 1 LIMIT ?3";
    let mut find = database.prepare_cached(sql)?;
    let first = i64::try_from(from).unwrap_or(i64::MAX);
    let mut rows = find.query(params![topic, first, count as i64])?;
    let (mut kept, mut bytes, mut next) = (Vec::new(), 0, from);
    while kept.len() < count
        && bytes < READ_BYTES_MAX
        && let Some(row) = rows.next()?
    {
        let left = count - kept.len();
        let messages = messages(topic, row, Some(4))?;
        for message in messages.iter().filter(|it| it.sequence >= next).take(left) {
            bytes += message.bytes.len();
            kept.push(message.unpacked());
        }
        next = kept.last().map_or(next, |it: &Kept| it.sequence + 1);
    }
    Ok(kept)
}

/// All messages of a row, the oldest first: what is packed, and its last one if that has columns.
fn messages<'a>(topic: i64, row: &'a Row<'_>, bytes: Option<usize>) -> Result<Vec<Packed<'a>>> {
    let sequence = row.get(0)?;
    let number = u64::try_from(sequence).unwrap_or(0);
    let packed = blob(row, 1)?;
    let messages = match row.get::<_, Option<i64>>(2)? {
        None => unpack(packed),
        Some(time_ms) => {
            let last = Packed {
                sequence: number,
                time_ms: time_ms as u64,
                id: blob(row, 3)?,
                bytes: bytes.map_or(Ok(&[][..]), |column| blob(row, column))?,
            };
            unpack_with(packed, Some(last))
        }
    };
    let is_last = |all: &Vec<Packed<'_>>| all.last().is_some_and(|it| it.sequence == number);
    let damaged = Fault::Row { topic, sequence };
    messages.filter(is_last).ok_or(damaged)
}

fn blob<'a>(row: &'a Row<'_>, column: usize) -> Result<&'a [u8]> {
    let value = row.get_ref(column)?.as_blob_or_null();
    Ok(value.map_err(rusqlite::Error::from)?.unwrap_or_default())
}

/// How many messages of a topic there are, but for those that hubs of before have written.
pub(super) fn count(database: &Connection, topic: i64) -> Result<u64> {
    let sql = "SELECT ifnull(sum(count), 0) FROM runs WHERE topic = ?1";
    let mut count = database.prepare_cached(sql)?;
    Ok(count.query_row([topic], |row| row.get::<_, i64>(0))? as u64)
}

/// The number in the database of a topic that it knows, and the last number that was given in it.
pub(super) fn topic(database: &Connection, line: Line<'_>) -> Result<Option<(i64, u64)>> {
    let sql = "SELECT number, last FROM topics WHERE service = ?1 AND name = ?2";
    let mut find = database.prepare_cached(sql)?;
    let found = find.query_row([line.service, line.topic], |row| {
        Ok((row.get(0)?, row.get::<_, i64>(1)?))
    });
    let Some((number, last)) = found.optional()? else {
        return Ok(None);
    };
    let last = u64::try_from(last).map_err(|_| Fault::Topic(number))?;
    Ok(Some((number, last)))
}
