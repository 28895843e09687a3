//! From the C table to a [`Protocol`]: one function per callback, each of which turns pointers into
//! safe types, guards the plugin's code against panics, and turns its answer into a status.
//!
//! It decides nothing about a protocol. With `abi` it is the only part of the SDK that is unsafe, and
//! a plugin author's own code needs none.
//!
//! Invariant: no panic leaves these functions. A session in which one happened has lost its state
//! and is never handed to the protocol again.

mod blocking;
mod bus;
pub(crate) mod caller;
mod carry;
mod declared;
mod host;
mod lent;
mod metrics;
mod stream;
mod work;

use std::ffi::{CStr, c_char, c_void};
use std::marker::PhantomData;
use std::ptr;
use std::time::Duration;

use crate::abi;
use crate::context::{Context, SessionId, TimerId};
use crate::facts::End;
use crate::panics::caught;
use crate::{Configure, Error, Needs, Opt, Protocol};

use declared::{Declared, Style};
pub(crate) use host::Host;
pub use host::Waker;
pub(crate) use lent::bytes as lent_bytes;
pub(crate) use stream::RawStream;
pub(crate) use work::Job;

/// Makes a library a plugin: exports the entry function for one [`Protocol`].
///
/// `export_plugin!(Echo, name = "echo");` once per library. The version is that of the crate.
/// Nothing unsafe appears in the crate's own source, so it can `#![forbid(unsafe_code)]`.
#[macro_export]
macro_rules! export_plugin {
    ($protocol:ty, name = $name:literal $(,)?) => {
        /// The plugin's table, as the daemon looks it up.
        #[unsafe(no_mangle)]
        pub extern "C" fn polyport_plugin_v1() -> $crate::Table {
            static PLUGIN: $crate::glue::Exported = $crate::glue::Exported::of::<$protocol>(
                concat!($name, "\0"),
                concat!(env!("CARGO_PKG_VERSION"), "\0"),
                concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"), "\0"),
            );
            PLUGIN.table()
        }
    };
}

/// The constant table of one plugin, made by [`export_plugin!`](crate::export_plugin).
#[repr(transparent)]
pub struct Exported(abi::Plugin);

impl Exported {
    /// The table of a protocol; each text ends in its only NUL.
    pub const fn of<P: Protocol>(
        name: &'static str,
        version: &'static str,
        build_info: &'static str,
    ) -> Exported {
        assert!(
            P::STREAMS || P::DATAGRAMS,
            "a plugin serves streams, datagrams or both"
        );
        Exported(abi::Plugin {
            check: Some(check::<Events<P>>),
            create: Some(create::<P>),
            drain: Some(drain::<P>),
            destroy: Some(destroy::<P>),
            open: if P::STREAMS { Some(open::<P>) } else { None },
            feed: if P::STREAMS { Some(feed::<P>) } else { None },
            peer_finished: if P::STREAMS {
                Some(peer_finished::<P>)
            } else {
                None
            },
            writable: if P::STREAMS {
                Some(writable::<P>)
            } else {
                None
            },
            closed: if P::STREAMS { Some(closed::<P>) } else { None },
            datagram: if P::DATAGRAMS {
                Some(datagram::<P>)
            } else {
                None
            },
            timer: Some(timer::<P>),
            wake: Some(wake::<P>),
            ..Declared::<Events<P>>::table(name, version, build_info)
        })
    }

    /// What the entry function returns.
    pub fn table(&'static self) -> Table {
        Table(&raw const self.0)
    }
}

const fn c_text(text: &'static str) -> *const c_char {
    match CStr::from_bytes_with_nul(text.as_bytes()) {
        Ok(text) => text.as_ptr(),
        Err(_) => panic!("a plugin's name and version contain no NUL"),
    }
}

/// A plugin's table: what the entry function returns and the [testing](crate::testing) kit takes.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
pub struct Table(*const abi::Plugin);

// SAFETY: a table is constant and stays as long as the process: `Exported` and `from_raw` see to it.
unsafe impl Send for Table {}
// SAFETY: as above.
unsafe impl Sync for Table {}

impl Table {
    /// The table of a plugin that is not written with this SDK, to test it.
    ///
    /// # Safety
    /// `raw` is what a plugin's entry function returned: it stays valid until the process ends, and
    /// its functions keep what the header promises.
    pub unsafe fn from_raw(raw: *const abi::Plugin) -> Table {
        Table(raw)
    }

