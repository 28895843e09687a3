//! Fixture plugins, built from `tests/plugins/*.c` when a test asks for them.
//!
//! A name is a file, or a file and one of its cases: "rude" or "rude-segfault". Test processes run
//! at the same time, so each builds to a name of its own and renames; the last one wins, and all
//! are equal.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// The built library.
pub(crate) fn build_fixture(name: &str) -> PathBuf {
    let (file, case) = name.split_once('-').unwrap_or((name, "none"));
    let source = Path::new("tests/plugins").join(file).with_extension("c");
    build(name, &source, case)
}

/// A library of that name from a source below the package's folder.
pub(crate) fn build(name: &str, source: &Path, case: &str) -> PathBuf {
    static BUILDS: AtomicU32 = AtomicU32::new(0);
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = crate_dir.join(source);
    let include = crate_dir.join("../plugin-api/include");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugins");
    std::fs::create_dir_all(&folder).expect("a folder for fixtures");
    let built = folder.join(format!("{name}.so"));
    if is_newer(&built, &[&source, &include.join("polyport_plugin.h")]) {
        return built;
    }
    let build = BUILDS.fetch_add(1, Ordering::Relaxed);
    let unique = folder.join(format!("{name}.{}.{build}.tmp", std::process::id()));
    let output = Command::new("cc")
        .args([
            "-std=c99",
            "-shared",
            "-fPIC",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-pthread",
            "-fstack-protector-all",
        ])
        .arg("-D_GNU_SOURCE")
        .arg(format!("-DCASE_{case}"))
        .arg("-I")
        .arg(&include)
        .arg("-o")
        .args([&unique, &source])
        .output()
        .expect("cc is installed");
    assert!(
        output.status.success(),
        "{name}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    std::fs::rename(&unique, &built).expect("renamed");
    built
}

fn is_newer(built: &Path, sources: &[&Path]) -> bool {
    let changed = |path: &Path| std::fs::metadata(path).and_then(|facts| facts.modified());
    let newer = |built| {
        sources
            .iter()
            .all(|source| changed(source).is_ok_and(|at| at < built))
    };
    changed(built).is_ok_and(newer)
}
