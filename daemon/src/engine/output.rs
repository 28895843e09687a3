//! Output: bytes that a protocol has said to one peer and the peer has not yet taken.
//!
//! Copied bytes wait in a queue. Bytes that lie in the lent input are spliced in by position until
//! the flush right after the call, so that an echo is sent from the buffer it was read into; what
//! that flush does not get rid of is copied behind it. Nothing here decides when to flush or to stop:
//! it only says whether the fill level is past a watermark.
//!
//! Invariant: `pieces` is exactly what was said and not yet taken, in the order it was said. A line that
//! many are told is all there is of an output, or it is in the queue.

use std::io::IoSlice;
use std::ops::Range;
use std::rc::Rc;
use std::slice;

use super::files::{FILE_RANGES_MAX, FileRange, Ranges};
pub(super) use super::spares::Spares;

mod line;

pub(super) use line::Lines;

/// Slices offered to one system call.
pub const PIECES_MAX: usize = 16;
/// Each splice may be surrounded by queued bytes, and all of them must fit in one offer.
const SPLICES_MAX: usize = (PIECES_MAX - 1) / 2;
/// Behind other bytes, copying less than this is cheaper than another slice.
const SPLICE_BYTES_MIN: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Output {
    queue: Vec<u8>,
    /// In place of the queue, what others are told as well.
    line: Option<Rc<[u8]>>,
    /// Where the bytes not yet taken begin.
    head: usize,
    /// Ranges of files between the bytes; most outputs have none.
    ranges: Option<Box<Ranges>>,
}

impl Output {
    /// All of it, files included.
    pub(super) fn queued(&self) -> usize {
        let of_files = self.ranges.as_ref().map_or(0, |ranges| ranges.left());
        self.bytes().saturating_add(of_files as usize)
    }

    /// What takes memory.
    pub(super) fn bytes(&self) -> usize {
        let line = self.line.as_ref().map_or(0, |line| line.len());
        self.queue.len() + line - self.head
    }

    pub(super) fn ranges(&self) -> Option<&Ranges> {
        self.ranges.as_deref()
    }

    pub(super) fn ranges_mut(&mut self) -> Option<&mut Ranges> {
        self.ranges.as_deref_mut()
    }

    /// Nothing is queued, and no memory is held for it.
    pub(super) fn is_bare(&self) -> bool {
        self.queue.capacity() == 0 && self.line.is_none() && self.ranges.is_none()
    }

    /// All that is said, of one of which nothing was: it waits where it lies.
    pub(super) fn begin_with(&mut self, bytes: Vec<u8>) {
        debug_assert!(self.is_bare(), "nothing is lost");
        self.queue = bytes;
    }

    pub(super) fn takes_ranges(&self) -> bool {
        self.ranges()
            .is_none_or(|ranges| ranges.len() < FILE_RANGES_MAX)
    }

    /// Says a range of a file behind everything else. What lies in the lent input is copied now, so
    /// that positions in the queue are all there is to know.
    pub(super) fn push_range(
        &mut self,
        range: FileRange,
        lent: &[u8],
        splices: &mut Splices,
        spares: &mut Spares,
    ) {
        self.own_line(spares);
        if !splices.is_empty() {
            self.taken(0, splices, lent, spares);
        }
        let bytes = self.bytes();
        self.ranges.get_or_insert_default().push(range, bytes);
    }

    /// So many bytes of the range in front have left.
    pub(super) fn file_sent(&mut self, bytes: u64) {
        if let Some(ranges) = &mut self.ranges {
            ranges.sent(bytes);
            if ranges.len() == 0 {
                self.ranges = None;
            }
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8], spares: &mut Spares) {
        self.own_line(spares);
        if self.queue.capacity() == 0 {
            self.queue = spares.take();
        } else if self.head > self.queue.len() / 2
            || (self.head > 0 && self.queue.len() + bytes.len() > self.queue.capacity())
        {
            self.queue.drain(..self.head);
            self.head = 0;
        }
        self.queue.extend_from_slice(bytes);
    }