    /// The raw table.
    pub fn as_raw(self) -> *const abi::Plugin {
        self.0
    }
}

/// The style of a [`Protocol`].
struct Events<P>(PhantomData<P>);

impl<P: Protocol> Style for Events<P> {
    type Plugin = P;
    const OPTIONS: &'static [Opt] = P::OPTIONS;
    const PEER_FIRST: bool = P::PEER_FIRST;
    const NEEDS: Needs = P::NEEDS;
    const EXTENSIONS: &'static [(&'static str, *const c_void)] = &[
        (abi::EXT_WORK, ptr::from_ref(Self::WORK_SINK).cast()),
        (abi::EXT_CARRY, Self::CARRY_OR_NULL),
        (abi::EXT_BUS, Self::BUS_SINK_OR_NULL),
    ];
    const REFUSAL: &'static [u8] = P::REFUSAL;
}

/// What `create` makes and every callback gets back.
struct Instance<P> {
    protocol: P,
    context: Context,
}

/// A session's state; empty after a panic.
type Seat<P> = Option<<P as Protocol>::Session>;

struct Panicked;

impl Panicked {
    fn reported(host: &Host, method: &str, text: &str) -> Panicked {
        host.fault(&format!("{method} {text}"));
        Panicked
    }
}

impl<P: Protocol> Instance<P> {
    /// Runs a method of the protocol. The caller must say what to answer when it panics.
    fn call<R>(
        &mut self,
        method: &str,
        code: impl FnOnce(&mut P, &mut Context) -> R,
    ) -> Result<R, Panicked> {
        let Instance { protocol, context } = self;
        caught(|| code(protocol, context))
            .map_err(|text| Panicked::reported(context.host(), method, &text))
    }

    /// The same for a method of one session, whose state is lost when it panics.
    fn call_seated<R>(
        &mut self,
        method: &str,
        seat: &mut Seat<P>,
        code: impl FnOnce(&mut P, &mut Context, &mut P::Session) -> R,
    ) -> Result<R, Panicked> {
        let state = seat.as_mut().ok_or(Panicked)?;
        let answer = self.call(method, |protocol, context| code(protocol, context, state));
        if answer.is_err() {
            let state = seat.take();
            // Dropping releases what the state holds, but it may panic as well.
            let _ = self.call("dropping the session after it", |_, _| drop(state));
        }
        answer
    }
}

/// Runs a method of the plugin; its panic is reported as a fault.
fn guarded<R>(host: &Host, method: &str, code: impl FnOnce() -> R) -> Result<R, Panicked> {
    caught(code).map_err(|text| Panicked::reported(host, method, &text))
}

/// # Safety
/// `instance` is what `create` made and `destroy` has not taken; no other callback runs.
unsafe fn instance_of<'a, P>(instance: *mut c_void) -> &'a mut Instance<P> {
    // SAFETY: it came from `Box::into_raw` in `create`; callbacks of an instance never overlap, so
    // the reference is the only one.
    unsafe { &mut *instance.cast::<Instance<P>>() }
}

/// # Safety
/// `state` is what `open` made and `closed` has not taken; no other callback runs.
unsafe fn seat_of<'a, P: Protocol>(state: *mut c_void) -> &'a mut Seat<P> {
    // SAFETY: it came from `Box::into_raw` in `open`; as for the instance.
    unsafe { &mut *state.cast::<Seat<P>>() }
}

fn status_of(answer: Result<(), Error>) -> abi::Status {
    answer.map_or_else(Error::status, |()| abi::OK)
}

unsafe extern "C" fn check<S: Style>(
    settings: *const abi::Settings,
    error: *mut abi::Text,
) -> abi::Status {
    // SAFETY: settings are valid during the call.
    let settings = unsafe { lent::settings(settings, S::OPTIONS) };
    let (status, message) = match settings.map(|it| caught(|| S::Plugin::check(&it))) {
        Ok(Ok(Ok(()))) => return abi::OK,
        Ok(Ok(Err(message))) => (abi::E_CONFIG, message),
        Ok(Err(text)) => (abi::E_PANIC, format!("check {text}")),
        Err(message) => (abi::E_CONFIG, message),
    };
    // SAFETY: the text is the caller's and ours alone during the call.
    unsafe { lent::write_text(error, &message) };
    status
}

