//! Verbs that change what a running daemon serves, and wait until it is done or rejected.
//!
//! Each is one request; the daemon audits who asked. What comes back is the same document for all of
//! them, so a script needs to know one.

use clap::Subcommand;
use serde_json::Value;

use super::asking::{Asking, understood};
use super::say_json;
use crate::control::{ReloadOutcome, Request};
use crate::exit;
use crate::terminal::say;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Read the configuration again and change to it, as SIGHUP does
    ///
    /// Everything is checked, probed and bound before anything that serves is touched. Exit 5, and
    /// the reasons, if it is rejected: then nothing has changed.
    Reload {
        /// Wait until it is done or rejected
        #[arg(long)]
        wait: bool,
        /// Say what would be done, and do nothing
        #[arg(long)]
        dry_run: bool,
        /// Show how the last change went
        #[arg(long, conflicts_with_all = ["wait", "dry_run"])]
        last: bool,
        #[command(flatten)]
        asking: Asking,
    },
    /// Let the program that is installed now take the running daemon over, as SIGUSR2 does
    ///
    /// It is the file at the path that the daemon was first started from. It has to show first that
    /// it can; exit 5, and the reason, if it cannot: then the old program serves on. Process,
    /// addresses and open connections stay; then all services get new workers, as by a reload.
    Upgrade {
        /// Wait until the new program and its workers serve, or are rejected
        #[arg(long)]
        wait: bool,
        /// Only let it show that it could
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        asking: Asking,
    },
    /// Change back to what served before the last change, with the plugins of then
    Rollback {
        #[command(flatten)]
        asking: Asking,
    },
    /// Replace the workers of a service, or of all, by new ones
    Restart {
        /// Only of this one
        service: Option<String>,
        #[command(flatten)]
        asking: Asking,
    },
    /// Accept nobody for a service, or for all, and finish what is open
    ///
    /// Addresses stay bound: who connects waits in the queue until `resume`.
    Drain {
        /// Only for this one
        service: Option<String>,
        #[command(flatten)]
        asking: Asking,
    },
    /// Serve again what was drained
    Resume {
        /// Only this one
        service: Option<String>,
        #[command(flatten)]
        asking: Asking,
    },
    /// Give a service another number of workers, until the next reload
    Scale {
        /// Which one
        service: String,
        /// How many processes, 1 to 256
        workers: u16,
        #[command(flatten)]
        asking: Asking,
    },
}

pub(super) fn run(verb: Verb) -> u8 {
    let (request, asking) = match verb {
        Verb::Reload {
            last: true, asking, ..
        } => (Request::LastReload, asking),
        Verb::Reload {
            wait,
            dry_run,
            asking,
            ..
        } => (Request::Reload { wait, dry_run }, asking),
        Verb::Upgrade {
            wait,
            dry_run,
            asking,
        } => (Request::Upgrade { wait, dry_run }, asking),
        Verb::Rollback { asking } => (Request::Rollback, asking),
        Verb::Restart { service, asking } => (Request::Restart { service }, asking),
        Verb::Drain { service, asking } => (Request::Drain { service }, asking),
        Verb::Resume { service, asking } => (Request::Resume { service }, asking),
        Verb::Scale {
            service,
            workers,
            asking,
        } => (Request::Scale { service, workers }, asking),
    };
    ask(&request, &asking)
}

fn ask(request: &Request, asking: &Asking) -> u8 {
    let answer = match asking.change(request) {
        Ok((answer, _)) => answer,
        Err(failure) => return asking.fail(&failure),
    };
    if asking.output.json {
        return say_json(exit::DONE, &answer);
    }
    match request {
        Request::Drain { .. } => say(
            exit::DONE,
            &format!("draining: {}\n", in_a_row(&answer["draining"])),
        ),
        Request::Reload {
            wait: false,
            dry_run: false,
        }
        | Request::Upgrade {
            wait: false,
            dry_run: false,
        } => say(
            exit::DONE,
            "begun; `polyport reload --last` shows how it went\n",
        ),
        _ => match understood::<ReloadOutcome>(&answer) {
            Ok(outcome) => say(outcome.exit, &outcome.to_string()),
            Err(failure) => asking.fail(&failure),
        },
    }
}

/// A list of names in an answer, as a person writes it.
fn in_a_row(names: &Value) -> String {
    let names = names.as_array().into_iter().flatten();
    let names: Vec<&str> = names.filter_map(Value::as_str).collect();
    names.join(", ")
}
