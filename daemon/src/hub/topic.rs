//! One topic in the hub's memory: its numbers, its latest messages, the ids by which a retry is known.
//!
//! Invariant: `latest` is in order and ends with the last message that was given a number here, unless
//! it is empty.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use super::core::{MemberId, NOBODY};
use super::ids::Ids;
use super::pens::{Lent, ROW};
use super::store::{Kept, Remembered};

/// Messages of a topic that are kept in memory.
pub(super) const LATEST_MAX: usize = 1024;

#[derive(Debug)]
pub(super) struct Topic {
    pub(super) service: usize,
    pub(super) name: String,
    pub(super) last: u64,
    pub(super) latest: VecDeque<Rc<Kept>>,
    pub(super) ids: Ids<Arc<[u8]>>,
    /// Live subscriptions.
    pub(super) followers: Vec<(MemberId, u64)>,
    /// Said again by members after a hub's death, until all have spoken.
    pub(super) restored: BTreeMap<u64, Kept>,
    /// No number up to this one is to be given any more.
    pub(super) floor: u64,
    /// Who numbers it, if that is not the hub.
    pub(super) pen: Option<Lent>,
    /// Who has published last, and how many in a row since a pen was offered.
    pub(super) row: (MemberId, u32),
    /// With so many in a row it is offered.
    pub(super) row_enough: u32,
}

impl Topic {
    pub(super) fn new(service: usize, name: &str, remembered: Remembered) -> Topic {
        let mut topic = Topic {
            service,
            name: name.to_owned(),
            last: remembered.last,
            latest: VecDeque::new(),
            ids: Ids::default(),
            followers: Vec::new(),
            restored: BTreeMap::new(),
            floor: 0,
            pen: None,
            row: (NOBODY, 0),
            row_enough: ROW,
        };
        for (id, sequence) in remembered.ids {
            topic.ids.note(id, sequence);
        }
        topic
    }

    /// Takes the next message; returns how many bytes more are in memory now, and how many fewer.
    pub(super) fn push(&mut self, message: &Rc<Kept>, room: bool) -> (usize, usize) {
        self.last = message.sequence;
        self.ids.note(Arc::clone(&message.id), message.sequence);
        self.latest.push_back(Rc::clone(message));
        let mut gone = 0;
        while self.latest.len() > LATEST_MAX || (!room && !self.latest.is_empty()) {
            gone += self.latest.pop_front().map_or(0, |it| weight(&it));
        }
        (weight(message), gone)
    }

    pub(super) fn weight(&self) -> usize {
        self.latest.iter().map(|message| weight(message)).sum()
    }

    /// Where the first message in memory with at least this number is.
    pub(super) fn position(&self, sequence: u64) -> usize {
        self.latest
            .partition_point(|message| message.sequence < sequence)
    }
}

fn weight(message: &Kept) -> usize {
    message.bytes.len() + message.id.len() + size_of::<Kept>()
}
