//! The host's functions as safe calls: the only place where a plugin's code leaves Rust.
//!
//! Invariant: `Host` is owned by the instance that it was made for and dropped in `destroy`; until
//! then `raw` is valid. It holds a raw pointer, so it is not `Send`; the glue alone lends it to other
//! threads of the host's, inside of `serve`, for what the header allows there.

use std::ffi::{CStr, c_char};
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::ptr;
use std::sync::Arc;

use super::work::{self, Job};
use crate::abi;
use crate::{Error, Result};

const EXT_FILE: &CStr = c"polyport.file/1";

/// One instance's host.
pub(crate) struct Host {
    raw: *mut abi::Host,
    api: abi::HostApi,
    /// Fetched once, for they are used for every message.
    pub(super) metrics: Option<abi::Metrics1>,
    file: Option<abi::File1>,
    pub(super) bus: Option<abi::Bus1>,
}

impl Host {
    /// # Safety
    /// `api` points to a host's table that begins with its true size, and `raw` belongs to it and
    /// stays valid for as long as the `Host` lives.
    pub(crate) unsafe fn adopt(api: *const abi::HostApi, raw: *mut abi::Host) -> Option<Host> {
        if api.is_null() {
            return None;
        }
        // SAFETY: the caller vouches for the table; `size` is in every revision of it. The read does
        // not make a reference, which would claim that the whole of our struct is there.
        let size = unsafe { ptr::read(ptr::addr_of!((*api).size)) } as usize;
        // Half a pointer is no pointer: all that follows the first words is eight bytes wide.
        let size = size / 8 * 8;
        // SAFETY: the host says that `size` bytes are there, and they end a whole field.
        let api = unsafe { abi::read_bytes(api, size) };
        let mut host = Host {
            raw,
            api,
            metrics: None,
            file: None,
            bus: None,
        };
        // SAFETY: the answer to this id is such a table.
        host.metrics = unsafe { host.extension(super::metrics::EXT_METRICS) }.ok();
        // SAFETY: the same.
        host.file = unsafe { host.extension(EXT_FILE) }.ok();
        // SAFETY: the same.
        host.bus = unsafe { host.extension(super::bus::EXT_BUS) }.ok();
        Some(host)
    }

    pub(crate) fn log(&self, level: u32, session: abi::Session, text: &str) {
        if let Some(call) = self.api.log {
            // SAFETY: `raw` is valid (see the file's invariant); the text is only read meanwhile.
            unsafe {
                call(
                    self.raw,
                    level,
                    session,
                    text.as_ptr().cast::<c_char>(),
                    text.len(),
                )
            }
        }
    }

    pub(crate) fn log_level(&self) -> u32 {
        // SAFETY: `raw` is valid.
        self.api
            .log_level
            .map_or(abi::LOG_DEBUG, |call| unsafe { call(self.raw) })
    }

    pub(crate) fn now_ms(&self) -> u64 {
        // SAFETY: `raw` is valid.
        self.api.now_ms.map_or(0, |call| unsafe { call(self.raw) })
    }

    pub(crate) fn write(&self, session: abi::Session, bytes: &[u8], flags: u32) -> Result {
        let call = self.api.write.ok_or(Error::Unsupported)?;
        // SAFETY: `raw` is valid; the host takes or copies the bytes before it returns.
        Error::check(unsafe { call(self.raw, session, bytes.as_ptr().cast(), bytes.len(), flags) })
    }

    pub(crate) fn close(&self, session: abi::Session, how: u32, why: &str) -> Result {
        let call = self.api.close.ok_or(Error::Unsupported)?;
        // SAFETY: `raw` is valid; the text is only read meanwhile.
        Error::check(unsafe {
            call(
                self.raw,
                session,
                how,
                why.as_ptr().cast::<c_char>(),
                why.len(),
            )
        })
    }

    pub(crate) fn pause(&self, session: abi::Session, on: bool) -> Result {
        let call = self.api.pause.ok_or(Error::Unsupported)?;
        // SAFETY: `raw` is valid.
        Error::check(unsafe { call(self.raw, session, u32::from(on)) })
    }

    pub(crate) fn queued(&self, session: abi::Session) -> Result<u64> {
        let call = self.api.queued.ok_or(Error::Unsupported)?;
        let mut bytes = 0;
        // SAFETY: `raw` is valid; `bytes` is ours and outlives the call.
        Error::check(unsafe { call(self.raw, session, &raw mut bytes) })?;
        Ok(bytes)
    }

    pub(crate) fn idle(&self, session: abi::Session, idle_ms: u64) -> Result {
        let call = self.api.idle.ok_or(Error::Unsupported)?;
        // SAFETY: `raw` is valid.
        Error::check(unsafe { call(self.raw, session, idle_ms) })
    }

    /// Without an address it goes back to the peer of `via`.
    pub(crate) fn send(&self, via: u64, to: Option<&abi::Address>, payload: &[u8]) -> Result {
        let call = self.api.send.ok_or(Error::Unsupported)?;
        // SAFETY: `raw` is valid; address and payload are only read meanwhile.
        Error::check(unsafe {
            call(
                self.raw,
                via,
                to.map_or(ptr::null(), ptr::from_ref),
                payload.as_ptr().cast(),
                payload.len(),
            )
        })
    }

