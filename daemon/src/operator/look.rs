//! Verbs that look at a running daemon, and those that touch single connections or the log of one.

use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use ipnet::IpNet;
use serde::de::DeserializeOwned;

use super::bans;
use super::running::not_understood;
use super::{Daemon, Output, fail, say_json};
use crate::channel::ConnectionFilter;
use crate::control::client::{self, Failure};
use crate::control::{ConnectionList, Health, Metrics, Request};
use crate::exit;
use crate::plan::LogLevel;
use crate::terminal::say;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Say whether the daemon lives and every service serves
    ///
    /// For monitors. Exit 7 if `ready` was asked and it is not, 3 if nobody answers.
    Health {
        #[arg(default_value = "ready")]
        probe: Probe,
        #[command(flatten)]
        daemon: Daemon,
        #[command(flatten)]
        patience: Patience,
        #[command(flatten)]
        output: Output,
    },
    /// List connections that are open, or end some
    ///
    /// A worker that does not answer within a second is named.
    Connections {
        /// Of this service only
        service: Option<String>,
        /// From this address or network only
        #[arg(long, value_name = "NETWORK", value_parser = bans::network)]
        source: Option<IpNet>,
        /// At least so old
        #[arg(long = "older", value_name = "DURATION", value_parser = bans::duration)]
        older_ms: Option<u64>,
        /// Without a byte for so long
        #[arg(long = "idle", value_name = "DURATION", value_parser = bans::duration)]
        idle_ms: Option<u64>,
        /// End this one, once what was said to it has left
        #[arg(long, value_name = "ID")]
        kill: Option<String>,
        /// End all that fit
        #[arg(long, conflicts_with = "kill")]
        kill_all: bool,
        #[command(flatten)]
        daemon: Daemon,
        #[command(flatten)]
        patience: Patience,
        #[command(flatten)]
        output: Output,
    },
    /// Log more or less, until the next reload
    LogLevel {
        level: Level,
        /// Only for so long
        #[arg(long = "for", value_name = "DURATION", value_parser = bans::duration)]
        for_ms: Option<u64>,
        #[command(flatten)]
        daemon: Daemon,
        #[command(flatten)]
        patience: Patience,
        #[command(flatten)]
        output: Output,
    },
    /// Print all counters as text that Prometheus reads
    Metrics {
        #[command(flatten)]
        daemon: Daemon,
        #[command(flatten)]
        patience: Patience,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Probe {
    /// It answers
    Live,
    /// Every service serves, with all its workers
    Ready,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Level {
    Debug,
    Info,
    Warning,
    Error,
}

#[derive(clap::Args, Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Wait so many seconds for an answer
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    timeout: u64,
}

pub(super) fn run(verb: Verb) -> u8 {
    match verb {
        Verb::Health {
            probe,
            daemon,
            patience,
            output,
        } => show(
            &daemon,
            &Request::Health,
            patience,
            output,
            |health: &Health| match probe {
                Probe::Live => exit::DONE,
                Probe::Ready => health.exit(),
            },
        ),
        Verb::Connections {
            service,
            source,
            older_ms,
            idle_ms,
            kill,
            kill_all,
            daemon,
            patience,
            output,
        } => {
            let end = kill_all || kill.is_some();
            let filter = ConnectionFilter {
                service,
                source,
                older_ms,
                idle_ms,
                id: kill,
            };
            let by_id = filter.id.is_some();
            let request = Request::Connections { filter, end };
            let is_done = |list: &ConnectionList| match (list.silent.is_empty(), end && by_id) {
                (false, _) => exit::DEGRADED,
                // The one that was meant is not there.
                (true, true) if list.connections.is_empty() => exit::FAILED,
                (true, _) => exit::DONE,
            };
            show(&daemon, &request, patience, output, is_done)
        }
        Verb::LogLevel {
            level,
            for_ms,
            daemon,
            patience,
            output,
        } => log_level(level, for_ms, &daemon, patience, output),
        Verb::Metrics {
            daemon,
            patience,
            output,
        } => show(
            &daemon,
            &Request::Metrics,
            patience,
            output,
            |_: &Metrics| exit::DONE,
        ),
    }
}

fn show<T: DeserializeOwned + ToString>(
    daemon: &Daemon,
    request: &Request,
    patience: Patience,
    output: Output,
    code: impl Fn(&T) -> u8,
) -> u8 {
    let asked = ask(daemon, request, patience);
    let understood = asked.and_then(|answer| {
        let document = T::deserialize(&answer).map_err(|error| Failure {
            exit: exit::FAILED,
            text: not_understood(&error),
        });
        document.map(|document| (answer, document))
    });
    match understood {
        // The daemon's own words: a newer one may know more than this command.
        Ok((answer, document)) if output.json => say_json(code(&document), &answer),
        Ok((_, document)) => say(code(&document), &document.to_string()),
        Err(failure) => fail(&failure, output.json),
    }
}

fn ask(
    daemon: &Daemon,
    request: &Request,
    patience: Patience,
) -> Result<serde_json::Value, Failure> {
    let patience = Duration::from_secs(patience.timeout.max(1));
    let asked = client::ask(&daemon.control_socket(), request, patience);
    asked.map(|(answer, _)| answer)
}

fn log_level(
    level: Level,
    for_ms: Option<u64>,
    daemon: &Daemon,
    patience: Patience,
    output: Output,
) -> u8 {
    let level = match level {
        Level::Debug => LogLevel::Debug,
        Level::Info => LogLevel::Info,
        Level::Warning => LogLevel::Warning,
        Level::Error => LogLevel::Error,
    };
    // As everywhere, 0 is without an end.
    let for_ms = for_ms.filter(|for_ms| *for_ms > 0);
    match ask(daemon, &Request::LogLevel { level, for_ms }, patience) {
        Ok(answer) if output.json => say_json(exit::DONE, &answer),
        Ok(answer) => {
            let word = |key: &str| answer[key].as_str().unwrap_or("unknown").to_owned();
            let text = format!(
                "the log level is {}, it was {}\n",
                word("level"),
                word("before")
            );
            say(exit::DONE, &text)
        }
        Err(failure) => fail(&failure, output.json),
    }
}
