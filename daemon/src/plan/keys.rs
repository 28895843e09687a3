//! A plan by the keys of a configuration: what is in force, as one would write it.
//!
//! For `config show` and `config diff`. What was looked up shows as what was found: a group or the
//! owner of a socket as its number. A key that is unset is left out.
//!
//! Invariant: every key of the schema that is set is here, and no other.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;

use serde_json::{Value, json};

use super::{Access, DaemonPlan, Limits, LogTarget, Plan, ServicePlan, SocketPlan};

pub fn keys_of(plan: &Plan) -> BTreeMap<String, Value> {
    let mut keys = Keys::default();
    of_daemon(&plan.daemon, &mut keys);
    for (name, service) in &plan.services {
        keys.prefix = format!("services.{name}.");
        of_service(service, &mut keys);
    }
    keys.found
}

#[derive(Default)]
struct Keys {
    prefix: String,
    found: BTreeMap<String, Value>,
}

impl Keys {
    fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.found
            .insert(format!("{}{key}", self.prefix), value.into());
    }

    fn set_if(&mut self, key: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.set(key, value);
        }
    }

    fn list<T: Display>(&mut self, key: &str, values: &[T]) {
        if !values.is_empty() {
            let values: Vec<String> = values.iter().map(ToString::to_string).collect();
            self.set(key, values);
        }
    }
}

fn of_daemon(daemon: &DaemonPlan, keys: &mut Keys) {
    let DaemonPlan {
        plugin_dir,
        run_dir,
        state_dir,
        identity,
        drain_timeout_ms,
        hang_timeout_ms,
        thread_hang_timeout_ms,
        sandbox,
        log,
        control,
        bus,
    } = daemon;
    keys.prefix = "daemon.".to_owned();
    for (key, path) in [
        ("plugin_dir", plugin_dir),
        ("run_dir", run_dir),
        ("state_dir", state_dir),
    ] {
        keys.set(key, path.display().to_string());
    }
    if let Some(identity) = identity {
        keys.set("user", identity.user.as_str());
        keys.set("group", identity.gid);
    }
    keys.set("drain_timeout", duration(*drain_timeout_ms));
    keys.set("hang_timeout", duration(*hang_timeout_ms));
    keys.set("thread_hang_timeout", duration(*thread_hang_timeout_ms));
    keys.set("sandbox", json!(sandbox));
    keys.set("log.level", json!(log.level));
    keys.set("log.format", json!(log.format));
    keys.set("log.facility", json!(log.facility));
    match &log.target {
        LogTarget::Stderr => keys.set("log.target", "stderr"),
        LogTarget::Journal => keys.set("log.target", "journal"),
        LogTarget::Syslog => keys.set("log.target", "syslog"),
        LogTarget::File(path) => {
            keys.set("log.target", "file");
            keys.set("log.file", path.display().to_string());
        }
    }
    keys.list("control.operators", &control.written);
    keys.set("bus.history", bus.history);
    keys.set("bus.keep", duration(bus.keep_ms));
    let Some(nats) = &bus.nats else {
        return keys.set("bus.backend", "local");
    };
    keys.set("bus.backend", "nats");
    keys.list("bus.nats.servers", &nats.servers);
    keys.set_if("bus.nats.user", nats.user.as_deref());
    let path = |path: &Path| path.display().to_string();
    keys.set_if(
        "bus.nats.credentials",
        nats.credentials.as_deref().map(path),
    );
    keys.set("bus.nats.tls", json!(nats.tls));
    keys.set_if("bus.nats.ca", nats.ca.as_deref().map(path));
    if let Some((certificate, key)) = &nats.certificate {
        keys.set("bus.nats.certificate", path(certificate));
        keys.set("bus.nats.key", path(key));
    }
    keys.set("bus.nats.prefix", nats.prefix.as_str());
    keys.set("bus.nats.replicas", nats.replicas);
    keys.set("bus.nats.node_timeout", duration(nats.node_timeout_ms));
}

