//! The crash area of a scoreboard: which code lies where in the worker, and what it wrote down when a
//! signal ended it.
//!
//! The worker publishes its ranges of code as lines of text, `base start end path`, before and after
//! its plugin is loaded; `sys::crash` fills the record. The supervisor reads both once the worker is
//! dead and trusts neither: numbers are shown or compared, a path is bounded text.
//!
//! Invariant: reading never fails and never allocates more than the area holds.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::{CRASH_AT, Callback, HEADER_WORDS, SLOT_WORDS, Scoreboard};
use crate::sys::crash as record;

/// Text of ranges of code; a process has about fifteen, of a hundred bytes each.
const RANGES_BYTES_MAX: usize = 8 * 1024;
const PATH_CHARS_MAX: usize = 512;
/// Its number wherever the daemon is built for (signal(7)).
const SIGSEGV: i32 = 11;
/// Behind the record: how many bytes of text, then the text.
const RANGES_AT: usize = CRASH_AT + record::WORDS;
pub(super) const AREA_WORDS: usize = record::WORDS + 1 + RANGES_BYTES_MAX / 8;

/// A run of code in the memory of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeRange {
    /// Where the file's first byte lies, or would lie: what a debugger counts from.
    pub base: u64,
    pub start: u64,
    pub end: u64,
    pub path: String,
}

/// What a crashing worker wrote down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrashRecord {
    /// The thread's number, which is that of its slot; `None` if it was none of the daemon's.
    pub thread: Option<usize>,
    pub signal: i32,
    /// `si_code`: why the signal was sent; above 0 by the kernel because of what the code did.
    pub code: i32,
    pub address: u64,
    /// The process that sent it, if one did.
    pub sender: i32,
    pub inside: bool,
    pub callback: Callback,
    pub session: u64,
    pub source: u64,
    pub overflow: bool,
    pub registers: Vec<(&'static str, u64)>,
    /// Addresses of code, innermost first.
    pub frames: Vec<u64>,
}

impl Scoreboard {
    /// The worker, once: its crashes are recorded from now on, those of this thread first of all.
    pub fn record_crashes(&self) -> io::Result<()> {
        // For the handler, which may run until the last moment of the process.
        let words = Box::leak(Box::new(Arc::clone(&self.words)));
        record::record_into(words, CRASH_AT, HEADER_WORDS, SLOT_WORDS)?;
        // Covered for as long as the process lives: this is its main thread.
        std::mem::forget(record::cover_thread(0)?);
        Ok(())
    }

    /// The worker, when it has loaded code: where it lies, from the text of proc_pid_maps(5).
    pub fn publish_code(&self, maps: &str) {
        let ranges = code_ranges(maps);
        record::set_code(
            ranges
                .iter()
                .map(|range| (range.start as usize, range.end as usize)),
        );
        let mut text = String::new();
        for CodeRange {
            base,
            start,
            end,
            path,
        } in ranges
        {
            let line = format!("{base:x} {start:x} {end:x} {path}\n");
            if text.len() + line.len() > RANGES_BYTES_MAX {
                break;
            }
            text.push_str(&line);
        }
        // While it changes there is none.
        self.words[RANGES_AT].store(0, Release);
        for (word, bytes) in self.words[RANGES_AT + 1..]
            .iter()
            .zip(text.as_bytes().chunks(8))
        {
            let mut whole = [0; 8];
            whole[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_ne_bytes(whole), Relaxed);
        }
        self.words[RANGES_AT].store(text.len() as u64, Release);
    }

    /// The ranges of code that the worker published.
    pub fn code(&self) -> Vec<CodeRange> {
        let length = self.words[RANGES_AT].load(Acquire);
        let length = usize::try_from(length)
            .unwrap_or(usize::MAX)
            .min(RANGES_BYTES_MAX);
        let words = &self.words[RANGES_AT + 1..CRASH_AT + AREA_WORDS];
        let bytes: Vec<u8> = words
            .iter()
            .take(length.div_ceil(8))
            .flat_map(|word| word.load(Relaxed).to_ne_bytes())
            .take(length)
            .collect();
        let text = String::from_utf8_lossy(&bytes);
        let ranges = text.lines().filter_map(published_range);
        ranges.take(record::RANGES_MAX).collect()
    }

    /// What the worker wrote down if it crashed.
    pub fn crash(&self) -> Option<CrashRecord> {
        let words = &self.words[CRASH_AT..CRASH_AT + record::WORDS];
        let state = words[record::STATE].load(Acquire);
        if state != record::RECORDED && state != record::COMPLETE {
            return None;
        }
        let word = |at: usize| words[at].load(Relaxed);
        let slot = |at: usize| word(record::SLOT + at);
        let thread = word(record::THREAD);
        let thread = (thread != record::STRANGER).then_some(thread);
        let frames = match state {
            record::COMPLETE => word(record::FRAME_COUNT).min(record::FRAMES_MAX as u64),
            _ => 0,
        };
        let mut frames: Vec<u64> = (0..frames as usize)
            .map(|nth| word(record::FRAMES + nth))
            .collect();
        if frames.is_empty() {
            frames.push(word(record::IP));
        }
        let names = record::REGISTER_NAMES.iter().enumerate();
        let (signal, address) = (word(record::SIGNAL) as i32, word(record::ADDRESS));
        // The main thread's stack ends in a gap of 256 pages, the others' in one page.
        let low = word(record::STACK_LOW);
        let gap = low.saturating_sub(256 * 4096)..low.saturating_add(2 * 4096);
        Some(CrashRecord {
            thread: thread.map(|number| usize::try_from(number).unwrap_or(usize::MAX)),
            signal,
            code: word(record::CODE) as i32,
            address,
            sender: word(record::SENDER) as i32,
            inside: thread.is_some() && slot(super::SEQUENCE) % 2 == 1,
            callback: Callback::from_word(slot(super::CALLBACK)),
            session: slot(super::SESSION),
            source: slot(super::SOURCE),
            overflow: signal == SIGSEGV && low > 0 && gap.contains(&address),
            registers: names
                .map(|(nth, name)| (*name, word(record::REGISTERS + nth)))
                .collect(),
            frames,
        })
    }
}

