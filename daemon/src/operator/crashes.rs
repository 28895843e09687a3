//! `crashes`: the deaths of workers that nobody asked for, as a list or one in full.

use clap::Subcommand;

use super::asking::Asking;
use crate::control::{CrashList, CrashReport, Request};
use crate::exit;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// List those that are kept, the latest last
    List {
        #[command(flatten)]
        asking: Asking,
    },
    /// Show all that is known of one
    Show {
        /// Its number in the list
        id: u64,
        #[command(flatten)]
        asking: Asking,
    },
}

/// Without a verb of its own, `crashes` lists.
pub(super) fn run(verb: Option<Verb>, asking: Asking) -> u8 {
    match verb.unwrap_or(Verb::List { asking }) {
        Verb::List { asking } => asking.show(&Request::Crashes, |_: &CrashList| exit::DONE),
        Verb::Show { id, asking } => {
            asking.show(&Request::CrashReport { id }, |_: &CrashReport| exit::DONE)
        }
    }
}