unsafe extern "C" fn create<P: Protocol>(
    api: *const abi::HostApi,
    host: *mut abi::Host,
    settings: *const abi::Settings,
    instance: *mut *mut c_void,
    error: *mut abi::Text,
) -> abi::Status {
    let seat = |protocol, context| Instance::<P> { protocol, context };
    // SAFETY: the host's promises, passed on.
    unsafe { create_as::<Events<P>, _>(api, host, settings, instance, error, seat) }
}

/// Makes a plugin, and of it and its context what the host gets back.
///
/// # Safety
/// The pointers are those that the host passes to `create`.
unsafe fn create_as<S: Style, I>(
    api: *const abi::HostApi,
    host: *mut abi::Host,
    settings: *const abi::Settings,
    instance: *mut *mut c_void,
    error: *mut abi::Text,
    seat: impl FnOnce(S::Plugin, Context) -> I,
) -> abi::Status {
    // SAFETY: the host's table is true to its size, and `host` is valid until `destroy` returns.
    let Some(host) = (unsafe { Host::adopt(api, host) }) else {
        return abi::E_ARG;
    };
    let mut context = Context::new(host);
    // SAFETY: settings are valid during the call.
    let settings = unsafe { lent::settings(settings, S::OPTIONS) };
    let (status, message) = match settings.map(|it| caught(|| S::Plugin::new(&it, &mut context))) {
        Ok(Ok(Ok(plugin))) => {
            let made = Box::into_raw(Box::new(seat(plugin, context)));
            // SAFETY: `instance` is the caller's place for the result.
            unsafe { instance.write(made.cast()) };
            return abi::OK;
        }
        Ok(Ok(Err(message))) => (abi::E_CONFIG, message),
        Ok(Err(text)) => {
            let text = format!("create {text}");
            context.host().fault(&text);
            (abi::E_PANIC, text)
        }
        Err(message) => (abi::E_CONFIG, message),
    };
    // SAFETY: the text is the caller's and ours alone during the call.
    unsafe { lent::write_text(error, &message) };
    status
}

unsafe extern "C" fn drain<P: Protocol>(instance: *mut c_void, grace_ms: u64) {
    // SAFETY: the instance is alive and nothing else runs in it.
    let instance = unsafe { instance_of::<P>(instance) };
    let grace = Duration::from_millis(grace_ms);
    // Fail closed: the host ends what is open when the grace is over, told or not.
    let _ = instance.call("drain", |protocol, cx| protocol.drain(cx, grace));
}

unsafe extern "C" fn destroy<P: Protocol>(instance: *mut c_void) {
    // SAFETY: it came from `Box::into_raw` in `create`, and this is the last call with it.
    let instance = unsafe { Box::from_raw(instance.cast::<Instance<P>>()) };
    let Instance { protocol, context } = *instance;
    // Fail closed: what is left after a panic is never touched again.
    let _ = guarded(context.host(), "destroy", || drop(protocol));
}

unsafe extern "C" fn open<P: Protocol>(
    instance: *mut c_void,
    session: abi::Session,
    info: *const abi::SessionInfo,
    state: *mut *mut c_void,
) -> abi::Status {
    // SAFETY: the instance is alive and nothing else runs in it.
    let instance = unsafe { instance_of::<P>(instance) };
    // SAFETY: the facts are valid during the call.
    let Some(facts) = (unsafe { lent::facts(info) }) else {
        return abi::E_ARG;
    };
    match instance.call("open", |protocol, cx| {
        protocol.open(cx, SessionId(session), &facts)
    }) {
        Ok(Ok(made)) => {
            let seat: Seat<P> = Some(made);
            // SAFETY: `state` is the caller's place for the result.
            unsafe { state.write(Box::into_raw(Box::new(seat)).cast()) };
            abi::OK
        }
        Ok(Err(error)) => error.status(),
        // Fail closed: the session is refused.
        Err(Panicked) => abi::E_PANIC,
    }
}

