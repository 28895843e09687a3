//! The source tree as text: which files there are, and what of a file is code.
//!
//! Folders of build output and hidden ones are not entered. Comments and literals are blanked out,
//! not removed, so that a position in the code is a position in the file.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) struct Source {
    /// From the root of the workspace, with '/'.
    pub(crate) path: String,
    pub(crate) text: String,
    /// `text` with comments and literals blanked out.
    pub(crate) code: String,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)
    }
}

#[derive(Debug)]
pub(crate) struct Finding {
    path: String,
    pub(crate) line: usize,
    text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.text)
    }
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Source {
        let code = if path.ends_with(".rs") {
            code_of(text)
        } else {
            text.to_owned()
        };
        Source {
            path: path.to_owned(),
            text: text.to_owned(),
            code,
        }
    }

    pub(crate) fn finding(&self, line: usize, text: impl Into<String>) -> Finding {
        Finding {
            path: self.path.clone(),
            line,
            text: text.into(),
        }
    }

    /// The line that a position in `text` or `code` is on, from 1.
    pub(crate) fn line_at(&self, position: usize) -> usize {
        self.code[..position].matches('\n').count() + 1
    }

    /// Where these whole words stand in the code.
    pub(crate) fn words(&self, word: &str) -> Vec<usize> {
        let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let starts = self.code.match_indices(word).map(|(at, _)| at);
        let whole = starts.filter(|at| {
            let before = self.code[..*at].chars().next_back();
            let after = self.code[at + word.len()..].chars().next();
            !is_word(before) && !is_word(after)
        });
        whole.collect()
    }
}

pub(crate) fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package
        .parent()
        .expect("the package lies in the workspace")
        .to_owned()
}

pub(crate) fn read(path: &str) -> Source {
    let text = fs::read_to_string(root().join(path));
    Source::new(
        path,
        &text.unwrap_or_else(|error| panic!("{path}: {error}")),
    )
}

/// All files whose name ends so, in order of their paths.
pub(crate) fn sources(extension: &str) -> Vec<Source> {
    let mut paths = Vec::new();
    walk(&root(), &mut paths);
    let fits = |path: &PathBuf| path.extension().is_some_and(|e| e == extension);
    let mut paths: Vec<PathBuf> = paths.into_iter().filter(fits).collect();
    paths.sort();
    let relative = |path: &Path| {
        let path = path
            .strip_prefix(root())
            .expect("the walk began at the root");
        path.to_str().expect("our file names are UTF-8").to_owned()
    };
    paths.iter().map(|path| read(&relative(path))).collect()
}

fn walk(folder: &Path, paths: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    for entry in entries {
        let entry = entry.expect("a folder of the source tree can be listed");
        let name = entry.file_name();
        let hidden = name.as_encoded_bytes().starts_with(b".");
        let kind = entry.file_type().expect("an entry has a type");
        if kind.is_dir() && !hidden && name != "target" {
            walk(&entry.path(), paths);
        } else if kind.is_file() && !hidden {
            paths.push(entry.path());
        }
    }
}

/// Blanks out comments, strings and character literals.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let blank = literal_or_comment(rest, code.chars().next_back());
        if blank == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            let (gone, after) = rest.split_at(blank);
            let spaces = gone
                .bytes()
                .map(|byte| if byte == b'\n' { '\n' } else { ' ' });
            code.extend(spaces);
            rest = after;
        }
    }
    code
}

/// How many bytes of one begin here; 0 if none does.
fn literal_or_comment(rest: &str, before: Option<char>) -> usize {
    let end_of = |pattern: &str| {
        rest.find(pattern)
            .map_or(rest.len(), |at| at + pattern.len())
    };
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return end_of("*/");
    }
    if rest.starts_with('"') {
        return quoted(rest, '"');
    }
    let in_a_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let raw = rest
        .trim_start_matches(['b', 'c'])
        .strip_prefix('r')
        .filter(|_| !in_a_word);
    if let Some(raw) = raw {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let open = rest.len() - raw.len() + hashes + 1;
            let close = format!("\"{}", "#".repeat(hashes));
            return rest[open..]
                .find(&close)
                .map_or(rest.len(), |at| open + at + close.len());
        }
    }
    // A lifetime has no second quote two characters on.
    let mut characters = rest.chars();
    match (characters.next(), characters.next(), characters.next()) {
        (Some('\''), Some('\\'), _) => quoted(rest, '\''),
        (Some('\''), Some(_), Some('\'')) => quoted(rest, '\''),
        _ => 0,
    }
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

#[test]
fn comments_and_literals_are_no_code() {
    for (text, code) in [
        ("a // b\nc", "a     \nc"),
        ("a /* b\n */ c", "a     \n    c"),
        (r#"f("a \" b", c)"#, "f(        , c)"),
        (r##"f(r#"a " b"#, c)"##, "f(          , c)"),
        (
            "x: &'a str = 'b', '\\'', '\"'",
            "x: &'a str =    ,     ,    ",
        ),
        ("'\u{e4}' + a", "     + a"),
        ("bar\"x\"", "bar   "),
    ] {
        assert_eq!(code_of(text), code, "{text}");
    }
}
