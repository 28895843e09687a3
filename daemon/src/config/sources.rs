//! Where configuration comes from, and the reading of its files: bounded, and never stuck.
//!
//! Only regular files are opened, because a pipe would make the reader wait; each up to a size, and
//! up to a number of them. What cannot be read is a complaint about that file, and the others are
//! read all the same. Nothing here looks into the text.
//!
//! Invariant: files come back in the order in which they are layered.

use std::ffi::OsString;
use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::complaint::{Complaint, Fault, shown};

pub const BUILT_IN_FILE: &str = "/etc/polyport/polyport.toml";
const FILE_BYTES_MAX: u64 = 1 << 20;
const FILES_MAX: usize = 1000;

/// Where the configuration is, and what the command line adds to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sources {
    /// The main file; `None` is the built-in path. `conf.d/*.toml` beside it belong to it.
    pub file: Option<PathBuf>,
    /// TOML text that is used instead of all files (`polyport try`).
    pub inline: Option<String>,
    /// "daemon.run_dir=/tmp/x", as `--set` has it; the last layer.
    pub overrides: Vec<String>,
}

/// What else a process brings along: taken once at the edge, so that reading itself is repeatable.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    pub environment: Vec<(OsString, OsString)>,
    /// What relative paths on the command line and in the environment are taken from.
    pub current_dir: PathBuf,
}

impl Surroundings {
    pub fn of_this_process() -> Surroundings {
        Surroundings {
            environment: std::env::vars_os().collect(),
            // A directory that was removed has no name; the root always has one.
            current_dir: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
        }
    }
}

/// One file's text, by the name that complaints use.
pub(super) struct Text {
    pub name: Arc<str>,
    pub text: String,
}

#[derive(Default)]
pub(super) struct Gathered {
    pub texts: Vec<Text>,
    pub complaints: Vec<Complaint>,
}

pub(super) fn gather(sources: &Sources) -> Gathered {
    let mut gathered = Gathered::default();
    if let Some(inline) = &sources.inline {
        gathered.texts.push(Text {
            name: "inline".into(),
            text: inline.clone(),
        });
        return gathered;
    }
    let main = match &sources.file {
        Some(file) => file.as_path(),
        None => Path::new(BUILT_IN_FILE),
    };
    gathered.file(main);
    let folder = main.parent().unwrap_or(Path::new("")).join("conf.d");
    gathered.folder(&folder);
    gathered
}

impl Gathered {
    fn file(&mut self, path: &Path) {
        let name = shown_path(path);
        match read_bounded(path) {
            Ok(bytes) => {
                let text = String::from_utf8(bytes).unwrap_or_else(|error| {
                    let at = error.utf8_error().valid_up_to();
                    let bytes = error.into_bytes();
                    let line = bytes[..at].iter().filter(|b| **b == b'\n').count() + 1;
                    let fault = Fault::new("not valid UTF-8").hint("save the file as UTF-8");
                    self.complain(&name, u32::try_from(line).ok(), fault);
                    // Replacing keeps the lines, so everything else is still checked.
                    String::from_utf8_lossy(&bytes).into_owned()
                });
                self.texts.push(Text {
                    name: name.into(),
                    text,
                });
            }
            Err(fault) => self.complain(&name, None, fault),
        }
    }

    fn folder(&mut self, folder: &Path) {
        let mut paths = Vec::new();
        let listed = fs::read_dir(folder).and_then(|entries| {
            for entry in entries {
                let path = entry?.path();
                let hidden = path
                    .file_name()
                    .is_some_and(|name| name.as_encoded_bytes()[0] == b'.');
                if !hidden && path.extension().is_some_and(|ending| ending == "toml") {
                    paths.push(path);
                }
            }
            Ok(())
        });
        match listed {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            Err(error) => {
                let fault = Fault::new(format!("cannot be listed: {error}"));
                self.complain(&shown_path(folder), None, fault);
            }
        }
        paths.sort();
        if paths.len() > FILES_MAX {
            let problem = format!("{} files, at most {FILES_MAX} are read", paths.len());
            self.complain(&shown_path(folder), None, Fault::new(problem));
            paths.truncate(FILES_MAX);
        }
        for path in paths {
            self.file(&path);
        }
    }

    fn complain(&mut self, file: &str, line: Option<u32>, fault: Fault) {
        self.complaints.push(Complaint::of_file(file, line, fault));
    }
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, Fault> {
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => Fault::new("no such file")
            .hint("name the configuration file with -c FILE, or create it"),
        ErrorKind::PermissionDenied => Fault::new("may not be read")
            .hint("its owner can allow that with chmod, for the user who runs this"),
        _ => Fault::new(format!("cannot be read: {error}")),
    };
    let facts = fs::metadata(path).map_err(failed)?;
    if !facts.is_file() {
        return Err(Fault::new("not a regular file"));
    }
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Fault::new("larger than 1 MiB").hint("is this the configuration file?"));
    }
    Ok(bytes)
}

fn shown_path(path: &Path) -> String {
    let text = path.to_string_lossy();
    // A path is shown whole, so that it can be copied; only what would disturb a terminal changes.
    match text.is_empty() {
        true => "(no name)".to_owned(),
        false if text.chars().any(char::is_control) => shown(&text),
        false => text.into_owned(),
    }
}
