//! What a plugin can ask of the daemon: the functions behind its host table.
//!
//! They answer from the instance's desk and never reach a socket or another callback. Each checks
//! first who is calling (the event loop, inside a callback of a living instance), then every
//! argument, then asks; none can unwind into the plugin, as a panic at an `extern "C"` border aborts.
//!
//! Invariant: no function here calls another one of the table, and none calls the plugin.

use std::ffi::{CStr, c_char, c_void};
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::ops::Range;
use std::ptr::null;
use std::sync::Arc;

use polyport_plugin::abi::{self, Status};
use slotmap::Key;

use super::host_state::{Inside, admit, borrowed, refused, state_of, status, token_from};
use super::log::About;
use super::text::{LOG_BYTES_MAX, escaped};
use super::waker::{Unheard, WakeQueue};
use super::{bus, extension, file, metrics, threads, work};
use crate::engine::desk::Said;
use crate::engine::outbox::Unsent;
use crate::engine::session::{Closing, TimerToken, Token};

const REASON_BYTES_MAX: usize = 512;

/// The daemon's table; one for all instances of a process.
pub(super) static TABLE: abi::HostApi = abi::HostApi {
    size: size_of::<abi::HostApi>() as u32,
    major: abi::MAJOR,
    minor: abi::MINOR,
    product: c"polyport".as_ptr(),
    product_version: concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast(),
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

impl Inside {
    fn now_ms(&mut self, clock: fn() -> u64) -> u64 {
        let came_ms = self.desk.outbox.came_ms();
        let now_ms = self.now_ms;
        *self.now_ms.insert(now_ms.or(came_ms).unwrap_or_else(clock))
    }

    /// Which range of the lent input these bytes are, if they lie in it.
    fn range_lent(&self, bytes: &[u8]) -> Option<Range<usize>> {
        let start = (bytes.as_ptr() as usize).checked_sub(self.lent.start)?;
        let inside = !bytes.is_empty() && start + bytes.len() <= self.lent.len();
        inside.then(|| start..start + bytes.len())
    }

    fn about(&self, session: abi::Session) -> About {
        let Ok(token) = token_from::<Token>(session) else {
            return About::default();
        };
        About {
            session: Some(session),
            peer: self.peers.get(token).copied(),
        }
    }
}

// --- the table's functions ---------------------------------------------------------------------
//
// Their safety is the header's: `host` is what `create` was given, and each pointer is valid for
// its length during the call.

unsafe extern "C" fn extension(host: *mut abi::Host, id: *const c_char) -> *const c_void {
    let find = |_: &mut Inside| {
        // SAFETY: if not null, the id ends in NUL, as the header demands.
        match (!id.is_null()).then(|| unsafe { CStr::from_ptr(id) }) {
            Some(id) if id == extension::WORK => (&raw const work::TABLE).cast(),
            Some(id) if id == extension::FILE => (&raw const file::TABLE).cast(),
            Some(id) if id == extension::BUS => (&raw const bus::TABLE).cast(),
            Some(id) if id == extension::METRICS => (&raw const metrics::TABLE).cast(),
            _ => null(),
        }
    };
    // SAFETY: the header's promise.
    unsafe { admit(host, find) }.unwrap_or(null())
}

unsafe extern "C" fn log(
    host: *mut abi::Host,
    level: u32,
    session: abi::Session,
    text: *const c_char,
    length: usize,
) {
    // One byte more than is shown tells whether something was cut.
    let length = length.min(LOG_BYTES_MAX + 1);
    // SAFETY: the header's promises.
    let Ok(text) = (unsafe { borrowed(text.cast(), length) }) else {
        return;
    };
    // SAFETY: as above.
    let Some(state) = (unsafe { state_of(host) }) else {
        return;
    };
    if !state.is_here() {
        return threads::log(state, level, session, text);
    }
    let write = |inside: &mut Inside| {
        let (now_ms, about) = (inside.now_ms(state.clock), inside.about(session));
        state.log.line(now_ms, level, about, text);
    };
    // SAFETY: as above. A call from elsewhere is dropped, as the header says.
    let _ = unsafe { admit(host, write) };
}

unsafe extern "C" fn log_level(host: *mut abi::Host) -> u32 {
    // SAFETY: the header's promise.
    match unsafe { state_of(host) } {
        Some(state) if state.is_here() || threads::is_inside(state) => state.log.level_word(),
        _ => abi::LOG_ERROR,
    }
}

unsafe extern "C" fn now_ms(host: *mut abi::Host) -> u64 {
    // SAFETY: the header's promise.
    let clock = unsafe { state_of(host) }.map(|state| state.clock);
    let read = |inside: &mut Inside| clock.map_or(0, |clock| inside.now_ms(clock));
    // SAFETY: as above.
    unsafe { admit(host, read) }.unwrap_or(0)
}

unsafe extern "C" fn write(
    host: *mut abi::Host,
    session: abi::Session,
    start: *const c_void,
    length: usize,
    flags: u32,
) -> Status {
    // SAFETY: the header's promises.
    let bytes = match unsafe { borrowed(start, length) } {
        Ok(bytes) if flags & !abi::WRITE_FINISH == 0 => bytes,
        _ => return abi::E_ARG,
    };
    let take = |inside: &mut Inside| {
        let said = match inside.range_lent(bytes) {
            Some(range) => Said::Lent(range.start, range.end),
            None => Said::Bytes(bytes),
        };
        let finish = flags & abi::WRITE_FINISH != 0;
        inside
            .desk
            .write(token_from(session)?, said, finish)
            .map_err(refused)
    };
    // SAFETY: as above.
    unsafe { status(host, take) }
}

unsafe extern "C" fn close(
    host: *mut abi::Host,
    session: abi::Session,
    how: u32,
    why: *const c_char,
    length: usize,
) -> Status {
    let way = match how {
        abi::CLOSE_FINISH => Closing::Finish,
        abi::CLOSE_ABORT => Closing::Abort,
        abi::CLOSE_DONE => Closing::Done,
        _ => return abi::E_ARG,
    };
    // SAFETY: the header's promises.
    let Ok(why) = (unsafe { borrowed(why.cast(), length.min(REASON_BYTES_MAX + 1)) }) else {
        return abi::E_ARG;
    };
    let ask = |inside: &mut Inside| {
        let closed = inside.desk.close(token_from(session)?, way);
        closed.map_err(refused)?;
        // Nearly always nobody wants to know.
        if tracing::enabled!(target: "plugin", tracing::Level::DEBUG) {
            let why = escaped(why, REASON_BYTES_MAX);
            tracing::debug!(target: "plugin", session, why, "the plugin closes the session");
        }
        Ok(())
    };
    // SAFETY: as above.
    unsafe { status(host, ask) }
}

unsafe extern "C" fn pause(host: *mut abi::Host, session: abi::Session, on: u32) -> Status {
    if on > 1 {
        return abi::E_ARG;
    }
    let ask = |inside: &mut Inside| {
        inside
            .desk
            .pause(token_from(session)?, on == 1)
            .map_err(refused)
    };
    // SAFETY: the header's promise.
    unsafe { status(host, ask) }
}

unsafe extern "C" fn queued(
    host: *mut abi::Host,
    session: abi::Session,
    bytes: *mut u64,
) -> Status {
    if bytes.is_null() {
        return abi::E_ARG;
    }
    let ask = |inside: &mut Inside| {
        let queued = inside.desk.queued(token_from(session)?).map_err(refused)?;
        // SAFETY: not null, and the caller's to be written, as the header demands.
        unsafe { bytes.write(queued) };
        Ok(())
    };
    // SAFETY: the header's promise.
    unsafe { status(host, ask) }
}

unsafe extern "C" fn idle(host: *mut abi::Host, session: abi::Session, idle_ms: u64) -> Status {
    let ask = |inside: &mut Inside| {
        inside
            .desk
            .idle(token_from(session)?, idle_ms)
            .map_err(refused)
    };
    // SAFETY: the header's promise.
    unsafe { status(host, ask) }
}

unsafe extern "C" fn send(
    host: *mut abi::Host,
    reply_token: u64,
    to: *const abi::Address,
    start: *const c_void,
    length: usize,
) -> Status {
    // SAFETY: the header's promises.
    let Ok(bytes) = (unsafe { borrowed(start, length) }) else {
        return abi::E_ARG;
    };
    // SAFETY: null, or an address that the plugin lends for the call.
    let Ok(to) = target(unsafe { to.as_ref() }) else {
        return abi::E_ARG;
    };
    // SAFETY: as above.
    match unsafe { state_of(host) } {
        Some(state) if !state.is_here() => return threads::send(state, reply_token, to, bytes),
        _ => {}
    }
    let ask = |inside: &mut Inside| {
        let lent = inside.range_lent(bytes);
        let sent = inside.desk.outbox.send(reply_token, to, bytes, lent);
        sent.map_err(|unsent| match unsent {
            Unsent::Gone => abi::E_GONE,
            Unsent::Full => abi::E_FULL,
            Unsent::Unreachable => abi::E_UNSUPPORTED,
            Unsent::TooLong => abi::E_ARG,
        })
    };
    // SAFETY: as above.
    unsafe { status(host, ask) }
}

/// Whom a datagram is for; nobody in particular is the peer of its reply token.
fn target(to: Option<&abi::Address>) -> Result<Option<SocketAddr>, Status> {
    let Some(to) = to else {
        return Ok(None);
    };
    match to.family {
        abi::FAMILY_UNIX => Ok(None),
        abi::FAMILY_IPV4 => {
            let [a, b, c, d, ..] = to.ip;
            Ok(Some(SocketAddr::from(([a, b, c, d], to.port))))
        }
        abi::FAMILY_IPV6 => {
            let ip = Ipv6Addr::from(to.ip);
            Ok(Some(SocketAddrV6::new(ip, to.port, 0, to.scope).into()))
        }
        _ => Err(abi::E_ARG),
    }
}

unsafe extern "C" fn timer_set(
    host: *mut abi::Host,
    delay_ms: u64,
    token: u64,
    timer: *mut abi::Timer,
) -> Status {
    if timer.is_null() {
        return abi::E_ARG;
    }
    let ask = |inside: &mut Inside| {
        let armed = inside.desk.timer_set(delay_ms, token).map_err(refused)?;
        // SAFETY: not null, and the caller's to be written, as the header demands.
        unsafe { timer.write(armed.data().as_ffi()) };
        Ok(())
    };
    // SAFETY: the header's promise.
    unsafe { status(host, ask) }
}

unsafe extern "C" fn timer_cancel(host: *mut abi::Host, timer: abi::Timer) -> Status {
    let ask = |inside: &mut Inside| {
        inside
            .desk
            .timer_cancel(token_from::<TimerToken>(timer)?)
            .map_err(refused)
    };
    // SAFETY: the header's promise.
    unsafe { status(host, ask) }
}

unsafe extern "C" fn waker_new(host: *mut abi::Host, waker: *mut *mut abi::Waker) -> Status {
    if waker.is_null() {
        return abi::E_ARG;
    }
    let ask = |inside: &mut Inside| {
        let reference = inside.wakes.hand_out().ok_or(abi::E_FULL)?;
        let handle = Arc::into_raw(reference).cast_mut().cast();
        // SAFETY: not null, and the caller's to be written, as the header demands.
        unsafe { waker.write(handle) };
        Ok(())
    };
    // SAFETY: the header's promise.
    unsafe { status(host, ask) }
}

unsafe extern "C" fn waker_wake(waker: *mut abi::Waker, token: u64) -> Status {
    // SAFETY: null, or made by `waker_new` and not yet freed, as the header demands; so the count
    // keeps the queue alive.
    match unsafe { waker.cast::<WakeQueue>().as_ref() }.map(|queue| queue.wake(token)) {
        None => abi::E_ARG,
        Some(Ok(())) => abi::OK,
        Some(Err(Unheard::Gone)) => abi::E_GONE,
        Some(Err(Unheard::Full)) => abi::E_FULL,
    }
}

unsafe extern "C" fn waker_free(waker: *mut abi::Waker) {
    if !waker.is_null() {
        // SAFETY: made by `into_raw` in `waker_new` and freed once only, as the header demands.
        WakeQueue::hand_back(unsafe { Arc::from_raw(waker.cast::<WakeQueue>()) });
    }
}

unsafe extern "C" fn fault(host: *mut abi::Host, text: *const c_char, length: usize) -> Status {
    // SAFETY: the header's promises.
    let Ok(text) = (unsafe { borrowed(text.cast(), length.min(LOG_BYTES_MAX + 1)) }) else {
        return abi::E_ARG;
    };
    let text = escaped(text, LOG_BYTES_MAX);
    // SAFETY: as above.
    match unsafe { state_of(host) } {
        Some(state) if !state.is_here() => return threads::fault(state, text),
        _ => {}
    }
    let ask = |inside: &mut Inside| {
        inside.fault = Some(text.clone());
        inside.desk.fault(text);
        Ok(())
    };
    // SAFETY: as above.
    unsafe { status(host, ask) }
}
