//! History in memory, for worlds in which hubs die.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::hub::store::{Kept, Line, Remembered, Store};

/// History that loses what was not committed when its hub dies.
#[derive(Clone, Debug, Default)]
pub(in crate::hub) struct Shelf {
    pub(in crate::hub) topics: BTreeMap<String, Vec<Kept>>,
    pub(in crate::hub) committed: BTreeMap<String, usize>,
    pub(in crate::hub) keep: usize,
    pub(in crate::hub) broken: bool,
}

impl Shelf {
    pub(in crate::hub) fn commit(&mut self) {
        self.committed = self
            .topics
            .iter()
            .map(|(name, kept)| (name.clone(), kept.len()))
            .collect();
    }

    pub(super) fn has(&self, topic: &str, sequence: u64, bytes: &[u8]) -> bool {
        let kept = self.topics.get(topic).map_or(&[][..], Vec::as_slice);
        let place = kept.binary_search_by_key(&sequence, |it| it.sequence);
        place.is_ok_and(|at| *kept[at].bytes == *bytes)
    }

    pub(in crate::hub) fn after_death(mut self) -> Shelf {
        for (name, kept) in &mut self.topics {
            kept.truncate(self.committed.get(name).copied().unwrap_or(0));
        }
        self
    }
}

impl Store for Shelf {
    fn keeps(&self) -> bool {
        !self.broken
    }

    fn recall(&mut self, line: Line<'_>, _: usize) -> Remembered {
        let kept = self.topics.get(line.topic);
        let ids = kept
            .into_iter()
            .flatten()
            .map(|it| (it.id.clone(), it.sequence))
            .collect();
        let last = kept.and_then(|it| it.last()).map_or(0, |it| it.sequence);
        Remembered { last, ids }
    }

    fn append(&mut self, line: Line<'_>, message: &Rc<Kept>) {
        if !self.broken {
            let kept = self.topics.entry(line.topic.to_owned()).or_default();
            assert!(kept.last().is_none_or(|it| it.sequence < message.sequence));
            kept.push(Kept::clone(message));
        }
    }

    fn given_up(&mut self, line: Line<'_>) -> u64 {
        self.oldest(line).map_or(0, |oldest| oldest - 1)
    }

    fn oldest(&mut self, line: Line<'_>) -> Option<u64> {
        let kept = self.topics.get(line.topic).filter(|_| !self.broken)?;
        let from = kept.len().saturating_sub(self.keep);
        kept.get(from).map(|it| it.sequence)
    }

    fn first_of_last(&mut self, line: Line<'_>, count: u64) -> Option<u64> {
        let kept = self.topics.get(line.topic).filter(|_| !self.broken)?;
        let count = (count as usize).min(self.keep);
        kept.get(kept.len().saturating_sub(count))
            .map(|it| it.sequence)
    }

    fn read(&mut self, line: Line<'_>, from: u64, count: usize) -> Vec<Kept> {
        let Some(kept) = self.topics.get(line.topic).filter(|_| !self.broken) else {
            return Vec::new();
        };
        let first = kept.len().saturating_sub(self.keep);
        let wanted = kept[first..].iter().filter(|it| it.sequence >= from);
        wanted.take(count).cloned().collect()
    }
}
