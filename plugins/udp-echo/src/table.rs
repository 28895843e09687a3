//! A table of fixed size from keys to what is known of them; who was not heard of for longest makes
//! room. Keys are expected to be spread already, so a row is chosen by their low bits.
//!
//! Keys, moments and values lie apart: a search reads the keys of one row, which are one line of
//! memory, and of the rest only what it has found.
//!
//! Invariant: the table never grows, and a key is in it once at most.

use std::ops::Range;

const WAYS: usize = 8;

#[derive(Debug)]
pub(crate) struct Table<T> {
    keys: Vec<u64>,
    /// When each was last asked for; `None` if the place was never taken.
    heard_ms: Vec<Option<u64>>,
    values: Vec<T>,
}

impl<T: Default + Clone> Table<T> {
    /// For so many keys, a power of two of at least a row.
    pub(crate) fn new(places: usize) -> Table<T> {
        assert!(places.is_power_of_two() && places >= WAYS);
        Table {
            keys: vec![0; places],
            heard_ms: vec![None; places],
            values: vec![T::default(); places],
        }
    }

    /// What is known of a key, if it is.
    pub(crate) fn find(&mut self, key: u64) -> Option<&mut T> {
        let place = self.place_of(key)?;
        Some(&mut self.values[place])
    }

    /// What is known of a key, which is nothing if it is new.
    pub(crate) fn hear(&mut self, key: u64, now_ms: u64) -> &mut T {
        let place = self.place_of(key).unwrap_or_else(|| self.make_room(key));
        self.heard_ms[place] = Some(now_ms);
        &mut self.values[place]
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.values.iter()
    }

    fn place_of(&self, key: u64) -> Option<usize> {
        let row = self.row(key);
        let found = |place: &usize| self.keys[*place] == key && self.heard_ms[*place].is_some();
        row.into_iter().find(found)
    }

    fn make_room(&mut self, key: u64) -> usize {
        let row = self.row(key);
        let first = row.start;
        let oldest = row.min_by_key(|place| self.heard_ms[*place]);
        let place = oldest.unwrap_or(first);
        self.keys[place] = key;
        self.values[place] = T::default();
        place
    }

    fn row(&self, key: u64) -> Range<usize> {
        let rows = self.keys.len() / WAYS;
        let first = key as usize % rows * WAYS;
        first..first + WAYS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_not_heard_of_for_longest_makes_room() {
        let mut table = Table::<u32>::new(16);
        // All even keys share a row of eight.
        for key in 0..8 {
            *table.hear(key * 2, key) = key as u32 + 100;
        }
        *table.hear(1, 8) = 7;
        table.hear(0, 9);
        *table.hear(16, 10) = 99;
        assert_eq!(table.find(2), None, "heard of at 1 and never since");
        assert_eq!(table.find(0), Some(&mut 100));
        assert_eq!(table.find(16), Some(&mut 99));
        assert_eq!(table.find(1), Some(&mut 7), "in another row");
        assert_eq!(*table.hear(2, 11), 0, "new again");
        assert_eq!(table.values().count(), 16);
    }
}
