//! The handshake: from a pointer that a library returned to a table the daemon can use.
//!
//! Checks run in the order in which the fields can be trusted: the magic before the major, the major
//! before the size, the size before everything else. The table is copied into a zero-filled one of
//! our own length, so that a plugin of an older minor simply lacks the newer functions and nothing
//! reads past its end. Texts and option rows are copied too; settings are `options`' business.
//!
//! Invariant: an [`Admitted`] has a way in, known flags only, and texts that are safe to show.

use std::ffi::c_void;

use polyport_plugin::abi::{self, Published};

use super::bus::{self, BusSink};
use super::carry::{Carry, read_carry};
use super::error::LoadError;
use super::extension::{self, table_of};
use super::needs::{self, DeclaredNeeds};
use super::options::DeclaredOption;
use super::text::{NAME_BYTES_MAX, clean, text_list};
use crate::plan::{Descriptor, Needs, OptionFacts, REFUSAL_BYTES_MAX};

/// The first fields, which no minor and no major moves.
const HEAD_BYTES: u32 = 16;
const TABLE_BYTES_MAX: u32 = 64 << 10;
const OPTIONS_MAX: u32 = 256;
const OPTION_BYTES_MAX: u32 = 4096;
const REQUIRED_MAX: usize = 64;
const HELP_BYTES_MAX: usize = 1024;
/// Extensions of the host's side that a plugin may require.
const HOST_EXTENSIONS: [&str; 4] = [abi::EXT_WORK, abi::EXT_FILE, abi::EXT_BUS, abi::EXT_METRICS];

// The header promises what the plan keeps.
const _: () = assert!(REFUSAL_BYTES_MAX as u64 == abi::REFUSAL_MAX);

/// A plugin that passed the handshake.
#[derive(Debug)]
pub struct Admitted {
    pub(super) table: AdmittedTable,
    pub(super) options: Vec<DeclaredOption>,
    pub(super) needs: DeclaredNeeds,
    pub(super) blocking: Option<Blocking>,
    pub(super) work_done: Option<WorkDone>,
    pub(super) bus_sink: Option<BusSink>,
    pub(super) carry: Option<Carry>,
    name: String,
    version: String,
    build_info: String,
    refusal: Vec<u8>,
}

/// The plugin's table in our own length; functions it does not have are `None`.
pub(super) struct AdmittedTable(pub(super) abi::Plugin);

/// `polyport.blocking/1` of a plugin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocking {
    pub(super) serve: Option<Serve>,
    pub(super) serve_datagram: Option<ServeDatagram>,
    /// 0 sets no limit.
    pub(super) parallel_max: u32,
}

type Serve =
    unsafe extern "C" fn(*mut c_void, *const abi::Stream, *const abi::SessionInfo) -> abi::Status;
type ServeDatagram =
    unsafe extern "C" fn(*mut c_void, *const abi::Datagram, *const u8, usize) -> abi::Status;

/// Where the results of its jobs go: `done` of `polyport.work/1`.
pub(super) type WorkDone = unsafe extern "C" fn(*mut c_void, u64, *mut c_void, abi::Status);

impl std::fmt::Debug for AdmittedTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdmittedTable")
            .field("size", &self.0.size)
            .finish_non_exhaustive()
    }
}

impl Admitted {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the plugin says of itself, with the needs that these settings make of it.
    pub fn descriptor(&self, needs: Needs) -> Descriptor {
        let table = &self.table.0;
        Descriptor {
            name: self.name.clone(),
            version: self.version.clone(),
            build_info: self.build_info.clone(),
            revision: format!("{}.{}", table.major, table.minor),
            streams: table.feed.is_some() || self.blocking.is_some_and(|it| it.serve.is_some()),
            datagrams: table.datagram.is_some()
                || self.blocking.is_some_and(|it| it.serve_datagram.is_some()),
            blocking: self.blocking.is_some(),
            bus: self.bus_sink.is_some(),
            peer_first: table.flags & abi::PEER_FIRST != 0,
            refusal: self.refusal.clone(),
            options: self.option_facts(),
            needs,
        }
    }

    pub(super) fn option_facts(&self) -> Vec<OptionFacts> {
        let options = self.options.iter();
        options.map(|option| option.facts.clone()).collect()
    }
}

