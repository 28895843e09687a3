//! What follows from the lifecycle's decision about a change: it is made, given up, or gone back on.
//!
//! Invariant: after `commit` the plan that is kept here is the one that serves, and after `give_up`
//! it is the one that served before.

use std::collections::BTreeMap;

use super::children::Children;
use super::life::{Life, tell};
use super::wishes::{Changing, Goal, Snapshot, Wish};
use crate::channel::{Adjustment, HubOrder, Order};
use crate::exit;
use crate::lifecycle::{ServiceId, WorkerId};
use crate::log;
use crate::plan::{self, Step};
use crate::sys::resident;

impl Life {
    /// What serves now, to be gone back to.
    pub(super) fn snapshot(&self) -> Snapshot {
        let serving = self.services.values().filter_map(|service| {
            let edition = service.serving()?;
            Some((service.name.clone(), edition.code.clone()))
        });
        Snapshot {
            codes: serving.collect(),
            plan: self.plan.clone(),
        }
    }

    /// The new generations are what serves.
    pub(super) fn commit(&mut self, children: &mut Children, now_ms: u64) {
        let Some((wish, changing)) = self.changes.take_changing() else {
            return;
        };
        let before = self.snapshot();
        let hub = plan::of_hub(&self.plan.daemon, &changing.plan.daemon);
        let Changing {
            plan,
            steps,
            begun,
            removed,
            ..
        } = changing;
        self.plan = plan;
        if matches!(wish.goal, Goal::Files) {
            self.level_back = None;
        }
        self.admit_operators();
        log::set_level(self.plan.daemon.log.level);
        for (service, generation) in begun {
            if let Some(known) = self.services.get_mut(&service) {
                known.install(generation);
            }
            self.set_options_again(service);
        }
        for service in removed {
            if let Some(known) = self.services.get_mut(&service) {
                known.leave();
            }
        }
        // Going back from a restart is going back from what was changed before it.
        if before != self.snapshot() {
            self.changes.previous = Some(before);
        }
        for (name, step) in &steps {
            if let Step::Adjust { .. } = step {
                self.adjust(name, children);
            }
        }
        let level = self.plan.daemon.log.level;
        match hub.is_empty() {
            true => self.tell_hub(&HubOrder::LogLevel { level }, children),
            false => self.renew_hub(children, now_ms),
        }
        self.keep_listeners();
        let text = match wish.goal {
            Goal::Return(_) => {
                "done; the files are as they were, and a reload changes to what they say: \
                                 mend them first (`polyport config diff`), or the plugin"
            }
            _ => "done",
        };
        self.conclude_wish(&wish, exit::DONE, text.to_owned(), steps, now_ms);
    }

    /// A socket that goes on gets what is written for it now.
    fn set_options_again(&self, service: ServiceId) {
        let Some(edition) = self.services.get(&service).and_then(|s| s.serving()) else {
            return;
        };
        for listener in &edition.listeners {
            let peer_first = edition.descriptor.peer_first;
            if let Err(text) = listener.set_again(&edition.plan.socket, peer_first) {
                tracing::warn!("an option stays as it was: {text}");
            }
        }
    }

    /// The same workers go by other limits and rules from now on.
    fn adjust(&mut self, name: &str, children: &mut Children) {
        let Some(number) = self.named(name) else {
            return;
        };
        let plan = self.plan.services[name].clone();
        let order = Order::Adjust(Box::new(Adjustment {
            limits: plan.limits.clone(),
            access: plan.access.clone(),
            log_level: self.plan.daemon.log.level,
        }));
        let Some(service) = self.services.get_mut(&number) else {
            return;
        };
        let generation = service.current;
        if let Some(edition) = service.editions.get_mut(&generation) {
            edition.plan = plan.clone();
        }
        service.plan = plan;
        for worker in self.workers_of(number, generation, children) {
            tell(children, worker, &order);
        }
    }

    fn workers_of(
        &self,
        service: ServiceId,
        generation: u32,
        children: &Children,
    ) -> Vec<WorkerId> {
        let workers = children.workers();
        let of_it = |id: &WorkerId| id.service == service && id.generation == generation;
        workers.filter(of_it).collect()
    }

    /// The lifecycle has given the change up; the reason is its own.
    pub(super) fn give_up(&mut self, text: &str, now_ms: u64) {
        let Some((wish, changing)) = self.changes.take_changing() else {
            return;
        };
        for service in changing.added {
            if let Some(known) = self.services.get_mut(&service) {
                known.leave();
            }
        }
        // What a plugin said is escaped; problem and remedy keep lines of their own.
        let text = log::escape(text).replace("\\n", "\n");
        self.conclude_wish(&wish, exit::REJECTED, text, BTreeMap::new(), now_ms);
    }

    /// What serves keeps dying: back to what has proved itself.
    pub(super) fn roll_back(&mut self, text: &str, now_ms: u64) {
        let Some(snapshot) = self.changes.proven() else {
            return;
        };
        tracing::error!("{text}; going back to the last plan that has proved itself");
        let wish = Wish {
            goal: Goal::Return(Box::new(snapshot)),
            cause: format!("roll-back by itself ({text})"),
            dry_run: false,
            askers: Vec::new(),
        };
        self.wish(wish, now_ms);
    }

    /// A generation is gone with its last worker.
    pub(super) fn retire(&mut self, service: ServiceId, generation: u32) {
        if let Some(known) = self.services.get_mut(&service) {
            known.editions.remove(&generation);
            if known.has_left() && known.editions.is_empty() {
                self.services.remove(&service);
            }
        }
        self.prune();
        self.keep_listeners();
        if self.services.values().all(|it| it.editions.len() <= 1) {
            // The change is over, and what only it needed.
            resident::let_go_of_code();
        }
    }
}
