//! A folder for one daemon under test, and the configuration in it.
//!
//! Invariant: it goes with its value, and a configuration in it is whole at any moment.

use std::fs;
use std::path::{Path, PathBuf};

/// A directory that goes with its value. It lies below the system's temporary folder, which every
/// user may pass, and whose path is short enough for sockets.
pub struct Directory(PathBuf);

impl Directory {
    pub fn new(name: &str) -> Directory {
        let name = format!("polyport-test-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a directory for the test");
        Directory(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Beside what the case says, where the daemon keeps its things.
pub(super) fn write_config(directory: &Directory, config: &str) -> PathBuf {
    let path = directory.path();
    let file = path.join("polyport.toml");
    let own = format!(
        "[daemon]\nrun_dir = {run:?}\nstate_dir = {state:?}\nplugin_dir = {plugins:?}\n",
        run = path.join("run"),
        state = path.join("state"),
        plugins = super::plugins::folder(),
    );
    // A case that writes [daemon] itself adds to this table.
    let text = match config.strip_prefix("[daemon]\n") {
        Some(rest) => format!("{own}{rest}"),
        None => format!("{own}{config}"),
    };
    // A daemon may be reading it.
    let next = path.join("polyport.next");
    fs::write(&next, text).expect("the configuration is written");
    fs::rename(&next, &file).expect("and in place");
    file
}
