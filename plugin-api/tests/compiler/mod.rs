//! The C and C++ compilers, with warnings as errors: what a plugin author has.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) fn compile(compiler: &str, flags: &[&str], source: &Path, target: &Path) {
    let output = Command::new(compiler)
        .args(["-Wall", "-Wextra", "-Werror"])
        .args(flags)
        .arg("-I")
        .arg(folder().join("include"))
        .arg(source)
        .arg("-o")
        .arg(target)
        .output()
        .unwrap_or_else(|error| panic!("{compiler} is needed to run this test: {error}"));
    assert!(
        output.status.success(),
        "{compiler} {flags:?} {}:\n{}",
        source.display(),
        String::from_utf8_lossy(&output.stderr)
    );
}

pub(crate) fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder of one test's own: tests run at the same time.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&path).expect("cargo's folder for tests is writable");
    path
}
