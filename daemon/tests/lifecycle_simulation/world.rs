//! The world around the lifecycle: processes with their fates, and what is to come.
//!
//! Each order is obeyed more or less, each answer comes sooner or later; how bad it gets is the
//! seed's choice. It keeps the contract of the real supervisor: an order to spawn is answered once,
//! and every process that began is reaped once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use polyport::lifecycle::{
    Event, Exit, Lifecycle, News, Order, Policy, ServiceId, Signal, State, WorkerId,
};

use crate::dice::Dice;
use crate::operator::Operator;
use crate::turns::{Turn, workers};

const DRAIN_MS: u64 = 20_000;
pub(crate) const HANG_MS: u64 = 3_000;
/// How long the answer to an order to spawn takes at most.
const SPAWN_ANSWER_MS: u64 = 15_000;

/// Service, generation and slot.
pub(crate) type Place = (u32, u32, u16);

/// What will happen, each at its time.
#[derive(Debug)]
pub(crate) enum Happening {
    Say(Event),
    /// The process starts to exist and its fate begins.
    Begin(WorkerId),
    Die(WorkerId, Exit, Option<String>),
    /// Someone outside kills a random process.
    Murder,
    /// An operator wants something else to serve.
    Change,
    /// What serves has been gone back on.
    GoBack,
}

/// From the order to spawn until the lifecycle has been told of its end.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) worker: WorkerId,
    pub(crate) pid: u32,
    pub(crate) begun: bool,
    pub(crate) dead: bool,
    abort_ordered: bool,
    pub(crate) kill_ordered: bool,
    pub(crate) drain_ordered: bool,
    pub(crate) drain: Option<Drain>,
    pub(crate) stand_in: bool,
    pub(crate) parked: bool,
}

/// What a process that drains has been told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drain {
    /// When its time is over.
    pub(crate) over_ms: u64,
    /// When it would be without a hurry, and what each progress gives it then.
    pub(crate) hurried: Option<(u64, u64)>,
    pub(crate) gives: bool,
}

#[derive(Debug, Default)]
pub(crate) struct SlotHistory {
    incarnation: u32,
    pub(crate) said_ready: bool,
    /// When it was restarted for a death that counts.
    pub(crate) restarts_ms: VecDeque<u64>,
    pub(crate) last_was_innocent: bool,
    stand_in: bool,
}

/// How bad things are, in percent.
pub(crate) struct Weather {
    pub(crate) refuses: u64,
    pub(crate) never_ready: u64,
    pub(crate) dies_early: u64,
    pub(crate) dies_later: u64,
    pub(crate) hangs: u64,
    disobeys: u64,
    spawn_fails: u64,
    murder_every_ms: u64,
    not_admitted: u64,
    pub(crate) change_every_ms: u64,
}

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) dice: Dice,
    pub(crate) weather: Weather,
    pub(crate) now_ms: u64,
    pub(crate) lifecycle: Lifecycle,
    to_come: BTreeMap<(u64, u64), Happening>,
    sequence: u64,
    pub(crate) pids: u32,
    pub(crate) processes: BTreeMap<WorkerId, Process>,
    pub(crate) slots: BTreeMap<Place, SlotHistory>,
    pub(crate) pool_restarts_ms: BTreeMap<(u32, u32), VecDeque<u64>>,
    /// Service and generation.
    pub(crate) served: BTreeSet<(u32, u32)>,
    pub(crate) failed: BTreeSet<(u32, u32)>,
    pub(crate) operator: Operator,
    pub(crate) lent: BTreeSet<(u16, WorkerId)>,
    pub(crate) stops: u32,
    pub(crate) announced: bool,
    pub(crate) exited: bool,
    pub(crate) turn: Turn,
    pub(crate) seen: BTreeMap<&'static str, u64>,
}

