//! Why a plugin is not taken: a closed list, each entry with the problem and its remedy.
//!
//! It is read by an administrator who did not write the plugin, or by an author who has just built
//! one. The service and the file are added by whoever knows them ([`LoadError::about`]); every text
//! that came from a plugin was bounded and escaped before it got here.
//!
//! Invariant: no two entries read the same, and none lacks a fix.

use std::fmt;
use std::path::{Path, PathBuf};

/// The entry of plugins that were built before the ABI was frozen.
const DRAFT_ENTRY: &str = "polyport_plugin_v0";

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadError {
    // --- the file
    NotFound {
        path: PathBuf,
        /// What is there of a similar name.
        near: Option<String>,
    },
    Unreadable {
        path: PathBuf,
        why: String,
    },
    NotRegular {
        path: PathBuf,
    },
    /// Somebody else could have changed it; `path` is the component at fault.
    Untrusted {
        path: PathBuf,
        why: String,
        fix: String,
    },
    TooLarge {
        path: PathBuf,
        bytes_max: u64,
    },
    Store {
        path: PathBuf,
        why: String,
    },
    Changed {
        path: PathBuf,
    },
    /// It is not the file that the configuration means.
    Pinned {
        path: PathBuf,
        pinned: String,
        found: String,
    },
    // --- the library
    NotALibrary,
    OtherWidth,
    OtherArchitecture {
        found: String,
    },
    NotShared,
    Program,
    Loader {
        text: String,
    },
    OtherCode {
        found: String,
    },
    NoEntry {
        other: Option<String>,
    },
    // --- the handshake
    NullTable,
    BadMagic {
        found: u32,
    },
    OtherMajor {
        plugin: u16,
        host: u16,
    },
    NeedsNewerHost {
        needs: u16,
        host: u16,
    },
    TableShort {
        size: u32,
        least: usize,
    },
    TableAbsurd {
        size: u32,
    },
    UnknownFlags {
        bits: u64,
    },
    ReservedUsed {
        value: u16,
    },
    MissingExtension {
        id: String,
    },
    NoWayIn,
    BadText {
        field: &'static str,
        why: String,
    },
    BadOption {
        row: u32,
        why: String,
    },
    BadNeeds {
        why: String,
    },
    BadExtension {
        id: &'static str,
        why: String,
    },
    // --- the settings
    Settings(Vec<String>),
    CheckRefused {
        text: String,
    },
    CreateRefused {
        text: String,
    },
    /// The daemon's own lack, such as of descriptors.
    System {
        call: &'static str,
        why: String,
    },
}

impl LoadError {
    /// The whole complaint: whose plugin, which file, what, and what to do.
    pub fn about(&self, service: &str, plugin: &Path) -> String {
        let plugin = plugin.display().to_string();
        let problem = self.to_string();
        // Mostly the problem is that very file's, and its name has just been said.
        let problem = match problem.strip_prefix(&format!("{plugin} ")) {
            Some(rest) => format!("it {rest}"),
            None => problem,
        };
        format!("services.{service}: plugin {plugin}: {problem}")
    }

    pub fn fix(&self) -> String {
        use LoadError::*;
        let fix = match self {
            NotFound {
                near: Some(name), ..
            } => return format!("did you mean \"{name}\"?"),
            NotFound { path, near: None } => return fix_of_missing(path),
            Unreadable { .. } => "let the daemon's user read it",
            NotRegular { .. } => "name the shared library itself",
            Untrusted { fix, .. } => fix,
            TooLarge { .. } => "check that this is the plugin; strip its debug information",
            Store { .. } => {
                "let the daemon's user write below `state_dir`, and see that it has room"
            }
            Changed { .. } => "start again, so that the plugin is taken anew",
            Pinned { .. } => {
                "install the file that is pinned; if this one is meant, write its SHA-256 as `sha256`"
            }
            NotALibrary => {
                "perhaps this is not a plugin: build it with `cc -shared -fPIC` or as a cdylib"
            }
            OtherWidth => "build it for the 64-bit target of this daemon",
            OtherArchitecture { .. } => "install the plugin built for this machine",
            NotShared | Program => "link it with -shared (C), or as crate-type \"cdylib\" (Rust)",
            Loader { .. } => "install what the loader misses, or rebuild the plugin on this system",
            OtherCode { .. } => {
                "start again; if it comes again, link the plugin without libraries that export the entry symbol too"
            }
            NoEntry { other: None } => {
                "perhaps this is not a plugin; use export_plugin! (Rust), or define the symbol with default visibility (C)"
            }
            NoEntry { other: Some(other) } if other == DRAFT_ENTRY => {
                "build the plugin anew with this daemon's polyport_plugin.h or SDK: the entry is polyport_plugin_v1 now"
            }
            NoEntry { other: Some(_) } => {
                "install the plugin built for this daemon's ABI, or the daemon of the plugin's"
            }
            NullTable => {
                "the plugin gives up on this machine: ask its author which requirement is not met"
            }
            BadMagic { .. } => {
                "start the table with PP_MAGIC; perhaps another program's plugin has the same symbol"
            }
            OtherMajor { .. } => "rebuild the plugin with this daemon's polyport_plugin.h",
            NeedsNewerHost { .. } => {
                "upgrade the daemon, or lower min_host_minor if the plugin can do without"
            }
            TableShort { .. } => "set `size` to sizeof(pp_plugin)",
            TableAbsurd { .. } => "set `size` to sizeof(pp_plugin), in bytes",
            UnknownFlags { .. } => "upgrade the daemon, or clear the flags it does not know",
            ReservedUsed { .. } => "leave reserved fields zero",
            MissingExtension { .. } => {
                "upgrade the daemon, or install a plugin that does without it"
            }
            NoWayIn => {
                "set `feed` for streams, `datagram` for datagrams, or both; or offer polyport.blocking/1"
            }
            BadText {
                field: "refusal", ..
            } => "say it in fewer bytes",
            BadText { .. } => "give a static text ended by NUL: UTF-8, without control characters",
            BadOption { .. } => "correct that row of the plugin's option table",
            BadExtension { id, .. } => {
                return format!("correct what the plugin's `{id}` returns");
            }
            BadNeeds { .. } => "correct what the plugin's `polyport.needs/1` returns",
            Settings(_) => {
                "correct these keys; `polyport plugins show` lists the options of a plugin"
            }
            CheckRefused { .. } | CreateRefused { .. } => {
                "the text is the plugin's own: correct the service's settings, or see the plugin's manual"
            }
            System { .. } => "free the resource, or raise its limit, and try again",
        };
        fix.to_owned()
    }

