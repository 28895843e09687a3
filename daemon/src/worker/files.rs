//! Files on their way to peers: what is in memory is sent without a copy, and what is not is read by a
//! thread first, while the loop goes on.
//!
//! A part of a file is looked for before it is sent, so many bytes at once. What to send next, and
//! what a part that is missing means, is the engine's to say.
//!
//! Invariant: `send_file` is asked for no window that was not found in memory, or read, before; so it
//! waits for no disk, unless memory is so short that parts of a window were given up again.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::sys::uio::pread;

use super::stream::Took;
use super::turn::Worker;
use super::{Orders, Wakes};
use crate::engine::After;
use crate::engine::files::{FilePiece, HeldFile};
use crate::engine::protocol::Protocol;
use crate::engine::session::Token;
use crate::sys::file::read_in_memory;

/// Bytes looked for, or read, in one go.
const WINDOW_BYTES: u64 = 512 * 1024;
/// What one connection may send of files in one turn.
const TURN_BYTES_MAX: usize = 1 << 20;
/// What all connections may send of files in one turn: whoever wants little waits for no more than that.
pub(super) const TURN_FILES_BYTES_MAX: usize = 2 << 20;
/// Reads that no thread took are offered again after so long, or when a thread is done.
const AGAIN_MS: u64 = 10;
/// What a thread reads at once.
const READ_BYTES: usize = 64 * 1024;

/// Parts of files that threads read.
#[derive(Debug, Default)]
pub(super) struct Reads {
    /// With a thread, or waiting for one among its tasks.
    pub(super) out: usize,
    /// There was no room for them.
    waiting: VecDeque<Read>,
    again_ms: Option<u64>,
}

impl Reads {
    /// The next moment at which something is to be done.
    pub(super) fn next_deadline_ms(&self) -> Option<u64> {
        self.again_ms
    }
}

/// A part of a file that is not in memory.
#[derive(Debug)]
pub(super) struct Read {
    token: Token,
    file: HeldFile,
    offset: u64,
    length: u64,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct HasRead {
    token: Token,
    length: u64,
    result: nix::Result<()>,
}

/// What a file's piece turned out to be.
enum Found {
    InMemory(u64),
    /// So many bytes are to be read by a thread.
    Absent(u64),
    /// The file ends before.
    Short,
    Unreadable(Errno),
}

/// What sending some of a file has led to.
enum Step {
    /// There may be more to send of it, or of the next one.
    On,
    /// Something else is next.
    Bytes,
    Stop,
}

// --- on the event loop ---------------------------------------------------------------------------

impl<P: Protocol, W: Wakes, O: Orders> Worker<P, W, O> {
    /// Sends files, and the bytes between them, for as long as the socket takes them.
    pub(super) fn send_files(&mut self, token: Token) {
        let share = TURN_BYTES_MAX.min(self.files_room);
        let mut room = share;
        loop {
            match self.send_some(token, &mut room) {
                Step::On => {}
                Step::Bytes if self.flush_bytes(token) == After::SendFile => {}
                Step::Bytes | Step::Stop => break,
            }
        }
        self.files_room -= share - room;
    }

    fn send_some(&mut self, token: Token, room: &mut usize) -> Step {
        let Some(stream) = self.sockets.get_mut(token).filter(|it| it.writable) else {
            return Step::Stop;
        };
        let Some(piece) = self.streams.file_piece(token) else {
            return Step::Bytes;
        };
        if *room == 0 {
            // The others come first.
            stream.unsent = true;
            self.make_ready(token);
            return Step::Stop;
        }
        let Some(file) = piece.file.as_kind::<OwnedFd>() else {
            self.fail_file(token, "it is no file");
            return Step::Stop;
        };
        if piece.ready == 0 {
            let found = look_for(file, &piece);
            return self.take_found(token, found);
        }
        let ready = usize::try_from(piece.ready).unwrap_or(usize::MAX);
        let length = ready.min(piece.room).min(*room);
        match stream.send_file(file, piece.offset, length) {
            Ok(Took::Nothing) => Step::Stop,
            Ok(Took::Bytes(sent)) => {
                *room -= sent;
                let after = self.streams.file_sent(token, sent, self.now_ms);
                match self.end_output(token, after) {
                    After::SendFile => Step::On,
                    _ if self.streams.queued(token) == 0 => Step::Stop,
                    _ => Step::Bytes,
                }
            }
            Ok(Took::End) => {
                self.fail_file(token, "it became shorter");
                Step::Stop
            }
            Err(error) if is_of_socket(error) => {
                self.streams.lost(token, self.now_ms);
                Step::Stop
            }
            Err(error) => {
                self.fail_file(token, error.desc());
                Step::Stop
            }
        }
    }

