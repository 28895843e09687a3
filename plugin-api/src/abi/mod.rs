//! The raw layouts of the plugin ABI, major 1: what `include/polyport_plugin.h` says, in Rust.
//!
//! The header is the source of truth; a golden table made from both sides keeps this file equal to
//! it. Nothing here is safe to use by itself: the daemon reads these tables in `plugin_host`, the
//! SDK fills them in `glue`. There is deliberately no behaviour here, only shapes, and how
//! much of one is read (`published`).
//!
//! Invariant: a published field never moves, changes its type or its meaning; tables grow at their
//! end only, and `size` says how much of one the other side really has.

use core::ffi::{c_char, c_void};

mod metrics;
mod published;

pub use metrics::*;
pub use published::*;

pub const MAGIC: u32 = 0x474c_5050; // the bytes "PPLG"
pub const MAJOR: u16 = 1;
pub const MINOR: u16 = 0;
/// Name of the one exported function, as the loader looks it up.
pub const ENTRY: &str = "polyport_plugin_v1";

/// 0 is success, negative an error; an unknown negative value counts as [`E_FAIL`].
pub type Status = i32;
pub const OK: Status = 0;
pub const E_FAIL: Status = -1;
pub const E_ARG: Status = -2;
pub const E_UNSUPPORTED: Status = -3;
pub const E_GONE: Status = -4;
pub const E_FULL: Status = -5;
pub const E_CONFIG: Status = -6;
pub const E_PANIC: Status = -7;
pub const E_CANCELLED: Status = -8;
pub const E_TIMEOUT: Status = -9;
pub const E_THREAD: Status = -10;
pub const E_BUSY: Status = -11;

pub const LOG_DEBUG: u32 = 0;
pub const LOG_INFO: u32 = 1;
pub const LOG_WARNING: u32 = 2;
pub const LOG_ERROR: u32 = 3;

/// Send what is queued, then FIN.
pub const CLOSE_FINISH: u32 = 0;
/// Forget what is queued and reset.
pub const CLOSE_ABORT: u32 = 1;
/// Send what is queued, then close without waiting for the peer's FIN.
pub const CLOSE_DONE: u32 = 2;

/// Half-close after these bytes.
pub const WRITE_FINISH: u32 = 1;

/// Both sides finished in order.
pub const END_FINISHED: u32 = 1;
/// The plugin asked for an abort, or a callback returned an error.
pub const END_ABORTED: u32 = 2;
/// The peer reset the connection or vanished.
pub const END_LOST: u32 = 3;
pub const END_IDLE: u32 = 4;
pub const END_LIMIT: u32 = 5;
pub const END_DRAIN: u32 = 6;
/// The plugin broke a rule (a panic, more consumed than lent).
pub const END_FAULT: u32 = 7;
/// A file that was being sent became shorter, or could not be read.
pub const END_FILE: u32 = 8;
/// It goes on in another worker.
pub const END_CARRIED: u32 = 9;

/// Plugin flag: the peer speaks first, so a connection is of no interest before it carries bytes.
pub const PEER_FIRST: u64 = 1;
/// All plugin flags this revision knows.
pub const FLAGS_KNOWN: u64 = PEER_FIRST;

pub const KIND_TEXT: u32 = 1;
pub const KIND_INTEGER: u32 = 2;
pub const KIND_BOOLEAN: u32 = 3;
/// Written as "10s", handed over in milliseconds.
pub const KIND_DURATION: u32 = 4;
/// Written as "64KiB", handed over in bytes.
pub const KIND_SIZE: u32 = 5;
pub const KIND_LIST: u32 = 6;

pub const INFO_CREDENTIALS: u32 = 1;
pub const INFO_PROXIED: u32 = 2;
/// A datagram was sent to a broadcast or multicast address.
pub const INFO_TO_MANY: u32 = 4;

/// A reply token is good while its datagram is one of so many last ones.
pub const REPLIES: u64 = 960;
pub const REFUSAL_MAX: u64 = 1024;

pub const FAMILY_UNIX: u16 = 1;
pub const FAMILY_IPV4: u16 = 4;
pub const FAMILY_IPV6: u16 = 6;

pub const NEEDS_CONNECT: u32 = 1;
pub const NEEDS_EXEC: u32 = 2;
pub const NEEDS_JIT: u32 = 4;
pub const EXT_NEEDS: &str = "polyport.needs/1";

