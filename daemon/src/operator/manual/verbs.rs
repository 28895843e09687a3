//! polyport(8): the verbs with their options, signals, exit codes, files and variables.

use std::collections::BTreeMap;

use clap::{Arg, Command, CommandFactory};

use super::roff::Roff;
use crate::exit;
use crate::operator::Cli;
use crate::supervisor;

const FILES: [(&str, &str); 8] = [
    (
        "/etc/polyport/polyport.toml",
        "The configuration; see polyport.toml(5).",
    ),
    (
        "/etc/polyport/conf.d/*.toml",
        "What belongs to it, in the order of names.",
    ),
    (
        "/usr/lib/polyport/plugins",
        "Plugins by name; see polyport-plugins(7).",
    ),
    (
        "/run/polyport/control.sock",
        "Where the verbs reach the daemon. The lock beside it keeps a second daemon out.",
    ),
    (
        "/var/lib/polyport/plugins",
        "Copies of the plugins that run, by their content.",
    ),
    (
        "/var/lib/polyport/crashes",
        "Records of workers that died; `polyport crashes` reads them.",
    ),
    (
        "/var/lib/polyport/bans.json",
        "Networks that nobody may come from.",
    ),
    (
        "/var/lib/polyport/bus",
        "The history of the bus, if a service uses it.",
    ),
];

const VARIABLES: [(&str, &str); 5] = [
    (
        "POLYPORT_DAEMON__KEY",
        "Sets `daemon.KEY` over the files; two underscores stand for each further dot.",
    ),
    (
        "NOTIFY_SOCKET, WATCHDOG_USEC",
        "The service manager is told what happens, in the protocol of sd_notify(3).",
    ),
    (
        "LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES",
        "Sockets that it has opened or kept are served, if the configuration listens on them; others \
         are closed with a warning.",
    ),
    (
        "JOURNAL_STREAM",
        "Says whether standard error leads to the journal; then the log has fields there.",
    ),
    ("RUST_BACKTRACE", "Is passed on to workers."),
];

pub(super) fn page() -> String {
    let mut command = Cli::command();
    command.build();
    let about = command.get_about().map(ToString::to_string);
    let about = about.unwrap_or_default();
    let about = about.trim_end_matches('.');
    let mut roff = Roff::page("polyport", 8, &lower(about));
    roff.heading("SYNOPSIS");
    roff.paragraphs("`polyport` VERB [OPTION...]");
    roff.heading("DESCRIPTION");
    let long = command.get_long_about().map(ToString::to_string);
    roff.paragraphs(&long.unwrap_or_default());
    let mut shared = BTreeMap::new();
    count(&command, &mut shared);
    // Where a few verbs have other words for it, theirs stand with them.
    let most = shared.clone();
    let is_most = |(name, _): &(String, String), times: usize| {
        !most
            .iter()
            .any(|(other, more)| other.0 == *name && *more > times)
    };
    shared.retain(|option, times| *times >= SHARED_LEAST && is_most(option, *times));
    roff.heading("VERBS");
    roff.paragraphs("Options that many verbs have are below, in OPTIONS.");
    for verb in visible(&command) {
        tell(&mut roff, verb, "polyport", &shared);
    }
    roff.heading("OPTIONS");
    for (name, text) in shared.keys() {
        roff.term(name, text);
    }
    roff.term(
        "-h, --help",
        "Print help: `-h` in short, `--help` all of it.",
    );
    roff.heading("SIGNALS");
    roff.paragraphs("To the supervisor, which is the process that was started:");
    for (name, meaning) in supervisor::signals() {
        roff.term(&name, meaning);
    }
    roff.heading("EXIT STATUS");
    for (code, meaning) in exit::MEANINGS {
        roff.term(&code.to_string(), meaning);
    }
    roff.heading("ENVIRONMENT");
    for (name, text) in VARIABLES {
        roff.term(name, text);
    }
    roff.heading("FILES");
    for (path, text) in FILES {
        roff.term(path, text);
    }
    roff.see_also(
        &[("polyport.toml", 5), ("polyport-plugins", 7), ("systemctl", 1), ("journalctl", 1)],
        "How to run it from day to day is in operations.md, beside the other documents of the package.",
    );
    roff.into_text()
}

/// An option that so many verbs have in the same words is told once.
const SHARED_LEAST: usize = 5;

/// Options with their texts, and how many verbs have them.
type Shared = BTreeMap<(String, String), usize>;

fn count(command: &Command, shared: &mut Shared) {
    for verb in visible(command) {
        for option in options(verb) {
            *shared.entry(option).or_default() += 1;
        }
        count(verb, shared);
    }
}

fn tell(roff: &mut Roff, verb: &Command, before: &str, shared: &Shared) {
    let name = format!("{before} {}", verb.get_name());
    // What it does without a word behind it comes first, if that is anything.
    if !(verb.has_subcommands() && verb.is_subcommand_required_set()) {
        tell_one(roff, verb, &name, shared);
    }
    for verb in visible(verb) {
        tell(roff, verb, &name, shared);
    }
}

fn tell_one(roff: &mut Roff, verb: &Command, name: &str, shared: &Shared) {
    let positionals = verb.get_positionals();
    let usage: Vec<String> = positionals.map(|word| format!(" {word}")).collect();
    roff.subheading(&format!("{name}{} [OPTION...]", usage.concat()));
    let about = verb.get_long_about().or(verb.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    let (first, rest) = about.split_once("\n\n").unwrap_or((&about, ""));
    roff.paragraphs(&sentence(first));
    roff.paragraphs(rest);
    for option in options(verb) {
        if !shared.contains_key(&option) {
            roff.term(&option.0, &option.1);
        }
    }
}

/// Each as it is written, and what it does.
fn options(verb: &Command) -> impl Iterator<Item = (String, String)> {
    let every = |option: &&Arg| ["help", "version"].contains(&option.get_id().as_str());
    let shown = verb.get_arguments().filter(|option| !option.is_hide_set());
    let shown = shown.filter(move |option| !every(option));
    shown.map(|option| (written(option), meaning(option)))
}

fn written(option: &Arg) -> String {
    let short = option.get_short().filter(|_| !option.is_positional());
    let short = short.map(|short| format!("-{short}, "));
    format!("{}{option}", short.unwrap_or_default())
}

fn meaning(option: &Arg) -> String {
    let help = option.get_long_help().or(option.get_help());
    let mut text = sentence(&help.map(ToString::to_string).unwrap_or_default());
    if option.get_action().takes_values() {
        let words = option.get_possible_values();
        let words: Vec<&str> = words.iter().map(|word| word.get_name()).collect();
        if !words.is_empty() {
            text.push_str(&format!(" One of {}.", words.join(", ")));
        }
        if let Some(value) = option
            .get_default_values()
            .first()
            .filter(|it| !it.is_empty())
        {
            text.push_str(&format!(" Default: `{}`.", value.to_string_lossy()));
        }
    }
    text
}

/// With its full stop, which help on a terminal goes without.
fn sentence(text: &str) -> String {
    let text = text.trim();
    let ended = text.is_empty() || text.ends_with(['.', ':', ')']);
    format!("{text}{}", if ended { "" } else { "." })
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    let shown = |verb: &&Command| !verb.is_hide_set() && verb.get_name() != "help";
    command.get_subcommands().filter(shown)
}

/// As the line of NAME has it.
fn lower(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(characters).collect()
}
