//! Private lines between workers.
//!
//! A topic would be kept on disk, and what is private is not to be; a lease lives in memory only, and
//! everybody who watches its prefix is told of its value. So a private line is the value of a lease
//! that is given up as soon as it was granted. Invariant: each is delivered at most once, for its
//! number only rises; a sender is told when one could not be.

use std::collections::{BTreeMap, HashMap};

use polyport_plugin::prelude::*;

use crate::sanitise;

const PREFIX: &str = "mail.";
/// Bytes of text in one; a longer line is sent as several.
pub(crate) const TEXT_BYTES_MAX: usize = 800;
/// Workers whose numbers are remembered.
const NODES_MAX: usize = 1024;

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
    /// Sent and not granted yet: the key, and who is to hear if it fails.
    sent: HashMap<ClaimId, (String, SessionId, u32)>,
    /// The last number of each worker.
    heard: BTreeMap<String, u64>,
}

impl Mail {
    pub(crate) fn open(cx: &mut Context, node: &str) -> Result<Mail> {
        Ok(Mail {
            inbox: cx.watch(&format!("{PREFIX}{node}."))?,
            node: node.to_owned(),
            number: 0,
            sent: HashMap::new(),
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
        self.sent.insert(claim, (key, sender.0, sender.1));
        Ok(())
    }

    /// What became of one: `None` if it is none of ours, else whom to tell that it was not sent.
    pub(crate) fn granted(
        &mut self,
        cx: &mut Context,
        claim: ClaimId,
        won: bool,
    ) -> Option<Option<(SessionId, u32)>> {
        let (key, session, seat) = self.sent.remove(&claim)?;
        if won {
            let _ = cx.release(&key, self.node.as_bytes());
        }
        Some((!won).then_some((session, seat)))
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
