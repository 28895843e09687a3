//! The operator, and what must hold of changes: each is answered once, nothing that serves is touched
//! before it is made, and nothing has changed after it was given up.
//!
//! It keeps what the supervisor would: which generation of each service is to serve, and which
//! numbers have been given away.

use std::collections::{BTreeMap, BTreeSet};

use polyport::lifecycle::{Beginning, BreakerCourse, Changes, Event, ServiceId, WorkerId};

use crate::turns::workers;
use crate::world::{Happening, World, policy};

#[derive(Debug, Default)]
pub(crate) struct Operator {
    /// The generation that is to serve, by service.
    current: BTreeMap<u32, u32>,
    /// The last number that was given away.
    newest: BTreeMap<u32, u32>,
    pending: Option<Changes>,
    pub(crate) refusals_due: u32,
    pub(crate) paused: BTreeSet<u32>,
    retired: BTreeSet<(u32, u32)>,
    on_probation: bool,
    courses: BTreeMap<u32, BreakerCourse>,
}

impl Operator {
    pub(crate) fn of(services: u32) -> Operator {
        let first: BTreeMap<u32, u32> = (0..services).map(|service| (service, 1)).collect();
        Operator {
            current: first.clone(),
            newest: first,
            ..Operator::default()
        }
    }

    pub(crate) fn is_candidate(&self, (service, generation): (u32, u32)) -> bool {
        self.pending.as_ref().is_some_and(|changes| {
            let is_it =
                |begun: &Beginning| begun.service.0 == service && begun.generation == generation;
            changes.begun.iter().any(is_it)
        })
    }

    fn next_generation(&mut self, service: u32) -> u32 {
        let newest = self.newest.entry(service).or_default();
        *newest += 1;
        *newest
    }
}

impl World {
    // --- what the operator wants ---------------------------------------------------------------

    pub(crate) fn change(&mut self) {
        let known: Vec<u32> = self.operator.current.keys().copied().collect();
        let mut changes = Changes {
            policy: policy(),
            begun: Vec::new(),
            removed: Vec::new(),
            on_probation: self.dice.chance(70),
        };
        for service in known {
            match self.dice.below(10) {
                0 => changes.removed.push(ServiceId(service)),
                1..=5 => changes.begun.push(self.beginning(service)),
                6 if self.announced => {
                    let service = ServiceId(service);
                    self.seen("paused");
                    self.tell(Event::Pause { service });
                }
                _ => {}
            }
        }
        if self.dice.chance(30) {
            let service = self.operator.newest.keys().max().map_or(0, |last| last + 1);
            changes.begun.push(self.beginning(service));
        }
        self.tell(Event::Change(changes));
        let again_ms = 1 + self.dice.below(2 * self.weather.change_every_ms);
        self.later(again_ms, Happening::Change);
    }

    /// As the supervisor does when it is told to: everything begins anew.
    pub(crate) fn go_back(&mut self) {
        let known: Vec<u32> = self.operator.current.keys().copied().collect();
        let changes = Changes {
            policy: policy(),
            begun: known
                .into_iter()
                .map(|service| self.beginning(service))
                .collect(),
            removed: Vec::new(),
            on_probation: false,
        };
        self.tell(Event::Change(changes));
    }

    fn beginning(&mut self, service: u32) -> Beginning {
        let generation = self.operator.next_generation(service);
        if generation > 2 {
            self.seen("third generation");
        }
        Beginning {
            service: ServiceId(service),
            generation,
            name: format!("service-{service}"),
            workers: workers(&mut self.dice, 3, 3),
        }
    }

    pub(crate) fn asked(&mut self, changes: &Changes) {
        if self.lifecycle.can_change() {
            self.operator.pending = Some(changes.clone());
        } else {
            self.operator.refusals_due += 1;
            self.seen("change refused");
        }
    }

    // --- what came of it -----------------------------------------------------------------------

    pub(crate) fn committed(&mut self) {
        let Some(changes) = self.operator.pending.take() else {
            self.fail("a change is answered once");
        };
        self.seen("committed");
        for begun in &changes.begun {
            let before = self
                .operator
                .current
                .insert(begun.service.0, begun.generation);
            self.operator.paused.remove(&begun.service.0);
            self.operator.courses.remove(&begun.service.0);
            if before.is_none() {
                self.seen("service added");
            }
        }
        for removed in &changes.removed {
            self.operator.current.remove(&removed.0);
            self.seen("service removed");
        }
        self.operator.on_probation = changes.on_probation;
        self.serves_what_it_should();
    }

    pub(crate) fn abandoned(&mut self) {
        if self.operator.refusals_due > 0 {
            self.operator.refusals_due -= 1;
            return;
        }
        let pending = self.operator.pending.take();
        self.rule(pending.is_some(), "a change is answered once");
        self.seen("given up");
        self.note_waiting("given up while some waited");
        self.serves_what_it_should();
    }

