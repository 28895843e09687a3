//! The answer to `metrics`: every counter of every service and worker, and what the daemon did.
//!
//! Totals of a service go on when a worker is gone; those of a worker end with it. No worker is asked.
//!
//! Invariant: a counter never goes down while the daemon lives.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::children::Children;
use super::plugin_metrics::Disputed;
use super::status::totals;
use super::status::{Shown, board_of};
use crate::control::{Family, FamilyKind, Metrics, ReloadOutcome, Sample};
use crate::exit;
use crate::lifecycle::{ServiceView, State};
use crate::scoreboard::{Counter, Scoreboard};

/// What has happened since the start.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Happened {
    pub(super) reloads_done: u64,
    pub(super) reloads_rejected: u64,
    /// A program that takes over tells of them anew.
    #[serde(skip)]
    pub(super) disputed: Disputed,
    /// Lines of the supervisor's own that the log's target did not take.
    #[serde(default)]
    pub(super) log_lost: u64,
}

impl Happened {
    pub(super) fn note(&mut self, outcome: &ReloadOutcome) {
        match (outcome.dry_run, outcome.exit) {
            (true, _) => {}
            (false, exit::DONE) => self.reloads_done += 1,
            (false, _) => self.reloads_rejected += 1,
        }
    }
}

type Labels<'a> = &'a [(&'a str, &'a str)];

pub(super) fn of(shown: &Shown<'_>, bans: usize, children: &Children, now_ms: u64) -> Metrics {
    let views = shown.lifecycle.view();
    let mut families = shown.of_daemon(bans, now_ms);
    families.extend(shown.of_services(&views));
    families.extend(shown.counters(&views, children));
    families.extend(shown.of_plugins(&views, children));
    Metrics { families }
}

impl Shown<'_> {
    fn of_daemon(&self, bans_count: usize, now_ms: u64) -> Vec<Family> {
        let mut build = gauge("build_info", "What runs; the number is always 1.");
        build.add(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        let mut uptime = gauge("uptime_seconds", "Since the supervisor has started.");
        uptime.add(&[], now_ms / 1_000);
        let mut bans = gauge("bans", "Networks that nobody may come from.");
        bans.add(&[], bans_count as u64);
        let mut reloads = counter("reloads_total", "Changes of what is served, by outcome.");
        let happened = self.happened;
        reloads.add(&[("outcome", "done")], happened.reloads_done);
        reloads.add(&[("outcome", "rejected")], happened.reloads_rejected);
        let mut log_lost = counter(
            "supervisor_log_lost_total",
            "Log lines of the supervisor that the log's target did not take.",
        );
        log_lost.add(&[], happened.log_lost);
        let mut crashes = counter("crashes_total", "Deaths of workers that nobody asked for.");
        let names = self.services.values().map(|service| &service.name);
        let died = self.crashes.counts();
        let names: BTreeSet<&String> = names.chain(died.keys()).collect();
        for name in names {
            let count = died.get(name).copied().unwrap_or(0);
            crashes.add(&[("service", name)], count);
        }
        vec![build, uptime, bans, reloads, log_lost, crashes]
    }

    fn of_services(&self, views: &[ServiceView]) -> Vec<Family> {
        let mut generation = gauge("generation", "Number of the generation that is to serve.");
        let mut workers = gauge("workers", "Workers by state, of all generations.");
        let mut restarts = counter("restarts_total", "Workers of this slot that were replaced.");
        for view in views {
            let Some(service) = self.services.get(&view.service) else {
                continue;
            };
            let name = ("service", service.name.as_str());
            generation.add(&[name], u64::from(view.generation));
            for (state, word) in [
                (State::Starting, "starting"),
                (State::Serving, "serving"),
                (State::Draining, "draining"),
                (State::Gone, "gone"),
            ] {
                let count = view.workers.iter().filter(|w| w.state == state).count();
                workers.add(&[name, ("state", word)], count as u64);
            }
            for worker in &view.workers {
                let (slot, number) = (worker.slot + 1, worker.generation);
                let labels = [
                    name,
                    ("worker", &slot.to_string()),
                    ("generation", &number.to_string()),
                ];
                restarts.add(&labels, u64::from(worker.restarts));
            }
        }
        vec![generation, workers, restarts]
    }

    fn counters(&self, views: &[ServiceView], children: &Children) -> Vec<Family> {
        let mut families = Vec::with_capacity(2 * Counter::ALL.len());
        for counted in Counter::ALL {
            let what = counted.name().replace('_', " ");
            let (make, ending): (fn(&str, &str) -> Family, _) = match counted {
                Counter::Connections => (gauge, ""),
                _ => (counter, "_total"),
            };
            let name = counted.name();
            families.push(make(
                &format!("{name}{ending}"),
                &format!("Of a service: {what}."),
            ));
            let text = format!("Of a living worker: {what}.");
            families.push(make(&format!("worker_{name}{ending}"), &text));
        }
        for view in views {
            let Some(service) = self.services.get(&view.service) else {
                continue;
            };
            let workers = view.workers.iter();
            let known: Vec<_> = workers
                .filter_map(|worker| Some((worker, board_of(worker, children)?)))
                .collect();
            let boards: Vec<&Scoreboard> = known.iter().map(|(_, board)| *board).collect();
            let sums = totals(&boards, &service.retired);
            let name = ("service", service.name.as_str());
            for (counted, pair) in Counter::ALL.iter().zip(families.chunks_exact_mut(2)) {
                let open = || boards.iter().map(|board| board.read(*counted)).sum();
                let sum = sums.get(counted.name()).copied();
                pair[0].add(&[name], sum.unwrap_or_else(open));
                for (worker, board) in &known {
                    let (slot, number) = (worker.slot + 1, worker.generation);
                    let labels = [
                        name,
                        ("worker", &slot.to_string()),
                        ("generation", &number.to_string()),
                    ];
                    pair[1].add(&labels, board.read(*counted));
                }
            }
        }
        families
    }
}

fn gauge(name: &str, help: &str) -> Family {
    Family::new(name, help, FamilyKind::Gauge)
}

fn counter(name: &str, help: &str) -> Family {
    Family::new(name, help, FamilyKind::Counter)
}

impl Family {
    fn add(&mut self, labels: Labels<'_>, value: u64) {
        self.add_as("", labels, i128::from(value));
    }

    /// One whose name has an ending.
    pub(super) fn add_as(&mut self, ending: &str, labels: Labels<'_>, value: i128) {
        let labels = labels
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        self.samples.push(Sample {
            ending: ending.to_owned(),
            labels: labels.collect(),
            value,
        });
    }
}
