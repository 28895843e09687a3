//! The desk: where a protocol's asks are taken during a callback, to be carried out at its end.
//!
//! It answers at once what can be answered (is the session alive, is its output full, which timer is
//! this), and writes the rest down. It touches no socket and no connection, so a plugin's call of
//! the host can never re-enter the engine. Bytes inside the lent input are noted by position and
//! not copied; all others are copied here once.
//!
//! Invariant: `ledger` holds exactly the sessions that are open; what an ask names was alive when
//! it was taken.

use slotmap::SlotMap;

use super::files::{FILE_RANGES_MAX, FileRange, HeldFile, Ranges};
use super::handler::{Errand, Job, JobEnd, JobToken};
use super::outbox::Outbox;
use super::output::Output;
use super::piece::Piece;
use super::roll::Beside;
use super::session::{Closing, TimerToken, Token};

mod carry;
mod echo;
mod several;
mod whereabouts;

/// One instance has no more timers than this; arming another is refused as full.
pub const TIMERS_MAX: usize = 65_536;
/// One callback asks for no more than this beside writes; a further ask is refused as full.
pub const ASKS_MAX: usize = 65_536;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Gone,
    Full,
    /// Too many jobs wait.
    Busy,
    /// No more jobs are taken.
    Cancelled,
}

/// Bytes of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said<'a> {
    /// A range of the input that was lent for this call.
    Lent(usize, usize),
    Bytes(&'a [u8]),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    Write {
        session: Token,
        piece: Piece,
    },
    File {
        session: Token,
        range: FileRange,
    },
    /// Half-close once everything written so far has left.
    FinishWriting {
        session: Token,
    },
    Close {
        session: Token,
        way: Closing,
    },
    Pause {
        session: Token,
        on: bool,
    },
    Idle {
        session: Token,
        idle_ms: u64,
    },
    TimerSet {
        timer: TimerToken,
        delay_ms: u64,
    },
}

/// What the desk must know of a session to answer a write.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Bytes that take memory.
    queued: usize,
    /// Bytes of files, and in how many ranges.
    file_bytes: u64,
    ranges: u16,
    /// A write was refused as full since `writable` was last told.
    refused: bool,
    /// Nothing can be written any more.
    finished: bool,
    closed: bool,
    /// On its way to or from another worker: nothing can be asked for.
    away: bool,
}

#[derive(Debug, Default)]
pub struct Desk {
    ledger: Beside<Entry>,
    /// Of any session: the same for all, and said with each that is opened.
    output_bytes_max: usize,
    timers: SlotMap<TimerToken, u64>,
    asks: Vec<Ask>,
    bytes: Vec<u8>,
    /// So many asks have the bytes of the ask before them.
    said_again: usize,
    faults: Vec<String>,
    /// Sessions whose first refusal since the last clearing this is.
    refusals: Vec<Token>,
    /// Datagrams; not cleared with the asks, but when their batch was sent.
    pub outbox: Outbox,
    /// Submitted and not over yet.
    jobs: SlotMap<JobToken, ()>,
    jobs_max: usize,
    jobs_closed: bool,
    jobs_refused: u64,
    /// Submitted and not yet taken by the worker.
    submitted: Vec<Job>,
}

impl Desk {
    /// With so many jobs at once; a default one takes none.
    pub fn with_jobs(jobs_max: usize) -> Desk {
        Desk {
            jobs_max,
            ..Desk::default()
        }
    }

    // --- the engine's side ---------------------------------------------------------------------

    pub fn opened(&mut self, session: Token, output_bytes_max: usize) {
        self.output_bytes_max = output_bytes_max;
        let entry = Entry {
            queued: 0,
            file_bytes: 0,
            ranges: 0,
            refused: false,
            finished: false,
            closed: false,
            away: false,
        };
        self.ledger.insert(session, entry);
    }

    pub fn closed(&mut self, session: Token) {
        self.ledger.remove(session);
    }

    /// The connection's queue as it stands after a flush; true if the protocol is owed a
    /// `writable`.
    pub(super) fn settle(&mut self, session: Token, output: &Output) -> bool {
        self.ledger.get_mut(session).is_some_and(|entry| {
            entry.queued = output.bytes();
            if entry.ranges > 0 {
                let ranges = output.ranges();
                // FILE_RANGES_MAX fits.
                entry.ranges = ranges.map_or(0, Ranges::len) as u16;
                entry.file_bytes = ranges.map_or(0, Ranges::left);
            }
            entry.refused
        })
    }

    /// True once after a write was refused as full: the protocol is owed a `writable`.
    pub fn take_refused(&mut self, session: Token) -> bool {
        self.ledger
            .get_mut(session)
            .is_some_and(|entry| std::mem::take(&mut entry.refused))
    }

    /// Whose writes were newly refused as full during this call.
    pub fn refusals(&self) -> &[Token] {
        &self.refusals
    }

