//! What happens to the log while the daemon lives: another level for a while, its target opened anew,
//! and the state written into it.
//!
//! Workers and the hub have given up the right to open anything, so the supervisor opens the target and
//! passes it on: when an operator asks, and by itself when the daemon that takes the log has gone and
//! come back.
//!
//! Invariant: the level that workers go by is that of the plan; a target that is away costs one line
//! and one attempt a second.

use std::fs::File;
use std::os::fd::AsFd;

use serde::{Deserialize, Serialize};

use super::children::{Child, Children, Kind};
use super::life::{Life, tell};
use super::status;
use crate::channel::{Adjustment, HubOrder, Order};
use crate::control::Reply;
use crate::lifecycle::Change;
use crate::log;
use crate::plan::{LogLevel, LogTarget};
use crate::scoreboard::{Counter, SLOTS};

/// Between two attempts to reach a target that did not take a line.
const RETRY_MS: u64 = 1_000;

/// What is known of the log's target.
#[derive(Debug, Default)]
pub(super) struct LogCare {
    /// Of the workers that live, at the last look.
    lost_by_workers: u64,
    due: bool,
    try_at_ms: u64,
    /// It could not be reached, and that has been said.
    away: bool,
}

/// A level that holds for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LevelBack {
    at_ms: u64,
    level: LogLevel,
}

impl Life {
    /// Until then, or until the next reload.
    pub(super) fn change_level(
        &mut self,
        level: LogLevel,
        for_ms: Option<u64>,
        children: &mut Children,
        now_ms: u64,
    ) -> Reply {
        let before = self.level_back.map(|back| back.level);
        let before = before.unwrap_or(self.plan.daemon.log.level);
        self.level_back = for_ms.map(|for_ms| LevelBack {
            at_ms: now_ms.saturating_add(for_ms),
            level: before,
        });
        self.go_by_level(level, children);
        Reply::of(&serde_json::json!({ "level": level, "before": before, "for_ms": for_ms }))
    }

    /// A change under way was made from the plan as it is; the level waits for it.
    pub(super) fn next_level_ms(&self) -> Option<u64> {
        let idle = self.changes.under_way.is_none();
        self.level_back.filter(|_| idle).map(|back| back.at_ms)
    }

    pub(super) fn level_back_if_due(&mut self, children: &mut Children, now_ms: u64) {
        if self.next_level_ms().is_some_and(|at_ms| at_ms <= now_ms)
            && let Some(back) = self.level_back.take()
        {
            self.go_by_level(back.level, children);
            tracing::info!("the log level is what it was before");
        }
    }

    fn go_by_level(&mut self, level: LogLevel, children: &mut Children) {
        self.plan.daemon.log.level = level;
        log::set_level(level);
        for worker in children.workers().collect::<Vec<_>>() {
            let Some(edition) = self.edition(worker) else {
                continue;
            };
            let order = Order::Adjust(Box::new(Adjustment {
                limits: edition.plan.limits.clone(),
                access: edition.plan.access.clone(),
                log_level: level,
            }));
            tell(children, worker, &order);
        }
        self.tell_hub(&HubOrder::LogLevel { level }, children);
    }

    /// The file was moved away, perhaps: one of its name is written from now on, by all. What takes
    /// datagrams is connected anew.
    pub(super) fn reopen_log(&self, children: &Children) {
        match log::open(&self.plan.daemon.log) {
            Ok(None) => {
                tracing::info!("the log goes to standard error; there is nothing to reopen");
            }
            Ok(Some(opened)) => {
                hand_out(opened, children);
                tracing::info!("the log was reopened");
            }
            Err(error) => tracing::error!("the log goes on where it was: {error}"),
        }
    }

    /// Counts what the target did not take, and tries to reach it again.
    pub(super) fn tend_log(&mut self, children: &Children, now_ms: u64) {
        let lost = log::take_lost();
        self.happened.log_lost += lost;
        let of_worker =
            |(_, child): (i32, &Child)| Some(child.scoreboard.as_ref()?.read(Counter::LogLost));
        let of_workers = children.iter().filter_map(of_worker).sum();
        let before = std::mem::replace(&mut self.log_care.lost_by_workers, of_workers);
        self.log_care.due |= lost > 0 || of_workers > before;
        // A full disk is not mended by opening its file again.
        let target = &self.plan.daemon.log.target;
        let connects = matches!(target, LogTarget::Syslog | LogTarget::Journal);
        if !self.log_care.due || !connects || now_ms < self.log_care.try_at_ms {
            return;
        }
        self.log_care.try_at_ms = now_ms + RETRY_MS;
        match log::open(&self.plan.daemon.log) {
            Ok(opened) => {
                if let Some(opened) = opened {
                    hand_out(opened, children);
                }
                self.log_care.due = false;
                if std::mem::take(&mut self.log_care.away) {
                    tracing::info!("the log reaches its target again");
                }
            }
            Err(error) if !std::mem::replace(&mut self.log_care.away, true) => {
                tracing::error!("{error}; until then the log goes to standard error");
            }
            Err(_) => {}
        }
    }

    /// What `status` shows, and in which calls of plugins the workers are.
    pub(super) fn dump_state(&self, children: &Children, now_ms: u64) {
        let status = status::of(&self.shown(), children, now_ms);
        for line in status.to_string().lines().filter(|line| !line.is_empty()) {
            tracing::info!("state: {line}");
        }
        for (_, child) in children.iter() {
            let (Kind::Worker { name, .. }, Some(board)) = (&child.kind, &child.scoreboard) else {
                continue;
            };
            for slot in 0..SLOTS {
                let glance = board.glance(slot);
                if glance.sequence % 2 == 1 {
                    let callback = glance.callback.name();
                    tracing::info!("state: {name}, thread {slot}: in {callback}");
                }
            }
        }
    }
}

/// One line each: a problem and its remedy, on lines of their own elsewhere, are joined here.
pub(super) fn log_change(change: &Change) {
    let text = change.to_string();
    let parts: Vec<&str> = text.lines().map(str::trim).collect();
    let text = parts.join("; ");
    match change.severity {
        LogLevel::Debug => tracing::debug!("{text}"),
        LogLevel::Info => tracing::info!("{text}"),
        LogLevel::Warning => tracing::warn!("{text}"),
        LogLevel::Error => tracing::error!("{text}"),
    }
}

/// To this process, the workers and the hub.
fn hand_out(opened: File, children: &Children) {
    for (pid, child) in children.iter() {
        let told = match &child.kind {
            Kind::Worker { .. } => children.tell_with(pid, &Order::LogTo {}, &[opened.as_fd()]),
            Kind::Hub => children.tell_with(pid, &HubOrder::LogTo {}, &[opened.as_fd()]),
            Kind::Check | Kind::Probe(_) | Kind::Rehearsal => Ok(()),
        };
        if let Err(error) = told {
            tracing::warn!("the process {pid} goes on with the log that it has: {error}");
        }
    }
    log::write_to(opened);
}
