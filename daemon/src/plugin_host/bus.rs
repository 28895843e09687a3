//! `polyport.bus/1` from the daemon's side: what a plugin asks is checked and written down, and what its
//! worker's end of the bus hears is told to it, one thing in one callback.
//!
//! Invariant: no function of the table calls the plugin, and what a callback lends lives until it has
//! returned.

use std::ffi::c_void;
use std::ptr::null;

use polyport_plugin::abi::{self, Status};
use slotmap::Key;

use super::error::LoadError;
use super::extension::{self, table_of};
use super::host_state::{borrowed, status};
use super::instance::Instance;
use crate::engine::protocol::BusNews;
use crate::engine::session::Token;
use crate::hub::client::{Client, Heard, Refusal};
use crate::hub::wire::{self, Garbled, Message, Start};
use crate::scoreboard::Callback;
use crate::sys::clock::utc_ms;

const _: () = {
    assert!(abi::BUS_NAME_BYTES as usize == wire::NAME_BYTES_MAX);
    assert!(abi::BUS_ID_BYTES as usize + 1 == wire::ID_BYTES_MAX);
    assert!(abi::BUS_ID_BYTES as usize == wire::SESSION_BYTES_MAX);
    assert!(abi::BUS_VALUE_BYTES as usize == wire::VALUE_BYTES_MAX);
    assert!(abi::BUS_MESSAGE_BYTES as usize == wire::MESSAGE_BYTES_MAX);
};

