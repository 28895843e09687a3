//! `polyport doctor`: what the system makes of what was configured.

use clap::Subcommand;

use super::running::{PATIENCE, not_understood};
use super::{Daemon, Output, fail, say_json};
use crate::control::{Request, SocketOptions, client};
use crate::exit;
use crate::terminal::{complain, say};

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

pub(super) fn run(verb: Verb) -> u8 {
    match verb {
        Verb::Sockopts {
            service,
            daemon,
            output,
        } => socket_options(service, &daemon, output.json),
    }
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
