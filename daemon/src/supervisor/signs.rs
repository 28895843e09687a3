//! Signs that are read off a worker without asking it: sessions that ended by a fault of the plugin, a
//! process that somebody has stopped, and sessions that it has handed over.
//!
//! They are looked for together with callbacks that do not return, which `watch` knows. What they
//! mean is decided in `lifecycle`.
//!
//! Invariant: each soft fault is told at most once.

use std::collections::BTreeMap;

use super::children::{Child, Children, Kind};
use super::life::{Life, policy};
use super::watch::Finding;
use crate::lifecycle::{Event, News, WorkerId};
use crate::scoreboard::{Counter, SLOTS};
use crate::sys::reap;

#[derive(Debug, Default)]
pub(super) struct Signs {
    /// Soft faults that have been told of.
    seen: BTreeMap<WorkerId, u64>,
    /// Sessions that others had adopted at the last look.
    given: BTreeMap<WorkerId, u64>,
}

impl Signs {
    /// For another program that goes on.
    pub(super) fn told(&self) -> Vec<(WorkerId, u64)> {
        self.seen
            .iter()
            .map(|(worker, count)| (*worker, *count))
            .collect()
    }

    pub(super) fn told_of(told: Vec<(WorkerId, u64)>) -> Signs {
        Signs {
            seen: told.into_iter().collect(),
            given: BTreeMap::new(),
        }
    }
}

impl Life {
    /// Looks at the scoreboards for workers that are stuck.
    pub(super) fn watch(&mut self, children: &mut Children, now_ms: u64) {
        // A reload may have changed it.
        self.watch.policy = policy(&self.plan);
        if !self.watch.begin(now_ms) {
            return;
        }
        let mut findings = Vec::new();
        for (_, child) in children.iter() {
            if let (Kind::Worker { id, .. }, Some(board)) = (&child.kind, &child.scoreboard) {
                let glances = (0..SLOTS).map(|slot| board.glance(slot));
                let finding = self.watch.look(*id, glances, now_ms);
                let signs = self.signs.look(*id, child);
                let news = finding.map(Finding::news).into_iter().chain(signs);
                findings.extend(news.map(|news| (*id, news)));
            }
        }
        self.watch.end(now_ms);
        for (worker, news) in findings {
            self.handle(Event::Worker(worker, news), children, now_ms);
        }
    }
}

impl Signs {
    pub(super) fn look(&mut self, worker: WorkerId, child: &Child) -> Vec<News> {
        let mut news = Vec::new();
        if let Some(board) = &child.scoreboard {
            let seen = self.seen.entry(worker).or_default();
            let (count, sources) = board.soft_faults(*seen);
            *seen = count;
            if !sources.is_empty() {
                news.push(News::Soft { sources });
            }
            let given = board.read(Counter::CarriedOut);
            // The first look, of one that was adopted with another program, finds what was told before.
            if self
                .given
                .insert(worker, given)
                .is_some_and(|before| before != given)
            {
                news.push(News::Gives);
            }
        }
        news.extend(reap::stopped(child.pid).map(News::Stopped));
        news
    }

    pub(super) fn forget(&mut self, worker: WorkerId) {
        self.seen.remove(&worker);
        self.given.remove(&worker);
    }
}
