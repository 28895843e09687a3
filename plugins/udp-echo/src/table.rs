//! A table of fixed size from keys to what is known of them; who was not heard of for longest makes
//! room. Keys are expected to be spread already, so a row is chosen by their low bits.
//!
//! Invariant: the table never grows, and a key is in it once at most.

const WAYS: usize = 8;

#[derive(Debug)]
pub(crate) struct Table<T> {
    rows: Vec<Row<T>>,
}

/// Keys by themselves, so that looking for one touches one line of memory.
#[derive(Clone, Debug, Default)]
#[repr(C, align(64))]
struct Row<T> {
    keys: [u64; WAYS],
    /// The moment behind that at which each was last asked for; 0 if the place was never taken.
    heard: [u64; WAYS],
    values: [T; WAYS],
}

impl<T: Default + Clone> Table<T> {
    /// For so many keys, a power of two of at least a row.
    pub(crate) fn new(places: usize) -> Table<T> {
        assert!(places.is_power_of_two() && places >= WAYS);
        Table {
            rows: vec![Row::default(); places / WAYS],
        }
    }

    /// What is known of a key, if it is.
    pub(crate) fn find(&mut self, key: u64) -> Option<&mut T> {
        let row = self.row(key);
        let way = row.find(key)?;
        Some(&mut row.values[way])
    }

    /// What is known of a key, which is nothing if it is new.
    pub(crate) fn hear(&mut self, key: u64, now_ms: u64) -> &mut T {
        let row = self.row(key);
        let way = row.find(key).unwrap_or_else(|| {
            let oldest = (0..WAYS).min_by_key(|way| row.heard[*way]).unwrap_or(0);
            row.keys[oldest] = key;
            row.values[oldest] = T::default();
            oldest
        });
        row.heard[way] = now_ms.saturating_add(1);
        &mut row.values[way]
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.rows.iter().flat_map(|row| &row.values)
    }

    fn row(&mut self, key: u64) -> &mut Row<T> {
        // A power of two, so this is the remainder, without a division.
        let last = self.rows.len() - 1;
        &mut self.rows[key as usize & last]
    }
}

impl<T> Row<T> {
    fn find(&self, key: u64) -> Option<usize> {
        let way = self.keys.iter().position(|known| *known == key)?;
        // Ways are taken in order, so behind one that never was there is none with a key.
        (self.heard[way] > 0).then_some(way)
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
