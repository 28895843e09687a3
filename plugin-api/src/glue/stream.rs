//! A session's stream as safe calls: what the host lends to `serve`.
//!
//! Invariant: a `RawStream` lives no longer than the call of `serve` that it was lent to, and stays on
//! its thread (it holds raw pointers, so it is neither `Send` nor `Sync`).

use std::marker::PhantomData;

use crate::abi;
use crate::{Error, Result};

pub(crate) struct RawStream<'a> {
    raw: abi::Stream,
    lent: PhantomData<&'a abi::Stream>,
}

impl RawStream<'_> {
    /// # Safety
    /// `raw` is null, or a stream of the host's that is as long as its size says, and is lent to this
    /// thread for `'a`.
    pub(crate) unsafe fn adopt<'a>(raw: *const abi::Stream) -> Option<RawStream<'a>> {
        if raw.is_null() {
            return None;
        }
        // SAFETY: the caller's promise.
        let raw = unsafe { abi::read_sized(raw) }.ok()?;
        Some(RawStream {
            raw,
            lent: PhantomData,
        })
    }

    pub(crate) fn session(&self) -> abi::Session {
        self.raw.session
    }

    /// Waits; 0 is the end of the peer's stream.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let call = self.raw.read.ok_or(Error::Unsupported)?;
        let mut got = 0;
        // SAFETY: the stream is ours (see the file's invariant); the buffer is writable meanwhile.
        Error::check(unsafe {
            call(
                self.raw.inner,
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                0,
                &raw mut got,
            )
        })?;
        // More than there is room for would be the host's mistake, and ours to survive.
        Ok(got.min(buffer.len()))
    }

    /// Waits until the kernel has all of it.
    pub(crate) fn write(&mut self, bytes: &[u8], flags: u32) -> Result {
        let call = self.raw.write.ok_or(Error::Unsupported)?;
        // SAFETY: as above; the bytes are only read, before it returns.
        Error::check(unsafe { call(self.raw.inner, bytes.as_ptr().cast(), bytes.len(), flags) })
    }

    pub(crate) fn deadline(&mut self, ms: u64) -> Result {
        let call = self.raw.deadline.ok_or(Error::Unsupported)?;
        // SAFETY: as above.
        Error::check(unsafe { call(self.raw.inner, ms) })
    }
}
