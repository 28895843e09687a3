//! The examples in C, compiled and loaded as an author's plugin would be.

use std::ffi::{CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use polyport_plugin::{Table, abi};

use crate::compiler;

pub(crate) fn load(name: &str) -> Table {
    let source = compiler::folder()
        .join("examples")
        .join(name)
        .with_extension("c");
    let library = compiler::scratch(name).join(format!("{name}.so"));
    compiler::compile(
        "cc",
        &["-std=c99", "-pedantic", "-shared", "-fPIC"],
        &source,
        &library,
    );
    loaded(&library)
}

unsafe extern "C" {
    fn dlopen(file: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

fn loaded(library: &Path) -> Table {
    const RTLD_NOW: c_int = 2;
    let file = CString::new(library.as_os_str().as_bytes()).expect("no NUL in the path");
    let name = CString::new(abi::ENTRY).expect("no NUL in the symbol");
    // SAFETY: dlopen(3): both texts end in NUL; the library has no initialisers.
    let library = unsafe { dlopen(file.as_ptr(), RTLD_NOW) };
    assert!(!library.is_null(), "the example does not load");
    // SAFETY: the library is loaded and stays so.
    let entry = unsafe { dlsym(library, name.as_ptr()) };
    assert!(!entry.is_null(), "the example does not export its entry");
    // SAFETY: the header says that the symbol is a function of this type.
    let entry: extern "C" fn() -> *const abi::Plugin = unsafe { std::mem::transmute(entry) };
    // SAFETY: the example's table is a constant that follows the header.
    unsafe { Table::from_raw(entry()) }
}
