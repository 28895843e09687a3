//! What `connections` answers: those that are open and fit, as their workers said.
//!
//! A worker that did not say anything in time is named, so that nobody takes silence for nothing
//! being open. The document only ever grows.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::status::{duration, size};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionList {
    pub connections: Vec<ListedConnection>,
    /// They fit, but there was no room for them in the answer.
    pub left_out: u64,
    /// Workers that did not answer in time; what they have open is not known.
    pub silent: Vec<String>,
    /// Those that are listed have been told to end.
    pub ended: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedConnection {
    /// For `connections --kill`.
    pub id: String,
    pub service: String,
    /// "echo/1", as in the log.
    pub worker: String,
    pub generation: u32,
    pub peer: String,
    /// Where it was accepted.
    pub local: String,
    /// Since it was accepted, by this worker or one that it was carried from.
    pub age_ms: u64,
    /// Since a byte has moved; `None` for one that a thread serves.
    pub idle_ms: Option<u64>,
    /// As the kernel counts them; `None` where it does not.
    pub bytes_in: Option<u64>,
    pub bytes_out: Option<u64>,
    /// Output that the peer has not taken; `None` for one that a thread serves.
    pub queued: Option<u64>,
}

impl fmt::Display for ConnectionList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.ended { "told to end" } else { "open" };
        for connection in &self.connections {
            let number = |number: Option<u64>| number.map_or("-".to_owned(), size);
            writeln!(
                f,
                "{:<28} {:<24} {:<24} {:>7} old, {:>7} idle, {} in, {} out, {} queued",
                connection.id,
                connection.peer,
                connection.local,
                duration(connection.age_ms / 1_000),
                connection
                    .idle_ms
                    .map_or("-".to_owned(), |ms| duration(ms / 1_000)),
                number(connection.bytes_in),
                number(connection.bytes_out),
                number(connection.queued),
            )?;
        }
        writeln!(f, "{} {verb}", self.connections.len())?;
        if self.left_out > 0 {
            writeln!(f, "{} more are not shown; ask for fewer", self.left_out)?;
        }
        for worker in &self.silent {
            writeln!(
                f,
                "{worker} did not answer in time: what it has open is not known"
            )?;
        }
        Ok(())
    }
}
