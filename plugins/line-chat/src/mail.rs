//! Private lines between workers, as the bus carries them; who is shown them, [`delivery`](crate::delivery)
//! decides.
//!
//! A topic would be kept on disk, and what is private is not to be; a lease lives in memory only, and
//! everybody who watches its prefix is told of its value. So a private line is the value of a lease. The
//! worker that it is for takes the lease over, in the name of the one that has sent it, and gives it up: that
//! is the receipt. With a value it gives the letter back: whom it is for is not there.
//!
//! A letter is its sender's worker's until there is a receipt. Invariant: each is received at most once, for
//! its number is new once; and no letter ends without a receipt or a word.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use polyport_plugin::bus::Lease;
use polyport_plugin::prelude::*;

use crate::member::Id;
use crate::sanitise;

mod moved;

pub(crate) use moved::Along;
use moved::Moved;

const PREFIX: &str = "mail.";
/// Bytes of text in one; a longer line is sent as several.
pub(crate) const TEXT_BYTES_MAX: usize = 800;
/// Workers whose numbers are remembered.
const NODES_MAX: usize = 1024;
/// Numbers of one of them.
const NUMBERS_MAX: usize = 1024;
/// Letters from others that wait for sessions on their way.
const KEPT_MAX: usize = 1000;
/// How long a receipt may take.
const RECEIPT_MS: u64 = 5_000;
/// In place of a letter: it is given back.
const BACK: &[u8] = b"back";
/// Every worker holds a key that is called so and by its name, as long as it lives.
pub(crate) const NODES: &str = "node.";

/// A private line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Letter {
    /// Folded, as it was when the letter was written.
    pub(crate) to: String,
    /// The session that it is for.
    pub(crate) to_id: String,
    pub(crate) from: String,
    pub(crate) from_id: String,
    /// Workers that had it and are not its sender's any more.
    pub(crate) moves: u32,
    pub(crate) text: String,
}

impl Letter {
    pub(crate) fn encode(&self) -> String {
        let Letter {
            to,
            to_id,
            from,
            from_id,
            moves,
            text,
        } = self;
        format!("{to}\t{to_id}\t{from}\t{from_id}\t{moves}\t{text}")
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Letter> {
        let text = std::str::from_utf8(bytes).ok()?;
        let fields: Vec<String> = text.splitn(6, '\t').map(sanitise::clean).collect();
        let [to, to_id, from, from_id, moves, text] = <[String; 6]>::try_from(fields).ok()?;
        let moves = moves.parse().ok()?;
        let are_ids = [&to_id, &from_id].map(|it| Id::of(it.as_bytes()).is_some());
        (are_ids == [true; 2] && text.len() <= TEXT_BYTES_MAX).then_some(Letter {
            to,
            to_id,
            from,
            from_id,
            moves,
            text,
        })
    }
}

#[derive(Debug)]
pub(crate) struct Mail {
    pub(crate) inbox: WatchId,
    pub(crate) nodes: WatchId,
    /// Workers that are there.
    alive: HashSet<String>,
    node: String,
    number: u64,
    sent: HashMap<ClaimId, Sent>,
    moved: Moved,
    /// Receipts that are not granted yet, by key: of two for one letter only the second is answered.
    receipts: HashMap<String, ClaimId>,
    /// What was heard of each worker.
    heard: BTreeMap<String, Heard>,
    /// From other workers, by key, for sessions that are on their way from here.
    kept: Vec<(String, Letter)>,
}

/// A letter without a receipt.
#[derive(Debug)]
struct Sent {
    key: String,
    letter: Letter,
    /// When the receipt has to be there, once the letter is.
    until_ms: Option<u64>,
    /// Whatever became of it, its end is heard here before the end of the worker that it is for.
    is_followed: bool,
}

/// What became of a letter that was sent.
#[derive(Debug)]
pub(crate) enum Fate {
    /// It has come, or that is not known yet.
    Fine,
    /// Whom it is for is not there any more, in this worker.
    Back(Letter, String),
    /// The bus did not take it.
    Refused(Letter),
    /// Nobody can say.
    Unknown(Letter),
}

/// The numbers that were heard last: behind a link that was away, and of letters that are claimed again,
/// they come in any order.
#[derive(Debug, Default)]
struct Heard {
    numbers: BTreeSet<u64>,
    /// This one and all below it.
    forgotten: u64,
}

impl Heard {
    /// Whether this one is new; `None` if it is forgotten, and may have been heard.
    fn note(&mut self, number: u64) -> Option<bool> {
        if number <= self.forgotten {
            return None;
        }
        let is_new = self.numbers.insert(number);
        if self.numbers.len() > NUMBERS_MAX {
            self.forgotten = self.numbers.pop_first().unwrap_or_default();
        }
        Some(is_new)
    }
}

impl Mail {
    pub(crate) fn open(cx: &mut Context, node: &str) -> Result<Mail> {
        Ok(Mail {
            inbox: cx.watch(&format!("{PREFIX}{node}."))?,
            nodes: cx.watch(NODES)?,
            alive: HashSet::new(),
            node: node.to_owned(),
            number: 0,
            sent: HashMap::new(),
            moved: Moved::default(),
            receipts: HashMap::new(),
            heard: BTreeMap::new(),
            kept: Vec::new(),
        })
    }

