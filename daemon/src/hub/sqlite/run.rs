//! Messages that were handed over together lie in one row: the last of them in columns of its own, those
//! before it packed into one more.
//!
//! A row costs SQLite some twenty times what a message in it does. One message alone packs nothing, so
//! a row of a release that had one for each message is such a run as well.
//!
//! Invariant: the messages of a row are in order, and all are higher than those of the row before.

use std::ops::ControlFlow;
use std::rc::Rc;

use rusqlite::types::Type;
use rusqlite::{Connection, Error, Result, Row};

use crate::hub::store::Kept;

/// Packed bytes behind which a row ends: reading one message reads its row.
const ROW_BYTES_MAX: usize = 64 * 1024;
/// Of a packed message, before its id and its bytes.
const HEAD_BYTES: usize = 24;

/// What one row is to hold.
pub(super) struct Run<'a> {
    pub(super) last: &'a Kept,
    /// `None` if there is none before it.
    pub(super) before: Option<Vec<u8>>,
}

/// As few rows as may be.
pub(super) fn runs(mut messages: &[Rc<Kept>]) -> impl Iterator<Item = Run<'_>> {
    std::iter::from_fn(move || {
        let mut before = Vec::new();
        loop {
            let (first, rest) = messages.split_first()?;
            messages = rest;
            if rest.is_empty() || before.len() >= ROW_BYTES_MAX {
                return Some(Run {
                    last: first,
                    before: (!before.is_empty()).then_some(before),
                });
            }
            pack(first, &mut before);
        }
    })
}

fn pack(message: &Kept, out: &mut Vec<u8>) {
    out.extend_from_slice(&message.sequence.to_le_bytes());
    out.extend_from_slice(&message.time_ms.to_le_bytes());
    for part in [&*message.id, &*message.bytes] {
        // A frame of the bus holds both.
        out.extend_from_slice(&(part.len() as u32).to_le_bytes());
    }
    out.extend_from_slice(&message.id);
    out.extend_from_slice(&message.bytes);
}

/// A message as it lies in a row.
pub(super) struct Packed<'a> {
    pub(super) sequence: u64,
    time_ms: u64,
    pub(super) id: &'a [u8],
    bytes: &'a [u8],
}

impl Packed<'_> {
    pub(super) fn unpacked(&self) -> Kept {
        Kept {
            sequence: self.sequence,
            time_ms: self.time_ms,
            id: self.id.into(),
            bytes: self.bytes.into(),
        }
    }
}

/// What a query has to ask for, so that [`messages`] finds it.
pub(super) const COLUMNS: &str = "sequence, time_ms, id, bytes, before";

/// All messages of a row of [`COLUMNS`], the oldest first.
pub(super) fn messages<'a>(row: &'a Row<'_>) -> Result<Vec<Packed<'a>>> {
    let blob = |column| Ok::<_, Error>(row.get_ref(column)?.as_blob_or_null()?.unwrap_or_default());
    let mut before = blob(4)?;
    let mut messages = Vec::new();
    while !before.is_empty() {
        let damaged = || Error::InvalidColumnType(4, "before".to_owned(), Type::Blob);
        let (message, rest) = first(before).ok_or_else(damaged)?;
        messages.push(message);
        before = rest;
    }
    messages.push(Packed {
        sequence: row.get::<_, i64>(0)? as u64,
        time_ms: row.get::<_, i64>(1)? as u64,
        id: blob(2)?,
        bytes: blob(3)?,
    });
    Ok(messages)
}

fn first(packed: &[u8]) -> Option<(Packed<'_>, &[u8])> {
    let (head, rest) = packed.split_first_chunk::<HEAD_BYTES>()?;
    let (words, _) = head.as_chunks::<8>();
    let [sequence, time_ms, lengths] = [words[0], words[1], words[2]].map(u64::from_le_bytes);
    let (id, rest) = rest.split_at_checked(lengths as u32 as usize)?;
    let (bytes, rest) = rest.split_at_checked((lengths >> 32) as usize)?;
    let message = Packed {
        sequence,
        time_ms,
        id,
        bytes,
    };
    Some((message, rest))
}

/// Looks at a topic's messages from the latest backwards, until it is told to stop.
pub(super) fn backwards(
    database: &Connection,
    topic: i64,
    mut look: impl FnMut(&Packed<'_>) -> ControlFlow<()>,
) -> Result<()> {
    let sql = format!("SELECT {COLUMNS} FROM messages WHERE topic = ?1 ORDER BY sequence DESC");
    let mut find = database.prepare_cached(&sql)?;
    let mut rows = find.query([topic])?;
    while let Some(row) = rows.next()? {
        for message in messages(row)?.iter().rev() {
            if look(message).is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}