fn of_service(service: &ServicePlan, keys: &mut Keys) {
    let ServicePlan {
        plugin,
        endpoints,
        workers,
        when_failing,
        limits,
        access,
        socket,
        identity,
        pin,
        settings,
    } = service;
    keys.set("plugin", plugin.display().to_string());
    let written: Vec<&str> = endpoints.iter().map(|e| e.written.as_str()).collect();
    keys.list("listen", &written);
    keys.set("workers", *workers);
    keys.set("when_failing", json!(when_failing));
    if let Some(identity) = identity {
        keys.set("user", identity.user.as_str());
        keys.set("group", identity.gid);
    }
    if let Some(pin) = pin {
        keys.set("sha256", pin.as_str());
    }
    // One that is not is not in the plan.
    keys.set("enabled", true);
    of_limits(limits, keys);
    of_access(access, keys);
    of_socket(socket, keys);
    for (name, value) in settings {
        keys.set(&format!("settings.{name}"), value.clone());
    }
}

fn of_limits(limits: &Limits, keys: &mut Keys) {
    keys.set("limits.connections", limits.connections);
    keys.set("limits.per_source", limits.per_source);
    keys.set("limits.rate", limits.rate);
    keys.set("limits.burst", limits.burst);
    keys.set("limits.pending", limits.pending);
    keys.set("limits.idle", duration(limits.idle_ms));
    keys.set("limits.lifetime", duration(limits.lifetime_ms));
    keys.set("limits.progress", duration(limits.progress_ms));
    keys.set("limits.stall", duration(limits.stall_ms));
    keys.set("limits.bandwidth", size(limits.bandwidth));
    keys.set("limits.input", size(limits.input_bytes_max as u64));
    keys.set("limits.output", size(limits.output_bytes_max as u64));
    keys.set("limits.datagram_rate", limits.datagram_rate);
    keys.set("limits.datagram_burst", limits.datagram_burst);
    keys.set("limits.threads", limits.threads.max);
    keys.set("limits.queue", limits.threads.queue_max);
    keys.set("limits.handler", duration(limits.threads.handler_ms));
}

fn of_access(access: &Access, keys: &mut Keys) {
    keys.list("access.allow", &access.allow);
    keys.list("access.deny", &access.deny);
    keys.list("access.times", &access.times);
    if !access.banner_refused.is_empty() {
        keys.set("access.banner_refused", access.banner_refused.as_str());
    }
    keys.set("access.sensor", access.sensor);
    keys.set("access.sensor_ban", duration(access.sensor_ban_ms));
    keys.list("access.proxy_from", &access.proxy_from);
}

fn of_socket(socket: &SocketPlan, keys: &mut Keys) {
    let bytes = |bytes: Option<u32>| bytes.map(|bytes| size(bytes.into()));
    let seconds = |seconds: Option<u32>| seconds.map(|s| duration(u64::from(s) * 1_000));
    keys.set("socket.backlog", socket.backlog);
    keys.set_if("socket.send_buffer", bytes(socket.send_buffer_bytes));
    keys.set_if("socket.receive_buffer", bytes(socket.receive_buffer_bytes));
    keys.set("socket.nodelay", socket.nodelay);
    keys.set("socket.keepalive", socket.keepalive.is_some());
    if let Some(keepalive) = socket.keepalive {
        keys.set_if("socket.keepalive_idle", seconds(keepalive.idle_s));
        keys.set_if("socket.keepalive_interval", seconds(keepalive.interval_s));
        keys.set_if("socket.keepalive_count", keepalive.count);
    }
    keys.set_if("socket.ttl", socket.ttl);
    keys.set_if("socket.tos", socket.tos);
    keys.set_if("socket.device", socket.device.as_deref());
    keys.set_if("socket.mark", socket.mark);
    keys.set("socket.v6only", socket.v6only);
    keys.set_if("socket.fast_open", socket.fast_open);
    keys.set_if("socket.defer_accept", seconds(socket.defer_accept_s));
    let patience = socket.user_timeout_ms.map(|ms| duration(ms.into()));
    keys.set_if("socket.user_timeout", patience);
    keys.set_if(
        "socket.busy_poll",
        socket.busy_poll_us.map(|us| format!("{us}us")),
    );
    keys.set_if("socket.linger", seconds(socket.linger_s));
    keys.set("socket.broadcast", socket.broadcast);
    let groups: Vec<String> = socket
        .multicast
        .iter()
        .map(|group| match group.interface {
            0 => group.address.to_string(),
            interface => format!("{}%{interface}", group.address),
        })
        .collect();
    keys.list("socket.multicast", &groups);
    keys.set("socket.mode", format!("{:04o}", socket.file.mode));
    keys.set_if("socket.owner", socket.file.uid);
    keys.set_if("socket.group", socket.file.gid);
}

