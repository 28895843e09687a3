//! From a plan to services that can begin: plugins into the store, one probe each, addresses bound.
//!
//! What a plugin does wrong costs its own service: it is prepared as refused, with the reason. What
//! the addresses do wrong costs the whole: nothing is left bound, and the text says why.
//!
//! Invariant: every service of the plan has exactly one verdict before anything is bound.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::sys::signal::Signal;

use super::children::{Children, Kind};
use super::listeners::{Listener, bind_service, shard_count};
use super::service::{Edition, Places};
use crate::channel::{Brief, Depth, ProbeBrief, StoredPlugin};
use crate::lifecycle::Exit;
use crate::log;
use crate::plan::{Descriptor, Needs, OptionFacts, Plan, REFUSAL_BYTES_MAX, ServicePlan};
use crate::plugin_host::verify;

/// How long a probe may take while something serves that goes on doing so.
pub(super) const PROBE_MS: u64 = 10_000;
/// And at a start. Nobody tries again before an operator does, and the connections that wait in the
/// service's sockets are lost with it, so a busy machine gets its time. A loop ends by its CPU time.
pub(super) const PROBE_AT_START_MS: u64 = 30_000;

/// A plan on its way to serving.
pub(super) struct Preparation {
    pub(super) plan: Plan,
    pub(super) codes: BTreeMap<String, StoredPlugin>,
    /// The same by file and whose it may be: one that several services name is read once, and is one
    /// code for all.
    taken: BTreeMap<(PathBuf, Vec<u32>), StoredPlugin>,
    verdicts: BTreeMap<String, Result<Descriptor, String>>,
    /// Probes that have not answered, and whose they are.
    waiting: BTreeMap<i32, String>,
    /// For each of them.
    patience_ms: u64,
}

/// A service that can begin, or the reason why it cannot.
pub(super) struct Candidate {
    pub(super) name: String,
    pub(super) plan: ServicePlan,
    /// Of its code, if that could be had.
    pub(super) hash: Option<String>,
    pub(super) verdict: Result<Edition, String>,
}

/// What a candidate finds that serves already.
#[derive(Clone, Default)]
pub(super) struct Found {
    /// Listeners that it may go on with.
    pub(super) listeners: Vec<Rc<Listener>>,
    pub(super) places: Option<Places>,
}

impl Found {
    /// Sockets that were open before the daemon.
    pub(super) fn with(listeners: Vec<Rc<Listener>>) -> Found {
        Found {
            listeners,
            places: None,
        }
    }
}

impl Preparation {
    pub(super) fn new(plan: Plan, patience_ms: u64) -> Preparation {
        Preparation {
            plan,
            codes: BTreeMap::new(),
            taken: BTreeMap::new(),
            verdicts: BTreeMap::new(),
            waiting: BTreeMap::new(),
            patience_ms,
        }
    }

    /// Takes the plugin's file into the store.
    pub(super) fn take(&mut self, name: &str) -> Result<(), String> {
        let daemon = &self.plan.daemon;
        let service = &self.plan.services[name];
        let source = (service.plugin.clone(), verify::owners(daemon, service));
        let taken = match self.taken.get(&source) {
            Some(code) => Ok(code.clone()),
            None => verify::take(&service.plugin, &daemon.state_dir, &source.1),
        };
        let code = taken
            .and_then(|code| verify::compare(&code, service).map(|()| code))
            .map_err(|error| error.about(name, &service.plugin))?;
        self.taken.insert(source, code.clone());
        self.codes.insert(name.to_owned(), code);
        Ok(())
    }

    /// Starts the probe of a service whose code is there. A failure is its verdict.
    pub(super) fn probe(&mut self, name: &str, children: &mut Children, now_ms: u64) {
        let brief = Brief::Probe(ProbeBrief {
            service: name.to_owned(),
            daemon: self.plan.daemon.clone(),
            plan: self.plan.services[name].clone(),
            code: self.codes[name].clone(),
            places: self.plan.places.clone(),
            depth: Depth::Settings,
        });
        let kind = Kind::Probe(name.to_owned());
        match children.start(kind, &brief, &[], Some(now_ms + self.patience_ms)) {
            Ok(pid) => drop(self.waiting.insert(pid, name.to_owned())),
            Err(error) => {
                let text = format!("services.{name}: cannot start a probe: {error}");
                self.judge(name, Err(text));
            }
        }
    }

