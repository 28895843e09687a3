//! Write a protocol for [Polyport](https://example.org/polyport): a plugin-based multi-protocol
//! gateway daemon.
//!
//! The daemon owns sockets, processes, limits and privileges. A plugin is a shared library that says
//! what a protocol does with bytes: a small state machine, called back on one thread, without a
//! socket, a lock or a thread of its own. This is a whole one:
//!
//! ```standalone_crate
//! use polyport_plugin::prelude::*;
//!
//! #[derive(Default)]
//! struct Echo;
//!
//! impl Protocol for Echo {
//!     type Session = ();
//!
//!     fn feed(&mut self, cx: &mut Context, from: SessionId, _: &mut (), input: &[u8]) -> Result<usize> {
//!         cx.write(from, input)?;
//!         Ok(input.len())
//!     }
//! }
//!
//! export_plugin!(Echo, name = "echo");
//! ```
//!
//! Build it as a `cdylib`, put the library into the daemon's plugin folder, name it in a service.
//!
//! - [`Protocol`] is what a plugin implements; each method says when it is called.
//! - [`Blocking`] is the other style: each session has a thread of its own, which reads and writes a
//!   [`Stream`] and may wait. A plugin of the first style can have single jobs done that way, with
//!   [`Context::work`].
//! - [`Context`] is what a plugin may ask of the daemon during a call: to write, to send a file, to close.
//! - [`Opt`] declares an option; the daemon checks what an administrator wrote before the plugin
//!   runs, and [`Configure`] makes a protocol from the checked [`Settings`].
//! - [`bus`] is what the instances of a service share: topics with history, and unique names.
//! - [`metrics`] are numbers of the plugin's own, among the daemon's.
//! - [`testing`] runs a plugin without the daemon: with virtual time, input cut at every byte and
//!   output that is full at the worst moment.
//!
//! A protocol with options, a state per session, and a test:
//!
//! ```standalone_crate
//! use polyport_plugin::prelude::*;
//! use polyport_plugin::testing::Setup;
//!
//! struct Greeter {
//!     greeting: String,
//! }
//!
//! impl Configure for Greeter {
//!     fn new(settings: &Settings, _: &mut Context) -> Result<Self, String> {
//!         Ok(Greeter { greeting: settings.text("greeting").to_owned() })
//!     }
//! }
//!
//! impl Protocol for Greeter {
//!     type Session = u64; // bytes that the peer has sent
//!     const OPTIONS: &'static [Opt] =
//!         &[Opt::text(c"greeting", c"What each peer is told first.").default(c"Hello")];
//!
//!     fn open(&mut self, cx: &mut Context, session: SessionId, facts: &Facts) -> Result<u64> {
//!         cx.write(session, format!("{}, {}\n", self.greeting, facts.peer()).as_bytes())?;
//!         Ok(0)
//!     }
//!
//!     fn feed(&mut self, _: &mut Context, _: SessionId, count: &mut u64, input: &[u8]) -> Result<usize> {
//!         *count += input.len() as u64;
//!         Ok(input.len())
//!     }
//! }
//!
//! export_plugin!(Greeter, name = "greeter");
//!
//! let mut host = Setup::of::<Greeter>().set("greeting", "Welcome").start().unwrap();
//! let peer = host.connect();
//! assert_eq!(host.received(peer), b"Welcome, 127.0.0.1:50001\n");
//! ```
//!
//! A panic stops inside the plugin: the session it happened in ends, its text and place go to the
//! daemon's log, and the other sessions go on. The border itself is plain C and documented in
//! `include/polyport_plugin.h`; nothing of a compiler's or a release's version crosses it.
#![deny(missing_docs)]
#![deny(unsafe_code)]

#[allow(
    missing_docs,
    reason = "the C header documents these shapes; here they are only repeated"
)]
#[allow(
    unsafe_code,
    reason = "raw layouts: shared between threads because they are constant"
)]
pub mod abi;
mod blocking;
pub mod bus;
mod context;
mod error;
mod facts;
#[doc(hidden)]
#[allow(unsafe_code, reason = "the border between safe Rust and the C tables")]
pub mod glue;
pub mod metrics;
mod options;
mod panics;
mod protocol;
pub mod testing;

pub use blocking::{Blocking, Replies, Stream};
pub use context::{Context, Level, SessionId, TimerId, WorkId};
pub use error::{Error, Result};
pub use facts::{Address, Credentials, Datagram, End, Facts, ReplyToken};
pub use glue::{Table, Waker};
pub use options::{Kind, Opt, OptionKey, Settings};
pub use protocol::{Configure, Needs, Protocol};

/// All that most plugins use.
pub mod prelude {
    pub use crate::bus::{ClaimId, PublishId, SubscriptionId, WatchId};
    pub use crate::{
        Address, Blocking, Configure, Context, Datagram, End, Error, Facts, Level, Needs, Opt,
        Protocol, Replies, ReplyToken, Result, SessionId, Settings, Stream, TimerId, Waker, WorkId,
        export_blocking_plugin, export_plugin,
    };
}
