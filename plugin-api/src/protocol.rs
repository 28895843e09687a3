//! What a plugin implements. Nothing here does anything: the calls come from `glue`.
//!
//! Methods are called one at a time, on one thread, and must not block: every session of the worker
//! waits for them. What is asked of the [`Context`] happens after the method has returned, so no
//! method is ever called from inside another.

use std::any::Any;
use std::ffi::CStr;

use crate::{
    Context, Datagram, End, Error, Facts, Opt, Result, SessionId, Settings, TimerId, WorkId,
};

/// One protocol, as one instance: one service in one worker.
///
/// A protocol that derives [`Default`] is made that way; one with settings implements [`Configure`].
/// A service's workers are processes, each with an instance of its own that knows nothing of the
/// others.
pub trait Protocol: Configure + 'static {
    /// What the protocol remembers of one session; dropped when the session has ended.
    type Session: Default + 'static;

    /// The options that an administrator may set, at most 64.
    const OPTIONS: &'static [Opt] = &[];
    /// Whether it serves connections: [`open`](Protocol::open), [`feed`](Protocol::feed), ...
    const STREAMS: bool = true;
    /// Whether it serves datagrams: [`datagram`](Protocol::datagram).
    const DATAGRAMS: bool = false;
    /// Whether the peer always speaks first; `open` may then wait until it has.
    const PEER_FIRST: bool = false;
    /// Whether it uses the bus: [`bus`](Protocol::bus).
    const BUS: bool = false;
    /// The plugin's own number for what [`export`](Protocol::export) writes, if live sessions can move
    /// to another worker. Not 0, and another one for every change of it.
    const CARRY_FORMAT: Option<u32> = None;
    /// What its sandbox must allow beyond what every worker may do.
    const NEEDS: Needs = Needs::NOTHING;
    /// What whoever connects is told while the host does not run this plugin, because it keeps
    /// crashing; at most 1,024 bytes.
    const REFUSAL: &'static [u8] = b"";

    /// A new session, which can be written to at once. An error refuses it: then nothing was
    /// written and no `closed` follows.
    fn open(
        &mut self,
        cx: &mut Context,
        session: SessionId,
        facts: &Facts,
    ) -> Result<Self::Session> {
        let _ = (cx, session, facts);
        Ok(Self::Session::default())
    }

    /// `input` is all that the peer has sent and that was not consumed yet. The answer is how many of
    /// these bytes, from the front, are done with; the rest comes again with more behind it.
    ///
    /// [`Error::Full`] means that nothing happened: what this call wrote to this session is taken
    /// back, and the same bytes come again once there is room. So `cx.write(from, input)?` is right
    /// without further care, as long as `state` is changed only after the writes have succeeded. Any
    /// other error aborts the session.
    fn feed(
        &mut self,
        cx: &mut Context,
        from: SessionId,
        state: &mut Self::Session,
        input: &[u8],
    ) -> Result<usize> {
        let _ = (cx, from, state, input);
        Err(Error::Unsupported)
    }

    /// The peer will send no more. Bytes that `feed` has not consumed are gone, so what counts
    /// without its end must be remembered. The session stays open for writing until it is finished
    /// or closed; by default it is finished here. An error aborts it.
    fn peer_finished(
        &mut self,
        cx: &mut Context,
        session: SessionId,
        state: &mut Self::Session,
    ) -> Result {
        let _ = state;
        match cx.finish(session) {
            // The protocol has finished it before: there is nothing left to do.
            Err(Error::Gone) => Ok(()),
            other => other,
        }
    }

    /// There is room again after a write was refused with [`Error::Full`].
    fn writable(&mut self, cx: &mut Context, session: SessionId, state: &mut Self::Session) {
        let _ = (cx, session, state);
    }

    /// The session has ended. Called once for each that was opened, and last; not for one in which a
    /// method panicked, since its state can no longer be trusted.
    fn closed(&mut self, cx: &mut Context, session: SessionId, state: Self::Session, why: End) {
        let _ = (cx, session, state, why);
    }

    /// Writes down what is remembered of a session, at most 64 KiB, for an instance in another worker
    /// to go on with. It changes nothing, for the session may have to stay; that it has not is told by
    /// [`closed`](Protocol::closed) with [`End::Carried`]. Timers and jobs stay behind: what is left of
    /// the time belongs into the bytes. An error means that this session cannot be carried.
    fn export(
        &mut self,
        cx: &mut Context,
        session: SessionId,
        state: &Self::Session,
        out: &mut Vec<u8>,
    ) -> Result {
        let _ = (cx, session, state, out);
        Err(Error::Unsupported)
    }

    /// In place of [`open`](Protocol::open): a session that another instance has exported, perhaps of
    /// an older or newer version of this plugin. Nothing in `bytes` is to be trusted. What is not
    /// consumed of the input comes as it would have there. An error is the reason for the log; the
    /// session then ends in order.
    fn import(
        &mut self,
        cx: &mut Context,
        session: SessionId,
        facts: &Facts,
        format: u32,
        bytes: &[u8],
    ) -> Result<Self::Session, String> {
        let _ = (cx, session, facts, bytes);
        Err(format!("format {format} is not known here"))
    }

    /// One datagram, whole. An error is counted and changes nothing else.
    fn datagram(&mut self, cx: &mut Context, from: &Datagram, payload: &[u8]) -> Result {
        let _ = (cx, from, payload);
        Err(Error::Unsupported)
    }

    /// A timer fired that [`Context::timer_set`] armed with this token.
    fn timer(&mut self, cx: &mut Context, timer: TimerId, token: u64) {
        let _ = (cx, timer, token);
    }

    /// A [`Waker`](crate::Waker) was used. Equal tokens may have become one call.
    fn wake(&mut self, cx: &mut Context, token: u64) {
        let _ = (cx, token);
    }

    /// A job of [`Context::work`] is over: `result` holds what its closure returned, to be taken out
    /// with [`downcast`](Box::downcast). [`Error::Panicked`]: it panicked, which was logged and
    /// counted. [`Error::Cancelled`]: it never ran, because the worker ends.
    fn worked(&mut self, cx: &mut Context, work: WorkId, result: Result<Box<dyn Any + Send>>) {
        let _ = (cx, work, result);
    }

    /// What became of something that was asked of the [bus](crate::bus), or came by it. Only with
    /// [`BUS`](Protocol::BUS).
    fn bus(&mut self, cx: &mut Context, event: crate::bus::Event<'_>) {
        let _ = (cx, event);
    }

    /// No session is opened after this; those that are open have `grace` to end.
    fn drain(&mut self, cx: &mut Context, grace: std::time::Duration) {
        let _ = (cx, grace);
    }
}