/// The bytes stay, and are read again.
pub const READ_PEEK: u32 = 1;
pub const EXT_BLOCKING: &str = "polyport.blocking/1";

/// Of both sides: [`Work1`] and [`WorkSink1`].
pub const EXT_WORK: &str = "polyport.work/1";

pub const EXT_FILE: &str = "polyport.file/1";
/// Ranges of files that one session may have queued at once.
pub const FILE_RANGES: u32 = 32;
pub const EXT_CARRY: &str = "polyport.carry/1";
/// The most that a session can be exported to.
pub const CARRY_BYTES_MAX: u64 = 65_536;

/// Of both sides: [`Bus1`] and [`BusSink1`].
pub const EXT_BUS: &str = "polyport.bus/1";
pub const BUS_NAME_BYTES: u32 = 128;
/// Of a message's id, and of a session's name.
pub const BUS_ID_BYTES: u32 = 64;
/// Of a lease's value.
pub const BUS_VALUE_BYTES: u32 = 1024;
pub const BUS_MESSAGE_BYTES: u32 = 65536;
/// With the last so many messages.
pub const BUS_LAST: u32 = 1;
/// With the message of this sequence.
pub const BUS_FROM: u32 = 2;
/// The subscription ends where it has caught up.
pub const BUS_HISTORY_ONLY: u32 = 1;
pub const LEASE_WON: u32 = 1;
pub const LEASE_DENIED: u32 = 2;
pub const LEASE_LOST: u32 = 3;

/// Slot and epoch of a session; 0 is never valid.
pub type Session = u64;
/// Slot and epoch of a timer; 0 is never valid.
pub type Timer = u64;

/// Opaque: the daemon as one instance sees it.
#[repr(C)]
pub struct Host {
    _opaque: [u8; 0],
}

/// Opaque: a counted reference that outlives its instance.
#[repr(C)]
pub struct Waker {
    _opaque: [u8; 0],
}

/// Borrowed bytes; `ptr` may be null only when `len` is 0.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Bytes {
    pub ptr: *const u8,
    pub len: usize,
}

/// The caller's memory for a text: the callee writes UTF-8, cuts at `cap`, sets `len`.
#[repr(C)]
pub struct Text {
    pub ptr: *mut c_char,
    pub cap: usize,
    pub len: usize,
}

/// An address by value; never grows.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Address {
    pub family: u16,
    pub port: u16,
    pub scope: u32,
    pub ip: [u8; 16],
}

/// One row of the options that a plugin declares.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct OptionRow {
    pub name: *const c_char,
    pub help: *const c_char,
    /// Written as an administrator would; null makes the option required.
    pub default_text: *const c_char,
    /// Allowed words of a text, separated by `|`; null allows any.
    pub choices: *const c_char,
    /// Bounds of a number (milliseconds, bytes or plain); both 0 means none.
    pub min: i64,
    pub max: i64,
    pub kind: u32,
    pub flags: u32,
}

/// One value, in the order of the declared options.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Value {
    pub kind: u32,
    /// 1 if the administrator wrote it, 0 if it is the default.
    pub written: u32,
    pub number: i64,
    pub text: Bytes,
    pub items: *const Bytes,
    pub item_count: usize,
}

/// What an instance is made from; valid during `check` and `create` only.
#[repr(C)]
pub struct Settings {
    pub size: u32,
    pub value_count: u32,
    pub value_stride: u32,
    pub worker_index: u32,
    pub worker_count: u32,
    pub generation: u32,
    pub service: Bytes,
    pub values: *const c_void,
    /// The same section as JSON, for settings richer than a table of options.
    pub raw_json: Bytes,
    /// The service's own, as URLs in numbers.
    pub endpoints: *const Bytes,
    pub endpoint_count: usize,
    /// Those that the daemon serves, in all its services.
    pub udp_ports: *const u16,
    pub udp_port_count: usize,
}

/// The facts of a session; valid during `open` only.
#[repr(C)]
pub struct SessionInfo {
    pub size: u32,
    pub flags: u32,
    pub peer: Address,
    pub local: Address,
    pub accepted_ms: u64,
    /// The listener's endpoint as the administrator wrote it.
    pub endpoint: Bytes,
    pub peer_pid: u32,
    pub peer_uid: u32,
    pub peer_gid: u32,
    pub reserved0: u32,
}

