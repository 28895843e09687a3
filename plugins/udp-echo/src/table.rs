//! A table of fixed size from keys to what is known of them; who was not heard of for longest makes
//! room. Keys are expected to be spread already, so a row is chosen by their low bits.
//!
//! Invariant: the table never grows, and a key is in it once at most.

const WAYS: usize = 8;

#[derive(Debug)]
pub(crate) struct Table<T> {
    places: Vec<Place<T>>,
}

#[derive(Clone, Debug, Default)]
struct Place<T> {
    key: u64,
    /// When it was last asked for; `None` if the place was never taken.
    heard_ms: Option<u64>,
    value: T,
}

impl<T: Default + Clone> Table<T> {
    /// For so many keys, a power of two of at least a row.
    pub(crate) fn new(places: usize) -> Table<T> {
        assert!(places.is_power_of_two() && places >= WAYS);
        Table {
            places: vec![Place::default(); places],
        }
    }

    /// What is known of a key, if it is.
    pub(crate) fn find(&mut self, key: u64) -> Option<&mut T> {
        let known = |place: &&mut Place<T>| place.key == key && place.heard_ms.is_some();
        self.row(key)
            .iter_mut()
            .find(known)
            .map(|place| &mut place.value)
    }

    /// What is known of a key, which is nothing if it is new.
    pub(crate) fn hear(&mut self, key: u64, now_ms: u64) -> &mut T {
        let row = self.row(key);
        let known = |place: &Place<T>| place.key == key && place.heard_ms.is_some();
        let way = row.iter().position(known).unwrap_or_else(|| {
            let oldest = (0..WAYS).min_by_key(|way| row[*way].heard_ms).unwrap_or(0);
            row[oldest].key = key;
            row[oldest].value = T::default();
            oldest
        });
        row[way].heard_ms = Some(now_ms);
        &mut row[way].value
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.places.iter().map(|place| &place.value)
    }

    fn row(&mut self, key: u64) -> &mut [Place<T>] {
        let rows = self.places.len() / WAYS;
        let first = key as usize % rows * WAYS;
        &mut self.places[first..first + WAYS]
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