    // --- letters of sessions here --------------------------------------------------------------

    pub(crate) fn send(&mut self, cx: &mut Context, node: &str, letter: &Letter) -> Result {
        self.number += 1;
        let key = format!("{PREFIX}{node}.{}.{:016}", self.node, self.number);
        let claim = cx.claim(&key, letter.encode().as_bytes(), self.node.as_bytes())?;
        let sent = Sent {
            key,
            letter: letter.clone(),
            until_ms: None,
            is_followed: true,
        };
        self.sent.insert(claim, sent);
        Ok(())
    }

    /// What became of a claim, if it is one of these.
    pub(crate) fn leased(
        &mut self,
        cx: &mut Context,
        (claim, key): (ClaimId, &str),
        (lease, value): (Lease, &[u8]),
        now_ms: u64,
    ) -> Option<Fate> {
        if self.receipts.get(key) == Some(&claim) {
            self.receipts.remove(key);
            release(cx, key);
            return Some(Fate::Fine);
        }
        let sent = self.sent.get_mut(&claim)?;
        if lease == Lease::Won {
            sent.until_ms = Some(now_ms + RECEIPT_MS);
            return Some(self.claimed_again(cx, claim));
        }
        let moves = Letter::decode(value).map(|it| it.moves);
        if sent.until_ms.is_some() && moves.is_some_and(|moves| sent.letter.moves < moves) {
            // Its writer's next worker has it. Should he stay here after all, nobody can say.
            sent.is_followed = false;
            return Some(Fate::Fine);
        }
        let sent = self.sent.remove(&claim)?;
        self.moved.take(cx, &sent.key);
        Some(match Place::of(&sent.key) {
            Some(place) if value == BACK => Fate::Back(sent.letter, place.hearer.to_owned()),
            _ if sent.until_ms.is_none() => Fate::Refused(sent.letter),
            // No receipt: its writer's worker before this one was late with its claim.
            _ if moves.is_some() => self.send_again(cx, sent.along()),
            _ => Fate::Fine,
        })
    }

    /// What is told of the workers: what became of the letters that one has ended without a receipt for.
    pub(crate) fn node_seen(&mut self, cx: &mut Context, node: &str, is_there: bool) -> Vec<Fate> {
        if is_there {
            self.alive.insert(node.to_owned());
            return Vec::new();
        }
        self.alive.remove(node);
        // Of one that is not claimed yet that is looked at when it is.
        let moved = &self.moved;
        let is_his = |_: &ClaimId, sent: &mut Sent| {
            let is_for_it = Place::of(&sent.key).is_some_and(|place| place.hearer == node);
            is_for_it && !moved.has(&sent.key)
        };
        let his = self.sent.extract_if(is_his);
        his.map(|(_, sent)| {
            release(cx, &sent.key);
            match sent.is_followed {
                true => Fate::Back(sent.letter, node.to_owned()),
                false => Fate::Unknown(sent.letter),
            }
        })
        .collect()
    }

    /// Letters for whose receipt nobody waits any more.
    pub(crate) fn expired(&mut self, cx: &mut Context, now_ms: u64) -> Vec<Letter> {
        let is_due = |_: &ClaimId, sent: &mut Sent| sent.until_ms.is_some_and(|it| it <= now_ms);
        let due = self.sent.extract_if(is_due);
        due.map(|(_, sent)| {
            release(cx, &sent.key);
            sent.letter
        })
        .collect()
    }

    /// The link is away: whoever has a letter may show it and end without a receipt.
    pub(crate) fn follow_no_more(&mut self) {
        for sent in self.sent.values_mut() {
            sent.is_followed = false;
        }
    }

    /// The link is back: receipts have their whole time again.
    pub(crate) fn wait_anew(&mut self, now_ms: u64) {
        for sent in self.sent.values_mut().filter(|it| it.until_ms.is_some()) {
            sent.until_ms = Some(now_ms + RECEIPT_MS);
        }
    }

    pub(crate) fn awaits_receipts(&self) -> bool {
        !self.sent.is_empty()
    }

