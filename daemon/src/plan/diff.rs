//! The difference between two plans, as steps: what a reload would do, and why.
//!
//! It compares; it does not know what runs. Whether a plugin's file is another one than before is
//! told by whoever keeps the store.
//!
//! Invariant: every service of either plan has exactly one step.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{DaemonPlan, Endpoint, Plan, ServicePlan};

/// What becomes of one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "step")]
pub enum Step {
    Add,
    Remove,
    /// A new generation takes over.
    Renew {
        because: Vec<String>,
    },
    /// Its workers go by other limits and rules from now on, and keep their connections.
    Adjust {
        because: Vec<String>,
    },
    Keep,
}

/// What a service runs as, beside what its plan says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The plugin's code has changed since it was taken.
    pub code_changed: bool,
    /// It does not serve, and there is reason to try again.
    pub wanting: Option<String>,
}

/// A change that needs a restart of the daemon: the key, and what it would change.
pub fn needs_restart(old: &DaemonPlan, new: &DaemonPlan) -> Vec<String> {
    let mut fixed = Vec::new();
    let mut compare = |key: &str, old: &dyn fmt::Display, new: &dyn fmt::Display| {
        let (old, new) = (old.to_string(), new.to_string());
        if old != new {
            fixed.push(format!(
                "daemon.{key}: it cannot change from {old} to {new} while the daemon runs\n  fix: \
                 restart it, or write {old} again"
            ));
        }
    };
    compare("run_dir", &old.run_dir.display(), &new.run_dir.display());
    compare(
        "state_dir",
        &old.state_dir.display(),
        &new.state_dir.display(),
    );
    fixed
}

/// The steps from one plan to another; `seen` says how the services of the old one are.
pub fn steps(old: &Plan, new: &Plan, seen: &BTreeMap<String, Seen>) -> BTreeMap<String, Step> {
    let everywhere = of_daemon(&old.daemon, &new.daemon);
    let adjusted = level_changed(&old.daemon, &new.daemon);
    let mut steps: BTreeMap<String, Step> = old
        .services
        .keys()
        .map(|name| (name.clone(), Step::Remove))
        .collect();
    for (name, service) in &new.services {
        let step = match old.services.get(name) {
            None => Step::Add,
            Some(before) => {
                let mut renewed = everywhere.clone();
                renewed.extend(of_service(before, service));
                if let Some(seen) = seen.get(name) {
                    if seen.code_changed {
                        renewed.push("the plugin's file".to_owned());
                    }
                    renewed.extend(seen.wanting.clone());
                }
                let mut because = adjusted.clone();
                because.extend(in_place(before, service));
                match (renewed.is_empty(), because.is_empty()) {
                    (false, _) => Step::Renew { because: renewed },
                    (true, false) => Step::Adjust { because },
                    (true, true) => Step::Keep,
                }
            }
        };
        steps.insert(name.clone(), step);
    }
    steps
}

/// What every worker of the daemon is started with.
fn of_daemon(old: &DaemonPlan, new: &DaemonPlan) -> Vec<String> {
    let rows = [
        ("daemon.user", old.identity != new.identity),
        ("daemon.sandbox", old.sandbox != new.sandbox),
        ("daemon.log.target", old.log.target != new.log.target),
        ("daemon.log.format", old.log.format != new.log.format),
        ("daemon.log.facility", old.log.facility != new.log.facility),
    ];
    named(&rows)
}

/// What the hub is started with; it is replaced if that changes.
pub fn of_hub(old: &DaemonPlan, new: &DaemonPlan) -> Vec<String> {
    let rows = [
        ("daemon.bus.history", old.bus.history != new.bus.history),
        ("daemon.bus.keep", old.bus.keep_ms != new.bus.keep_ms),
    ];
    let mut changed = of_daemon(old, new);
    changed.extend(named(&rows));
    changed
}

fn level_changed(old: &DaemonPlan, new: &DaemonPlan) -> Vec<String> {
    named(&[("daemon.log.level", old.log.level != new.log.level)])
}

fn of_service(old: &ServicePlan, new: &ServicePlan) -> Vec<String> {
    let written = |plan: &ServicePlan| -> Vec<Endpoint> { plan.endpoints.clone() };
    let rows = [
        ("plugin", old.plugin != new.plugin),
        ("listen", written(old) != written(new)),
        ("workers", old.workers != new.workers),
        ("socket", old.socket != new.socket),
        ("user", old.identity != new.identity),
        ("when_failing", old.when_failing != new.when_failing),
        ("settings", old.settings != new.settings),
        ("limits.threads", old.limits.threads != new.limits.threads),
        (
            "limits.pending",
            (old.limits.pending == 0) != (new.limits.pending == 0),
        ),
        (
            "limits.input",
            old.limits.input_bytes_max != new.limits.input_bytes_max,
        ),
    ];
    named(&rows)
}

/// What holds for workers that run already, once they are told.
fn in_place(old: &ServicePlan, new: &ServicePlan) -> Vec<String> {
    let rows = [
        ("limits", old.limits != new.limits),
        ("access", old.access != new.access),
    ];
    named(&rows)
}

fn named(rows: &[(&str, bool)]) -> Vec<String> {
    let changed = rows.iter().filter(|(_, changed)| *changed);
    changed.map(|(key, _)| (*key).to_owned()).collect()
}

