//! Writing the estate: all that a supervisor knows and holds, as it is at this moment.
//!
//! It changes nothing. What another program can find out anew is left out: records of crashes, what
//! was seen on scoreboards, how often sensors have reported in this second.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use nix::time::{ClockId, clock_gettime};
use serde::Serialize;
use serde_json::Value;

use super::descriptors::Kept;
use super::{Estate, FORMAT, KeptChild, KeptEdition, KeptListener, KeptService, wishes};
use crate::channel::handed;
use crate::scoreboard::Counter;
use crate::scoreboard::sources::SourceTable;
use crate::supervisor::children::Children;
use crate::supervisor::life::Life;
use crate::supervisor::listeners::Listener;
use crate::supervisor::service::Service;
use crate::supervisor::wishes::Wish;

/// The estate, and what must stay open for it, in the order of its list.
pub(in crate::supervisor) struct Packed<'a> {
    pub(in crate::supervisor) file: OwnedFd,
    pub(in crate::supervisor) fds: Vec<BorrowedFd<'a>>,
}

pub(in crate::supervisor) fn pack<'a>(
    life: &'a Life,
    children: &'a Children,
    first: Option<&Wish>,
    now_ms: u64,
) -> io::Result<Packed<'a>> {
    let mut kept = Kept::default();
    let mut shared = Shared::default();
    let services: Vec<KeptService> = life
        .services
        .iter()
        .map(|(number, service)| KeptService {
            number: *number,
            ..describe(service, &mut shared, &mut kept)
        })
        .collect();
    let listeners = shared.listeners.iter().map(|listener| KeptListener {
        endpoint: listener.endpoint.clone(),
        asked: listener.asked.clone(),
        local: listener.local.clone(),
        shards: listener
            .shards
            .iter()
            .map(|shard| kept.keep(shard.as_fd()))
            .collect(),
        origin: listener.origin,
        file: listener.file.as_ref().map(|file| file.described()),
    });
    let listeners = listeners.collect();
    let living = children.iter().map(|(pid, child)| KeptChild {
        pid,
        kind: child.kind.clone(),
        due_ms: child.due_ms,
        offence: child.offence.clone(),
        has_reported: child.has_reported,
        channel: kept.keep(child.channel.as_fd()),
        channel_open: child.channel_open,
        unsent: child.unsent.clone(),
        third: kept.keep(child.third.as_fd()),
    });
    let living = living.collect();
    let control = life.control.describe(|fd| kept.keep(fd));
    let lock = kept.keep(life.directories.lock.as_fd());
    let estate = Estate {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        numbers: kept.0.iter().map(|fd| fd.as_raw_fd()).collect(),
        started_ms: monotonic_ms()?.saturating_sub(now_ms),
        program: children.path.clone(),
        sources: life.sources.clone(),
        plan: life.plan.clone(),
        lifecycle: value(&life.lifecycle),
        services,
        listeners,
        children: living,
        next_service: life.next_service,
        control,
        lock,
        bans: value(&life.bans),
        passing_bans: life.bans.passing(),
        penalties: value(&life.crashes.penalties),
        told: life.crashes.told.iter().copied().collect(),
        signs: life.signs.told(),
        stored: life.notifier.stored().clone(),
        hung: life.crashes.hung.iter().copied().collect(),
        bus: value(&life.bus),
        waiting: wishes(first, life.changes.waiting.iter()),
        proven: life.changes.proven.clone(),
        previous: life.changes.previous.clone(),
        last: life.changes.last.clone(),
        looks: life.looks.describe(),
        happened: life.happened.clone(),
        died: life.crashes.counts.clone(),
        level_back: life.level_back,
    };
    Ok(Packed {
        file: handed::brief(&estate)?,
        fds: kept.0,
    })
}

/// What several editions have in common, each once.
#[derive(Default)]
struct Shared<'a> {
    listeners: Vec<&'a Rc<Listener>>,
    tables: Vec<(&'a Rc<SourceTable>, usize)>,
}

impl<'a> Shared<'a> {
    fn listener(&mut self, listener: &'a Rc<Listener>) -> usize {
        let known = self
            .listeners
            .iter()
            .position(|it| Rc::ptr_eq(it, listener));
        known.unwrap_or_else(|| {
            self.listeners.push(listener);
            self.listeners.len() - 1
        })
    }

    fn table(&mut self, table: &'a Rc<SourceTable>, kept: &mut Kept<'a>) -> usize {
        let known = self.tables.iter().find(|(it, _)| Rc::ptr_eq(it, table));
        match known {
            Some((_, place)) => *place,
            None => {
                let place = kept.keep(table.file().as_fd());
                self.tables.push((table, place));
                place
            }
        }
    }
}

/// All but its number.
fn describe<'a>(service: &'a Service, shared: &mut Shared<'a>, kept: &mut Kept<'a>) -> KeptService {
    let editions = service.editions.iter().map(|(generation, edition)| {
        let listeners = edition.listeners.iter();
        KeptEdition {
            generation: *generation,
            plan: edition.plan.clone(),
            code: edition.code.clone(),
            descriptor: edition.descriptor.clone(),
            listeners: listeners.map(|it| shared.listener(it)).collect(),
            leaving: edition.leaving.clone(),
            table: shared.table(&edition.places.table, kept),
            workers_max: edition.places.workers_max,
            side: edition.places.side,
            sandbox: edition.sandbox.clone(),
        }
    });
    let retired = Counter::ALL.iter().zip(service.retired);
    KeptService {
        number: crate::lifecycle::ServiceId(0),
        name: service.name.clone(),
        plan: service.plan.clone(),
        current: service.current,
        newest: service.newest,
        editions: editions.collect(),
        tried: service.tried.clone(),
        left: service.left,
        retired: retired
            .map(|(counter, total)| (counter.name().to_owned(), total))
            .collect(),
        retired_metrics: service.retired_metrics.clone(),
    }
}

fn value(it: &impl Serialize) -> Value {
    serde_json::to_value(it).expect("it is plain data")
}

/// On the clock that every program of this machine sees alike.
pub(super) fn monotonic_ms() -> io::Result<u64> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
    let since_boot = std::time::Duration::from(now);
    Ok(u64::try_from(since_boot.as_millis()).unwrap_or(u64::MAX))
}
