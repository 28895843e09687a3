//! `polyport new-plugin`: a folder with a plugin in it that builds, passes its test and serves.
//!
//! Everything that the folder needs lies in this binary, so neither a source tree nor a network is
//! needed; a compiler is. Nothing is built here, and nothing outside the new folder is touched.
//! Invariant: a folder is made whole or not at all, and one that is there already is left alone.

mod sources;

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::exit;
use crate::terminal::{complain, say};
use sources::Source;

/// As for a service, which is usually called after its plugin.
const NAME_BYTES_MAX: usize = 32;

#[derive(Args, Debug)]
pub(super) struct NewPlugin {
    /// What it is to be called, and its folder: small letters, digits and single "-"
    #[arg(value_parser = name)]
    name: String,
    /// What it is written in
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    lang: Language,
    /// How it serves: all sessions on one event loop, each on a thread that may wait, or datagrams
    #[arg(long, value_enum, default_value_t = Style::Event)]
    style: Style,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Language {
    Rust,
    C,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Style {
    Event,
    Blocking,
    Datagram,
}

pub(super) fn run(wish: &NewPlugin) -> u8 {
    let folder = Path::new(&wish.name);
    if folder.symlink_metadata().is_ok() {
        let text = format!(
            "{} is there already; remove it, or choose another name",
            folder.display()
        );
        return complain(exit::FAILED, &text);
    }
    let files = sources::of(wish.lang, wish.style, &wish.name, &program());
    match lay_down(folder, &files) {
        Ok(()) => say(exit::DONE, &page(wish)),
        Err(error) => {
            let text = format!("{error}; go to a folder in which you may write");
            complain(exit::FAILED, &text)
        }
    }
}

/// This program, as its Makefile is to call it: what a later shell finds may be another one.
fn program() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| PathBuf::from("polyport"))
}

/// The folder takes its name last, when all is in it.
fn lay_down(folder: &Path, files: &[Source]) -> io::Result<()> {
    let unfinished = PathBuf::from(format!(".{}.{}", folder.display(), std::process::id()));
    let laid = files
        .iter()
        .try_for_each(|file| write(&unfinished.join(&file.path), &file.text))
        .and_then(|()| {
            let renamed = fs::rename(&unfinished, folder);
            renamed.map_err(|error| named(&error, folder))
        });
    if laid.is_err() {
        // Its own error matters less than the one that led here.
        let _ = fs::remove_dir_all(&unfinished);
    }
    laid
}

/// The daemon takes no library from a folder that others can write, whatever the umask.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let above = path.parent().expect("a file lies in the new folder");
    let made = DirBuilder::new().recursive(true).mode(0o755).create(above);
    made.map_err(|error| named(&error, above))?;
    let mut options = OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(0o644).open(path);
    let written = opened.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| named(&error, path))
}

fn named(error: &io::Error, path: &Path) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("cannot make {}: {error}", path.display()),
    )
}

fn page(wish: &NewPlugin) -> String {
    let NewPlugin { name, lang, style } = wish;
    let source = sources::main_file(*lang, name);
    let try_it = match style {
        Style::Event | Style::Blocking => "nc 127.0.0.1 4000",
        Style::Datagram => "nc -u 127.0.0.1 4000",
    };
    format!(
        "made {name}: start reading at {name}/{source}\n  \
         make -C {name} test    builds and tests it\n  \
         make -C {name} try     serves it; then, from elsewhere: {try_it}\n  \
         make -C {name} dev     the same, and again whenever a file there changes\n"
    )
}

fn name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let ends_well = !text.ends_with('-') && text.starts_with(|c: char| c.is_ascii_lowercase());
    if !text.chars().all(plain) || !ends_well || text.contains("--") {
        return Err(
            "small letters, digits and single \"-\" between them, beginning with a letter".into(),
        );
    }
    if text.len() > NAME_BYTES_MAX {
        return Err(format!("at most {NAME_BYTES_MAX} characters"));
    }
    if text == "plugin" {
        return Err("the SDK's package is called that; choose another name".into());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_suits_a_service_a_folder_and_a_package() {
        for (text, is_good) in [
            ("finger", true),
            ("line-chat2", true),
            ("fn", true),
            ("", false),
            ("Finger", false),
            ("2fast", false),
            ("a--b", false),
            ("a-", false),
            ("a/b", false),
            ("..", false),
            ("plugin", false),
            ("a2345678901234567890123456789012", true),
            ("a23456789012345678901234567890123", false),
        ] {
            assert_eq!(name(text).is_ok(), is_good, "{text:?}");
        }
    }

    #[test]
    fn every_mark_of_a_template_is_filled_in() {
        for lang in [Language::Rust, Language::C] {
            for style in [Style::Event, Style::Blocking, Style::Datagram] {
                let files = sources::of(lang, style, "a-b", Path::new("/x/polyport"));
                for Source { path, text } in &files {
                    let is_mark = |word: &str| {
                        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_uppercase())
                    };
                    // A word between two of them; recipes of a Makefile begin with one.
                    let left = text.split('@').skip(1).find(|word| is_mark(word));
                    assert_eq!(left, None, "{}", path.display());
                }
                let main = sources::main_file(lang, "a-b");
                assert!(files.iter().any(|file| file.path == Path::new(&main)));
            }
        }
    }
}
