//! Letters that go along with the session that has written them.
//!
//! Its new worker claims them again, so that receipts come there. The old one may have had a receipt
//! meanwhile: so the new one watches the inbox before it claims, and what was seen last under a key says what
//! became of the letter up to then. Invariant: a letter is sent to another worker only if it is certain that
//! the first one has not shown it.

use std::collections::HashMap;

use polyport_plugin::prelude::*;

use super::{BACK, Fate, Letter, Mail, PREFIX, Place, Sent, release};

/// A letter without a receipt, between two workers.
#[derive(Debug)]
pub(crate) struct Along {
    /// Empty if it was not sent yet.
    pub(crate) key: String,
    /// As of [`Sent`].
    pub(crate) is_followed: bool,
    pub(crate) letter: Letter,
}

/// What is not claimed here yet.
#[derive(Debug, Default)]
pub(super) struct Moved {
    /// By key.
    letters: HashMap<String, Unclaimed>,
    /// The inboxes that those lie in, by worker.
    inboxes: HashMap<String, WatchId>,
    /// What lies in those, but for what is claimed here: who comes later may have written it.
    seen: HashMap<String, Vec<u8>>,
}

#[derive(Debug)]
pub(super) struct Unclaimed {
    was_followed: bool,
    /// Its own claim has so many; what others have claimed has fewer.
    moves: u32,
}

impl Moved {
    pub(super) fn has(&self, key: &str) -> bool {
        self.letters.contains_key(key)
    }

    /// It waits here no more; behind the last one no inbox is watched.
    pub(super) fn take(&mut self, cx: &mut Context, key: &str) -> Option<Unclaimed> {
        let unclaimed = self.letters.remove(key)?;
        if self.letters.is_empty() {
            self.seen.clear();
            for inbox in std::mem::take(&mut self.inboxes).into_values() {
                let _ = cx.unwatch(inbox);
            }
        }
        Some(unclaimed)
    }
}

impl Sent {
    pub(super) fn along(&self) -> Along {
        Along {
            key: self.key.clone(),
            is_followed: self.is_followed,
            letter: self.letter.clone(),
        }
    }
}

impl Mail {
    /// Letters of a session without a receipt.
    pub(crate) fn sent_by(&self, id: &str) -> impl Iterator<Item = Along> {
        let its = self.sent.values().filter(move |it| it.letter.from_id == id);
        its.map(Sent::along)
    }

    /// A letter of a session that has come here.
    pub(crate) fn send_again(&mut self, cx: &mut Context, along: Along) -> Fate {
        let Along {
            key,
            is_followed,
            mut letter,
        } = along;
        letter.moves = letter.moves.saturating_add(1);
        if let Some(place) = Place::of(&key).filter(|place| place.hearer == self.node) {
            return self.came_with_its_writer(&key, place, letter);
        }
        let Ok(claim) = self.claim_again(cx, &key, &letter) else {
            return Fate::Unknown(letter);
        };
        let unclaimed = Unclaimed {
            was_followed: is_followed,
            moves: letter.moves,
        };
        self.moved.letters.insert(key.clone(), unclaimed);
        let sent = Sent {
            key,
            letter,
            until_ms: None,
            is_followed: false,
        };
        self.sent.insert(claim, sent);
        Fate::Fine
    }

    /// It lies in the inbox of this worker: what became of it is known here, and whoever claims a key twice
    /// is told nothing of the first time.
    fn came_with_its_writer(&mut self, key: &str, place: Place<'_>, letter: Letter) -> Fate {
        let kept = self.kept.iter().position(|(kept, _)| kept == key);
        let is_kept = kept.map(|at| self.kept.remove(at)).is_some();
        match self.note(place.sender, place.number) {
            None if !is_kept => Fate::Unknown(letter),
            Some(false) if !is_kept => Fate::Fine,
            _ => Fate::Back(letter, String::new()),
        }
    }

    fn claim_again(&mut self, cx: &mut Context, key: &str, letter: &Letter) -> Result<ClaimId> {
        let Place { hearer, sender, .. } = Place::of(key).ok_or(Error::Argument)?;
        let inboxes = &mut self.moved.inboxes;
        if !inboxes.contains_key(hearer) {
            let inbox = cx.watch(&format!("{PREFIX}{hearer}."))?;
            inboxes.insert(hearer.to_owned(), inbox);
        }
        cx.claim(key, letter.encode().as_bytes(), sender.as_bytes())
    }

    /// What is seen in the inbox of another worker.
    pub(crate) fn seen_elsewhere(&mut self, key: &str, held: Option<&[u8]>) {
        let Moved { letters, seen, .. } = &mut self.moved;
        let Some(value) = held else {
            seen.remove(key);
            return;
        };
        let is_own = |unclaimed: &Unclaimed| {
            Letter::decode(value).is_some_and(|it| it.moves >= unclaimed.moves)
        };
        if !letters.get(key).is_some_and(is_own) {
            seen.insert(key.to_owned(), value.to_owned());
        }
    }

    /// A letter is claimed, perhaps one that was claimed elsewhere before.
    pub(super) fn claimed_again(&mut self, cx: &mut Context, claim: ClaimId) -> Fate {
        let sent = self.sent.get_mut(&claim);
        let Some((sent, unclaimed, seen)) = sent.and_then(|sent| {
            let seen = self.moved.seen.remove(&sent.key);
            let unclaimed = self.moved.take(cx, &sent.key)?;
            Some((sent, unclaimed, seen))
        }) else {
            return Fate::Fine;
        };
        sent.is_followed = unclaimed.was_followed && seen.is_some();
        let hearer = Place::of(&sent.key).map_or("", |place| place.hearer);
        let (is_shown, is_back) = match seen.as_deref() {
            Some(b"") => (true, false),
            seen => (false, seen == Some(BACK)),
        };
        if self.alive.contains(hearer) && !is_shown && !is_back {
            return Fate::Fine;
        }
        let (hearer, may_go_on) = (hearer.to_owned(), sent.is_followed || is_back);
        release(cx, &sent.key);
        match self.sent.remove(&claim).map(|sent| sent.letter) {
            Some(letter) if !is_shown && may_go_on => Fate::Back(letter, hearer),
            Some(letter) if !is_shown => Fate::Unknown(letter),
            _ => Fate::Fine,
        }
    }
}
