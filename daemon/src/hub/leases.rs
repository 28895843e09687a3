//! The leases of one service: who holds which key, and who watches.
//!
//! Invariant: a key has one holder at most, and that one is a member who is here.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::core::MemberId;

/// Leases of one service.
pub(super) const LEASES_MAX: usize = 65_536;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) member: MemberId,
    pub(super) token: u64,
    pub(super) session: Box<[u8]>,
    pub(super) value: Box<[u8]>,
}

#[derive(Debug, Default)]
pub(super) struct Leases {
    held: BTreeMap<String, Held>,
    pub(super) watchers: Vec<(MemberId, u64)>,
}

/// What became of a claim.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// With the claim that has lost it by that, if there was another one.
    Won(Option<Held>),
    Denied(Box<[u8]>),
}

impl Leases {
    pub(super) fn claim(&mut self, key: &str, claim: Held) -> Verdict {
        let is_full = self.held.len() >= LEASES_MAX;
        match self.held.get_mut(key) {
            Some(held) if held.session == claim.session => {
                let before = std::mem::replace(held, claim);
                Verdict::Won(Some(before))
            }
            Some(held) => Verdict::Denied(held.value.clone()),
            None if is_full => Verdict::Denied(Box::default()),
            None => {
                self.held.insert(key.to_owned(), claim);
                Verdict::Won(None)
            }
        }
    }

    /// What a key is elsewhere; false if that is known.
    pub(super) fn set(&mut self, key: &str, held: Held) -> bool {
        let value = held.value.clone();
        let before = self.held.insert(key.to_owned(), held);
        before.is_none_or(|before| before.value != value)
    }

    /// Nobody has it; false if that is known.
    pub(super) fn unset(&mut self, key: &str) -> bool {
        self.held.remove(key).is_some()
    }

    /// True if the key was this session's, and is free now.
    pub(super) fn release(&mut self, key: &str, member: MemberId, session: &[u8]) -> bool {
        let mine = |held: &Held| held.member == member && *held.session == *session;
        self.held.get(key).is_some_and(mine) && self.held.remove(key).is_some()
    }

    /// All that a member held, which is free now.
    pub(super) fn leave(&mut self, member: MemberId) -> Vec<String> {
        self.watchers.retain(|(watcher, _)| *watcher != member);
        let mut gone = Vec::new();
        self.held.retain(|key, held| {
            let stays = held.member != member;
            if !stays {
                gone.push(key.clone());
            }
            stays
        });
        gone
    }

    /// The next key after this one that begins with the prefix.
    pub(super) fn next(&self, after: Option<&str>, prefix: &str) -> Option<(&str, &[u8])> {
        let from = match after {
            Some(key) => Bound::Excluded(key),
            None => Bound::Included(prefix),
        };
        let (key, held) = self.held.range::<str, _>((from, Bound::Unbounded)).next()?;
        key.starts_with(prefix)
            .then_some((key.as_str(), &*held.value))
    }
}
