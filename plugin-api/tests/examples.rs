//! The two smallest plugins, as an author would first meet them, under all that can go wrong.

use std::ffi::{CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use polyport_plugin::testing::{Setup, Split};
use polyport_plugin::{End, Table, abi};

mod compiler;
#[path = "../examples/smallest.rs"]
mod smallest;

#[test]
fn the_smallest_rust_plugin_echoes_whatever_happens() {
    let table = smallest::polyport_plugin_v0();
    echoes(&Setup::table(table));
}

#[test]
fn the_smallest_c_plugin_echoes_whatever_happens() {
    let source = compiler::folder().join("examples/smallest.c");
    let library = compiler::scratch("smallest").join("smallest.so");
    compiler::compile(
        "cc",
        &["-std=c99", "-pedantic", "-shared", "-fPIC"],
        &source,
        &library,
    );
    echoes(&Setup::table(loaded(&library)));
}

fn echoes(setup: &Setup) {
    let text = b"one\ntwo\n";
    for split in [Split::Whole, Split::EveryByte, Split::At(3)] {
        for refused in 1..=text.len() + 1 {
            let setup = setup.clone().split(split).full_at(refused);
            let mut host = setup.start().expect("an echo takes no settings");
            let (first, second) = (host.connect(), host.connect());
            host.send(first, text);
            host.send(second, b"other");
            host.peer_finishes(first);
            assert_eq!(
                host.received(first),
                text,
                "{split:?}, write {refused} refused"
            );
            assert_eq!(host.received(second), b"other");
            assert_eq!(host.end(first), Some(End::Finished));
            assert_eq!(host.end(second), None);
        }
    }
}

#[test]
fn a_peer_that_does_not_read_stops_an_echo_and_loses_nothing() {
    let setup = Setup::table(smallest::polyport_plugin_v0()).output_bytes_max(8);
    let mut host = setup.start().expect("an echo takes no settings");
    let peer = host.connect();
    host.peer_stops_reading(peer);
    let sent: Vec<u8> = (0..100).collect();
    for chunk in sent.chunks(3) {
        host.send(peer, chunk);
    }
    host.peer_finishes(peer);
    assert_eq!(
        host.queued(peer),
        6,
        "half the limit is passed after two chunks"
    );
    for _ in 0..50 {
        host.peer_reads(peer, 2);
    }
    assert_eq!(host.received(peer), sent);
    assert_eq!(host.end(peer), Some(End::Finished));
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
