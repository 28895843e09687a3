//! What a plugin is held to beyond being taken: one rule a probe, so that what breaks one of them, or
//! the process, says nothing of the others.
//!
//! Names and words only; the trials themselves are in `plugin_host::conformance`.

use serde::{Deserialize, Serialize};

/// Bytes that a peer of a trial says at most.
pub const TRIAL_BYTES_MAX: usize = 16 * 1024;

/// What of a trial is known when its process has ended.
pub const DIARY_BYTES: usize = 2048;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    pub rule: Rule,
    /// What peers say, a session each.
    pub inputs: Vec<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    Pieces,
    Full,
    Ends,
    Drain,
    Noise,
    Calls,
    Options,
    Threads,
    Leaks,
}

impl Rule {
    pub const ALL: [Rule; 9] = [
        Rule::Pieces,
        Rule::Full,
        Rule::Ends,
        Rule::Drain,
        Rule::Noise,
        Rule::Calls,
        Rule::Options,
        Rule::Threads,
        Rule::Leaks,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Rule::Pieces => "pieces",
            Rule::Full => "full",
            Rule::Ends => "ends",
            Rule::Drain => "drain",
            Rule::Noise => "noise",
            Rule::Calls => "calls",
            Rule::Options => "options",
            Rule::Threads => "threads",
            Rule::Leaks => "leaks",
        }
    }

    /// What a plugin that keeps it does.
    pub fn promise(self) -> &'static str {
        match self {
            Rule::Pieces => "answers the same however the input is cut, a byte at a time as well",
            Rule::Full => "loses nothing when the n-th write finds the output full, for every n",
            Rule::Ends => "bears a peer that finishes, vanishes or stops reading after any byte",
            Rule::Drain => "bears the worker's drain after any byte, and hours of silence",
            Rule::Noise => "neither panics nor breaks a rule on input that means nothing",
            Rule::Calls => {
                "goes on when the n-th call of the host is answered with no more, for every n"
            }
            Rule::Options => {
                "starts, or says why not, with each value at the bounds of its options"
            }
            Rule::Threads => "serves on whichever thread it was made, and calls from no other",
            Rule::Leaks => "gives all memory and descriptors back after hundreds of sessions",
        }
    }
}

/// The end of what a trial has written down, each line behind a line feed and a margin.
pub fn what_happened_last(diary: &str) -> String {
    const SHOWN_LINES: usize = 12;
    let lines: Vec<&str> = diary.lines().collect();
    // The plugin's own process wrote it, so it may be anything.
    let shown = |c: char| if c.is_control() { '?' } else { c };
    let last = lines[lines.len().saturating_sub(SHOWN_LINES)..].iter();
    last.flat_map(|line| "\n  ".chars().chain(line.chars().map(shown)))
        .collect()
}
