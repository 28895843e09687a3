//! What a closed process was refused: noted as it happens, told once.
//!
//! The kernel turns a call that is not allowed into a SIGSYS, whose handler notes the number of the
//! call and answers EPERM in its place. Where a plugin has started threads, or blocks in a call, the
//! note is taken by the event loop, which the handler wakes. Who blocks SIGSYS in a thread is ended
//! by it instead (seccomp(2)).
//!
//! Invariant: the handler makes one system call at most, a write to an eventfd, and takes no lock.

use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64};

use super::allowed::ALLOWED;
use super::rules::{KILLED, Line, REFUSED};
use crate::sys::crash;

/// Calls with numbers below this can be told apart; Linux has some 470.
const CALLS: usize = 1024;
/// The last of them stands for all above.
static NOTED: [AtomicU64; CALLS / 64] = [const { AtomicU64::new(0) }; CALLS / 64];
static TOLD: [AtomicU64; CALLS / 64] = [const { AtomicU64::new(0) }; CALLS / 64];
static FRESH: AtomicBool = AtomicBool::new(false);
/// False where it only would.
static REFUSES: AtomicBool = AtomicBool::new(true);
/// An eventfd of who tells, or -1.
static WAKE: AtomicI32 = AtomicI32::new(-1);

/// Whether a refused call can be answered by a handler here, which needs to know the registers.
pub(super) const CAN_ANSWER: bool = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));

/// From now on a refused call is noted.
pub(super) fn begin() -> io::Result<()> {
    // SAFETY: all zeroes are a valid sigaction: an empty mask, no flags, the default handler.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_refused as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
    // SAFETY: the handler keeps to signal-safety(7), see the head of this file.
    match unsafe { libc::sigaction(libc::SIGSYS, &action, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What is noted from now on was let pass.
pub(super) fn begin_without_refusing() {
    REFUSES.store(false, Relaxed);
}

/// Whoever waits for this eventfd is woken by the first refusal of each call. It has to stay open
/// as long as the process lives.
pub fn wake(fd: BorrowedFd<'_>) {
    WAKE.store(fd.as_raw_fd(), Release);
}

extern "C" fn on_refused(signal: c_int, facts: *mut libc::siginfo_t, context: *mut c_void) {
    /// `SYS_SECCOMP` of the kernel: it is about a call, and not sent by somebody.
    const ABOUT_A_CALL: c_int = 1;
    // SAFETY: the kernel lends it to a handler that was set with SA_SIGINFO.
    if unsafe { (*facts).si_code } != ABOUT_A_CALL {
        return crash::on_crash(signal, facts, context);
    }
    // SAFETY: with that code `si_syscall` is there, an int after the three ints of the head, four
    // bytes of padding and an address (sigaction(2)).
    let call = unsafe { facts.cast::<c_int>().byte_add(24).read() };
    note(call);
    // SAFETY: the kernel lends a ucontext_t with the registers of the interrupted call.
    unsafe { answer(context, -libc::EPERM) };
}

/// # Safety
///
/// `context` is what the kernel gave the handler.
#[cfg(target_arch = "x86_64")]
unsafe fn answer(context: *mut c_void, result: c_int) {
    // SAFETY: the caller's promise.
    let machine = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext };
    machine.gregs[libc::REG_RAX as usize] = i64::from(result);
}

/// # Safety
///
/// As above.
#[cfg(target_arch = "aarch64")]
unsafe fn answer(context: *mut c_void, result: c_int) {
    // SAFETY: the caller's promise.
    let machine = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext };
    machine.regs[0] = i64::from(result) as u64;
}

/// # Safety
///
/// None is needed where nothing is done: without [`CAN_ANSWER`] nobody is asked.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
unsafe fn answer(_: *mut c_void, _: c_int) {}

/// Safe in a signal handler.
pub(super) fn note(call: c_int) {
    let number = usize::try_from(call).map_or(CALLS - 1, |number| number.min(CALLS - 1));
    let bit = 1 << (number % 64);
    if NOTED[number / 64].fetch_or(bit, Relaxed) & bit != 0 {
        return;
    }
    FRESH.store(true, Release);
    let fd = WAKE.load(Acquire);
    if fd >= 0 {
        // SAFETY: errno belongs to the interrupted code and is put back.
        let errno = unsafe { &mut *libc::__errno_location() };
        let kept = *errno;
        // SAFETY: write(2) of eight bytes of our own; it fails without harm.
        unsafe { libc::write(fd, (&raw const ONE).cast(), 8) };
        *errno = kept;
    }
}

static ONE: u64 = 1;

/// A call that was refused for the first time, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Denied {
    call: String,
    remedy: String,
}

