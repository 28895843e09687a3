//! A folder without a map: what is in it, in which order, and how each entry is called.
//!
//! What cannot be shown is left out, never fatal: names that begin with a dot, FIFOs, sockets and
//! devices, links that lead nowhere, around or out, and what nobody may read. There is no limit on
//! entries. Invariant: reading a folder opens no file for reading; types are found out later.

use std::cmp::Ordering;
use std::mem::MaybeUninit;
use std::ops::Range;

use rustix::fs::{FileType, RawDir};

use crate::lookup::{Disk, Miss};
use crate::selector;

/// How folders are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    Natural,
    Name,
    Time,
    Size,
}

/// What is asked of a listing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    pub(crate) sort: Sort,
    pub(crate) folders_first: bool,
    pub(crate) reverse: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: Vec<u8>,
    pub(crate) is_folder: bool,
    pub(crate) size: u64,
    pub(crate) modified_s: i64,
}

/// All that may be shown of a folder, in the order asked for. `measured`: sizes and times matter, so
/// that every entry has to be looked at.
pub(crate) fn entries(
    disk: &Disk,
    path: &[u8],
    order: Order,
    measured: bool,
) -> Result<impl ExactSizeIterator<Item = Entry> + use<>, Miss> {
    let (folder, _) = disk.folder(path)?;
    let inside = Disk {
        folder: disk.folder,
        ..*disk
    };
    let measured =
        measured || disk.rules.world_readable || matches!(order.sort, Sort::Time | Sort::Size);
    let mut entries = Vec::new();
    let mut reverse = order.reverse;
    let mut buffer = [MaybeUninit::uninit(); 64 * 1024];
    let mut names = RawDir::new(folder, &mut buffer);
    while let Some(found) = names.next() {
        let found = found.map_err(|_| Miss::NotHere("the folder cannot be read"))?;
        let name = found.file_name().to_bytes();
        if name == b".reverse" {
            reverse = !order.reverse;
        }
        if name.first() == Some(&b'.') {
            continue;
        }
        let kind = found.file_type();
        let is_known = matches!(kind, FileType::RegularFile | FileType::Directory);
        let entry = if is_known && !measured {
            Entry {
                name: name.to_vec(),
                is_folder: kind == FileType::Directory,
                size: 0,
                modified_s: 0,
            }
        } else if is_known || matches!(kind, FileType::Symlink | FileType::Unknown) {
            let Ok(stamp) = inside.look(&selector::joined(path, name)) else {
                continue;
            };
            Entry {
                name: name.to_vec(),
                is_folder: stamp.is_folder(),
                size: stamp.size,
                modified_s: stamp.modified_s(),
            }
        } else {
            continue;
        };
        entries.push(entry);
    }
    Ok(sorted(entries, Order { reverse, ..order }))
}

fn sorted(mut entries: Vec<Entry>, order: Order) -> impl ExactSizeIterator<Item = Entry> + use<> {
    let mut keys = Vec::with_capacity(entries.len() * 24);
    let mut places: Vec<Place> = Vec::with_capacity(entries.len());
    for (nth, entry) in entries.iter().enumerate() {
        let start = keys.len();
        push_key(&mut keys, &entry.name);
        let (rank, key) = (0, start..keys.len());
        places.push(Place { rank, key, nth });
    }
    let same = shared(&places, &keys);
    for place in &mut places {
        let entry = &entries[place.nth];
        let first = match order.sort {
            Sort::Natural => front(&keys[place.key.clone()][same..]),
            Sort::Name => front(&entry.name),
            // The newest and the largest are what one looks for.
            Sort::Time => !(entry.modified_s as u64 ^ 1 << 63),
            Sort::Size => !entry.size,
        };
        let first = if order.reverse { !first } else { first };
        let is_behind = order.folders_first && !entry.is_folder;
        place.rank = u128::from(is_behind) << 64 | u128::from(first);
    }
    // Names differ, so no two are equal.
    places.sort_unstable_by(|one, other| {
        one.rank.cmp(&other.rank).then_with(|| {
            let (left, right) = (&entries[one.nth].name, &entries[other.nth].name);
            let by_name = match order.sort {
                Sort::Name => left.cmp(right),
                Sort::Natural | Sort::Time | Sort::Size => Ordering::Equal,
            };
            let by = by_name
                .then_with(|| keys[one.key.clone()].cmp(&keys[other.key.clone()]))
                .then_with(|| left.cmp(right));
            if order.reverse { by.reverse() } else { by }
        })
    });
    places.into_iter().map(move |place| {
        let entry = &mut entries[place.nth];
        Entry {
            name: std::mem::take(&mut entry.name),
            ..*entry
        }
    })
}

