//! Private lines between workers.
//!
//! A topic would be kept on disk, and what is private is not to be; a lease lives in memory only, and
//! everybody who watches its prefix is told of its value. So a private line is the value of a lease.
//! The worker that it is for takes the lease over, in the name of the one that has sent it, which is the
//! receipt, and gives it up.
//!
//! A letter is for a session, not for a nick: where that session is on its way to another worker it waits,
//! and goes after it. Invariant: each is delivered at most once, for its number only rises; a sender is
//! told when one was not, or when there is no receipt.

use std::collections::{BTreeMap, HashMap};

use polyport_plugin::bus::Lease;
use polyport_plugin::prelude::*;

use crate::format::Notice;
use crate::member::Stage;
use crate::{Chat, is_away, names, now_ms, sanitise, telling};

const PREFIX: &str = "mail.";
/// Bytes of text in one; a longer line is sent as several.
pub(crate) const TEXT_BYTES_MAX: usize = 800;
/// Workers whose numbers are remembered.
const NODES_MAX: usize = 1024;
/// Letters that wait for somebody who is on his way to another worker, and how long.
const HELD_MAX: usize = 1000;
const HELD_MS: u64 = 10_000;
/// Workers that a letter may have gone through.
const HOPS_MAX: u8 = 8;

/// How long a receipt may take.
const RECEIPT_MS: u64 = 5_000;
pub(crate) const TOO_MUCH: &str = "not sent: too much waits for the link";

/// A private line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Letter {
    /// Folded, as it was when the letter was written.
    pub(crate) to: String,
    /// The session that it is for.
    pub(crate) to_id: String,
    /// Nobody, if it is an answer to one: its text is then why that has not come.
    pub(crate) from: String,
    pub(crate) from_id: String,
    pub(crate) hops: u8,
    pub(crate) text: String,
}

impl Letter {
    fn encode(&self) -> String {
        format!(
            "{}\t{}\t{}\t{}\t{}\t{}",
            self.to, self.to_id, self.from, self.from_id, self.hops, self.text
        )
    }

    fn decode(bytes: &[u8]) -> Option<Letter> {
        let text = std::str::from_utf8(bytes).ok()?;
        let fields: Vec<String> = text.splitn(6, '\t').map(sanitise::clean).collect();
        let [to, to_id, from, from_id, hops, text] = <[String; 6]>::try_from(fields).ok()?;
        Some(Letter {
            to,
            to_id,
            from,
            from_id,
            hops: hops.parse().ok()?,
            text,
        })
    }
}

#[derive(Debug)]
pub(crate) struct Mail {
    pub(crate) inbox: WatchId,
    node: String,
    number: u64,
    sent: HashMap<ClaimId, Sent>,
    /// Receipts that are not granted yet: the key, and in whose name it is held.
    receipts: HashMap<ClaimId, (String, String)>,
    /// What was heard of each worker.
    heard: BTreeMap<String, Heard>,
    /// For sessions that are on their way.
    held: Vec<Held>,
}

/// A letter without a receipt.
#[derive(Debug)]
struct Sent {
    key: String,
    letter: Letter,
    /// When the receipt has to be there, once the letter is.
    until_ms: Option<u64>,
}

/// A letter that waits, since when, and the key that its receipt is due for, if it came from a worker.
#[derive(Debug)]
struct Held {
    since_ms: u64,
    letter: Letter,
    key: Option<String>,
}

/// The highest number that was heard, and which of the 64 below it: behind a link that was away they come in
/// any order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Heard {
    last: u64,
    below: u64,
}

impl Heard {
    /// Whether this one is new.
    fn note(&mut self, number: u64) -> bool {
        if let Some(beyond) = number.checked_sub(self.last).filter(|beyond| *beyond > 0) {
            let moved = u32::try_from(beyond).ok().and_then(|by| {
                let marked = (self.below << 1) | 1;
                marked.checked_shl(by - 1)
            });
            *self = Heard {
                last: number,
                below: moved.unwrap_or(0),
            };
            return true;
        }
        let Some(bit) = (self.last - number).checked_sub(1).filter(|bit| *bit < 64) else {
            return false;
        };
        let is_new = self.below & (1 << bit) == 0;
        self.below |= 1 << bit;
        is_new
    }
}

/// A letter that did not come, and what whoever has written it is told.
pub(crate) type Failure = (Letter, String);