    /// The engine is finishing the session of its own accord: later writes are answered as gone.
    pub fn finishing(&mut self, session: Token) {
        if let Some(entry) = self.ledger.get_mut(session) {
            entry.finished = true;
        }
    }

    /// How many sessions are open.
    pub fn session_count(&self) -> usize {
        self.ledger.len()
    }

    /// False once it has fired or was cancelled.
    pub fn timer_is_armed(&self, timer: TimerToken) -> bool {
        self.timers.contains_key(timer)
    }

    pub fn was_refused(&self, session: Token) -> bool {
        self.ledger.get(session).is_some_and(|entry| entry.refused)
    }

    pub fn asks(&self) -> &[Ask] {
        &self.asks
    }

    /// The copied bytes that the asks refer to.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether their memory is not much larger than they are.
    pub(super) fn is_well_filled(&self) -> bool {
        self.bytes.capacity() <= 2 * self.bytes.len()
    }

    /// The copied bytes, for whoever keeps them; the next go into `spare`, which is empty.
    pub(super) fn swap_bytes(&mut self, spare: Vec<u8>) -> Vec<u8> {
        std::mem::replace(&mut self.bytes, spare)
    }

    /// Faults that the plugin reported itself (panics its glue caught), since last asked.
    pub fn take_faults(&mut self) -> Vec<String> {
        std::mem::take(&mut self.faults)
    }

    pub fn has_faults(&self) -> bool {
        !self.faults.is_empty()
    }

    /// After all asks are carried out.
    pub fn clear(&mut self) {
        self.asks.clear();
        self.bytes.clear();
        self.said_again = 0;
        self.refusals.clear();
        // A burst's memory is not kept for the quiet time after it.
        if self.bytes.capacity() > 1 << 20 {
            self.bytes.shrink_to(1 << 16);
        }
    }

    /// Takes back what this call wrote to `session`: a feed answered as full never happened.
    pub fn undo_writes(&mut self, session: Token) {
        // Which of the asks that are left say the same is not known any more.
        self.said_again = 0;
        let mut undone = 0;
        let (mut ranges, mut file_bytes) = (0, 0);
        let mut reopened = false;
        self.asks.retain(|ask| match ask {
            Ask::Write { session: to, piece } if *to == session => {
                undone += piece.len();
                false
            }
            Ask::File { session: to, range } if *to == session => {
                ranges += 1;
                file_bytes += range.length;
                false
            }
            Ask::FinishWriting { session: to } if *to == session => {
                reopened = true;
                false
            }
            _ => true,
        });
        if let Some(entry) = self.ledger.get_mut(session) {
            entry.queued -= undone;
            entry.ranges -= ranges;
            entry.file_bytes -= file_bytes;
            // A close, or what was finished before this call, stays.
            entry.finished &= !reopened;
            entry.refused = true;
        }
    }

    /// The timer fires: its token, unless it was cancelled.
    pub fn timer_fired(&mut self, timer: TimerToken) -> Option<u64> {
        self.timers.remove(timer)
    }

    pub fn timer_count(&self) -> usize {
        self.timers.len()
    }

    /// Jobs for threads that may block.
    pub fn take_jobs(&mut self) -> Vec<Job> {
        std::mem::take(&mut self.submitted)
    }

    /// Jobs refused as too many since last asked.
    pub fn take_jobs_refused(&mut self) -> u64 {
        std::mem::take(&mut self.jobs_refused)
    }

    /// The job is over, and another may be submitted in its place.
    pub fn job_over(&mut self, job: JobToken) {
        self.jobs.remove(job);
    }

    /// Jobs that are not over.
    pub fn job_count(&self) -> usize {
        self.jobs.len()
    }

    /// From now on no job is taken.
    pub fn close_jobs(&mut self) {
        self.jobs_closed = true;
    }

    // --- the protocol's side -------------------------------------------------------------------

    /// All or nothing.
    pub fn write(&mut self, session: Token, said: Said<'_>, finish: bool) -> Result<(), Refusal> {
        let entry = self.ledger.get_mut(session).ok_or(Refusal::Gone)?;
        if entry.finished {
            return Err(Refusal::Gone);
        }
        let length = match said {
            Said::Lent(start, end) => end - start,
            Said::Bytes(bytes) => bytes.len(),
        };
        if entry.away || entry.queued.saturating_add(length) > self.output_bytes_max {
            return Err(refuse(&mut self.refusals, session, entry));
        }
        entry.queued += length;
        entry.finished = finish;
        if length > 0 {
            let piece = match said {
                Said::Lent(start, end) => Piece::Lent(start..end),
                Said::Bytes(bytes) => Piece::Copied(self.copy(session, bytes)),
            };
            self.asks.push(Ask::Write { session, piece });
        }
        if finish {
            self.asks.push(Ask::FinishWriting { session });
        }
        Ok(())
    }

