//! What `status` answers: the document that scripts read, and the page that a person reads.
//!
//! The document only ever grows; a field keeps its name and its meaning. Endpoints stand in
//! `listen` and nowhere else.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use serde::{Deserialize, Serialize};

use super::reload::ReloadOutcome;
use crate::exit;
use crate::lifecycle::{BreakerCourse, State};
use crate::plan::LogLevel;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The daemon's release.
    pub version: String,
    pub pid: u32,
    pub uptime_s: u64,
    /// Everything that is configured serves.
    pub healthy: bool,
    pub services: BTreeMap<String, ServiceStatus>,
    /// No configuration has them any more; what they have open drains.
    pub removed: BTreeMap<String, RemovedStatus>,
    /// `None` while no service uses the bus.
    pub hub: Option<HubStatus>,
    /// How the last change went; `None` before there was one.
    pub last_reload: Option<ReloadOutcome>,
    pub log_level: LogLevel,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedStatus {
    pub workers: u64,
    pub connections: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HubStatus {
    /// `None` while it is about to be started.
    pub pid: Option<u32>,
    /// Since it was last started.
    pub since_s: u64,
    /// Those that have an end to it.
    pub workers: u64,
    /// How often it has died.
    pub restarts: u32,
}

/// What a generation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It is to serve.
    Current,
    /// It is made ready, to serve once all others of its change are.
    Parked,
    /// It finishes what it has open.
    Draining,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationStatus {
    pub generation: u32,
    pub standing: Standing,
    pub workers: u64,
    pub connections: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// The plugin's own name; its file's, while it has not been loaded.
    pub plugin: String,
    /// The plugin's version; empty while it has not been loaded.
    pub version: String,
    pub state: State,
    /// It serves, with all the workers that it should have.
    #[serde(default)]
    pub healthy: bool,
    /// Why it failed.
    pub failure: Option<String>,
    /// An operator wants nobody to be served.
    pub drained: bool,
    /// Those that have workers.
    pub generations: Vec<GenerationStatus>,
    /// Why its plugin is not run, or tried by one worker only.
    pub breaker: Option<BreakerStatus>,
    /// Real endpoints as URLs, with ports that the system chose.
    pub listen: Vec<String>,
    /// How tightly its workers are shut in.
    pub sandbox: String,
    /// What that allows beside what all may.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Open now.
    pub connections: u64,
    /// Over all workers that ever served it.
    pub totals: BTreeMap<String, u64>,
    pub workers: Vec<WorkerStatus>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerStatus {
    pub course: BreakerCourse,
    /// Until the plugin is tried, or has proved itself.
    pub for_s: u64,
    /// The latest fault.
    pub why: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// `None` while there is no process.
    pub pid: Option<u32>,
    pub generation: u32,
    pub state: State,
    /// It runs nothing of the plugin.
    pub stand_in: bool,
    pub connections: u64,
    pub totals: BTreeMap<String, u64>,
    /// How often its predecessors had to be replaced.
    pub restarts: u32,
    /// Seconds in its present state.
    pub since_s: u64,
    pub last_death: Option<String>,
}

impl Status {
    pub fn exit(&self) -> u8 {
        if self.healthy {
            exit::DONE
        } else {
            exit::DEGRADED
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let health = if self.healthy { "healthy" } else { "DEGRADED" };
        let up = duration(self.uptime_s);
        writeln!(
            f,
            "polyport {}  pid {}  up {up}  {health}",
            self.version, self.pid
        )?;
        if self.services.is_empty() {
            writeln!(f, "\nno services are configured")?;
        }
        for (name, service) in &self.services {
            writeln!(f, "\n{name}  {}  {}", state(service.state), service.title())?;
            if let Some(failure) = &service.failure {
                writeln!(
                    f,
                    "  failed    {}",
                    failure.trim_end().replace('\n', "\n            ")
                )?;
            }
            if let Some(breaker) = &service.breaker {
                writeln!(f, "  suspended {}", breaker.line())?;
            }
            for url in &service.listen {
                writeln!(f, "  listen    {url}")?;
            }
            if service.failure.is_none() {
                writeln!(f, "  traffic   {}", service.traffic())?;
            }
            if !service.sandbox.is_empty() {
                writeln!(f, "  sandbox   {}", service.shut_in())?;
            }
            for old in service.other_generations() {
                writeln!(f, "  {old}")?;
            }
            for (number, worker) in (1..).zip(&service.workers) {
                writeln!(f, "  worker {number:<2} {}", worker.line())?;
            }
        }
        for (name, removed) in &self.removed {
            writeln!(f, "\n{name}  removed, {} open", removed.connections)?;
        }
        if let Some(hub) = &self.hub {
            writeln!(f, "\nhub  {}", hub.line())?;
        }
        if let Some(last) = &self.last_reload {
            let ago = duration(self.uptime_s.saturating_sub(last.at_ms / 1_000));
            let result = match last.exit {
                exit::DONE => "done",
                _ => "rejected",
            };
            let text = last.text.lines().next().unwrap_or_default();
            writeln!(
                f,
                "\nlast change {ago} ago ({}), {result}: {text}",
                last.cause
            )?;
        }
        Ok(())
    }
}

impl HubStatus {
    fn line(&self) -> String {
        let since = duration(self.since_s);
        let mut line = match self.pid {
            None => "no process".to_owned(),
            Some(pid) => format!("pid {pid}, serving for {since}, {} workers", self.workers),
        };
        line.push_str(&restarted(self.restarts));
        line
    }
}

impl BreakerStatus {
    fn line(&self) -> String {
        let (why, time) = (&self.why, duration(self.for_s));
        match self.course {
            BreakerCourse::Closed => "no".to_owned(),
            BreakerCourse::Open => format!("{why}; tried again in {time}"),
            BreakerCourse::HalfOpen => {
                format!("{why}; one worker tries the plugin, for {time} more")
            }
        }
    }
}

impl ServiceStatus {
    fn title(&self) -> String {
        if self.version.is_empty() {
            self.plugin.clone()
        } else {
            format!("{} {}", self.plugin, self.version)
        }
    }

    fn other_generations(&self) -> impl Iterator<Item = String> {
        let others = self.generations.iter();
        others.filter_map(|other| {
            let GenerationStatus {
                generation,
                connections,
                ..
            } = other;
            match other.standing {
                Standing::Current => None,
                Standing::Parked => Some(format!("coming    generation {generation}")),
                Standing::Draining => Some(format!(
                    "draining  generation {generation}, {connections} open"
                )),
            }
        })
    }

    fn shut_in(&self) -> String {
        match self.needs.is_empty() {
            true => self.sandbox.clone(),
            false => format!("{}; allows {}", self.sandbox, self.needs.join(", ")),
        }
    }

    fn traffic(&self) -> String {
        let total = |name: &str| self.totals.get(name).copied().unwrap_or(0);
        let mut text = format!(
            "{} open, {} accepted, {} in, {} out",
            self.connections,
            total("accepted"),
            size(total("bytes_in")),
            size(total("bytes_out")),
        );
        if total("datagrams_in") > 0 {
            let (came, left) = (total("datagrams_in"), total("datagrams_out"));
            let noun = if came == 1 { "datagram" } else { "datagrams" };
            let _ = write!(text, ", {came} {noun} in, {left} out");
        }
        for (name, what) in [("refused", "refused"), ("plugin_faults", "plugin faults")] {
            if total(name) > 0 {
                let _ = write!(text, ", {} {what}", total(name));
            }
        }
        text
    }
}

impl WorkerStatus {
    fn line(&self) -> String {
        let (state, since) = (state(self.state), duration(self.since_s));
        let mut line = match self.pid {
            None => format!("no process, {state} for {since}"),
            Some(pid) => format!("pid {pid}, {state} for {since}, {} open", self.connections),
        };
        if self.stand_in {
            line.push_str(", stands in for the plugin");
        }
        line.push_str(&restarted(self.restarts));
        if let Some(death) = &self.last_death {
            let _ = write!(line, "; last: {death}");
        }
        line
    }
}

fn restarted(times: u32) -> String {
    match times {
        0 => String::new(),
        1 => ", restarted once".to_owned(),
        times => format!(", restarted {times} times"),
    }
}

fn state(state: State) -> &'static str {
    match state {
        State::Starting => "starting",
        State::Serving => "serving",
        State::Draining => "draining",
        State::Gone => "gone",
    }
}

pub(super) fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{:02}s", seconds % 60),
        (0, _, _) => format!("{hours}h{:02}m", minutes % 60),
        (_, _, _) => format!("{days}d{:02}h", hours % 24),
    }
}

pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_read_at_a_glance() {
        for (seconds, text) in [
            (0, "0s"),
            (61, "1m01s"),
            (7_384, "2h03m"),
            (200_000, "2d07h"),
        ] {
            assert_eq!(duration(seconds), text);
        }
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (1 << 30, "1.0 GiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn a_failed_service_shows_why_and_degrades_the_whole() {
        let service = ServiceStatus {
            plugin: "gopher".into(),
            version: String::new(),
            state: State::Gone,
            healthy: true,
            failure: Some("gopher.so: not found\n  copy it there".into()),
            drained: false,
            generations: Vec::new(),
            breaker: None,
            listen: Vec::new(),
            sandbox: String::new(),
            needs: Vec::new(),
            connections: 0,
            totals: BTreeMap::new(),
            workers: Vec::new(),
        };
        let status = Status {
            version: "0.1.0".into(),
            pid: 7,
            uptime_s: 61,
            healthy: false,
            services: BTreeMap::from([("hole".to_owned(), service)]),
            removed: BTreeMap::new(),
            hub: Some(HubStatus {
                pid: None,
                since_s: 0,
                workers: 2,
                restarts: 2,
            }),
            last_reload: None,
            log_level: LogLevel::Info,
        };
        assert_eq!(status.exit(), exit::DEGRADED);
        let page = status.to_string();
        for part in [
            "DEGRADED",
            "up 1m01s",
            "hole  gone  gopher",
            "  failed    gopher.so: not found",
            "hub  no process, restarted 2 times",
        ] {
            assert!(page.contains(part), "{part:?} is missing from:\n{page}");
        }
    }

    #[test]
    fn a_worker_tells_how_long_it_has_been_in_its_state() {
        let worker = |pid, state| WorkerStatus {
            pid,
            generation: 1,
            state,
            stand_in: false,
            connections: 3,
            totals: BTreeMap::new(),
            restarts: 1,
            since_s: 61,
            last_death: None,
        };
        for (pid, state, line, document) in [
            (
                Some(12),
                State::Serving,
                "pid 12, serving for 1m01s, 3 open, restarted once",
                serde_json::json!(12),
            ),
            (
                None,
                State::Gone,
                "no process, gone for 1m01s, restarted once",
                serde_json::Value::Null,
            ),
        ] {
            let worker = worker(pid, state);
            assert_eq!(worker.line(), line);
            let written = serde_json::to_value(&worker).expect("plain data");
            assert_eq!(written["pid"], document);
            assert_eq!(written["since_s"], 61);
        }
    }
}
