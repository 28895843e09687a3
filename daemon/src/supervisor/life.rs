//! The daemon while it lives: the orders of the lifecycle, carried out.
//!
//! When to do what is decided in `lifecycle`; this only does it. What is carried out at some length has
//! a file of its own: changes in `reload` and `commit`, requests of operators in `requests`, the hub in
//! `hub`. What a service's workers are made from is in `service`.
//!
//! Invariant: after `handle` no order is left.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};
use std::os::fd::BorrowedFd;

use nix::sys::signal::Signal as UnixSignal;

use super::banning::Reported;
use super::bans::Bans;
use super::children::{Child, Children, Kind};
use super::connections::Looks;
use super::crashes::Crashes;
use super::directories::Directories;
use super::handover;
use super::hub::Bus;
use super::logging::{self, LevelBack, LogCare};
use super::metrics::Happened;
use super::notify::Notifier;
use super::preparation::Candidate;
use super::service::{Edition, Places, Service};
use super::signs::Signs;
use super::status;
use super::watch::Watch;
use super::wishes::Reloads;
use super::{Announcement, Ending, Launch};
use crate::channel::{self, Brief, CheckBrief, ListenerBrief, StandIn, StoredPlugin, WorkerBrief};
use crate::control::Server;
use crate::exit as code;
use crate::lifecycle::{Event, Exit, Lifecycle, News, Order, Policy, ServiceId, Signal, WorkerId};
use crate::plan::{Plan, ServicePlan};
use crate::plugin_host::verify;
use crate::sys::clock::utc_ms;
use crate::sys::resident;

pub(super) struct Life {
    pub(super) lifecycle: Lifecycle,
    /// What serves, or is to.
    pub(super) plan: Plan,
    pub(super) services: BTreeMap<ServiceId, Service>,
    pub(super) next_service: u32,
    pub(super) control: Server,
    pub(super) bans: Bans,
    pub(super) reported: Reported,
    pub(super) crashes: Crashes,
    pub(super) changes: Reloads,
    pub(super) looks: Looks,
    pub(super) happened: Happened,
    pub(super) level_back: Option<LevelBack>,
    pub(super) log_care: LogCare,
    /// Where the configuration is.
    pub(super) sources: CheckBrief,
    pub(super) watch: Watch,
    pub(super) signs: Signs,
    pub(super) bus: Bus,
    pub(super) notifier: Notifier,
    pub(super) announce_due: bool,
    pub(super) over: bool,
    /// Held for its lock.
    pub(super) directories: Directories,
}

impl Life {
    pub(super) fn new(
        plan: Plan,
        candidates: &[Candidate],
        (directories, control, notifier): (Directories, Server, Notifier),
        sources: CheckBrief,
        seed: u64,
    ) -> Life {
        let bans = Bans::load(&plan.daemon.state_dir, utc_ms());
        let crashes = Crashes::load(&plan.daemon.state_dir);
        let names = candidates.iter().map(|candidate| candidate.name.clone());
        let mut life = Life {
            lifecycle: Lifecycle::new(policy(&plan), names, seed),
            services: BTreeMap::new(),
            next_service: 0,
            control,
            bans,
            reported: Reported::default(),
            crashes,
            changes: Reloads::default(),
            looks: Looks::default(),
            happened: Happened::default(),
            level_back: None,
            log_care: LogCare::default(),
            sources,
            bus: Bus::default(),
            notifier,
            watch: Watch::new(policy(&plan)),
            signs: Signs::default(),
            announce_due: false,
            over: false,
            directories,
            plan,
        };
        for Candidate { name, plan, .. } in candidates {
            life.admit_service(name.clone(), plan.clone());
        }
        life
    }

