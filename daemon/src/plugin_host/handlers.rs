//! `polyport.blocking/1` from the daemon's side: `serve` and `serve_datagram`, called on threads of the
//! worker's.
//!
//! Here a stream of the worker becomes a table of functions that the plugin calls, and what `serve`
//! answers becomes what is done with the connection.
//!
//! Invariant: neither runs once the instance has been retired, and one that retires while they run
//! is told so: its plugin is then never taken down.

use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering};

use polyport_plugin::abi::{self, Status};
use slotmap::Key;

use super::admit::Blocking;
use super::calls::status_name;
use super::facts;
use super::host_state::{HostState, borrowed};
use super::log::About;
use super::threads::{self, Said};
use crate::engine::handler::{ByteStream, Halt, Handler, Served};
use crate::engine::session::{DatagramFacts, End, Facts, Token};

/// The plugin of one instance, for as many threads as like.
#[derive(Debug)]
pub(super) struct Handlers {
    blocking: Blocking,
    object: *mut c_void,
    host: &'static HostState,
    plugin: String,
    /// Calls that run; the top bit says that no more may begin.
    gate: AtomicUsize,
}

// SAFETY: the header demands that `serve` may be called by several threads at once with the same
// instance; the rest is immutable, atomic, or a host state, of which its thread alone is inside.
unsafe impl Send for Handlers {}
// SAFETY: as above.
unsafe impl Sync for Handlers {}

const RETIRED: usize = 1 << (usize::BITS - 1);

impl Handlers {
    pub(super) fn new(
        blocking: Blocking,
        object: *mut c_void,
        host: &'static HostState,
        plugin: &str,
    ) -> Handlers {
        Handlers {
            blocking,
            object,
            host,
            plugin: plugin.to_owned(),
            gate: AtomicUsize::new(0),
        }
    }

    /// No call begins after this. True if none runs either.
    pub(super) fn retire(&self) -> bool {
        self.gate.fetch_or(RETIRED, Ordering::AcqRel) & !RETIRED == 0
    }

    fn call(&self, session: Token, of: &Facts<'_>, stream: &mut dyn ByteStream) -> Status {
        let Some(serve) = self.blocking.serve else {
            return abi::E_UNSUPPORTED;
        };
        let (number, info) = (session.data().as_ffi(), facts::session(of));
        let mut lent = Lent(stream);
        let table = abi::Stream {
            size: size_of::<abi::Stream>() as u32,
            reserved0: 0,
            session: number,
            inner: (&raw mut lent).cast(),
            read: Some(read),
            write: Some(write),
            deadline: Some(deadline),
        };
        let about = About {
            session: Some(number),
            peer: Some(of.peer),
        };
        let (status, left) = threads::enter(self.host, about, false, || {
            // SAFETY: the gate keeps the instance alive; stream and facts live during the call, which
            // is all the header grants.
            unsafe { serve(self.object, &table, &info) }
        });
        if left.fault.is_none() && status != abi::E_PANIC {
            return status;
        }
        let what = left.fault.as_deref().unwrap_or("it answered PP_E_PANIC");
        let (service, plugin) = (self.host.log.service.as_str(), &self.plugin);
        tracing::error!(target: "plugin", service, session = number, "fault of plugin {plugin} in serve: {what}");
        abi::E_PANIC
    }

    pub(super) fn serves_datagrams(&self) -> bool {
        self.blocking.serve_datagram.is_some()
    }

    pub(super) fn serve_datagram(&self, held: &HeldDatagram) -> Answer {
        let mut answer = Answer::default();
        let begun = self.gate.fetch_add(1, Ordering::AcqRel) & RETIRED == 0;
        if let Some(serve) = self.blocking.serve_datagram.filter(|_| begun) {
            let of = DatagramFacts {
                endpoint: &held.endpoint,
                ..held.facts
            };
            let (from, payload) = (facts::datagram(&of), &held.payload);
            let about = About {
                session: None,
                peer: Some(of.peer),
            };
            let (status, left) = threads::enter(self.host, about, true, || {
                // SAFETY: the gate keeps the instance alive; facts and payload live during the call,
                // which is all the header grants.
                unsafe { serve(self.object, &from, payload.as_ptr(), payload.len()) }
            });
            let panicked = status == abi::E_PANIC;
            answer = Answer {
                replies: left.said,
                failed: status < 0,
                fault: left
                    .fault
                    .or_else(|| panicked.then(|| "serve_datagram answered PP_E_PANIC".to_owned())),
            };
        }
        self.gate.fetch_sub(1, Ordering::AcqRel);
        answer
    }

