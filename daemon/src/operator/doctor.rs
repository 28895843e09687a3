//! `polyport doctor`: what the system makes of what was configured.

use std::io::Write;

use clap::Subcommand;

use super::running::{PATIENCE, not_understood};
use super::{Daemon, Output, complain, print_json};
use crate::control::{Request, SocketOptions, client};
use crate::exit;

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
        Err(failure) => return complain(failure.exit, &failure.text),
    };
    if json {
        print_json(&answer);
        return exit::DONE;
    }
    match serde_json::from_value::<SocketOptions>(answer) {
        Ok(page) => {
            // A reader who has left (`| head`) is no failure of ours.
            let _ = write!(std::io::stdout(), "{page}");
            exit::DONE
        }
        Err(error) => complain(exit::FAILED, &not_understood(&error)),
    }
}
