//! From a plan to services that can begin: plugins into the store, one probe each, addresses bound.
//!
//! What a plugin does wrong costs its own service: it is prepared as refused, with the reason. What
//! the addresses do wrong costs the whole: nothing is left bound, and the text says why.
//!
//! Invariant: every service of the plan has exactly one verdict before anything is bound.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use nix::sys::signal::Signal;

use super::Ending;
use super::children::{Children, Kind};
use super::directories::Directories;
use super::listeners::{Listener, bind_service, shard_count};
use crate::channel::{Brief, Depth, ProbeBrief, StoredPlugin};
use crate::exit;
use crate::lifecycle::Exit;
use crate::log;
use crate::plan::{Descriptor, Needs, OptionFacts, Plan, ServicePlan};
use crate::plugin_host::verify;
use crate::scoreboard::sources::SourceTable;

/// How long a probe may take.
pub(super) const PROBE_MS: u64 = 10_000;

pub(super) struct Preparation {
    plan: Plan,
    directories: Directories,
    codes: BTreeMap<String, StoredPlugin>,
    verdicts: BTreeMap<String, Result<Descriptor, String>>,
    waiting: BTreeSet<String>,
}

/// A service that can begin, or the reason why it cannot.
pub(super) struct Candidate {
    pub(super) name: String,
    pub(super) plan: ServicePlan,
    pub(super) verdict: Result<Admitted, String>,
}

pub(super) struct Admitted {
    pub(super) code: StoredPlugin,
    pub(super) descriptor: Descriptor,
    pub(super) listeners: Vec<Listener>,
    pub(super) sources: SourceTable,
}

/// All that serving needs.
pub(super) struct Prepared {
    pub(super) plan: Plan,
    pub(super) directories: Directories,
    pub(super) candidates: Vec<Candidate>,
}

impl Preparation {
    pub(super) fn begin(
        plan: Plan,
        directories: Directories,
        children: &mut Children,
        now_ms: u64,
    ) -> Preparation {
        let mut preparation = Preparation {
            directories,
            codes: BTreeMap::new(),
            verdicts: BTreeMap::new(),
            waiting: BTreeSet::new(),
            plan,
        };
        let services = preparation.plan.services.clone();
        for (name, service) in services {
            if let Err(text) = preparation.probe(&name, service, children, now_ms) {
                preparation.verdict(&name, Err(text));
            }
        }
        preparation
    }

    fn probe(
        &mut self,
        name: &str,
        service: ServicePlan,
        children: &mut Children,
        now_ms: u64,
    ) -> Result<(), String> {
        let daemon = &self.plan.daemon;
        let owners = verify::owners(daemon);
        let code = verify::take(&service.plugin, &daemon.state_dir, &owners)
            .map_err(|error| error.about(name, &service.plugin))?;
        let brief = Brief::Probe(ProbeBrief {
            service: name.to_owned(),
            daemon: daemon.clone(),
            plan: service,
            code: code.clone(),
            places: self.plan.places.clone(),
            depth: Depth::Settings,
        });
        let kind = Kind::Probe(name.to_owned());
        children
            .start(kind, &brief, &[], Some(now_ms + PROBE_MS))
            .map_err(|error| format!("services.{name}: cannot start a probe: {error}"))?;
        self.codes.insert(name.to_owned(), code);
        self.waiting.insert(name.to_owned());
        Ok(())
    }

    /// The first verdict counts.
    pub(super) fn verdict(&mut self, service: &str, verdict: Result<Descriptor, String>) {
        self.waiting.remove(service);
        self.verdicts.entry(service.to_owned()).or_insert(verdict);
    }

    /// A probe that ends without a verdict has been ended by the plugin it tried.
    pub(super) fn probe_ended(&mut self, service: &str, exit: Exit) {
        if !self.waiting.contains(service) {
            return;
        }
        let text = probe_died(service, &self.plan.services[service].plugin, exit);
        self.verdict(service, Err(text));
    }

    pub(super) fn is_complete(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Once all verdicts are there: the bound services, or why the daemon cannot start.
    pub(super) fn bind(mut self) -> Result<Prepared, Ending> {
        let cpus = cpus();
        let mut candidates = Vec::new();
        let mut complaints = Vec::new();
        for (name, plan) in &self.plan.services {
            let verdict = self
                .verdicts
                .remove(name)
                .expect("every service has a verdict");
            let code = self.codes.remove(name);
            let verdict = match (verdict, code) {
                (Ok(descriptor), Some(code)) => {
                    let shards = shard_count(cpus, plan.workers);
                    let listeners = bind_service(name, plan, descriptor.peer_first, shards);
                    let sources = SourceTable::new(plan.workers);
                    match (listeners, sources) {
                        (Ok(listeners), Ok(sources)) => Ok(Admitted {
                            code,
                            descriptor,
                            listeners,
                            sources,
                        }),
                        (Err(error), _) => {
                            complaints.push(error.to_string());
                            continue;
                        }
                        (_, Err(error)) => {
                            let text = format!("services.{name}: table of sources: {error}");
                            complaints.push(text);
                            continue;
                        }
                    }
                }
                (Ok(_), None) => unreachable!("only probes of stored code admit"),
                (Err(text), _) => Err(log::escape(&text).replace("\\n", "\n")),
            };
            candidates.push(Candidate {
                name: name.clone(),
                plan: plan.clone(),
                verdict,
            });
        }
        if !complaints.is_empty() {
            return Err(Ending {
                exit: exit::SYSTEM,
                text: complaints.join("\n"),
            });
        }
        Ok(Prepared {
            plan: self.plan,
            directories: self.directories,
            candidates,
        })
    }
}

/// What to say of a plugin whose probe ended without a verdict.
pub(super) fn probe_died(service: &str, plugin: &Path, exit: Exit) -> String {
    let what = match exit {
        Exit::Signal(number) if number == Signal::SIGKILL as i32 => {
            format!(
                "gave no answer within {} s, or used too much memory",
                PROBE_MS / 1_000
            )
        }
        exit => format!("ended its probe ({exit})"),
    };
    format!(
        "services.{service}: plugin {path}: the plugin {what} while it was loaded and checked\n  \
         fix: install an undamaged file, built for this system; `polyport plugins check {path}` \
         repeats what was done",
        path = plugin.display()
    )
}

/// A descriptor is the probe's word, and so perhaps its plugin's, which can write to the channel
/// itself: nothing in it may command a terminal.
pub(super) fn printable(descriptor: Descriptor) -> Descriptor {
    let texts = |texts: Vec<String>| texts.iter().map(|text| log::escape(text)).collect();
    let option = |option: OptionFacts| OptionFacts {
        name: log::escape(&option.name),
        kind: log::escape(&option.kind),
        help: log::escape(&option.help),
        default: option.default.as_deref().map(log::escape),
        choices: texts(option.choices),
        ..option
    };
    Descriptor {
        name: log::escape(&descriptor.name),
        version: log::escape(&descriptor.version),
        build_info: log::escape(&descriptor.build_info),
        revision: log::escape(&descriptor.revision),
        options: descriptor.options.into_iter().map(option).collect(),
        needs: Needs {
            files_read: texts(descriptor.needs.files_read),
            files_write: texts(descriptor.needs.files_write),
            ..descriptor.needs
        },
        ..descriptor
    }
}

/// What to say of a probe that admits the plugin and then does not say what it is.
pub(super) fn unreadable(service: &str, error: &std::io::Error) -> String {
    format!("services.{service}: the probe's answer cannot be read: {error}")
}

fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
