//! From the C tables of the blocking style to a [`Blocking`]: the entries of a plugin whose sessions
//! run on threads of the host's, and the stream that these lend.
//!
//! Invariant: an instance is only ever borrowed shared, since `serve` overlaps everything else; the
//! protocol in it is `Sync`, and of its host only what the header allows inside of `serve` is called.

use std::ffi::c_void;
use std::io;
use std::io::Write;
use std::marker::PhantomData;
use std::ptr;
use std::time::Duration;

use super::declared::{Declared, Style};
use super::{Exported, Host, Panicked, RawStream, guarded, lent};
use crate::abi;
use crate::context::Context;
use crate::{Blocking, Error, Needs, Opt, Replies, Stream};

/// Makes a library a plugin: exports the entry function for one [`Blocking`].
///
/// `export_blocking_plugin!(Shout, name = "shout");` once per library. The version is that of the
/// crate. Nothing unsafe appears in the crate's own source, so it can `#![forbid(unsafe_code)]`.
#[macro_export]
macro_rules! export_blocking_plugin {
    ($blocking:ty, name = $name:literal $(,)?) => {
        /// The plugin's table, as the daemon looks it up.
        #[unsafe(no_mangle)]
        pub extern "C" fn polyport_plugin_v1() -> $crate::Table {
            static PLUGIN: $crate::glue::Exported =
                $crate::glue::Exported::of_blocking::<$blocking>(
                    concat!($name, "\0"),
                    concat!(env!("CARGO_PKG_VERSION"), "\0"),
                    concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"), "\0"),
                );
            PLUGIN.table()
        }
    };
}

impl Exported {
    /// The table of a plugin of the blocking style; each text ends in its only NUL.
    pub const fn of_blocking<B: Blocking>(
        name: &'static str,
        version: &'static str,
        build_info: &'static str,
    ) -> Exported {
        assert!(
            B::STREAMS || B::DATAGRAMS,
            "a plugin serves streams, datagrams or both"
        );
        Exported(abi::Plugin {
            check: Some(super::check::<OnThreads<B>>),
            create: Some(create::<B>),
            drain: Some(drain::<B>),
            destroy: Some(destroy::<B>),
            ..Declared::<OnThreads<B>>::table(name, version, build_info)
        })
    }
}

/// The style of a [`Blocking`].
struct OnThreads<B>(PhantomData<B>);

impl<B: Blocking> Style for OnThreads<B> {
    type Plugin = B;
    const OPTIONS: &'static [Opt] = B::OPTIONS;
    const PEER_FIRST: bool = B::PEER_FIRST;
    const NEEDS: Needs = B::NEEDS;
    const EXTENSIONS: &'static [(&'static str, *const c_void)] =
        &[(abi::EXT_BLOCKING, ptr::from_ref(Self::TABLE).cast())];
    const REFUSAL: &'static [u8] = B::REFUSAL;
}

impl<B: Blocking> OnThreads<B> {
    const TABLE: &'static abi::Blocking1 = &abi::Blocking1 {
        size: size_of::<abi::Blocking1>() as u32,
        max_parallel: B::MAX_PARALLEL,
        serve: if B::STREAMS { Some(serve::<B>) } else { None },
        serve_datagram: if B::DATAGRAMS {
            Some(serve_datagram::<B>)
        } else {
            None
        },
    };
}

/// What `create` makes and every callback gets back.
struct Instance<B> {
    protocol: B,
    context: Context,
}

/// # Safety
/// `instance` is what `create` made and `destroy` has not taken.
unsafe fn instance_of<'a, B>(instance: *mut c_void) -> &'a Instance<B> {
    // SAFETY: it came from `Box::into_raw` in `create`, and is only ever borrowed shared.
    unsafe { &*instance.cast::<Instance<B>>() }
}

