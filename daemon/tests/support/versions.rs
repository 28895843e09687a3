//! "New versions" of the program under test: copies of it with bytes behind its end, put in its place as
//! a package manager does.
//!
//! Invariant: whoever looks finds a whole program in its place, the old one or the new.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::daemon::{Daemon, Directory, OWN_PROGRAM};

pub fn built() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_polyport"))
}

/// What a daemon that is started there is of, until it is upgraded.
pub fn install_first(directory: &Directory) {
    fs::copy(built(), directory.path().join(OWN_PROGRAM)).expect("copied");
}

pub fn another_version(number: usize) -> Vec<u8> {
    let mut bytes = fs::read(built()).expect("the program under test");
    bytes.extend_from_slice(format!("version {number}").as_bytes());
    bytes
}

pub fn place(daemon: &Daemon) -> PathBuf {
    daemon.directory().join(OWN_PROGRAM)
}

pub fn install(daemon: &Daemon, bytes: &[u8], mode: u32) {
    let (draft, new) = ["draft", "program.new"]
        .map(|name| daemon.directory().join(name))
        .into();
    fs::write(&draft, bytes).expect("written");
    // A program that this process had open could be busy: children of other cases inherit that.
    let copied = std::process::Command::new("cp")
        .args([&draft, &new])
        .status();
    assert!(copied.expect("cp runs").success());
    fs::set_permissions(&new, fs::Permissions::from_mode(mode)).expect("set");
    fs::rename(&new, place(daemon)).expect("renamed");
}

pub fn upgrade(daemon: &Daemon) {
    let output = daemon.operate(&["upgrade", "--wait"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}\n{}", daemon.log());
}
