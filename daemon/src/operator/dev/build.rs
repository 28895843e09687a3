//! From a folder to a library, by the author's own build.
//!
//! What compilers say goes to the terminal as they say it. Which file came out is cargo's word, or
//! for make the one library in `build` or beside the Makefile.
//!
//! Invariant: a build that is interrupted leaves no process behind that this one started.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::interrupt::Interrupt;

/// Between two looks whether the build is done.
const BUILD_LOOK_MS: u64 = 50;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Builder {
    Cargo,
    Make,
}

#[derive(Debug)]
pub(super) enum Unbuilt {
    Interrupted,
    Failed(String),
}

impl From<String> for Unbuilt {
    fn from(text: String) -> Unbuilt {
        Unbuilt::Failed(text)
    }
}

impl Builder {
    pub(super) fn of(folder: &Path) -> Result<Builder, String> {
        for (file, builder) in [
            ("Cargo.toml", Builder::Cargo),
            ("Makefile", Builder::Make),
            ("GNUmakefile", Builder::Make),
        ] {
            if folder.join(file).is_file() {
                return Ok(builder);
            }
        }
        Err(format!(
            "{}: neither a Cargo.toml nor a Makefile; `polyport new-plugin NAME` makes a folder with one",
            folder.display()
        ))
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            Builder::Cargo => "cargo build",
            Builder::Make => "make",
        }
    }

    /// The library that came of it.
    pub(super) fn build(
        self,
        folder: &Path,
        scratch: &Path,
        interrupt: &mut Interrupt,
    ) -> Result<PathBuf, Unbuilt> {
        let words = self.words();
        let failed = |error: io::Error| format!("`{words}`: {error}");
        let mut command = Command::new(match self {
            Builder::Cargo => "cargo",
            Builder::Make => "make",
        });
        command.current_dir(folder).stdin(Stdio::null());
        // Of a make that this was started from, whose jobs are not ours.
        for name in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL"] {
            command.env_remove(name);
        }
        let messages = scratch.join("cargo.json");
        if self == Builder::Cargo {
            command.args(["build", "--message-format=json-render-diagnostics"]);
            // A file and not a pipe: nobody has to read while it works.
            command.stdout(File::create(&messages).map_err(failed)?);
        }
        let status = end_of(command, interrupt).map_err(failed)?;
        let status = status.ok_or(Unbuilt::Interrupted)?;
        if !status.success() {
            return Err(format!("`{words}` failed: {status}").into());
        }
        let library = match self {
            Builder::Cargo => {
                let text = fs::read_to_string(&messages).map_err(failed)?;
                cargo_library(&text, &folder.join("Cargo.toml"))
            }
            Builder::Make => make_library(folder),
        };
        Ok(library?)
    }
}

/// `None` if it was interrupted.
fn end_of(mut command: Command, interrupt: &mut Interrupt) -> io::Result<Option<ExitStatus>> {
    let mut child = command.spawn()?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if interrupt.comes_within(Duration::from_millis(BUILD_LOOK_MS)) {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
    }
}

/// What cargo says of the package in this folder: one JSON document a line.
fn cargo_library(messages: &str, manifest: &Path) -> Result<PathBuf, String> {
    let is_ours = |message: &Value| {
        let kinds = message["target"]["crate_types"].as_array();
        message["reason"] == "compiler-artifact"
            && message["manifest_path"].as_str().map(Path::new) == Some(manifest)
            && kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind == "cdylib"))
    };
    let messages = messages
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let files = messages
        .filter(is_ours)
        .flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default());
    let mut libraries = files
        .filter_map(|file| file.as_str().map(PathBuf::from))
        .filter(|file| is_library(file));
    libraries.next().ok_or_else(|| {
        "cargo has built no library for a daemon; Cargo.toml needs: [lib] crate-type = [\"cdylib\"]"
            .to_owned()
    })
}

fn make_library(folder: &Path) -> Result<PathBuf, String> {
    for place in [folder.join("build"), folder.to_owned()] {
        let entries = fs::read_dir(&place).into_iter().flatten().flatten();
        let files = entries.map(|entry| entry.path());
        let mut libraries: Vec<PathBuf> = files.filter(|file| is_library(file)).collect();
        match libraries.len() {
            0 => {}
            1 => return Ok(libraries.remove(0)),
            count => {
                let place = place.display();
                return Err(format!(
                    "{place}: {count} libraries; one plugin a folder: remove what is not it"
                ));
            }
        }
    }
    Err("make has left no library (*.so), neither in `build` nor beside the Makefile".to_owned())
}

fn is_library(file: &Path) -> bool {
    file.extension().is_some_and(|ending| ending == "so")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_the_one_of_this_package() {
        let message = |reason: &str, manifest: &str, kind: &str, file: &str| {
            serde_json::json!({
                "reason": reason, "manifest_path": manifest,
                "target": { "crate_types": [kind] }, "filenames": [file],
            })
            .to_string()
        };
        let lines = [
            "no JSON".to_owned(),
            message(
                "compiler-artifact",
                "/x/sdk/Cargo.toml",
                "cdylib",
                "/x/t/sdk.so",
            ),
            message("compiler-artifact", "/x/Cargo.toml", "bin", "/x/t/tool"),
            message("build-finished", "/x/Cargo.toml", "cdylib", "/x/t/no.so"),
            message(
                "compiler-artifact",
                "/x/Cargo.toml",
                "cdylib",
                "/x/t/liba.so",
            ),
        ];
        let manifest = Path::new("/x/Cargo.toml");
        let found = cargo_library(&lines.join("\n"), manifest);
        assert_eq!(found, Ok(PathBuf::from("/x/t/liba.so")));
        assert!(cargo_library(&lines[..4].join("\n"), manifest).is_err());
    }

    #[test]
    fn what_make_has_left_is_found_if_it_is_one() {
        let scratch = super::super::Scratch::new().expect("a folder");
        let folder = scratch.path();
        let put = |path: &str| fs::write(folder.join(path), "").expect("written");
        assert!(Builder::of(folder).is_err());
        put("Makefile");
        assert_eq!(Builder::of(folder), Ok(Builder::Make));
        assert!(make_library(folder).is_err());
        put("a.so");
        assert_eq!(make_library(folder), Ok(folder.join("a.so")));
        fs::create_dir(folder.join("build")).expect("made");
        put("build/b.so");
        put("build/b.so.new");
        assert_eq!(make_library(folder), Ok(folder.join("build/b.so")));
        put("build/c.so");
        assert!(make_library(folder).is_err_and(|text| text.contains("2 libraries")));
        put("Cargo.toml");
        assert_eq!(Builder::of(folder), Ok(Builder::Cargo));
    }
}
