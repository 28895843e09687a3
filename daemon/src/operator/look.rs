//! Verbs that look at a running daemon, and those that touch single connections or the log of one.

use clap::{Subcommand, ValueEnum};
use ipnet::IpNet;

use super::asking::Asking;
use super::{bans, say_json};
use crate::channel::ConnectionFilter;
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
        asking: Asking,
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
        asking: Asking,
    },
    /// Log more or less, until the next reload
    LogLevel {
        level: Level,
        /// Only for so long
        #[arg(long = "for", value_name = "DURATION", value_parser = bans::duration)]
        for_ms: Option<u64>,
        #[command(flatten)]
        asking: Asking,
    },
    /// Print all counters as text that Prometheus reads
    Metrics {
        #[command(flatten)]
        asking: Asking,
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

pub(super) fn run(verb: Verb) -> u8 {
    match verb {
        Verb::Health { probe, asking } => {
            let code = |health: &Health| match probe {
                Probe::Live => exit::DONE,
                Probe::Ready => health.exit(),
            };
            asking.show(&Request::Health, code)
        }
        Verb::Connections {
            service,
            source,
            older_ms,
            idle_ms,
            kill,
            kill_all,
            asking,
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
            let is_done = |list: &ConnectionList| match (list.silent.is_empty(), end && by_id) {
                (false, _) => exit::DEGRADED,
                // The one that was meant is not there.
                (true, true) if list.connections.is_empty() => exit::FAILED,
                (true, _) => exit::DONE,
            };
            asking.show(&Request::Connections { filter, end }, is_done)
        }
        Verb::LogLevel {
            level,
            for_ms,
            asking,
        } => log_level(level, for_ms, &asking),
        Verb::Metrics { asking } => asking.show(&Request::Metrics, |_: &Metrics| exit::DONE),
    }
}

fn log_level(level: Level, for_ms: Option<u64>, asking: &Asking) -> u8 {
    let level = match level {
        Level::Debug => LogLevel::Debug,
        Level::Info => LogLevel::Info,
        Level::Warning => LogLevel::Warning,
        Level::Error => LogLevel::Error,
    };
    // As everywhere, 0 is without an end.
    let for_ms = for_ms.filter(|for_ms| *for_ms > 0);
    match asking.look(&Request::LogLevel { level, for_ms }) {
        Ok(answer) if asking.output.json => say_json(exit::DONE, &answer),
        Ok(answer) => {
            let word = |key: &str| answer[key].as_str().unwrap_or("unknown").to_owned();
            let text = format!(
                "the log level is {}, it was {}\n",
                word("level"),
                word("before")
            );
            say(exit::DONE, &text)
        }
        Err(failure) => asking.fail(&failure),
    }
}