    /// They are another worker's.
    pub(crate) fn let_go(&mut self, cx: &mut Context, id: &str) {
        let its = |_: &ClaimId, sent: &mut Sent| sent.letter.from_id == id;
        for (_, sent) in self.sent.extract_if(its) {
            self.moved.take(cx, &sent.key);
        }
    }

    // --- letters for sessions here -------------------------------------------------------------

    /// A letter, if it was not heard before.
    pub(crate) fn receive(&mut self, cx: &mut Context, key: &str, value: &[u8]) -> Option<Letter> {
        let letter = Letter::decode(value)?;
        let Place { sender, number, .. } = Place::of(key)?;
        let is_new = self.note(sender, number);
        let is_kept = self.kept.iter().any(|(kept, _)| kept == key);
        if is_new == Some(false) && !is_kept {
            // The receipt was lost.
            self.confirm(cx, key);
        }
        (is_new == Some(true)).then_some(letter)
    }

    /// Whether the letter with that number is new here, if that can be said.
    fn note(&mut self, sender: &str, number: u64) -> Option<bool> {
        if self.heard.len() >= NODES_MAX && !self.heard.contains_key(sender) {
            self.heard.clear();
        }
        let heard = self.heard.entry(sender.to_owned()).or_default();
        heard.note(number)
    }

    /// It has come.
    pub(crate) fn confirm(&mut self, cx: &mut Context, key: &str) {
        self.take_over(cx, key, b"");
    }

    /// Whom it is for is not here.
    pub(crate) fn give_back(&mut self, cx: &mut Context, key: &str) {
        self.take_over(cx, key, BACK);
        // Who does not know may send it again.
        if let Some(place) = Place::of(key)
            && let Some(heard) = self.heard.get_mut(place.sender)
        {
            heard.numbers.remove(&place.number);
        }
    }

    fn take_over(&mut self, cx: &mut Context, key: &str, value: &[u8]) {
        if let Some(Place { sender, .. }) = Place::of(key)
            && let Ok(claim) = cx.claim(key, value, sender.as_bytes())
        {
            self.receipts.insert(key.to_owned(), claim);
        }
    }

    /// It waits here, while whom it is for is on his way.
    pub(crate) fn keep(&mut self, cx: &mut Context, key: String, letter: Letter) {
        match self.kept.len() < KEPT_MAX {
            true => self.kept.push((key, letter)),
            false => self.give_back(cx, &key),
        }
    }

    pub(crate) fn take_kept(&mut self, which: impl Fn(&Letter) -> bool) -> Vec<(String, Letter)> {
        self.kept.extract_if(.., |(_, it)| which(it)).collect()
    }
}

fn release(cx: &mut Context, key: &str) {
    if let Some(place) = Place::of(key) {
        let _ = cx.release(key, place.sender.as_bytes());
    }
}

/// What the key of a letter says.
struct Place<'a> {
    /// The worker that it is for.
    hearer: &'a str,
    /// The worker that has sent it first, in whose name the key is held.
    sender: &'a str,
    number: u64,
}

impl Place<'_> {
    fn of(key: &str) -> Option<Place<'_>> {
        let mut parts = key.strip_prefix(PREFIX)?.splitn(3, '.');
        let (hearer, sender, number) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Place {
            hearer,
            sender,
            number: number.parse().ok()?,
        })
    }
}

/// The text in pieces that fit, cut between characters.
pub(crate) fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while rest.len() > TEXT_BYTES_MAX {
        // A character has at most four bytes, so there is a border among these.
        let border = (0..=TEXT_BYTES_MAX)
            .rev()
            .find(|at| rest.is_char_boundary(*at));
        let (piece, behind) = rest.split_at(border.unwrap_or(0));
        pieces.push(piece);
        rest = behind;
    }
    pieces.push(rest);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_new_once_in_whatever_order_they_come() {
        let most = NUMBERS_MAX as u64;
        for (numbers, new) in [
            (&[1, 2, 3, 3, 1][..], &[1, 2, 3][..]),
            (&[2, 1, 2, 1, 4, 3], &[2, 1, 4, 3]),
            (&[1 << 40, 1, u64::MAX, 1, 2], &[1 << 40, 1, u64::MAX, 2]),
        ] {
            let mut heard = Heard::default();
            let is_new = |number: &&u64| heard.note(**number) == Some(true);
            let kept: Vec<u64> = numbers.iter().filter(is_new).copied().collect();
            assert_eq!(kept, new, "{numbers:?}");
        }
        let mut heard = Heard::default();
        assert!((1..=most).all(|number| heard.note(number) == Some(true)));
        // What is forgotten may have been heard.
        let known = [1, most, most + 1, 1, 2, most + 1].map(|number| heard.note(number));
        let (new, old) = (Some(true), Some(false));
        assert_eq!(known, [old, old, new, None, old, old]);
    }
}
