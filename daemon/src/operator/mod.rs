//! The operator: one verb, carried out, with an exit code that means one thing.
//!
//! Verbs that speak with a running daemon read no more of the configuration than where its run
//! directory is, and tolerate everything else being broken. What is for people goes to standard
//! output as text, or with `--json` as one document, failures included; complaints go to standard
//! error.

mod asking;
mod bans;
mod change;
mod check;
mod configuration;
mod conformance;
mod crashes;
mod dev;
mod doctor;
mod look;
mod manual;
mod new_plugin;
mod one_service;
mod plugins;
mod render;
mod running;
mod scratch;
mod try_plugin;
mod unconfigured;
mod verify;

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use ipnet::IpNet;
use serde::Serialize;

use asking::Asking;

use crate::channel::CheckBrief;
use crate::config::Complaint;
use crate::control::client::Failure;
use crate::exit;
use crate::supervisor;
use crate::terminal::{complain, say};

/// A gateway daemon whose protocols are plugins.
///
/// Polyport owns the sockets, the processes and the limits; each service is a plugin that speaks
/// one protocol. Start it with `polyport run`, look at it with `polyport status`.
#[derive(Debug, Parser)]
#[command(name = "polyport", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed, 2 usage, 3 not running, 4 not permitted, 5 the configuration or a \
plugin in it is rejected and nothing changed, 6 timed out, 7 degraded. `run` alone: 78 bad \
configuration, 71 the system refuses (address in use, no permission), 70 internal error.";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve, in the foreground, until told to stop
    ///
    /// SIGTERM and SIGQUIT finish what is open (at most `daemon.drain_timeout`), SIGINT (Ctrl-C)
    /// stops within a second or two, a second SIGTERM likewise.
    Run {
        #[command(flatten)]
        sources: Sources,
        /// Once everything serves, print what listens where and how to try it
        #[arg(long)]
        announce: bool,
        /// Announce as one JSON document, as `status --json` prints it
        #[arg(long)]
        json: bool,
    },
    /// Say whether the configuration and its plugins would be taken
    ///
    /// Reads all files, resolves them, and tries every plugin in a process of its own. Nothing is
    /// bound and a running daemon is not touched. Exit 5 and every complaint at once if not.
    Check {
        #[command(flatten)]
        sources: Sources,
        #[command(flatten)]
        output: Output,
    },
    /// Show what serves where, with which workers
    ///
    /// Exit 7 if a service has failed or lacks workers; if one is named, that one.
    Status {
        /// Only this one
        service: Option<String>,
        #[command(flatten)]
        asking: Asking,
    },
    #[command(flatten)]
    Change(change::Verb),
    #[command(flatten)]
    Look(look::Verb),
    /// Stop the daemon: finish what is open, then go
    Stop {
        /// Leave what is open a second only
        #[arg(long)]
        fast: bool,
        #[command(flatten)]
        asking: Asking,
    },
    /// Let nobody in from an address or a network, in any service
    ///
    /// What is open from there is closed. It outlives the daemon and replaces what was said of the
    /// same network before.
    Ban {
        /// 192.0.2.7, 192.0.2.0/24, 2001:db8::/64
        #[arg(value_name = "NETWORK", value_parser = bans::network)]
        network: IpNet,
        /// For how long; 0 is until it is taken back
        #[arg(long = "for", value_name = "DURATION", default_value = "1h", value_parser = bans::duration)]
        for_ms: u64,
        /// A word for whoever looks at the list
        #[arg(long, value_name = "TEXT", default_value = "")]
        why: String,
        #[command(flatten)]
        asking: Asking,
    },
    /// Take a ban back
    Unban {
        /// As `bans` shows it
        #[arg(value_name = "NETWORK", value_parser = bans::network)]
        network: IpNet,
        #[command(flatten)]
        asking: Asking,
    },
    /// Show who is banned, for how long, and why
    Bans {
        #[command(flatten)]
        asking: Asking,
    },
    /// Look at workers that died: list them, show one
    ///
    /// Whom the daemon blames, and what the worker wrote down of it.
    #[command(args_conflicts_with_subcommands = true)]
    Crashes {
        #[command(subcommand)]
        verb: Option<crashes::Verb>,
        #[command(flatten)]
        asking: Asking,
    },
    /// Look at plugins: list them, show one, check one
    Plugins {
        #[command(subcommand)]
        verb: plugins::Verb,
    },
    /// Look at the configuration in force, what a reload would change, and all keys
    Config {
        #[command(subcommand)]
        verb: configuration::Verb,
    },
    /// Look at what the system offers, and makes of the configuration
    #[command(args_conflicts_with_subcommands = true)]
    Doctor {
        #[command(subcommand)]
        verb: Option<doctor::Verb>,
        #[command(flatten)]
        asking: Asking,
    },
    /// Print what lets a shell complete the verbs
    Completions {
        shell: Shell,
        #[command(flatten)]
        output: Output,
    },
    /// Print a page of the manual, for whoever installs it
    #[command(hide = true)]
    Manual { page: manual::Page },
    /// Serve one plugin at once, without a configuration
    ///
    /// For authors and the curious: everything is temporary and gone at the end (Ctrl-C).
    Try(try_plugin::Try),
    /// Build a plugin's folder and serve it, and again whenever a file in it changes
    ///
    /// For authors: what compilers, the daemon's log and crashed workers say is shown. What cannot be
    /// built or served leaves what served before. Ctrl-C ends all of it.
    Dev(dev::Dev),
    /// Print what a peer would be answered, without a socket and without a daemon
    ///
    /// For tests, and for exporting what a service shows. The plugin runs in a process of its own, in its
    /// sandbox; a running daemon is not touched. At most 10 s and 1 GiB.
    Render(render::Render),
    /// Begin a plugin: a folder that builds, with a test that passes and a service to try
    ///
    /// Needs a compiler, but neither Polyport's sources nor a network.
    NewPlugin(new_plugin::NewPlugin),
}

