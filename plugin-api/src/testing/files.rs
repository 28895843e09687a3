//! Files of the fake host: ranges that a plugin has queued, between the bytes that it has written.
//!
//! A file is read when the peer takes it, as in the daemon; so a test can change it before. Nothing
//! here calls the plugin.
//!
//! Invariant: `before` bytes of what was written leave before the range does.

use std::fs::File;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use super::host::{FakeHost, Peer};
use super::ledger::{Ledger, Output, refusal, short};
use crate::abi;

/// A range that has not left.
pub(crate) struct Queued {
    before: usize,
    file: File,
    offset: u64,
    length: u64,
    in_memory: bool,
}

/// The file holds less than was promised.
pub(crate) struct Short;

impl Output {
    /// Bytes that the peer has not taken, files included.
    pub(crate) fn left(&self) -> usize {
        let of_files: u64 = self.files.iter().map(|queued| queued.length).sum();
        self.queued.len() + of_files as usize
    }

    /// At most so many bytes leave: what they are.
    pub(crate) fn leave(&mut self, room: usize) -> Result<Vec<u8>, Short> {
        let mut left = Vec::new();
        while left.len() < room {
            let room = room - left.len();
            let before = self.files.first().map_or(usize::MAX, |next| next.before);
            if before > 0 {
                let count = room.min(before).min(self.queued.len());
                if count == 0 {
                    break;
                }
                left.extend(self.queued.drain(..count));
                for queued in &mut self.files {
                    queued.before -= count;
                }
                continue;
            }
            let next = &mut self.files[0];
            if !next.in_memory {
                break;
            }
            let mut bytes = vec![0; room.min(next.length as usize)];
            let read = next.file.read_exact_at(&mut bytes, next.offset);
            read.map_err(|_| Short)?;
            next.offset += bytes.len() as u64;
            next.length -= bytes.len() as u64;
            if next.length == 0 {
                self.files.remove(0);
            }
            left.extend(bytes);
        }
        Ok(left)
    }
}

impl Ledger {
    /// `file` is what the plugin's descriptor is open on; the descriptor stays the plugin's unless
    /// the range is taken.
    pub(crate) fn send_file(
        &mut self,
        session: abi::Session,
        file: Option<OwnedFd>,
        offset: u64,
        length: u64,
    ) -> abi::Status {
        let in_memory = !self.cold_files;
        let refused = self.refuses("send_file");
        let status = match (self.alive("send_file", session), file.map(File::from)) {
            (Err(status), _) => status,
            (Ok(output), _) if output.finished => abi::E_GONE,
            (Ok(output), _) if refused => {
                (output.refused, output.forced) = (Some(output.left()), true);
                abi::E_FULL
            }
            (Ok(_), None) => abi::E_ARG,
            (Ok(output), Some(file)) => output.take_file(file, offset, length, in_memory),
        };
        let end = offset.saturating_add(length);
        if status == abi::OK {
            let sent = self.sent_files.entry(session).or_default();
            sent.push(offset..end);
        }
        self.note(format_args!(
            "send_file {} {offset}..{end}{}",
            short(session),
            refusal(status)
        ));
        status
    }
}

impl Output {
    fn take_file(&mut self, file: File, offset: u64, length: u64, in_memory: bool) -> abi::Status {
        let facts = file.metadata().ok().filter(|facts| facts.is_file());
        let end = offset.checked_add(length);
        match (facts, end) {
            (Some(facts), Some(end)) if end <= facts.len() => {}
            _ => return abi::E_ARG,
        }
        if self.files.len() >= abi::FILE_RANGES as usize {
            self.refused = Some(self.left());
            return abi::E_FULL;
        }
        self.files_sent += 1;
        if length > 0 {
            self.files.push(Queued {
                before: self.queued.len(),
                file,
                offset,
                length,
                in_memory,
            });
        }
        abi::OK
    }
}

impl FakeHost {
    /// The ranges of files that the plugin has queued for this peer so far, in their order.
    pub fn sent_files(&self, peer: Peer) -> Vec<Range<u64>> {
        let ledger = self.shared.ledger();
        let sent = ledger.sent_files.get(&peer.session());
        sent.cloned().unwrap_or_default()
    }

    /// With [`cold_files`](super::Setup::cold_files): what waits was read, and leaves.
    #[track_caller]
    pub fn read_files(&mut self) {
        for output in self.shared.ledger().sessions.values_mut() {
            for queued in &mut output.files {
                queued.in_memory = true;
            }
        }
        self.settle();
    }
}
