//! `polyport plugins verify`: the files that services name, beside what the configuration pins.
//!
//! It reads bytes and looks at owners and modes, as a start does, and runs none of the code.

use std::fmt::Write;
use std::path::PathBuf;

use serde::Serialize;

use super::scratch::Scratch;
use super::{fail, lines, say_json};
use crate::channel::CheckBrief;
use crate::control::client::Failure;
use crate::exit;
use crate::plan::{self, Plan};
use crate::plugin_host::verify;
use crate::terminal::say;

#[derive(Debug, Serialize)]
struct Verified {
    service: String,
    file: PathBuf,
    /// Of the file as it is, where it may be read.
    sha256: Option<String>,
    pinned: bool,
    problem: Option<String>,
}

pub(super) fn run(sources: &CheckBrief, json: bool) -> u8 {
    let verified = match verify_all(sources) {
        Ok(verified) => verified,
        Err(failure) => return fail(&failure, json),
    };
    let code = match verified.iter().all(|row| row.problem.is_none()) {
        true => exit::DONE,
        false => exit::FAILED,
    };
    match json {
        true => say_json(code, &serde_json::json!({ "services": verified })),
        false => say(code, &page(&verified)),
    }
}

fn verify_all(sources: &CheckBrief) -> Result<Vec<Verified>, Failure> {
    let plan = plan::run_check(sources).map_err(|complaints| Failure {
        exit: exit::REJECTED,
        text: lines(&complaints),
    })?;
    let scratch = Scratch::new().map_err(|error| Failure {
        exit: exit::FAILED,
        text: error.to_string(),
    })?;
    let names = plan.services.keys();
    Ok(names
        .map(|name| verify_one(name, &plan, &scratch))
        .collect())
}

fn verify_one(name: &str, plan: &Plan, scratch: &Scratch) -> Verified {
    let service = &plan.services[name];
    let owners = verify::owners(&plan.daemon, service);
    let found = verify::take(&service.plugin, scratch.path(), &owners);
    let sha256 = found.as_ref().ok().map(|stored| stored.hash.clone());
    let checked = found.and_then(|stored| verify::compare(&stored, service));
    Verified {
        service: name.to_owned(),
        file: service.plugin.clone(),
        sha256,
        pinned: service.pin.is_some(),
        problem: checked
            .err()
            .map(|error| error.about(name, &service.plugin)),
    }
}

fn page(verified: &[Verified]) -> String {
    let mut page = String::new();
    if verified.is_empty() {
        page.push_str("no services are configured\n");
    }
    for row in verified {
        let (service, file) = (&row.service, row.file.display());
        let _ = match (&row.problem, row.pinned) {
            (Some(problem), _) => writeln!(page, "{service}: {problem}"),
            (None, true) => writeln!(page, "{service}: {file} is what is pinned"),
            (None, false) => writeln!(page, "{service}: {file} is trusted, and not pinned"),
        };
        if let (Some(sha256), false) = (&row.sha256, row.pinned) {
            let _ = writeln!(page, "  sha256 = \"{sha256}\"");
        }
    }
    page
}
