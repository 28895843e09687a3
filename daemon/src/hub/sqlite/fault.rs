//! Why history is not kept, in words for whoever can mend it.
//!
//! It says what is wrong, not where: the file's name is put before it by who knows it.

use std::fmt::{self, Display, Formatter};

pub(super) type Result<T> = std::result::Result<T, Fault>;

#[derive(Debug)]
pub(super) enum Fault {
    Sqlite(rusqlite::Error),
    /// What its own check has found.
    Unsound(String),
    /// A row that no hub has written, by the number of its last message.
    Row {
        topic: i64,
        sequence: i64,
    },
    Topic(i64),
}

impl Display for Fault {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Sqlite(error) => error.fmt(out),
            Fault::Unsound(what) => write!(out, "it is damaged: {what}"),
            Fault::Row { topic, sequence } => write!(
                out,
                "it is damaged: the messages up to {sequence} of topic {topic} make no sense"
            ),
            Fault::Topic(topic) => {
                write!(
                    out,
                    "it is damaged: the last number of topic {topic} is none"
                )
            }
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Fault {
        Fault::Sqlite(error)
    }
}