    fn take_found(&mut self, token: Token, found: Found) -> Step {
        match found {
            Found::InMemory(bytes) => {
                self.streams.file_found(token, bytes, self.now_ms);
                return Step::On;
            }
            Found::Absent(length) => {
                if let Some(piece) = self.streams.file_piece(token) {
                    let (file, offset) = (piece.file.clone(), piece.offset);
                    self.streams.file_awaited(token);
                    self.read_file(Read {
                        token,
                        file,
                        offset,
                        length,
                    });
                }
            }
            Found::Short => self.fail_file(token, "it became shorter"),
            Found::Unreadable(error) => self.fail_file(token, error.desc()),
        }
        Step::Stop
    }

    fn fail_file(&mut self, token: Token, why: &str) {
        self.complaints.file_failed(self.now_ms, why);
        self.streams.file_failed(token, self.now_ms);
    }

    fn read_file(&mut self, read: Read) {
        match self.blocking.submit_read(read) {
            Ok(()) => {}
            Err(read) => {
                let reads = &mut self.blocking.reads;
                reads.waiting.push_back(read);
                reads.again_ms = Some(self.now_ms + AGAIN_MS);
            }
        }
    }

    /// A thread has read what a connection waited for.
    pub(super) fn take_read(&mut self, read: HasRead) {
        self.blocking.reads.out -= 1;
        match read.result {
            Ok(()) => {
                self.streams
                    .file_found(read.token, read.length, self.now_ms);
                self.flush(read.token);
            }
            Err(error) => self.fail_file(read.token, error.desc()),
        }
    }

    /// Reads for which there was no room may have some now.
    pub(super) fn read_waiting(&mut self) {
        self.blocking.reads.again_ms = None;
        for read in std::mem::take(&mut self.blocking.reads.waiting) {
            self.read_file(read);
        }
    }

    pub(super) fn expire_reads(&mut self) {
        let again_ms = self.blocking.reads.again_ms;
        if again_ms.is_some_and(|at_ms| at_ms <= self.now_ms) {
            self.read_waiting();
        }
    }
}

/// Whether the piece's next bytes are in memory. Files are read and forgotten in runs, so the last of
/// them speaks for those before it. Of a long range the first one is asked as well: what was read
/// long ago is forgotten from the front. For a short one that would cost more than it is worth.
fn look_for(file: &OwnedFd, piece: &FilePiece<'_>) -> Found {
    let length = piece.left.min(WINDOW_BYTES);
    let last = piece.offset + length - 1;
    let first = (piece.untried && piece.left > WINDOW_BYTES).then_some(piece.offset);
    for offset in [Some(last), first].into_iter().flatten() {
        match read_in_memory(file, &mut [0], offset) {
            Ok(0) => return Found::Short,
            Ok(_) => {}
            // The file system cannot say: then it is read, for it may be far away.
            Err(Errno::EAGAIN | Errno::EOPNOTSUPP | Errno::EINTR) => return Found::Absent(length),
            Err(error) => return Found::Unreadable(error),
        }
    }
    Found::InMemory(length)
}

/// sendfile(2) does not say whose error it is; these only a socket has.
fn is_of_socket(error: Errno) -> bool {
    matches!(
        error,
        Errno::EPIPE
            | Errno::ECONNRESET
            | Errno::ECONNABORTED
            | Errno::ENOTCONN
            | Errno::ETIMEDOUT
            | Errno::EHOSTUNREACH
            | Errno::ENETUNREACH
            | Errno::ENETDOWN
            | Errno::ENOBUFS
    )
}

// --- on a thread ---------------------------------------------------------------------------------

impl Read {
    /// Reads it into memory, where it stays for the loop to send from.
    pub(super) fn run(self) -> HasRead {
        HasRead {
            token: self.token,
            length: self.length,
            result: self.read(),
        }
    }

    fn read(&self) -> nix::Result<()> {
        let file = self.file.as_kind::<OwnedFd>().ok_or(Errno::EBADF)?;
        let as_signed = |n: u64| i64::try_from(n).map_err(|_| Errno::EOVERFLOW);
        let (mut offset, mut left) = (as_signed(self.offset)?, as_signed(self.length)?);
        // All of it is asked for at once; a file system that takes no advice is read all the same.
        let _ = posix_fadvise(file, offset, left, PosixFadviseAdvice::POSIX_FADV_WILLNEED);
        let mut buffer = vec![0; READ_BYTES];
        while left > 0 {
            let length = READ_BYTES.min(left as usize);
            match pread(file, &mut buffer[..length], offset) {
                // It has become shorter, which sending finds out.
                Ok(0) => return Ok(()),
                Ok(bytes) => {
                    offset += bytes as i64;
                    left -= bytes as i64;
                }
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
