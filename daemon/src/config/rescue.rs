//! `daemon.run_dir` from a configuration that may be broken everywhere else.
//!
//! Operators reach a running daemon through its run directory, and need that most when somebody has
//! just broken the file. The same layers are read and all complaints ignored; if the main file is
//! beyond the parser, its lines are searched.
//!
//! Invariant: an answer always comes; it is the one a daemon started from this file would use
//! whenever the file is sound.

use std::path::{Path, PathBuf};

use super::layers::read;
use super::sources::{Sources, Surroundings, gather};

pub fn run_dir(sources: &Sources, surroundings: &Surroundings) -> PathBuf {
    let config = read(sources, surroundings);
    let broken = config.files.iter().any(|(_, broken)| *broken);
    if broken && !config.places.contains_key("daemon.run_dir") {
        let texts = gather(sources).texts;
        let found = texts.iter().rev().find_map(|text| searched(&text.text));
        return found.unwrap_or(config.daemon.run_dir);
    }
    config.daemon.run_dir
}

/// The last line that says so in a section `[daemon]`.
fn searched(text: &str) -> Option<PathBuf> {
    let mut in_daemon = false;
    let mut found = None;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            in_daemon = line.trim_matches(['[', ']', ' ']) == "daemon";
        }
        let key = if in_daemon {
            "run_dir"
        } else {
            "daemon.run_dir"
        };
        let Some(value) = line.strip_prefix(key).map(str::trim_start) else {
            continue;
        };
        let Some(value) = value.strip_prefix('=').map(str::trim_start) else {
            continue;
        };
        let value = value.trim_start_matches(['"', '\'']);
        let end = value.find(['"', '\'', '#']).unwrap_or(value.len());
        let path = Path::new(value[..end].trim_end());
        if path.is_absolute() {
            found = Some(path.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(inline: &str, overrides: &[&str]) -> PathBuf {
        let sources = Sources {
            inline: Some(inline.to_owned()),
            overrides: overrides.iter().map(|text| (*text).to_owned()).collect(),
            ..Sources::default()
        };
        run_dir(&sources, &Surroundings::default())
    }

    #[test]
    fn the_run_directory_survives_a_broken_file() {
        let junk = "x = = 1\n[".repeat(100);
        let cases = [
            ("", "/run/polyport"),
            ("[daemon]\nrun_dir = \"/a\"\n", "/a"),
            ("[daemon]\nrun_dir = \"/a\"\nuser = 3\n[nonsense]\n", "/a"),
            ("[daemon]\nrun_dir = \"/a\"\nx = \"open\n", "/a"),
            ("[daemon]\nrun_dir = \"/a\nuser = \"x\"\n", "/a"),
            ("[daemon]\nrun_dir = '/a' # here\nrun_dir = \"/b\"\n", "/a"),
            ("[daemon\nrun_dir = \"/a\"\n", "/a"),
            ("[daemon]\nrun_dir = 7\n", "/run/polyport"),
            ("[daemon]\nrun_dir = \"here\"\n", "/run/polyport"),
        ];
        for (text, expected) in cases {
            assert_eq!(from(text, &[]), Path::new(expected), "{text}");
        }
        let buried = format!("{junk}\n[daemon]\nrun_dir = \"/a\"\n{junk}");
        assert_eq!(from(&buried, &[]), Path::new("/a"));
    }

    #[test]
    fn the_command_line_wins_however_broken_the_file_is() {
        let text = "[daemon]\nrun_dir = \"/a\nrun_dir =\n";
        assert_eq!(from(text, &["daemon.run_dir=/b"]), Path::new("/b"));
    }
}
