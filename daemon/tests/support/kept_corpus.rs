//! One folder of the fuzzer's kept corpus, fed to its target: as it is, and with what a seed changes
//! of it.
//!
//! Which folders there are, and which targets, is their tests' business. Invariant: a corpus in which
//! the target finds nothing right fails, for it would show nothing.

use std::path::{Path, PathBuf};

use super::mutation;

pub(crate) fn feed(folder: &Path, mutations: u64, target: impl Fn(&[u8]) -> bool) {
    let name = folder.file_name().expect("named").to_string_lossy();
    let mut accepted = 0;
    let mut kept = Vec::new();
    for path in entries(folder) {
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        // A panic is printed with it.
        eprintln!("{}", path.display());
        accepted += u32::from(target(&bytes));
        kept.push(bytes);
    }
    assert!(accepted > 0, "{name}: nothing in the corpus is right");
    let telling = kept.concat();
    mutation::each(&name, &kept, &telling, mutations, |bytes| {
        target(bytes);
    });
}

/// By name, so that a run is like the one before.
pub(crate) fn entries(folder: &Path) -> Vec<PathBuf> {
    let listed = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = listed
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    paths
}
