//! What a process writes down while it dies of a signal: where it was, into memory that outlives it.
//!
//! The record is a run of words in a shared mapping, filled by a signal handler on a stack of its own
//! (so that an overflow is recorded too) which then lets the signal do what it would have done. The
//! handler calls nothing but what signal-safety(7) allows: it allocates nothing, locks nothing, and
//! reads no memory but the crashing thread's own stack and the tables made before.
//!
//! It finds no names for addresses and decides nothing: that is done by whoever reads the record.
//!
//! Invariant: the first thread to crash has the record for itself; `STATE` grows only, and what it
//! promises was written before it.

use std::ffi::{c_int, c_void};
use std::io;
use std::mem;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU64, AtomicUsize};

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

use super::shared_memory::SharedWords;

mod context;
mod stack;

pub use context::REGISTER_NAMES;

/// Words of the record.
pub const WORDS: usize = FRAMES + FRAMES_MAX + REGISTERS_MAX;
/// Addresses of code found on the stack.
pub const FRAMES_MAX: usize = 32;
const REGISTERS_MAX: usize = 40;
const _: () = assert!(REGISTER_NAMES.len() <= REGISTERS_MAX);

// Places in the record.
pub const STATE: usize = 0;
pub const THREAD: usize = 1;
pub const SIGNAL: usize = 2;
pub const CODE: usize = 3;
pub const ADDRESS: usize = 4;
pub const SENDER: usize = 5;
pub const IP: usize = 6;
pub const SP: usize = 7;
pub const STACK_LOW: usize = 8;
/// The thread's slot as it was, word by word.
pub const SLOT: usize = 9;
pub const SLOT_WORDS: usize = 4;
pub const FRAME_COUNT: usize = SLOT + SLOT_WORDS;
pub const FRAMES: usize = FRAME_COUNT + 1;
pub const REGISTERS: usize = FRAMES + FRAMES_MAX;

// What `STATE` may be.
const EMPTY: u64 = 0;
const CLAIMED: u64 = 1;
/// Everything but the frames is there: what follows may end in a second fault.
pub const RECORDED: u64 = 2;
pub const COMPLETE: u64 = 3;
/// Instead of a thread's number: it is none of the daemon's.
pub const STRANGER: u64 = u64::MAX;

/// Threads that can be told apart, and ranges of code.
const THREADS_MAX: usize = 257;
pub const RANGES_MAX: usize = 64;
/// The handler needs little; a plugin's libraries may bring a larger signal frame.
const STACK_BYTES: usize = 64 * 1024;
/// How long a second crashing thread waits for the first one's record, in steps.
const WAIT_STEPS: u32 = 20;
const WAIT_STEP_NS: i64 = 10_000_000;

const SIGNALS: [c_int; 7] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGSYS,
    libc::SIGABRT,
    libc::SIGTRAP,
];

static RECORD: AtomicPtr<AtomicU64> = AtomicPtr::new(std::ptr::null_mut());
static THREADS: [Thread; THREADS_MAX] = [const { Thread::none() }; THREADS_MAX];
static RANGES: [(AtomicUsize, AtomicUsize); RANGES_MAX] =
    [const { (AtomicUsize::new(0), AtomicUsize::new(0)) }; RANGES_MAX];

/// What the handler knows of a thread.
struct Thread {
    /// Of the kernel; 0 while the place is free.
    tid: AtomicI32,
    slot: AtomicPtr<AtomicU64>,
    stack_low: AtomicUsize,
    stack_high: AtomicUsize,
}

impl Thread {
    const fn none() -> Thread {
        Thread {
            tid: AtomicI32::new(0),
            slot: AtomicPtr::new(std::ptr::null_mut()),
            stack_low: AtomicUsize::new(0),
            stack_high: AtomicUsize::new(0),
        }
    }
}

