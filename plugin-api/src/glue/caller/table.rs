//! The fake host's own table: every function checks its thread and its arguments, and leaves the
//! answer to the ledger.
//!
//! Invariant: the ledger is borrowed for one answer only and never while the plugin runs. Nothing
//! here panics, since a panic cannot cross the plugin: what breaks a rule is noted and raised later.

use std::cell::{RefCell, RefMut};
use std::ffi::{CStr, c_char, c_void};
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::Arc;
use std::thread::{self, ThreadId};

use super::{FakeJob, bus, metrics};
use crate::abi;
use crate::testing::ledger::Ledger;
use crate::testing::wakers::{FakeWaker, Inbox};
use crate::{TimerId, glue};

/// What `pp_host` points to.
pub(crate) struct Shared {
    thread: ThreadId,
    inbox: Arc<Inbox>,
    ledger: RefCell<Ledger>,
    api: abi::HostApi,
}

impl Shared {
    pub(crate) fn new(ledger: Ledger, host_table_bytes: usize) -> Box<Shared> {
        let api = abi::HostApi {
            size: host_table_bytes as u32,
            ..HOST_API
        };
        let inbox = Arc::clone(&ledger.inbox);
        Box::new(Shared {
            thread: thread::current().id(),
            inbox,
            ledger: RefCell::new(ledger),
            api,
        })
    }

    pub(crate) fn ledger(&self) -> RefMut<'_, Ledger> {
        self.ledger.borrow_mut()
    }

    pub(crate) fn api(&self) -> *const abi::HostApi {
        &raw const self.api
    }

    pub(crate) fn as_raw(&self) -> *mut abi::Host {
        ptr::from_ref(self).cast_mut().cast()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        for waker in &self.ledger.get_mut().wakers {
            if waker.is_freed() {
                // SAFETY: `waker_new` has given this count away, and the plugin has given it back;
                // it was kept until now to notice late use.
                unsafe { Arc::decrement_strong_count(Arc::as_ptr(waker)) }
            }
        }
    }
}

const HOST_API: abi::HostApi = abi::HostApi {
    size: size_of::<abi::HostApi>() as u32,
    major: abi::MAJOR,
    minor: abi::MINOR,
    product: c"Polyport testing kit".as_ptr(),
    product_version: c"0".as_ptr(),
    extension: Some(extension),
    log: Some(log),
    log_level: Some(log_level),
    now_ms: Some(now_ms),
    write: Some(write),
    close: Some(close),
    pause: Some(pause),
    queued: Some(queued),
    idle: Some(idle),
    send: Some(send),
    timer_set: Some(timer_set),
    timer_cancel: Some(timer_cancel),
    waker_new: Some(waker_new),
    waker_wake: Some(waker_wake),
    waker_free: Some(waker_free),
    fault: Some(fault),
};

/// What may be asked on a thread that may block: the first for a datagram only.
const IN_THREADS: [&str; 8] = [
    "send",
    "log",
    "log_level",
    "fault",
    "add",
    "change",
    "set",
    "record",
];

/// Asks the ledger; on a wrong thread it is not touched.
pub(super) unsafe fn ask<R>(
    host: *mut abi::Host,
    call: &str,
    refused: R,
    answer: impl FnOnce(&mut Ledger) -> R,
) -> R {
    // SAFETY: the plugin was given this pointer, and `FakeHost` keeps it alive until `destroy` has
    // returned. Only `thread` and `inbox` are used before the thread is known to be the right one.
    let shared = unsafe { &*host.cast::<Shared>() };
    if shared.thread != thread::current().id() {
        shared
            .inbox
            .broke(&format!("{call} was called from another thread"));
        return refused;
    }
    let mut ledger = shared.ledger.borrow_mut();
    let allowed: &[&str] = match ledger.during {
        Some("serve" | "run") => &IN_THREADS[1..],
        Some("serve_datagram") => &IN_THREADS,
        _ => &[call],
    };
    if !allowed.contains(&call) {
        ledger.broke(format!("{call} was called on a thread that may block"));
        return refused;
    }
    answer(&mut ledger)
}

/// A text of the plugin: borrowed for the call, in UTF-8, not NULL with a length.
unsafe fn text<'a>(ledger: &mut Ledger, call: &str, raw: *const c_char, n: usize) -> &'a str {
    // SAFETY: passed on to the caller.
    let bytes = unsafe { bytes(ledger, call, raw.cast(), n) }.unwrap_or_default();
    std::str::from_utf8(bytes).unwrap_or_else(|_| {
        ledger.broke(format!("{call} with a text that is not UTF-8"));
        "(not UTF-8)"
    })
}

