//! Messages that were handed over together are one run: packed one behind the other, and kept and given up
//! together.
//!
//! A row costs SQLite some twenty times what a message in it does. What is packed was read from a disk, and
//! is believed as little as what comes by a wire.
//!
//! Invariant: the messages of a run are in order, and each is one that a frame can carry.

use std::rc::Rc;

use crate::hub::store::Kept;
use crate::hub::wire::{ID_BYTES_MAX, MESSAGE_BYTES_MAX};

/// Packed bytes behind which a run ends: reading one message reads its run.
const RUN_BYTES_MAX: usize = 64 * 1024;
/// Of a packed message, before its id and its bytes.
const HEAD_BYTES: usize = 24;

/// What lies in the database together.
pub(super) struct Run<'a> {
    pub(super) last: &'a Kept,
    pub(super) count: usize,
    pub(super) packed: Vec<u8>,
    /// The same without the messages' bytes, for whoever looks for a number or an id.
    pub(super) heads: Vec<u8>,
}

/// As few runs as may be.
pub(super) fn runs(mut messages: &[Rc<Kept>]) -> impl Iterator<Item = Run<'_>> {
    std::iter::from_fn(move || {
        let mut run = Run {
            last: messages.first()?,
            count: 0,
            packed: Vec::new(),
            heads: Vec::new(),
        };
        while let Some((first, rest)) = messages.split_first()
            && run.packed.len() < RUN_BYTES_MAX
        {
            messages = rest;
            let message = Packed::of(first);
            message.pack(&mut run.packed);
            message.head().pack(&mut run.heads);
            run.last = first;
            run.count += 1;
        }
        Some(run)
    })
}

/// A message as it lies in a run.
#[derive(Clone, Copy, Debug)]
pub struct Packed<'a> {
    pub sequence: u64,
    pub time_ms: u64,
    pub id: &'a [u8],
    pub bytes: &'a [u8],
}

impl<'a> Packed<'a> {
    pub(super) fn of(message: &'a Kept) -> Packed<'a> {
        Packed {
            sequence: message.sequence,
            time_ms: message.time_ms,
            id: &message.id,
            bytes: &message.bytes,
        }
    }

    pub fn pack(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.sequence.to_le_bytes());
        out.extend_from_slice(&self.time_ms.to_le_bytes());
        for part in [self.id, self.bytes] {
            // A frame of the bus holds both.
            out.extend_from_slice(&(part.len() as u32).to_le_bytes());
        }
        out.extend_from_slice(self.id);
        out.extend_from_slice(self.bytes);
    }

    /// The message without its bytes.
    pub fn head(&self) -> Packed<'a> {
        Packed {
            bytes: &[],
            ..*self
        }
    }

    pub(super) fn unpacked(&self) -> Kept {
        Kept {
            sequence: self.sequence,
            time_ms: self.time_ms,
            id: self.id.into(),
            bytes: self.bytes.into(),
        }
    }
}

/// All messages of a run, the oldest first; `None` if they make no sense.
pub fn unpack(packed: &[u8]) -> Option<Vec<Packed<'_>>> {
    unpack_with(packed, None)
}

/// The same, where the last one lies elsewhere.
pub(super) fn unpack_with<'a>(
    mut packed: &'a [u8],
    last: Option<Packed<'a>>,
) -> Option<Vec<Packed<'a>>> {
    let mut messages = Vec::new();
    while !packed.is_empty() {
        let (message, rest) = first(packed)?;
        messages.push(message);
        packed = rest;
    }
    messages.extend(last);
    let mut so_far = 0;
    for message in &messages {
        let in_order = std::mem::replace(&mut so_far, message.sequence) < message.sequence;
        let fits = message.id.len() <= ID_BYTES_MAX && message.bytes.len() <= MESSAGE_BYTES_MAX;
        if !in_order || !fits {
            return None;
        }
    }
    // SQLite has no higher number.
    i64::try_from(so_far).ok()?;
    (!messages.is_empty()).then_some(messages)
}

fn first(packed: &[u8]) -> Option<(Packed<'_>, &[u8])> {
    let (head, rest) = packed.split_first_chunk::<HEAD_BYTES>()?;
    let (words, _) = head.as_chunks::<8>();
    let [sequence, time_ms, lengths] = [words[0], words[1], words[2]].map(u64::from_le_bytes);
    let (id, rest) = rest.split_at_checked(lengths as u32 as usize)?;
    let (bytes, rest) = rest.split_at_checked((lengths >> 32) as usize)?;
    let message = Packed {
        sequence,
        time_ms,
        id,
        bytes,
    };
    Some((message, rest))
}
