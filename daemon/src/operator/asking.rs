//! What every verb for a running daemon takes beside its own words: which daemon, how long to wait, and
//! for whom the answer is.
//!
//! An answer is shown as the daemon's own document, or as the page that this program makes of it.
//! Invariant: however it ends, it ends within the time that was given.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Output, Sources, fail, say_json};
use crate::config::{self, Surroundings};
use crate::control::client::{self, Call, Failure};
use crate::control::{self, Request};
use crate::exit;
use crate::terminal::say;

/// For an answer that only needs a look at values.
const LOOK: Duration = Duration::from_secs(10);
/// For one that comes when something was done.
const CHANGE: Duration = Duration::from_secs(60);

#[derive(Args, Clone, Debug)]
pub(super) struct Asking {
    #[command(flatten)]
    sources: Sources,
    /// Its control socket, whatever the configuration says
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Wait so many seconds; if not said, 60 for a change that may take its time, and else 10
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    #[command(flatten)]
    pub(super) output: Output,
}

impl Asking {
    pub(super) fn sources(&self) -> Sources {
        self.sources.clone()
    }

    pub(super) fn control_socket(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| {
            let sources = self.sources.clone().into();
            config::run_dir(&sources, &Surroundings::of_this_process()).join(control::SOCKET)
        })
    }

    pub(super) fn has_named_a_socket(&self) -> bool {
        self.socket.is_some()
    }

    /// One that is answered at once.
    pub(super) fn look(&self, request: &Request) -> Result<Value, Failure> {
        self.ask(request, LOOK).map(|(answer, _)| answer)
    }

    /// One whose answer comes when something was done.
    pub(super) fn change(&self, request: &Request) -> Result<(Value, Call), Failure> {
        self.ask(request, CHANGE)
    }

    fn ask(&self, request: &Request, usual: Duration) -> Result<(Value, Call), Failure> {
        let patience = self
            .timeout
            .map_or(usual, |seconds| Duration::from_secs(seconds.max(1)));
        client::ask(&self.control_socket(), request, patience)
    }

    /// Looks, and shows what was found; `code` judges it.
    pub(super) fn show<T: DeserializeOwned + ToString>(
        &self,
        request: &Request,
        code: impl FnOnce(&T) -> u8,
    ) -> u8 {
        let found = self.look(request);
        match found.and_then(|answer| Ok((understood::<T>(&answer)?, answer))) {
            // The daemon's own words: a newer one may know more than this command.
            Ok((document, answer)) if self.output.json => say_json(code(&document), &answer),
            Ok((document, _)) => say(code(&document), &document.to_string()),
            Err(failure) => self.fail(&failure),
        }
    }

    pub(super) fn fail(&self, failure: &Failure) -> u8 {
        fail(failure, self.output.json)
    }
}

pub(super) fn understood<T: DeserializeOwned>(answer: &Value) -> Result<T, Failure> {
    T::deserialize(answer).map_err(|error| Failure {
        exit: exit::FAILED,
        text: format!("the daemon's answer is not understood: {error}"),
    })
}