unsafe fn bytes<'a>(
    ledger: &mut Ledger,
    call: &str,
    raw: *const c_void,
    n: usize,
) -> Option<&'a [u8]> {
    if raw.is_null() && n > 0 {
        ledger.broke(format!("{call} with NULL and a length of {n}"));
        return None;
    }
    // SAFETY: the plugin lends n bytes until the call has returned.
    Some(unsafe { glue::lent_bytes(raw.cast(), n) })
}

static WORK: abi::Work1 = abi::Work1 {
    size: size_of::<abi::Work1>() as u32,
    reserved0: 0,
    submit: Some(submit),
};

static FILE: abi::File1 = abi::File1 {
    size: size_of::<abi::File1>() as u32,
    reserved0: 0,
    send: Some(send_file),
};

unsafe extern "C" fn extension(host: *mut abi::Host, id: *const c_char) -> *const c_void {
    // SAFETY: see `ask`; ids end in NUL.
    unsafe {
        ask(host, "extension", ptr::null(), |ledger| {
            if id.is_null() {
                ledger.broke("extension without an id");
                return ptr::null();
            }
            let id = CStr::from_ptr(id).to_bytes();
            let lacks = ledger.lacks.iter().any(|it| it.as_bytes() == id);
            if lacks || ledger.refuses("extension") {
                ptr::null()
            } else if id == abi::EXT_WORK.as_bytes() {
                (&raw const WORK).cast()
            } else if id == abi::EXT_FILE.as_bytes() {
                (&raw const FILE).cast()
            } else if id == abi::EXT_BUS.as_bytes() {
                (&raw const bus::BUS).cast()
            } else if id == abi::EXT_METRICS.as_bytes() {
                (&raw const metrics::METRICS).cast()
            } else {
                ptr::null()
            }
        })
    }
}

unsafe extern "C" fn submit(
    host: *mut abi::Host,
    run: Option<unsafe extern "C" fn(*mut c_void)>,
    arg: *mut c_void,
    token: u64,
) -> abi::Status {
    // SAFETY: see `ask`.
    unsafe {
        ask(host, "submit", abi::E_THREAD, |ledger| match run {
            Some(run) => ledger.submit(FakeJob::new(run, arg, token)),
            None => {
                ledger.broke("submit without a function");
                abi::E_ARG
            }
        })
    }
}

unsafe extern "C" fn send_file(
    host: *mut abi::Host,
    session: abi::Session,
    fd: i32,
    offset: u64,
    length: u64,
) -> abi::Status {
    // SAFETY: see `ask`; a descriptor that is not negative is open, as the header demands.
    unsafe {
        ask(host, "send_file", abi::E_THREAD, |ledger| {
            // A duplicate, so that the plugin's own is touched only if it is taken.
            let borrowed = (fd >= 0).then(|| BorrowedFd::borrow_raw(fd));
            let file = borrowed.and_then(|fd| fd.try_clone_to_owned().ok());
            let status = ledger.send_file(session, file, offset, length);
            if status == abi::OK {
                drop(OwnedFd::from_raw_fd(fd));
            }
            status
        })
    }
}

unsafe extern "C" fn log(
    host: *mut abi::Host,
    level: u32,
    session: abi::Session,
    raw: *const c_char,
    n: usize,
) {
    // SAFETY: see `ask` and `text`.
    unsafe {
        ask(host, "log", (), |ledger| {
            let text = text(ledger, "log", raw, n);
            ledger.log(level, session, text);
        });
    }
}

unsafe extern "C" fn log_level(host: *mut abi::Host) -> u32 {
    // SAFETY: see `ask`.
    unsafe { ask(host, "log_level", abi::LOG_DEBUG, |_| abi::LOG_DEBUG) }
}

unsafe extern "C" fn now_ms(host: *mut abi::Host) -> u64 {
    // SAFETY: see `ask`.
    unsafe { ask(host, "now_ms", 0, |ledger| ledger.now_ms) }
}

unsafe extern "C" fn write(
    host: *mut abi::Host,
    session: abi::Session,
    raw: *const c_void,
    n: usize,
    flags: u32,
) -> abi::Status {
    // SAFETY: see `ask` and `bytes`.
    unsafe {
        ask(host, "write", abi::E_THREAD, |ledger| {
            match bytes(ledger, "write", raw, n) {
                Some(bytes) => ledger.write(session, bytes, flags),
                None => abi::E_ARG,
            }
        })
    }
}

unsafe extern "C" fn close(
    host: *mut abi::Host,
    session: abi::Session,
    how: u32,
    raw: *const c_char,
    n: usize,
) -> abi::Status {
    // SAFETY: see `ask` and `text`.
    unsafe {
        ask(host, "close", abi::E_THREAD, |ledger| {
            let why = text(ledger, "close", raw, n);
            ledger.close(session, how, why)
        })
    }
}

