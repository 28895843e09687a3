//! What is too old, or more than is to be kept, is given up: the oldest rows of a topic, a portion at a time.
//!
//! Whatever SQLite gives up it reads, and the hub has one thread. How much there is to give up is nobody's
//! choice: a daemon may have been away for longer than messages are kept, or is to keep fewer from now on.
//!
//! Invariant: a row goes as a whole, after all that are older.

use rusqlite::Connection;

use super::fault::Result;
use super::{Retention, Topics, sparse};

/// Rows that are given up in one go, and what lies in them.
const PORTION_ROWS: usize = 256;
const PORTION_BYTES: usize = 8 << 20;

/// How much may still be given up.
pub(super) struct Portion {
    rows: usize,
    bytes: usize,
}

impl Portion {
    pub(super) fn new() -> Portion {
        Portion {
            rows: PORTION_ROWS,
            bytes: PORTION_BYTES,
        }
    }

    pub(super) fn is_used_up(&self) -> bool {
        self.rows == 0 || self.bytes == 0
    }
}

/// A topic, and the time before which its messages are too old.
pub(super) struct Aged {
    pub(super) topic: i64,
    /// The last number that was given in it.
    pub(super) last: i64,
    pub(super) before_ms: i64,
}

/// Gives up what is not to be kept any more, as far as the portion goes.
pub(super) fn forget(
    database: &Connection,
    topics: &mut Topics,
    retention: Retention,
    aged: &Aged,
    portion: &mut Portion,
) -> Result<()> {
    // What a row of hubs of before holds is not counted, and goes first.
    let sql = "SELECT sequence, time_ms, count, length FROM runs WHERE topic = ?1 \
               UNION ALL \
               SELECT sequence, time_ms, 0, length(bytes) + ifnull(length(before), 0) \
               FROM messages WHERE topic = ?1 ORDER BY 1";
    let mut find = database.prepare_cached(sql)?;
    let mut rows = find.query([aged.topic])?;
    let mut kept = topics.kept.get_mut(&aged.topic);
    let first = aged.last.saturating_sub_unsigned(retention.messages);
    let mut gone = None;
    while !portion.is_used_up()
        && let Some(row) = rows.next()?
    {
        let (sequence, time_ms): (i64, i64) = (row.get(0)?, row.get(1)?);
        let count = row.get::<_, i64>(2)? as u64;
        let is_old = time_ms < aged.before_ms && time_ms != 0;
        let is_much = match &kept {
            Some(kept) => kept.saturating_sub(count) >= retention.messages,
            None => sequence <= first && !retention.holes,
        };
        if !is_old && !is_much {
            break;
        }
        if let Some(kept) = &mut kept {
            **kept = kept.saturating_sub(count);
        }
        portion.rows -= 1;
        portion.bytes = portion.bytes.saturating_sub(row.get(3)?);
        gone = Some(sequence);
    }
    drop(rows);
    let Some(gone) = gone else {
        return Ok(());
    };
    if retention.holes {
        sparse::note(database, aged.topic, gone)?;
    }
    for cut in [
        "DELETE FROM bodies WHERE number IN \
         (SELECT body FROM runs WHERE topic = ?1 AND sequence <= ?2)",
        "DELETE FROM runs WHERE topic = ?1 AND sequence <= ?2",
        "DELETE FROM messages WHERE topic = ?1 AND sequence <= ?2",
    ] {
        database.prepare_cached(cut)?.execute([aged.topic, gone])?;
    }
    Ok(())
}