/// # Safety
///
/// `table` is null or what the entry function of a library loaded for good returned: static,
/// immutable and as long as it says.
pub(super) unsafe fn admit(table: *const abi::Plugin) -> Result<Admitted, LoadError> {
    if table.is_null() {
        return Err(LoadError::NullTable);
    }
    // SAFETY: the caller's promise; each step reads only what the checks before it allow.
    let table = unsafe { copy_table(table) }?;
    let unknown = table.flags & !abi::FLAGS_KNOWN;
    if unknown != 0 {
        return Err(LoadError::UnknownFlags { bits: unknown });
    }
    if table.reserved0 != 0 {
        return Err(LoadError::ReservedUsed {
            value: table.reserved0,
        });
    }
    // SAFETY: a static list, ended by null, as the header demands.
    unsafe { check_required(&table) }?;
    // SAFETY: the table was copied from an admitted plugin's.
    let blocking = unsafe { read_blocking(&table) }?;
    if table.feed.is_none() && table.datagram.is_none() && blocking.is_none() {
        return Err(LoadError::NoWayIn);
    }
    // SAFETY: as above.
    let work_done = unsafe { read_work_done(&table) }?;
    // SAFETY: as above.
    let carry = unsafe { read_carry(&table) }?;
    // SAFETY: as above.
    let bus_sink = unsafe { bus::read_sink(&table) }?;
    // SAFETY: a static text or null, as the header demands.
    let text = |field, text| unsafe { table_text(field, text) };
    let name = text("name", table.name)?;
    if name.is_empty() {
        return Err(LoadError::BadText {
            field: "name",
            why: "is missing or empty".to_owned(),
        });
    }
    let version = text("version", table.version)?;
    let build_info = text("build_info", table.build_info)?;
    // SAFETY: `option_count` static rows, `option_stride` apart, as the header demands.
    let options = unsafe { read_options(&table) }?;
    let needs = needs::declared(&table, &options)?;
    // SAFETY: static bytes of that length, or null, as the header demands.
    let refusal = unsafe { read_refusal(&table) }?;
    Ok(Admitted {
        table: AdmittedTable(table),
        options,
        needs,
        blocking,
        work_done,
        bus_sink,
        carry,
        name,
        version,
        build_info,
        refusal,
    })
}

/// # Safety
///
/// As for [`admit`], and not null.
unsafe fn copy_table(given: *const abi::Plugin) -> Result<abi::Plugin, LoadError> {
    // SAFETY: every table begins with its magic; it may lie at any address.
    let magic = unsafe { given.cast::<u32>().read_unaligned() };
    if magic != abi::MAGIC {
        return Err(LoadError::BadMagic { found: magic });
    }
    // SAFETY: the magic says that the 16 bytes of the head are there, in every revision.
    let size = unsafe { given.cast::<u32>().add(1).read_unaligned() };
    // SAFETY: as above.
    let [major, _, min_host_minor, _] =
        unsafe { given.byte_add(8).cast::<[u16; 4]>().read_unaligned() };
    let short = LoadError::TableShort {
        size,
        least: abi::Plugin::BYTES_MIN,
    };
    if size < HEAD_BYTES {
        return Err(short);
    }
    if major != abi::MAJOR {
        return Err(LoadError::OtherMajor {
            plugin: major,
            host: abi::MAJOR,
        });
    }
    if size > TABLE_BYTES_MAX {
        return Err(LoadError::TableAbsurd { size });
    }
    if (size as usize) < abi::Plugin::BYTES_MIN {
        return Err(short);
    }
    if min_host_minor > abi::MINOR {
        return Err(LoadError::NeedsNewerHost {
            needs: min_host_minor,
            host: abi::MINOR,
        });
    }
    // SAFETY: the plugin's table has `size` bytes.
    let table = unsafe { abi::read_bytes(given, size as usize) };
    Ok(table)
}

/// # Safety
///
/// The table's list is null, or static and ended by null.
unsafe fn check_required(table: &abi::Plugin) -> Result<(), LoadError> {
    // SAFETY: the caller's promise.
    let required = unsafe { text_list(table.required_ext, REQUIRED_MAX, NAME_BYTES_MAX) };
    let bad = |why| LoadError::BadText {
        field: "required_ext",
        why,
    };
    match required
        .map_err(bad)?
        .into_iter()
        .find(|id| !HOST_EXTENSIONS.contains(&id.as_str()))
    {
        Some(id) => Err(LoadError::MissingExtension { id }),
        None => Ok(()),
    }
}

/// # Safety
///
/// `table` is an admitted plugin's.
unsafe fn read_blocking(table: &abi::Plugin) -> Result<Option<Blocking>, LoadError> {
    let bad = |why: &str| LoadError::BadExtension {
        id: abi::EXT_BLOCKING,
        why: why.to_owned(),
    };
    // SAFETY: the header says so of this id.
    let found = unsafe { table_of::<abi::Blocking1>(table, extension::BLOCKING) };
    let Some(found) = found.map_err(|why| bad(&why))? else {
        return Ok(None);
    };
    if found.serve.is_none() && found.serve_datagram.is_none() {
        return Err(bad("it has neither `serve` nor `serve_datagram`"));
    }
    if found.serve.is_some() && table.feed.is_some() {
        return Err(bad(
            "streams go either to its `serve` or to the table's `feed`, not to both",
        ));
    }
    if found.serve_datagram.is_some() && table.datagram.is_some() {
        return Err(bad(
            "datagrams go either to its `serve_datagram` or to the table's `datagram`, not to both",
        ));
    }
    Ok(Some(Blocking {
        serve: found.serve,
        serve_datagram: found.serve_datagram,
        parallel_max: found.max_parallel,
    }))
}

