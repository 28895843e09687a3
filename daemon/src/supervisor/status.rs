//! The answer to `status`, joined from what the lifecycle, the listeners and the scoreboards know,
//! and the announcement at the start.
//!
//! No worker is asked: a stuck one must not make its supervisor wait.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::children::{Children, Kind};
use super::crashes::Crashes;
use super::hub::Bus;
use super::life::Life;
use super::metrics::Happened;
use super::service::Service;
use crate::channel::CheckBrief;
use crate::control::{
    BreakerStatus, GenerationStatus, ReloadOutcome, RemovedStatus, ServiceStatus, Standing, Status,
    WorkerStatus,
};
use crate::lifecycle::{Lifecycle, ServiceId, ServiceView, State, WorkerView};
use crate::log;
use crate::plan::Plan;
use crate::scoreboard::{Counter, Scoreboard};

/// What is known, to be shown.
#[derive(Clone, Copy)]
pub(super) struct Shown<'a> {
    pub(super) services: &'a BTreeMap<ServiceId, Service>,
    pub(super) lifecycle: &'a Lifecycle,
    pub(super) plan: &'a Plan,
    pub(super) sources: &'a CheckBrief,
    pub(super) last: Option<&'a ReloadOutcome>,
    pub(super) happened: &'a Happened,
    pub(super) crashes: &'a Crashes,
    pub(super) bus: &'a Bus,
}

impl Life {
    pub(super) fn shown(&self) -> Shown<'_> {
        Shown {
            services: &self.services,
            lifecycle: &self.lifecycle,
            plan: &self.plan,
            sources: &self.sources,
            last: self.changes.last.as_ref(),
            happened: &self.happened,
            crashes: &self.crashes,
            bus: &self.bus,
        }
    }
}

pub(super) fn of(shown: &Shown<'_>, children: &Children, now_ms: u64) -> Status {
    let (services, views) = (shown.services, &shown.lifecycle.view());
    let both = views
        .iter()
        .filter_map(|view| Some((services.get(&view.service)?, view)));
    let hub = shown.bus.shown(now_ms);
    let has_hub = hub.as_ref().is_none_or(|hub| hub.pid.is_some());
    let healthy = has_hub && views.iter().all(is_healthy);
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        uptime_s: now_ms / 1_000,
        healthy,
        services: both
            .map(|(service, view)| {
                (
                    service.name.clone(),
                    of_service(service, view, children, now_ms),
                )
            })
            .collect(),
        removed: removed(services, children),
        hub,
        last_reload: shown.last.cloned(),
        log_level: shown.plan.daemon.log.level,
    }
}

/// Services that no plan has any more, and that still have something open.
fn removed(
    services: &BTreeMap<ServiceId, Service>,
    children: &Children,
) -> BTreeMap<String, RemovedStatus> {
    let mut removed: BTreeMap<String, RemovedStatus> = BTreeMap::new();
    for (_, child) in children.iter() {
        let Kind::Worker { id, .. } = &child.kind else {
            continue;
        };
        let service = services.get(&id.service);
        if let Some(service) = service.filter(|service| service.has_left()) {
            let known = removed.entry(service.name.clone()).or_default();
            known.workers += 1;
            let board = child.scoreboard.as_ref();
            known.connections += board.map_or(0, |board| board.read(Counter::Connections));
        }
    }
    removed
}

/// Those that have workers, and the one that is to serve.
fn generations(
    service: &Service,
    view: &ServiceView,
    children: &Children,
) -> Vec<GenerationStatus> {
    let mut known: BTreeMap<u32, GenerationStatus> = BTreeMap::new();
    for worker in &view.workers {
        let number = worker.generation;
        let entry = known.entry(number).or_insert_with(|| GenerationStatus {
            generation: number,
            standing: match number {
                _ if number == view.generation => Standing::Current,
                // It has begun, and is not what serves yet.
                _ if number > service.current => Standing::Parked,
                _ => Standing::Draining,
            },
            workers: 0,
            connections: 0,
        });
        entry.workers += 1;
        let board = board_of(worker, children);
        entry.connections += board.map_or(0, |board| board.read(Counter::Connections));
    }
    known.into_values().collect()
}

/// It serves, with all the workers that it should have.
pub(super) fn is_healthy(view: &ServiceView) -> bool {
    let serving = |worker: &WorkerView| worker.state == State::Serving;
    let workers = view.workers.iter();
    let mut own = workers.filter(|worker| worker.generation == view.generation);
    let trusted = view.failure.is_none() && view.breaker.is_none();
    trusted && view.state == State::Serving && own.all(serving)
}

