//! How a worker becomes one: a list in which each step gives up what the steps before it needed.
//!
//! Invariant: no code of a plugin's instance runs before the identity is dropped and the sandbox
//! closed; the supervisor hears of the first failure, by name, or that the worker serves.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::stand_in::{NoWakes, StandIn};
use super::{NextOrder, Orders, Outcome, Share, Wakes, serve};
use crate::channel::{self, Channel, ListenerBrief, Order, Received, Report, WorkerBrief, handed};
use crate::exit;
use crate::log;
use crate::plan::{Address, Limits, Needs};
use crate::plugin_host::{self, Instance, InstanceFacts, Surroundings, WakeSource};
use crate::scoreboard::Scoreboard;
use crate::scoreboard::sources::Sources;
use crate::sys::sandbox::{self, Profile};
use crate::sys::shared_memory::SharedWords;
use crate::sys::{jail, orphan, spawn};

/// From what the supervisor handed over to the exit code.
pub fn play(channel: Channel, brief: WorkerBrief, board: OwnedFd) -> u8 {
    let who = format!("{}/{}", brief.service, brief.worker_index + 1);
    let started = match start(&brief, board, &who) {
        Ok(started) => started,
        Err(text) => {
            // Without a supervisor to tell there is nobody left who would act on it.
            let _ = channel.send(&Report::refused(text));
            return exit::FAILED;
        }
    };
    let Started {
        share,
        server,
        board,
        sandbox,
    } = started;
    let ready = Report::Ready { sandbox };
    if channel.send(&ready).is_err() {
        return exit::FAILED;
    }
    let mut orders = FromSupervisor {
        channel,
        kept: VecDeque::new(),
        rode_along: None,
    };
    if brief.parked && !orders.wait_to_serve() {
        return exit::DONE;
    }
    let served = match server {
        Server::Plugin(instance) => {
            let wakes = FromPlugin {
                source: instance.wakes(),
                taken: VecDeque::new(),
            };
            serve(share, *instance, wakes, orders, board)
                .map(|(outcome, instance)| (outcome, instance.is_some()))
        }
        Server::StandIn(stand_in, wakes) => serve(share, *stand_in, wakes, orders, board)
            .map(|(outcome, stand_in)| (outcome, stand_in.is_some())),
    };
    match served {
        Ok((outcome, is_whole)) => {
            if outcome == Outcome::Orphaned {
                tracing::info!("the supervisor has gone; this worker has finished what was open");
            }
            if !is_whole {
                // Its threads may be in the middle of anything: nothing is run at exit.
                signal_hook::low_level::exit(i32::from(exit::DONE));
            }
            exit::DONE
        }
        Err(error) => {
            tracing::error!("the event loop failed: {error}");
            exit::INTERNAL
        }
    }
}

struct Started {
    share: Share,
    server: Server,
    board: Scoreboard,
    sandbox: String,
}

/// Who speaks with peers.
enum Server {
    Plugin(Box<Instance>),
    StandIn(Box<StandIn>, NoWakes),
}