impl Mail {
    pub(crate) fn open(cx: &mut Context, node: &str) -> Result<Mail> {
        Ok(Mail {
            inbox: cx.watch(&format!("{PREFIX}{node}."))?,
            node: node.to_owned(),
            number: 0,
            sent: HashMap::new(),
            receipts: HashMap::new(),
            heard: BTreeMap::new(),
            held: Vec::new(),
        })
    }

    pub(crate) fn send(&mut self, cx: &mut Context, node: &str, letter: Letter) -> Result {
        self.number += 1;
        let key = format!("{PREFIX}{node}.{}.{:016}", self.node, self.number);
        let claim = cx.claim(&key, letter.encode().as_bytes(), self.node.as_bytes())?;
        let sent = Sent {
            key,
            letter,
            until_ms: None,
        };
        self.sent.insert(claim, sent);
        Ok(())
    }

    /// What became of a claim: `None` if it is none of ours, else whom to tell that a letter has failed.
    pub(crate) fn leased(
        &mut self,
        cx: &mut Context,
        claim: ClaimId,
        lease: Lease,
        now_ms: u64,
    ) -> Option<Option<Failure>> {
        if let Some((key, node)) = self.receipts.remove(&claim) {
            let _ = cx.release(&key, node.as_bytes());
            return Some(None);
        }
        let sent = self.sent.get_mut(&claim)?;
        if lease == Lease::Won {
            sent.until_ms = Some(now_ms + RECEIPT_MS);
            return Some(None);
        }
        let sent = self.sent.remove(&claim)?;
        // Lost to the worker that it was for, it has come.
        let has_come = sent.until_ms.is_some();
        Some((!has_come).then(|| (sent.letter, TOO_MUCH.to_owned())))
    }

    /// Letters for whose receipt nobody waits any more.
    pub(crate) fn expired(&mut self, cx: &mut Context, now_ms: u64) -> Vec<Failure> {
        let is_due = |_: &ClaimId, sent: &mut Sent| sent.until_ms.is_some_and(|it| it <= now_ms);
        let due = self.sent.extract_if(is_due);
        due.map(|(_, sent)| {
            let _ = cx.release(&sent.key, self.node.as_bytes());
            let why = format!(
                "{} may not have heard you: its server does not answer",
                sent.letter.to
            );
            (sent.letter, why)
        })
        .collect()
    }

    /// The link was away: receipts have their whole time again.
    pub(crate) fn wait_anew(&mut self, now_ms: u64) {
        for sent in self.sent.values_mut().filter(|it| it.until_ms.is_some()) {
            sent.until_ms = Some(now_ms + RECEIPT_MS);
        }
    }

    pub(crate) fn awaits_receipts(&self) -> bool {
        !self.sent.is_empty()
    }

    fn confirm_some(&mut self, cx: &mut Context, key: Option<String>) {
        if let Some(key) = key {
            self.confirm(cx, &key);
        }
    }

    fn holds(&self, key: &str) -> bool {
        self.held
            .iter()
            .any(|held| held.key.as_deref() == Some(key))
    }

    /// Says to whoever has sent a letter that it waits here no more.
    pub(crate) fn confirm(&mut self, cx: &mut Context, key: &str) {
        let behind = key.strip_prefix(PREFIX).and_then(|it| it.split('.').nth(1));
        if let Some(node) = behind
            && let Ok(claim) = cx.claim(key, b"", node.as_bytes())
        {
            self.receipts
                .insert(claim, (key.to_owned(), node.to_owned()));
        }
    }

    /// The letter that a key and its value are, if it was not heard before.
    pub(crate) fn receive(&mut self, key: &str, value: &[u8]) -> Option<Letter> {
        let behind = key.strip_prefix(PREFIX)?.strip_prefix(&self.node)?;
        let (node, number) = behind.strip_prefix('.')?.split_once('.')?;
        let number: u64 = number.parse().ok()?;
        if self.heard.len() >= NODES_MAX && !self.heard.contains_key(node) {
            self.heard.clear();
        }
        let heard = self.heard.entry(node.to_owned()).or_default();
        heard.note(number).then(|| Letter::decode(value))?
    }

    pub(crate) fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }
}

impl Chat {
    /// A letter for a session that is here, or was.
    pub(crate) fn deliver(&mut self, cx: &mut Context, letter: Letter) {
        self.hand_over(cx, letter, None);
    }

    /// A letter from another worker, whose receipt is given when it does not wait here any more.
    pub(crate) fn mail_came(&mut self, cx: &mut Context, key: &str, value: &[u8]) {
        match self.mail.receive(key, value) {
            Some(letter) => self.hand_over(cx, letter, Some(key.to_owned())),
            // Heard before: the receipt did not come.
            None if !value.is_empty() && !self.mail.holds(key) => self.mail.confirm(cx, key),
            None => {}
        }
    }

