//! The fake host's border where the plugin blocks: the stream that it lends to `serve`, and the jobs
//! that it takes.
//!
//! Invariant: a lent stream outlives its call until the host ends, so that a handler which keeps it
//! is told off instead of reading freed memory.

use std::cell::RefCell;
use std::ffi::c_void;
use std::sync::Arc;
use std::thread::{self, ThreadId};

use super::{Plugin, lent};
use crate::abi;
use crate::facts::Address;
use crate::glue::lent_bytes;
use crate::testing::script::Play;
use crate::testing::wakers::Inbox;
use crate::{Error, Result};

/// A stream as the plugin has it. Its address stays.
pub(crate) struct LentStream {
    shared: Box<Scripted>,
    raw: Box<abi::Stream>,
}

struct Scripted {
    thread: ThreadId,
    inbox: Arc<Inbox>,
    /// `None` once `serve` has returned.
    play: RefCell<Option<Play>>,
}

impl LentStream {
    pub(crate) fn new(play: Play, session: abi::Session, inbox: Arc<Inbox>) -> LentStream {
        let shared = Box::new(Scripted {
            thread: thread::current().id(),
            inbox,
            play: RefCell::new(Some(play)),
        });
        let raw = Box::new(abi::Stream {
            size: size_of::<abi::Stream>() as u32,
            reserved0: 0,
            session,
            inner: (&raw const *shared).cast_mut().cast(),
            read: Some(read),
            write: Some(write),
            deadline: Some(deadline),
        });
        LentStream { shared, raw }
    }

    /// The handler has returned: all that was played.
    pub(crate) fn end(&self) -> Play {
        let play = self.shared.play.borrow_mut().take();
        play.expect("a stream ends once")
    }
}

impl Plugin {
    pub(crate) fn serve(
        &self,
        stream: &LentStream,
        peer: Address,
        accepted_ms: u64,
    ) -> abi::Status {
        let serve = self.blocking.and_then(|table| table.serve);
        let serve = serve.expect("the caller has asked whether it is of the blocking style");
        let info = lent::session_info(peer, accepted_ms);
        // SAFETY: the instance is alive; stream and facts live until the call has returned.
        unsafe { serve(self.instance, &raw const *stream.raw, &raw const info) }
    }

    pub(crate) fn done(&self, job: FakeJob, status: abi::Status) {
        if let Some(done) = self.work_sink.and_then(|table| table.done) {
            // SAFETY: the instance is alive, and the plugin gets back what it gave away.
            unsafe { done(self.instance, job.token, job.arg, status) }
        }
    }
}

/// A job that the plugin has submitted.
pub(crate) struct FakeJob {
    pub(crate) token: u64,
    run: unsafe extern "C" fn(*mut c_void),
    arg: *mut c_void,
}

impl FakeJob {
    pub(super) fn new(
        run: unsafe extern "C" fn(*mut c_void),
        arg: *mut c_void,
        token: u64,
    ) -> FakeJob {
        FakeJob { token, run, arg }
    }

    pub(crate) fn run(&self) {
        // SAFETY: the plugin's own function with its own argument; the host calls it once.
        unsafe { (self.run)(self.arg) }
    }
}

/// Plays on, if the stream may be used at all.
unsafe fn play(
    inner: *mut c_void,
    call: &str,
    step: impl FnOnce(&Inbox, &mut Play) -> Result,
) -> abi::Status {
    // SAFETY: the plugin was given this pointer, and `FakeHost` keeps the stream. Only `thread` and
    // `inbox` are used before the thread is known to be the right one.
    let shared = unsafe { &*inner.cast::<Scripted>() };
    if shared.thread != thread::current().id() {
        let rule = format!("{call} of a stream was called from another thread");
        shared.inbox.broke(&rule);
        return abi::E_THREAD;
    }
    match &mut *shared.play.borrow_mut() {
        Some(play) => {
            play.begin_call();
            step(&shared.inbox, play).map_or_else(Error::status, |()| abi::OK)
        }
        None => {
            let rule = format!("{call} of a stream was called after serve had returned");
            shared.inbox.broke(&rule);
            abi::E_GONE
        }
    }
}

fn broke(inbox: &Inbox, rule: &str) -> Result {
    inbox.broke(rule);
    Err(Error::Argument)
}

unsafe extern "C" fn read(
    inner: *mut c_void,
    buffer: *mut c_void,
    capacity: usize,
    flags: u32,
    got: *mut usize,
) -> abi::Status {
    let step = |inbox: &Inbox, play: &mut Play| {
        if buffer.is_null() || got.is_null() || capacity == 0 {
            return broke(inbox, "read without a place for bytes or for their count");
        }
        if flags & !abi::READ_PEEK != 0 {
            return broke(inbox, "read with unknown flags");
        }
        // SAFETY: not null, and the plugin's for exactly this until the call has returned.
        let buffer = unsafe { std::slice::from_raw_parts_mut(buffer.cast(), capacity) };
        let count = play.read(buffer, flags == abi::READ_PEEK)?;
        // SAFETY: as above.
        unsafe { got.write(count) };
        Ok(())
    };
    // SAFETY: the stream's own pointer.
    unsafe { play(inner, "read", step) }
}

unsafe extern "C" fn write(
    inner: *mut c_void,
    bytes: *const c_void,
    n: usize,
    flags: u32,
) -> abi::Status {
    let step = |inbox: &Inbox, play: &mut Play| {
        if bytes.is_null() && n > 0 {
            return broke(inbox, "write with NULL and a length");
        }
        if flags & !abi::WRITE_FINISH != 0 {
            return broke(inbox, "write with unknown flags");
        }
        // SAFETY: the plugin lends n bytes until the call has returned.
        let bytes = unsafe { lent_bytes(bytes.cast(), n) };
        play.write(bytes, flags == abi::WRITE_FINISH)
    };
    // SAFETY: the stream's own pointer.
    unsafe { play(inner, "write", step) }
}

unsafe extern "C" fn deadline(inner: *mut c_void, _: u64) -> abi::Status {
    // The script says when time is up.
    // SAFETY: the stream's own pointer.
    unsafe { play(inner, "deadline", |_, _| Ok(())) }
}
