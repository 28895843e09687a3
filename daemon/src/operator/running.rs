//! Verbs that speak with a running daemon.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use super::{Daemon, complain, print_json};
use crate::config::{self, Surroundings};
use crate::control::{self, Request, Status, client};
use crate::exit;

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
    let answer = match client::ask(&daemon.control_socket(), &Request::Status, PATIENCE) {
        Ok((answer, _)) => answer,
        Err(failure) => return complain(failure.exit, &failure.text),
    };
    let status: Status = match serde_json::from_value(answer.clone()) {
        Ok(status) => status,
        Err(error) => {
            return complain(exit::FAILED, &not_understood(&error));
        }
    };
    if json {
        // The daemon's own words: a newer one may know more than this command.
        print_json(&answer);
    } else {
        let _ = write!(std::io::stdout(), "{status}");
    }
    status.exit()
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
        Ok(answer) => {
            if json {
                print_json(&serde_json::json!({ "stopped": true, "pid": answer["pid"] }));
            }
            exit::DONE
        }
        Err(failure) => complain(failure.exit, &failure.text),
    }
}
