//! Every small world: one or two services, and all that can happen to them in a few steps, in every
//! order. Worlds that have come to the same are looked at once.
//!
//! The seeded worlds go far and meet what is likely; these are short and leave nothing out. After
//! each step the rules here hold, words about whoever is gone change nothing, and a stop would end it.
//! `DEPTH` adds to the number of steps.
//!
//! Invariant: a process is reaped once, and an order to spawn is answered once.

mod schedules;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::rc::Rc;

use polyport::lifecycle::{
    Beginning, Cause, Changes, Event, Exit, Lifecycle, News, Order, ServiceId, Signal, State,
    WorkerId,
};

use crate::world::policy;
use schedules::Schedules;
use told::{Path, Print, Telling};

/// What can happen in a world, beside births, deaths and the passing of time.
#[derive(Clone, Copy)]
struct Kind {
    what: &'static str,
    services: u32,
    workers: u16,
    /// Of the plugin and of the machine.
    faults: bool,
    /// By an operator.
    changes: bool,
    steps: usize,
}

const KINDS: [Kind; 4] = [
    Kind {
        what: "one worker and all its faults",
        services: 1,
        workers: 1,
        faults: true,
        changes: false,
        steps: 8,
    },
    Kind {
        what: "one worker that is replaced, paused and removed",
        services: 1,
        workers: 1,
        faults: false,
        changes: true,
        steps: 7,
    },
    Kind {
        what: "two workers, their faults and changes",
        services: 1,
        workers: 2,
        faults: true,
        changes: true,
        steps: 5,
    },
    Kind {
        what: "two services of which one changes",
        services: 2,
        workers: 1,
        faults: false,
        changes: true,
        steps: 6,
    },
];

#[test]
fn every_small_world_keeps_the_rules() {
    for kind in KINDS {
        let steps = kind.steps + crate::number_from_environment("DEPTH", 0) as usize;
        let mut newest = vec![(0, Small::begin(kind))];
        let mut schedules = Schedules::from(newest[0].1.print());
        for _ in 0..steps {
            for (from, small) in std::mem::take(&mut newest) {
                for event in small.possible() {
                    let after = small.step(event);
                    if let Some(number) = schedules.meet(from, after.print()) {
                        after.stale_words_are_nothing();
                        after.clone().ends();
                        newest.push((number, after));
                    }
                }
            }
        }
        let worlds = schedules.tell(kind.what, steps);
        assert!(worlds > 1_000, "{worlds} worlds are hardly all");
    }
}

#[derive(Clone, Debug, Default)]
struct Process {
    begun: bool,
    ready: bool,
    parked: bool,
    stand_in: bool,
    drained: bool,
    aborted: bool,
    killed: bool,
}

#[derive(Clone)]
struct Small {
    kind: Kind,
    lifecycle: Lifecycle,
    now_ms: u64,
    processes: BTreeMap<WorkerId, Process>,
    gone: BTreeSet<WorkerId>,
    probing: BTreeSet<u32>,
    /// The generation that is to serve, by service.
    current: BTreeMap<u32, u32>,
    newest: u32,
    pending: Option<Changes>,
    stops: u32,
    announced: bool,
    exited: bool,
    path: Option<Rc<Path>>,
}

/// Time goes on to the next deadline.
const TIME: Event = Event::Tick;

impl Small {
    fn begin(kind: Kind) -> Small {
        let names = (0..kind.services).map(|number| format!("s{number}"));
        Small {
            kind,
            lifecycle: Lifecycle::new(policy(), names, 1),
            now_ms: 1_000,
            processes: BTreeMap::new(),
            gone: BTreeSet::new(),
            probing: (0..kind.services).collect(),
            current: (0..kind.services).map(|number| (number, 1)).collect(),
            newest: 1,
            pending: None,
            stops: 0,
            announced: false,
            exited: false,
            path: None,
        }
    }

    // --- what can happen -----------------------------------------------------------------------