    fn serves_what_it_should(&mut self) {
        let views = self.lifecycle.view();
        let serving: BTreeMap<u32, u32> = views
            .iter()
            .map(|view| (view.service.0, view.generation))
            .collect();
        self.rule(
            serving == self.operator.current,
            "what serves is what was to serve",
        );
    }

    pub(crate) fn probation_over(&mut self, how: &'static str) {
        self.rule(
            self.operator.on_probation,
            "a probation ends once, and only if there is one",
        );
        self.operator.on_probation = false;
        self.seen(how);
    }

    pub(crate) fn retired(&mut self, service: u32, generation: u32) {
        let left =
            |worker: &&WorkerId| (worker.service.0, worker.generation) == (service, generation);
        let none = !self.processes.keys().any(|worker| left(&worker));
        self.rule(none, "a generation is retired when its last worker is gone");
        let fresh = self.operator.retired.insert((service, generation));
        self.rule(fresh, "a generation is retired once");
        let serves = self.operator.current.get(&service) == Some(&generation);
        self.rule(!serves, "what serves is not retired");
    }

    // --- of single workers ---------------------------------------------------------------------

    pub(crate) fn may_be_spawned(&mut self, worker: WorkerId, parked: bool, stand_in: bool) {
        let pool = (worker.service.0, worker.generation);
        let current = self.operator.current.get(&pool.0) == Some(&pool.1);
        match parked {
            true => self.rule(self.operator.is_candidate(pool), "candidates are parked"),
            false => self.rule(current, "only what is to serve is not parked"),
        }
        self.rule(!(parked && stand_in), "no candidate is a stand-in");
        let gone = self.operator.retired.contains(&pool);
        self.rule(!gone, "a number of a generation is not used again");
        let paused = self.operator.paused.contains(&pool.0);
        self.rule(!paused || parked, "a service that is paused spawns nobody");
        let same_place = self.processes.values().filter(|process| {
            let other = process.worker;
            (other.service, other.generation, other.slot)
                == (worker.service, worker.generation, worker.slot)
        });
        let (mut runs_plugin, mut stays) = (false, false);
        for process in same_place {
            runs_plugin |= !process.stand_in;
            stays |= !(process.drain_ordered || process.kill_ordered || !process.begun);
        }
        self.rule(
            stand_in || !runs_plugin,
            "a slot holds one process of the plugin at a time",
        );
        self.rule(!stays, "whoever has the place already is going");
        let mut generations: BTreeSet<u32> = self
            .processes
            .keys()
            .filter(|other| other.service == worker.service)
            .map(|other| other.generation)
            .collect();
        generations.insert(worker.generation);
        self.rule(
            generations.len() <= 2,
            "of a service at most two generations have processes",
        );
    }

    pub(crate) fn released(&mut self, worker: WorkerId) {
        let current = self.operator.current.get(&worker.service.0) == Some(&worker.generation);
        self.rule(current, "a parked worker serves after the change only");
        let process = self.process(worker);
        let was_parked = std::mem::take(&mut process.parked);
        self.rule(was_parked, "whoever is told to serve was parked");
    }

    pub(crate) fn drained(&mut self, worker: WorkerId, successor: Option<WorkerId>) {
        if let Some(heir) = successor {
            let fits = heir.service == worker.service && heir.generation > worker.generation;
            self.rule(fits, "a successor is of a later generation");
            self.rule(self.processes.contains_key(&heir), "a successor is there");
        }
        let current = self.operator.current.get(&worker.service.0) == Some(&worker.generation);
        if self.stops > 0 || !current || self.process(worker).stand_in {
            return;
        }
        let views = self.lifecycle.view();
        let view = views.iter().find(|view| view.service == worker.service);
        let apart = view
            .is_some_and(|view| view.paused || view.failure.is_some() || view.breaker.is_some());
        self.rule(
            apart,
            "what serves is not touched before the change is made",
        );
    }

    pub(crate) fn borrowed(&mut self, from: u16, to: WorkerId) {
        let process = self.process(to);
        let able = process.begun && !process.drain_ordered && !process.kill_ordered;
        self.rule(able, "whoever is lent to can accept");
        self.rule(from != to.slot, "nobody is lent what is its own");
        let fresh = self.lent.insert((from, to));
        self.rule(fresh, "nothing is lent twice");
        self.seen("lent");
    }

    pub(crate) fn note_course(&mut self, service: u32, course: Option<BreakerCourse>) {
        let course = course.unwrap_or(BreakerCourse::Closed);
        let before = self.operator.courses.insert(service, course);
        match (before.unwrap_or(BreakerCourse::Closed), course) {
            (before, course) if before == course => {}
            (_, BreakerCourse::Open) => self.seen("suspended"),
            (_, BreakerCourse::HalfOpen) => self.seen("tried by one"),
            (before, BreakerCourse::Closed) => {
                self.rule(
                    before == BreakerCourse::HalfOpen,
                    "a plugin is trusted again after a trial only",
                );
                self.seen("trusted again");
            }
        }
    }
}
