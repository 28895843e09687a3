//! `polyport check`: the first steps of a start, and nothing after them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use serde::Serialize;

use super::scratch::Scratch;
use super::{fail, say_json};
use crate::channel::{CheckBrief, Depth, ProbeBrief};
use crate::config::Complaint;
use crate::control::client::Failure;
use crate::exit;
use crate::plan::{self, DaemonPlan, Descriptor, Plan, ServicePlan};
use crate::plugin_host::verify;
use crate::supervisor;
use crate::terminal::{complain, say};

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
    /// What its sandbox allows beside what all may.
    needs: Vec<String>,
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
            Err(error) => {
                let text = error.to_string();
                let exit = exit::FAILED;
                return fail(&Failure { exit, text }, json);
            }
        },
        Err(complaints) => Verdict {
            complaints,
            ..Verdict::default()
        },
    };
    let code = match verdict.accepted {
        true => exit::DONE,
        false => exit::REJECTED,
    };
    match verdict.accepted {
        _ if json => say_json(code, &verdict),
        true => say(code, &verdict.page()),
        false => complain(code, &verdict.complaint()),
    }
}

fn check_services(plan: &Plan) -> std::io::Result<BTreeMap<String, ServiceVerdict>> {
    let scratch = Scratch::new()?;
    let services = plan.services.iter().map(|(name, service)| {
        let tried = probe(name, service, plan, scratch.path(), Depth::Settings);
        let (plugin, version, needs, problem) = match tried {
            Ok(found) => (found.name, found.version, found.needs.words(), None),
            Err(text) => (
                service.plugin.display().to_string(),
                String::new(),
                Vec::new(),
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
            needs,
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
    depth: Depth,
) -> Result<Descriptor, String> {
    let code = verify::take_for(service, &plan.daemon, scratch)
        .map_err(|error| error.about(name, &service.plugin))?;
    // The scratch directory is this operator's alone, so the probe keeps the operator's identity.
    let daemon = DaemonPlan {
        identity: None,
        ..plan.daemon.clone()
    };
    let service = ServicePlan {
        identity: None,
        ..service.clone()
    };
    supervisor::probe_once(ProbeBrief {
        service: name.to_owned(),
        daemon,
        plan: service,
        code,
        places: plan.places.clone(),
        depth,
    })
}

impl Verdict {
    fn complaint(&self) -> String {
        let complaints = self.complaints.iter().map(ToString::to_string);
        let problems = self.services.values().filter_map(|s| s.problem.clone());
        complaints.chain(problems).collect::<Vec<_>>().join("\n")
    }

    fn page(&self) -> String {
        let mut page = format!(
            "the configuration is accepted: {}\n",
            match self.services.len() {
                0 => "0 services: nothing would be served".to_owned(),
                count => counted(count, "service"),
            }
        );
        for (name, service) in &self.services {
            let ServiceVerdict {
                plugin,
                version,
                listen,
                needs,
                ..
            } = service;
            let workers = counted(service.workers.into(), "worker");
            let listen = listen.join(", ");
            let _ = writeln!(page, "  {name:<12} {plugin} {version}, {workers}, {listen}");
            if !needs.is_empty() {
                let _ = writeln!(page, "  {:<12} needs {}", "", needs.join(", "));
            }
        }
        page
    }
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}
