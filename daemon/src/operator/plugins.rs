//! `polyport plugins`: what is in the plugin folder, and what one plugin says of itself.
//!
//! The command never maps a plugin into its own process: a probe does, as at a start.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Serialize;

use super::check::probe;
use super::scratch::Scratch;
use super::{Output, Sources, complain, one_service, print_json};
use crate::channel::CheckBrief;
use crate::config::Complaint;
use crate::exit;
use crate::plan::{self, Descriptor, Plan};

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
    /// Say whether a plugin would be taken: file, handshake, options
    ///
    /// Exit 0 if it would, 1 if not.
    Check {
        /// A file, or the name of a plugin in the plugin folder
        plugin: String,
        /// A setting to try: KEY=VALUE, as below [services.NAME.settings]
        #[arg(long = "option", value_name = "KEY=VALUE")]
        options: Vec<String>,
        #[command(flatten)]
        sources: Sources,
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
        Verb::List { sources, output } => list(&sources.into(), output.json),
        Verb::Show {
            plugin,
            sources,
            output,
        } => show(&plugin, &sources.into(), output.json),
        Verb::Check {
            plugin,
            options,
            sources,
            output,
        } => check(&plugin, &options, &sources.into(), output.json),
    }
}

fn list(sources: &CheckBrief, json: bool) -> u8 {
    let plan = match plan::run_check(sources) {
        Ok(plan) => plan,
        Err(complaints) => return complain(exit::REJECTED, &lines(&complaints)),
    };
    let folder = &plan.daemon.plugin_dir;
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            let text = format!("daemon.plugin_dir: {}: {error}", folder.display());
            return complain(exit::FAILED, &text);
        }
    };
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
    let listed: Vec<Listed> = files.into_iter().map(|file| listed(file, &plan)).collect();
    if json {
        print_json(&serde_json::json!({ "plugin_dir": folder, "plugins": listed }));
    } else {
        print_list(folder, &listed);
    }
    exit::DONE
}

fn listed(file: PathBuf, plan: &Plan) -> Listed {
    let users = plan
        .services
        .iter()
        .filter(|(_, service)| service.plugin == file);
    let services = users.map(|(name, _)| name.clone()).collect();
    // With no settings a plugin that requires one refuses; it is still worth listing.
    match try_file(&file, &[]) {
        Ok(descriptor) => Listed {
            file,
            descriptor: Some(descriptor),
            problem: None,
            services,
        },
        Err(text) => Listed {
            file,
            descriptor: None,
            problem: Some(text),
            services,
        },
    }
}

fn print_list(folder: &Path, listed: &[Listed]) {
    if listed.is_empty() {
        println!("no plugins in {}", folder.display());
    }
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
        match (descriptor, problem) {
            (Some(descriptor), _) => {
                let Descriptor {
                    name: plugin,
                    version,
                    ..
                } = descriptor;
                println!("{plugin:<12} {version:<8} {name}, {used}");
            }
            (None, problem) => {
                println!(
                    "{name}: {used}; {}",
                    problem.as_deref().unwrap_or("unknown")
                );
            }
        }
    }
}

fn show(plugin: &str, sources: &CheckBrief, json: bool) -> u8 {
    match find(plugin, sources).and_then(|file| try_file(&file, &[])) {
        Ok(descriptor) if json => {
            print_json(&descriptor);
            exit::DONE
        }
        Ok(descriptor) => {
            print_descriptor(&descriptor);
            exit::DONE
        }
        Err(text) => complain(exit::FAILED, &text),
    }
}

fn check(plugin: &str, options: &[String], sources: &CheckBrief, json: bool) -> u8 {
    let tried = find(plugin, sources).and_then(|file| try_file(&file, options));
    if json {
        let (descriptor, problem) = match &tried {
            Ok(descriptor) => (Some(descriptor), None),
            Err(text) => (None, Some(text)),
        };
        let accepted = problem.is_none();
        print_json(&serde_json::json!({
            "accepted": accepted, "problem": problem, "descriptor": descriptor
        }));
    }
    match tried {
        Ok(_) if json => exit::DONE,
        Err(_) if json => exit::FAILED,
        Ok(descriptor) => {
            println!("{} {}: accepted", descriptor.name, descriptor.version);
            exit::DONE
        }
        Err(text) => complain(exit::FAILED, &text),
    }
}

/// A plugin's file, from its path or from its name in the plugin folder.
pub(super) fn find(plugin: &str, sources: &CheckBrief) -> Result<PathBuf, String> {
    let path = Path::new(plugin);
    if plugin.contains('/') || path.is_file() {
        return std::path::absolute(path).map_err(|error| format!("{plugin}: {error}"));
    }
    let plan = plan::run_check(sources).map_err(|complaints| {
        let lines = lines(&complaints);
        format!("{plugin} is no file here, and the plugin folder is not known:\n{lines}")
    })?;
    Ok(plan::plugin_file(
        &plan.daemon.plugin_dir,
        plugin,
        Path::exists,
    ))
}

/// Probes one file by itself, with these settings ("key=value").
fn try_file(file: &Path, settings: &[String]) -> Result<Descriptor, String> {
    let scratch = Scratch::new().map_err(|error| error.to_string())?;
    let listen = ["tcp://127.0.0.1:0".to_owned()];
    let sources = one_service::sources(file, &listen, settings, scratch.path());
    let plan = plan::run_check(&sources).map_err(|complaints| lines(&complaints))?;
    let (name, service) = plan
        .services
        .iter()
        .next()
        .expect("the made-up plan has one service");
    probe(name, service, &plan, scratch.path())
}

fn lines(complaints: &[Complaint]) -> String {
    let lines: Vec<String> = complaints.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

fn print_descriptor(descriptor: &Descriptor) {
    let Descriptor {
        name,
        version,
        build_info,
        revision,
        needs,
        options,
        ..
    } = descriptor;
    println!("{name} {version}  (ABI {revision}, built with {build_info})");
    let speaks = [
        (descriptor.streams, "streams"),
        (descriptor.datagrams, "datagrams"),
    ];
    let speaks: Vec<&str> = speaks
        .iter()
        .filter(|(yes, _)| *yes)
        .map(|(_, word)| *word)
        .collect();
    println!("serves    {}", speaks.join(", "));
    let style = if descriptor.blocking {
        "blocking, each on a thread"
    } else {
        "events, all on one loop"
    };
    println!("style     {style}");
    let mut wants = Vec::new();
    wants.extend(needs.files_read.iter().map(|path| format!("read {path}")));
    wants.extend(needs.files_write.iter().map(|path| format!("write {path}")));
    let flags = [
        (needs.connect, "connect"),
        (needs.exec, "exec"),
        (needs.jit, "jit"),
    ];
    wants.extend(
        flags
            .iter()
            .filter(|(yes, _)| *yes)
            .map(|(_, word)| (*word).to_owned()),
    );
    println!(
        "needs     {}",
        if wants.is_empty() {
            "nothing".into()
        } else {
            wants.join(", ")
        }
    );
    for option in options {
        let default = option
            .default
            .as_ref()
            .map_or("required".into(), |d| format!("default {d:?}"));
        println!(
            "option    {} ({}, {default}): {}",
            option.name, option.kind, option.help
        );
        if !option.choices.is_empty() {
            println!("          one of {}", option.choices.join(", "));
        }
    }
}
