//! A folder without a map: what is in it, in which order, and how each entry is called.
//!
//! What cannot be shown is left out, never fatal: names that begin with a dot, FIFOs, sockets and
//! devices, links that lead nowhere, around or out, and what nobody may read. There is no limit on
//! entries. Invariant: reading a folder opens no file for reading; types are found out later.

use std::cmp::Ordering;
use std::mem::MaybeUninit;

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
) -> Result<Vec<Entry>, Miss> {
    let (folder, _) = disk.folder(path)?;
    let inside = Disk {
        folder: disk.folder,
        ..*disk
    };
    let measured =
        measured || disk.rules.world_readable || matches!(order.sort, Sort::Time | Sort::Size);
    let mut entries = Vec::new();
    let mut reverse = order.reverse;
    let mut buffer = vec![MaybeUninit::uninit(); 64 * 1024];
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
    sort(&mut entries, Order { reverse, ..order });
    Ok(entries)
}

fn sort(entries: &mut [Entry], order: Order) {
    // Names differ, so no two are equal.
    entries.sort_unstable_by(|one, other| {
        let folders = match order.folders_first {
            true => other.is_folder.cmp(&one.is_folder),
            false => Ordering::Equal,
        };
        let by = match order.sort {
            Sort::Natural => Ordering::Equal,
            Sort::Name => one.name.cmp(&other.name),
            // The newest and the largest are what one looks for.
            Sort::Time => other.modified_s.cmp(&one.modified_s),
            Sort::Size => other.size.cmp(&one.size),
        };
        let by = by.then_with(|| natural(&one.name, &other.name));
        folders.then(if order.reverse { by.reverse() } else { by })
    });
}

/// Digits as numbers, letters without their case: `a2` before `a10`, `B` between `a` and `c`. Names
/// that differ never compare as equal.
fn natural(one: &[u8], other: &[u8]) -> Ordering {
    let mut same = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    // A number that begins in what is the same is compared from its first digit.
    while same > 0 && one[same - 1].is_ascii_digit() {
        same -= 1;
    }
    let (mut left, mut right) = (&one[same..], &other[same..]);
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
            let mut entries = all.to_vec();
            let order = Order {
                sort: sort_by,
                folders_first,
                reverse,
            };
            sort(&mut entries, order);
            let names: Vec<_> = entries
                .iter()
                .map(|it| String::from_utf8_lossy(&it.name))
                .collect();
            assert_eq!(names.join(" "), expected, "{order:?}");
        }
    }

    #[test]
    fn the_natural_order_is_one() {
        let names = [
            "", "0", "00", "1", "a", "A", "a1", "a01", "a1b", "a10", "b", "\u{fc}",
        ];
        for one in names {
            for other in names {
                let there = natural(one.as_bytes(), other.as_bytes());
                assert_eq!(there.reverse(), natural(other.as_bytes(), one.as_bytes()));
                assert_eq!(there == Ordering::Equal, one == other, "{one} {other}");
            }
        }
    }
}
