//! `polyport plugins`: what is in the plugin folder, and what one plugin says of itself.
//!
//! The command never maps a plugin into its own process: a probe does, as at a start.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Serialize;

use super::check::probe;
use super::conformance;
use super::scratch::Scratch;
use super::unconfigured;
use super::{Output, Sources, fail, lines, one_service, say_json, verify};
use crate::channel::{CheckBrief, Depth};
use crate::control::client::Failure;
use crate::exit;
use crate::plan::{self, Descriptor, OptionFacts, Plan};
use crate::terminal::{complain, say};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// List the plugins in the plugin folder, and which services use them
    List {
        #[command(flatten)]
        sources: Sources,
        #[command(flatten)]
        output: Output,
    },
    /// Show what a plugin says of itself: version, transports, options, needs
    Show {
        /// A file, or the name of a plugin in the plugin folder
        plugin: String,
        #[command(flatten)]
        sources: Sources,
        #[command(flatten)]
        output: Output,
    },
    /// Say whether each service's plugin is the file that is meant
    ///
    /// Owners and modes all the way down its path, and its SHA-256 beside the one that the
    /// configuration pins. No code of a plugin is run. Exit 1 if one is not to be trusted.
    Verify {
        #[command(flatten)]
        sources: Sources,
        #[command(flatten)]
        output: Output,
    },
    /// Say whether a plugin would be taken, and whether it keeps the rules
    ///
    /// File, handshake and options first; then each rule of the plugin ABI that can be tried from
    /// outside, in a process of its own. Exit 0 if it is taken and keeps them all, 1 if not.
    Check {
        /// A file, or the name of a plugin in the plugin folder
        plugin: String,
        /// A setting of the plugin, as below [services.NAME.settings]
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
        /// What a peer says, as a file: a session each, in place of a few lines that mean nothing
        #[arg(long, value_name = "FILE")]
        input: Vec<PathBuf>,
        /// The configuration that names the plugin folder
        #[arg(short, long, value_name = "FILE")]
        config: Option<PathBuf>,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Serialize)]
struct Listed {
    file: PathBuf,
    #[serde(flatten)]
    descriptor: Option<Descriptor>,
    problem: Option<String>,
    services: Vec<String>,
}

pub(super) fn run(verb: Verb) -> u8 {
    match verb {
        Verb::List { sources, output } => match list(&sources.into()) {
            Ok((folder, listed)) if output.json => {
                let document = serde_json::json!({ "plugin_dir": folder, "plugins": listed });
                say_json(exit::DONE, &document)
            }
            Ok((folder, listed)) => say(exit::DONE, &list_page(&folder, &listed)),
            Err(failure) => fail(&failure, output.json),
        },
        Verb::Show {
            plugin,
            sources,
            output,
        } => match find(&plugin, &sources.into()).and_then(|file| show(&file)) {
            Ok(descriptor) if output.json => say_json(exit::DONE, &descriptor),
            Ok(descriptor) => say(exit::DONE, &descriptor_page(&descriptor)),
            Err(failure) => fail(&failure, output.json),
        },
        Verb::Verify { sources, output } => verify::run(&sources.into(), output.json),
        Verb::Check {
            plugin,
            set,
            input,
            config,
            output,
        } => {
            let sources = CheckBrief {
                file: config,
                ..CheckBrief::default()
            };
            let found = find(&plugin, &sources);
            match found.and_then(|file| Ok((file, conformance::inputs(&input)?))) {
                Ok((file, inputs)) => check(&file, &set, &inputs, output.json),
                Err(failure) => fail(&failure, output.json),
            }
        }
    }
}

fn list(sources: &CheckBrief) -> Result<(PathBuf, Vec<Listed>), Failure> {
    let failed = |text| Failure {
        exit: exit::FAILED,
        text,
    };
    let plan = plan::run_check(sources).map_err(|complaints| Failure {
        exit: exit::REJECTED,
        text: lines(&complaints),
    })?;
    let folder = plan.daemon.plugin_dir.clone();
    let entries = fs::read_dir(&folder)
        .map_err(|error| failed(format!("daemon.plugin_dir: {}: {error}", folder.display())))?;
    let scratch = Scratch::new().map_err(|error| failed(error.to_string()))?;
    let found = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let mut files: Vec<PathBuf> = found
        .filter(|path| path.extension().is_some_and(|end| end == "so"))
        .collect();
    files.extend(
        plan.services
            .values()
            .map(|s| s.plugin.clone())
            .filter(|p| p.is_absolute()),
    );
    files.sort();
    files.dedup();
    let listed = files
        .into_iter()
        .map(|file| listed(file, &plan, scratch.path()));
    Ok((folder, listed.collect()))
}

/// Tries it with the settings of each service that uses it.
fn listed(file: PathBuf, plan: &Plan, scratch: &Path) -> Listed {
    let (mut descriptor, mut problems, mut services) = (None, Vec::new(), Vec::new());
    let users = plan.services.iter();
    for (name, service) in users.filter(|(_, service)| service.plugin == file) {
        services.push(name.clone());
        match probe(name, service, plan, scratch, Depth::Settings) {
            Ok(found) => descriptor = Some(found),
            Err(text) => problems.push(text),
        }
    }
    // Where no settings suit it, or there are none, it can still say what it is.
    if descriptor.is_none() {
        match one_service::look_at(&file) {
            Ok(found) => descriptor = Some(found),
            Err(text) if problems.is_empty() => problems.push(text),
            // The services' own words say that already.
            Err(_) => {}
        }
    }
    Listed {
        file,
        descriptor,
        problem: (!problems.is_empty()).then(|| problems.join("\n")),
        services,
    }
}

