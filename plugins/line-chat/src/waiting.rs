//! Lines that were said and that the bus has not numbered yet.
//!
//! As long as the bus is there nobody looks at them. When it is away for longer, they are shown in this
//! worker at once, and not a second time when the bus brings them. Invariant: as many wait as the
//! daemon takes for the bus, for each is told of once by it.

use std::collections::{HashSet, VecDeque};
use std::rc::Rc;

use polyport_plugin::{SessionId, bus::PublishId};

use crate::message::Said;

#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) session: Option<SessionId>,
    pub(crate) seat: u32,
    pub(crate) line: Option<(Rc<str>, Said)>,
    pub(crate) number: u64,
    pub(crate) said_ms: u64,
    /// Of an operator, who is told once it is done.
    pub(crate) order: Option<Ordered>,
}

/// An order as it went to the bus: with the same id it is the same one, whoever says it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ordered {
    pub(crate) id: Vec<u8>,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Waiting {
    node: String,
    number: u64,
    pending: VecDeque<(PublishId, Pending)>,
    /// Numbers of those that were shown already.
    shown: HashSet<u64>,
}

impl Waiting {
    pub(crate) fn new(node: &str) -> Waiting {
        Waiting {
            node: node.to_owned(),
            number: 0,
            pending: VecDeque::new(),
            shown: HashSet::new(),
        }
    }

    /// The number of the next message, and its id on the bus.
    pub(crate) fn next(&mut self) -> (u64, Vec<u8>) {
        self.number += 1;
        // By hand: the formatter takes as long as all else that is done with a line.
        let (mut digits, mut at, mut rest) = ([0; 20], 20, self.number);
        while rest > 0 {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        (
            self.number,
            [self.node.as_bytes(), b".", &digits[at..]].concat(),
        )
    }

    pub(crate) fn add(&mut self, publish: PublishId, pending: Pending) {
        self.pending.push_back((publish, pending));
    }

    /// What somebody has ordered last and was not told of yet.
    pub(crate) fn order_of(&self, session: SessionId) -> Option<&Ordered> {
        let mut pending = self.pending.iter().rev().map(|(_, pending)| pending);
        pending.find_map(|it| it.order.as_ref().filter(|_| it.session == Some(session)))
    }

    /// Nearly always it is the first of them, for the bus answers in order.
    pub(crate) fn published(&mut self, publish: PublishId) -> Option<Pending> {
        let at = self.pending.iter().position(|(it, _)| *it == publish)?;
        self.pending.remove(at).map(|(_, pending)| pending)
    }

    pub(crate) fn show(&mut self, number: u64) {
        self.shown.insert(number);
    }

    /// Those that nobody was shown yet, in their order; they count as shown from now on.
    pub(crate) fn show_all(&mut self) -> Vec<(Rc<str>, Said)> {
        let mut lines = Vec::new();
        for (_, pending) in &self.pending {
            if let Some(line) = &pending.line
                && self.shown.insert(pending.number)
            {
                lines.push(line.clone());
            }
        }
        lines
    }

    /// Whether the message with this id is one of ours that was shown; asked once.
    pub(crate) fn was_shown(&mut self, id: &[u8]) -> bool {
        if self.shown.is_empty() {
            return false;
        }
        let number = std::str::from_utf8(id)
            .ok()
            .and_then(|id| id.strip_prefix(&self.node))
            .and_then(|id| id.strip_prefix('.'))
            .and_then(|number| number.parse().ok());
        number.is_some_and(|number| self.shown.remove(&number))
    }
}
