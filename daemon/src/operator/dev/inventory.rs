//! What lies in an author's folder at one moment, so that two moments can be compared.
//!
//! By looking and not by being told: a kernel that tells (inotify(7)) tells of folders one by one, and
//! of files that editors replace under other names. Nothing is read, so a file that is written with the
//! same length within one tick of its clock, and not again, is taken for the same.
//!
//! Invariant: what a build makes is not in it, or each build would be followed by another.

use std::collections::BTreeMap;
use std::fs::{self, DirEntry};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A plugin with more is not what was meant: somebody's home folder, perhaps.
const FILES_MAX: usize = 10_000;

/// Folders that builds write to.
const BUILT_FOLDERS: [&str; 2] = ["build", "target"];
/// And files that they write between the others.
const BUILT_ENDINGS: [&str; 6] = ["so", "o", "a", "d", "lock", "new"];

/// One state of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileState {
    inode: u64,
    bytes: u64,
    written: (i64, i64),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Inventory {
    files: BTreeMap<PathBuf, FileState>,
}

impl FileState {
    pub(super) fn of(path: &Path) -> io::Result<FileState> {
        let facts = fs::metadata(path)?;
        Ok(FileState {
            inode: facts.ino(),
            bytes: facts.size(),
            written: (facts.mtime(), facts.mtime_nsec()),
        })
    }
}

impl Inventory {
    pub(super) fn of(folder: &Path) -> Result<Inventory, String> {
        let mut inventory = Inventory::default();
        let entries = fs::read_dir(folder);
        let entries = entries.map_err(|error| format!("{}: {error}", folder.display()))?;
        let mut folders = vec![entries];
        while let Some(entries) = folders.pop() {
            for entry in entries.flatten().filter(is_source) {
                let path = entry.path();
                // Links to folders are not followed: they may lead in circles.
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    folders.extend(fs::read_dir(&path));
                } else if let Ok(state) = FileState::of(&path) {
                    inventory.files.insert(path, state);
                }
                // What has gone meanwhile is missing, and that is a change.
            }
            if inventory.files.len() > FILES_MAX {
                return Err(format!(
                    "{}: more than {FILES_MAX} files; name the folder of one plugin",
                    folder.display()
                ));
            }
        }
        Ok(inventory)
    }
}

fn is_source(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let Some(text) = name.to_str() else {
        return true;
    };
    // Editors put their own files beside the others, and begin or end their names so.
    let is_foreign = text.starts_with(['.', '#']) || text.ends_with('~');
    let ending = Path::new(text)
        .extension()
        .and_then(|ending| ending.to_str());
    let is_built = BUILT_FOLDERS.contains(&text)
        || ending.is_some_and(|ending| BUILT_ENDINGS.contains(&ending));
    !is_foreign && !is_built
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_changes_is_noticed_and_what_a_build_makes_is_not() {
        let scratch = super::super::Scratch::new().expect("a folder");
        let folder = scratch.path();
        for made in ["src/deep", "build", "target/debug", ".git"] {
            fs::create_dir_all(folder.join(made)).expect("a folder");
        }
        fs::write(folder.join("src/deep/a.rs"), "one").expect("written");
        let mut before = Inventory::of(folder).expect("a folder");
        for (path, is_source) in [
            ("src/deep/a.rs", true),
            ("src/b.rs", true),
            ("Makefile", true),
            ("build/x.c", false),
            ("target/debug/x.rs", false),
            (".git/index", false),
            ("src/.b.rs.swp", false),
            ("src/b.rs~", false),
            ("x.so", false),
            ("x.o", false),
            ("Cargo.lock", false),
        ] {
            fs::write(folder.join(path), path).expect("written");
            let after = Inventory::of(folder).expect("a folder");
            assert_eq!(after != before, is_source, "{path}");
            before = after;
        }
        fs::remove_file(folder.join("src/b.rs")).expect("it was there");
        assert_ne!(Inventory::of(folder), Ok(before));
        assert!(Inventory::of(&folder.join("none")).is_err());
    }
}