impl Step {
    pub fn is_change(&self) -> bool {
        *self != Step::Keep
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Add => write!(f, "add"),
            Step::Remove => write!(f, "remove"),
            Step::Renew { because } => write!(f, "new generation ({})", because.join(", ")),
            Step::Adjust { because } => write!(f, "adjust in place ({})", because.join(", ")),
            Step::Keep => write!(f, "keep"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{
        Access, BusPlan, Facility, Limits, LogFormat, LogLevel, LogPlan, LogTarget, SandboxPolicy,
    };
    use crate::plan::{Address, SocketPlan, UnixName};

    fn service() -> ServicePlan {
        ServicePlan {
            plugin: "/x.so".into(),
            endpoints: vec![Endpoint {
                written: "unix:@x".to_owned(),
                address: Address::Unix(UnixName::Abstract("x".to_owned())),
            }],
            workers: 1,
            when_failing: crate::plan::WhenFailing::default(),
            limits: Limits::default(),
            access: Access::default(),
            socket: SocketPlan::default(),
            identity: None,
            pin: None,
            settings: BTreeMap::new(),
        }
    }

    fn plan(services: &[(&str, ServicePlan)]) -> Plan {
        Plan {
            daemon: DaemonPlan {
                plugin_dir: "/p".into(),
                run_dir: "/r".into(),
                state_dir: "/s".into(),
                identity: None,
                drain_timeout_ms: 1,
                hang_timeout_ms: 1,
                thread_hang_timeout_ms: 30_000,
                sandbox: SandboxPolicy::BestEffort,
                bus: BusPlan {
                    history: 0,
                    keep_ms: 1,
                    nats: None,
                },
                log: LogPlan {
                    target: LogTarget::Stderr,
                    facility: Facility::Daemon,
                    level: LogLevel::Info,
                    format: LogFormat::Text,
                },
                control: crate::plan::ControlPlan::default(),
            },
            services: services
                .iter()
                .map(|(name, service)| ((*name).to_owned(), service.clone()))
                .collect(),
            places: BTreeMap::new(),
        }
    }

    type Edit = fn(&mut ServicePlan);

    #[test]
    fn what_a_change_of_a_service_asks_for() {
        let rows: [(&str, Edit, &str); 9] = [
            ("nothing", |_| {}, "keep"),
            (
                "plugin",
                |s| s.plugin = "/y.so".into(),
                "new generation (plugin)",
            ),
            ("listen", |s| s.endpoints.clear(), "new generation (listen)"),
            ("workers", |s| s.workers = 2, "new generation (workers)"),
            (
                "settings",
                |s| drop(s.settings.insert("a".to_owned(), 1.into())),
                "new generation (settings)",
            ),
            (
                "socket",
                |s| s.socket.backlog += 1,
                "new generation (socket)",
            ),
            ("idle", |s| s.limits.idle_ms = 9, "adjust in place (limits)"),
            (
                "sensor",
                |s| s.access.sensor = true,
                "adjust in place (access)",
            ),
            (
                "threads and more",
                |s| {
                    s.limits.threads.max = 9;
                    s.limits.idle_ms = 9;
                },
                "new generation (limits.threads)",
            ),
        ];
        for (what, edit, expected) in rows {
            let mut changed = service();
            edit(&mut changed);
            let (old, new) = (plan(&[("a", service())]), plan(&[("a", changed)]));
            let step = &steps(&old, &new, &BTreeMap::new())["a"];
            assert_eq!(step.to_string(), expected, "{what}");
        }
    }

    #[test]
    fn services_come_go_and_stay_and_each_has_a_step() {
        let old = plan(&[
            ("stays", service()),
            ("goes", service()),
            ("file", service()),
        ]);
        let new = plan(&[
            ("stays", service()),
            ("comes", service()),
            ("file", service()),
        ]);
        let changed = Seen {
            code_changed: true,
            wanting: None,
        };
        let seen = BTreeMap::from([("file".to_owned(), changed)]);
        let said: Vec<String> = steps(&old, &new, &seen)
            .iter()
            .map(|(name, step)| format!("{name}: {step}"))
            .collect();
        let expected = [
            "comes: add",
            "file: new generation (the plugin's file)",
            "goes: remove",
            "stays: keep",
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn what_the_daemon_is_decides_about_all_services() {
        let old = plan(&[("a", service())]);
        let mut new = old.clone();
        new.daemon.log.level = LogLevel::Debug;
        let said = |new: &Plan| steps(&old, new, &BTreeMap::new())["a"].to_string();
        assert_eq!(said(&new), "adjust in place (daemon.log.level)");
        let hubs = |new: &Plan| of_hub(&old.daemon, &new.daemon).join(", ");
        assert_eq!(hubs(&new), "");
        new.daemon.bus.history = 7;
        assert_eq!(said(&new), "adjust in place (daemon.log.level)");
        assert_eq!(hubs(&new), "daemon.bus.history");
        new.daemon.sandbox = SandboxPolicy::Required;
        assert_eq!(hubs(&new), "daemon.sandbox, daemon.bus.history");
        assert_eq!(said(&new), "new generation (daemon.sandbox)");
        assert_eq!(needs_restart(&old.daemon, &new.daemon), [""; 0]);
        new.daemon.state_dir = "/elsewhere".into();
        let text = needs_restart(&old.daemon, &new.daemon).join("\n");
        assert!(text.starts_with("daemon.state_dir: it cannot change from /s to /elsewhere"));
    }
}