unsafe extern "C" fn pause(host: *mut abi::Host, session: abi::Session, on: u32) -> abi::Status {
    // SAFETY: see `ask`.
    unsafe {
        ask(host, "pause", abi::E_THREAD, |ledger| {
            ledger.pause(session, on)
        })
    }
}

unsafe extern "C" fn queued(
    host: *mut abi::Host,
    session: abi::Session,
    into: *mut u64,
) -> abi::Status {
    // SAFETY: see `ask`; the place is the plugin's until the call has returned.
    unsafe {
        ask(host, "queued", abi::E_THREAD, |ledger| {
            match ledger.queued(session) {
                Ok(count) => put(ledger, "queued", into, count),
                Err(status) => status,
            }
        })
    }
}

unsafe extern "C" fn idle(
    host: *mut abi::Host,
    session: abi::Session,
    idle_ms: u64,
) -> abi::Status {
    // SAFETY: see `ask`.
    unsafe {
        ask(host, "idle", abi::E_THREAD, |ledger| {
            ledger.idle(session, idle_ms)
        })
    }
}

unsafe extern "C" fn send(
    host: *mut abi::Host,
    reply_token: u64,
    to: *const abi::Address,
    raw: *const c_void,
    n: usize,
) -> abi::Status {
    // SAFETY: see `ask` and `bytes`; the address is the plugin's until the call has returned.
    unsafe {
        ask(host, "send", abi::E_THREAD, |ledger| {
            match bytes(ledger, "send", raw, n) {
                Some(payload) => ledger.send(reply_token, to.as_ref(), payload),
                None => abi::E_ARG,
            }
        })
    }
}

unsafe extern "C" fn timer_set(
    host: *mut abi::Host,
    delay_ms: u64,
    token: u64,
    into: *mut abi::Timer,
) -> abi::Status {
    // SAFETY: see `ask`; the place is the plugin's until the call has returned.
    unsafe {
        ask(host, "timer_set", abi::E_THREAD, |ledger| {
            if ledger.refuses("timer_set") {
                return abi::E_FULL;
            }
            let timer = ledger.timer_set(delay_ms, token);
            put(ledger, "timer_set", into, timer)
        })
    }
}

unsafe extern "C" fn timer_cancel(host: *mut abi::Host, timer: abi::Timer) -> abi::Status {
    // SAFETY: see `ask`.
    unsafe {
        ask(host, "timer_cancel", abi::E_THREAD, |ledger| {
            ledger.timer_cancel(TimerId(timer))
        })
    }
}

unsafe extern "C" fn waker_new(host: *mut abi::Host, into: *mut *mut abi::Waker) -> abi::Status {
    // SAFETY: see `ask`; the place is the plugin's until the call has returned. The pointer carries
    // one count, which `Shared` takes back at the end if the plugin has freed the waker.
    unsafe {
        ask(host, "waker_new", abi::E_THREAD, |ledger| {
            if ledger.refuses("waker_new") {
                return abi::E_FULL;
            }
            let waker = Arc::into_raw(ledger.waker_new());
            put(ledger, "waker_new", into, waker.cast_mut().cast())
        })
    }
}

unsafe extern "C" fn waker_wake(waker: *mut abi::Waker, token: u64) -> abi::Status {
    // SAFETY: it came from `waker_new`, and its count is kept at least as long as the host.
    match unsafe { waker.cast::<FakeWaker>().as_ref() } {
        Some(waker) => waker.wake(token),
        None => abi::E_ARG,
    }
}

unsafe extern "C" fn waker_free(waker: *mut abi::Waker) {
    // SAFETY: as above.
    if let Some(waker) = unsafe { waker.cast::<FakeWaker>().as_ref() } {
        waker.free();
    }
}

unsafe extern "C" fn fault(host: *mut abi::Host, raw: *const c_char, n: usize) -> abi::Status {
    // SAFETY: see `ask` and `text`.
    unsafe {
        ask(host, "fault", abi::E_THREAD, |ledger| {
            let text = text(ledger, "fault", raw, n);
            ledger.fault(text);
            abi::OK
        })
    }
}

/// Hands a result over.
unsafe fn put<T>(ledger: &mut Ledger, call: &str, into: *mut T, value: T) -> abi::Status {
    if into.is_null() {
        ledger.broke(format!("{call} without a place for the result"));
        return abi::E_ARG;
    }
    // SAFETY: not null, and the plugin's place for exactly this.
    unsafe { into.write(value) };
    abi::OK
}
