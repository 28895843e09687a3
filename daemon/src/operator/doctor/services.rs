//! What `doctor` finds about what is configured: system settings that would hold it back, descriptors
//! that would not be enough, plugins that are not where they are looked for.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::geteuid;

use super::Finding;
use super::system::{limit, sysctl};
use crate::plan::{Plan, ServicePlan};
use crate::plugin_host::verify;

/// Descriptors of a worker beside its connections and listeners: channel, scoreboard, event queue,
/// reserve, what a plugin opens.
const OWN_FDS: u64 = 64;
/// Of the supervisor for each worker: channel, scoreboard, answers.
const SUPERVISOR_FDS: u64 = 4;

pub(super) fn findings(plan: &Plan) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, service) in &plan.services {
        findings.extend(kernel_limits(name, service));
        findings.push(worker_descriptors(name, service));
        findings.extend(plugin(name, service, plan));
        findings.extend(low_ports(name, service));
    }
    findings.push(supervisor_descriptors(plan));
    findings.extend(plugin_dir(&plan.daemon.plugin_dir));
    findings
}

/// What the kernel cuts down without a word.
fn kernel_limits(name: &str, service: &ServicePlan) -> Vec<Finding> {
    let socket = &service.socket;
    let wanted = [
        (
            "socket.backlog",
            "net.core.somaxconn",
            u64::try_from(socket.backlog).ok(),
        ),
        (
            "socket.send_buffer",
            "net.core.wmem_max",
            socket.send_buffer_bytes.map(u64::from),
        ),
        (
            "socket.receive_buffer",
            "net.core.rmem_max",
            socket.receive_buffer_bytes.map(u64::from),
        ),
    ];
    let judged = wanted.into_iter().filter_map(|(key, setting, wanted)| {
        let (wanted, allowed) = (wanted?, sysctl(setting)?);
        let what = format!("{name}: {key}");
        Some(match wanted <= allowed {
            true => Finding::fine(what, format!("{wanted}, {setting} is {allowed}")),
            false => Finding::wrong(
                what,
                format!("{wanted}, but {setting} is {allowed}"),
                format!("sysctl {setting}={wanted}, or write a smaller {key}"),
            ),
        })
    });
    judged.collect()
}

fn worker_descriptors(name: &str, service: &ServicePlan) -> Finding {
    let workers = u64::from(service.workers.max(1));
    let share = u64::from(service.limits.connections).div_ceil(workers);
    let needed = share + service.endpoints.len() as u64 + OWN_FDS;
    let what = format!("{name}: descriptors of a worker");
    judge(what, needed, "write a smaller limits.connections")
}

fn supervisor_descriptors(plan: &Plan) -> Finding {
    let services = plan.services.values();
    let needed = services.map(|service| {
        let workers = u64::from(service.workers);
        workers * (SUPERVISOR_FDS + service.endpoints.len() as u64)
    });
    // Twice, because two generations can live at a time.
    let needed = OWN_FDS + 2 * needed.sum::<u64>();
    judge(
        "supervisor: descriptors".to_owned(),
        needed,
        "have fewer workers",
    )
}

fn judge(what: String, needed: u64, otherwise: &str) -> Finding {
    let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return Finding::fine(what, format!("{needed} needed"));
    };
    match needed <= hard {
        true => Finding::fine(what, format!("{needed} needed, {} allowed", limit(hard))),
        false => Finding::wrong(
            what,
            format!("{needed} needed, {} allowed", limit(hard)),
            format!("raise RLIMIT_NOFILE (LimitNOFILE= of the unit), or {otherwise}"),
        ),
    }
}

fn low_ports(name: &str, service: &ServicePlan) -> Option<Finding> {
    let first = sysctl("net.ipv4.ip_unprivileged_port_start")?;
    let ports = service
        .endpoints
        .iter()
        .filter_map(|endpoint| endpoint.address.socket());
    let low = ports
        .map(|at| u64::from(at.port()))
        .find(|port| (1..first).contains(port))?;
    let what = format!("{name}: port {low}");
    Some(match geteuid().is_root() {
        true => Finding::fine(what, "bound by root before workers give that up"),
        false => Finding::wrong(
            what,
            format!("below {first}, and this is not root"),
            "start the daemon as root with daemon.user set, or give it CAP_NET_BIND_SERVICE",
        ),
    })
}

fn plugin(name: &str, service: &ServicePlan, plan: &Plan) -> Option<Finding> {
    let file = &service.plugin;
    let what = format!("{name}: plugin");
    let Ok(seen) = fs::metadata(file) else {
        let folder = plan.daemon.plugin_dir.display();
        return Some(Finding::wrong(
            what,
            format!("{} is not there", file.display()),
            format!("install it (install -m 644 PLUGIN.so {folder}/), or write its path"),
        ));
    };
    let owners = verify::owners(&plan.daemon, service);
    let is_trusted = seen.uid() == 0 || owners.contains(&seen.uid());
    let is_open = seen.permissions().mode() & 0o022 != 0;
    Some(match (is_trusted, is_open) {
        (true, false) => Finding::fine(what, file.display().to_string()),
        (false, _) => Finding::wrong(
            what,
            format!("{} belongs to uid {}", file.display(), seen.uid()),
            format!("chown root {}", file.display()),
        ),
        (true, true) => Finding::wrong(
            what,
            format!("{} can be written to by others", file.display()),
            format!("chmod go-w {}", file.display()),
        ),
    })
}

fn plugin_dir(folder: &Path) -> Option<Finding> {
    let what = "daemon.plugin_dir";
    let found = folder.display().to_string();
    match fs::metadata(folder) {
        Ok(seen) if seen.permissions().mode() & 0o022 == 0 => Some(Finding::fine(what, found)),
        Ok(_) => Some(Finding::wrong(
            what,
            format!("{found} can be written to by others"),
            format!("chmod go-w {found}"),
        )),
        Err(error) => Some(Finding::wrong(
            what,
            format!("{found}: {error}"),
            format!("mkdir -p {found}, or set daemon.plugin_dir"),
        )),
    }
}
