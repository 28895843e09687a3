//! The daemon while it lives: orders of the lifecycle carried out, and what operators ask.
//!
//! Each service keeps here what its workers need and what outlives them: its listeners, its code, the
//! counters of its dead. When to do what is decided in `lifecycle`; this only does it.
//!
//! Invariant: after `handle` no order is left, and the totals of a service never go back.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::Signal as UnixSignal;

use super::banning::{self, Reported};
use super::bans::{Bans, utc_ms};
use super::children::{Child, Children, Kind};
use super::directories::Directories;
use super::listeners::Listener;
use super::preparation::{Candidate, Prepared};
use super::watch::Watch;
use super::{Announcement, Ending, Wish};
use super::{socket_options, status};
use crate::channel::{self, Brief, ListenerBrief, StoredPlugin, WorkerBrief};
use crate::control::{Answer, Reply, Request, Server};
use crate::exit as code;
use crate::lifecycle::{
    Change, Event, Exit, Lifecycle, News, Order, Policy, ServiceId, Signal, WorkerId,
};
use crate::plan::{Address, DaemonPlan, Descriptor, LogLevel, ServicePlan};
use crate::plugin_host::verify;
use crate::scoreboard::sources::SourceTable;
use crate::scoreboard::{Counter, SLOTS, Scoreboard};

pub(super) struct Life {
    lifecycle: Lifecycle,
    daemon: DaemonPlan,
    pub(super) services: Vec<Service>,
    control: Server,
    pub(super) bans: Bans,
    pub(super) reported: Reported,
    watch: Watch,
    announce_due: bool,
    over: bool,
    /// Held for its lock.
    directories: Directories,
}

/// What a service's workers are made from, and what they leave behind.
pub(super) struct Service {
    pub(super) name: String,
    pub(super) plan: ServicePlan,
    pub(super) listeners: Vec<Listener>,
    pub(super) descriptor: Option<Descriptor>,
    pub(super) sandbox: String,
    /// Counters of workers that are gone, in the order of [`Counter::ALL`].
    pub(super) retired: [u64; Counter::ALL.len()],
    /// Where its workers count connections by source.
    sources: Option<SourceTable>,
    code: Option<StoredPlugin>,
    refusal: Option<String>,
}

impl Life {
    pub(super) fn new(prepared: Prepared, control: Server, seed: u64) -> Life {
        let Prepared {
            plan,
            directories,
            candidates,
        } = prepared;
        let services: Vec<Service> = candidates.into_iter().map(Service::new).collect();
        let used: Vec<&StoredPlugin> = services.iter().filter_map(|s| s.code.as_ref()).collect();
        if let Err(error) = verify::prune(&plan.daemon.state_dir, &used) {
            tracing::warn!("old plugin files stay in the store: {error}");
        }
        let policy = Policy {
            drain_timeout_ms: plan.daemon.drain_timeout_ms,
            hang_timeout_ms: plan.daemon.hang_timeout_ms,
            thread_hang_timeout_ms: plan.daemon.thread_hang_timeout_ms,
        };
        let bans = Bans::load(&plan.daemon.state_dir, utc_ms());
        let names = services.iter().map(|service| service.name.clone());
        Life {
            lifecycle: Lifecycle::new(policy, names, seed),
            daemon: plan.daemon,
            services,
            control,
            bans,
            reported: Reported::default(),
            watch: Watch::new(policy),
            announce_due: false,
            over: false,
            directories,
        }
    }

    /// Gives the lifecycle the verdict on every service.
    pub(super) fn begin(&mut self, children: &mut Children, now_ms: u64) {
        if self.daemon.identity.is_none() && nix::unistd::geteuid().is_root() {
            tracing::warn!(
                "running as root without daemon.user: workers keep the identity of root, without \
                 its capabilities; name a user"
            );
        }
        for number in 0..self.services.len() {
            let service = ServiceId(number as u32);
            let event = match self.services[number].refusal.take() {
                None => Event::Admitted {
                    service,
                    workers: self.services[number].plan.workers,
                },
                Some(text) => Event::NotAdmitted { service, text },
            };
            self.handle(event, children, now_ms);
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
            Some(look),
        ];
        own.into_iter().flatten().min()
    }

    pub(super) fn tick(&mut self, children: &mut Children, now_ms: u64) {
        self.handle(Event::Tick, children, now_ms);
        self.bans.save_if_due(now_ms);
    }

    pub(super) fn stop(&mut self, fast: bool, children: &mut Children, now_ms: u64) {
        self.handle(Event::Stop { fast }, children, now_ms);
    }