/// From now on crashes of this process are recorded at `record_at`. Thread `n` has its slot at
/// `slots_at + n * slot_stride`, of which the first [`SLOT_WORDS`] words are copied. Once a process.
pub fn record_into(
    words: &'static SharedWords,
    record_at: usize,
    slots_at: usize,
    slot_stride: usize,
) -> io::Result<()> {
    let record = &words[record_at..record_at + WORDS];
    for (number, thread) in THREADS.iter().enumerate() {
        let at = slots_at + number * slot_stride;
        let slot = &words[at..at + SLOT_WORDS];
        thread.slot.store(slot.as_ptr().cast_mut(), Relaxed);
    }
    RECORD.store(record.as_ptr().cast_mut(), Release);
    // SAFETY: all zeroes are a valid sigaction: an empty mask, no flags, the default handler.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = on_crash as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: the mask is ours; sigfillset(3) writes nothing else. With everything blocked a second
    // fault ends the process at once (signal(7)), so the handler never enters itself.
    unsafe { libc::sigfillset(&mut action.sa_mask) };
    for signal in SIGNALS {
        // SAFETY: the handler keeps to signal-safety(7), see the head of this file.
        let done = unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Ranges of code, with which addresses on a stack are compared. What does not fit is left out.
pub fn set_code(ranges: impl Iterator<Item = (usize, usize)>) {
    for ((low, high), (start, end)) in RANGES.iter().zip(ranges) {
        // While they change the range is empty.
        high.store(0, Relaxed);
        low.store(start, Relaxed);
        high.store(end, Release);
    }
}

fn is_code(address: usize) -> bool {
    RANGES
        .iter()
        .any(|(low, high)| address < high.load(Acquire) && address >= low.load(Relaxed))
}

/// A thread that is known to the handler and has a stack for it, until this is dropped on it.
#[derive(Debug)]
pub struct Covered {
    number: usize,
    stack: NonNull<c_void>,
}

/// To be called on the thread itself, which has this number for itself. Nothing is recorded of a
/// process that has not asked for it; the thread is then covered in vain.
pub fn cover_thread(number: usize) -> io::Result<Covered> {
    let thread = THREADS.get(number).ok_or(io::ErrorKind::InvalidInput)?;
    let (low, high) = stack::bounds()?;
    let bytes = NonZeroUsize::MIN.saturating_add(STACK_BYTES + stack::PAGE - 1);
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory.
    let stack = unsafe { mmap_anonymous(None, bytes, protection, MapFlags::MAP_PRIVATE)? };
    // From here on it is given back if anything fails.
    let covered = Covered { number, stack };
    // SAFETY: the lowest page of our own mapping, which nothing uses: it stops an overflow.
    unsafe { mprotect(stack, stack::PAGE, ProtFlags::PROT_NONE)? };
    // SAFETY: within the mapping.
    let usable = unsafe { stack.as_ptr().byte_add(stack::PAGE) };
    set_signal_stack(usable, 0)?;
    thread.stack_low.store(low, Relaxed);
    thread.stack_high.store(high, Relaxed);
    thread.tid.store(own_tid(), Release);
    Ok(covered)
}

impl Drop for Covered {
    fn drop(&mut self) {
        THREADS[self.number].tid.store(0, Release);
        // It fails only on the stack itself, where nobody drops anything.
        let _ = set_signal_stack(std::ptr::null_mut(), libc::SS_DISABLE);
        // SAFETY: our own mapping, which the kernel no longer has as a signal stack.
        let _ = unsafe { munmap(self.stack, STACK_BYTES + stack::PAGE) };
    }
}

fn set_signal_stack(start: *mut c_void, flags: c_int) -> io::Result<()> {
    let stack = libc::stack_t {
        ss_sp: start,
        ss_flags: flags,
        ss_size: STACK_BYTES,
    };
    // SAFETY: sigaltstack(2) reads the struct only; the memory it names is a mapping that is not
    // unmapped before another call here has taken its name back.
    match unsafe { libc::sigaltstack(&stack, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn own_tid() -> i32 {
    // SAFETY: gettid(2) has no arguments and cannot fail.
    unsafe { libc::gettid() }
}

pub(super) extern "C" fn on_crash(
    signal: c_int,
    facts: *mut libc::siginfo_t,
    context: *mut c_void,
) {
    let start = RECORD.load(Acquire);
    if !start.is_null() {
        // SAFETY: `record_into` stored the start of so many words of a mapping that is never undone.
        let record = unsafe { std::slice::from_raw_parts(start, WORDS) };
        match record[STATE].compare_exchange(EMPTY, CLAIMED, AcqRel, Acquire) {
            // SAFETY: the kernel lends both to a handler that was set with SA_SIGINFO.
            Ok(_) => unsafe { write_down(record, signal, &*facts, context) },
            Err(_) => wait_for(&record[STATE]),
        }
    }
    // SAFETY: as for the other one.
    let mut default: libc::sigaction = unsafe { mem::zeroed() };
    default.sa_sigaction = libc::SIG_DFL;
    // SAFETY: a valid action; sigaction(2) is allowed in a handler.
    unsafe { libc::sigaction(signal, &default, std::ptr::null_mut()) };
    // SAFETY: as above.
    let code = unsafe { (*facts).si_code };
    let repeats = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL].contains(&signal);
    if repeats && code > 0 {
        // The instruction is tried once more, and the core shows where it stands.
        return;
    }
    // SAFETY: plain numbers; the signal waits until the handler returns, as it is blocked in it.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), own_tid(), signal) };
}

/// # Safety
///
/// `context` is what the kernel gave the handler.
unsafe fn write_down(
    record: &[AtomicU64],
    signal: c_int,
    facts: &libc::siginfo_t,
    context: *mut c_void,
) {
    let put = |at: usize, value: u64| record[at].store(value, Relaxed);
    put(SIGNAL, signal as u64);
    put(CODE, facts.si_code as u64);
    if facts.si_code > 0 {
        // SAFETY: the kernel fills this field for the signals that it makes itself; for those
        // without an address it is a number all the same.
        put(ADDRESS, unsafe { facts.si_addr() } as u64);
    } else {
        // SAFETY: signals that a process sends carry its number (sigaction(2)).
        put(SENDER, unsafe { facts.si_pid() } as u64);
    }
    // SAFETY: the caller's promise.
    let registers = unsafe { context::Registers::of(context) };
    put(IP, registers.ip() as u64);
    put(SP, registers.sp() as u64);
    for (nth, value) in registers.all().enumerate() {
        put(REGISTERS + nth, value);
    }
    let tid = own_tid();
    let known = THREADS.iter().position(|t| t.tid.load(Acquire) == tid);
    put(THREAD, known.map_or(STRANGER, |number| number as u64));
    let Some(number) = known else {
        put(FRAMES, registers.ip() as u64);
        put(FRAME_COUNT, 1);
        record[STATE].store(COMPLETE, Release);
        return;
    };
    let thread = &THREADS[number];
    // SAFETY: `record_into` stored the start of so many words of a mapping that is never undone.
    let slot = unsafe { std::slice::from_raw_parts(thread.slot.load(Relaxed), SLOT_WORDS) };
    for (nth, word) in slot.iter().enumerate() {
        put(SLOT + nth, word.load(Relaxed));
    }
    let (low, high) = (
        thread.stack_low.load(Relaxed),
        thread.stack_high.load(Relaxed),
    );
    put(STACK_LOW, low as u64);
    record[STATE].store(RECORDED, Release);

    let fault = record[ADDRESS].load(Relaxed) as usize;
    let span = stack::readable(registers.sp(), fault, low..high);
    let mut count = 0;
    let mut found = |address: usize| {
        put(FRAMES + count, address as u64);
        count += 1;
        count < FRAMES_MAX
    };
    found(registers.ip());
    // SAFETY: the span lies in this thread's own stack, between the fault and its base.
    unsafe { stack::walk(span, registers.fp(), is_code, &mut found) };
    put(FRAME_COUNT, count as u64);
    record[STATE].store(COMPLETE, Release);
}

/// Another thread is writing its record; this one would end the process under its hands.
fn wait_for(state: &AtomicU64) {
    for _ in 0..WAIT_STEPS {
        if state.load(Acquire) == COMPLETE {
            return;
        }
        let step = libc::timespec {
            tv_sec: 0,
            tv_nsec: WAIT_STEP_NS,
        };
        // SAFETY: reads the struct only; nanosleep(2) is allowed in a handler.
        unsafe { libc::nanosleep(&step, std::ptr::null_mut()) };
    }
}
