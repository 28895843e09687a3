//! The kept corpus of the fuzzer: what once reached something new, or broke something, is fed again
//! to the same targets on every run.
//!
//! It makes no inputs of its own. Invariant: each target has a folder in `fuzz/corpus` and an entry
//! in `fuzz/fuzz_targets`, and each of these has a target.

#[path = "support/fixtures.rs"]
mod fixtures;
#[path = "support/folder.rs"]
mod folder;
mod targets;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use folder::Folder;
use targets::written;

/// It takes a plugin as well.
const SETTINGS: &str = "settings";

/// Fed by a test of the same name in `plugins/gopher`.
const OF_GOPHER: [&str; 4] = [
    "gopher_http",
    "gopher_map",
    "gopher_plus",
    "gopher_selector",
];

#[test]
fn every_target_keeps_its_promise_on_the_kept_corpus() {
    for (name, target) in targets::ALL {
        feed(name, target);
    }
    let folder = Folder::new("corpus");
    let plugin = folder.admit("asks").unwrap_or_else(|e| panic!("{e}"));
    feed(SETTINGS, |bytes| {
        written::settings(&plugin, bytes) == Some(true)
    });
}

fn feed(name: &str, target: impl Fn(&[u8]) -> bool) {
    let mut accepted = 0;
    for path in entries(&root().join("corpus").join(name)) {
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        // A panic is printed with it.
        eprintln!("{}", path.display());
        accepted += u32::from(target(&bytes));
    }
    assert!(accepted > 0, "{name}: nothing in the corpus is right");
}

#[test]
fn corpus_targets_and_the_fuzzer_s_programs_are_the_same() {
    let mut names: BTreeSet<String> = targets::ALL.map(|(name, _)| name.to_owned()).into();
    names.insert(SETTINGS.to_owned());
    names.extend(OF_GOPHER.map(str::to_owned));
    for folder in ["corpus", "fuzz_targets"] {
        let stems = entries(&root().join(folder)).into_iter().map(|path| {
            path.file_stem()
                .expect("named")
                .to_string_lossy()
                .into_owned()
        });
        assert_eq!(stems.collect::<BTreeSet<_>>(), names, "{folder}");
    }
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("a manifest");
    for name in names {
        assert!(
            manifest.contains(&format!("name = \"{name}\"")),
            "{name} is not in fuzz/Cargo.toml"
        );
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let listed = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = listed
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    paths
}
