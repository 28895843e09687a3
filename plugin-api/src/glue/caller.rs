//! The fake host's border: the plugin's table as safe calls. Its counterpart, the host's table, is in
//! `caller/table.rs`.
//!
//! What a plugin's functions promise is said by whoever made the [`Table`]; what can be checked, is.
//! Invariant: all that is lent to the plugin lives exactly as long as the call, in memory of exactly
//! its size, so that tools which look for bad reads see them.

mod bus;
mod carry;
mod lent;
mod metrics;
mod table;
mod threads;

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr;

use crate::abi::{self, Published};
use crate::facts::{Address, End};
use crate::glue::Table;
use crate::testing::settings::Row;

pub(crate) use lent::{LentSettings, Refusal};
pub(crate) use table::Shared;
pub(crate) use threads::{FakeJob, LentStream};

/// A plugin whose table was checked, and its instance once there is one.
pub(crate) struct Plugin {
    table: abi::Plugin,
    options: Vec<Row>,
    blocking: Option<abi::Blocking1>,
    work_sink: Option<abi::WorkSink1>,
    bus_sink: Option<abi::BusSink1>,
    carry: Option<abi::Carry1>,
    instance: *mut c_void,
}

impl Plugin {
    /// The handshake.
    pub(crate) fn admit(table: Table, lacks: &[String]) -> Result<Plugin, String> {
        let raw = table.as_raw();
        if raw.is_null() {
            return Err("the entry function returned NULL".to_owned());
        }
        // SAFETY: whoever made the `Table` vouches for the plugin; the first words are always there.
        let (magic, size) = unsafe { (ptr::read(&raw const (*raw).magic), (*raw).size) };
        if magic != abi::MAGIC {
            return Err(format!("bad magic {magic:#x}: this is no plugin's table"));
        }
        if (size as usize) < abi::Plugin::BYTES_MIN {
            return Err(format!("the table is too short: {size} bytes"));
        }
        // SAFETY: the plugin says that so many bytes are there.
        let table = unsafe { abi::read_bytes(raw, size as usize) };
        // SAFETY: the answers to these ids begin with their size, and are of these types.
        let (blocking, work_sink, carry, bus_sink) = unsafe {
            let blocking = extension::<abi::Blocking1>(&table, abi::EXT_BLOCKING)?;
            (
                blocking,
                extension::<abi::WorkSink1>(&table, abi::EXT_WORK)?,
                extension::<abi::Carry1>(&table, abi::EXT_CARRY)?,
                extension::<abi::BusSink1>(&table, abi::EXT_BUS)?,
            )
        };
        let plugin = Plugin {
            options: rows(&table)?,
            table,
            blocking,
            work_sink,
            bus_sink,
            carry,
            instance: ptr::null_mut(),
        };
        plugin.admissible(lacks)?;
        Ok(plugin)
    }

    fn admissible(&self, lacks: &[String]) -> Result<(), String> {
        let table = &self.table;
        if table.major != abi::MAJOR || table.min_host_minor > abi::MINOR {
            let (major, minor) = (table.major, table.min_host_minor);
            return Err(format!("the plugin needs ABI {major}.{minor}"));
        }
        if table.flags & !abi::FLAGS_KNOWN != 0 || table.reserved0 != 0 {
            return Err(format!("unknown flags {:#x} or reserved bits", table.flags));
        }
        if read_text(table.name).is_none_or(|name| name.is_empty()) {
            return Err("the plugin has no name, or none in UTF-8".to_owned());
        }
        if table.feed.is_none() && !self.serves_blocking() && !self.serves_datagrams() {
            return Err("the plugin serves neither streams nor datagrams".to_owned());
        }
        if table.feed.is_some() && self.serves_blocking() {
            return Err("the plugin has both `feed` and `serve`".to_owned());
        }
        if table.datagram.is_some() && self.serves_datagrams_on_threads() {
            return Err("the plugin has both `datagram` and `serve_datagram`".to_owned());
        }
        if self.carry.is_some_and(|it| it.format == 0) {
            return Err("the plugin's carry format is 0".to_owned());
        }
        if self
            .bus_sink
            .as_ref()
            .is_some_and(|sink| !bus::is_whole(sink))
        {
            return Err("a function of its sink for the bus is missing".to_owned());
        }
        let offered = [abi::EXT_WORK, abi::EXT_FILE, abi::EXT_BUS, abi::EXT_METRICS];
        let is_there = |id: &Option<String>| {
            id.as_ref()
                .is_some_and(|id| offered.contains(&id.as_str()) && !lacks.contains(id))
        };
        let missing = required(table).find(|id| !is_there(id));
        match missing {
            None => Ok(()),
            Some(id) => Err(format!(
                "the plugin requires {:?}, which this host has not",
                id.unwrap_or_default()
            )),
        }
    }

