//! What a daemon that was ended in order may leave behind: its lock's file, its state, and nothing else.
//!
//! It looks where something could be left: the daemon's folders, and what every process of the machine
//! that can be looked at has open. What belongs to another daemon is told apart by its folder.
//!
//! Invariant: it removes nothing, so what it finds can be looked at.

use std::fs;
use std::path::{Path, PathBuf};

/// In the folder of the daemon's run and state directories; empty if all is as it should be.
pub fn left_over(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let in_run = names(&directory.join("run")).into_iter();
    found.extend(in_run.filter(|name| name != "polyport.lock"));
    let stored = names(&directory.join("state/plugins")).into_iter();
    found.extend(stored.filter(|name| name.starts_with('.')));
    let state = names(&directory.join("state")).into_iter();
    found.extend(state.filter(|name| name.ends_with(".new") || name.ends_with(".tmp")));
    found.extend(holders(directory));
    found
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.collect()
}

/// Processes, but this one, that have a file there open, or mapped, or are there.
fn holders(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir("/proc").expect("procfs");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let mut held = Vec::new();
    for pid in pids.filter(|pid| *pid != std::process::id()) {
        let root = PathBuf::from(format!("/proc/{pid}"));
        let open = fs::read_dir(root.join("fd")).into_iter().flatten();
        let links = open.filter_map(|entry| Some(entry.ok()?.path()));
        let links = links.chain(["cwd", "exe"].map(|name| root.join(name)));
        let places: Vec<PathBuf> = links.filter_map(|link| fs::read_link(link).ok()).collect();
        let maps = fs::read_to_string(root.join("maps")).unwrap_or_default();
        let place = directory.to_string_lossy().into_owned() + "/";
        if places.iter().any(|to| to.starts_with(directory)) || maps.contains(&place) {
            let words = fs::read_to_string(root.join("cmdline")).unwrap_or_default();
            held.push(format!(
                "process {pid} ({}) {places:?}",
                words.replace('\0', " ")
            ));
        }
    }
    held
}