fn list_page(folder: &Path, listed: &[Listed]) -> String {
    if listed.is_empty() {
        return format!("no plugins in {}\n", folder.display());
    }
    let mut page = String::new();
    for Listed {
        file,
        descriptor,
        problem,
        services,
    } in listed
    {
        let name = file
            .file_name()
            .map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        let used = match services.as_slice() {
            [] => "unused".to_owned(),
            some => format!("used by {}", some.join(", ")),
        };
        let problem = problem
            .as_ref()
            .map(|text| format!("  {}\n", text.replace('\n', "\n  ")))
            .unwrap_or_default();
        let _ = match descriptor {
            Some(Descriptor {
                name: plugin,
                version,
                ..
            }) => write!(page, "{plugin:<12} {version:<8} {name}, {used}\n{problem}"),
            None => write!(page, "{name}: {used}; {}", problem.trim_start()),
        };
    }
    page
}

fn show(file: &Path) -> Result<Descriptor, Failure> {
    one_service::look_at(file).map_err(|text| Failure {
        exit: exit::FAILED,
        text,
    })
}

fn check(file: &Path, settings: &[String], inputs: &[Vec<u8>], json: bool) -> u8 {
    let settings = &unconfigured::as_meant(file, settings);
    let checked = one_service::check(file, settings);
    let rules = match &checked {
        Ok(descriptor) => conformance::hold(file, descriptor, settings, inputs),
        Err(_) => Vec::new(),
    };
    let conforms = conformance::conforms(&rules);
    let code = match checked.is_ok() && conforms {
        true => exit::DONE,
        false => exit::FAILED,
    };
    if json {
        let (descriptor, problem) = match &checked {
            Ok(descriptor) => (Some(descriptor), None),
            Err(text) => (None, Some(text)),
        };
        let document = serde_json::json!({
            "accepted": problem.is_none(), "problem": problem, "descriptor": descriptor,
            "conforms": problem.is_none() && conforms, "rules": rules,
        });
        return say_json(code, &document);
    }
    match checked {
        Ok(Descriptor { name, version, .. }) => {
            let but = if conforms {
                ""
            } else {
                ", but it breaks rules"
            };
            let rules = conformance::page(&rules);
            say(code, &format!("{name} {version}: accepted{but}\n{rules}"))
        }
        Err(text) => complain(code, &text),
    }
}

/// A plugin's file, from its path or from its name in the plugin folder.
pub(super) fn find(plugin: &str, sources: &CheckBrief) -> Result<PathBuf, Failure> {
    let path = Path::new(plugin);
    // A folder may well have the name of a plugin; anything else here is what was meant.
    let is_here = || path.metadata().is_ok_and(|facts| !facts.is_dir());
    if plugin.contains('/') || is_here() {
        return std::path::absolute(path).map_err(|error| Failure {
            exit: exit::FAILED,
            text: format!("{plugin}: {error}"),
        });
    }
    if let Some(found) = unconfigured::find(plugin, sources) {
        return Ok(found);
    }
    let plan = plan::run_check(sources).map_err(|complaints| Failure {
        exit: exit::REJECTED,
        text: format!(
            "{plugin} is no file here{}, and the configured plugin folder is not known:\n{}",
            unconfigured::elsewhere(sources),
            lines(&complaints)
        ),
    })?;
    Ok(plan::plugin_file(
        &plan.daemon.plugin_dir,
        plugin,
        Path::exists,
    ))
}

fn descriptor_page(descriptor: &Descriptor) -> String {
    let Descriptor {
        name,
        version,
        build_info,
        revision,
        needs,
        options,
        ..
    } = descriptor;
    let title = format!("{name} {version}");
    let build = match build_info.as_str() {
        "" => String::new(),
        text => format!("; build: {text}"),
    };
    let serves = marked(&[
        (descriptor.streams, "streams"),
        (descriptor.datagrams, "datagrams"),
    ]);
    let style = match descriptor.blocking {
        true => "blocking, each on a thread",
        false => "events, all on one loop",
    };
    let mut wants = needs.words();
    if wants.is_empty() {
        wants.push("nothing".to_owned());
    }
    let mut page = format!(
        "{}  (ABI {revision}{build})\nserves    {}\nstyle     {style}\nneeds     {}\n",
        title.trim_end(),
        serves.join(", "),
        wants.join(", ")
    );
    if !descriptor.refusal.is_empty() {
        let _ = writeln!(page, "refusal   \"{}\"", descriptor.refusal.escape_ascii());
    }
    for option in options {
        let default = option
            .default
            .as_ref()
            .map_or("required".into(), |default| as_written(option, default));
        let OptionFacts {
            name, kind, help, ..
        } = option;
        let _ = writeln!(page, "option    {name} ({kind}, {default}): {help}");
        if !option.choices.is_empty() {
            let _ = writeln!(page, "          one of {}", option.choices.join(", "));
        }
    }
    page
}

/// As it would stand in a file: texts, durations and sizes in quotes, lists in brackets.
fn as_written(option: &OptionFacts, default: &str) -> String {
    let written = match option.kind.as_str() {
        "integer" | "boolean" => default.to_owned(),
        "list" => {
            let items = default.split(',').map(str::trim);
            let items: Vec<String> = items
                .filter(|item| !item.is_empty())
                .map(|item| format!("{item:?}"))
                .collect();
            format!("[{}]", items.join(", "))
        }
        _ => format!("{default:?}"),
    };
    format!("default {written}")
}

fn marked(words: &[(bool, &str)]) -> Vec<String> {
    let marked = words.iter().filter(|(yes, _)| *yes);
    marked.map(|(_, word)| (*word).to_owned()).collect()
}
