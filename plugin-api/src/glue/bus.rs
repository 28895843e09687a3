//! The bus across the border: calls of the host's table, and the plugin's sink that turns what the host
//! tells into events.
//!
//! Invariant: everything that an [`Event`] refers to is the host's until the callback returns, and an
//! event cannot outlive its call.

use std::ffi::{CStr, c_void};
use std::ptr;

use super::{Events, Host, instance_of, lent};
use crate::abi;
use crate::bus::{ClaimId, Event, Lease, Message, PublishId, Start, SubscriptionId, WatchId};
use crate::{Error, Protocol, Result};

pub(super) const EXT_BUS: &CStr = c"polyport.bus/1";

fn raw(bytes: &[u8]) -> abi::Bytes {
    abi::Bytes {
        ptr: bytes.as_ptr(),
        len: bytes.len(),
    }
}

impl Host {
    fn bus(&self) -> Result<&abi::Bus1> {
        self.bus.as_ref().ok_or(Error::Unsupported)
    }

    pub(crate) fn bus_publish(&self, topic: &str, id: &[u8], bytes: &[u8], token: u64) -> Result {
        let call = self.bus()?.publish.ok_or(Error::Unsupported)?;
        let (topic, id, bytes) = (raw(topic.as_bytes()), raw(id), raw(bytes));
        // SAFETY: `raw()` is valid; all bytes are only read meanwhile.
        Error::check(unsafe { call(self.raw(), topic, id, bytes, token) })
    }

    pub(crate) fn bus_subscribe(
        &self,
        topic: &str,
        start: Start,
        flags: u32,
        token: u64,
    ) -> Result {
        let call = self.bus()?.subscribe.ok_or(Error::Unsupported)?;
        let (start, value) = match start {
            Start::Last(count) => (abi::BUS_LAST, count),
            Start::From(sequence) => (abi::BUS_FROM, sequence),
        };
        // SAFETY: `raw()` is valid; the topic is only read meanwhile.
        Error::check(unsafe {
            call(
                self.raw(),
                raw(topic.as_bytes()),
                start,
                value,
                flags,
                token,
            )
        })
    }

    pub(crate) fn bus_unsubscribe(&self, token: u64) -> Result {
        let call = self.bus()?.unsubscribe.ok_or(Error::Unsupported)?;
        // SAFETY: `raw()` is valid.
        Error::check(unsafe { call(self.raw(), token) })
    }

    pub(crate) fn bus_claim(&self, key: &str, value: &[u8], session: &[u8], token: u64) -> Result {
        let call = self.bus()?.claim.ok_or(Error::Unsupported)?;
        let (key, value, session) = (raw(key.as_bytes()), raw(value), raw(session));
        // SAFETY: `raw()` is valid; all bytes are only read meanwhile.
        Error::check(unsafe { call(self.raw(), key, value, session, token) })
    }

    pub(crate) fn bus_release(&self, key: &str, session: &[u8]) -> Result {
        let call = self.bus()?.release.ok_or(Error::Unsupported)?;
        // SAFETY: `raw()` is valid; all bytes are only read meanwhile.
        Error::check(unsafe { call(self.raw(), raw(key.as_bytes()), raw(session)) })
    }

    pub(crate) fn bus_watch(&self, prefix: &str, token: u64) -> Result {
        let call = self.bus()?.watch.ok_or(Error::Unsupported)?;
        // SAFETY: `raw()` is valid; the prefix is only read meanwhile.
        Error::check(unsafe { call(self.raw(), raw(prefix.as_bytes()), token) })
    }

    pub(crate) fn bus_unwatch(&self, token: u64) -> Result {
        let call = self.bus()?.unwatch.ok_or(Error::Unsupported)?;
        // SAFETY: `raw()` is valid.
        Error::check(unsafe { call(self.raw(), token) })
    }
}

impl<P: Protocol> Events<P> {
    const BUS_SINK: &'static abi::BusSink1 = &abi::BusSink1 {
        size: size_of::<abi::BusSink1>() as u32,
        reserved0: 0,
        link: Some(link::<P>),
        message: Some(message::<P>),
        missed: Some(missed::<P>),
        caught_up: Some(caught_up::<P>),
        published: Some(published::<P>),
        lease: Some(lease::<P>),
        seen: Some(seen::<P>),
    };
    /// Null for a plugin that does without.
    pub(super) const BUS_SINK_OR_NULL: *const c_void = if P::BUS {
        ptr::from_ref(Self::BUS_SINK).cast()
    } else {
        ptr::null()
    };
}