    pub(crate) fn options(&self) -> &[Row] {
        &self.options
    }

    pub(crate) fn finishes_by_itself(&self) -> bool {
        self.table.peer_finished.is_some()
    }

    pub(crate) fn serves_streams(&self) -> bool {
        self.table.feed.is_some()
    }

    pub(crate) fn serves_blocking(&self) -> bool {
        self.blocking.is_some_and(|table| table.serve.is_some())
    }

    pub(crate) fn serves_datagrams(&self) -> bool {
        self.table.datagram.is_some() || self.serves_datagrams_on_threads()
    }

    pub(crate) fn serves_datagrams_on_threads(&self) -> bool {
        self.blocking
            .is_some_and(|table| table.serve_datagram.is_some())
    }

    pub(crate) fn check(&self, settings: &LentSettings) -> Result<(), Refusal> {
        let Some(check) = self.table.check else {
            return Ok(());
        };
        let mut memory = lent::Message::new();
        // SAFETY: settings and the message's memory live until the call has returned.
        let status = unsafe { check(&raw const settings.raw, memory.as_raw()) };
        memory.refusal(status)
    }

    pub(crate) fn create(&mut self, host: &Shared, settings: &LentSettings) -> Result<(), Refusal> {
        let Some(create) = self.table.create else {
            return Ok(());
        };
        let mut memory = lent::Message::new();
        let instance = &raw mut self.instance;
        // SAFETY: the table and the host outlive the instance (`FakeHost` owns both); the other
        // pointers are ours and live until the call has returned.
        let status = unsafe {
            let settings = &raw const settings.raw;
            create(
                host.api(),
                host.as_raw(),
                settings,
                instance,
                memory.as_raw(),
            )
        };
        memory.refusal(status)
    }

    pub(crate) fn drain(&self, grace_ms: u64) {
        if let Some(drain) = self.table.drain {
            // SAFETY: the instance is alive and no callback of it runs.
            unsafe { drain(self.instance, grace_ms) }
        }
    }

    pub(crate) fn destroy(&self) {
        if let Some(destroy) = self.table.destroy {
            // SAFETY: `FakeHost` calls this once, last.
            unsafe { destroy(self.instance) }
        }
    }

    pub(crate) fn open(
        &self,
        session: abi::Session,
        peer: Address,
        accepted_ms: u64,
    ) -> Result<State, abi::Status> {
        let mut state = ptr::null_mut();
        if let Some(open) = self.table.open {
            let info = lent::session_info(peer, accepted_ms);
            // SAFETY: the instance is alive; facts and place live until the call has returned.
            let status = unsafe { open(self.instance, session, &raw const info, &raw mut state) };
            if status != abi::OK {
                return Err(status);
            }
        }
        Ok(State(state))
    }

    /// The status, and how many bytes the plugin says to have consumed.
    pub(crate) fn feed(
        &self,
        session: abi::Session,
        state: State,
        input: &[u8],
    ) -> (abi::Status, usize) {
        let feed = self
            .table
            .feed
            .expect("only plugins that serve streams have sessions");
        let exact: Box<[u8]> = input.into();
        let mut consumed = 0;
        // SAFETY: instance and session are alive; the bytes live until the call has returned.
        let status = unsafe {
            let (bytes, n) = (exact.as_ptr(), exact.len());
            feed(self.instance, session, state.0, bytes, n, &raw mut consumed)
        };
        (status, consumed)
    }

    pub(crate) fn peer_finished(&self, session: abi::Session, state: State) -> abi::Status {
        match self.table.peer_finished {
            // SAFETY: instance and session are alive.
            Some(call) => unsafe { call(self.instance, session, state.0) },
            None => abi::OK,
        }
    }

    pub(crate) fn writable(&self, session: abi::Session, state: State) {
        if let Some(call) = self.table.writable {
            // SAFETY: instance and session are alive.
            unsafe { call(self.instance, session, state.0) }
        }
    }

