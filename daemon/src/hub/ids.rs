//! The ids by which the latest messages of a topic are known again.
//!
//! Who numbers a topic has them: the hub, and a worker as long as it has the pen. Invariant: an id keeps
//! the number with which it was noted first, until it is among the oldest of too many.

use std::borrow::Borrow;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// So many of one topic; of more the oldest are forgotten.
pub(super) const IDS_MAX: usize = 4096;

#[derive(Debug)]
pub(super) struct Ids<I> {
    numbers: HashMap<I, u64>,
    /// The oldest first.
    order: VecDeque<I>,
}

impl<I> Default for Ids<I> {
    fn default() -> Ids<I> {
        Ids {
            numbers: HashMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl<I: Borrow<[u8]> + Clone + Eq + Hash> Ids<I> {
    /// The number of the message that had this id.
    pub(super) fn known(&self, id: &[u8]) -> Option<u64> {
        self.numbers.get(id).copied()
    }

    /// The message with this number has this id; an empty one is nobody's.
    pub(super) fn note(&mut self, id: I, sequence: u64) {
        match self.numbers.entry(id.clone()) {
            Entry::Vacant(place) if !id.borrow().is_empty() => place.insert(sequence),
            _ => return,
        };
        self.order.push_back(id);
        if self.order.len() > IDS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.numbers.remove(oldest.borrow());
        }
    }

    /// All of them with their numbers, the oldest first.
    pub(super) fn all(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let number = |id: &I| self.numbers.get(id.borrow()).copied();
        self.order
            .iter()
            .filter_map(move |id| Some((number(id)?, id.borrow())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_keeps_its_first_number_until_too_many_others_have_come() {
        let id = |nth: u64| nth.to_be_bytes().to_vec();
        let mut ids = Ids::default();
        for nth in 1..=IDS_MAX as u64 {
            ids.note(id(nth), nth);
        }
        ids.note(id(1), 9_000);
        ids.note(Vec::new(), 9_001);
        assert_eq!((ids.known(&id(1)), ids.known(b"")), (Some(1), None));
        ids.note(id(9_002), 9_002);
        assert_eq!((ids.known(&id(1)), ids.known(&id(2))), (None, Some(2)));
        let numbers: Vec<u64> = ids.all().map(|(number, _)| number).collect();
        assert_eq!(numbers.len(), IDS_MAX);
        assert_eq!((numbers[0], numbers[IDS_MAX - 1]), (2, 9_002));
    }
}
