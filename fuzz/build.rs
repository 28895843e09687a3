//! Builds the plugin whose settings are fuzzed: the tests' own `asks`, in C. It compiles nothing else,
//! and finds its compiler as the tests do.

use std::path::Path;
use std::process::Command;

fn main() {
    let source = "../daemon/tests/plugins/asks.c";
    let include = "../plugin-api/include";
    println!("cargo:rerun-if-changed={source}");
    println!("cargo:rerun-if-changed={include}");
    let folder = std::env::var("OUT_DIR").expect("cargo names it");
    let built = Path::new(&folder).join("asks.so");
    let status = Command::new("cc")
        .args([
            "-std=c99",
            "-shared",
            "-fPIC",
            "-pthread",
            "-D_GNU_SOURCE",
            "-I",
            include,
        ])
        .args(["-o".as_ref(), built.as_os_str(), source.as_ref()])
        .status()
        .expect("cc is installed");
    assert!(status.success(), "{source} does not compile");
    println!("cargo:rustc-env=ASKS={}", built.display());
}
