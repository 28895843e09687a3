//! A library of a plugin, loaded as the daemon does it, for a host that is a fake.
//!
//! It stays loaded: a plugin is never unloaded. What it promises is the header's business.

use std::ffi::{CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use polyport_plugin::{Table, abi};

unsafe extern "C" {
    fn dlopen(file: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

pub(crate) fn loaded(library: &Path) -> Table {
    const RTLD_NOW: c_int = 2;
    let file = CString::new(library.as_os_str().as_bytes()).expect("no NUL in the path");
    let name = CString::new(abi::ENTRY).expect("no NUL in the symbol");
    // SAFETY: dlopen(3): both texts end in NUL; and what a library of ours runs at its start is sound.
    let library = unsafe { dlopen(file.as_ptr(), RTLD_NOW) };
    assert!(!library.is_null(), "{file:?} does not load");
    // SAFETY: the library is loaded and stays so.
    let entry = unsafe { dlsym(library, name.as_ptr()) };
    assert!(!entry.is_null(), "{file:?} does not export its entry");
    // SAFETY: the header says that the symbol is a function of this type.
    let entry: extern "C" fn() -> *const abi::Plugin = unsafe { std::mem::transmute(entry) };
    // SAFETY: a plugin's table is a constant that follows the header.
    unsafe { Table::from_raw(entry()) }
}
