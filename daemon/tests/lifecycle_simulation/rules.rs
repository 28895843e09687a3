//! What must hold in every world: after each step, and of each new process.
//!
//! The rules look at the lifecycle through its views and its next deadline, and compare them with
//! the processes that the world knows to exist. They change nothing but the notes of what was seen.

use std::cmp::Ordering;

use polyport::lifecycle::{BreakerCourse, ServiceView, State, WorkerId, WorkerView};

use crate::world::{World, place};

impl World {
    /// The back-off law, seen from outside.
    pub(crate) fn restarted(&mut self, worker: WorkerId) {
        let now_ms = self.now_ms;
        let pool = self
            .pool_restarts_ms
            .entry((worker.service.0, worker.generation))
            .or_default();
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
        let slot = self.slots.entry(place(worker)).or_default();
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
        for service in self.lifecycle.view() {
            let pool = (service.service.0, service.generation);
            let own: Vec<&WorkerView> = service
                .workers
                .iter()
                .filter(|worker| worker.generation == service.generation)
                .collect();
            if service.state == State::Serving {
                self.served.insert(pool);
                let ready = |slot| {
                    self.slots
                        .get(&(pool.0, pool.1, slot))
                        .is_some_and(|s| s.said_ready)
                };
                let all = own.iter().all(|worker| ready(worker.slot));
                self.rule(all, "a pool serves once each slot has had a ready worker");
                self.check_kinds(&service, &own);
            }
            if service.failure.is_some() {
                self.failed.insert(pool);
                self.seen("service failed");
                let late = self.served.contains(&pool);
                self.rule(!late, "a service that has served does not fail");
                self.rule(service.state > State::Serving, "a failed service goes away");
            }
            self.check_starting(&service);
            for worker in &service.workers {
                self.check_worker(&service, worker, deadline_ms);
            }
        }
    }

    /// Nobody runs a plugin that is suspended, and everybody one that is not.
    fn check_kinds(&mut self, service: &ServiceView, own: &[&WorkerView]) {
        let course = service.breaker.as_ref().map(|breaker| breaker.course);
        self.note_course(service.service.0, course);
        for worker in own.iter().filter(|worker| worker.state <= State::Serving) {
            let wanted = match course {
                None | Some(BreakerCourse::Closed) => false,
                Some(BreakerCourse::HalfOpen) => worker.slot > 0,
                Some(BreakerCourse::Open) => true,
            };
            // Somebody who runs the plugin may still drain in its place.
            let waits = !wanted
                && own.iter().any(|other| {
                    other.slot == worker.slot && other.state == State::Draining && !other.stand_in
                });
            self.rule(
                worker.stand_in == wanted || (worker.stand_in && waits),
                "a worker runs the plugin exactly if the breaker lets it",
            );
        }
    }

    fn check_worker(
        &mut self,
        service: &ServiceView,
        worker: &WorkerView,
        deadline_ms: Option<u64>,
    ) {
        let id = WorkerId {
            service: service.service,
            generation: worker.generation,
            slot: worker.slot,
            incarnation: worker.restarts + 1,
        };
        let living = self
            .processes
            .get(&id)
            .filter(|_| worker.state < State::Gone);
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
        let wanted = match worker.generation.cmp(&service.generation) {
            Ordering::Less => false,
            Ordering::Equal => service.state <= State::Serving,
            // A candidate, or one that was given up.
            Ordering::Greater => self
                .operator
                .is_candidate((service.service.0, worker.generation)),
        };
        match worker.state {
            State::Starting if self.waits(service, worker) => {
                self.rule(wanted && worker.pid.is_none(), "who waits is wanted");
                self.rule(deadline_ms.is_some(), "who waits has its turn");
            }
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
                self.rule(worker.pid.is_none(), "who is gone is not there");
                let retry = worker.next_try_ms.is_some();
                self.rule(retry == wanted, "who is gone comes back exactly if wanted");
                self.rule(!retry || deadline_ms.is_some(), "a next try has a deadline");
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
