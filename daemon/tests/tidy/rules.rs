//! The rules about single files: where unsafe stands, how a file opens, how long it gets, what tests
//! may not do, what a manifest says.

use crate::tree::{Finding, Source};

/// Where `unsafe` may stand, each with the reason.
const PLACES_OF_UNSAFE: [(&str, &str); 5] = [
    ("daemon/src/sys/", "system calls that nix does not wrap"),
    (
        "daemon/src/plugin_host/",
        "pointers that plugins give and take",
    ),
    ("plugin-api/src/abi/", "the raw layouts"),
    (
        "plugin-api/src/glue.rs",
        "the only unsafe file a plugin author depends on",
    ),
    ("plugin-api/src/glue/", "its parts"),
];
const LINES_MAX: usize = 500;

pub(crate) fn places_of_unsafe(source: &Source) -> Vec<Finding> {
    let allowed = PLACES_OF_UNSAFE
        .iter()
        .any(|(place, _)| source.path.starts_with(place));
    if allowed || is_test_folder(&source.path) {
        return Vec::new();
    }
    let found = source.words("unsafe").into_iter();
    found
        .map(|at| source.finding(source.line_at(at), "unsafe has no place in this file"))
        .collect()
}

pub(crate) fn opening(source: &Source) -> Vec<Finding> {
    // A file of one line explains itself.
    let lines = source.text.lines().filter(|line| !line.trim().is_empty());
    if source.text.starts_with("//!") || lines.count() <= 1 {
        return Vec::new();
    }
    vec![source.finding(1, "a file opens with //! and what it is for")]
}

pub(crate) fn length(source: &Source) -> Vec<Finding> {
    let lines = source.text.lines().count();
    if lines <= LINES_MAX {
        return Vec::new();
    }
    let text = format!("{lines} lines, more than {LINES_MAX}: find the noun hiding in it");
    vec![source.finding(LINES_MAX + 1, text)]
}

pub(crate) fn honest_tests(source: &Source) -> Vec<Finding> {
    let tests_from = match source.code.find("#[cfg(test)]") {
        _ if is_test_folder(&source.path) || source.path.ends_with("/tests.rs") => 0,
        Some(at) => at,
        None => source.code.len(),
    };
    let mut found = Vec::new();
    for (word, from, text) in [
        (
            "ignore",
            0,
            "assert today's wrong answer with a note instead of ignoring a test",
        ),
        (
            "should_panic",
            0,
            "assert the error instead of expecting a panic",
        ),
        (
            "sleep",
            tests_from,
            "wait for a stated event instead of sleeping",
        ),
    ] {
        for at in source.words(word).into_iter().filter(|at| *at >= from) {
            let attribute = source.code[..at].trim_end().ends_with("#[");
            if attribute || word == "sleep" {
                found.push(source.finding(source.line_at(at), text));
            }
        }
    }
    found
}

pub(crate) fn finished(source: &Source) -> Vec<Finding> {
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
    ];
    let lines = source.text.lines().zip(1..);
    let unfinished = lines.filter(|(line, _)| marks.iter().any(|mark| line.contains(mark)));
    unfinished
        .map(|(_, number)| source.finding(number, "finish it, or say what is so and why"))
        .collect()
}

pub(crate) fn reasons_of_dependencies(source: &Source) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut in_dependencies = false;
    let mut before = "";
    for (line, number) in source.text.lines().zip(1..) {
        let reasoned = before.trim_start().starts_with('#');
        if let Some(section) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            in_dependencies = section.ends_with("dependencies");
            let single = section
                .rsplit_once('.')
                .is_some_and(|(of, _)| of.ends_with("dependencies"));
            if single && !reasoned {
                found.push(source.finding(number, "a comment above says why this is needed"));
            }
        }
        // Lines inside a value of several lines begin with neither a name nor with " = ".
        let named = line.split_once(" = ").is_some_and(|(name, _)| {
            name.starts_with(|c: char| c.is_alphabetic()) && !name.contains(['"', '{', ' '])
        });
        if in_dependencies && named && !reasoned {
            found.push(source.finding(number, "a comment above says why this is needed"));
        }
        before = line;
    }
    found
}

pub(crate) fn lints(source: &Source) -> Vec<Finding> {
    let is_package = source.text.lines().any(|line| line == "[package]");
    let mut after = source
        .text
        .lines()
        .skip_while(|line| *line != "[lints]")
        .skip(1);
    if !is_package || after.next() == Some("workspace = true") {
        return Vec::new();
    }
    vec![source.finding(1, "[lints] with workspace = true is missing")]
}

fn is_test_folder(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/")
}