/// As it would be written: "90s".
pub(crate) fn duration(ms: u64) -> String {
    const UNITS: [(u64, &str); 5] = [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1_000, "s"),
        (1, "ms"),
    ];
    in_units(ms, &UNITS)
}

/// As it would be written: "64KiB".
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [
        (1 << 30, "GiB"),
        (1 << 20, "MiB"),
        (1 << 10, "KiB"),
        (1, "B"),
    ];
    in_units(bytes, &UNITS)
}

/// In the largest unit that says it exactly.
fn in_units(amount: u64, units: &[(u64, &str)]) -> String {
    let exact = units.iter().find(|(unit, _)| amount.is_multiple_of(*unit));
    match exact {
        Some((unit, name)) if amount > 0 => format!("{}{name}", amount / unit),
        Some(_) | None => "0".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::{self, KEYS};
    use crate::config::units::{parse_duration_ms, parse_size};
    use crate::config::{self, Sources, Surroundings};
    use crate::plan::{Facts, resolve};

    fn keys(text: &str) -> BTreeMap<String, Value> {
        let sources = Sources {
            inline: Some(text.to_owned()),
            ..Sources::default()
        };
        let config = config::read(&sources, &Surroundings::default());
        let plan = resolve(config, &Facts::of_this_machine());
        keys_of(&plan.expect("a configuration without a fault"))
    }

    const EVERYTHING: &str = r#"
        [daemon]
        user = "root"
        group = "root"
        log = { target = "file", file = "/x" }
        control.operators = ["root", "@root"]
        [daemon.bus]
        backend = "nats"
        [daemon.bus.nats]
        servers = ["nats://127.0.0.1:4222"]
        user = "root"
        credentials = "/x"
        ca = "/x"
        certificate = "/x"
        key = "/x"
        [services.a]
        user = "root"
        group = "root"
        sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
        plugin = "/x.so"
        listen = ["tcp://127.0.0.1:7", "udp://*:7", "unix:/x"]
        settings.anything = 1
        access = { allow = ["10.0.0.0/8"], deny = ["0.0.0.0/0"], times = ["Mon 08:00-09:00"], banner_refused = "no", proxy_from = ["127.0.0.1"] }
        [services.a.socket]
        send_buffer = "64KiB"
        receive_buffer = "64KiB"
        keepalive = true
        keepalive_idle = "10s"
        keepalive_interval = "10s"
        keepalive_count = 3
        ttl = 9
        tos = 8
        device = "lo"
        mark = 1
        fast_open = 5
        defer_accept = "3s"
        user_timeout = "5s"
        busy_poll = "50us"
        linger = "1s"
        multicast = ["239.1.2.3"]
        owner = "root"
        group = "root"
    "#;

    #[test]
    fn every_key_of_the_schema_is_shown_and_no_other() {
        let shown = keys(EVERYTHING);
        for key in KEYS {
            let name = key.path.replace('*', "a");
            let is_shown = match key.kind {
                schema::Kind::FreeTable => shown.contains_key(&format!("{name}.anything")),
                _ => shown.contains_key(&name),
            };
            assert!(is_shown, "{name} is missing from {shown:#?}");
        }
        assert_eq!(shown.len(), KEYS.len());
    }

    #[test]
    fn what_is_shown_is_what_would_be_written() {
        for ms in [
            0, 1, 999, 1_000, 1_500, 60_000, 90_000, 3_600_000, 86_400_000,
        ] {
            assert_eq!(parse_duration_ms(&duration(ms)), Ok(ms), "{}", duration(ms));
        }
        for bytes in [0, 1, 1_000, 1_024, 65_536, 1 << 20, 3 << 30] {
            assert_eq!(parse_size(&size(bytes)), Ok(bytes), "{}", size(bytes));
        }
    }
}