    /// Says a range of the lent input behind everything else, without copying if that pays.
    pub(super) fn splice(
        &mut self,
        range: Range<usize>,
        lent: &[u8],
        splices: &mut Splices,
        spares: &mut Spares,
    ) {
        if self.ranges.is_some() {
            return self.push(&lent[range], spares);
        }
        self.own_line(spares);
        let at = self.bytes();
        if let Some(last) = splices.0.last_mut()
            && last.at == at
            && last.range.end == range.start
        {
            last.range.end = range.end;
            return;
        }
        let worth_it = at == 0 || range.len() >= SPLICE_BYTES_MIN;
        if worth_it && splices.0.len() < SPLICES_MAX {
            splices.0.push(Splice { at, range });
        } else {
            self.push(&lent[range], spares);
        }
    }

    pub(super) fn pieces<'a>(&'a self, splices: &Splices, lent: &'a [u8]) -> Pieces<'a> {
        self.pieces_within(usize::MAX, splices, lent)
    }

    /// No more than the first `room` bytes of them.
    pub(super) fn pieces_within<'a>(
        &'a self,
        room: usize,
        splices: &Splices,
        lent: &'a [u8],
    ) -> Pieces<'a> {
        if let Some(line) = &self.line {
            debug_assert!(
                splices.is_empty(),
                "what is lent goes before a line, and then it is in the queue"
            );
            return Pieces::one(&line[self.head..], room);
        }
        let queue = &self.queue[self.head..];
        if self.ranges.is_some() {
            return self.pieces_before_files(queue, room);
        }
        match splices.0.as_slice() {
            [] => Pieces::one(queue, room),
            [echo] if queue.is_empty() => Pieces::one(&lent[echo.range.clone()], room),
            _ => Self::many_pieces(queue, room, splices, lent),
        }
    }

    /// What stands before the first range of a file leaves first.
    #[cold]
    fn pieces_before_files<'a>(&'a self, queue: &'a [u8], room: usize) -> Pieces<'a> {
        let before = self.ranges().map_or(0, |ranges| ranges.bytes_before());
        let mut pieces = Pieces::one(&queue[..before], room);
        pieces.file_follows = pieces.len() == before;
        pieces
    }

    #[cold]
    fn many_pieces<'a>(
        queue: &'a [u8],
        room: usize,
        splices: &Splices,
        lent: &'a [u8],
    ) -> Pieces<'a> {
        let mut pieces = Pieces::one(&[], room);
        let mut from = 0;
        for splice in &splices.0 {
            pieces.add(&queue[from..splice.at]);
            pieces.add(&lent[splice.range.clone()]);
            from = splice.at;
        }
        pieces.add(&queue[from..]);
        pieces
    }

    /// The peer's side has taken the first `n` bytes of the pieces; the rest is kept as the queue.
    pub(super) fn taken(
        &mut self,
        n: usize,
        splices: &mut Splices,
        lent: &[u8],
        spares: &mut Spares,
    ) {
        if self.queue.capacity() == 0 && n == splices.bytes() {
            // Nearly always: what was said has left from where it was read.
            splices.0.clear();
            return;
        }
        if self.line.is_some() {
            return self.line_taken(n);
        }
        if splices.0.is_empty() {
            self.head += n;
            if let Some(ranges) = &mut self.ranges {
                ranges.bytes_left(n);
            }
        } else if n == self.bytes() + splices.bytes() {
            self.head = self.queue.len();
        } else if splices.0.iter().all(|splice| splice.at == self.bytes()) {
            // The queue stays where it is: with a slow peer it is long, and this happens every turn.
            let of_queue = n.min(self.bytes());
            self.head += of_queue;
            let mut skip = n - of_queue;
            for splice in &splices.0 {
                let piece = &lent[splice.range.clone()];
                let skipped = skip.min(piece.len());
                self.push(&piece[skipped..], spares);
                skip -= skipped;
            }
        } else {
            let mut rest = spares.take();
            let mut skip = n;
            for piece in self.pieces(splices, lent).as_slice() {
                let skipped = skip.min(piece.len());
                rest.extend_from_slice(&piece[skipped..]);
                skip -= skipped;
            }
            spares.give(std::mem::replace(&mut self.queue, rest));
            self.head = 0;
        }
        splices.0.clear();
        if self.bytes() == 0 {
            spares.give(std::mem::take(&mut self.queue));
            self.head = 0;
        }
    }

    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.queue.capacity()
    }

    pub(super) fn discard(&mut self, spares: &mut Spares) {
        spares.give(std::mem::take(&mut self.queue));
        self.line = None;
        self.head = 0;
        self.ranges = None;
    }
}

