//! A service as the supervisor keeps it: what its workers are made from, and what outlives them.
//!
//! Each generation has an edition: its plan, its code and its listeners. Editions of one service
//! share the listeners that both have, so an address stays bound as long as one of them wants it.
//! Who serves and until when is decided in `lifecycle`.
//!
//! Invariant: an edition lives until its last worker is gone, and the totals never go back.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use super::listeners::Listener;
use super::plugin_metrics::Retired;
use crate::channel::{ListenerBrief, StoredPlugin};
use crate::lifecycle::WorkerId;
use crate::plan::{Address, Descriptor, ServicePlan};
use crate::scoreboard::sources::SourceTable;
use crate::scoreboard::{Counter, Scoreboard};

pub(super) struct Service {
    pub(super) name: String,
    /// Of what serves, or would if it had not failed.
    pub(super) plan: ServicePlan,
    /// The generation that is to serve; 0 before there is one.
    pub(super) current: u32,
    pub(super) newest: u32,
    pub(super) editions: BTreeMap<u32, Edition>,
    /// The hash of the code that was tried last, whatever came of it.
    pub(super) tried: Option<String>,
    /// A change has removed it.
    pub(super) left: bool,
    /// Counters of workers that are gone, in the order of [`Counter::ALL`].
    pub(super) retired: [u64; Counter::ALL.len()],
    /// What their plugins had counted.
    pub(super) retired_metrics: Retired,
}

/// What one generation is made from.
#[derive(Clone)]
pub(super) struct Edition {
    pub(super) plan: ServicePlan,
    pub(super) code: StoredPlugin,
    pub(super) descriptor: Descriptor,
    pub(super) listeners: Vec<Rc<Listener>>,
    /// Endpoints that no later generation has.
    pub(super) leaving: Vec<String>,
    pub(super) places: Places,
    /// As its workers have reported.
    pub(super) sandbox: String,
}

/// Where the workers of a generation count connections by source. Two generations that follow each
/// other share a table: each has a side of it.
#[derive(Clone)]
pub(super) struct Places {
    pub(super) table: Rc<SourceTable>,
    pub(super) workers_max: u16,
    pub(super) side: u16,
}

impl Places {
    pub(super) fn new(workers: u16) -> std::io::Result<Places> {
        Ok(Places {
            table: Rc::new(SourceTable::new(2 * workers)?),
            workers_max: workers,
            side: 0,
        })
    }

    /// For the generation after the one that has these. A table that is too small is left to it:
    /// until that one has drained, each counts for itself.
    pub(super) fn next(&self, workers: u16) -> std::io::Result<Places> {
        if workers > self.workers_max {
            return Places::new(workers);
        }
        Ok(Places {
            side: 1 - self.side,
            ..self.clone()
        })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.table.file().as_fd()
    }

    pub(super) fn region(&self, slot: u16) -> u16 {
        self.side * self.workers_max + slot
    }

    pub(super) fn clear(&self, slot: u16) {
        self.table.clear(self.region(slot));
    }
}

impl Service {
    pub(super) fn new(name: String, plan: ServicePlan) -> Service {
        Service {
            name,
            plan,
            current: 0,
            newest: 0,
            editions: BTreeMap::new(),
            tried: None,
            left: false,
            retired: [0; Counter::ALL.len()],
            retired_metrics: Retired::default(),
        }
    }

    /// A generation that is to begin; returns its number.
    pub(super) fn add(&mut self, edition: Edition) -> u32 {
        self.newest += 1;
        self.tried = Some(edition.code.hash.clone());
        self.editions.insert(self.newest, edition);
        self.newest
    }

    /// There will be no first generation; the lifecycle has counted one.
    pub(super) fn fail(&mut self, hash: Option<String>) {
        self.newest += 1;
        self.tried = hash;
    }

    /// From here on this generation is what serves. Addresses that it lacks are closed as soon as
    /// the older generation has taken what waits there.
    pub(super) fn install(&mut self, generation: u32) {
        let former = std::mem::replace(&mut self.current, generation);
        let listeners = match self.editions.get(&generation) {
            Some(edition) => {
                self.plan = edition.plan.clone();
                edition.listeners.clone()
            }
            None => Vec::new(),
        };
        if let Some(former) = self.editions.get_mut(&former) {
            let stays = |left: &Rc<Listener>| listeners.iter().any(|kept| Rc::ptr_eq(kept, left));
            let (kept, left) = former.listeners.drain(..).partition(stays);
            former.listeners = kept;
            former.leaving = left.iter().map(|l| l.endpoint().to_owned()).collect();
        }
    }

    /// Nothing of it is to serve any more; what it had open drains.
    pub(super) fn leave(&mut self) {
        self.install(0);
        self.left = true;
    }

    pub(super) fn has_left(&self) -> bool {
        self.left
    }

    pub(super) fn serving(&self) -> Option<&Edition> {
        self.editions.get(&self.current)
    }

    pub(super) fn listeners(&self) -> &[Rc<Listener>] {
        self.serving().map_or(&[], |edition| &edition.listeners)
    }

    /// Totals outlive their worker; what was open with it is not open any more.
    pub(super) fn retire(&mut self, worker: WorkerId, board: &Scoreboard, stand_in: bool) {
        for (total, counter) in self.retired.iter_mut().zip(Counter::ALL) {
            let counted = match counter {
                Counter::Connections => 0,
                Counter::ClosedDeath => board.read(Counter::Connections),
                _ => board.read(counter),
            };
            *total = total.saturating_add(counted);
        }
        let edition = self.editions.get(&worker.generation);
        if let Some(edition) = edition {
            let plugin = &edition.descriptor.name;
            self.retired_metrics.retire(plugin, board.metrics());
        }
        // A stand-in had a table of its own.
        if let Some(edition) = edition.filter(|_| !stand_in) {
            edition.places.clear(worker.slot);
        }
    }
}

impl Edition {
    /// The shards that this worker polls.
    pub(super) fn shards_of(&self, slot: u16) -> Vec<(BorrowedFd<'_>, ListenerBrief)> {
        let count = self.plan.workers;
        let listeners = self.listeners.iter();
        listeners.flat_map(|l| l.shards_of(slot, count)).collect()
    }

    pub(super) fn udp_ports(&self) -> impl Iterator<Item = u16> {
        self.listeners
            .iter()
            .filter_map(|listener| match listener.local() {
                Address::Udp(local) => Some(local.port()),
                Address::Tcp(_) | Address::Unix(_) | Address::UnixDatagram(_) => None,
            })
    }
}
