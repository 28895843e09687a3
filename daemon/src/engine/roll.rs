//! Rolls: what is kept of connections, found by token, on sheets that go when nobody is on them.
//!
//! A [`Roll`] gives its values their tokens; what others keep of the same tokens is [`Beside`] it. Both
//! have sheets of a few rows, made when the first row of one is taken and dropped with the last: a
//! worker that gives its sessions away, or that very many have left, does not hold memory for those
//! who are gone. Free rows of early sheets are taken first, so that late ones become empty. Nothing is
//! ever moved from one row to another.
//!
//! Invariant: a token finds the value that it was given for or nothing, until two thousand million others
//! have been given; a sheet without rows that are
//! taken is kept at most once, for the next that is needed.

use std::fmt;
use std::num::NonZeroU32;
use std::ops::{Index, IndexMut};
use std::ptr;

use slotmap::{Key, KeyData};

use super::session::Token;

/// As many as a word has bits.
const ROWS: usize = 64;

/// Values that are given their tokens here.
pub struct Roll<T> {
    values: Beside<T>,
    /// For each sheet, its rows that are taken.
    taken: Vec<u64>,
    /// All sheets before this one are full.
    full_before: usize,
    /// Of the last token; always odd, as slotmap has it.
    epoch: u32,
}

impl<T> Roll<T> {
    pub fn insert(&mut self, value: T) -> Token {
        let has_room = |sheet: &usize| self.taken[*sheet] != u64::MAX;
        let mut sheets = self.full_before..self.taken.len();
        let sheet = sheets.find(has_room).unwrap_or(self.taken.len());
        if sheet == self.taken.len() {
            self.taken.push(0);
        }
        self.full_before = sheet;
        let row = (!self.taken[sheet]).trailing_zeros();
        self.taken[sheet] |= 1 << row;
        // One count for all rows: nobody has to remember the epochs of a sheet that is gone.
        self.epoch = self.epoch.wrapping_add(2);
        let slot = (sheet * ROWS) as u64 + u64::from(row);
        let token = Token::from(KeyData::from_ffi(u64::from(self.epoch) << 32 | slot));
        self.values.insert(token, value);
        token
    }

    pub fn remove(&mut self, token: Token) -> Option<T> {
        let value = self.values.remove(token)?;
        let (sheet, row, _) = place_of(token);
        self.taken[sheet] &= !(1 << row);
        self.full_before = self.full_before.min(sheet);
        Some(value)
    }

    #[inline]
    pub fn get(&self, token: Token) -> Option<&T> {
        self.values.get(token)
    }

    #[inline]
    pub fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        self.values.get_mut(token)
    }

    /// Where the value is, for whoever wants it fetched ahead: no row is looked at.
    #[inline]
    pub fn whereabouts(&self, token: Token) -> *const T {
        self.values.whereabouts(token)
    }

    pub fn contains(&self, token: Token) -> bool {
        self.get(token).is_some()
    }

    pub fn iter(&self) -> impl Iterator<Item = (Token, &T)> {
        self.values.iter()
    }

    pub fn tokens(&self) -> impl Iterator<Item = Token> {
        self.iter().map(|(token, _)| token)
    }

    pub fn len(&self) -> usize {
        self.values.len
    }

    pub fn is_empty(&self) -> bool {
        self.values.len == 0
    }
}

impl<T> Default for Roll<T> {
    fn default() -> Self {
        Roll {
            values: Beside::default(),
            taken: Vec::new(),
            full_before: 0,
            epoch: u32::MAX,
        }
    }
}

impl<T> Index<Token> for Roll<T> {
    type Output = T;

    #[inline]
    fn index(&self, token: Token) -> &T {
        self.get(token).expect("whoever indexes has looked it up")
    }
}

impl<T> IndexMut<Token> for Roll<T> {
    #[inline]
    fn index_mut(&mut self, token: Token) -> &mut T {
        self.get_mut(token)
            .expect("whoever indexes has looked it up")
    }
}

/// Values of tokens that a roll elsewhere has given.
pub struct Beside<T> {
    sheets: Vec<Option<Box<Sheet<T>>>>,
    /// The last one that became empty.
    spare: Option<Box<Sheet<T>>>,
    len: usize,
}

struct Sheet<T> {
    rows: [Option<Row<T>>; ROWS],
    taken: usize,
}

/// In this order: what is used most of a connection is at its end.
#[repr(C)]
struct Row<T> {
    value: T,
    epoch: NonZeroU32,
}

impl<T> Beside<T> {
    /// In place of what the row had before, whosever that was.
    pub fn insert(&mut self, token: Token, value: T) {
        let (sheet, row, epoch) = place_of(token);
        if sheet >= self.sheets.len() {
            self.sheets.resize_with(sheet + 1, || None);
        }
        let spare = &mut self.spare;
        let sheet = self.sheets[sheet]
            .get_or_insert_with(|| spare.take().unwrap_or_else(|| Box::new(Sheet::new())));
        let before = sheet.rows[row].replace(Row { value, epoch });
        if before.is_none() {
            sheet.taken += 1;
            self.len += 1;
        }
    }

    pub fn remove(&mut self, token: Token) -> Option<T> {
        self.get(token)?;
        let (nth, row, _) = place_of(token);
        let sheet = self.sheets[nth].as_mut()?;
        let value = sheet.rows[row].take()?.value;
        sheet.taken -= 1;
        self.len -= 1;
        if sheet.taken == 0 {
            // Whoever comes and goes at the edge of a sheet does not make and drop one each time.
            self.spare = self.sheets[nth].take();
        }
        Some(value)
    }