fn start(brief: &WorkerBrief, board: OwnedFd, who: &str) -> Result<Started, String> {
    let service = &brief.service;
    let about = |step: &str, why: &dyn std::fmt::Display| about(service, step, why);

    // 1. What was handed over, before anything else can take its numbers.
    let mut sockets = spawn::take_handed(handed::FIXED_FDS, 1 + brief.listeners.len())
        .ok_or_else(|| about("listeners", &"not all of them were handed over"))?;
    let sources = Sources::map(sockets.remove(0), brief.source_region)
        .map_err(|error| about("table of sources", &error))?;
    let board = SharedWords::map(&board).map_err(|error| about("scoreboard", &error))?;
    let board = Scoreboard::over(board)
        .filter(Scoreboard::has_known_layout)
        .ok_or_else(|| about("scoreboard", &"its layout is not this program's"))?;

    board
        .record_crashes()
        .map_err(|error| about("crash record", &error))?;
    publish_code(&board).map_err(|error| about("crash record", &error))?;

    // 2. The log's file, which the later identity may not be allowed to open.
    log::begin(&brief.daemon.log, who).map_err(|error| error.to_string())?;

    // 3. Resource limits: as many descriptors as there are.
    jail::limits_for_worker().map_err(|error| about("resource limits", &error.desc()))?;

    // 4. Identity and capabilities, given up and proved gone.
    let identity = brief.daemon.numbers_for(&brief.plan);
    jail::drop_identity(identity).map_err(|error| about("identity", &error))?;

    // 5. An end, should the supervisor die while the plugin holds this thread.
    let patience_ms = brief.daemon.drain_timeout_ms + brief.daemon.hang_timeout_ms;
    orphan::end_after_parent(patience_ms).map_err(|error| about("orphan", &error))?;

    // 6 to 8. Who serves: the plugin, or, while that keeps failing, a stand-in.
    let (server, sandbox) = match &brief.stand_in {
        None => plugin(brief, &board)?,
        Some(told) => stand_in(brief, told, &board)?,
    };

    let share = Share {
        listeners: sockets
            .into_iter()
            .zip(brief.listeners.iter().cloned())
            .collect(),
        limits: brief.plan.limits.clone(),
        send_buffer_bytes: brief.plan.socket.send_buffer_bytes,
        access: brief.plan.access.clone(),
        bans: brief.bans.clone(),
        sources,
        worker_count: brief.worker_count,
        drain_timeout_ms: brief.daemon.drain_timeout_ms,
    };
    Ok(Started {
        share,
        server,
        board,
        sandbox,
    })
}

/// The plugin's instance, and how tightly the process is closed.
fn plugin(brief: &WorkerBrief, board: &Scoreboard) -> Result<(Server, String), String> {
    let service = &brief.service;
    let about = |step: &str, why: &dyn std::fmt::Display| about(service, step, why);

    // 6. The very code that was probed. Its constructors run with no privilege.
    let slot = board.slot(0);
    let plugin = &brief.plan.plugin;
    let refused = |error: plugin_host::LoadError| error.about(service, plugin);
    let admitted = plugin_host::load(&brief.code, Some(&slot)).map_err(refused)?;
    publish_code(board).map_err(|error| about("crash record", &error))?;
    // Settings were complained of by the probe, with their places; here they are only typed.
    let places = BTreeMap::new();
    let chosen = admitted
        .choose(service, &brief.plan.settings, &places)
        .map_err(refused)?;
    let needs = admitted.needs(&chosen);

    // 7. The sandbox, with what the plugin said it needs.
    let unix_datagrams = has_unix_datagrams(&brief.listeners);
    let profile = Profile::Worker { unix_datagrams };
    let sandbox = sandbox::close(brief.daemon.sandbox, &needs, profile)
        .map_err(|error| about("sandbox", &error))?;

    // 8. Only now the plugin's instance.
    let endpoints = endpoints(&brief.listeners);
    let facts = InstanceFacts {
        service,
        worker_index: brief.worker_index,
        worker_count: brief.worker_count,
        generation: brief.generation,
        endpoints: &endpoints,
        udp_ports: &brief.udp_ports,
    };
    let around = Surroundings {
        board: board.clone(),
        clock: super::clock_ms,
        log_level: brief.daemon.log.level,
        jobs_max: jobs_max(&brief.plan.limits),
        seed: seed(),
    };
    let instance = Instance::create(admitted, &chosen, &facts, around)
        .map_err(|error| sandbox::explain(refused(error)))?;
    Ok((Server::Plugin(Box::new(instance)), sandbox))
}

/// The same without a plugin, closed in as one that needs nothing.
fn stand_in(
    brief: &WorkerBrief,
    told: &channel::StandIn,
    board: &Scoreboard,
) -> Result<(Server, String), String> {
    let service = &brief.service;
    // It answers no datagram.
    let unix_datagrams = false;
    let profile = Profile::Worker { unix_datagrams };
    let sandbox = sandbox::close(brief.daemon.sandbox, &Needs::default(), profile)
        .map_err(|error| about(service, "sandbox", &error))?;
    let wakes = NoWakes::new().map_err(|error| about(service, "eventfd", &error))?;
    let stand_in = StandIn::new(told, board.clone());
    Ok((Server::StandIn(Box::new(stand_in), wakes), sandbox))
}