    fn possible(&self) -> Vec<Event> {
        let mut events = Vec::new();
        if self.exited {
            return events;
        }
        for service in self.probing.iter().copied().map(ServiceId) {
            let workers = self.kind.workers;
            let text = "no plugin".to_owned();
            events.push(Event::Admitted { service, workers });
            events.push(Event::NotAdmitted { service, text });
        }
        for (worker, process) in &self.processes {
            let news = self.possible_news(process);
            events.extend(news.into_iter().map(|news| Event::Worker(*worker, news)));
        }
        if self.kind.changes {
            events.push(self.change(&[0], &[]));
            events.push(self.change(&[], &[0]));
            events.push(self.change(&[0, 7], &[1]));
            events.push(Event::Pause {
                service: ServiceId(0),
            });
        }
        events.extend([Event::Stop { fast: false }, Event::Stop { fast: true }]);
        if self.lifecycle.next_deadline_ms().is_some() {
            events.push(TIME);
        }
        events
    }

    fn possible_news(&self, process: &Process) -> Vec<News> {
        let text = || "odd".to_owned();
        let died = |exit, cause: Option<Cause>| News::Exited {
            exit,
            blame: cause.map(|_| "in feed".to_owned()),
            cause,
        };
        if !process.begun {
            return vec![News::Spawned { pid: 7 }, News::NotSpawned { error: text() }];
        }
        let mut news = vec![died(Exit::Code(0), None)];
        news.extend(process.drained.then_some(News::Gives));
        if !process.ready {
            news.push(News::Ready);
        }
        if self.kind.faults {
            let since_ms = self.now_ms;
            news.extend([
                died(Exit::Signal(9), None),
                died(Exit::Signal(11), Some(Cause::Plugin)),
                died(Exit::Signal(11), Some(Cause::Source(1))),
                News::Refused { text: text() },
                News::Unstuck,
                News::Stopped(true),
                News::Stopped(false),
                News::Soft {
                    sources: vec![1, 2, 1, 2, 1, 2, 1, 2, 1, 2],
                },
            ]);
            news.extend([true, false].map(|on_thread| News::Stuck {
                callback: "feed".to_owned(),
                since_ms,
                on_thread,
            }));
        }
        news
    }

    /// Those that there are begin anew, and those that there are not are added.
    fn change(&self, begun: &[u32], removed: &[u32]) -> Event {
        let beginning = |service: &u32| Beginning {
            service: ServiceId(*service),
            generation: self.newest + 1,
            name: format!("s{service}"),
            workers: self.kind.workers,
        };
        let known = removed.iter().filter(|it| self.current.contains_key(it));
        Event::Change(Changes {
            policy: policy(),
            begun: begun.iter().map(beginning).collect(),
            removed: known.map(|service| ServiceId(*service)).collect(),
            on_probation: true,
        })
    }

    // --- a step --------------------------------------------------------------------------------

    fn step(&self, event: Event) -> Small {
        let mut after = self.clone();
        let before = after.path.take();
        let path = Rc::new(Path {
            event: event.clone(),
            before,
        });
        let _told_if_it_fails = Telling(&path);
        after.path = Some(path.clone());
        after.note(&event);
        if event != TIME {
            after.handle(event);
        }
        after.handle(Event::Tick);
        let due_ms = after.lifecycle.next_deadline_ms();
        let over = due_ms.is_none_or(|due_ms| due_ms > after.now_ms);
        assert!(over, "a deadline that was just served is due again");
        after.check();
        after
    }