    fn verdict(&self, session: Token, status: Status) -> Result<(), End> {
        match status {
            // Passed on from a call of the stream, whose reason the worker knows better.
            0.. | abi::E_TIMEOUT | abi::E_GONE => return Ok(()),
            abi::E_CANCELLED => return Err(End::Drain),
            abi::E_PANIC => return Err(End::Fault),
            _ => {}
        }
        let (service, session) = (self.host.log.service.as_str(), session.data().as_ffi());
        let status = status_name(status);
        tracing::debug!(target: "plugin", service, session, "serve answered {status}");
        Err(End::Aborted)
    }
}

/// A datagram on its way to a thread.
pub(super) struct HeldDatagram {
    facts: DatagramFacts<'static>,
    endpoint: String,
    payload: Box<[u8]>,
}

impl HeldDatagram {
    pub(super) fn new(facts: &DatagramFacts<'_>, payload: &[u8]) -> HeldDatagram {
        HeldDatagram {
            facts: facts.without_endpoint(),
            endpoint: facts.endpoint.to_owned(),
            payload: payload.into(),
        }
    }
}

/// What a thread has said to a datagram.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) replies: Vec<Said>,
    pub(super) failed: bool,
    pub(super) fault: Option<String>,
}

impl Handler for Handlers {
    fn serves_streams(&self) -> bool {
        self.blocking.serve.is_some()
    }

    fn parallel_max(&self) -> u32 {
        self.blocking.parallel_max
    }

    fn serve(&self, session: Token, facts: &Facts<'_>, stream: &mut dyn ByteStream) -> Served {
        let begun = self.gate.fetch_add(1, Ordering::AcqRel) & RETIRED == 0;
        let verdict = if begun {
            let status = self.call(session, facts, stream);
            self.verdict(session, status)
        } else {
            Err(End::Drain)
        };
        self.gate.fetch_sub(1, Ordering::AcqRel);
        Served {
            verdict,
            log_dropped: self.host.log.take_dropped(),
        }
    }
}

// --- the stream's functions --------------------------------------------------------------------
//
// Their safety is the header's: `inner` is that of a stream whose `serve` runs, on its own thread, and
// each pointer is valid for its length during the call.

/// What `inner` points to.
struct Lent<'a>(&'a mut dyn ByteStream);

/// # Safety
///
/// `inner` is null, or that of a stream which is lent to this thread; no other call of it runs.
unsafe fn stream<'a>(inner: *mut c_void) -> Result<&'a mut Lent<'a>, Status> {
    // SAFETY: the caller's promise; the value is on the stack of `Handlers::call`, which waits.
    unsafe { inner.cast::<Lent<'a>>().as_mut() }.ok_or(abi::E_ARG)
}

fn status(answer: Result<(), Status>) -> Status {
    answer.err().unwrap_or(abi::OK)
}

fn halted(halt: Halt) -> Status {
    match halt {
        Halt::Cancelled => abi::E_CANCELLED,
        Halt::TimedOut => abi::E_TIMEOUT,
        Halt::Gone => abi::E_GONE,
    }
}

unsafe extern "C" fn read(
    inner: *mut c_void,
    buffer: *mut c_void,
    capacity: usize,
    flags: u32,
    got: *mut usize,
) -> Status {
    let wrong = buffer.is_null() || got.is_null() || isize::try_from(capacity).is_err();
    if wrong || capacity == 0 || flags & !abi::READ_PEEK != 0 {
        return abi::E_ARG;
    }
    // SAFETY: the header's promise.
    let lent = match unsafe { stream(inner) } {
        Ok(lent) => lent,
        Err(status) => return status,
    };
    // SAFETY: not null, the plugin's to be written, and of that length; what it holds is not looked
    // at, only written over.
    let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), capacity) };
    let peek = flags & abi::READ_PEEK != 0;
    status(lent.0.read(bytes, peek).map_err(halted).map(|count| {
        // SAFETY: not null, and the caller's to be written.
        unsafe { got.write(count) }
    }))
}

unsafe extern "C" fn write(
    inner: *mut c_void,
    start: *const c_void,
    length: usize,
    flags: u32,
) -> Status {
    // SAFETY: the header's promises.
    let bytes = match unsafe { borrowed(start, length) } {
        Ok(bytes) if flags & !abi::WRITE_FINISH == 0 => bytes,
        _ => return abi::E_ARG,
    };
    let finish = flags & abi::WRITE_FINISH != 0;
    // SAFETY: as above.
    status(unsafe { stream(inner) }.and_then(|lent| lent.0.write(bytes, finish).map_err(halted)))
}

unsafe extern "C" fn deadline(inner: *mut c_void, after_ms: u64) -> Status {
    // SAFETY: the header's promise.
    status(unsafe { stream(inner) }.map(|lent| lent.0.set_deadline(after_ms)))
}