    /// Gives the lifecycle the verdict on every service.
    pub(super) fn begin(
        &mut self,
        candidates: Vec<Candidate>,
        children: &mut Children,
        now_ms: u64,
    ) {
        if self.plan.daemon.identity.is_none() && nix::unistd::geteuid().is_root() {
            tracing::warn!(
                "running as root without daemon.user: workers keep the identity of root, without \
                 its capabilities; set daemon.user"
            );
        }
        if candidates.is_empty() {
            tracing::warn!(
                "no service is configured, so nothing is served; see conf.d, and reload"
            );
        }
        let numbers: Vec<ServiceId> = self.services.keys().copied().collect();
        let mut events = Vec::new();
        for (service, candidate) in numbers.into_iter().zip(candidates) {
            events.push(match candidate.verdict {
                Ok(edition) => {
                    let workers = edition.plan.workers;
                    if let Some(known) = self.services.get_mut(&service) {
                        let generation = known.add(edition);
                        known.install(generation);
                    }
                    Event::Admitted { service, workers }
                }
                Err(text) => {
                    if let Some(known) = self.services.get_mut(&service) {
                        known.fail(candidate.hash);
                    }
                    Event::NotAdmitted { service, text }
                }
            });
        }
        // Only now, so that the first worker too is told the ports of all.
        for event in events {
            self.handle(event, children, now_ms);
        }
        self.changes.start_from(self.snapshot());
        self.keep_listeners();
        self.admit_operators();
        self.prune();
    }

    /// A service that was not there, without a generation yet.
    pub(super) fn admit_service(&mut self, name: String, plan: ServicePlan) -> ServiceId {
        let service = ServiceId(self.next_service);
        self.next_service += 1;
        self.services.insert(service, Service::new(name, plan));
        service
    }

    pub(super) fn named(&self, name: &str) -> Option<ServiceId> {
        let mut services = self.services.iter();
        let found = services.find(|(_, s)| s.name == name && !s.has_left());
        found.map(|(number, _)| *number)
    }

    /// Keeps in the store what runs, and what may be gone back to.
    pub(super) fn prune(&self) {
        let editions = self.services.values().flat_map(|s| s.editions.values());
        let mut used: Vec<&StoredPlugin> = editions.map(|edition| &edition.code).collect();
        used.extend(self.changes.codes());
        if let Err(error) = verify::prune(&self.plan.daemon.state_dir, &used) {
            tracing::warn!("old plugin files stay in the store: {error}");
        }
    }

    pub(super) fn control(&self) -> &Server {
        &self.control
    }

    pub(super) fn next_deadline_ms(&self) -> Option<u64> {
        // A callback that is entered and left between two looks is nobody's business.
        let look = self.watch.next_look_ms();
        let own = [
            self.lifecycle.next_deadline_ms(),
            self.control.next_deadline_ms(),
            self.bans.next_deadline_ms(),
            self.notifier.next_deadline_ms(),
            self.looks.next_deadline_ms(),
            self.next_level_ms(),
            self.bus_deadline_ms(),
            (self.changes.is_due() && self.lifecycle.can_change()).then_some(0),
            Some(look),
        ];
        own.into_iter().flatten().min()
    }

    pub(super) fn tick(&mut self, children: &mut Children, now_ms: u64) {
        self.handle(Event::Tick, children, now_ms);
        self.bans.save_if_due(now_ms);
        self.level_back_if_due(children, now_ms);
        self.tend_log(children, now_ms);
    }

    pub(super) fn stop(&mut self, fast: bool, children: &mut Children, now_ms: u64) {
        self.forget_wishes(children, now_ms);
        self.notifier.stopping(now_ms);
        self.handle(Event::Stop { fast }, children, now_ms);
    }

    pub(super) fn ready(
        &mut self,
        worker: WorkerId,
        sandbox: String,
        children: &mut Children,
        now_ms: u64,
    ) {
        let service = self.services.get_mut(&worker.service);
        if let Some(edition) = service.and_then(|s| s.editions.get_mut(&worker.generation)) {
            edition.sandbox = sandbox;
        }
        self.handle(Event::Worker(worker, News::Ready), children, now_ms);
    }

