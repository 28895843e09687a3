//! Where history lies: what the core asks of a backend.
//!
//! Invariant: for one topic, what is kept begins somewhere and goes on without a hole to the last
//! message that was appended; it shrinks at its beginning only.

use std::rc::Rc;
use std::sync::Arc;

use super::wire::Message;

/// A message of a topic, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub sequence: u64,
    pub time_ms: u64,
    /// Shared with what knows a retry by it; messages of a cluster come from another thread.
    pub id: Arc<[u8]>,
    pub bytes: Box<[u8]>,
}

impl Kept {
    pub(super) fn of(message: Message<'_>) -> Kept {
        Kept {
            sequence: message.sequence,
            time_ms: message.time_ms,
            id: message.id.into(),
            bytes: message.bytes.into(),
        }
    }
}

/// A topic by service and name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    pub service: &'a str,
    pub topic: &'a str,
}

/// What is known of a topic from before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// The highest number that was given, 0 if none.
    pub last: u64,
    /// Ids of the latest messages with their numbers, the oldest first.
    pub ids: Vec<(Arc<[u8]>, u64)>,
}

/// History. What fails is the backend's to report; it answers as if it kept nothing from then on.
pub trait Store {
    /// Whether history is being kept.
    fn keeps(&self) -> bool;
    fn recall(&mut self, line: Line<'_>, ids_max: usize) -> Remembered;
    fn append(&mut self, line: Line<'_>, message: &Rc<Kept>);
    /// The highest number that was kept and is not any more, 0 if none.
    fn given_up(&mut self, line: Line<'_>) -> u64;
    /// The first number that is kept.
    fn oldest(&mut self, line: Line<'_>) -> Option<u64>;
    /// The number of the first of the last so many that are kept.
    fn first_of_last(&mut self, line: Line<'_>, count: u64) -> Option<u64>;
    /// At most so many messages, from this number on.
    fn read(&mut self, line: Line<'_>, from: u64, count: usize) -> Vec<Kept>;
}