    /// The first verdict counts.
    pub(super) fn judge(&mut self, service: &str, verdict: Result<Descriptor, String>) {
        self.verdicts.entry(service.to_owned()).or_insert(verdict);
    }

    /// What a probe said; of one that nobody waits for it is nothing.
    pub(super) fn heard(&mut self, pid: i32, verdict: Result<Descriptor, String>) {
        if let Some(service) = self.waiting.remove(&pid) {
            self.judge(&service, verdict);
        }
    }

    /// A probe that ends without a verdict has been ended by the plugin it tried.
    pub(super) fn probe_ended(&mut self, pid: i32, exit: Exit) {
        if let Some(service) = self.waiting.remove(&pid) {
            let plugin = &self.plan.services[&service].plugin;
            let text = probe_died(&service, plugin, exit, self.patience_ms);
            self.judge(&service, Err(text));
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Those that are still at work, to be ended.
    pub(super) fn probes(&self) -> impl Iterator<Item = i32> {
        self.waiting.keys().copied()
    }

    pub(super) fn failures(&self) -> Vec<&str> {
        let verdicts = self.verdicts.values();
        verdicts
            .filter_map(|v| v.as_ref().err())
            .map(String::as_str)
            .collect()
    }

    /// Once all verdicts are there: those that were judged, bound; or what could not be had, and
    /// then nothing stays bound that was not before.
    pub(super) fn bind(
        &mut self,
        found: impl Fn(&str) -> Found,
    ) -> Result<Vec<Candidate>, Vec<String>> {
        let mut candidates = Vec::new();
        let mut complaints = Vec::new();
        for (name, verdict) in std::mem::take(&mut self.verdicts) {
            let plan = &self.plan.services[&name];
            let verdict = match verdict {
                Ok(descriptor) => match self.edition(&name, plan, descriptor, found(&name)) {
                    Ok(edition) => Ok(edition),
                    Err(text) => {
                        complaints.push(text);
                        continue;
                    }
                },
                Err(text) => Err(log::escape(&text).replace("\\n", "\n")),
            };
            candidates.push(Candidate {
                name: name.clone(),
                plan: plan.clone(),
                hash: self.codes.get(&name).map(|code| code.hash.clone()),
                verdict,
            });
        }
        if complaints.is_empty() {
            Ok(candidates)
        } else {
            Err(complaints)
        }
    }

    fn edition(
        &self,
        name: &str,
        plan: &ServicePlan,
        descriptor: Descriptor,
        found: Found,
    ) -> Result<Edition, String> {
        let shards = shard_count(cpus(), plan.workers);
        let listeners = bind_service(name, plan, descriptor.peer_first, shards, &found.listeners)
            .map_err(|error| error.to_string())?;
        for listener in listeners.iter().filter(|l| l.is_inherited()) {
            if let Err(text) = listener.set_again(&plan.socket, descriptor.peer_first) {
                tracing::warn!("an option stays as it was: {text}");
            }
        }
        let places = match found.places {
            Some(places) => places.next(plan.workers),
            None => Places::new(plan.workers),
        };
        Ok(Edition {
            plan: plan.clone(),
            code: self.codes[name].clone(),
            descriptor,
            listeners,
            leaving: Vec::new(),
            places: places
                .map_err(|error| format!("services.{name}: table of sources: {error}"))?,
            sandbox: String::new(),
        })
    }
}

/// What to say of a plugin whose probe ended without a verdict.
pub(super) fn probe_died(service: &str, plugin: &Path, exit: Exit, patience_ms: u64) -> String {
    let what = how_it_died(exit, patience_ms);
    format!(
        "services.{service}: plugin {path}: the plugin {what} while it was loaded and checked\n  \
         fix: install an undamaged file, built for this system; `polyport plugins check {path}` \
         repeats what was done",
        path = plugin.display()
    )
}

pub(super) fn how_it_died(exit: Exit, patience_ms: u64) -> String {
    match exit {
        Exit::Signal(number) if number == Signal::SIGKILL as i32 => {
            format!(
                "gave no answer within {} s, or used too much memory or time of the processor",
                patience_ms / 1_000
            )
        }
        exit => format!("ended its probe ({exit})"),
    }
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
    let mut refusal = descriptor.refusal;
    refusal.truncate(REFUSAL_BYTES_MAX);
    Descriptor {
        refusal,
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