/// # Safety
///
/// `table` is an admitted plugin's.
unsafe fn read_work_done(table: &abi::Plugin) -> Result<Option<WorkDone>, LoadError> {
    let bad = |why: String| LoadError::BadExtension {
        id: abi::EXT_WORK,
        why,
    };
    // SAFETY: the header says so of this id.
    let found = unsafe { table_of::<abi::WorkSink1>(table, extension::WORK) };
    let Some(found) = found.map_err(bad)? else {
        return Ok(None);
    };
    let done = found
        .done
        .ok_or_else(|| bad("its `done` is NULL".to_owned()))?;
    Ok(Some(done))
}

/// # Safety
///
/// `text` is null, or static and ended by NUL.
unsafe fn table_text(
    field: &'static str,
    text: *const std::ffi::c_char,
) -> Result<String, LoadError> {
    // SAFETY: the caller's promise.
    let text = unsafe { clean(text, NAME_BYTES_MAX) };
    text.map(Option::unwrap_or_default)
        .map_err(|why| LoadError::BadText { field, why })
}

/// # Safety
///
/// `table.refusal` is null, or points to `refusal_length` static bytes.
unsafe fn read_refusal(table: &abi::Plugin) -> Result<Vec<u8>, LoadError> {
    let length = table.refusal_length;
    if table.refusal.is_null() || length == 0 {
        return Ok(Vec::new());
    }
    if length > REFUSAL_BYTES_MAX {
        return Err(LoadError::BadText {
            field: "refusal",
            why: format!("is longer than {REFUSAL_BYTES_MAX} bytes"),
        });
    }
    // SAFETY: the caller's promise; the bytes are only copied.
    let bytes = unsafe { std::slice::from_raw_parts(table.refusal.cast::<u8>(), length) };
    Ok(bytes.to_vec())
}

/// # Safety
///
/// `table.options` points to `option_count` static rows that lie `option_stride` bytes apart.
unsafe fn read_options(table: &abi::Plugin) -> Result<Vec<DeclaredOption>, LoadError> {
    let (count, stride) = (table.option_count, table.option_stride);
    if count == 0 {
        return Ok(Vec::new());
    }
    let bad = |row, why: String| Err(LoadError::BadOption { row, why });
    if count > OPTIONS_MAX {
        return bad(
            OPTIONS_MAX,
            format!("there are {count} rows, the most is {OPTIONS_MAX}"),
        );
    }
    let least = abi::OptionRow::BYTES_MIN as u32;
    if !(least..=OPTION_BYTES_MAX).contains(&stride) || !stride.is_multiple_of(8) {
        return bad(
            0,
            format!("option_stride is {stride}, but sizeof(pp_option) is {least}"),
        );
    }
    if table.options.is_null() {
        return bad(0, format!("option_count is {count}, but `options` is NULL"));
    }
    let mut options: Vec<DeclaredOption> = Vec::with_capacity(count as usize);
    for row in 0..count {
        let at = row as usize * stride as usize;
        // SAFETY: row `row` of `count` exists.
        let lies = unsafe { table.options.byte_add(at) };
        // SAFETY: it is as long as the stride, which was checked to hold all that was published.
        let raw = unsafe { abi::read_bytes(lies.cast(), stride as usize) };
        // SAFETY: its texts are static, ended by NUL, or null, as the header demands.
        let declared = unsafe { read_option(&raw) };
        match declared.map_err(|why| LoadError::BadOption { row, why })? {
            option
                if options
                    .iter()
                    .any(|earlier| earlier.facts.name == option.facts.name) =>
            {
                return bad(
                    row,
                    format!("the name `{}` is used twice", option.facts.name),
                );
            }
            option => options.push(option),
        }
    }
    Ok(options)
}

/// # Safety
///
/// The row's texts are null, or static and ended by NUL.
unsafe fn read_option(raw: &abi::OptionRow) -> Result<DeclaredOption, String> {
    let text = |field: &str, text, bytes_max| {
        // SAFETY: the caller's promise.
        unsafe { clean(text, bytes_max) }.map_err(|why| format!("`{field}` {why}"))
    };
    let name = text("name", raw.name, 64)?.unwrap_or_default();
    let help = text("help", raw.help, HELP_BYTES_MAX)?.unwrap_or_default();
    let default = text("default_text", raw.default_text, NAME_BYTES_MAX)?;
    let choices = text("choices", raw.choices, HELP_BYTES_MAX)?;
    if raw.flags != 0 {
        return Err(format!("`flags` has unknown bits: {:#x}", raw.flags));
    }
    DeclaredOption::new(name, help, default, choices, (raw.min, raw.max), raw.kind)
}
