//! Verbs that change what a running daemon serves, and wait until it is done or rejected.
//!
//! Each is one request; the daemon audits who asked. What comes back is the same document for all of
//! them, so a script needs to know one.

use std::time::Duration;

use clap::Subcommand;
use serde::Deserialize;

use super::running::not_understood;
use super::{Daemon, Output, fail, say_json};
use crate::control::client::{self, Failure};
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
        #[command(flatten)]
        daemon: Daemon,
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
        patience: Patience,
        #[command(flatten)]
        output: Output,
    },
    /// Let the program that is installed now take the running daemon over, as SIGUSR2 does
    ///
    /// It is the file at the path that the daemon was first started from. It has to show first that
    /// it can; exit 5, and the reason, if it cannot: then the old program serves on. Process,
    /// addresses and open connections stay; then all services get new workers, as by a reload.
    Upgrade {
        #[command(flatten)]
        daemon: Daemon,
        /// Wait until the new program and its workers serve, or are rejected
        #[arg(long)]
        wait: bool,
        /// Only let it show that it could
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        patience: Patience,
        #[command(flatten)]
        output: Output,
    },
    /// Change back to what served before the last change, with the plugins of then
    Rollback {
        #[command(flatten)]
        daemon: Daemon,
        #[command(flatten)]
        patience: Patience,
        #[command(flatten)]
        output: Output,
    },
    /// Replace the workers of a service, or of all, by new ones
    Restart {
        service: Option<String>,
        #[command(flatten)]
        daemon: Daemon,
        #[command(flatten)]
        patience: Patience,
        #[command(flatten)]
        output: Output,
    },
    /// Accept nobody for a service, or for all, and finish what is open
    ///
    /// Addresses stay bound: who connects waits in the queue until `resume`.
    Drain {
        service: Option<String>,
        #[command(flatten)]
        daemon: Daemon,
        #[command(flatten)]
        patience: Patience,
        #[command(flatten)]
        output: Output,
    },
    /// Serve again what was drained
    Resume {
        service: Option<String>,
        #[command(flatten)]
        daemon: Daemon,
        #[command(flatten)]
        patience: Patience,
        #[command(flatten)]
        output: Output,
    },
    /// Give a service another number of workers, until the next reload
    Scale {
        service: String,
        workers: u16,
        #[command(flatten)]
        daemon: Daemon,
        #[command(flatten)]
        patience: Patience,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(clap::Args, Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Wait so many seconds for an answer
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
}

pub(super) fn run(verb: Verb) -> u8 {
    match verb {
        Verb::Reload {
            daemon,
            wait,
            dry_run,
            last,
            patience,
            output,
        } => {
            let request = match last {
                true => Request::LastReload,
                false => Request::Reload { wait, dry_run },
            };
            ask(&daemon, &request, patience, output)
        }
        Verb::Upgrade {
            daemon,
            wait,
            dry_run,
            patience,
            output,
        } => ask(
            &daemon,
            &Request::Upgrade { wait, dry_run },
            patience,
            output,
        ),
        Verb::Rollback {
            daemon,
            patience,
            output,
        } => ask(&daemon, &Request::Rollback, patience, output),
        Verb::Restart {
            service,
            daemon,
            patience,
            output,
        } => ask(&daemon, &Request::Restart { service }, patience, output),
        Verb::Drain {
            service,
            daemon,
            patience,
            output,
        } => ask(&daemon, &Request::Drain { service }, patience, output),
        Verb::Resume {
            service,
            daemon,
            patience,
            output,
        } => ask(&daemon, &Request::Resume { service }, patience, output),
        Verb::Scale {
            service,
            workers,
            daemon,
            patience,
            output,
        } => {
            let request = Request::Scale { service, workers };
            ask(&daemon, &request, patience, output)
        }
    }
}

fn ask(daemon: &Daemon, request: &Request, patience: Patience, output: Output) -> u8 {
    let patience = Duration::from_secs(patience.timeout.max(1));
    let answer = match client::ask(&daemon.control_socket(), request, patience) {
        Ok((answer, _)) => answer,
        Err(failure) => return fail(&failure, output.json),
    };
    if output.json {
        return say_json(exit::DONE, &answer);
    }
    match request {
        Request::Drain { .. } => say(exit::DONE, &format!("draining: {}\n", answer["draining"])),
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
        _ => match ReloadOutcome::deserialize(&answer) {
            Ok(outcome) => say(outcome.exit, &outcome.to_string()),
            Err(error) => {
                let failure = Failure {
                    exit: exit::FAILED,
                    text: not_understood(&error),
                };
                fail(&failure, output.json)
            }
        },
    }
}