/// The host's side; one for all instances of a process.
pub(super) static TABLE: abi::Bus1 = abi::Bus1 {
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

/// The plugin's side, with all its functions.
#[derive(Clone, Copy, Debug)]
pub(super) struct BusSink {
    link: unsafe extern "C" fn(*mut c_void, u32),
    message: unsafe extern "C" fn(*mut c_void, u64, *const abi::BusMessage),
    missed: unsafe extern "C" fn(*mut c_void, u64, u64, u64),
    caught_up: unsafe extern "C" fn(*mut c_void, u64, u64),
    published: unsafe extern "C" fn(*mut c_void, u64, Status, u64),
    lease: unsafe extern "C" fn(*mut c_void, u64, abi::Bytes, u32, abi::Bytes),
    seen: unsafe extern "C" fn(*mut c_void, u64, abi::Bytes, u32, abi::Bytes),
}

/// # Safety
///
/// `table` is an admitted plugin's.
pub(super) unsafe fn read_sink(table: &abi::Plugin) -> Result<Option<BusSink>, LoadError> {
    let bad = |why: String| LoadError::BadExtension {
        id: abi::EXT_BUS,
        why,
    };
    // SAFETY: the header says so of this id.
    let found = unsafe { table_of::<abi::BusSink1>(table, extension::BUS) };
    let Some(found) = found.map_err(bad)? else {
        return Ok(None);
    };
    let whole = || {
        Some(BusSink {
            link: found.link?,
            message: found.message?,
            missed: found.missed?,
            caught_up: found.caught_up?,
            published: found.published?,
            lease: found.lease?,
            seen: found.seen?,
        })
    };
    let missing = "one of its functions is NULL".to_owned();
    whole().ok_or_else(|| bad(missing)).map(Some)
}

// --- what the plugin asks ----------------------------------------------------------------------
//
// The safety of these functions is the header's: `host` is what `create` was given, and what is passed
// is readable during the call.

/// # Safety
///
/// `host` is null or what `create` was given.
unsafe fn ask(
    host: *mut abi::Host,
    ask: impl FnOnce(&mut Client) -> Result<(), Refusal>,
) -> Status {
    let ask = |inside: &mut super::host_state::Inside| {
        let bus = inside.bus.as_mut().ok_or(abi::E_UNSUPPORTED)?;
        ask(bus).map_err(|refusal| match refusal {
            Refusal::Full => abi::E_FULL,
            Refusal::Gone => abi::E_GONE,
            Refusal::Used => abi::E_ARG,
        })
    };
    // SAFETY: the caller's promise.
    unsafe { status(host, ask) }
}

/// # Safety
///
/// The bytes are readable until the call of the table has returned.
unsafe fn bytes<'a>(raw: abi::Bytes, max: usize) -> Result<&'a [u8], Status> {
    // SAFETY: the caller's promise.
    let bytes = unsafe { borrowed(raw.ptr.cast(), raw.len) }?;
    match bytes.len() <= max {
        true => Ok(bytes),
        false => Err(abi::E_ARG),
    }
}

/// # Safety
///
/// As for [`bytes`].
unsafe fn name<'a>(raw: abi::Bytes) -> Result<&'a str, Status> {
    // SAFETY: the caller's promise.
    let name = unsafe { bytes(raw, wire::NAME_BYTES_MAX) }?;
    let text = std::str::from_utf8(name).map_err(|_| abi::E_ARG)?;
    match wire::is_name(name) {
        true => Ok(text),
        false => Err(abi::E_ARG),
    }
}

/// # Safety
///
/// As for [`bytes`].
unsafe fn full_name<'a>(raw: abi::Bytes) -> Result<&'a str, Status> {
    // SAFETY: the caller's promise.
    let name = unsafe { name(raw) }?;
    match name.is_empty() {
        true => Err(abi::E_ARG),
        false => Ok(name),
    }
}

/// The answer of a call whose arguments are looked at first.
fn checked(answer: impl FnOnce() -> Result<Status, Status>) -> Status {
    answer().unwrap_or_else(|status| status)
}

unsafe extern "C" fn publish(
    host: *mut abi::Host,
    topic: abi::Bytes,
    id: abi::Bytes,
    message: abi::Bytes,
    token: u64,
) -> Status {
    // SAFETY: the header's promises.
    checked(|| unsafe {
        let topic = full_name(topic)?;
        let id = bytes(id, wire::ID_BYTES_MAX - 1)?;
        let message = bytes(message, wire::MESSAGE_BYTES_MAX)?;
        let time_ms = utc_ms();
        Ok(ask(host, |bus| {
            bus.publish(token, topic, id, message, time_ms)
        }))
    })
}

unsafe extern "C" fn subscribe(
    host: *mut abi::Host,
    topic: abi::Bytes,
    start: u32,
    value: u64,
    flags: u32,
    token: u64,
) -> Status {
    // SAFETY: the header's promises.
    checked(|| unsafe {
        let topic = full_name(topic)?;
        let start = match start {
            abi::BUS_LAST => Start::Last(value),
            abi::BUS_FROM => Start::From(value),
            _ => return Err(abi::E_ARG),
        };
        if flags & !abi::BUS_HISTORY_ONLY != 0 {
            return Err(abi::E_ARG);
        }
        Ok(ask(host, |bus| {
            bus.subscribe(token, topic, start, flags == 0)
        }))
    })
}

unsafe extern "C" fn unsubscribe(host: *mut abi::Host, token: u64) -> Status {
    // SAFETY: the header's promise.
    unsafe { ask(host, |bus| bus.unsubscribe(token)) }
}

unsafe extern "C" fn claim(
    host: *mut abi::Host,
    key: abi::Bytes,
    value: abi::Bytes,
    session: abi::Bytes,
    token: u64,
) -> Status {
    // SAFETY: the header's promises.
    checked(|| unsafe {
        let key = full_name(key)?;
        let value = bytes(value, wire::VALUE_BYTES_MAX)?;
        let session = bytes(session, wire::SESSION_BYTES_MAX)?;
        if session.is_empty() {
            return Err(abi::E_ARG);
        }
        Ok(ask(host, |bus| bus.claim(token, key, value, session)))
    })
}

unsafe extern "C" fn release(host: *mut abi::Host, key: abi::Bytes, session: abi::Bytes) -> Status {
    // SAFETY: the header's promises.
    checked(|| unsafe {
        let key = full_name(key)?;
        let session = bytes(session, wire::SESSION_BYTES_MAX)?;
        Ok(ask(host, |bus| bus.release(key, session)))
    })
}

unsafe extern "C" fn watch(host: *mut abi::Host, prefix: abi::Bytes, token: u64) -> Status {
    // SAFETY: the header's promises.
    checked(|| unsafe {
        let prefix = name(prefix)?;
        Ok(ask(host, |bus| bus.watch(token, prefix)))
    })
}

unsafe extern "C" fn unwatch(host: *mut abi::Host, token: u64) -> Status {
    // SAFETY: the header's promise.
    unsafe { ask(host, |bus| bus.unwatch(token)) }
}

// --- what it is told ---------------------------------------------------------------------------

fn lend(bytes: &[u8]) -> abi::Bytes {
    abi::Bytes {
        ptr: if bytes.is_empty() {
            null()
        } else {
            bytes.as_ptr()
        },
        len: bytes.len(),
    }
}

impl Instance {
    /// One piece of news; true while more follows from it.
    pub(super) fn tell_bus(&mut self, news: BusNews<'_>) -> Result<bool, String> {
        let Some(bus) = &mut self.inside().bus else {
            return Err("the plugin does not use the bus".to_owned());
        };
        let own;
        let heard = match news {
            BusNews::There => {
                bus.attach();
                Heard::Nothing
            }
            BusNews::Parting => {
                bus.part();
                Heard::Nothing
            }
            BusNews::Gone => bus.lose(),
            BusNews::More => {
                own = bus.next_own();
                match &own {
                    Some(own) => own.heard(),
                    None => bus.next_late().unwrap_or(Heard::Nothing),
                }
            }
            BusNews::Frame(frame) => bus.hear(frame).map_err(|Garbled(why)| why.to_owned())?,
        };
        if heard != Heard::Nothing {
            self.tell(&heard);
        }
        // Asked behind the call, in which the plugin may have said more.
        Ok(self.inside().bus.as_ref().is_some_and(Client::has_late))
    }

    fn tell(&mut self, heard: &Heard<'_>) {
        let Some(sink) = self.admitted.bus_sink else {
            return;
        };
        self.call(Callback::Bus, Token::null(), 0, &[], |instance| {
            // SAFETY: the object is the plugin's own; what is lent lives until the call has returned.
            unsafe { sink.tell(instance.object, heard) }
        });
        self.note_fault(Callback::Bus);
    }
}

impl BusSink {
    /// # Safety
    ///
    /// `object` is the instance's, and no other callback of it runs.
    unsafe fn tell(&self, object: *mut c_void, heard: &Heard<'_>) {
        match heard {
            Heard::Nothing => {}
            // SAFETY: the caller's promise, here and below.
            Heard::Link(up) => unsafe { (self.link)(object, u32::from(*up)) },
            Heard::Message {
                token,
                topic,
                message,
            } => {
                let raw = raw_message(topic, message);
                // SAFETY: the message lives until the call has returned.
                unsafe { (self.message)(object, *token, &raw const raw) }
            }
            // SAFETY: the caller's promise.
            Heard::Missed { token, from, to } => unsafe {
                (self.missed)(object, *token, *from, *to);
            },
            // SAFETY: the caller's promise.
            Heard::CaughtUp { token, sequence } => unsafe {
                (self.caught_up)(object, *token, *sequence);
            },
            Heard::Published { token, sequence } => {
                let status = if sequence.is_some() {
                    abi::OK
                } else {
                    abi::E_FULL
                };
                // SAFETY: the caller's promise.
                unsafe { (self.published)(object, *token, status, sequence.unwrap_or(0)) }
            }
            Heard::Won { token, key, value } => {
                let (key, value) = (lend(key.as_bytes()), lend(value));
                // SAFETY: key and value live until the call has returned.
                unsafe { (self.lease)(object, *token, key, abi::LEASE_WON, value) }
            }
            Heard::Denied { token, key, value } => {
                let (key, value) = (lend(key.as_bytes()), lend(value));
                // SAFETY: as above.
                unsafe { (self.lease)(object, *token, key, abi::LEASE_DENIED, value) }
            }
            Heard::Lost { token, key, value } => {
                let (key, value) = (lend(key.as_bytes()), lend(value));
                // SAFETY: as above.
                unsafe { (self.lease)(object, *token, key, abi::LEASE_LOST, value) }
            }
            Heard::Seen { token, key, held } => {
                let value = lend(held.unwrap_or_default());
                let key = lend(key.as_bytes());
                // SAFETY: as above.
                unsafe { (self.seen)(object, *token, key, u32::from(held.is_some()), value) }
            }
        }
    }
}

fn raw_message(topic: &str, message: &Message<'_>) -> abi::BusMessage {
    abi::BusMessage {
        size: size_of::<abi::BusMessage>() as u32,
        reserved0: 0,
        sequence: message.sequence,
        time_ms: message.time_ms,
        topic: lend(topic.as_bytes()),
        id: lend(message.id),
        bytes: lend(message.bytes),
    }
}