    pub(super) fn ready(
        &mut self,
        worker: WorkerId,
        sandbox: String,
        children: &mut Children,
        now_ms: u64,
    ) {
        if let Some(service) = self.services.get_mut(worker.service.0 as usize) {
            service.sandbox = sandbox;
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
        self.reported.forget(worker);
        let mut blame = None;
        if let Some(board) = &child.scoreboard {
            if let Some(service) = self.services.get_mut(worker.service.0 as usize) {
                service.retire(board);
                if let Some(sources) = &service.sources {
                    sources.clear(worker.slot);
                }
            }
            let glance = board.blame();
            blame = glance.map(|glance| format!("in {}", glance.callback.name()));
        }
        let blame = child.offence.clone().or(blame);
        self.handle(
            Event::Worker(worker, News::Exited { exit, blame }),
            children,
            now_ms,
        );
    }

    /// Looks at the scoreboards for workers that are stuck.
    pub(super) fn watch(&mut self, children: &mut Children, now_ms: u64) {
        if !self.watch.begin(now_ms) {
            return;
        }
        let mut findings = Vec::new();
        for (_, child) in children.iter() {
            if let (Kind::Worker { id, .. }, Some(board)) = (&child.kind, &child.scoreboard) {
                let glances = (0..SLOTS).map(|slot| board.glance(slot));
                let finding = self.watch.look(*id, glances, now_ms);
                findings.extend(finding.map(|finding| (*id, finding)));
            }
        }
        self.watch.end(now_ms);
        for (worker, finding) in findings {
            self.handle(Event::Worker(worker, finding.news()), children, now_ms);
        }
    }

    /// Tells the lifecycle, and carries out what it orders until nothing is left to do.
    pub(super) fn handle(&mut self, event: Event, children: &mut Children, now_ms: u64) {
        let mut orders = VecDeque::from(self.lifecycle.handle(now_ms, event));
        while let Some(order) = orders.pop_front() {
            if let Some(event) = self.carry_out(order, children) {
                orders.extend(self.lifecycle.handle(now_ms, event));
            }
        }
    }

    fn carry_out(&mut self, order: Order, children: &mut Children) -> Option<Event> {
        match order {
            Order::Spawn(worker) => {
                let news = match self.spawn(worker, children) {
                    Ok(pid) => News::Spawned { pid: pid as u32 },
                    Err(error) => News::NotSpawned {
                        error: error.to_string(),
                    },
                };
                return Some(Event::Worker(worker, news));
            }
            Order::Drain { worker, grace_ms } => {
                if let Some((pid, _)) = children.of_worker(worker)
                    && let Err(error) = children.tell(pid, &channel::Order::Drain { grace_ms })
                {
                    tracing::error!("the worker {pid} cannot be told to drain: {error}");
                }
            }
            Order::Kill { worker, signal } => {
                let signal = match signal {
                    Signal::Abort => UnixSignal::SIGABRT,
                    Signal::Kill => UnixSignal::SIGKILL,
                };
                if let Some((pid, _)) = children.of_worker(worker) {
                    children.kill(pid, signal);
                }
            }
            Order::Announce => self.announce_due = true,
            Order::Log(change) => log_change(&change),
            Order::Exit => self.over = true,
        }
        None
    }

    fn spawn(&self, worker: WorkerId, children: &mut Children) -> std::io::Result<i32> {
        let service = &self.services[worker.service.0 as usize];
        let code = service
            .code
            .clone()
            .expect("only admitted services have workers");
        let count = service.plan.workers;
        let sources = service.sources.as_ref();
        let sources = sources.expect("only admitted services have workers");
        let mut fds: Vec<BorrowedFd<'_>> = vec![sources.file().as_fd()];
        let mut briefs: Vec<ListenerBrief> = Vec::new();
        for listener in &service.listeners {
            for (fd, brief) in listener.shards_of(worker.slot, count) {
                fds.push(fd);
                briefs.push(brief);
            }
        }
        let brief = Brief::Worker(WorkerBrief {
            service: service.name.clone(),
            worker_index: worker.slot,
            worker_count: count,
            generation: worker.generation,
            daemon: self.daemon.clone(),
            plan: service.plan.clone(),
            code,
            listeners: briefs,
            udp_ports: self.udp_ports(),
            bans: self.bans.brief(utc_ms()),
        });
        let name = format!("{}/{}", service.name, worker.slot + 1);
        children.start(Kind::Worker { id: worker, name }, &brief, &fds, None)
    }

    /// Those of all services: a plugin that must not answer them is told.
    fn udp_ports(&self) -> Vec<u16> {
        let listeners = self.services.iter().flat_map(|service| &service.listeners);
        let shards = listeners.flat_map(|listener| listener.shards_of(0, 1));
        let mut ports: Vec<u16> = shards
            .filter_map(|(_, brief)| match brief.local {
                Address::Udp(local) => Some(local.port()),
                Address::Tcp(_) | Address::Unix(_) | Address::UnixDatagram(_) => None,
            })
            .collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// Answers what operators asked; returns what is to be done beyond answering.
    pub(super) fn requests(&mut self, children: &Children, now_ms: u64) -> Vec<Request> {
        let mut to_do = Vec::new();
        let (services, lifecycle) = (&self.services, &self.lifecycle);
        let bans = &mut self.bans;
        self.control.turn(now_ms, |request, caller| match request {
            Request::Status => {
                let status = status::of(services, &lifecycle.view(), children, now_ms);
                let answer = serde_json::to_value(status).expect("a status is plain data");
                Answer {
                    reply: Reply::done(answer),
                    hold: false,
                }
            }
            Request::SocketOptions { service } => Answer {
                reply: socket_options::reply(services, service.as_deref()),
                hold: false,
            },
            Request::Ban { .. } | Request::Unban { .. } | Request::Bans => {
                banning::answer(bans, request, caller)
            }
            Request::Stop { .. } => {
                tracing::info!(
                    "`{}` was asked by uid {} (pid {})",
                    request.verb(),
                    caller.uid,
                    caller.pid
                );
                to_do.push(request.clone());
                let answer = serde_json::json!({ "pid": std::process::id() });
                Answer {
                    reply: Reply::done(answer),
                    hold: true,
                }
            }
        });
        to_do
    }

    /// What is left to say or do once the orders of a turn are carried out.
    pub(super) fn conclude(
        &mut self,
        wish: &Wish,
        children: &Children,
        now_ms: u64,
    ) -> Result<(), Ending> {
        if std::mem::take(&mut self.announce_due) {
            self.announce(wish, children, now_ms)?;
        }
        if self.over {
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
    fn announce(&mut self, wish: &Wish, children: &Children, now_ms: u64) -> Result<(), Ending> {
        let views = self.lifecycle.view();
        for (service, view) in self.services.iter_mut().zip(&views) {
            if view.failure.is_some() {
                // Nobody would accept there, and who connects is to know.
                service.listeners.clear();
            }
            for listener in &service.listeners {
                tracing::info!("{} listens on {}", service.name, listener.local());
            }
        }
        if wish.all_or_nothing
            && let Some(text) = views.iter().find_map(|view| view.failure.clone())
        {
            return Err(Ending {
                exit: code::FAILED,
                text,
            });
        }
        let text = match wish.announce {
            None => return Ok(()),
            Some(Announcement { json: false }) => {
                let socket = self.directories.control_socket();
                status::announcement(&self.services, &views, &socket)
            }
            Some(Announcement { json: true }) => {
                let status = status::of(&self.services, &views, children, now_ms);
                serde_json::to_string(&status).expect("a status is plain data") + "\n"
            }
        };
        // A reader who has left is no reason not to serve.
        let _ = std::io::stdout().write_all(text.as_bytes());
        let _ = std::io::stdout().flush();
        Ok(())
    }
}

impl Service {
    fn new(candidate: Candidate) -> Service {
        let Candidate {
            name,
            plan,
            verdict,
        } = candidate;
        let retired = [0; Counter::ALL.len()];
        let sandbox = String::new();
        match verdict {
            Ok(admitted) => Service {
                name,
                plan,
                listeners: admitted.listeners,
                descriptor: Some(admitted.descriptor),
                sandbox,
                retired,
                sources: Some(admitted.sources),
                code: Some(admitted.code),
                refusal: None,
            },
            Err(text) => Service {
                name,
                plan,
                listeners: Vec::new(),
                descriptor: None,
                sandbox,
                retired,
                sources: None,
                code: None,
                refusal: Some(text),
            },
        }
    }

    /// Totals outlive their worker; what was open with it is not open any more.
    fn retire(&mut self, board: &Scoreboard) {
        for (total, counter) in self.retired.iter_mut().zip(Counter::ALL) {
            if counter != Counter::Connections {
                *total = total.saturating_add(board.read(counter));
            }
        }
    }
}

/// One line each: a problem and its remedy, on lines of their own elsewhere, are joined here.
fn log_change(change: &Change) {
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

/// The services' totals by name, from the dead and the living.
pub(super) fn totals(boards: &[&Scoreboard], retired: &[u64]) -> BTreeMap<String, u64> {
    let counted = Counter::ALL
        .iter()
        .zip(retired)
        .filter(|(c, _)| **c != Counter::Connections);
    counted
        .map(|(counter, retired)| {
            let living: u64 = boards
                .iter()
                .fold(0, |sum, board| sum.saturating_add(board.read(*counter)));
            (counter.name().to_owned(), retired.saturating_add(living))
        })
        .collect()
}