/// An entry while it is sorted.
struct Place {
    /// What most often decides: its group, and the first of what entries are compared by.
    rank: u128,
    key: Range<usize>,
    nth: usize,
}

/// How many bytes all keys begin with.
fn shared(places: &[Place], keys: &[u8]) -> usize {
    let Some((first, others)) = places.split_first() else {
        return 0;
    };
    let first = &keys[first.key.clone()];
    others.iter().fold(first.len(), |same, other| {
        let pairs = first[..same].iter().zip(&keys[other.key.clone()]);
        pairs.take_while(|(a, b)| a == b).count()
    })
}

/// The first bytes as a number that compares as they do. What is shorter comes first, or is equal.
fn front(key: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let length = key.len().min(bytes.len());
    bytes[..length].copy_from_slice(&key[..length]);
    u64::from_be_bytes(bytes)
}

/// Digits as numbers, letters without their case: `a2` before `a10`, `B` between `a` and `c`. Bytes that
/// compare as the names are to; of names that differ they may be the same.
fn push_key(keys: &mut Vec<u8>, name: &[u8]) {
    let mut rest = name;
    while !rest.is_empty() {
        let digit = rest.iter().position(u8::is_ascii_digit);
        let (letters, behind) = rest.split_at(digit.unwrap_or(rest.len()));
        keys.extend(letters.iter().map(u8::to_ascii_lowercase));
        rest = behind;
        if digit.is_some() {
            let (digits, behind) = number(rest);
            keys.push(b'0');
            // The kernel's record of an entry is not longer.
            keys.extend_from_slice(&(digits.len() as u16).to_be_bytes());
            keys.extend_from_slice(digits);
            rest = behind;
        }
    }
}

