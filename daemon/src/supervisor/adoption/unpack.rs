//! Reading the estate: everything is looked at, then made again.
//!
//! Nothing that the old program wrote is taken for granted: a place that does not exist, a socket that
//! is bound elsewhere or a scoreboard of another layout is an error with words, and the program that
//! would have met it later is not the supervisor.
//!
//! Invariant: no file is owned before `own`.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::sys::socket::{SockaddrIn, SockaddrIn6, getsockname, getsockopt, sockopt};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::descriptors::Handed;
use super::pack::monotonic_ms;
use super::{Estate, KeptChild, KeptEdition, KeptListener, KeptService};
use crate::channel::{Channel, CheckBrief};
use crate::control::Server;
use crate::plan::{Address, Transport};
use crate::scoreboard::sources::SourceTable;
use crate::scoreboard::{Counter, Scoreboard};
use crate::supervisor::banning::Reported;
use crate::supervisor::bans::Bans;
use crate::supervisor::children::{Child, Children, Kind};
use crate::supervisor::connections::Looks;
use crate::supervisor::crashes::Crashes;
use crate::supervisor::directories::Directories;
use crate::supervisor::life::{Life, policy};
use crate::supervisor::listeners::Listener;
use crate::supervisor::logging::LogCare;
use crate::supervisor::notify::Notifier;
use crate::supervisor::service::{Edition, Places, Service};
use crate::supervisor::signs::Signs;
use crate::supervisor::watch::Watch;
use crate::supervisor::wishes::Reloads;
use crate::sys::shared_memory::SharedWords;

/// What was left, made again.
pub(in crate::supervisor) struct Adopted {
    pub(in crate::supervisor) life: Life,
    pub(in crate::supervisor) children: Children,
    pub(in crate::supervisor) started: Instant,
    pub(in crate::supervisor) sources: CheckBrief,
}

impl Adopted {
    /// From here on what is bound goes with the value that bound it.
    pub(super) fn own(&self) {
        let editions = self
            .life
            .services
            .values()
            .flat_map(|s| s.editions.values());
        for listener in editions.flat_map(|edition| &edition.listeners) {
            if let Some(file) = &listener.file {
                file.own();
            }
        }
    }
}

pub(super) fn unpack(estate: Estate, mut handed: Handed) -> Result<Adopted, String> {
    let children = estate.children.into_iter();
    let living = children
        .map(|child| self::child(child, &mut handed))
        .collect::<Result<Vec<Child>, String>>()?;
    let listeners = estate.listeners.into_iter();
    let listeners = listeners
        .map(|listener| self::listener(listener, &mut handed).map(Rc::new))
        .collect::<Result<Vec<Rc<Listener>>, String>>()?;
    let mut tables = BTreeMap::new();
    let mut services = BTreeMap::new();
    for kept in estate.services {
        let number = kept.number;
        let service = service(kept, &listeners, &mut tables, &mut handed)?;
        services.insert(number, service);
    }
    let mut bans: Bans = value("bans", estate.bans)?;
    bans.pass(&estate.passing_bans);
    let changes = Reloads {
        under_way: None,
        waiting: value("wishes", estate.waiting)?,
        proven: estate.proven,
        previous: estate.previous,
        last: estate.last,
    };
    let (lifecycle, bus) = (value("lives", estate.lifecycle)?, value("bus", estate.bus)?);
    let mut crashes = Crashes::load(&estate.plan.daemon.state_dir);
    crashes.penalties = value("penalties", estate.penalties)?;
    crashes.told = estate.told.into_iter().collect();
    crashes.hung = estate.hung.into_iter().collect();
    crashes.counts = estate.died;
    let failed = |what: &str, error: io::Error| format!("{what}: {error}");
    let children =
        Children::adopted(estate.program, living).map_err(|error| failed("itself", error))?;
    let started = started(estate.started_ms).map_err(|error| failed("the clock", error))?;
    let run_dir: PathBuf = estate.plan.daemon.run_dir.clone();
    let directories = Directories::adopted(run_dir, handed.take(estate.lock)?)?;
    let operators = &estate.plan.daemon.control.operators;
    let control = Server::adopt(estate.control, operators, |place| handed.take(place))?;
    let life = Life {
        lifecycle,
        services,
        next_service: estate.next_service,
        control,
        bans,
        reported: Reported::default(),
        crashes,
        changes,
        looks: Looks::adopt(estate.looks),
        happened: estate.happened,
        level_back: estate.level_back,
        log_care: LogCare::default(),
        sources: estate.sources.clone(),
        bus,
        watch: Watch::new(policy(&estate.plan)),
        signs: Signs::told_of(estate.signs),
        notifier: Notifier::going_on(estate.stored),
        announce_due: false,
        over: false,
        directories,
        plan: estate.plan,
    };
    if handed.left() > 0 {
        tracing::warn!("{} descriptors are nobody's, and are closed", handed.left());
    }
    Ok(Adopted {
        life,
        children,
        started,
        sources: estate.sources,
    })
}

