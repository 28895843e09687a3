//! `polyport doctor`: what this system offers, and what it makes of what is configured.
//!
//! Findings are facts with a remedy; nothing is changed and no daemon is needed but for `sockopts`.
//! A configuration that cannot be read is a finding like any other.

use std::fmt::{self, Write};

use clap::Subcommand;
use serde::Serialize;

use super::running::{PATIENCE, not_understood};
use super::{Daemon, Output, fail, lines, say_json};
use crate::channel::CheckBrief;
use crate::control::{Request, SocketOptions, client};
use crate::exit;
use crate::plan;
use crate::terminal::{complain, say};

mod services;
mod system;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// List every socket option of every listener, beside the system's default
    ///
    /// Asks the running daemon, which holds the sockets. Options that nobody can read are listed too.
    Sockopts {
        /// Only this service's
        service: Option<String>,
        #[command(flatten)]
        daemon: Daemon,
        #[command(flatten)]
        output: Output,
    },
}

/// What was looked at, and what is to be done about it.
#[derive(Debug, Serialize)]
struct Finding {
    what: String,
    found: String,
    /// `None` if all is well.
    fix: Option<String>,
}

impl Finding {
    fn fine(what: impl Into<String>, found: impl Into<String>) -> Finding {
        Finding {
            what: what.into(),
            found: found.into(),
            fix: None,
        }
    }

    fn wrong(what: impl Into<String>, found: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding {
            fix: Some(fix.into()),
            ..Finding::fine(what, found)
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.fix.is_some() { '!' } else { ' ' };
        writeln!(f, "{mark} {:<28} {}", self.what, self.found)?;
        match &self.fix {
            Some(fix) => writeln!(f, "    fix: {fix}"),
            None => Ok(()),
        }
    }
}

pub(super) fn run(verb: Option<Verb>, sources: &CheckBrief, output: Output) -> u8 {
    match verb {
        Some(Verb::Sockopts {
            service,
            daemon,
            output,
        }) => socket_options(service, &daemon, output.json),
        None => examine(sources, output.json),
    }
}

fn examine(sources: &CheckBrief, json: bool) -> u8 {
    let mut findings = system::findings();
    match plan::run_check(sources) {
        Ok(plan) => findings.extend(services::findings(&plan)),
        Err(complaints) => findings.push(Finding::wrong(
            "configuration",
            lines(&complaints).replace('\n', "; "),
            "mend it; `polyport check` says the same, line by line",
        )),
    }
    // The last: it closes in the one who looks.
    findings.push(system::sandbox());
    let code = match findings.iter().any(|finding| finding.fix.is_some()) {
        true => exit::DEGRADED,
        false => exit::DONE,
    };
    if json {
        return say_json(code, &findings);
    }
    let mut page = String::new();
    for finding in &findings {
        let _ = write!(page, "{finding}");
    }
    say(code, &page)
}

fn socket_options(service: Option<String>, daemon: &Daemon, json: bool) -> u8 {
    let request = Request::SocketOptions { service };
    let answer = match client::ask(&daemon.control_socket(), &request, PATIENCE) {
        Ok((answer, _)) => answer,
        Err(failure) => return fail(&failure, json),
    };
    if json {
        return say_json(exit::DONE, &answer);
    }
    match serde_json::from_value::<SocketOptions>(answer) {
        Ok(page) => say(exit::DONE, &page.to_string()),
        Err(error) => complain(exit::FAILED, &not_understood(&error)),
    }
}