/// Where the configuration is.
#[derive(Args, Clone, Debug)]
struct Sources {
    /// The configuration; `conf.d/*.toml` beside it belongs to it
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one key over all files: daemon.run_dir=/tmp/x, services.echo.settings.mode=line
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Args, Clone, Copy, Debug)]
struct Output {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl From<Sources> for CheckBrief {
    fn from(sources: Sources) -> CheckBrief {
        CheckBrief {
            file: sources.config,
            inline: None,
            overrides: sources.set,
        }
    }
}

/// From the command line to the exit code.
pub fn main() -> u8 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() {
                exit::USAGE
            } else {
                exit::DONE
            };
        }
    };
    match cli.verb {
        Verb::Run {
            sources,
            announce,
            json,
        } => {
            let launch = supervisor::Launch {
                sources: sources.into(),
                announce: (announce || json).then_some(supervisor::Announcement { json }),
                all_or_nothing: false,
            };
            supervisor::run(launch, str::to_owned)
        }
        Verb::Check { sources, output } => check::run(&sources.into(), output.json),
        Verb::Status { service, asking } => running::status(service, &asking),
        Verb::Change(verb) => change::run(verb),
        Verb::Look(verb) => look::run(verb),
        Verb::Stop { fast, asking } => running::stop(fast, &asking),
        Verb::Ban {
            network,
            for_ms,
            why,
            asking,
        } => bans::ban(network, for_ms, why, &asking),
        Verb::Unban { network, asking } => bans::unban(network, &asking),
        Verb::Bans { asking } => bans::bans(&asking),
        Verb::Crashes { verb, asking } => crashes::run(verb, asking),
        Verb::Plugins { verb } => plugins::run(verb),
        Verb::Config { verb } => configuration::run(verb),
        Verb::Doctor { verb, asking } => doctor::run(verb, &asking),
        Verb::Completions { shell, output } => completions(shell, output),
        Verb::Manual { page } => manual::run(page),
        Verb::Try(wish) => try_plugin::run(wish),
        Verb::Dev(wish) => dev::run(wish),
        Verb::Render(wish) => render::run(wish),
        Verb::NewPlugin(wish) => new_plugin::run(&wish),
    }
}

fn completions(shell: Shell, output: Output) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "polyport", &mut script);
    let script = String::from_utf8_lossy(&script);
    match output.json {
        true => say_json(exit::DONE, &serde_json::json!({ "script": script })),
        false => say(exit::DONE, &script),
    }
}

/// One document; the code is returned for the exit.
fn say_json(code: u8, document: &impl Serialize) -> u8 {
    let text = serde_json::to_string_pretty(document).expect("answers are plain data");
    say(code, &(text + "\n"))
}

/// A verb that failed before it had an answer: for people always, and as a document if one is awaited.
fn fail(failure: &Failure, json: bool) -> u8 {
    let Failure { exit, text } = failure;
    let code = complain(*exit, text);
    if json {
        return say_json(code, &serde_json::json!({ "error": text, "exit": exit }));
    }
    code
}

fn lines(complaints: &[Complaint]) -> String {
    let lines: Vec<String> = complaints.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
