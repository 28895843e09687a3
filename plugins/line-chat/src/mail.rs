//! Private lines between workers.
//!
//! A topic would be kept on disk, and what is private is not to be; a lease lives in memory only, and
//! everybody who watches its prefix is told of its value. So a private line is the value of a lease.
//! The worker that it is for takes the lease over, in the name of the one that has sent it, which is the
//! receipt, and gives it up. Invariant: each is delivered at most once, for its number only rises; a
//! sender is told when one was not, or when there is no receipt.

use std::collections::{BTreeMap, HashMap};

use polyport_plugin::bus::Lease;
use polyport_plugin::prelude::*;

use crate::sanitise;

const PREFIX: &str = "mail.";
/// Bytes of text in one; a longer line is sent as several.
pub(crate) const TEXT_BYTES_MAX: usize = 800;
/// Workers whose numbers are remembered.
const NODES_MAX: usize = 1024;

/// How long a receipt may take.
const RECEIPT_MS: u64 = 5_000;
/// In a receipt: there is nobody of that nick.
const NOBODY: &[u8] = b"nobody";
pub(crate) const TOO_MUCH: &str = "not sent: too much waits for the link";

/// A private line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Letter {
    /// Folded.
    pub(crate) to: String,
    pub(crate) from: String,
    pub(crate) text: String,
}

#[derive(Debug)]
pub(crate) struct Mail {
    pub(crate) inbox: WatchId,
    node: String,
    number: u64,
    sent: HashMap<ClaimId, Sent>,
    /// Receipts that are not granted yet: the key, and in whose name it is held.
    receipts: HashMap<ClaimId, (String, String)>,
    /// The last number of each worker.
    heard: BTreeMap<String, u64>,
}

/// A letter without a receipt.
#[derive(Debug)]
struct Sent {
    key: String,
    to: String,
    sender: (SessionId, u32),
    /// When the receipt has to be there, once the letter is.
    until_ms: Option<u64>,
}

/// What a sender is told, with its session and seat.
pub(crate) type Failure = (SessionId, u32, String);

impl Mail {
    pub(crate) fn open(cx: &mut Context, node: &str) -> Result<Mail> {
        Ok(Mail {
            inbox: cx.watch(&format!("{PREFIX}{node}."))?,
            node: node.to_owned(),
            number: 0,
            sent: HashMap::new(),
            receipts: HashMap::new(),
            heard: BTreeMap::new(),
        })
    }

    pub(crate) fn send(
        &mut self,
        cx: &mut Context,
        node: &str,
        letter: &Letter,
        sender: (SessionId, u32),
    ) -> Result {
        self.number += 1;
        let key = format!("{PREFIX}{node}.{}.{:016}", self.node, self.number);
        let value = format!("{}\t{}\t{}", letter.to, letter.from, letter.text);
        let claim = cx.claim(&key, value.as_bytes(), self.node.as_bytes())?;
        let sent = Sent {
            key,
            to: letter.to.clone(),
            sender,
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
        value: &[u8],
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
        let Sent {
            to,
            sender: (session, seat),
            until_ms,
            ..
        } = self.sent.remove(&claim)?;
        let why = match until_ms {
            None => TOO_MUCH.to_owned(),
            Some(_) if value == NOBODY => format!("there is no {to} here any more"),
            Some(_) => return Some(None),
        };
        Some(Some((session, seat, why)))
    }

    /// Letters for whose receipt nobody waits any more.
    pub(crate) fn expired(&mut self, cx: &mut Context, now_ms: u64) -> Vec<Failure> {
        let is_due = |_: &ClaimId, sent: &mut Sent| sent.until_ms.is_some_and(|it| it <= now_ms);
        let due = self.sent.extract_if(is_due);
        due.map(|(_, sent)| {
            let _ = cx.release(&sent.key, self.node.as_bytes());
            let why = format!(
                "{} may not have heard you: its server does not answer",
                sent.to
            );
            (sent.sender.0, sent.sender.1, why)
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

    /// Says to whoever has sent a letter that it has come, and whether to somebody.
    pub(crate) fn confirm(&mut self, cx: &mut Context, key: &str, is_heard: bool) {
        let behind = key.strip_prefix(PREFIX).and_then(|it| it.split('.').nth(1));
        let value = if is_heard { b"" } else { NOBODY };
        if let Some(node) = behind
            && let Ok(claim) = cx.claim(key, value, node.as_bytes())
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
        let last = self.heard.entry(node.to_owned()).or_default();
        if number <= *last {
            return None;
        }
        *last = number;
        let text = std::str::from_utf8(value).ok()?;
        let mut fields = text.splitn(3, '\t').map(sanitise::clean);
        Some(Letter {
            to: fields.next()?,
            from: fields.next()?,
            text: fields.next()?,
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