fn child(kept: KeptChild, handed: &mut Handed) -> Result<Child, String> {
    let pid = kept.pid;
    let channel = Channel::adopt(handed.take(kept.channel)?);
    let third = handed.take(kept.third)?;
    let scoreboard = match kept.kind {
        Kind::Worker { .. } => Some(scoreboard(pid, &third)?),
        Kind::Check | Kind::Probe(_) | Kind::Hub | Kind::Rehearsal => None,
    };
    Ok(Child {
        pid,
        kind: kept.kind,
        scoreboard,
        due_ms: kept.due_ms,
        offence: kept.offence,
        has_reported: kept.has_reported,
        channel: channel.ok_or_else(|| format!("the channel of {pid} is none"))?,
        channel_open: kept.channel_open,
        unsent: kept.unsent,
        third,
    })
}

fn scoreboard(pid: i32, file: &OwnedFd) -> Result<Scoreboard, String> {
    let words = SharedWords::map(file)
        .map_err(|error| format!("the scoreboard of {pid} cannot be mapped: {error}"))?;
    let board = Scoreboard::over(words).filter(Scoreboard::has_known_layout);
    board.ok_or_else(|| {
        format!(
            "the scoreboard of {pid} has another layout than this program's\n  fix: restart the \
             daemon instead"
        )
    })
}

fn listener(kept: KeptListener, handed: &mut Handed) -> Result<Listener, String> {
    let shards = kept.shards.iter().map(|place| {
        let shard = handed.take(*place)?;
        is_bound(&shard, &kept.local)
            .map_err(|what| format!("a socket of {}: {what}", kept.endpoint))?;
        Ok(shard)
    });
    Ok(Listener {
        shards: shards.collect::<Result<_, String>>()?,
        endpoint: kept.endpoint,
        asked: kept.asked,
        local: kept.local,
        origin: kept.origin,
        file: kept.file,
    })
}

/// It listens, and where it should.
fn is_bound(socket: &OwnedFd, local: &Address) -> Result<(), String> {
    if local.transport() == Transport::Stream && getsockopt(socket, sockopt::AcceptConn) != Ok(true)
    {
        return Err("it does not listen".to_owned());
    }
    let raw = socket.as_raw_fd();
    let found = match local.socket() {
        None => return Ok(()),
        Some(SocketAddr::V4(_)) => {
            getsockname::<SockaddrIn>(raw).map(|at| SocketAddr::V4(at.into()))
        }
        Some(SocketAddr::V6(_)) => {
            getsockname::<SockaddrIn6>(raw).map(|at| SocketAddr::V6(at.into()))
        }
    };
    let found = found.map_err(|errno| errno.desc().to_owned())?;
    match local.socket() {
        Some(expected) if (expected.ip(), expected.port()) != (found.ip(), found.port()) => {
            Err(format!("it is bound to {found}"))
        }
        _ => Ok(()),
    }
}

fn service(
    kept: KeptService,
    listeners: &[Rc<Listener>],
    tables: &mut BTreeMap<usize, Rc<SourceTable>>,
    handed: &mut Handed,
) -> Result<Service, String> {
    let mut editions = BTreeMap::new();
    for edition in kept.editions {
        let generation = edition.generation;
        let made = self::edition(edition, listeners, tables, handed)
            .map_err(|what| format!("services.{}: {what}", kept.name))?;
        editions.insert(generation, made);
    }
    let mut retired = [0; Counter::ALL.len()];
    for (total, counter) in retired.iter_mut().zip(Counter::ALL) {
        *total = kept.retired.get(counter.name()).copied().unwrap_or(0);
    }
    Ok(Service {
        name: kept.name,
        plan: kept.plan,
        current: kept.current,
        newest: kept.newest,
        editions,
        tried: kept.tried,
        left: kept.left,
        retired,
        retired_metrics: kept.retired_metrics,
    })
}

fn edition(
    kept: KeptEdition,
    listeners: &[Rc<Listener>],
    tables: &mut BTreeMap<usize, Rc<SourceTable>>,
    handed: &mut Handed,
) -> Result<Edition, String> {
    let own = kept.listeners.iter().map(|place| {
        let listener = listeners.get(*place).map(Rc::clone);
        listener.ok_or_else(|| format!("there is no listener {place}"))
    });
    let listeners = own.collect::<Result<_, String>>()?;
    let table = match tables.get(&kept.table) {
        Some(table) => Rc::clone(table),
        None => {
            let file = handed.take(kept.table)?;
            let table = SourceTable::adopt(file, 2 * kept.workers_max)
                .map_err(|error| format!("its table of sources cannot be mapped: {error}"))?;
            let table = Rc::new(table.ok_or("its table of sources has another layout")?);
            tables.insert(kept.table, Rc::clone(&table));
            table
        }
    };
    Ok(Edition {
        plan: kept.plan,
        code: kept.code,
        descriptor: kept.descriptor,
        listeners,
        leaving: kept.leaving,
        places: Places {
            table,
            workers_max: kept.workers_max,
            side: kept.side,
        },
        sandbox: kept.sandbox,
    })
}

fn value<T: DeserializeOwned>(what: &str, kept: Value) -> Result<T, String> {
    serde_json::from_value(kept).map_err(|error| format!("the estate's {what}: {error}"))
}

/// So long ago that the daemon's clock goes on.
fn started(started_ms: u64) -> io::Result<Instant> {
    let ago = Duration::from_millis(monotonic_ms()?.saturating_sub(started_ms));
    Instant::now()
        .checked_sub(ago)
        .ok_or_else(|| io::Error::other("it started before the machine"))
}
