//! How a change went: the document of `reload`, `rollback` and `reload --last`.
//!
//! The document only ever grows; a field keeps its name and its meaning.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use serde::{Deserialize, Serialize};

use crate::exit;
use crate::plan::Step;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadOutcome {
    /// Who wanted it.
    pub cause: String,
    pub dry_run: bool,
    /// One of the fixed exit codes.
    pub exit: u8,
    /// What came of it; why not, with a remedy, if nothing did.
    pub text: String,
    /// By service; empty if it was rejected.
    pub steps: BTreeMap<String, Step>,
    /// On the clock that `uptime_s` of the status counts.
    pub at_ms: u64,
}

impl ReloadOutcome {
    /// Into the log, one line for each thing.
    pub fn log(&self) {
        let cause = &self.cause;
        if self.exit != exit::DONE {
            let text = self.text.replace("\n  fix:", "; fix:");
            for line in text.lines() {
                tracing::error!("{cause}: rejected, nothing was changed: {line}");
            }
            return;
        }
        tracing::info!("{cause}: {}", self.text);
        for (name, step) in self.steps.iter().filter(|(_, step)| step.is_change()) {
            tracing::info!("{name}: {step}");
        }
    }
}

impl fmt::Display for ReloadOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut page = String::new();
        let _ = writeln!(page, "{}: {}", self.cause, self.text);
        for (name, step) in &self.steps {
            let _ = writeln!(page, "  {name:<16} {step}");
        }
        f.write_str(&page)
    }
}
