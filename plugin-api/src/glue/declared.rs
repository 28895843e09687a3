//! What a protocol declares, as the constant tables that the host reads: options and needs.
//!
//! All of it is computed at compile time; a table that would be wrong does not compile. Invariant:
//! every pointer in these tables points to constants.

use std::ffi::{c_char, c_void};
use std::marker::PhantomData;
use std::ptr;

use crate::Protocol;
use crate::abi;

/// Rows of options, and paths with their end mark: enough for any plugin, and of one size, since the
/// length of an array cannot depend on a type parameter.
const OPTIONS_MAX: usize = 64;
const PATHS_MAX: usize = 16;

type Paths = [*const c_char; PATHS_MAX];

pub(crate) struct Declared<P>(PhantomData<P>);

impl<P: Protocol> Declared<P> {
    const ROWS: &'static [abi::OptionRow; OPTIONS_MAX] = &rows::<P>();
    const FILES_READ: &'static Paths = &paths(P::NEEDS.files_read);
    const FILES_WRITE: &'static Paths = &paths(P::NEEDS.files_write);
    const NEEDS: &'static abi::Needs1 = &abi::Needs1 {
        size: size_of::<abi::Needs1>() as u32,
        flags: needs_flags::<P>(),
        files_read: Self::FILES_READ.as_ptr(),
        files_write: Self::FILES_WRITE.as_ptr(),
    };

    pub(crate) const OPTIONS: *const c_void = if P::OPTIONS.is_empty() {
        ptr::null()
    } else {
        Self::ROWS.as_ptr().cast()
    };
    pub(crate) const OPTION_COUNT: u32 = P::OPTIONS.len() as u32;
    pub(crate) const OPTION_STRIDE: u32 = if P::OPTIONS.is_empty() {
        0
    } else {
        size_of::<abi::OptionRow>() as u32
    };
    pub(crate) const FLAGS: u64 = if P::PEER_FIRST { abi::PEER_FIRST } else { 0 };

    /// The table of the extension with this id.
    pub(crate) fn extension(id: &[u8]) -> *const c_void {
        if id == abi::EXT_NEEDS.as_bytes() {
            ptr::from_ref(Self::NEEDS).cast()
        } else {
            ptr::null()
        }
    }
}

const fn rows<P: Protocol>() -> [abi::OptionRow; OPTIONS_MAX] {
    assert!(
        P::OPTIONS.len() <= OPTIONS_MAX,
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
    while index < P::OPTIONS.len() {
        let option = &P::OPTIONS[index];
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

const fn paths(declared: &[&'static std::ffi::CStr]) -> Paths {
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

const fn needs_flags<P: Protocol>() -> u32 {
    let mut flags = 0;
    if P::NEEDS.connect {
        flags |= abi::NEEDS_CONNECT;
    }
    if P::NEEDS.exec {
        flags |= abi::NEEDS_EXEC;
    }
    if P::NEEDS.jit {
        flags |= abi::NEEDS_JIT;
    }
    flags
}
