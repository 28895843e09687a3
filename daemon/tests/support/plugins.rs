//! The plugins that a scripted case names: shipped ones, and fixtures built for it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::fixtures::{build, build_fixture};
use super::namespace;

/// Where the shipped plugins lie, built by the cargo that runs the tests.
pub fn folder() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT
        .get_or_init(|| {
            let binary = Path::new(env!("CARGO_BIN_EXE_polyport"));
            let folder = binary
                .parent()
                .expect("a binary lies in a folder")
                .to_owned();
            // Whoever plays it there has built them; the compiler may lie elsewhere.
            if namespace::is_inside() {
                return folder;
            }
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args([
                "build",
                "--quiet",
                "-p",
                "polyport-echo",
                "-p",
                "polyport-udp-echo",
                "-p",
                "polyport-gopher",
                "-p",
                "polyport-line-chat",
                "-p",
                "polyport-fixture-panics",
                "-p",
                "polyport-fixture-talks",
                "-p",
                "polyport-fixture-meets",
                "-p",
                "polyport-fixture-sends",
            ]);
            if folder.ends_with("release") {
                cargo.arg("--release");
            }
            let output = cargo
                .current_dir(env!("CARGO_MANIFEST_DIR"))
                .output()
                .expect("cargo runs");
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            folder
        })
        .clone()
}

/// The smallest plugin, an echo, from the examples of the plugin API.
pub fn smallest() -> PathBuf {
    let source = Path::new("../plugin-api/examples/smallest.c");
    build("smallest", source, "none")
}

/// An example of the SDK, built by the same cargo.
pub fn example(name: &str) -> PathBuf {
    let folder = folder();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "build",
        "--quiet",
        "-p",
        "polyport-plugin",
        "--example",
        name,
    ]);
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status();
    assert!(built.expect("cargo runs").success(), "the example {name}");
    folder.join("examples").join(format!("lib{name}.so"))
}

/// Replaces `{fixture NAME}` in a line of configuration by that fixture's path, and `{example NAME}`
/// by that of an example of the SDK.
pub fn fill_in(line: &str) -> String {
    let mut filled = line.to_owned();
    for mark in ["{fixture ", "{example "] {
        while let Some(start) = filled.find(mark) {
            let end = start + filled[start..].find('}').expect("a closing brace");
            let name = &filled[start + mark.len()..end];
            let path = match mark {
                "{example " => example(name),
                _ => build_fixture(name),
            };
            filled.replace_range(start..=end, &path.display().to_string());
        }
    }
    filled
}
