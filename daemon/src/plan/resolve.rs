//! Configuration to plan: every name becomes a number or a path, every contradiction a complaint.
//!
//! Pure: what must be known of the machine comes in as [`Facts`]. It goes on where the walk over the
//! files stopped, on whatever that accepted, so that one check shows the complaints of both; a key
//! that was refused there is not complained of again for being absent.
//!
//! Invariant: a plan comes out only if there is no complaint at all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::endpoint::{self, Want};
use super::facts::Facts;
use super::{
    Access, Address, ControlPlan, DaemonPlan, Endpoint, Hours, Identity, Limits, LogPlan,
    LogTarget, Operators, Plan, ServicePlan, SocketPlan, ThreadLimits, WORKERS_MAX, parse_network,
};
use super::{fits, socket};
use crate::config::{self, Complaint, Config, Fault, Place, in_order, shown};

pub fn resolve(config: Config, facts: &Facts) -> Result<Plan, Vec<Complaint>> {
    let mut resolving = Resolving {
        config: &config,
        facts,
        complaints: config.complaints.clone(),
    };
    let (user, group) = (&config.daemon.user, &config.daemon.group);
    let identity = resolving.identity("daemon", user.as_deref(), group.as_deref());
    let log = resolving.log();
    let control = resolving.control();
    let bus = super::bus::resolve(&config.daemon.bus, |key, fault| {
        if !resolving.was_refused(key) {
            resolving.complain(key, fault);
        }
    });
    let mut claims = Vec::new();
    let mut services = BTreeMap::new();
    for (name, service) in &config.services {
        let plan = resolving.service(name, service, &mut claims);
        if service.enabled {
            services.insert(name.clone(), plan);
        }
    }
    resolving.refuse_overlaps(claims);
    let complaints = resolving.complaints;
    if !complaints.is_empty() {
        return Err(in_order(complaints, &config.files));
    }
    let places = places_of(&config, &services);
    let daemon = config.daemon;
    let daemon = DaemonPlan {
        plugin_dir: daemon.plugin_dir,
        run_dir: daemon.run_dir,
        state_dir: daemon.state_dir,
        identity,
        drain_timeout_ms: daemon.drain_timeout_ms,
        hang_timeout_ms: daemon.hang_timeout_ms,
        thread_hang_timeout_ms: daemon.thread_hang_timeout_ms,
        sandbox: daemon.sandbox,
        log,
        control,
        bus,
    };
    Ok(Plan {
        daemon,
        services,
        places,
    })
}

/// An endpoint somebody wants, for comparing it with all others.
struct Claim {
    service: String,
    place: Place,
    endpoint: Endpoint,
    v6only: bool,
    device: Option<String>,
}

impl Claim {
    fn want(&self) -> Want<'_> {
        Want {
            address: &self.endpoint.address,
            v6only: self.v6only,
            device: self.device.as_deref(),
        }
    }
}

struct Resolving<'a> {
    config: &'a Config,
    facts: &'a Facts,
    complaints: Vec<Complaint>,
}

