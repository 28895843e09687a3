//! Descriptors on their way from one program to the next: a list, in which each has one place.
//!
//! Invariant: a descriptor is taken once.

use std::os::fd::{BorrowedFd, OwnedFd};

/// Those that are to be kept open.
#[derive(Default)]
pub(super) struct Kept<'a>(pub(super) Vec<BorrowedFd<'a>>);

impl<'a> Kept<'a> {
    pub(super) fn keep(&mut self, fd: BorrowedFd<'a>) -> usize {
        self.0.push(fd);
        self.0.len() - 1
    }
}

/// Those that were.
pub(super) struct Handed(Vec<Option<OwnedFd>>);

impl Handed {
    pub(super) fn new(fds: Vec<OwnedFd>) -> Handed {
        Handed(fds.into_iter().map(Some).collect())
    }

    pub(super) fn take(&mut self, place: usize) -> Result<OwnedFd, String> {
        let there = self.0.get_mut(place).and_then(Option::take);
        there.ok_or_else(|| format!("the estate names descriptor {place} twice, or has none"))
    }

    /// Nobody has taken these.
    pub(super) fn left(&self) -> usize {
        self.0.iter().flatten().count()
    }
}