/// # Safety
/// `instance` is what `create` made, and no other callback runs.
unsafe fn tell<P: Protocol>(instance: *mut c_void, event: Event<'_>) {
    // SAFETY: the caller's promise.
    let instance = unsafe { instance_of::<P>(instance) };
    // Fail closed: the event is used up.
    let _ = instance.call("bus", |protocol, cx| protocol.bus(cx, event));
}

/// A name or an id of the host's, which outlives the callback that it was passed to.
///
/// # Safety
/// As the header says of what is lent.
unsafe fn read<'a>(bytes: abi::Bytes) -> &'a [u8] {
    // SAFETY: the caller's promise.
    unsafe { lent::bytes(bytes.ptr, bytes.len) }
}

/// # Safety
/// As for [`read`].
unsafe fn name<'a>(bytes: abi::Bytes) -> &'a str {
    // SAFETY: the caller's promise. Names are ASCII; a host that breaks this says nothing.
    std::str::from_utf8(unsafe { read(bytes) }).unwrap_or_default()
}

unsafe extern "C" fn link<P: Protocol>(instance: *mut c_void, up: u32) {
    // SAFETY: the host's promise.
    unsafe { tell::<P>(instance, Event::Link { up: up != 0 }) }
}

unsafe extern "C" fn message<P: Protocol>(
    instance: *mut c_void,
    token: u64,
    message: *const abi::BusMessage,
) {
    if message.is_null() {
        return;
    }
    // SAFETY: the host lends the message until the return.
    let Ok(raw) = (unsafe { abi::read_sized(message) }) else {
        return;
    };
    // SAFETY: and what it points to.
    let message = unsafe {
        Message {
            topic: name(raw.topic),
            sequence: raw.sequence,
            time_ms: raw.time_ms,
            id: read(raw.id),
            bytes: read(raw.bytes),
        }
    };
    let subscription = SubscriptionId(token);
    let event = Event::Message {
        subscription,
        message,
    };
    // SAFETY: the host's promise.
    unsafe { tell::<P>(instance, event) }
}

unsafe extern "C" fn missed<P: Protocol>(instance: *mut c_void, token: u64, from: u64, to: u64) {
    let subscription = SubscriptionId(token);
    let event = Event::Missed {
        subscription,
        from,
        to,
    };
    // SAFETY: the host's promise.
    unsafe { tell::<P>(instance, event) }
}

unsafe extern "C" fn caught_up<P: Protocol>(instance: *mut c_void, token: u64, sequence: u64) {
    let subscription = SubscriptionId(token);
    let event = Event::CaughtUp {
        subscription,
        sequence,
    };
    // SAFETY: the host's promise.
    unsafe { tell::<P>(instance, event) }
}

unsafe extern "C" fn published<P: Protocol>(
    instance: *mut c_void,
    token: u64,
    status: abi::Status,
    sequence: u64,
) {
    let event = Event::Published {
        publish: PublishId(token),
        result: Error::check(status).map(|()| sequence),
    };
    // SAFETY: the host's promise.
    unsafe { tell::<P>(instance, event) }
}

unsafe extern "C" fn lease<P: Protocol>(
    instance: *mut c_void,
    token: u64,
    key: abi::Bytes,
    what: u32,
    value: abi::Bytes,
) {
    let lease = match what {
        abi::LEASE_WON => Lease::Won,
        abi::LEASE_DENIED => Lease::Denied,
        abi::LEASE_LOST => Lease::Lost,
        // Of a newer host: the header says to ignore it.
        _ => return,
    };
    // SAFETY: the host lends key and value until the return.
    let (key, value) = unsafe { (name(key), read(value)) };
    let claim = ClaimId(token);
    let event = Event::Lease {
        claim,
        key,
        lease,
        value,
    };
    // SAFETY: the host's promise.
    unsafe { tell::<P>(instance, event) }
}

unsafe extern "C" fn seen<P: Protocol>(
    instance: *mut c_void,
    token: u64,
    key: abi::Bytes,
    held: u32,
    value: abi::Bytes,
) {
    // SAFETY: the host lends key and value until the return.
    let (key, value) = unsafe { (name(key), read(value)) };
    let watch = WatchId(token);
    let held = (held != 0).then_some(value);
    // SAFETY: the host's promise.
    unsafe { tell::<P>(instance, Event::Seen { watch, key, held }) }
}
