//! Verbs that speak with a running daemon.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::{Daemon, fail, say_json};
use crate::config::{self, Surroundings};
use crate::control::client::{self, Failure};
use crate::control::{self, Request, Status};
use crate::exit;
use crate::terminal::say;

/// For an answer that only needs a look at values.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

impl Daemon {
    pub(super) fn control_socket(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| {
            let sources = self.sources.clone().into();
            config::run_dir(&sources, &Surroundings::of_this_process()).join(control::SOCKET)
        })
    }
}

pub(super) fn status(daemon: &Daemon, json: bool) -> u8 {
    let asked = client::ask(&daemon.control_socket(), &Request::Status, PATIENCE);
    let understood = asked.and_then(|(answer, _)| match Status::deserialize(&answer) {
        Ok(status) => Ok((answer, status)),
        Err(error) => Err(Failure {
            exit: exit::FAILED,
            text: not_understood(&error),
        }),
    });
    match understood {
        // The daemon's own words: a newer one may know more than this command.
        Ok((answer, status)) if json => say_json(status.exit(), &answer),
        Ok((_, status)) => say(status.exit(), &status.to_string()),
        Err(failure) => fail(&failure, json),
    }
}

pub(super) fn not_understood(error: &serde_json::Error) -> String {
    format!("the daemon's answer is not understood: {error}")
}

pub(super) fn stop(daemon: &Daemon, fast: bool, timeout_s: u64, json: bool) -> u8 {
    let patience = Duration::from_secs(timeout_s.max(1));
    let request = Request::Stop { fast };
    let asked = client::ask(&daemon.control_socket(), &request, patience);
    let stopped = asked.and_then(|(answer, call)| call.wait_for_end().map(|()| answer));
    match stopped {
        Ok(answer) if json => {
            let document = serde_json::json!({ "stopped": true, "pid": answer["pid"] });
            say_json(exit::DONE, &document)
        }
        Ok(_) => exit::DONE,
        Err(failure) => fail(&failure, json),
    }
}
