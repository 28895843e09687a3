//! `crashes`: the deaths of workers that nobody asked for, as a list or one in full.

use clap::Subcommand;
use serde::de::DeserializeOwned;

use super::running::PATIENCE;
use super::{Daemon, Output, fail, say_json};
use crate::control::{CrashList, CrashReport, Request, client};
use crate::exit;
use crate::terminal::{complain, say};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// List those that are kept, the latest last
    List {
        #[command(flatten)]
        daemon: Daemon,
        #[command(flatten)]
        output: Output,
    },
    /// Show all that is known of one
    Show {
        /// Its number in the list
        id: u64,
        #[command(flatten)]
        daemon: Daemon,
        #[command(flatten)]
        output: Output,
    },
}

/// Without a verb of its own, `crashes` lists.
pub(super) fn run(verb: Option<Verb>, daemon: Daemon, output: Output) -> u8 {
    match verb.unwrap_or(Verb::List { daemon, output }) {
        Verb::List { daemon, output } => ask::<CrashList>(&daemon, &Request::Crashes, output.json),
        Verb::Show { id, daemon, output } => {
            ask::<CrashReport>(&daemon, &Request::CrashReport { id }, output.json)
        }
    }
}

fn ask<T: DeserializeOwned + ToString>(daemon: &Daemon, request: &Request, json: bool) -> u8 {
    let answer = match client::ask(&daemon.control_socket(), request, PATIENCE) {
        Ok((answer, _)) => answer,
        Err(failure) => return fail(&failure, json),
    };
    if json {
        return say_json(exit::DONE, &answer);
    }
    match serde_json::from_value::<T>(answer) {
        Ok(document) => say(exit::DONE, &document.to_string()),
        Err(error) => {
            let text = format!("the daemon's answer is not understood: {error}");
            complain(exit::FAILED, &text)
        }
    }
}