unsafe extern "C" fn create<B: Blocking>(
    api: *const abi::HostApi,
    host: *mut abi::Host,
    settings: *const abi::Settings,
    instance: *mut *mut c_void,
    error: *mut abi::Text,
) -> abi::Status {
    let make = |protocol, context| Instance::<B> { protocol, context };
    // SAFETY: the host's promises, passed on.
    unsafe { super::create_as::<OnThreads<B>, _>(api, host, settings, instance, error, make) }
}

unsafe extern "C" fn drain<B: Blocking>(instance: *mut c_void, grace_ms: u64) {
    // SAFETY: the instance is alive.
    let instance = unsafe { instance_of::<B>(instance) };
    let grace = Duration::from_millis(grace_ms);
    // Fail closed: the host ends what is open when the grace is over, told or not.
    let _ = guarded(instance.context.host(), "drain", || {
        instance.protocol.drain(grace);
    });
}

unsafe extern "C" fn destroy<B: Blocking>(instance: *mut c_void) {
    // SAFETY: it came from `Box::into_raw` in `create`, every `serve` has returned, and this is the
    // last call with it.
    let instance = unsafe { Box::from_raw(instance.cast::<Instance<B>>()) };
    let Instance { protocol, context } = *instance;
    // Fail closed: what is left after a panic is never touched again.
    let _ = guarded(context.host(), "destroy", || drop(protocol));
}

unsafe extern "C" fn serve<B: Blocking>(
    instance: *mut c_void,
    stream: *const abi::Stream,
    info: *const abi::SessionInfo,
) -> abi::Status {
    // SAFETY: the instance is alive until this returns.
    let Instance { protocol, context } = unsafe { instance_of::<B>(instance) };
    // SAFETY: stream and facts are this thread's until the return.
    let lent = unsafe { RawStream::adopt(stream).zip(lent::facts(info)) };
    let Some((raw, facts)) = lent else {
        return abi::E_ARG;
    };
    let host = context.host();
    let mut stream = Stream::new(raw, host, facts);
    match serve_session(protocol, host, &mut stream) {
        Ok(()) => abi::OK,
        Err(error) => Error::of(&error).status(),
    }
}

unsafe extern "C" fn serve_datagram<B: Blocking>(
    instance: *mut c_void,
    from: *const abi::Datagram,
    bytes: *const u8,
    n: usize,
) -> abi::Status {
    // SAFETY: the instance is alive until this returns.
    let Instance { protocol, context } = unsafe { instance_of::<B>(instance) };
    // SAFETY: the facts are this thread's until the return.
    let Some(from) = (unsafe { lent::datagram(from) }) else {
        return abi::E_ARG;
    };
    // SAFETY: as the facts.
    let payload = unsafe { lent::bytes(bytes, n) };
    let host = context.host();
    let mut replies = Replies::new(from.reply_token(), host);
    let answer = guarded(host, "datagram", || {
        protocol.datagram(&from, payload, &mut replies)
    });
    // Fail closed: nothing is answered.
    answer.map_or(abi::E_PANIC, super::status_of)
}

/// `finish` follows on every `setup` that succeeded; the first error counts.
fn serve_session<B: Blocking>(protocol: &B, host: &Host, stream: &mut Stream) -> io::Result<()> {
    let mut session = tried(host, "setup", || protocol.setup(stream))?;
    let mut result = tried(host, "handle", || {
        protocol.handle(&mut session, stream)?;
        stream.flush()
    });
    if is_panic(&result) {
        stream.forget_output();
    }
    let finished = guarded(host, "finish", || {
        protocol.finish(session, stream, &result);
    });
    if is_panic(&result) || finished.is_err() {
        return Err(Error::Panicked.into());
    }
    let last_words = stream.flush();
    if result.is_ok() {
        result = last_words;
    }
    result
}

fn is_panic(result: &io::Result<()>) -> bool {
    matches!(result, Err(error) if Error::of(error) == Error::Panicked)
}

/// As [`guarded`], of a method that may fail: a panic is one of its errors.
fn tried<R>(host: &Host, method: &str, code: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
    guarded(host, method, code).unwrap_or_else(|Panicked| Err(Error::Panicked.into()))
}
