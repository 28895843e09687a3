//! `polyport check`: the first steps of a start, and nothing after them.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::scratch::Scratch;
use super::{complain, print_json};
use crate::channel::{CheckBrief, ProbeBrief};
use crate::config::Complaint;
use crate::exit;
use crate::plan::{self, DaemonPlan, Descriptor, Plan, ServicePlan};
use crate::plugin_host::verify;
use crate::supervisor;

#[derive(Debug, Default, Serialize)]
struct Verdict {
    accepted: bool,
    complaints: Vec<Complaint>,
    services: BTreeMap<String, ServiceVerdict>,
}

#[derive(Debug, Serialize)]
struct ServiceVerdict {
    accepted: bool,
    plugin: String,
    version: String,
    listen: Vec<String>,
    workers: u16,
    /// Why not.
    problem: Option<String>,
}

pub(super) fn run(sources: &CheckBrief, json: bool) -> u8 {
    let verdict = match plan::run_check(sources) {
        Ok(plan) => match check_services(&plan) {
            Ok(services) => {
                let accepted = services.values().all(|service| service.accepted);
                Verdict {
                    accepted,
                    complaints: Vec::new(),
                    services,
                }
            }
            Err(error) => return complain(exit::FAILED, &error.to_string()),
        },
        Err(complaints) => Verdict {
            complaints,
            ..Verdict::default()
        },
    };
    if json {
        print_json(&verdict);
    } else {
        verdict.print();
    }
    if verdict.accepted {
        exit::DONE
    } else {
        exit::REJECTED
    }
}

fn check_services(plan: &Plan) -> std::io::Result<BTreeMap<String, ServiceVerdict>> {
    let scratch = Scratch::new()?;
    let services = plan.services.iter().map(|(name, service)| {
        let tried = probe(name, service, plan, scratch.path());
        let (plugin, version, problem) = match tried {
            Ok(descriptor) => (descriptor.name, descriptor.version, None),
            Err(text) => (
                service.plugin.display().to_string(),
                String::new(),
                Some(text),
            ),
        };
        let verdict = ServiceVerdict {
            accepted: problem.is_none(),
            plugin,
            version,
            listen: service
                .endpoints
                .iter()
                .map(|endpoint| endpoint.written.clone())
                .collect(),
            workers: service.workers,
            problem,
        };
        (name.clone(), verdict)
    });
    Ok(services.collect())
}

/// Takes a service's plugin into a store of its own and probes it, as a start would.
pub(super) fn probe(
    name: &str,
    service: &ServicePlan,
    plan: &Plan,
    scratch: &Path,
) -> Result<Descriptor, String> {
    let mut owners = vec![nix::unistd::geteuid().as_raw()];
    owners.extend(plan.daemon.identity.as_ref().map(|identity| identity.uid));
    let code = verify::take(&service.plugin, scratch, &owners)
        .map_err(|error| error.about(name, &service.plugin))?;
    // The scratch directory is this operator's alone, so the probe keeps the operator's identity.
    let daemon = DaemonPlan {
        identity: None,
        ..plan.daemon.clone()
    };
    supervisor::probe_once(ProbeBrief {
        service: name.to_owned(),
        daemon,
        plan: service.clone(),
        code,
        places: plan.places.clone(),
    })
}

impl Verdict {
    fn print(&self) {
        for complaint in &self.complaints {
            eprintln!("polyport: {complaint}");
        }
        for service in self.services.values() {
            if let Some(problem) = &service.problem {
                complain(exit::REJECTED, problem);
            }
        }
        if !self.accepted {
            return;
        }
        println!(
            "the configuration is accepted: {} services",
            self.services.len()
        );
        for (name, service) in &self.services {
            let ServiceVerdict {
                plugin,
                version,
                listen,
                workers,
                ..
            } = service;
            println!(
                "  {name:<12} {plugin} {version}, {workers} workers, {}",
                listen.join(", ")
            );
        }
    }
}
