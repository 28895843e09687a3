//! What a plugin declares, as the constant tables that the host reads: options and needs.
//!
//! All of it is computed at compile time; a table that would be wrong does not compile. Invariant:
//! every pointer in these tables points to constants.

use std::ffi::{CStr, c_char, c_void};
use std::marker::PhantomData;
use std::ptr;

use super::c_text;
use crate::abi;
use crate::{Configure, Needs, Opt};

/// What a plugin declares, whichever style it is written in.
pub(crate) trait Style {
    type Plugin: Configure + 'static;
    const OPTIONS: &'static [Opt];
    const PEER_FIRST: bool;
    const NEEDS: Needs;
    /// The extensions that only this style has: their ids and their tables, which are constants, or
    /// null where a plugin goes without.
    const EXTENSIONS: &'static [(&'static str, *const c_void)];
    const REFUSAL: &'static [u8];
}

/// Rows of options, and paths with their end mark: enough for any plugin, and of one size, since the
/// length of an array cannot depend on a type parameter.
const OPTIONS_MAX: usize = 64;
const PATHS_MAX: usize = 16;

type Paths = [*const c_char; PATHS_MAX];

pub(crate) struct Declared<S>(PhantomData<S>);

impl<S: Style> Declared<S> {
    const ROWS: &'static [abi::OptionRow; OPTIONS_MAX] = &rows::<S>();
    const FILES_READ: &'static Paths = &paths(S::NEEDS.files_read);
    const FILES_WRITE: &'static Paths = &paths(S::NEEDS.files_write);
    const NEEDS: &'static abi::Needs1 = &abi::Needs1 {
        size: size_of::<abi::Needs1>() as u32,
        flags: needs_flags::<S>(),
        files_read: Self::FILES_READ.as_ptr(),
        files_write: Self::FILES_WRITE.as_ptr(),
    };

    /// A plugin's table with all that is declared, and no function yet; each text ends in its only
    /// NUL.
    pub(crate) const fn table(
        name: &'static str,
        version: &'static str,
        build_info: &'static str,
    ) -> abi::Plugin {
        let (options, option_stride) = if S::OPTIONS.is_empty() {
            (ptr::null(), 0)
        } else {
            (Self::ROWS.as_ptr().cast(), size_of::<abi::OptionRow>())
        };
        abi::Plugin {
            magic: abi::MAGIC,
            size: size_of::<abi::Plugin>() as u32,
            major: abi::MAJOR,
            minor: abi::MINOR,
            min_host_minor: 0,
            reserved0: 0,
            flags: if S::PEER_FIRST { abi::PEER_FIRST } else { 0 },
            name: c_text(name),
            version: c_text(version),
            build_info: c_text(build_info),
            options,
            option_count: S::OPTIONS.len() as u32,
            option_stride: option_stride as u32,
            required_ext: ptr::null(),
            extension: Some(Self::extension),
            check: None,
            create: None,
            drain: None,
            destroy: None,
            open: None,
            feed: None,
            peer_finished: None,
            writable: None,
            closed: None,
            datagram: None,
            timer: None,
            wake: None,
            refusal: refusal::<S>(),
            refusal_length: S::REFUSAL.len(),
        }
    }

    /// The table of the extension with this id.
    pub(crate) unsafe extern "C" fn extension(id: *const c_char) -> *const c_void {
        if id.is_null() {
            return ptr::null();
        }
        // SAFETY: ids end in NUL and are the host's until the return.
        let id = unsafe { CStr::from_ptr(id) }.to_bytes();
        let own = S::EXTENSIONS.iter().find(|(own, _)| id == own.as_bytes());
        if let Some((_, table)) = own {
            *table
        } else if id == abi::EXT_NEEDS.as_bytes() {
            ptr::from_ref(Self::NEEDS).cast()
        } else {
            ptr::null()
        }
    }
}

/// Null where there is none, so that nobody wonders at an address.
const fn refusal<S: Style>() -> *const c_void {
    assert!(
        S::REFUSAL.len() as u64 <= abi::REFUSAL_MAX,
        "a refusal has at most 1,024 bytes"
    );
    if S::REFUSAL.is_empty() {
        return ptr::null();
    }
    S::REFUSAL.as_ptr().cast()
}

const fn rows<S: Style>() -> [abi::OptionRow; OPTIONS_MAX] {
    assert!(
        S::OPTIONS.len() <= OPTIONS_MAX,
        "a plugin has at most 64 options"
    );
    let mut rows = [abi::OptionRow {
        name: ptr::null(),
        help: ptr::null(),
        default_text: ptr::null(),
        choices: ptr::null(),
        min: 0,
        max: 0,
        kind: 0,
        flags: 0,
    }; OPTIONS_MAX];
    let mut index = 0;
    while index < S::OPTIONS.len() {
        let option = &S::OPTIONS[index];
        let row = &mut rows[index];
        row.name = option.name.as_ptr();
        row.help = option.help.as_ptr();
        if let Some(text) = option.default {
            row.default_text = text.as_ptr();
        }
        if let Some(words) = option.choices {
            row.choices = words.as_ptr();
        }
        row.min = option.min;
        row.max = option.max;
        row.kind = option.kind as u32;
        index += 1;
    }
    rows
}

const fn paths(declared: &[&'static CStr]) -> Paths {
    assert!(
        declared.len() < PATHS_MAX,
        "a plugin needs at most 15 paths of each sort"
    );
    let mut paths = [ptr::null(); PATHS_MAX];
    let mut index = 0;
    while index < declared.len() {
        paths[index] = declared[index].as_ptr();
        index += 1;
    }
    paths
}

const fn needs_flags<S: Style>() -> u32 {
    let mut flags = 0;
    if S::NEEDS.connect {
        flags |= abi::NEEDS_CONNECT;
    }
    if S::NEEDS.exec {
        flags |= abi::NEEDS_EXEC;
    }
    if S::NEEDS.jit {
        flags |= abi::NEEDS_JIT;
    }
    flags
}
