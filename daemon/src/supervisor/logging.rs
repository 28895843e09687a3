//! What operators do to the log while the daemon lives: another level for a while, the file opened
//! anew, and the state written into it.
//!
//! Workers and the hub have given up the right to open the file, so the supervisor opens it and passes
//! it on.
//!
//! Invariant: the level that workers go by is that of the plan.

use std::os::fd::AsFd;

use serde::{Deserialize, Serialize};

use super::children::{Children, Kind};
use super::life::{Life, tell};
use super::status;
use crate::channel::{Adjustment, HubOrder, Order};
use crate::control::Reply;
use crate::log;
use crate::plan::{LogLevel, LogTarget};
use crate::scoreboard::SLOTS;

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
        self.tell_hub(&HubOrder::LogLevel { level }, &[], children);
    }

    /// The file was moved away, perhaps: one of its name is written from now on, by all.
    pub(super) fn reopen_log(&self, children: &Children) {
        let LogTarget::File(path) = &self.plan.daemon.log.target else {
            return tracing::info!("the log goes to standard error; there is nothing to reopen");
        };
        let file = match log::open(path) {
            Ok(file) => file,
            Err(error) => return tracing::error!("the log goes on where it was: {error}"),
        };
        for (pid, child) in children.iter() {
            if let Kind::Worker { name, .. } = &child.kind
                && let Err(error) = children.tell_with(pid, &Order::LogTo {}, &[file.as_fd()])
            {
                tracing::warn!("{name} goes on with the log that it has: {error}");
            }
        }
        self.tell_hub(&HubOrder::LogTo {}, &[file.as_fd()], children);
        log::write_to(file);
        tracing::info!("the log was reopened");
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
