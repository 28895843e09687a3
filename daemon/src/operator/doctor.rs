//! `polyport doctor`: what this system offers, and what it makes of what is configured.
//!
//! Findings are facts with a remedy; nothing is changed, and no daemon is needed but for `sockopts`, and
//! where `--socket` asks for what a running one was started with.
//! A configuration that cannot be read is a finding like any other.

use std::fmt::{self, Write};

use clap::Subcommand;
use serde::Serialize;

use super::asking::{Asking, understood};
use super::{lines, say_json};
use crate::channel::CheckBrief;
use crate::control::client::Failure;
use crate::control::{Request, RunningConfig, SocketOptions};
use crate::exit;
use crate::plan;
use crate::terminal::say;

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
        asking: Asking,
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

pub(super) fn run(verb: Option<Verb>, asking: &Asking) -> u8 {
    match verb {
        Some(Verb::Sockopts { service, asking }) => asking
            .show(&Request::SocketOptions { service }, |_: &SocketOptions| {
                exit::DONE
            }),
        None => examine(asking),
    }
}

fn examine(asking: &Asking) -> u8 {
    let mut findings = system::findings();
    match sources(asking).map(|sources| plan::run_check(&sources)) {
        Ok(Ok(plan)) => findings.extend(services::findings(&plan)),
        Ok(Err(complaints)) => findings.push(Finding::wrong(
            "configuration",
            lines(&complaints).replace('\n', "; "),
            "mend it; `polyport check` says the same, line by line",
        )),
        Err(failure) => return asking.fail(&failure),
    }
    // The last: it closes in the one who looks.
    findings.push(system::sandbox());
    let code = match findings.iter().any(|finding| finding.fix.is_some()) {
        true => exit::DEGRADED,
        false => exit::DONE,
    };
    if asking.output.json {
        return say_json(code, &findings);
    }
    let mut page = String::new();
    for finding in &findings {
        let _ = write!(page, "{finding}");
    }
    say(code, &page)
}

/// What is configured: for the daemon behind a socket, what it was started with.
fn sources(asking: &Asking) -> Result<CheckBrief, Failure> {
    if !asking.has_named_a_socket() {
        return Ok(asking.sources().into());
    }
    let running: RunningConfig = understood(&asking.look(&Request::ShowConfig)?)?;
    Ok(running.sources)
}