    pub(crate) fn timer_set(&self, delay_ms: u64, token: u64) -> Result<abi::Timer> {
        let call = self.api.timer_set.ok_or(Error::Unsupported)?;
        let mut timer = 0;
        // SAFETY: `raw` is valid; `timer` is ours and outlives the call.
        Error::check(unsafe { call(self.raw, delay_ms, token, &raw mut timer) })?;
        Ok(timer)
    }

    pub(crate) fn timer_cancel(&self, timer: abi::Timer) -> Result {
        let call = self.api.timer_cancel.ok_or(Error::Unsupported)?;
        // SAFETY: `raw` is valid.
        Error::check(unsafe { call(self.raw, timer) })
    }

    pub(crate) fn waker(&self) -> Result<Waker> {
        let new = self.api.waker_new.ok_or(Error::Unsupported)?;
        let wake = self.api.waker_wake.ok_or(Error::Unsupported)?;
        let free = self.api.waker_free.ok_or(Error::Unsupported)?;
        let mut raw = ptr::null_mut();
        // SAFETY: `self.raw` is valid; `raw` is ours and outlives the call.
        Error::check(unsafe { new(self.raw, &raw mut raw) })?;
        if raw.is_null() {
            return Err(Error::Failed);
        }
        Ok(Waker {
            reference: Arc::new(Reference { raw, wake, free }),
        })
    }

    pub(super) fn raw(&self) -> *mut abi::Host {
        self.raw
    }

    /// Gives a job to a thread of the host's; its `done` gets the token.
    pub(crate) fn submit(&self, job: Box<Job>, token: u64) -> Result {
        // SAFETY: the answer to this id is such a table.
        let table = unsafe { self.extension::<abi::Work1>(work::EXT_WORK) }?;
        let submit = table.submit.ok_or(Error::Unsupported)?;
        let arg = Box::into_raw(job);
        // SAFETY: `raw` is valid; the job is boxed, and its closure may go to another thread.
        let status = unsafe { submit(self.raw, Some(work::run), arg.cast(), token) };
        Error::check(status).inspect_err(|_| {
            // SAFETY: it is ours again: a refused job is neither run nor done.
            drop(unsafe { Box::from_raw(arg) });
        })
    }

    /// Queues a range of a file. The descriptor is used up; if it is refused, it is closed.
    pub(crate) fn send_file(
        &self,
        session: abi::Session,
        file: OwnedFd,
        offset: u64,
        length: u64,
    ) -> Result {
        let send = self.file.as_ref().and_then(|table| table.send);
        let send = send.ok_or(Error::Unsupported)?;
        // SAFETY: `raw` is valid; the descriptor is open, and ours to give away.
        let status = unsafe { send(self.raw, session, file.as_raw_fd(), offset, length) };
        Error::check(status)?;
        // The host has it now, and closes it.
        let _ = file.into_raw_fd();
        Ok(())
    }

    /// # Safety
    /// The host's answer to this id is null, or a `T` that begins with its size.
    pub(super) unsafe fn extension<T: abi::Sized32>(&self, id: &CStr) -> Result<T> {
        let extension = self.api.extension.ok_or(Error::Unsupported)?;
        // SAFETY: `raw` is valid; the id ends in NUL.
        let table = unsafe { extension(self.raw, id.as_ptr()) }.cast::<T>();
        if table.is_null() {
            return Err(Error::Unsupported);
        }
        // SAFETY: the caller's promise.
        unsafe { abi::read_sized(table) }.map_err(|_| Error::Unsupported)
    }

    pub(crate) fn fault(&self, text: &str) {
        let Some(call) = self.api.fault else {
            return self.log(abi::LOG_ERROR, 0, text);
        };
        // SAFETY: `raw` is valid; the text is only read meanwhile.
        let answer = unsafe { call(self.raw, text.as_ptr().cast::<c_char>(), text.len()) };
        // Refused or not changes nothing: there is nobody left to complain to.
        let _ = answer;
    }
}

/// The way into the event loop from a thread that the plugin has started: clone it, send it there,
/// call [`wake`](Waker::wake). It may outlive its instance; then waking answers [`Error::Gone`].
#[derive(Clone)]
pub struct Waker {
    reference: Arc<Reference>,
}

impl Waker {
    /// Makes the event loop call [`wake`](crate::Protocol::wake) with this token. Equal tokens that
    /// have not been delivered yet may become one call.
    pub fn wake(&self, token: u64) -> Result {
        let Reference { raw, wake, .. } = *self.reference;
        // SAFETY: the reference is freed by the last clone's drop only, so it is alive here; the
        // host allows this call from any thread.
        Error::check(unsafe { wake(raw, token) })
    }
}

/// The host's counted reference, given back exactly once.
struct Reference {
    raw: *mut abi::Waker,
    wake: unsafe extern "C" fn(*mut abi::Waker, u64) -> abi::Status,
    free: unsafe extern "C" fn(*mut abi::Waker),
}

// SAFETY: the host promises that wakers may be used and freed from any thread.
unsafe impl Send for Reference {}
// SAFETY: and from several at once.
unsafe impl Sync for Reference {}

impl Drop for Reference {
    fn drop(&mut self) {
        // SAFETY: nobody else holds the reference any more, and it was not freed before.
        unsafe { (self.free)(self.raw) }
    }
}