impl Resolving<'_> {
    /// `path` is the table in which both stand.
    fn identity(
        &mut self,
        path: &str,
        user: Option<&str>,
        group: Option<&str>,
    ) -> Option<Identity> {
        let (user_key, group_key) = (format!("{path}.user"), format!("{path}.group"));
        let Some(user) = user else {
            if group.is_some() && !self.was_refused(&user_key) {
                let hint = format!("set {user_key} as well");
                self.complain(&group_key, Fault::new("a group without a user").hint(hint));
            }
            return None;
        };
        let numbers = self.looked_up(&user_key, "user", user, (self.facts.user)(user));
        let gid = match group {
            Some(group) => self.looked_up(&group_key, "group", group, (self.facts.group)(group)),
            None => numbers.map(|numbers| numbers.gid),
        };
        Some(Identity {
            user: user.to_owned(),
            uid: numbers?.uid,
            gid: gid?,
        })
    }

    fn control(&mut self) -> ControlPlan {
        const KEY: &str = "daemon.control.operators";
        let written = self.config.daemon.control.operators.clone();
        let mut operators = Operators::default();
        for name in &written {
            match name.strip_prefix('@') {
                Some(group) => {
                    let looked = self.looked_up(KEY, "group", group, (self.facts.group)(group));
                    operators.gids.extend(looked);
                }
                None => {
                    let looked = self.looked_up(KEY, "user", name, (self.facts.user)(name));
                    operators.uids.extend(looked.map(|numbers| numbers.uid));
                }
            }
        }
        ControlPlan { written, operators }
    }

    fn looked_up<T>(
        &mut self,
        key: &str,
        what: &str,
        name: &str,
        looked: super::facts::Looked<T>,
    ) -> Option<T> {
        let name = shown(name);
        let fault = match looked {
            Ok(Some(found)) => return Some(found),
            Ok(None) => Fault::new(format!("there is no {what} \"{name}\" on this machine")).hint(
                format!("create it, or name another {what} (by name, not by number)"),
            ),
            Err(error) => Fault::new(format!("cannot look up {what} \"{name}\": {error}")),
        };
        self.complain(key, fault);
        None
    }

    fn log(&mut self) -> LogPlan {
        let log = &self.config.daemon.log;
        let target = match (log.target, &log.file) {
            (config::LogTarget::Stderr, _) => LogTarget::Stderr,
            (config::LogTarget::Journal, _) => LogTarget::Journal,
            (config::LogTarget::Syslog, _) => LogTarget::Syslog,
            (config::LogTarget::File, Some(file)) => LogTarget::File(file.clone()),
            (config::LogTarget::File, None) => {
                if !self.was_refused("daemon.log.file") {
                    let fault = Fault::new("a log file without a path").hint("set daemon.log.file");
                    self.complain("daemon.log.target", fault);
                }
                LogTarget::Stderr
            }
        };
        LogPlan {
            target,
            facility: log.facility,
            level: log.level,
            format: log.format,
        }
    }

    fn service(
        &mut self,
        name: &str,
        service: &config::Service,
        claims: &mut Vec<Claim>,
    ) -> ServicePlan {
        let path = format!("services.{name}");
        let plugin = self.plugin(&path, service.plugin.as_deref());
        let endpoints = self.endpoints(&path, service.listen.as_deref());
        if service.enabled {
            claims.extend(endpoints.iter().map(|(place, endpoint)| Claim {
                service: name.to_owned(),
                place: place.clone(),
                endpoint: endpoint.clone(),
                v6only: service.socket.v6only,
                device: service.socket.device.clone(),
            }));
        }
        let endpoints: Vec<Endpoint> = endpoints
            .into_iter()
            .map(|(_, endpoint)| endpoint)
            .collect();
        let socket = self.socket(&path, service, &endpoints);
        self.refuse_blind_sensor(&path, service, &endpoints);
        let workers = match service.workers {
            config::Workers::Count(count) => count,
            config::Workers::Word(_) => self.facts.cpus.clamp(1, WORKERS_MAX),
        };
        ServicePlan {
            plugin,
            endpoints,
            workers,
            when_failing: service.when_failing,
            limits: self.limits(&path, &service.limits),
            access: self.access(&path, &service.access),
            socket,
            identity: self.identity(&path, service.user.as_deref(), service.group.as_deref()),
            pin: self.pin(&path, service.sha256.as_deref()),
            settings: service.settings.clone(),
        }
    }

    fn socket(
        &mut self,
        path: &str,
        service: &config::Service,
        endpoints: &[Endpoint],
    ) -> SocketPlan {
        let written = service.listen.as_ref().map_or(0, Vec::len);
        let refused = self.was_refused(&format!("{path}.listen"));
        let whole = written > 0 && written == endpoints.len() && !refused;
        let whole = whole.then_some(endpoints);
        let config = self.config;
        // A value that was refused has its complaint.
        let was_written = |name: &str| {
            let key = format!("{path}.{name}");
            config.places.contains_key(&key) && !config.refused.contains(&key)
        };
        for (name, fault) in whole.map_or_else(Vec::new, |all| fits::unfit(all, was_written)) {
            self.complain(&format!("{path}.{name}"), fault);
        }
        let of_socket = |name: &str| was_written(&format!("socket.{name}"));
        let (plan, faults) = socket::resolve(&service.socket, whole, of_socket, self.facts);
        for (name, fault) in faults {
            self.complain(&format!("{path}.socket.{name}"), fault);
        }
        plan
    }

    fn limits(&self, path: &str, limits: &config::Limits) -> Limits {
        let written = |name: &str| self.is_written(path, &format!("limits.{name}"));
        Limits {
            connections: limits.connections,
            per_source: limits.per_source,
            rate: limits.rate,
            burst: if limits.burst == 0 {
                limits.rate
            } else {
                limits.burst
            },
            per_source_on_loopback: written("per_source"),
            rate_on_loopback: written("rate"),
            pending: limits.pending,
            idle_ms: limits.idle_ms,
            lifetime_ms: limits.lifetime_ms,
            progress_ms: limits.progress_ms,
            stall_ms: limits.stall_ms,
            bandwidth: limits.bandwidth,
            input_bytes_max: limits.input_bytes_max,
            output_bytes_max: limits.output_bytes_max,
            datagram_rate: limits.datagram_rate,
            datagram_burst: limits.datagram_burst,
            datagram_rate_written: written("datagram_rate"),
            threads: ThreadLimits {
                max: limits.threads_max,
                queue_max: limits.queue_max,
                handler_ms: limits.handler_ms,
            },
        }
    }

    /// Whoever likes can send a datagram in another's name, and so have that one banned; and a peer
    /// on a Unix socket has no address that could be banned.
    fn refuse_blind_sensor(&mut self, path: &str, service: &config::Service, at: &[Endpoint]) {
        let is = |of: fn(&Address) -> bool| at.iter().any(|endpoint| of(&endpoint.address));
        if !service.access.sensor || at.is_empty() || is(|at| matches!(at, Address::Tcp(_))) {
            return;
        }
        let why = match is(|at| matches!(at, Address::Unix(_))) {
            true => "a sensor bans addresses, and a peer on a Unix socket has none",
            false => "a sensor cannot tell who has sent a datagram",
        };
        let fault = Fault::new(why).hint("listen on tcp:// as well, or leave it out");
        self.complain(&format!("{path}.access.sensor"), fault);
    }

    fn access(&mut self, path: &str, access: &config::Access) -> Access {
        let key = |name: &str| format!("{path}.access.{name}");
        Access {
            allow: self.entries(&key("allow"), &access.allow, parse_network),
            deny: self.entries(&key("deny"), &access.deny, parse_network),
            times: self.entries(&key("times"), &access.times, Hours::parse),
            banner_refused: access.banner_refused.clone(),
            sensor: access.sensor,
            sensor_ban_ms: access.sensor_ban_ms,
            proxy_from: self.entries(&key("proxy_from"), &access.proxy_from, parse_network),
        }
    }

    /// The entries of a list; each that is refused has its own line.
    fn entries<T>(
        &mut self,
        key: &str,
        written: &[String],
        parse: fn(&str) -> Result<T, Fault>,
    ) -> Vec<T> {
        let mut entries = Vec::new();
        for (nth, text) in written.iter().enumerate() {
            match parse(text) {
                Ok(entry) => entries.push(entry),
                Err(fault) => {
                    let place = self.place(&format!("{key}[{nth}]"));
                    self.complaints.push(Complaint::at(&place, key, fault));
                }
            }
        }
        entries
    }

    /// The file is not opened and need not exist: only its own service fails without it.
    fn plugin(&mut self, path: &str, written: Option<&str>) -> PathBuf {
        let key = format!("{path}.plugin");
        let Some(written) = written else {
            self.missing(path, "plugin", "plugin = \"NAME\"");
            return PathBuf::new();
        };
        if Path::new(written).is_absolute() {
            return PathBuf::from(written);
        }
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
        if !written.bytes().all(plain) {
            let fault = Fault::new(format!(
                "\"{}\" is not the name of a plugin",
                shown(written)
            ));
            let hint = match written.strip_suffix(".so") {
                Some(stem) if stem.bytes().all(plain) => format!("write \"{stem}\""),
                _ => "write its name without folder and ending, or an absolute path".to_owned(),
            };
            self.complain(&key, fault.hint(hint));
            return PathBuf::new();
        }
        plugin_file(&self.config.daemon.plugin_dir, written, self.facts.exists)
    }

    fn pin(&mut self, path: &str, written: Option<&str>) -> Option<String> {
        let written = written?;
        if written.len() == 64 && written.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Some(written.to_ascii_lowercase());
        }
        let found = shown(written);
        let fault = Fault::new(format!(
            "expected a SHA-256 in 64 hexadecimal digits, found \"{found}\""
        ));
        let fault = fault.hint("`polyport plugins verify` prints it");
        self.complain(&format!("{path}.sha256"), fault);
        None
    }

    fn endpoints(&mut self, path: &str, written: Option<&[String]>) -> Vec<(Place, Endpoint)> {
        let Some(written) = written else {
            self.missing(path, "listen", "listen = [\"tcp://127.0.0.1:PORT\"]");
            return Vec::new();
        };
        let mut endpoints = Vec::new();
        let key = format!("{path}.listen");
        for (i, written) in written.iter().enumerate() {
            let place = self.place(&format!("{key}[{i}]"));
            match endpoint::parse(written, self.facts) {
                Ok(address) => {
                    let written = written.clone();
                    endpoints.push((place, Endpoint { written, address }));
                }
                Err(fault) => self.complaints.push(Complaint::at(&place, &key, fault)),
            }
        }
        endpoints
    }

    fn missing(&mut self, path: &str, name: &str, example: &str) {
        // In a file that could not be parsed whole, it may well be there.
        let file = self.place(path).file;
        let broken = self
            .config
            .files
            .iter()
            .any(|(name, broken)| *broken && *name == file);
        if broken || self.was_refused(&format!("{path}.{name}")) {
            return;
        }
        let fault = Fault::new(format!("\"{name}\" is missing")).hint(format!("add {example}"));
        self.complain(path, fault);
    }

    /// Each endpoint against those before it, in the order of the files.
    fn refuse_overlaps(&mut self, mut claims: Vec<Claim>) {
        let rank = |claim: &Claim| {
            let files = &self.config.files;
            let file = files.iter().position(|(name, _)| *name == claim.place.file);
            (file.unwrap_or(files.len()), claim.place.line)
        };
        claims.sort_by_cached_key(rank);
        let mut by_place: BTreeMap<String, Vec<Claim>> = BTreeMap::new();
        for claim in claims {
            let Some(place) = endpoint::contested(&claim.endpoint.address) else {
                continue;
            };
            let taken = by_place.entry(place).or_default();
            let earlier = taken
                .iter()
                .find(|other| endpoint::overlap(&other.want(), &claim.want()));
            let Some(earlier) = earlier else {
                taken.push(claim);
                continue;
            };
            let fault = Fault::new(format!(
                "{} is taken by {} of service \"{}\" ({})",
                shown(&claim.endpoint.written),
                shown(&earlier.endpoint.written),
                earlier.service,
                earlier.place,
            ));
            let fault = fault.hint("give one of them another address, port or path");
            let key = format!("services.{}.listen", claim.service);
            self.complaints
                .push(Complaint::at(&claim.place, &key, fault));
        }
    }

    fn was_refused(&self, key: &str) -> bool {
        self.config.refused.contains(key)
    }

    /// Somebody wrote this key, be it with the default's value.
    fn is_written(&self, path: &str, key: &str) -> bool {
        self.config.places.contains_key(&format!("{path}.{key}"))
    }

    fn place(&self, key: &str) -> Place {
        self.config
            .places
            .get(key)
            .cloned()
            .unwrap_or_else(|| Place {
                file: "built-in defaults".into(),
                line: None,
            })
    }

    fn complain(&mut self, key: &str, fault: Fault) {
        let place = self.place(key);
        self.complaints.push(Complaint::at(&place, key, fault));
    }
}

/// Where each key of the planned services was written, for the probe's complaints.
fn places_of(config: &Config, planned: &BTreeMap<String, ServicePlan>) -> BTreeMap<String, String> {
    config
        .places
        .iter()
        .filter(|(key, _)| {
            let mut parts = key.split('.');
            parts.next() == Some("services")
                && parts.next().is_some_and(|name| planned.contains_key(name))
        })
        .map(|(key, place)| (key.clone(), place.to_string()))
        .collect()
}
/// The file of a plugin by name: as installed, else as cargo calls it.
pub fn plugin_file(folder: &Path, name: &str, exists: fn(&Path) -> bool) -> PathBuf {
    let own = folder.join(format!("{name}.so"));
    let of_cargo = folder.join(format!("libpolyport_{}.so", name.replace('-', "_")));
    if !exists(&own) && exists(&of_cargo) {
        of_cargo
    } else {
        own
    }
}
