//! Writes a table of the SDK's files, for `polyport new-plugin` to lay beside what it makes.
//!
//! The sources themselves go into the binary, so that a plugin can be begun where there is nothing
//! else: no source tree, no network. Invariant: every file below `plugin-api/src` and the header are in
//! it, under their paths there.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    let crate_dir = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let out_dir = std::env::var("OUT_DIR").expect("cargo sets it");
    let sdk = Path::new(&crate_dir).join("../plugin-api");
    let mut files = Vec::new();
    for folder in ["src", "include"] {
        println!("cargo::rerun-if-changed={}", sdk.join(folder).display());
        walk(&sdk.join(folder), &mut files);
    }
    files.sort();
    let mut table = "&[\n".to_owned();
    for file in files {
        let name = file.strip_prefix(&sdk).expect("the walk began there");
        let _ = writeln!(table, "    ({name:?}, include_str!({file:?})),");
    }
    table.push_str("]\n");
    fs::write(Path::new(&out_dir).join("sdk.rs"), table).expect("cargo's folder is writable");
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the SDK lies beside the daemon") {
        let path = entry.expect("a folder of sources can be listed").path();
        match path.is_dir() {
            true => walk(&path, files),
            false => files.push(path),
        }
    }
}