    /// Adds up what it counted, and says what it was doing.
    pub(super) fn worker_ended(
        &mut self,
        worker: WorkerId,
        child: &Child,
        exit: Exit,
        children: &mut Children,
        now_ms: u64,
    ) {
        self.watch.forget(worker);
        self.signs.forget(worker);
        self.reported.forget(worker);
        self.looks.forget(worker);
        let (mut blame, mut cause) = (None, None);
        if let Some(service) = self.services.get_mut(&worker.service) {
            let around = (&mut self.bans, now_ms);
            let blamed = self
                .crashes
                .worker_ended(worker, child, exit, service, around);
            cause = blamed.map(|(_, cause)| cause);
            blame = blamed.map(|(blame, _)| blame.to_string());
            if let Some(board) = &child.scoreboard {
                service.retire(
                    worker,
                    board,
                    matches!(child.kind, Kind::Worker { stand_in: true, .. }),
                );
            }
        }
        let blame = child.offence.clone().or(blame);
        self.handle(
            Event::Worker(worker, News::Exited { exit, blame, cause }),
            children,
            now_ms,
        );
    }

    /// Tells the lifecycle, and carries out what it orders until nothing is left to do.
    pub(super) fn handle(&mut self, event: Event, children: &mut Children, now_ms: u64) {
        let mut orders = VecDeque::from(self.lifecycle.handle(now_ms, event));
        while let Some(order) = orders.pop_front() {
            if let Some(event) = self.carry_out(order, children, now_ms) {
                orders.extend(self.lifecycle.handle(now_ms, event));
            }
        }
    }

    fn carry_out(&mut self, order: Order, children: &mut Children, now_ms: u64) -> Option<Event> {
        match order {
            Order::Spawn {
                worker,
                parked,
                stand_in,
            } => {
                let news = match self.spawn(worker, parked, stand_in, children) {
                    Ok(pid) => News::Spawned { pid: pid as u32 },
                    Err(error) => News::NotSpawned {
                        error: error.to_string(),
                    },
                };
                return Some(Event::Worker(worker, news));
            }
            Order::Serve(worker) => tell(children, worker, &channel::Order::Serve),
            Order::Drain {
                worker,
                grace_ms,
                successor,
                hurried,
            } => {
                let leaving = self.edition(worker).map(|edition| edition.leaving.clone());
                let leaving = leaving.unwrap_or_default();
                let given = successor.is_some_and(|heir| {
                    handover::begin(children, worker, heir, grace_ms, leaving.clone())
                });
                let drain = channel::Order::Drain {
                    grace_ms,
                    leaving,
                    hurried,
                };
                if !given {
                    tell(children, worker, &drain);
                }
            }
            Order::Commit => self.commit(children, now_ms),
            Order::Abandon { text } => self.give_up(&text, now_ms),
            Order::Proven => self.changes.prove(self.snapshot()),
            Order::RollBack { text } => self.roll_back(&text, now_ms),
            Order::Retired {
                service,
                generation,
            } => self.retire(service, generation),
            Order::Kill { worker, signal } => {
                let signal = match signal {
                    Signal::Abort => UnixSignal::SIGABRT,
                    Signal::Kill => UnixSignal::SIGKILL,
                };
                self.crashes
                    .told_to_end(worker, signal == UnixSignal::SIGABRT);
                if let Some((pid, _)) = children.of_worker(worker) {
                    children.kill(pid, signal);
                }
            }
            Order::Lend { from, to } => self.lend(from, to, children),
            Order::Reclaim { from, to } => self.reclaim(from, to, children),
            Order::Announce => self.announce_due = true,
            Order::Log(change) => logging::log_change(&change),
            Order::Exit => self.over = true,
        }
        None
    }

    fn spawn(
        &self,
        worker: WorkerId,
        parked: bool,
        stand_in: bool,
        children: &mut Children,
    ) -> io::Result<i32> {
        let service = &self.services[&worker.service];
        let edition = &service.editions[&worker.generation];
        // Beside it a worker of the plugin may still drain, which counts in its place.
        let apart = match stand_in {
            true => Some(Places::new(1)?),
            false => None,
        };
        let (places, region) = match &apart {
            Some(apart) => (apart, 0),
            None => (&edition.places, edition.places.region(worker.slot)),
        };
        let mut fds: Vec<BorrowedFd<'_>> = vec![places.fd()];
        let mut briefs: Vec<ListenerBrief> = Vec::new();
        for (fd, brief) in edition.shards_of(worker.slot) {
            fds.push(fd);
            briefs.push(brief);
        }
        let brief = Brief::Worker(WorkerBrief {
            service: service.name.clone(),
            worker_index: worker.slot,
            worker_count: edition.plan.workers,
            generation: worker.generation,
            parked,
            source_region: region,
            daemon: self.plan.daemon.clone(),
            plan: edition.plan.clone(),
            code: edition.code.clone(),
            stand_in: stand_in.then(|| StandIn::of(&edition.plan, Some(&edition.descriptor))),
            listeners: briefs,
            udp_ports: self.udp_ports(),
            bans: self.bans.brief(utc_ms()),
        });
        let name = format!("{}/{}", service.name, worker.slot + 1);
        let kind = Kind::Worker {
            id: worker,
            name,
            stand_in,
        };
        children.start(kind, &brief, &fds, None)
    }