/// A range of the lent input, said after the first `at` queued bytes.
#[derive(Debug)]
struct Splice {
    at: usize,
    range: Range<usize>,
}

/// The splices of the one connection that was just fed.
#[derive(Debug, Default)]
pub(super) struct Splices(Vec<Splice>);

impl Splices {
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(|splice| splice.range.len()).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The range of the only one.
    pub(super) fn only(&self) -> Option<Range<usize>> {
        match self.0.as_slice() {
            [splice] => Some(splice.range.clone()),
            _ => None,
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// What one system call is offered. Nearly always it is one piece, which is then all that is set up.
#[derive(Debug)]
pub struct Pieces<'a> {
    offer: Offer<'a>,
    /// Bytes that may still be added.
    room: usize,
    /// Right behind them a file is sent.
    file_follows: bool,
    /// Right behind them our FIN is sent.
    fin_follows: bool,
}

#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "it lives on the stack for one call, where an allocation would cost more"
)]
enum Offer<'a> {
    /// Empty if there is nothing to offer.
    One(IoSlice<'a>),
    Many([IoSlice<'a>; PIECES_MAX], usize),
}

impl Default for Pieces<'_> {
    fn default() -> Self {
        Pieces::one(&[], usize::MAX)
    }
}

impl<'a> Pieces<'a> {
    /// The first `room` bytes of these.
    fn one(bytes: &'a [u8], room: usize) -> Pieces<'a> {
        let bytes = &bytes[..bytes.len().min(room)];
        Pieces {
            offer: Offer::One(IoSlice::new(bytes)),
            room: room - bytes.len(),
            file_follows: false,
            fin_follows: false,
        }
    }

    pub fn as_slice(&self) -> &[IoSlice<'a>] {
        match &self.offer {
            Offer::One(piece) if piece.is_empty() => &[],
            Offer::One(piece) => slice::from_ref(piece),
            Offer::Many(pieces, count) => &pieces[..*count],
        }
    }

    pub fn len(&self) -> usize {
        self.as_slice().iter().map(|piece| piece.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    /// Right behind them a file is sent, or our FIN: the last packet may wait for that.
    pub fn more_follows(&self) -> bool {
        self.file_follows || self.fin_follows
    }

    /// These are all there is, and then comes our FIN.
    pub(super) fn before_fin(mut self) -> Self {
        self.fin_follows = true;
        self
    }

    fn add(&mut self, bytes: &'a [u8]) {
        let bytes = &bytes[..bytes.len().min(self.room)];
        self.room -= bytes.len();
        if bytes.is_empty() {
            return;
        }
        let piece = IoSlice::new(bytes);
        match &mut self.offer {
            Offer::One(first) if first.is_empty() => *first = piece,
            Offer::One(first) => {
                let mut pieces = [IoSlice::new(&[]); PIECES_MAX];
                pieces[..2].copy_from_slice(&[*first, piece]);
                self.offer = Offer::Many(pieces, 2);
            }
            Offer::Many(pieces, count) => {
                pieces[*count] = piece;
                *count += 1;
            }
        }
    }
}

/// Fill levels of one connection's output.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watermarks {
    pub(super) high: usize,
    pub(super) low: usize,
}

impl Watermarks {
    pub(super) fn of(output_bytes_max: usize) -> Watermarks {
        Watermarks {
            // At least 1, or an empty queue would be past it.
            high: (output_bytes_max / 2).max(1),
            low: output_bytes_max / 4,
        }
    }
}

#[cfg(test)]
mod tests;