/// How a protocol is made from its settings. Everything with a [`Default`] has this already.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be made: it has neither `Default` nor `Configure`",
    note = "derive `Default` if the protocol has no settings, or implement `Configure::new`"
)]
pub trait Configure: Sized {
    /// Makes the instance, after the sandbox was closed. The context can log, set timers and make
    /// wakers; there are no sessions yet. An error is the reason that the administrator reads.
    fn new(settings: &Settings, cx: &mut Context) -> Result<Self, String>;

    /// Whether these settings are acceptable beyond what the options say, without keeping anything
    /// open. Asked when a configuration is checked, in a process that serves nobody.
    fn check(settings: &Settings) -> Result<(), String> {
        let _ = settings;
        Ok(())
    }
}

impl<P: Default> Configure for P {
    fn new(_: &Settings, _: &mut Context) -> Result<Self, String> {
        Ok(P::default())
    }
}

/// What the sandbox of a plugin must allow. An entry `$name` stands for the value of that option;
/// what is below a folder comes with it.
///
/// ```
/// # use polyport_plugin::prelude::*;
/// /// Greets with a file that the administrator names, and may read nothing else.
/// struct Greeting(Vec<u8>);
///
/// impl Configure for Greeting {
///     fn new(settings: &Settings, _: &mut Context) -> Result<Self, String> {
///         let file = settings.text("file");
///         std::fs::read(file).map(Greeting).map_err(|error| format!("file: {file}: {error}"))
///     }
/// }
///
/// impl Protocol for Greeting {
///     type Session = ();
///     const OPTIONS: &'static [Opt] = &[Opt::text(c"file", c"What everybody is greeted with.")];
///     const NEEDS: Needs = Needs { files_read: &[c"$file"], ..Needs::NOTHING };
///
///     fn open(&mut self, cx: &mut Context, session: SessionId, _: &Facts) -> Result {
///         cx.write(session, &self.0)
///     }
///
///     fn feed(&mut self, _: &mut Context, _: SessionId, _: &mut (), input: &[u8]) -> Result<usize> {
///         Ok(input.len()) // Nobody listens.
///     }
/// }
/// # use polyport_plugin::testing::Setup;
/// # let mut host = Setup::of::<Greeting>().set("file", "Cargo.toml").start().unwrap();
/// # let peer = host.connect();
/// # assert!(host.received(peer).starts_with(b"[package]"));
/// # assert!(Setup::of::<Greeting>().set("file", "/nowhere").start().is_err());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Needs {
    /// Absolute paths it reads, at most 15.
    pub files_read: &'static [&'static CStr],
    /// Absolute paths it reads and writes, at most 15.
    pub files_write: &'static [&'static CStr],
    /// Connections of its own.
    pub connect: bool,
    /// Other programs.
    pub exec: bool,
    /// Memory that is written and then executed.
    pub jit: bool,
}

impl Needs {
    /// No more than every worker may do.
    pub const NOTHING: Needs = Needs {
        files_read: &[],
        files_write: &[],
        connect: false,
        exec: false,
        jit: false,
    };
}