/// The facts of a datagram; valid during `datagram` only.
#[repr(C)]
pub struct Datagram {
    pub size: u32,
    pub flags: u32,
    pub peer: Address,
    pub local: Address,
    /// Names the way back: socket, address, interface and peer.
    pub reply_token: u64,
    pub endpoint: Bytes,
}

type Fn1<A, R = ()> = Option<unsafe extern "C" fn(A) -> R>;
type Fn2<A, B, R = ()> = Option<unsafe extern "C" fn(A, B) -> R>;
type Fn3<A, B, C, R = ()> = Option<unsafe extern "C" fn(A, B, C) -> R>;
type Fn4<A, B, C, D, R = ()> = Option<unsafe extern "C" fn(A, B, C, D) -> R>;
type Fn5<A, B, C, D, E, R = ()> = Option<unsafe extern "C" fn(A, B, C, D, E) -> R>;
type Fn8<A, B, C, D, E, F, G, H, R = ()> =
    Option<unsafe extern "C" fn(A, B, C, D, E, F, G, H) -> R>;
type Fn6<A, B, C, D, E, F, R = ()> = Option<unsafe extern "C" fn(A, B, C, D, E, F) -> R>;

/// Host to plugin. The rules of each function stand in the header.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct HostApi {
    pub size: u32,
    pub major: u16,
    pub minor: u16,
    pub product: *const c_char,
    pub product_version: *const c_char,
    pub extension: Fn2<*mut Host, *const c_char, *const c_void>,
    pub log: Fn5<*mut Host, u32, Session, *const c_char, usize>,
    pub log_level: Fn1<*mut Host, u32>,
    pub now_ms: Fn1<*mut Host, u64>,
    pub write: Fn5<*mut Host, Session, *const c_void, usize, u32, Status>,
    pub close: Fn5<*mut Host, Session, u32, *const c_char, usize, Status>,
    pub pause: Fn3<*mut Host, Session, u32, Status>,
    pub queued: Fn3<*mut Host, Session, *mut u64, Status>,
    pub idle: Fn3<*mut Host, Session, u64, Status>,
    pub send: Fn5<*mut Host, u64, *const Address, *const c_void, usize, Status>,
    pub timer_set: Fn4<*mut Host, u64, u64, *mut Timer, Status>,
    pub timer_cancel: Fn2<*mut Host, Timer, Status>,
    pub waker_new: Fn2<*mut Host, *mut *mut Waker, Status>,
    pub waker_wake: Fn2<*mut Waker, u64, Status>,
    pub waker_free: Fn1<*mut Waker>,
    pub fault: Fn3<*mut Host, *const c_char, usize, Status>,
}

/// Plugin to host. A null function means the default that the header documents.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Plugin {
    pub magic: u32,
    pub size: u32,
    pub major: u16,
    pub minor: u16,
    pub min_host_minor: u16,
    pub reserved0: u16,
    pub flags: u64,
    pub name: *const c_char,
    pub version: *const c_char,
    pub build_info: *const c_char,
    pub options: *const c_void,
    pub option_count: u32,
    pub option_stride: u32,
    pub required_ext: *const *const c_char,
    pub extension: Fn1<*const c_char, *const c_void>,
    pub check: Fn2<*const Settings, *mut Text, Status>,
    pub create:
        Fn5<*const HostApi, *mut Host, *const Settings, *mut *mut c_void, *mut Text, Status>,
    pub drain: Fn2<*mut c_void, u64>,
    pub destroy: Fn1<*mut c_void>,
    pub open: Fn4<*mut c_void, Session, *const SessionInfo, *mut *mut c_void, Status>,
    pub feed: Fn6<*mut c_void, Session, *mut c_void, *const u8, usize, *mut usize, Status>,
    pub peer_finished: Fn3<*mut c_void, Session, *mut c_void, Status>,
    pub writable: Fn3<*mut c_void, Session, *mut c_void>,
    pub closed: Fn4<*mut c_void, Session, *mut c_void, u32>,
    pub datagram: Fn4<*mut c_void, *const Datagram, *const u8, usize, Status>,
    pub timer: Fn3<*mut c_void, Timer, u64>,
    pub wake: Fn2<*mut c_void, u64>,
    pub refusal: *const c_void,
    pub refusal_length: usize,
}

