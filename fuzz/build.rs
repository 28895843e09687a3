//! Builds the plugins that are fuzzed, which are the tests' own and in C: `asks`, whose settings are,
//! `drawn`, whose table is, and `plays`, which is in the loop. It compiles nothing else, and finds its compiler as the tests do.

use std::path::Path;
use std::process::Command;

fn main() {
    let include = "../plugin-api/include";
    println!("cargo:rerun-if-changed={include}");
    let folder = std::env::var("OUT_DIR").expect("cargo names it");
    for (name, variable) in [("asks", "ASKS"), ("drawn", "DRAWN"), ("plays", "PLAYS")] {
        let source = format!("../daemon/tests/plugins/{name}.c");
        println!("cargo:rerun-if-changed={source}");
        let built = Path::new(&folder).join(name).with_extension("so");
        let status = Command::new("cc")
            .args(["-std=c99", "-shared", "-fPIC", "-pthread", "-D_GNU_SOURCE"])
            .args(["-I", include, "-o"])
            .arg(&built)
            .arg(&source)
            .status()
            .expect("cc is installed");
        assert!(status.success(), "{source} does not compile");
        println!("cargo:rustc-env={variable}={}", built.display());
    }
}
