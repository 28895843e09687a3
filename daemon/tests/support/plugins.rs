//! Fixture plugins, built from `tests/plugins/*.c` when a test asks for them.
//!
//! A name is a file, or a file and one of its cases: "rude" or "rude-segfault". Test processes run
//! at the same time, so each builds to a name of its own and renames; the last one wins, and all
//! are equal.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The built library.
pub(crate) fn build_fixture(name: &str) -> PathBuf {
    static BUILDS: AtomicU32 = AtomicU32::new(0);
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (file, case) = name.split_once('-').unwrap_or((name, "none"));
    let source = crate_dir
        .join("tests/plugins")
        .join(file)
        .with_extension("c");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugins");
    std::fs::create_dir_all(&folder).expect("a folder for fixtures");
    let build = BUILDS.fetch_add(1, Ordering::Relaxed);
    let unique = folder.join(format!("{name}.{}.{build}.tmp", std::process::id()));
    let output = Command::new("cc")
        .args([
            "-std=c99", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-pthread",
        ])
        .arg("-D_GNU_SOURCE")
        .arg(format!("-DCASE_{case}"))
        .arg("-I")
        .arg(crate_dir.join("../plugin-api/include"))
        .arg("-o")
        .args([&unique, &source])
        .output()
        .expect("cc is installed");
    assert!(
        output.status.success(),
        "{name}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let built = folder.join(format!("{name}.so"));
    std::fs::rename(&unique, &built).expect("renamed");
    built
}

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
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args([
                "build",
                "--quiet",
                "-p",
                "polyport-echo",
                "-p",
                "polyport-fixture-panics",
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

/// Replaces `{fixture NAME}` in a line of configuration by that fixture's path.
pub fn fill_in(line: &str) -> String {
    let mut filled = line.to_owned();
    while let Some(start) = filled.find("{fixture ") {
        let end = start + filled[start..].find('}').expect("a closing brace");
        let path = build_fixture(&filled[start + "{fixture ".len()..end]);
        filled.replace_range(start..=end, &path.display().to_string());
    }
    filled
}