    fn problem(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use LoadError::*;
        let entry = polyport_plugin::abi::ENTRY;
        match self {
            NotFound { path, .. } => write!(f, "{} does not exist", path.display()),
            Unreadable { path, why } => write!(f, "{} cannot be read: {why}", path.display()),
            NotRegular { path } => write!(f, "{} is not a regular file", path.display()),
            Untrusted { path, why, .. } => write!(f, "{} is not trusted: {why}", path.display()),
            TooLarge { path, bytes_max } => {
                write!(
                    f,
                    "{} is larger than {} MiB",
                    path.display(),
                    bytes_max >> 20
                )
            }
            Store { path, why } => {
                write!(
                    f,
                    "it cannot be copied into the store: {}: {why}",
                    path.display()
                )
            }
            Changed { path } => write!(f, "{} is not what was checked", path.display()),
            Pinned {
                path,
                pinned,
                found,
            } => write!(
                f,
                "{} has the SHA-256 {found}, and {pinned} is pinned",
                path.display()
            ),
            NotALibrary => f.write_str("it is not an ELF file"),
            OtherWidth => f.write_str("it is a 32-bit or big-endian ELF file"),
            OtherArchitecture { found } => {
                write!(
                    f,
                    "it is built for {found}, this machine is {}",
                    std::env::consts::ARCH
                )
            }
            NotShared => f.write_str("it is an ELF file, but not a shared library"),
            Program => f.write_str("it is a program, not a shared library"),
            Loader { text } => write!(f, "the loader refuses it: {text}"),
            OtherCode { found } => {
                write!(
                    f,
                    "`{entry}` lies in {found}, not in the file that was checked"
                )
            }
            NoEntry { other: None } => write!(f, "it does not export `{entry}`"),
            NoEntry { other: Some(other) } if other == DRAFT_ENTRY => {
                write!(
                    f,
                    "it does not export `{entry}`, but `{other}`: it is built for the draft ABI, before the first that lasts"
                )
            }
            NoEntry { other: Some(other) } => {
                write!(
                    f,
                    "it does not export `{entry}`, but `{other}`: it is built for another ABI"
                )
            }
            NullTable => write!(f, "`{entry}` returned NULL"),
            BadMagic { found } => write!(
                f,
                "its table starts with {found:#010x} instead of PP_MAGIC ({:#010x})",
                polyport_plugin::abi::MAGIC
            ),
            OtherMajor { plugin, host } => {
                write!(
                    f,
                    "it is built for ABI major {plugin}, this daemon has major {host}"
                )
            }
            NeedsNewerHost { needs, host } => {
                write!(
                    f,
                    "it needs ABI minor {needs}, this daemon has minor {host}"
                )
            }
            TableShort { size, least } => {
                write!(f, "its table has {size} bytes, the least is {least}")
            }
            TableAbsurd { size } => write!(f, "its table claims to have {size} bytes"),
            UnknownFlags { bits } => {
                write!(f, "it sets flags that this daemon does not know: {bits:#x}")
            }
            ReservedUsed { value } => write!(f, "its table has {value} in the field reserved0"),
            MissingExtension { id } => {
                write!(
                    f,
                    "it requires the extension {id:?}, which this daemon does not have"
                )
            }
            NoWayIn => f.write_str("it has neither `feed` nor `datagram`, so nothing can reach it"),
            BadText { field, why } => write!(f, "the `{field}` of its table {why}"),
            BadOption { row, why } => write!(f, "row {row} of its option table: {why}"),
            BadNeeds { why } => write!(f, "its needs: {why}"),
            BadExtension { id, why } => write!(f, "its {id}: {why}"),
            Settings(complaints) => {
                // The log joins these lines to one, so none of them ends as if more were to come.
                write!(f, "{} of its settings cannot be taken", complaints.len())?;
                complaints
                    .iter()
                    .try_for_each(|line| write!(f, "\n  {line}"))
            }
            CheckRefused { text } => write!(f, "it refuses its settings: {text}"),
            CreateRefused { text } => write!(f, "it refuses to start: {text}"),
            System { call, why } => write!(f, "{call}: {why}"),
        }
    }
}

/// Names are looked for in two spellings, of which only the first is in the plan.
fn fix_of_missing(path: &Path) -> String {
    let fix = "install the plugin there, or correct `plugin` of the service or `plugin_dir`";
    let name = path
        .extension()
        .filter(|ending| *ending == "so")
        .and_then(|_| path.file_stem()?.to_str());
    match name {
        Some(name) if !name.starts_with("libpolyport_") => format!(
            "{fix}; a plugin by the name of {name} is looked for as {name}.so, then as \
             libpolyport_{}.so",
            name.replace('-', "_")
        ),
        _ => fix.to_owned(),
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem(f)?;
        write!(f, "\n  fix: {}", self.fix())
    }
}

impl std::error::Error for LoadError {}