impl World {
    pub(crate) fn new(seed: u64) -> World {
        let mut dice = Dice(seed);
        let services = dice.below(4) as u32;
        let stormy = dice.chance(50);
        let mut percent = |most: u64| dice.below(if stormy { most + 1 } else { 4 });
        let weather = Weather {
            refuses: percent(20),
            never_ready: percent(30),
            dies_early: percent(60),
            dies_later: percent(100),
            hangs: percent(50),
            disobeys: percent(60),
            spawn_fails: percent(50),
            murder_every_ms: [0, 0, 5, 40, 50, 1_000][percent(5) as usize],
            not_admitted: percent(20),
            change_every_ms: [0, 300, 4_000, 40_000][percent(3) as usize],
        };
        let names = (0..services).map(|number| format!("service-{number}"));
        let mut world = World {
            seed,
            dice,
            weather,
            now_ms: 1_000,
            lifecycle: Lifecycle::new(policy(), names, seed),
            to_come: BTreeMap::new(),
            sequence: 0,
            pids: 100,
            processes: BTreeMap::new(),
            slots: BTreeMap::new(),
            pool_restarts_ms: BTreeMap::new(),
            served: BTreeSet::new(),
            failed: BTreeSet::new(),
            operator: Operator::of(services),
            lent: BTreeSet::new(),
            stops: 0,
            announced: false,
            exited: false,
            turn: Turn::default(),
            seen: BTreeMap::new(),
        };
        for service in (0..services).map(ServiceId) {
            let after_ms = world.dice.below(200);
            let event = if world.dice.chance(world.weather.not_admitted) {
                Event::NotAdmitted {
                    service,
                    text: "no such file".to_owned(),
                }
            } else {
                Event::Admitted {
                    service,
                    workers: workers(&mut world.dice, 4, 10),
                }
            };
            world.later(after_ms, Happening::Say(event));
        }
        if world.weather.murder_every_ms > 0 {
            world.later(0, Happening::Murder);
        }
        if world.weather.change_every_ms > 0 {
            let after_ms = world.dice.below(2 * world.weather.change_every_ms);
            world.later(after_ms, Happening::Change);
        }
        if world.dice.chance(20) {
            let (after_ms, fast) = (world.dice.below(3_000), world.dice.chance(30));
            world.later(after_ms, Happening::Say(Event::Stop { fast }));
            if world.dice.chance(50) {
                let again_ms = after_ms + world.dice.below(DRAIN_MS);
                world.later(again_ms, Happening::Say(Event::Stop { fast: false }));
            }
        }
        world
    }

    /// Whatever comes next happens: something in the world, or a deadline of the lifecycle.
    pub(crate) fn step(&mut self) {
        if self.exited {
            return;
        }
        let happening_ms = self.to_come.keys().next().map(|(at_ms, _)| *at_ms);
        let deadline_ms = self.lifecycle.next_deadline_ms();
        match (happening_ms, deadline_ms) {
            (Some(at_ms), due_ms) if due_ms.is_none_or(|due_ms| at_ms <= due_ms) => {
                self.now_ms = self.now_ms.max(at_ms);
                let (_, happening) = self.to_come.pop_first().expect("it was just looked at");
                self.happen(happening);
            }
            (_, Some(due_ms)) => {
                // A busy supervisor is late now and then.
                let late_ms = if self.dice.chance(10) {
                    self.dice.below(300)
                } else {
                    0
                };
                self.now_ms = self.now_ms.max(due_ms + late_ms);
            }
            (_, None) if self.all_quiet() => self.now_ms += 1_000,
            (_, None) => self.fail("nothing is to come and yet not all is well"),
        }
        self.end_turn();
        self.check();
    }