    /// What the world is after that, whatever is decided about it.
    fn note(&mut self, event: &Event) {
        match event {
            Event::Admitted { service, .. } | Event::NotAdmitted { service, .. } => {
                self.probing.remove(&service.0);
            }
            Event::Worker(worker, News::NotSpawned { .. } | News::Exited { .. }) => {
                self.processes.remove(worker);
                self.gone.insert(*worker);
            }
            Event::Worker(worker, news) => {
                let process = self.processes.entry(*worker).or_default();
                process.begun |= matches!(news, News::Spawned { .. });
                process.ready |= matches!(news, News::Ready);
            }
            Event::Stop { .. } => self.stops += 1,
            Event::Tick => {
                let due_ms = self.lifecycle.next_deadline_ms();
                self.now_ms = self.now_ms.max(due_ms.unwrap_or(0));
            }
            Event::Change(_) | Event::Pause { .. } => {}
        }
    }

    fn handle(&mut self, event: Event) {
        let mut refused = false;
        if let Event::Change(changes) = &event {
            refused = !self.lifecycle.can_change();
            if !refused {
                self.newest += 1;
                self.pending = Some(changes.clone());
            }
        }
        let is_change = matches!(event, Event::Change(_));
        for order in self.lifecycle.handle(self.now_ms, event) {
            assert!(!self.exited, "{order:?} comes after the exit");
            let touches = matches!(&order, Order::Drain { worker, .. } | Order::Kill { worker, .. }
                if self.current.get(&worker.service.0) == Some(&worker.generation));
            let early = is_change && self.pending.is_some() && touches;
            assert!(!early, "{order:?} comes before the change is made");
            match order {
                Order::Abandon { .. } if refused => refused = false,
                order => self.obey(order),
            }
        }
        assert!(!refused, "a change that cannot be taken up is refused");
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Spawn {
                worker,
                parked,
                stand_in,
            } => self.spawn(worker, parked, stand_in),
            Order::Serve(worker) => {
                assert!(self.is_current(worker), "{worker:?} serves too early");
                let was = std::mem::take(&mut self.living(worker).parked);
                assert!(was, "{worker:?} is told to serve and does");
            }
            Order::Drain { worker, .. } => {
                let process = self.living(worker);
                assert!(process.begun, "{worker:?} cannot hear it");
                process.drained = true;
            }
            Order::Kill { worker, signal } => {
                let process = self.living(worker);
                assert!(process.begun && !process.killed, "{worker:?} {signal:?}");
                process.aborted |= signal == Signal::Abort;
                process.killed |= signal == Signal::Kill;
            }
            Order::Lend { from, to } => {
                let process = self.living(to);
                let able = process.ready && !process.drained && !process.killed;
                assert!(able && from != to.slot, "{to:?} is lent {from}");
            }
            Order::Reclaim { to, .. } => assert!(self.living(to).begun),
            Order::Commit => {
                let changes = self.pending.take().expect("a change is answered once");
                for begun in changes.begun {
                    self.current.insert(begun.service.0, begun.generation);
                }
                for removed in changes.removed {
                    self.current.remove(&removed.0);
                }
            }
            Order::Abandon { .. } => {
                assert!(self.pending.take().is_some(), "a change is answered once");
            }
            Order::Retired {
                service,
                generation,
            } => {
                let of_it = |w: &&WorkerId| (w.service, w.generation) == (service, generation);
                assert!(!self.processes.keys().any(|worker| of_it(&worker)));
                assert_ne!(self.current.get(&service.0), Some(&generation));
            }
            Order::Announce => {
                assert!(!self.announced && self.stops == 0);
                self.announced = true;
            }
            Order::Exit => {
                assert!(self.stops > 0 && self.processes.is_empty());
                self.exited = true;
            }
            Order::Proven | Order::RollBack { .. } | Order::Log(_) => {}
        }
    }

    fn spawn(&mut self, worker: WorkerId, parked: bool, stand_in: bool) {
        assert_eq!(self.stops, 0, "nobody is spawned after a stop");
        assert_ne!(parked, self.is_current(worker), "candidates are parked");
        let place = |w: &WorkerId| (w.service, w.generation, w.slot);
        let others = self.processes.iter();
        for (other, process) in others.filter(|(other, _)| place(other) == place(&worker)) {
            let going = process.drained || process.killed || !process.begun;
            assert!(going, "{other:?} has the place of {worker:?}");
            let one = stand_in || process.stand_in;
            assert!(one, "{other:?} and {worker:?} run the plugin");
        }
        let of_service = self
            .processes
            .keys()
            .filter(|w| w.service == worker.service);
        let mut generations: BTreeSet<u32> = of_service.map(|w| w.generation).collect();
        generations.insert(worker.generation);
        assert!(generations.len() <= 2, "{generations:?} have processes");
        let process = Process {
            parked,
            stand_in,
            ..Process::default()
        };
        let before = self.processes.insert(worker, process);
        assert!(before.is_none() && !self.gone.contains(&worker));
    }

    fn is_current(&self, worker: WorkerId) -> bool {
        self.current.get(&worker.service.0) == Some(&worker.generation)
    }

    fn living(&mut self, worker: WorkerId) -> &mut Process {
        let process = self.processes.get_mut(&worker);
        process.unwrap_or_else(|| panic!("{worker:?} is gone"))
    }

    // --- what holds after each -----------------------------------------------------------------

    fn check(&self) {
        let views = self.lifecycle.view();
        let serving: BTreeMap<u32, u32> = views
            .iter()
            .map(|view| (view.service.0, view.generation))
            .collect();
        assert_eq!(serving, self.current, "what serves is what was to serve");
        let waits = self.lifecycle.next_deadline_ms().is_some();
        let workers = views.iter().flat_map(|view| &view.workers);
        for worker in workers {
            let doomed = self.processes.values().any(|it| it.killed || !it.begun);
            let moves = worker.state == State::Starting || worker.state == State::Draining;
            assert!(
                !moves || waits || doomed,
                "{} waits for nothing",
                worker.name
            );
        }
    }

    fn stale_words_are_nothing(&self) {
        let _told_if_it_fails = self.path.as_deref().map(Telling);
        let mut same = self.clone();
        for worker in &self.gone {
            let exit = Exit::Signal(11);
            for news in [
                News::Ready,
                News::Spawned { pid: 9 },
                News::Unstuck,
                News::Refused {
                    text: "late".to_owned(),
                },
                News::Exited {
                    exit,
                    blame: None,
                    cause: Some(Cause::Plugin),
                },
            ] {
                let event = Event::Worker(*worker, news);
                let orders = same.lifecycle.handle(self.now_ms, event.clone());
                assert_eq!(orders, [], "{event:?} of one that is gone");
            }
        }
        assert_eq!(same.print(), self.print(), "late words have changed it");
    }

    /// A stop ends it, if only everybody who is killed dies and every spawn is answered.
    fn ends(mut self) {
        let path = self.path.clone();
        let _told_if_it_fails = path.as_deref().map(Telling);
        for round in 0.. {
            if self.exited {
                return;
            }
            assert!(round < 50, "a stop does not end it");
            let answer = self.processes.iter().find_map(|(worker, process)| {
                let died = News::Exited {
                    exit: Exit::Signal(9),
                    blame: None,
                    cause: None,
                };
                match process {
                    Process { begun: false, .. } => Some((*worker, News::Spawned { pid: 7 })),
                    Process { killed: true, .. } => Some((*worker, died)),
                    _ => None,
                }
            });
            let event = match answer {
                Some((worker, news)) => Event::Worker(worker, news),
                None if self.stops == 0 => Event::Stop { fast: false },
                None => TIME,
            };
            self = self.step(event);
        }
    }

    /// Of everything that decides what comes next.
    fn print(&self) -> u64 {
        let mut print = Print::default();
        let Small {
            lifecycle,
            now_ms,
            processes,
            probing,
            pending,
            ..
        } = self;
        write!(
            print,
            "{lifecycle:?} {now_ms} {processes:?} {probing:?} {pending:?}"
        )
        .expect("it takes everything");
        print.number()
    }
}