/// Executable mappings of files, each with where its file begins.
fn code_ranges(maps: &str) -> Vec<CodeRange> {
    let mut ranges: Vec<CodeRange> = Vec::new();
    let mut begun: Option<(&str, u64)> = None;
    for line in maps.lines() {
        let Some((start, end, mode, offset, path)) = mapping(line) else {
            continue;
        };
        if offset == 0 {
            begun = Some((path, start));
        }
        let base = begun.filter(|(of, _)| *of == path);
        if mode.contains('x') && ranges.len() < record::RANGES_MAX {
            ranges.push(CodeRange {
                base: base.map_or(start.saturating_sub(offset), |(_, base)| base),
                start,
                end,
                path: path.to_owned(),
            });
        }
    }
    ranges
}

/// Start, end, mode, offset and path of a line that has a path.
fn mapping(line: &str) -> Option<(u64, u64, &str, u64, &str)> {
    let path = &line[line.find(['/', '['])?..];
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let (mode, offset) = (fields.next()?, fields.next()?);
    let number = |text| u64::from_str_radix(text, 16).ok();
    Some((number(start)?, number(end)?, mode, number(offset)?, path))
}

fn published_range(line: &str) -> Option<CodeRange> {
    let mut fields = line.splitn(4, ' ');
    let mut number = || u64::from_str_radix(fields.next()?, 16).ok();
    let (base, start, end) = (number()?, number()?, number()?);
    let path = fields.next()?.chars().filter(|c| !c.is_control());
    Some(CodeRange {
        base,
        start,
        end,
        path: path.take(PATH_CHARS_MAX).collect(),
    })
}

impl CodeRange {
    /// How far behind the beginning of its file an address of this range lies.
    pub fn offset(&self, address: u64) -> Option<u64> {
        (self.start..self.end)
            .contains(&address)
            .then(|| address.wrapping_sub(self.base))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scoreboard::BYTES;
    use crate::sys::shared_memory::SharedWords;

    fn board() -> Scoreboard {
        let file = SharedWords::file("test", BYTES).expect("memory file");
        Scoreboard::over(SharedWords::map(&file).expect("mapping")).expect("long enough")
    }

    const MAPS: &str = "\
55e000000000-55e000001000 r--p 00000000 fe:01 42   /usr/bin/poly port
55e000002000-55e000009000 r-xp 00001000 fe:01 42   /usr/bin/poly port
7f0000000000-7f0000001000 rw-p 00000000 00:00 0
7f0000002000-7f0000003000 r-xp 00007000 fe:01 43   /lib/odd.so
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0    [stack]
7ffc00030000-7ffc00032000 r-xp 00000000 00:00 0    [vdso]
";

    #[test]
    fn code_that_was_published_is_read_with_where_its_files_begin() {
        let board = board();
        assert_eq!(board.code(), []);
        board.publish_code(MAPS);
        let range = |base, start, end, path: &str| CodeRange {
            base,
            start,
            end,
            path: path.to_owned(),
        };
        let expected = [
            range(
                0x55e0_0000_0000,
                0x55e0_0000_2000,
                0x55e0_0000_9000,
                "/usr/bin/poly port",
            ),
            range(
                0x7eff_ffff_b000,
                0x7f00_0000_2000,
                0x7f00_0000_3000,
                "/lib/odd.so",
            ),
            range(
                0x7ffc_0003_0000,
                0x7ffc_0003_0000,
                0x7ffc_0003_2000,
                "[vdso]",
            ),
        ];
        assert_eq!(board.code(), expected);
        assert_eq!(expected[0].offset(0x55e0_0000_2001), Some(0x2001));
        assert_eq!(expected[0].offset(0x55e0_0000_1fff), None);
        // Again, and less than before.
        board.publish_code("");
        assert_eq!(board.code(), []);
        let line = "1000-2000 r-xp 00000000 fe:01 42 /";
        board.publish_code(&format!("{line}{}\n{line}short\n", "x".repeat(9_000)));
        assert_eq!(
            board.code(),
            [],
            "what does not fit is left out, from there on"
        );
    }

    #[test]
    fn what_a_hostile_worker_writes_is_bounded() {
        let board = board();
        assert_eq!(board.crash(), None);
        for word in board.words.iter() {
            word.store(u64::MAX, Relaxed);
        }
        assert_eq!(board.crash(), None, "a state that there is not");
        assert_eq!(board.code(), []);
        for state in [record::RECORDED, record::COMPLETE] {
            board.words[CRASH_AT + record::STATE].store(state, Relaxed);
            let crash = board.crash().expect("a record");
            assert_eq!((crash.thread, crash.inside), (None, false));
            assert!(crash.frames.len() <= record::FRAMES_MAX);
            assert_eq!(crash.callback, Callback::None);
        }
        board.words[CRASH_AT + record::THREAD].store(u64::MAX - 1, Relaxed);
        let thread = board.crash().expect("a record").thread;
        assert_eq!(thread, Some(usize::MAX - 1), "a number, and no index");
    }
}