unsafe extern "C" fn feed<P: Protocol>(
    instance: *mut c_void,
    session: abi::Session,
    state: *mut c_void,
    bytes: *const u8,
    n: usize,
    consumed: *mut usize,
) -> abi::Status {
    // SAFETY: the instance is alive and nothing else runs in it.
    let instance = unsafe { instance_of::<P>(instance) };
    // SAFETY: the session is alive and nothing else runs in it.
    let seat = unsafe { seat_of::<P>(state) };
    // SAFETY: the host lends the bytes until the return.
    let input = unsafe { lent::bytes(bytes, n) };
    let from = SessionId(session);
    let answer = instance.call_seated("feed", seat, |protocol, cx, state| {
        protocol.feed(cx, from, state, input)
    });
    match answer {
        Ok(Ok(count)) => {
            // SAFETY: `consumed` is the caller's place for the result. More than `n` is passed on:
            // the host must hear of it, and ends the session.
            unsafe { consumed.write(count) };
            abi::OK
        }
        Ok(Err(error)) => error.status(),
        // Fail closed: the session is aborted.
        Err(Panicked) => abi::E_PANIC,
    }
}

unsafe extern "C" fn peer_finished<P: Protocol>(
    instance: *mut c_void,
    session: abi::Session,
    state: *mut c_void,
) -> abi::Status {
    // SAFETY: the instance is alive and nothing else runs in it.
    let instance = unsafe { instance_of::<P>(instance) };
    // SAFETY: the session is alive and nothing else runs in it.
    let seat = unsafe { seat_of::<P>(state) };
    let answer = instance.call_seated("peer_finished", seat, |protocol, cx, state| {
        protocol.peer_finished(cx, SessionId(session), state)
    });
    // Fail closed: the session is aborted.
    answer.map_or(abi::E_PANIC, status_of)
}

unsafe extern "C" fn writable<P: Protocol>(
    instance: *mut c_void,
    session: abi::Session,
    state: *mut c_void,
) {
    // SAFETY: the instance is alive and nothing else runs in it.
    let instance = unsafe { instance_of::<P>(instance) };
    // SAFETY: the session is alive and nothing else runs in it.
    let seat = unsafe { seat_of::<P>(state) };
    // Fail closed: the fault that was reported ends the session.
    let _ = instance.call_seated("writable", seat, |protocol, cx, state| {
        protocol.writable(cx, SessionId(session), state);
    });
}

unsafe extern "C" fn closed<P: Protocol>(
    instance: *mut c_void,
    session: abi::Session,
    state: *mut c_void,
    why: u32,
) {
    // SAFETY: the instance is alive and nothing else runs in it.
    let instance = unsafe { instance_of::<P>(instance) };
    // SAFETY: it came from `Box::into_raw` in `open`, and this is the last call with it.
    let seat = unsafe { Box::from_raw(state.cast::<Seat<P>>()) };
    let Some(state) = *seat else { return };
    // Fail closed: the session is over either way.
    let _ = instance.call("closed", |protocol, cx| {
        protocol.closed(cx, SessionId(session), state, End::from_raw(why));
    });
}

unsafe extern "C" fn datagram<P: Protocol>(
    instance: *mut c_void,
    from: *const abi::Datagram,
    bytes: *const u8,
    n: usize,
) -> abi::Status {
    // SAFETY: the instance is alive and nothing else runs in it.
    let instance = unsafe { instance_of::<P>(instance) };
    // SAFETY: the facts are valid during the call.
    let Some(from) = (unsafe { lent::datagram(from) }) else {
        return abi::E_ARG;
    };
    // SAFETY: the host lends the bytes until the return.
    let payload = unsafe { lent::bytes(bytes, n) };
    let answer = instance.call("datagram", |protocol, cx| {
        protocol.datagram(cx, &from, payload)
    });
    // Fail closed: the datagram is dropped.
    answer.map_or(abi::E_PANIC, status_of)
}

unsafe extern "C" fn timer<P: Protocol>(instance: *mut c_void, timer: abi::Timer, token: u64) {
    // SAFETY: the instance is alive and nothing else runs in it.
    let instance = unsafe { instance_of::<P>(instance) };
    // Fail closed: the timer is used up.
    let _ = instance.call("timer", |protocol, cx| {
        protocol.timer(cx, TimerId(timer), token)
    });
}

unsafe extern "C" fn wake<P: Protocol>(instance: *mut c_void, token: u64) {
    // SAFETY: the instance is alive and nothing else runs in it.
    let instance = unsafe { instance_of::<P>(instance) };
    // Fail closed: the wake is used up.
    let _ = instance.call("wake", |protocol, cx| protocol.wake(cx, token));
}
