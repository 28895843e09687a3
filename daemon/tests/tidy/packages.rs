//! The policy for what others wrote: where it comes from and under which licence.
//!
//! Sources are read from the lock file, which names every package for every platform. Licences are
//! asked of cargo, offline, for the platform that this was built for. It judges neither the need for
//! a package nor its quality: that is a person's work.

use std::collections::BTreeSet;
use std::process::Command;

use crate::tree::{Finding, Source, root};

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";
/// Licences that let the daemon be given away as "MIT OR Apache-2.0" with notices kept.
const LICENCES: [&str; 11] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    // A changed file of theirs stays under it; ours do not come under it.
    "MPL-2.0",
    "Unicode-3.0",
    "Zlib",
];

pub(crate) fn sources(lock: &Source) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut lines = lock.text.lines().zip(1..).peekable();
    while let Some((line, number)) = lines.next() {
        let Some(from) = line.strip_prefix("source = ") else {
            continue;
        };
        if from.trim_matches('"') != REGISTRY {
            found.push(lock.finding(number, format!("{from} is not the registry we trust")));
            continue;
        }
        let checksum = lines
            .peek()
            .is_some_and(|(next, _)| next.starts_with("checksum = "));
        if !checksum {
            found.push(lock.finding(number, "a package without a checksum may change"));
        }
    }
    found
}

/// "name version" and licence of each package that this build uses. The lock names more: what a package
/// would use with features that nobody asks for.
pub(crate) fn licences() -> Vec<(String, String)> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--workspace"])
        .args(["--edges", "normal,build,dev", "--prefix", "none"])
        .args(["--format", "{p}|{l}"])
        .current_dir(root())
        .output();
    let output = output.expect("the cargo that runs this test can be run");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo tree: {complaint}");
    let text = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
    // "name v1.2.3 (where it is)|MIT (*)": the mark is of what was listed before.
    let package = |line: &str| {
        let (package, licence) = line.split_once('|')?;
        let name = package.split_whitespace().take(2).collect::<Vec<_>>();
        let licence = licence.trim_end_matches(" (*)");
        Some((name.join(" "), licence.to_owned()))
    };
    let all: BTreeSet<_> = text.lines().filter_map(package).collect();
    all.into_iter().collect()
}

/// An expression of licences: OR needs one of them, AND all; an exception only adds rights.
pub(crate) fn is_taken(expression: &str) -> bool {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let (taken, rest) = any_of(&words);
    taken && rest.is_empty()
}

fn any_of<'a>(words: &'a [&'a str]) -> (bool, &'a [&'a str]) {
    let (mut taken, mut rest) = all_of(words);
    while let ["OR", after @ ..] = rest {
        let (next, after) = all_of(after);
        (taken, rest) = (taken | next, after);
    }
    (taken, rest)
}

fn all_of<'a>(words: &'a [&'a str]) -> (bool, &'a [&'a str]) {
    let (mut taken, mut rest) = one(words);
    while let ["AND", after @ ..] = rest {
        let (next, after) = one(after);
        (taken, rest) = (taken & next, after);
    }
    (taken, rest)
}

fn one<'a>(words: &'a [&'a str]) -> (bool, &'a [&'a str]) {
    match words {
        ["(", inside @ ..] => {
            let (taken, rest) = any_of(inside);
            match rest {
                [")", after @ ..] => (taken, after),
                unclosed => (false, unclosed),
            }
        }
        [licence, "WITH", _, after @ ..] | [licence, after @ ..] => {
            (LICENCES.contains(licence), after)
        }
        [] => (false, words),
    }
}