    #[inline]
    pub fn get(&self, token: Token) -> Option<&T> {
        let (sheet, row, epoch) = place_of(token);
        let row = self.sheets.get(sheet)?.as_ref()?.rows[row].as_ref()?;
        (row.epoch == epoch).then_some(&row.value)
    }

    #[inline]
    pub fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        let (sheet, row, epoch) = place_of(token);
        let row = self.sheets.get_mut(sheet)?.as_mut()?.rows[row].as_mut()?;
        (row.epoch == epoch).then_some(&mut row.value)
    }

    /// Where the token's value is if it has one here; null if it has none.
    #[inline]
    pub fn whereabouts(&self, token: Token) -> *const T {
        let (sheet, row, _) = place_of(token);
        let sheet = self.sheets.get(sheet).and_then(Option::as_ref);
        // A row that is taken begins with its value.
        sheet.map_or(ptr::null(), |sheet| ptr::from_ref(&sheet.rows[row]).cast())
    }

    pub fn iter(&self) -> impl Iterator<Item = (Token, &T)> {
        let sheets = (0..).zip(&self.sheets);
        let sheets = sheets.filter_map(|(nth, sheet)| Some((nth, sheet.as_ref()?)));
        sheets.flat_map(|(nth, sheet)| {
            let rows = (nth * ROWS as u64..).zip(&sheet.rows);
            rows.filter_map(|(slot, row)| {
                let row = row.as_ref()?;
                let data = KeyData::from_ffi(u64::from(row.epoch.get()) << 32 | slot);
                Some((data.into(), &row.value))
            })
        })
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<T> Default for Beside<T> {
    fn default() -> Self {
        Beside {
            sheets: Vec::new(),
            spare: None,
            len: 0,
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Beside<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<T> Sheet<T> {
    fn new() -> Sheet<T> {
        Sheet {
            rows: [const { None }; ROWS],
            taken: 0,
        }
    }
}

/// Sheet, row and epoch.
#[inline]
fn place_of(token: Token) -> (usize, usize, NonZeroU32) {
    let number = token.data().as_ffi();
    let slot = number as u32 as usize;
    let epoch = NonZeroU32::new((number >> 32) as u32).expect("slotmap sets its lowest bit");
    (slot / ROWS, slot % ROWS, epoch)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use polyport_plugin::testing::Dice;

    use super::*;

    #[test]
    fn a_token_finds_its_value_until_that_is_removed_and_nothing_later() {
        for seed in 0..20 {
            let mut dice = Dice::new(seed);
            let (mut roll, mut beside) = (Roll::default(), Beside::default());
            let (mut here, mut gone) = (HashMap::new(), Vec::new());
            for value in 0..2_000_u64 {
                // More come than go, and then more go than come.
                let comes = dice.below(10) < if value < 1_000 { 7 } else { 3 };
                if comes || here.is_empty() {
                    let token = roll.insert(value);
                    beside.insert(token, !value);
                    assert_eq!(here.insert(token, value), None, "a token is used once");
                } else {
                    let nth = dice.below(here.len());
                    let token = *here.keys().nth(nth).expect("one of them");
                    assert_eq!(roll.remove(token), here.remove(&token));
                    assert!(beside.remove(token).is_some());
                    gone.push(token);
                }
                assert_eq!((roll.len(), beside.len()), (here.len(), here.len()));
            }
            for token in gone {
                assert!(roll.get(token).is_none() && beside.get_mut(token).is_none());
                assert_eq!((roll.remove(token), beside.remove(token)), (None, None));
            }
            let all: HashMap<Token, u64> = roll.iter().map(|(t, value)| (t, *value)).collect();
            assert_eq!(all, here);
            for (token, value) in beside.iter() {
                assert_eq!(here.get(&token), Some(&!*value));
            }
        }
    }

    #[test]
    fn sheets_go_with_the_last_who_is_on_them_but_for_one() {
        let mut roll = Roll::default();
        let tokens: Vec<Token> = (0..10 * ROWS).map(|value| roll.insert(value)).collect();
        let sheets = |roll: &Roll<usize>| roll.values.sheets.iter().flatten().count();
        for (left, token) in (0..10 * ROWS).rev().zip(tokens) {
            roll.remove(token);
            assert_eq!(sheets(&roll), left.div_ceil(ROWS));
        }
        assert!(roll.values.spare.is_some());
        roll.insert(0);
        assert!(roll.values.spare.is_none(), "it was used again");
    }

    #[test]
    fn whoever_comes_takes_the_first_row_that_is_free() {
        let mut roll = Roll::default();
        let tokens: Vec<Token> = (0..3 * ROWS).map(|value| roll.insert(value)).collect();
        let slot = |token: Token| token.data().as_ffi() as u32;
        for nth in [130, 70, 5] {
            roll.remove(tokens[nth]);
        }
        for expected in [5, 70, 130, 3 * ROWS as u32] {
            assert_eq!(slot(roll.insert(0)), expected);
        }
    }

    #[test]
    fn a_value_is_where_it_is_said_to_be() {
        // With room for a niche of its own, and without one.
        fn of<T: Clone>(value: T) {
            let mut roll = Roll::default();
            let tokens: Vec<Token> = (0..3 * ROWS).map(|_| roll.insert(value.clone())).collect();
            for token in &tokens {
                assert_eq!(roll.whereabouts(*token), ptr::from_ref(&roll[*token]));
            }
            let last = roll.insert(value);
            roll.remove(last);
            let other = Beside::<T>::default();
            assert!(other.whereabouts(last).is_null());
        }
        of((vec![1_u8], [0_u64; 22], true));
        of(0_u32);
    }

    #[test]
    fn a_row_is_no_longer_than_its_value_and_epoch() {
        assert_eq!(size_of::<Option<Row<[usize; 3]>>>(), 4 * size_of::<usize>());
    }
}