fn of_service(
    service: &Service,
    view: &ServiceView,
    children: &Children,
    now_ms: u64,
) -> ServiceStatus {
    let boards: Vec<&Scoreboard> = view
        .workers
        .iter()
        .filter_map(|w| board_of(w, children))
        .collect();
    let file = || service.plan.plugin.display().to_string();
    let (plugin, version) = match service.serving().map(|edition| &edition.descriptor) {
        Some(descriptor) => (descriptor.name.clone(), descriptor.version.clone()),
        None => (file(), String::new()),
    };
    ServiceStatus {
        plugin,
        version,
        state: view.state,
        healthy: is_healthy(view),
        failure: view.failure.clone(),
        drained: view.paused,
        generations: generations(service, view, children),
        breaker: view.breaker.as_ref().map(|breaker| BreakerStatus {
            course: breaker.course,
            for_s: breaker.until_ms.saturating_sub(now_ms) / 1_000,
            why: breaker.why.clone(),
        }),
        listen: service
            .listeners()
            .iter()
            .map(|listener| listener.local().to_string())
            .collect(),
        sandbox: log::escape(service.serving().map_or("", |edition| &edition.sandbox)),
        needs: needs(service),
        connections: boards
            .iter()
            .map(|board| board.read(Counter::Connections))
            .sum(),
        totals: totals(&boards, &service.retired),
        workers: view
            .workers
            .iter()
            .map(|w| of_worker(w, children, now_ms))
            .collect(),
    }
}

fn needs(service: &Service) -> Vec<String> {
    let serving = service.serving();
    let words = serving.map_or_else(Vec::new, |edition| edition.descriptor.needs.words());
    words.iter().map(|word| log::escape(word)).collect()
}

fn of_worker(view: &WorkerView, children: &Children, now_ms: u64) -> WorkerStatus {
    let board = board_of(view, children);
    let boards: Vec<&Scoreboard> = board.into_iter().collect();
    WorkerStatus {
        pid: view.pid,
        generation: view.generation,
        state: view.state,
        stand_in: view.stand_in,
        connections: board.map_or(0, |board| board.read(Counter::Connections)),
        totals: totals(&boards, &[0; Counter::ALL.len()]),
        restarts: view.restarts,
        since_s: now_ms.saturating_sub(view.since_ms) / 1_000,
        last_death: view.last_death.clone(),
    }
}

pub(super) fn board_of<'a>(view: &WorkerView, children: &'a Children) -> Option<&'a Scoreboard> {
    let child = children.living(i32::try_from(view.pid?).ok()?)?;
    child.scoreboard.as_ref()
}

/// What listens where, with a line to try each.
pub(super) fn announcement(
    services: &BTreeMap<ServiceId, Service>,
    views: &[ServiceView],
    socket: &Path,
) -> String {
    let mut text = format!(
        "polyport {} serves (pid {}; Ctrl-C stops it)\n",
        env!("CARGO_PKG_VERSION"),
        std::process::id()
    );
    for (service, view) in services.values().zip(views) {
        if let Some(failure) = &view.failure {
            let _ = writeln!(text, "  {:<12} failed: {failure}", service.name);
        }
        for listener in service.listeners() {
            let (url, command) = (listener.local().to_string(), listener.to_try());
            let _ = writeln!(text, "  {:<12} {url:<28} try: {command}", service.name);
        }
    }
    let _ = writeln!(
        text,
        "look at it with: {} status --socket {}",
        program().display(),
        absolute(socket).display()
    );
    text
}

/// What works in any terminal: a name that was found on the path, or the whole path.
fn program() -> PathBuf {
    let called = std::env::args_os().next().unwrap_or_default();
    match called.as_encoded_bytes().contains(&b'/') {
        true => absolute(Path::new(&called)),
        false => PathBuf::from("polyport"),
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// The services' totals by name, from the dead and the living.
pub(super) fn totals(boards: &[&Scoreboard], retired: &[u64]) -> BTreeMap<String, u64> {
    let counted = Counter::ALL
        .iter()
        .zip(retired)
        .filter(|(c, _)| **c != Counter::Connections);
    counted
        .map(|(counter, retired)| {
            let living: u64 = boards
                .iter()
                .fold(0, |sum, board| sum.saturating_add(board.read(*counter)));
            (counter.name().to_owned(), retired.saturating_add(living))
        })
        .collect()
}
