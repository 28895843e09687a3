//! The fake host's border at the bus: its table, and the plugin's sink.
//!
//! Invariant: a wish is checked here as the daemon checks it, and answered without calling the plugin.

use std::ptr;

use super::{Plugin, table};
use crate::abi;
use crate::glue::lent_bytes;
use crate::testing::bus::{Notice, Seat, Wish};

pub(super) static BUS: abi::Bus1 = abi::Bus1 {
    size: size_of::<abi::Bus1>() as u32,
    reserved0: 0,
    publish: Some(publish),
    subscribe: Some(subscribe),
    unsubscribe: Some(unsubscribe),
    claim: Some(claim),
    release: Some(release),
    watch: Some(watch),
    unwatch: Some(unwatch),
};

/// Of which an instance may have so many.
const LIMITED: [&str; 4] = ["publish", "subscribe", "claim", "watch"];

/// Asks the bus; `early` calls may come in `create`.
unsafe fn ask(
    host: *mut abi::Host,
    call: &'static str,
    early: bool,
    wish: impl FnOnce(&Seat) -> Result<abi::Status, abi::Status>,
) -> abi::Status {
    // SAFETY: the plugin's promise, passed on.
    unsafe {
        table::ask(host, call, abi::E_THREAD, |ledger| {
            if !(early && ledger.during == Some("create")) {
                ledger.in_callback(call);
            }
            let status = match LIMITED.contains(&call) && ledger.refuses(call) {
                true => abi::E_FULL,
                false => wish(&ledger.bus).unwrap_or_else(|status| status),
            };
            ledger.note(format_args!("{call} -> {status}"));
            status
        })
    }
}

/// # Safety
/// The plugin lends the bytes until the call has returned.
unsafe fn read(bytes: abi::Bytes, max: u32) -> Result<Vec<u8>, abi::Status> {
    if (bytes.ptr.is_null() && bytes.len > 0) || bytes.len > max as usize {
        return Err(abi::E_ARG);
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { lent_bytes(bytes.ptr, bytes.len) }.to_vec())
}

/// # Safety
/// As for [`read`].
unsafe fn name(bytes: abi::Bytes, may_be_empty: bool) -> Result<String, abi::Status> {
    // SAFETY: the caller's promise.
    let name = unsafe { read(bytes, abi::BUS_NAME_BYTES) }?;
    let good = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-=/".contains(byte);
    if !name.iter().all(good) || (name.is_empty() && !may_be_empty) {
        return Err(abi::E_ARG);
    }
    String::from_utf8(name).map_err(|_| abi::E_ARG)
}

unsafe extern "C" fn publish(
    host: *mut abi::Host,
    topic: abi::Bytes,
    id: abi::Bytes,
    bytes: abi::Bytes,
    token: u64,
) -> abi::Status {
    // SAFETY: see `ask` and `read`.
    unsafe {
        ask(host, "publish", false, |bus| {
            let (topic, id) = (name(topic, false)?, read(id, abi::BUS_ID_BYTES)?);
            let bytes = read(bytes, abi::BUS_MESSAGE_BYTES)?;
            Ok(bus.ask(Wish::Publish(topic, id, bytes, token)))
        })
    }
}

unsafe extern "C" fn subscribe(
    host: *mut abi::Host,
    topic: abi::Bytes,
    start: u32,
    value: u64,
    flags: u32,
    token: u64,
) -> abi::Status {
    // SAFETY: see `ask` and `read`.
    unsafe {
        ask(host, "subscribe", true, |bus| {
            let known = start == abi::BUS_LAST || start == abi::BUS_FROM;
            if !known || flags & !abi::BUS_HISTORY_ONLY != 0 {
                return Err(abi::E_ARG);
            }
            let live = flags == 0;
            let topic = name(topic, false)?;
            Ok(bus.ask(Wish::Subscribe(topic, start, value, live, token)))
        })
    }
}

unsafe extern "C" fn unsubscribe(host: *mut abi::Host, token: u64) -> abi::Status {
    // SAFETY: see `ask`.
    unsafe { ask(host, "unsubscribe", false, |bus| Ok(bus.unsubscribe(token))) }
}

