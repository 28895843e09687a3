//! What is wrong with a configuration, said to the administrator: place, problem, hint.
//!
//! A complaint is a value, not an error that ends anything: reading goes on after it, so that one
//! check shows everything there is to mend. It is text of our own making; whatever it quotes from a
//! file is cut short and has its control characters escaped.
//!
//! Invariant: `file` is never empty, and the display of a complaint is one line.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Complaints shown for one configuration; further ones are counted in a last one.
pub const COMPLAINTS_MAX: usize = 200;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Complaint {
    /// A path, "command line" or "environment NAME".
    pub file: String,
    pub line: Option<u32>,
    /// Dotted, "services.echo.workers".
    pub key: Option<String>,
    pub problem: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Complaint {
    pub fn at(place: &Place, key: &str, fault: Fault) -> Complaint {
        Complaint {
            file: place.file.to_string(),
            line: place.line,
            key: Some(key.to_owned()),
            problem: fault.problem,
            hint: fault.hint,
        }
    }

    /// About a file as a whole, or about a line that is no key yet.
    pub fn of_file(file: &str, line: Option<u32>, fault: Fault) -> Complaint {
        Complaint {
            file: file.to_owned(),
            line,
            key: None,
            problem: fault.problem,
            hint: fault.hint,
        }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(key) = &self.key {
            write!(f, ": {key}")?;
        }
        write!(f, ": {}", self.problem)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// A problem before its place is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub problem: String,
    pub hint: Option<String>,
}

impl Fault {
    pub fn new(problem: impl Into<String>) -> Fault {
        Fault {
            problem: problem.into(),
            hint: None,
        }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Fault {
        self.hint = Some(hint.into());
        self
    }
}

/// Where something was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub file: Arc<str>,
    pub line: Option<u32>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.file),
            None => f.write_str(&self.file),
        }
    }
}

/// Dotted key → where its value was written; elements of a list as "services.echo.listen[0]".
pub type Places = BTreeMap<String, Place>;

/// Text from a file or a peer of ours, fit for a one-line message.
pub(crate) fn shown(text: &str) -> String {
    const SHOWN_MAX: usize = 60;
    let mut out = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == SHOWN_MAX {
            out.push('…');
            break;
        }
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_one_line_with_place_key_problem_and_hint() {
        let place = Place {
            file: "polyport.toml".into(),
            line: Some(12),
        };
        let fault = Fault::new("unknown key").hint("did you mean \"workers\"?");
        let complaint = Complaint::at(&place, "services.echo.workres", fault);
        assert_eq!(
            complaint.to_string(),
            "polyport.toml:12: services.echo.workres: unknown key; did you mean \"workers\"?"
        );
        let bare = Complaint::of_file("x.toml", None, Fault::new("no such file"));
        assert_eq!(bare.to_string(), "x.toml: no such file");
    }

    #[test]
    fn quoted_text_is_short_and_without_control_characters() {
        assert_eq!(shown("a\nb\x1b[2J"), "a\\nb\\u{1b}[2J");
        assert_eq!(shown(&"x".repeat(1000)).chars().count(), 61);
    }
}