    /// To the session, or after it, or back.
    fn hand_over(&mut self, cx: &mut Context, letter: Letter, key: Option<String>) {
        let person = self.presence.with_id(&letter.to, &letter.to_id);
        let folded = person
            .as_ref()
            .map_or_else(|| letter.to.clone(), |it| names::fold(&it.nick));
        let seats = [self.nicks.get(&folded), self.nicks.get(&letter.to)];
        let is_it = |seat: &&u32| {
            let member = self.members.get(**seat as usize).and_then(Option::as_ref);
            member.is_some_and(|it| *it.id.text() == *letter.to_id && it.stage != Stage::Left)
        };
        let seat = seats.into_iter().flatten().find(is_it).copied();
        if let Some(member) = seat.and_then(|seat| self.member(seat))
            && !(member.exported && is_away(cx, member.session))
        {
            if letter.from.is_empty() {
                let told = Notice::Told {
                    kind: "error",
                    text: &letter.text,
                };
                telling::show(cx, member, told);
            } else if !member.ignores(&names::fold(&letter.from)) {
                let (from, text) = (letter.from.as_str(), letter.text.as_str());
                telling::show(cx, member, Notice::Private { from, text });
                member.partner = Some(Box::new((letter.from_id, letter.from)));
            }
            return self.mail.confirm_some(cx, key);
        }
        match person.filter(|it| !it.node.is_empty()) {
            None => self.has_left(cx, letter),
            Some(person) if person.node == self.node => return self.hold(cx, letter, key),
            Some(_) if letter.hops >= HOPS_MAX => self.has_left(cx, letter),
            Some(person) => {
                let further = Letter {
                    to: folded,
                    hops: letter.hops + 1,
                    ..letter.clone()
                };
                if self.mail.send(cx, &person.node, further).is_err() {
                    return self.hold(cx, letter, key);
                }
            }
        }
        self.mail.confirm_some(cx, key);
    }

    /// Where it is on its way to is not known yet.
    fn hold(&mut self, cx: &mut Context, letter: Letter, key: Option<String>) {
        if self.mail.held.len() >= HELD_MAX {
            self.has_left(cx, letter);
            return self.mail.confirm_some(cx, key);
        }
        self.mail.held.push(Held {
            since_ms: now_ms(cx),
            letter,
            key,
        });
        self.keep_ticking(cx);
    }

    /// Tries again what waits.
    pub(crate) fn deliver_held(&mut self, cx: &mut Context) {
        let now_ms = now_ms(cx);
        for held in std::mem::take(&mut self.mail.held) {
            if held.since_ms + HELD_MS <= now_ms {
                self.has_left(cx, held.letter);
                self.mail.confirm_some(cx, held.key);
            } else {
                let place = self.mail.held.len();
                self.hand_over(cx, held.letter, held.key);
                if let Some(again) = self.mail.held.get_mut(place) {
                    again.since_ms = held.since_ms;
                }
            }
        }
    }

    fn has_left(&mut self, cx: &mut Context, letter: Letter) {
        let why = format!("not delivered: {} has left", letter.to);
        self.send_back(cx, (letter, why));
    }

    /// Whoever wrote it is told, wherever he is by now; nobody is told of an answer that fails.
    pub(crate) fn send_back(&mut self, cx: &mut Context, (letter, why): Failure) {
        if letter.from.is_empty() {
            return;
        }
        let back = Letter {
            to: names::fold(&letter.from),
            to_id: letter.from_id,
            from: String::new(),
            from_id: String::new(),
            hops: 0,
            text: why,
        };
        self.deliver(cx, back);
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
        for (numbers, new) in [
            (&[1, 2, 3, 3, 1][..], &[1, 2, 3][..]),
            (&[2, 1, 2, 1, 4, 3], &[2, 1, 4, 3]),
            (&[65, 1, 64, 1, 66, 2, 1], &[65, 1, 64, 66, 2]),
            (&[1, 65, 1, 66, 1], &[1, 65, 66]),
            // What is too far below may have been heard.
            (&[100, 35, 36, 36, 1 << 40, 100], &[100, 36, 1 << 40]),
        ] {
            let mut heard = Heard::default();
            let kept = numbers.iter().filter(|number| heard.note(**number));
            let kept: Vec<u64> = kept.copied().collect();
            assert_eq!(kept, new, "{numbers:?}");
        }
    }
}