/// `polyport.needs/1`, plugin side: what its sandbox must allow, asked for before `create`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Needs1 {
    pub size: u32,
    pub flags: u32,
    /// Paths, ended by null; an entry `$name` stands for the value of that option.
    pub files_read: *const *const c_char,
    pub files_write: *const *const c_char,
}

/// One session's stream, as a handler on a thread of the host's has it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Stream {
    pub size: u32,
    pub reserved0: u32,
    pub session: Session,
    pub inner: *mut c_void,
    pub read: Fn5<*mut c_void, *mut c_void, usize, u32, *mut usize, Status>,
    pub write: Fn4<*mut c_void, *const c_void, usize, u32, Status>,
    pub deadline: Fn2<*mut c_void, u64, Status>,
}

/// `polyport.blocking/1`, plugin side: sessions served by a call that may block.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Blocking1 {
    pub size: u32,
    pub max_parallel: u32,
    pub serve: Fn3<*mut c_void, *const Stream, *const SessionInfo, Status>,
    pub serve_datagram: Fn4<*mut c_void, *const Datagram, *const u8, usize, Status>,
}

/// `polyport.work/1`, host side: jobs on a thread that may block.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Work1 {
    pub size: u32,
    pub reserved0: u32,
    pub submit: Fn4<*mut Host, Fn1<*mut c_void>, *mut c_void, u64, Status>,
}

/// `polyport.work/1`, plugin side: where the results go.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct WorkSink1 {
    pub size: u32,
    pub reserved0: u32,
    pub done: Fn4<*mut c_void, u64, *mut c_void, Status>,
}

/// `polyport.file/1`, host side: ranges of files, sent in order with what was written.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct File1 {
    pub size: u32,
    pub reserved0: u32,
    pub send: Fn5<*mut Host, Session, i32, u64, u64, Status>,
}

/// `polyport.carry/1`, plugin side: live sessions as bytes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Carry1 {
    pub size: u32,
    pub format: u32,
    pub export_session: Fn6<*mut c_void, Session, *mut c_void, *mut u8, usize, *mut usize, Status>,
    pub import_session: Fn8<
        *mut c_void,
        Session,
        *const SessionInfo,
        u32,
        *const u8,
        usize,
        *mut *mut c_void,
        *mut Text,
        Status,
    >,
}

/// A message; valid during `message` only.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct BusMessage {
    pub size: u32,
    pub reserved0: u32,
    pub sequence: u64,
    pub time_ms: u64,
    pub topic: Bytes,
    pub id: Bytes,
    pub bytes: Bytes,
}

/// `polyport.bus/1`, host side: topics and leases that the instances of a service share.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Bus1 {
    pub size: u32,
    pub reserved0: u32,
    pub publish: Fn5<*mut Host, Bytes, Bytes, Bytes, u64, Status>,
    pub subscribe: Fn6<*mut Host, Bytes, u32, u64, u32, u64, Status>,
    pub unsubscribe: Fn2<*mut Host, u64, Status>,
    pub claim: Fn5<*mut Host, Bytes, Bytes, Bytes, u64, Status>,
    pub release: Fn3<*mut Host, Bytes, Bytes, Status>,
    pub watch: Fn3<*mut Host, Bytes, u64, Status>,
    pub unwatch: Fn2<*mut Host, u64, Status>,
}

/// `polyport.bus/1`, plugin side: what it hears.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct BusSink1 {
    pub size: u32,
    pub reserved0: u32,
    pub link: Fn2<*mut c_void, u32>,
    pub message: Fn3<*mut c_void, u64, *const BusMessage>,
    pub missed: Fn4<*mut c_void, u64, u64, u64>,
    pub caught_up: Fn3<*mut c_void, u64, u64>,
    pub published: Fn4<*mut c_void, u64, Status, u64>,
    pub lease: Fn5<*mut c_void, u64, Bytes, u32, Bytes>,
    pub seen: Fn5<*mut c_void, u64, Bytes, u32, Bytes>,
}

// SAFETY: the tables hold only pointers to immutable static data and functions; nobody writes
// through them after the library is loaded.
unsafe impl Sync for Plugin {}
// SAFETY: as above.
unsafe impl Send for Plugin {}
// SAFETY: as above; the host's table is static as well.
unsafe impl Sync for HostApi {}
// SAFETY: as above.
unsafe impl Send for HostApi {}
// SAFETY: as above: static, immutable paths.
unsafe impl Sync for Needs1 {}
// SAFETY: as above.
unsafe impl Sync for OptionRow {}
