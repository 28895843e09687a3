//! What must hold in every world: after each step, and of each new process.
//!
//! The rules look at the lifecycle through its views and its next deadline, and compare them with
//! the processes that the world knows to exist. They change nothing but the notes of what was seen.

use polyport::lifecycle::{State, WorkerId};

use crate::world::World;

impl World {
    /// The back-off law, seen from outside.
    pub(crate) fn restarted(&mut self, worker: WorkerId) {
        let now_ms = self.now_ms;
        let pool = self.pool_restarts_ms.entry(worker.service.0).or_default();
        pool.push_back(now_ms);
        pool.retain(|at_ms| now_ms - at_ms < 1_000);
        let in_a_second = pool.len();
        self.rule(
            in_a_second <= 20,
            "a pool restarts at most 20 times in any second",
        );
        if in_a_second == 20 {
            self.seen("paced");
        }
        let slot = self
            .slots
            .entry((worker.service.0, worker.slot))
            .or_default();
        if !slot.last_was_innocent {
            slot.restarts_ms.push_back(now_ms);
            slot.restarts_ms.retain(|at_ms| now_ms - at_ms < 60_000);
            // 0, 0.08, 0.16 ... 20.48 s: the eleventh comes after 64 s at the soonest.
            let in_a_minute = slot.restarts_ms.len();
            self.rule(
                in_a_minute <= 10,
                "a slot that keeps dying is restarted ever more slowly",
            );
        }
    }

    pub(crate) fn check(&mut self) {
        let deadline_ms = self.lifecycle.next_deadline_ms();
        for (number, service) in (0u32..).zip(self.lifecycle.view()) {
            if service.state == State::Serving {
                self.served.insert(number);
                let ready = |slot| {
                    self.slots
                        .get(&(number, slot))
                        .is_some_and(|s| s.said_ready)
                };
                let all = service.workers.iter().all(|worker| ready(worker.slot));
                self.rule(all, "a pool serves once each slot has had a ready worker");
            }
            if service.failure.is_some() {
                self.failed.insert(number);
                self.seen("service failed");
                let late = self.served.contains(&number);
                self.rule(!late, "a service that has served does not fail");
                self.rule(service.state > State::Serving, "a failed service goes away");
            }
            for worker in service.workers {
                let living = self.processes.get(&(number, worker.slot));
                let (exists, doomed) = match living {
                    Some(p) => (true, p.kill_ordered || p.dead || !p.begun),
                    None => (false, false),
                };
                if let Some(process) = living.filter(|process| process.begun) {
                    self.rule(
                        worker.pid == Some(process.pid),
                        "status shows the process there is",
                    );
                }
                let wanted = service.state <= State::Serving;
                match worker.state {
                    State::Starting | State::Serving => {
                        self.rule(exists && wanted, "who starts or serves is there and wanted");
                        let watched = worker.state == State::Serving || deadline_ms.is_some();
                        self.rule(watched, "a start has a deadline");
                    }
                    State::Draining => {
                        self.rule(exists, "who drains is still there");
                        self.rule(doomed || deadline_ms.is_some(), "a drain has an end");
                        if living.is_some_and(|process| !process.begun) {
                            self.seen("given up before it had a process");
                        }
                    }
                    State::Gone => {
                        let forgotten = !exists && worker.pid.is_none();
                        self.rule(forgotten, "who is gone is not there");
                        let retry = worker.next_try_ms.is_some();
                        self.rule(retry == wanted, "who is gone comes back exactly if wanted");
                        self.rule(!retry || deadline_ms.is_some(), "a next try has a deadline");
                    }
                }
            }
        }
    }

    pub(crate) fn all_quiet(&self) -> bool {
        let views = self.lifecycle.view();
        let well = |state| state == State::Serving || state == State::Gone;
        views
            .iter()
            .all(|v| well(v.state) && v.workers.iter().all(|worker| well(worker.state)))
    }

    pub(crate) fn rule(&self, holds: bool, rule: &str) {
        if !holds {
            self.fail(rule);
        }
    }

    pub(crate) fn fail(&self, rule: &str) -> ! {
        panic!("{rule}, but:\n{:#?}", self.lifecycle.view());
    }
}

impl Drop for World {
    /// Also where the lifecycle itself gave up.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (seed, now_ms) = (self.seed, self.now_ms);
            eprintln!("at {now_ms} ms of a world; once more: SEEDS=1 SEED={seed} cargo test");
        }
    }
}