    /// Ends the story within what a stop may take.
    pub(crate) fn stop(&mut self) {
        let fast = self.dice.chance(30);
        self.tell(Event::Stop { fast });
        let unanswered = self.processes.values().any(|p| !p.begun && !p.dead);
        let answers_ms = if unanswered { SPAWN_ANSWER_MS } else { 0 };
        let by_ms = self.now_ms + DRAIN_MS + 1_000 + 2_000 + answers_ms;
        while !self.exited && self.now_ms <= by_ms {
            self.step();
        }
        self.rule(
            self.exited,
            "a stop ends within its drain, its margin and what signals take",
        );
        self.rule(self.processes.is_empty(), "none is left behind");
        let afterwards = self
            .lifecycle
            .handle(self.now_ms, Event::Stop { fast: true });
        self.rule(afterwards.is_empty(), "nothing is ordered after the exit");
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Say(event) => self.tell(event),
            Happening::Begin(worker) => self.begin(worker),
            Happening::Die(worker, exit, blame) => self.die(worker, exit, blame),
            Happening::Murder => {
                let alive = self.processes.values().filter(|p| p.begun && !p.dead);
                let alive: Vec<WorkerId> = alive.map(|p| p.worker).collect();
                if !alive.is_empty() {
                    let victim = alive[self.dice.below(alive.len() as u64) as usize];
                    self.die(victim, Exit::Signal(9), None);
                    self.seen("innocent kill");
                }
                self.later(self.weather.murder_every_ms, Happening::Murder);
            }
            Happening::Change => self.change(),
            Happening::GoBack => self.go_back(),
        }
    }

    // --- the lifecycle's side ------------------------------------------------------------------

    pub(crate) fn tell(&mut self, event: Event) {
        if self.exited {
            return;
        }
        match &event {
            Event::Stop { .. } => {
                self.stops += 1;
                self.note_waiting("stopped while some waited");
                if self.stops == 2 {
                    self.seen("second stop");
                }
            }
            Event::Worker(worker, News::Exited { exit, blame, .. }) => {
                let process = self.reap(*worker);
                let innocent = *exit == Exit::Signal(9)
                    && blame.is_none()
                    && !process.kill_ordered
                    && !process.abort_ordered;
                self.last_was(*worker, innocent);
            }
            Event::Worker(worker, News::NotSpawned { .. }) => {
                self.reap(*worker);
                self.last_was(*worker, false);
            }
            Event::Worker(worker, News::Ready) => {
                self.slots.entry(place(*worker)).or_default().said_ready = true;
            }
            Event::Worker(worker, News::Gives) => self.gets_on(*worker),
            Event::Worker(_, _) => {}
            Event::Admitted { .. } | Event::NotAdmitted { .. } | Event::Tick => {}
            Event::Change(changes) => self.asked(changes),
            Event::Pause { service } => _ = self.operator.paused.insert(service.0),
        }
        for order in self.lifecycle.handle(self.now_ms, event) {
            self.rule(!self.exited, "nothing is ordered after the exit");
            self.obey(order);
        }
        self.rule(
            self.operator.refusals_due == 0,
            "a change that cannot be taken up is refused at once",
        );
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Spawn {
                worker,
                parked,
                stand_in,
            } => self.spawn(worker, parked, stand_in),
            Order::Drain {
                worker,
                grace_ms,
                successor,
                hurried,
            } => {
                self.drained(worker, successor);
                self.process(worker).drain_ordered = true;
                let gives = self.drains(worker, grace_ms, successor.is_some(), hurried);
                if !gives && !self.dice.chance(self.weather.disobeys) {
                    let after_ms = self.dice.below(grace_ms + 1);
                    self.later(after_ms, Happening::Die(worker, Exit::Code(0), None));
                }
            }
            Order::Kill {
                worker,
                signal: Signal::Abort,
            } => {
                self.process(worker).abort_ordered = true;
                self.seen("hang ended");
                if !self.dice.chance(self.weather.disobeys) {
                    let blame = Some("in feed".to_owned());
                    self.later(20, Happening::Die(worker, Exit::Signal(6), blame));
                }
            }
            Order::Kill {
                worker,
                signal: Signal::Kill,
            } => {
                let process = self.process(worker);
                let (begun, twice) = (process.begun, process.kill_ordered);
                let (aborted, drained) = (process.abort_ordered, process.drain_ordered);
                process.kill_ordered = true;
                self.rule(begun, "who is killed has a process");
                self.rule(!twice, "nobody is killed twice");
                if aborted {
                    self.seen("kill after abort");
                }
                if drained {
                    self.killed_in_drain(worker);
                }
                let after_ms = self.dice.below(50);
                self.later(after_ms, Happening::Die(worker, Exit::Signal(9), None));
            }
            Order::Announce => {
                self.rule(!self.announced, "the start is announced once");
                self.rule(self.stops == 0, "a daemon that stops has not started");
                self.announced = true;
                self.seen("announced");
                let views = self.lifecycle.view();
                let settled = views
                    .iter()
                    .all(|v| v.state == State::Serving || v.failure.is_some());
                self.rule(
                    settled,
                    "at the announcement every service serves or has failed",
                );
            }
            Order::Log(change) => {
                let line = change.to_string();
                self.rule(!line.is_empty() && line.len() < 300, "a log line is a line");
            }
            Order::Serve(worker) => self.released(worker),
            Order::Commit => self.committed(),
            Order::Abandon { .. } => self.abandoned(),
            Order::Proven => self.probation_over("proven"),
            Order::RollBack { .. } => {
                self.probation_over("rolled back");
                let after_ms = self.dice.below(1_000);
                self.later(after_ms, Happening::GoBack);
            }
            Order::Retired {
                service,
                generation,
            } => self.retired(service.0, generation),
            Order::Lend { from, to } => self.borrowed(from, to),
            Order::Reclaim { from, to } => {
                let had = self.lent.remove(&(from, to));
                self.rule(had, "what is reclaimed was lent");
                self.seen("reclaimed");
            }
            Order::Exit => {
                self.rule(self.stops > 0, "nobody exits who was not told to");
                self.rule(self.processes.is_empty(), "the exit comes last");
                self.exited = true;
            }
        }
    }

    fn spawn(&mut self, worker: WorkerId, parked: bool, stand_in: bool) {
        self.rule(self.stops == 0, "nobody is spawned after a stop");
        self.ordered();
        let pool = (worker.service.0, worker.generation);
        let failed = self.failed.contains(&pool);
        self.rule(!failed, "a failed service spawns nobody");
        self.may_be_spawned(worker, parked, stand_in);
        let slot = self.slots.entry(place(worker)).or_default();
        let fresh = worker.incarnation > slot.incarnation;
        slot.incarnation = worker.incarnation;
        let same_kind = std::mem::replace(&mut slot.stand_in, stand_in) == stand_in;
        if !same_kind {
            slot.restarts_ms.clear();
            slot.last_was_innocent = true;
        }
        self.rule(fresh, "no two processes have the same name");
        if worker.incarnation > 1 {
            self.restarted(worker);
        }
        let process = Process {
            worker,
            pid: 0,
            begun: false,
            dead: false,
            abort_ordered: false,
            kill_ordered: false,
            drain_ordered: false,
            drain: None,
            stand_in,
            parked,
        };
        self.processes.insert(worker, process);
        let after_ms = if self.dice.chance(5) {
            self.dice.below(SPAWN_ANSWER_MS)
        } else {
            0
        };
        if self.dice.chance(self.weather.spawn_fails) {
            self.seen("spawn failed");
            self.say(
                after_ms,
                worker,
                News::NotSpawned {
                    error: "EAGAIN".to_owned(),
                },
            );
        } else {
            self.later(after_ms, Happening::Begin(worker));
        }
    }

    // --- small words ---------------------------------------------------------------------------

    pub(crate) fn process(&mut self, worker: WorkerId) -> &mut Process {
        let process = self.processes.get_mut(&worker);
        process.expect("orders name processes that have not been reaped")
    }

    fn reap(&mut self, worker: WorkerId) -> Process {
        self.lent.retain(|(_, to)| *to != worker);
        self.processes
            .remove(&worker)
            .expect("a process is reaped once")
    }

    /// How the latest worker of a slot ended; those that it has replaced do not count.
    fn last_was(&mut self, worker: WorkerId, innocent: bool) {
        let slot = self.slots.entry(place(worker)).or_default();
        if slot.incarnation == worker.incarnation {
            slot.last_was_innocent = innocent;
        }
    }

    pub(crate) fn later(&mut self, after_ms: u64, happening: Happening) {
        self.sequence += 1;
        self.to_come
            .insert((self.now_ms + after_ms, self.sequence), happening);
    }

    pub(crate) fn say(&mut self, after_ms: u64, worker: WorkerId, news: News) {
        self.later(after_ms, Happening::Say(Event::Worker(worker, news)));
    }

    pub(crate) fn seen(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }
}

pub(crate) fn policy() -> Policy {
    Policy {
        drain_timeout_ms: DRAIN_MS,
        hang_timeout_ms: HANG_MS,
        thread_hang_timeout_ms: 3 * HANG_MS,
    }
}

pub(crate) fn place(worker: WorkerId) -> Place {
    (worker.service.0, worker.generation, worker.slot)
}