impl std::fmt::Display for Denied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.call, self.remedy)
    }
}

/// What was refused and not told yet. It costs nothing while there is nothing.
pub(super) fn take() -> Vec<Denied> {
    if !FRESH.load(Relaxed) || !FRESH.swap(false, Acquire) {
        return Vec::new();
    }
    let mut denied = Vec::new();
    for number in 0..CALLS {
        let (word, bit) = (number / 64, 1 << (number % 64));
        let fresh = NOTED[word].load(Relaxed) & bit != 0;
        if fresh && TOLD[word].fetch_or(bit, Relaxed) & bit == 0 {
            denied.push(describe(number as i64));
        }
    }
    denied
}

/// Tells the log what was refused and not told yet.
pub fn tell() {
    for Denied { call, remedy } in take() {
        match REFUSES.load(Relaxed) {
            true => tracing::warn!(call, "the sandbox has refused a system call: {remedy}"),
            false => tracing::warn!(call, "the sandbox would refuse a system call: {remedy}"),
        }
    }
}

/// A failure, with what was refused before it: that may well be its reason.
pub fn explain(failure: String) -> String {
    let denied = take().into_iter();
    denied.fold(failure, |text, denied| match REFUSES.load(Relaxed) {
        true => format!("{text}\n  the sandbox has refused {denied}"),
        false => format!("{text}\n  the sandbox would refuse {denied}"),
    })
}

fn describe(number: i64) -> Denied {
    let of = |lines: &'static [Line]| lines.iter().filter(move |line| line.call == number);
    let known = of(ALLOWED).chain(of(KILLED)).chain(of(REFUSED)).next();
    let call = known.map_or_else(|| format!("call {number}"), |line| line.name().to_owned());
    let mut needs: Vec<&str> = of(ALLOWED).filter_map(|line| line.to.need()).collect();
    needs.dedup();
    let remedy = if !needs.is_empty() {
        format!("the plugin's needs have to declare {}", needs.join(" or "))
    } else if let Some(line) = of(KILLED).chain(of(REFUSED)).next() {
        format!("no need allows it: {}", line.why)
    } else if let Some(line) = of(ALLOWED).next() {
        format!("it is allowed for {} only", line.why)
    } else {
        "no need allows it: no server is known that makes it".to_owned()
    };
    Denied { call, remedy }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_call_and_what_would_allow_it() {
        let rows = [
            (
                libc::SYS_openat,
                "openat: the plugin's needs have to declare files_read or files_write",
            ),
            (
                libc::SYS_connect,
                "connect: the plugin's needs have to declare connect",
            ),
            (
                libc::SYS_setuid,
                "setuid: no need allows it: its identity was given up for good",
            ),
            (
                libc::SYS_accept4,
                "accept4: it is allowed for new connections only",
            ),
            (
                libc::SYS_setsockopt,
                "setsockopt: it is allowed for time-outs, buffers, delays only",
            ),
            (
                libc::SYS_ptrace,
                "ptrace: no need allows it: reads and writes another process",
            ),
            (
                1_023,
                "call 1023: no need allows it: no server is known that makes it",
            ),
        ];
        for (call, expected) in rows {
            assert_eq!(describe(call).to_string(), expected);
        }
    }
}