    pub(super) fn edition(&self, worker: WorkerId) -> Option<&Edition> {
        let service = self.services.get(&worker.service)?;
        service.editions.get(&worker.generation)
    }

    /// Those of all services: a plugin that must not answer them is told.
    fn udp_ports(&self) -> Vec<u16> {
        let editions = self.services.values().flat_map(|s| s.editions.values());
        let mut ports: Vec<u16> = editions.flat_map(Edition::udp_ports).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// What is left to say or do once the orders of a turn are carried out.
    pub(super) fn conclude(
        &mut self,
        launch: &Launch,
        children: &mut Children,
        now_ms: u64,
    ) -> Result<(), Ending> {
        if std::mem::take(&mut self.announce_due) {
            self.announce(launch, children, now_ms)?;
        }
        if self.over && self.stop_bus(children, now_ms) {
            if self.bans.next_deadline_ms().is_some() {
                // It is in the log; there is nobody else to tell.
                let _ = self.bans.save();
            }
            return Err(Ending {
                exit: code::DONE,
                text: String::new(),
            });
        }
        Ok(())
    }

    /// Everything that can serve does.
    fn announce(
        &mut self,
        launch: &Launch,
        children: &Children,
        now_ms: u64,
    ) -> Result<(), Ending> {
        let views = self.lifecycle.view();
        for view in &views {
            let Some(service) = self.services.get_mut(&view.service) else {
                continue;
            };
            if view.failure.is_some() {
                // Nobody would accept there, and who connects is to know.
                service.install(0);
            }
            for listener in service.listeners() {
                tracing::info!("{} listens on {}", service.name, listener.local());
            }
        }
        if launch.all_or_nothing
            && let Some(text) = views.iter().find_map(|view| view.failure.clone())
        {
            return Err(Ending {
                exit: code::FAILED,
                text,
            });
        }
        self.notify_serving(&views);
        // From here on little of what a start needs is used again.
        resident::let_go_of_code();
        let text = match launch.announce {
            None => return Ok(()),
            Some(Announcement { json: false }) => {
                let socket = self.directories.control_socket();
                status::announcement(&self.services, &views, &socket)
            }
            Some(Announcement { json: true }) => {
                let status = status::of(&self.shown(), children, now_ms);
                serde_json::to_string(&status).expect("a status is plain data") + "\n"
            }
        };
        // A reader who has left is no reason not to serve.
        let _ = io::stdout().write_all(text.as_bytes());
        let _ = io::stdout().flush();
        Ok(())
    }
}

pub(super) fn tell(children: &mut Children, worker: WorkerId, order: &channel::Order) {
    let Some(pid) = children.of_worker(worker).map(|(pid, _)| pid) else {
        return;
    };
    match children.tell(pid, order) {
        Ok(()) => {}
        // It has died and is not reaped yet: its end is what gets said.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            tracing::debug!("the worker {pid} is gone and is not told {order:?}");
        }
        Err(error) => tracing::error!("the worker {pid} cannot be told {order:?}: {error}"),
    }
}

/// What the plan says about lives.
pub(super) fn policy(plan: &Plan) -> Policy {
    Policy {
        drain_timeout_ms: plan.daemon.drain_timeout_ms,
        hang_timeout_ms: plan.daemon.hang_timeout_ms,
        thread_hang_timeout_ms: plan.daemon.thread_hang_timeout_ms,
    }
}