unsafe extern "C" fn claim(
    host: *mut abi::Host,
    key: abi::Bytes,
    value: abi::Bytes,
    session: abi::Bytes,
    token: u64,
) -> abi::Status {
    // SAFETY: see `ask` and `read`.
    unsafe {
        ask(host, "claim", true, |bus| {
            let (key, value) = (name(key, false)?, read(value, abi::BUS_VALUE_BYTES)?);
            let session = read(session, abi::BUS_ID_BYTES)?;
            if session.is_empty() {
                return Err(abi::E_ARG);
            }
            Ok(bus.ask(Wish::Claim(key, value, session, token)))
        })
    }
}

unsafe extern "C" fn release(
    host: *mut abi::Host,
    key: abi::Bytes,
    session: abi::Bytes,
) -> abi::Status {
    // SAFETY: see `ask` and `read`.
    unsafe {
        ask(host, "release", false, |bus| {
            let (key, session) = (name(key, false)?, read(session, abi::BUS_ID_BYTES)?);
            Ok(bus.ask(Wish::Release(key, session)))
        })
    }
}

unsafe extern "C" fn watch(host: *mut abi::Host, prefix: abi::Bytes, token: u64) -> abi::Status {
    // SAFETY: see `ask` and `read`.
    unsafe {
        ask(host, "watch", true, |bus| {
            Ok(bus.ask(Wish::Watch(name(prefix, true)?, token)))
        })
    }
}

unsafe extern "C" fn unwatch(host: *mut abi::Host, token: u64) -> abi::Status {
    // SAFETY: see `ask`.
    unsafe { ask(host, "unwatch", false, |bus| Ok(bus.unwatch(token))) }
}

fn lent(bytes: &[u8]) -> abi::Bytes {
    abi::Bytes {
        ptr: if bytes.is_empty() {
            ptr::null()
        } else {
            bytes.as_ptr()
        },
        len: bytes.len(),
    }
}

impl Plugin {
    pub(crate) fn has_bus_sink(&self) -> bool {
        self.bus_sink.is_some()
    }

    pub(crate) fn tell(&self, notice: &Notice) {
        let Some(sink) = self.bus_sink else { return };
        let it = self.instance;
        const NONE: &str = "admitted with all functions of its sink";
        // SAFETY: the instance is alive and no callback of it runs; what is lent lives until the call
        // has returned.
        unsafe {
            match notice {
                Notice::Link(up) => sink.link.expect(NONE)(it, u32::from(*up)),
                Notice::Message(token, message) => {
                    let raw = abi::BusMessage {
                        size: size_of::<abi::BusMessage>() as u32,
                        reserved0: 0,
                        sequence: message.sequence,
                        time_ms: message.time_ms,
                        topic: lent(message.topic.as_bytes()),
                        id: lent(&message.id),
                        bytes: lent(&message.bytes),
                    };
                    sink.message.expect(NONE)(it, *token, &raw const raw);
                }
                Notice::Missed(token, from, to) => sink.missed.expect(NONE)(it, *token, *from, *to),
                Notice::CaughtUp(token, last) => sink.caught_up.expect(NONE)(it, *token, *last),
                Notice::Published(token, status, sequence) => {
                    sink.published.expect(NONE)(it, *token, *status, *sequence);
                }
                Notice::Lease(token, key, what, value) => {
                    let (key, value) = (lent(key.as_bytes()), lent(value));
                    sink.lease.expect(NONE)(it, *token, key, *what, value);
                }
                Notice::Seen(token, key, value) => {
                    let held = u32::from(value.is_some());
                    let value = lent(value.as_deref().unwrap_or_default());
                    sink.seen.expect(NONE)(it, *token, lent(key.as_bytes()), held, value);
                }
            }
        }
    }
}

/// A sink with all its functions.
pub(super) fn is_whole(sink: &abi::BusSink1) -> bool {
    let calls = (sink.link, sink.message, sink.missed, sink.caught_up);
    let others = (sink.published, sink.lease, sink.seen);
    matches!(calls, (Some(_), Some(_), Some(_), Some(_)))
        && matches!(others, (Some(_), Some(_), Some(_)))
}