    pub(crate) fn closed(&self, session: abi::Session, state: State, why: End) {
        if let Some(call) = self.table.closed {
            // SAFETY: the instance is alive, and the session's state is not used again.
            unsafe { call(self.instance, session, state.0, why.to_raw()) }
        }
    }

    pub(crate) fn datagram(
        &self,
        peer: Address,
        local: Address,
        to_many: bool,
        reply_token: u64,
        payload: &[u8],
    ) -> abi::Status {
        let on_thread = self.blocking.and_then(|table| table.serve_datagram);
        let call = on_thread.or(self.table.datagram);
        let call = call.expect("the caller has asked whether it serves datagrams");
        let from = lent::datagram(peer, local, to_many, reply_token);
        let exact: Box<[u8]> = payload.into();
        // SAFETY: the instance is alive; facts and bytes live until the call has returned.
        unsafe { call(self.instance, &raw const from, exact.as_ptr(), exact.len()) }
    }

    pub(crate) fn timer(&self, timer: abi::Timer, token: u64) {
        if let Some(call) = self.table.timer {
            // SAFETY: the instance is alive.
            unsafe { call(self.instance, timer, token) }
        }
    }

    pub(crate) fn wake(&self, token: u64) {
        if let Some(call) = self.table.wake {
            // SAFETY: the instance is alive.
            unsafe { call(self.instance, token) }
        }
    }
}

/// What the plugin remembers of a session.
#[derive(Clone, Copy)]
pub(crate) struct State(*mut c_void);

fn rows(table: &abi::Plugin) -> Result<Vec<Row>, String> {
    let stride = table.option_stride as usize;
    if table.option_count > 0 && (table.options.is_null() || stride < abi::OptionRow::BYTES_MIN) {
        return Err("the table of options is missing, or its rows are too short".to_owned());
    }
    (0..table.option_count as usize)
        .map(|index| {
            // SAFETY: the plugin says that it has so many rows, a stride apart.
            let raw = unsafe { table.options.byte_add(index * stride) };
            // SAFETY: a row is as long as the stride, which was checked to be long enough.
            row(&unsafe { abi::read_bytes(raw.cast(), stride) })
        })
        .collect()
}

fn row(raw: &abi::OptionRow) -> Result<Row, String> {
    let name = read_text(raw.name).ok_or("an option has no name")?;
    let words = read_text(raw.choices).unwrap_or_default();
    let row = Row {
        default: read_text(raw.default_text),
        choices: words
            .split('|')
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect(),
        bounds: (raw.min != 0 || raw.max != 0).then_some((raw.min, raw.max)),
        kind: raw.kind,
        name,
    };
    if read_text(raw.help).is_none_or(|help| help.is_empty()) || raw.flags != 0 {
        return Err(format!(
            "option \"{}\" has no help, or unknown flags",
            row.name
        ));
    }
    if let Some(text) = &row.default {
        crate::testing::settings::value(&row, text)
            .map_err(|error| format!("a wrong default: {error}"))?;
    }
    Ok(row)
}

/// The ids of the host's extensions that the plugin cannot do without.
fn required(table: &abi::Plugin) -> impl Iterator<Item = Option<String>> {
    let list = table.required_ext;
    let entries = (0..).map_while(move |nth| {
        // SAFETY: the list is the plugin's constant, and ends in NULL; nothing behind that is read.
        let entry = (!list.is_null()).then(|| unsafe { *list.add(nth) });
        entry.filter(|entry| !entry.is_null())
    });
    entries.map(read_text)
}

/// # Safety
/// The answer of the plugin to this id is null, or a `T` that begins with its size.
unsafe fn extension<T: abi::Sized32>(table: &abi::Plugin, id: &str) -> Result<Option<T>, String> {
    let Some(call) = table.extension else {
        return Ok(None);
    };
    let name = CString::new(id).expect("ids hold no NUL");
    // SAFETY: the header promises a pure function; the id lives until it has returned.
    let raw = unsafe { call(name.as_ptr()) }.cast::<T>();
    if raw.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's promise.
    let table = unsafe { abi::read_sized(raw) };
    let short = |size| format!("its table of {id} is too short: {size} bytes");
    table.map(Some).map_err(short)
}

/// A constant of the plugin's table.
fn read_text(raw: *const c_char) -> Option<String> {
    if raw.is_null() {
        return None;
    }
    // SAFETY: constants of a table end in NUL and live as long as the process.
    unsafe { CStr::from_ptr(raw) }
        .to_str()
        .ok()
        .map(str::to_owned)
}