    /// As `write`, of bytes that `read` puts into their place. False if it does not, or if they would
    /// pass the limit: then nothing was said.
    pub fn write_read(
        &mut self,
        session: Token,
        length: usize,
        read: impl FnOnce(&mut [u8]) -> bool,
    ) -> Result<bool, Refusal> {
        let entry = self.ledger.get_mut(session).ok_or(Refusal::Gone)?;
        if entry.finished {
            return Err(Refusal::Gone);
        }
        if entry.away || entry.queued.saturating_add(length) > self.output_bytes_max {
            return Ok(false);
        }
        let start = self.bytes.len();
        self.bytes.resize(start + length, 0);
        if !read(&mut self.bytes[start..]) {
            self.bytes.truncate(start);
            return Ok(false);
        }
        entry.queued += length;
        let piece = Piece::Copied(start..start + length);
        self.asks.push(Ask::Write { session, piece });
        Ok(true)
    }

    /// A range of a file, behind what was written so far. It takes no memory worth a limit. The file
    /// is asked for only if the range is taken.
    pub fn send_file(
        &mut self,
        session: Token,
        offset: u64,
        length: u64,
        file: impl FnOnce() -> HeldFile,
    ) -> Result<(), Refusal> {
        let entry = self.ledger.get_mut(session).ok_or(Refusal::Gone)?;
        if entry.finished {
            return Err(Refusal::Gone);
        }
        if entry.away || usize::from(entry.ranges) >= FILE_RANGES_MAX {
            return Err(refuse(&mut self.refusals, session, entry));
        }
        entry.ranges += 1;
        entry.file_bytes = entry.file_bytes.saturating_add(length);
        let range = FileRange {
            file: file(),
            offset,
            length,
        };
        self.asks.push(Ask::File { session, range });
        Ok(())
    }

    pub fn close(&mut self, session: Token, way: Closing) -> Result<(), Refusal> {
        let entry = self.ledger.get_mut(session).ok_or(Refusal::Gone)?;
        if entry.away {
            return Err(Refusal::Busy);
        }
        if std::mem::replace(&mut entry.closed, true) {
            return Err(Refusal::Gone);
        }
        entry.finished = true;
        self.asks.push(Ask::Close { session, way });
        Ok(())
    }

    pub fn pause(&mut self, session: Token, on: bool) -> Result<(), Refusal> {
        self.alive(session)?;
        self.note(Ask::Pause { session, on })
    }

    pub fn idle(&mut self, session: Token, idle_ms: u64) -> Result<(), Refusal> {
        self.alive(session)?;
        self.note(Ask::Idle { session, idle_ms })
    }

    pub fn queued(&self, session: Token) -> Result<u64, Refusal> {
        self.ledger
            .get(session)
            .map(|entry| entry.file_bytes.saturating_add(entry.queued as u64))
            .ok_or(Refusal::Gone)
    }

    pub fn timer_set(&mut self, delay_ms: u64, token: u64) -> Result<TimerToken, Refusal> {
        if self.timers.len() >= TIMERS_MAX {
            return Err(Refusal::Full);
        }
        let timer = self.timers.insert(token);
        match self.note(Ask::TimerSet { timer, delay_ms }) {
            Ok(()) => Ok(timer),
            Err(refusal) => {
                self.timers.remove(timer);
                Err(refusal)
            }
        }
    }

    /// After `Ok` the timer never fires.
    pub fn timer_cancel(&mut self, timer: TimerToken) -> Result<(), Refusal> {
        self.timers.remove(timer).map(drop).ok_or(Refusal::Gone)
    }

    pub fn submit(
        &mut self,
        errand: Errand,
        run: impl FnOnce() -> JobEnd + Send + 'static,
    ) -> Result<JobToken, Refusal> {
        if self.jobs_closed {
            return Err(Refusal::Cancelled);
        }
        if self.jobs.len() >= self.jobs_max {
            self.jobs_refused += 1;
            return Err(Refusal::Busy);
        }
        let token = self.jobs.insert(());
        let run = Box::new(run);
        self.submitted.push(Job { token, errand, run });
        Ok(token)
    }

    pub fn fault(&mut self, text: String) {
        // One callback reports at most a handful; a plugin that calls in a loop is cut here.
        if self.faults.len() < 16 {
            self.faults.push(text);
        }
    }

    /// A plugin that asks in a loop is refused before it costs memory; writes have their own limit.
    fn note(&mut self, ask: Ask) -> Result<(), Refusal> {
        if self.asks.len() >= ASKS_MAX {
            return Err(Refusal::Full);
        }
        self.asks.push(ask);
        Ok(())
    }

    fn alive(&self, session: Token) -> Result<(), Refusal> {
        match self.ledger.get(session) {
            Some(entry) if entry.away => Err(Refusal::Busy),
            Some(_) => Ok(()),
            None => Err(Refusal::Gone),
        }
    }
}

/// The protocol is owed a `writable`, and a flush that finds out when.
fn refuse(refusals: &mut Vec<Token>, session: Token, entry: &mut Entry) -> Refusal {
    if !std::mem::replace(&mut entry.refused, true) {
        refusals.push(session);
    }
    Refusal::Full
}