/// What the supervisor is told of a step that failed.
fn about(service: &str, step: &str, why: &dyn std::fmt::Display) -> String {
    format!("services.{service}: {step}: {why}")
}

/// Where code lies, so that addresses in a crash mean something; a closed process may not ask.
fn publish_code(board: &Scoreboard) -> io::Result<()> {
    board.publish_code(&std::fs::read_to_string("/proc/self/maps")?);
    Ok(())
}

/// Different in each process: the library draws it from the kernel's randomness.
fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}

/// Jobs of the instance that may run or wait.
fn jobs_max(limits: &Limits) -> usize {
    usize::from(limits.threads.max) + limits.threads.queue_max as usize
}

/// Where this worker serves, each once however many shards of it there are.
fn endpoints(listeners: &[ListenerBrief]) -> Vec<String> {
    let mut endpoints: Vec<String> = Vec::new();
    for listener in listeners {
        let url = listener.local.to_string();
        if !endpoints.contains(&url) {
            endpoints.push(url);
        }
    }
    endpoints
}

/// Its peers may have abstract names, which the sandbox would keep its answers from.
fn has_unix_datagrams(listeners: &[ListenerBrief]) -> bool {
    let is_of_them = |listener: &ListenerBrief| matches!(listener.local, Address::UnixDatagram(_));
    listeners.iter().any(is_of_them)
}

/// Tokens that the plugin's own threads sent.
struct FromPlugin {
    source: WakeSource,
    taken: VecDeque<u64>,
}

impl Wakes for FromPlugin {
    fn fd(&self) -> BorrowedFd<'_> {
        self.source.fd()
    }

    fn next(&mut self) -> Option<u64> {
        if self.taken.is_empty() {
            self.taken = self.source.take().into();
        }
        self.taken.pop_front()
    }
}

/// The worker's end of its channel.
struct FromSupervisor {
    channel: Channel,
    /// Orders that came while it was parked, with what rode along.
    kept: VecDeque<(Order, Option<OwnedFd>)>,
    /// Came with the last order.
    rode_along: Option<OwnedFd>,
}

impl FromSupervisor {
    /// Parked: until it is told to serve. False if it is to leave instead.
    fn wait_to_serve(&mut self) -> bool {
        loop {
            let mut fds = [PollFd::new(self.channel.as_fd(), PollFlags::POLLIN)];
            if poll(&mut fds, PollTimeout::NONE).is_err_and(|error| error != Errno::EINTR) {
                return false;
            }
            loop {
                match self.hear() {
                    NextOrder::Order(Order::Serve) => return true,
                    NextOrder::Order(Order::Drain { .. }) | NextOrder::Closed => return false,
                    NextOrder::Order(order) => {
                        self.kept.push_back((order, self.rode_along.take()));
                    }
                    NextOrder::Empty => break,
                }
            }
        }
    }

    fn hear(&mut self) -> NextOrder {
        loop {
            let (received, mut fds) = self.channel.receive_with(Order::descriptors);
            match received {
                Received::Message(order) => {
                    self.rode_along = fds.pop();
                    return NextOrder::Order(order);
                }
                Received::Empty => return NextOrder::Empty,
                Received::Closed => return NextOrder::Closed,
                // From another release, perhaps; what it asks for is not known, so nothing is done.
                Received::Garbled(why) => tracing::warn!("an order is not understood: {why}"),
            }
        }
    }
}

impl Orders for FromSupervisor {
    fn fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }

    fn report(&mut self, report: &Report) -> io::Result<()> {
        self.channel.send(report)
    }

    fn take_descriptor(&mut self) -> Option<OwnedFd> {
        self.rode_along.take()
    }

    fn next(&mut self) -> NextOrder {
        match self.kept.pop_front() {
            Some((order, rode_along)) => {
                self.rode_along = rode_along;
                NextOrder::Order(order)
            }
            None => self.hear(),
        }
    }
}
