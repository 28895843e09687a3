//! The trials behind `polyport plugins check`: each in a probe of its own, and a report of all.
//!
//! A plugin that breaks a rule would be loaded all the same, so this judges nothing else. Invariant:
//! each rule is in the report, whatever became of the others.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::one_service;
use crate::channel::{Depth, Rule, TRIAL_BYTES_MAX, Trial};
use crate::control::client::Failure;
use crate::exit;
use crate::plan::Descriptor;

/// What peers say if nobody has given anything better: lines, an empty one, a request of the web.
const INPUTS: [&str; 3] = [
    "\r\n",
    "hello\r\nhow are you?\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
];

#[derive(Debug, Serialize)]
pub(super) struct Kept {
    name: &'static str,
    promise: &'static str,
    /// What broke it.
    problem: Option<String>,
}

/// What peers are to say: a file a session.
pub(super) fn inputs(files: &[PathBuf]) -> Result<Vec<Vec<u8>>, Failure> {
    if files.is_empty() {
        return Ok(INPUTS.map(|text| text.as_bytes().to_vec()).into());
    }
    let failed = |file: &Path, text: &str| Failure {
        exit: exit::FAILED,
        text: format!("--input {}: {text}", file.display()),
    };
    let read = |file: &PathBuf| {
        let bytes = std::fs::read(file).map_err(|error| failed(file, &error.to_string()))?;
        match bytes.len() {
            ..=TRIAL_BYTES_MAX => Ok(bytes),
            more => {
                let text = format!("{more} bytes; give at most {TRIAL_BYTES_MAX}");
                Err(failed(file, &text))
            }
        }
    };
    files.iter().map(read).collect()
}

/// Every rule, for a plugin that the daemon would take.
pub(super) fn hold(
    plugin: &Path,
    descriptor: &Descriptor,
    settings: &[String],
    inputs: &[Vec<u8>],
) -> Vec<Kept> {
    let hold = |rule: Rule| {
        let trial = Trial {
            rule,
            inputs: inputs.to_vec(),
        };
        let depth = Depth::Conformance(trial);
        let tried = one_service::probe_spoken(plugin, descriptor, settings, depth);
        Kept {
            name: rule.name(),
            promise: rule.promise(),
            problem: tried.err(),
        }
    };
    Rule::ALL.map(hold).into()
}

pub(super) fn conforms(rules: &[Kept]) -> bool {
    rules.iter().all(|rule| rule.problem.is_none())
}

pub(super) fn page(rules: &[Kept]) -> String {
    let mut page = String::new();
    for rule in rules {
        let Kept {
            name,
            promise,
            problem,
        } = rule;
        let verdict = if problem.is_none() { "ok" } else { "BROKEN" };
        let _ = writeln!(page, "  {verdict:<7} {name:<8} {promise}");
        for line in problem.iter().flat_map(|text| text.lines()) {
            let _ = writeln!(page, "          {line}");
        }
    }
    page
}