/// The digits in front, without leading zeros, and the rest.
fn number(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| !byte.is_ascii_digit());
    let (digits, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    (&digits[zeros..], rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, is_folder: bool, size: u64, modified_s: i64) -> Entry {
        Entry {
            name: name.as_bytes().to_vec(),
            is_folder,
            size,
            modified_s,
        }
    }

    #[test]
    fn entries_come_in_the_order_asked_for() {
        let all = [
            entry("b10", false, 1, 30),
            entry("B2", false, 3, 10),
            entry("a", false, 2, 20),
            entry("z", true, 0, 5),
            entry("b02", false, 3, 10),
        ];
        for (sort_by, folders_first, reverse, expected) in [
            (Sort::Natural, true, false, "z a B2 b02 b10"),
            (Sort::Natural, false, false, "a B2 b02 b10 z"),
            (Sort::Natural, true, true, "z b10 b02 B2 a"),
            (Sort::Name, true, false, "z B2 a b02 b10"),
            (Sort::Time, true, false, "z b10 a B2 b02"),
            (Sort::Size, false, false, "B2 b02 a b10 z"),
        ] {
            let order = Order {
                sort: sort_by,
                folders_first,
                reverse,
            };
            let names: Vec<_> = sorted(all.to_vec(), order)
                .map(|it| String::from_utf8_lossy(&it.name).into_owned())
                .collect();
            assert_eq!(names.join(" "), expected, "{order:?}");
        }
    }

    /// Two names as one reads them: from the left, number by number and letter by letter.
    fn natural(one: &[u8], other: &[u8]) -> Ordering {
        let (mut left, mut right) = (one, other);
        while let (Some(a), Some(b)) = (left.first(), right.first()) {
            if a.is_ascii_digit() && b.is_ascii_digit() {
                let (number_a, behind_a) = number(left);
                let (number_b, behind_b) = number(right);
                let by_value = number_a.len().cmp(&number_b.len());
                match by_value.then_with(|| number_a.cmp(number_b)) {
                    Ordering::Equal => (left, right) = (behind_a, behind_b),
                    unequal => return unequal,
                }
            } else {
                match a.to_ascii_lowercase().cmp(&b.to_ascii_lowercase()) {
                    Ordering::Equal => (left, right) = (&left[1..], &right[1..]),
                    unequal => return unequal,
                }
            }
        }
        left.len().cmp(&right.len()).then_with(|| one.cmp(other))
    }

    #[test]
    fn keys_compare_as_names_are_read() {
        let alphabet = b"0019aAbZ-/:~.\xfc";
        // All names of up to three bytes, and longer ones behind what they share.
        let mut names = vec![Vec::new()];
        for from in 0..3 {
            let shorter: Vec<Vec<u8>> = names
                .iter()
                .filter(|it| it.len() == from)
                .cloned()
                .collect();
            let longer = |name: &Vec<u8>, byte: &u8| [&name[..], &[*byte]].concat();
            let each = shorter
                .iter()
                .flat_map(|it| alphabet.iter().map(move |byte| longer(it, byte)));
            names.extend(each);
        }
        names.extend([b"10".to_vec(), [b'9'; 300].to_vec(), [b'0'; 300].to_vec()]);
        names.sort();
        names.dedup();
        for before in ["", "a-rather-long-0", "7"] {
            let names = names.iter().map(|name| [before.as_bytes(), name].concat());
            let mut expected: Vec<Vec<u8>> = names.collect();
            let entries = expected.iter().map(|name| Entry {
                name: name.clone(),
                is_folder: false,
                size: 0,
                modified_s: 0,
            });
            let order = Order {
                sort: Sort::Natural,
                folders_first: true,
                reverse: false,
            };
            let found = sorted(entries.collect(), order).map(|it| it.name);
            let found: Vec<Vec<u8>> = found.collect();
            expected.sort_by(|one, other| natural(one, other));
            assert!(found == expected, "behind {before:?}");
        }
    }

    #[test]
    fn every_order_is_what_comparing_entry_by_entry_gives() {
        let mut state = 7_u64;
        let mut below = |limit: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % limit
        };
        let all: Vec<Entry> = (0..300)
            .map(|nth| Entry {
                name: format!("{}{}-{nth}", ["a", "B", "b", ""][nth % 4], below(9)).into_bytes(),
                is_folder: below(2) == 0,
                size: [0, 1, u64::MAX, below(3)][below(4) as usize],
                modified_s: [i64::MIN, -1, 0, i64::MAX][below(4) as usize],
            })
            .collect();
        for nth in 0..16 {
            let order = Order {
                sort: [Sort::Natural, Sort::Name, Sort::Time, Sort::Size][nth / 4],
                folders_first: nth % 2 == 0,
                reverse: nth % 4 < 2,
            };
            let mut expected = all.clone();
            expected.sort_by(|one, other| {
                let folders = other.is_folder.cmp(&one.is_folder);
                let by = match order.sort {
                    Sort::Natural => Ordering::Equal,
                    Sort::Name => one.name.cmp(&other.name),
                    Sort::Time => other.modified_s.cmp(&one.modified_s),
                    Sort::Size => other.size.cmp(&one.size),
                };
                let by = by.then_with(|| natural(&one.name, &other.name));
                let by = if order.reverse { by.reverse() } else { by };
                if order.folders_first {
                    folders.then(by)
                } else {
                    by
                }
            });
            let found: Vec<Entry> = sorted(all.clone(), order).collect();
            assert!(found == expected, "{order:?}");
        }
    }
}
