//! The hub, as the supervisor keeps it: started when a worker needs the bus, replaced when it dies.
//!
//! For each worker that uses the bus it makes a pair of sockets, and gives one end to the worker and one
//! to the hub; neither ever connects. A hub that replaces another gets the ends of all who knew that one
//! with its start, so it knows for whom to wait. It is replaced in order when what it is started with
//! changes, the program among that.
//!
//! Invariant: every worker that uses the bus has an end to the hub that lives, or the hub is about to be
//! started.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;

use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::{Gid, Uid, chown};
use serde::{Deserialize, Serialize};

use super::children::{Children, Kind};
use super::life::Life;
use crate::channel::{Brief, HubBrief, HubOrder, Order};
use crate::control::HubStatus;
use crate::lifecycle::Exit;
use crate::plan::DaemonPlan;

/// The folder of history in the state directory.
const FOLDER: &str = "bus";
/// Between a death and the next start; doubled each time, and small again after a time without any.
const BACK_OFF_MS: u64 = 50;
const BACK_OFF_MS_MAX: u64 = 10_000;
const STEADY_MS: u64 = 30_000;
/// A hub that was told to end and has not is killed then.
const ENDS_WITHIN_MS: u64 = 5_000;

/// What is known of the hub and of those who use it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Bus {
    pid: Option<i32>,
    /// There was one before.
    replaces: bool,
    started_ms: u64,
    back_off_ms: u64,
    start_at_ms: u64,
    /// Workers that have an end to the hub, or had one to the hub before it.
    members: BTreeSet<i32>,
    stopping: bool,
    /// This one was told to end so that another one can follow.
    renewing: bool,
    /// How often one that was there before had to be replaced.
    restarts: u32,
}

impl Life {
    /// Gives an end to every worker that needs one, and starts a hub if there is none for them.
    pub(super) fn tend_bus(&mut self, children: &mut Children, now_ms: u64) {
        let users = self.bus_users(children);
        self.bus
            .members
            .retain(|pid| users.iter().any(|user| user.0 == *pid));
        if users.is_empty() || self.bus.stopping {
            return;
        }
        match self.bus.pid {
            None if self.bus.start_at_ms <= now_ms => self.start_hub(&users, children, now_ms),
            None => {}
            Some(hub) => {
                for (pid, service) in &users {
                    if !self.bus.members.contains(pid) {
                        self.join(hub, *pid, service, children);
                    }
                }
            }
        }
    }

    /// If it fails, it is tried again in the next turn.
    fn join(&mut self, hub: i32, worker: i32, service: &str, children: &Children) {
        match join(children, hub, worker, service.to_owned()) {
            Ok(()) => drop(self.bus.members.insert(worker)),
            Err(error) => {
                tracing::warn!("the worker {worker} has no end of the bus yet: {error}");
            }
        }
    }

    /// Pids and services of the workers whose plugins use the bus.
    fn bus_users(&self, children: &Children) -> Vec<(i32, String)> {
        let user = |(pid, child): (i32, &super::children::Child)| match &child.kind {
            Kind::Worker { id, .. } => {
                let service = self.services.get(&id.service)?;
                let edition = service.editions.get(&id.generation)?;
                let uses = edition.descriptor.bus;
                uses.then(|| (pid, service.name.clone()))
            }
            Kind::Check | Kind::Probe(_) | Kind::Hub | Kind::Rehearsal => None,
        };
        children.iter().filter_map(user).collect()
    }

    fn start_hub(&mut self, users: &[(i32, String)], children: &mut Children, now_ms: u64) {
        let (known, new): (Vec<_>, Vec<_>) = users
            .iter()
            .partition(|(pid, _)| self.bus.members.contains(pid));
        match self.spawn_hub(&known, children) {
            Ok((hub, ends)) => {
                tracing::info!("the hub is {hub}, for {} workers", users.len());
                (self.bus.pid, self.bus.started_ms) = (Some(hub), now_ms);
                for ((pid, _), end) in known.iter().zip(ends) {
                    let told = children.tell_with(*pid, &Order::Bus {}, &[end.as_fd()]);
                    if let Err(error) = told {
                        tracing::warn!("the worker {pid} has no end of the bus yet: {error}");
                        self.bus.members.remove(pid);
                    }
                }
                for (pid, service) in new {
                    self.join(hub, *pid, service, children);
                }
            }
            Err(error) => {
                tracing::error!("the hub cannot be started: {error}");
                self.bus.wait(now_ms);
            }
        }
    }

    /// With an end for each of those who knew the one before; theirs are returned.
    fn spawn_hub(
        &self,
        known: &[&(i32, String)],
        children: &mut Children,
    ) -> io::Result<(i32, Vec<OwnedFd>)> {
        make_folder(&self.plan.daemon)?;
        let ends: Vec<(OwnedFd, OwnedFd)> =
            known.iter().map(|_| pair()).collect::<Result<_, _>>()?;
        let brief = Brief::Hub(HubBrief {
            daemon: self.plan.daemon.clone(),
            replaces: self.bus.replaces,
            members: known.iter().map(|(_, service)| service.clone()).collect(),
        });
        let fds: Vec<BorrowedFd<'_>> = ends.iter().map(|(_, hubs)| hubs.as_fd()).collect();
        let hub = children.start(Kind::Hub, &brief, &fds, None)?;
        Ok((hub, ends.into_iter().map(|(workers, _)| workers).collect()))
    }

    /// The hub has ended; the next one starts after a pause.
    pub(super) fn hub_ended(&mut self, pid: i32, exit: Exit, now_ms: u64) {
        if self.bus.pid != Some(pid) {
            return;
        }
        self.bus.pid = None;
        if self.bus.stopping {
            return;
        }
        self.bus.replaces = true;
        if std::mem::take(&mut self.bus.renewing) {
            tracing::info!("the hub {pid} has ended; another one is started");
            self.bus.start_at_ms = now_ms;
            return;
        }
        self.bus.restarts += 1;
        tracing::error!("the hub {pid} ended by {exit}; another one is started");
        if now_ms.saturating_sub(self.bus.started_ms) > STEADY_MS {
            self.bus.back_off_ms = 0;
        }
        self.bus.wait(now_ms);
    }

    /// What the hub was started with has changed: the next one goes by what holds now.
    pub(super) fn renew_hub(&mut self, children: &mut Children, now_ms: u64) {
        if let Some(pid) = self.bus.pid
            && !self.bus.stopping
            && !std::mem::replace(&mut self.bus.renewing, true)
        {
            end(pid, true, children, now_ms);
        }
    }

    /// Ends the hub when the daemon does; true once it is gone.
    pub(super) fn stop_bus(&mut self, children: &mut Children, now_ms: u64) -> bool {
        let Some(pid) = self.bus.pid else {
            return true;
        };
        if !std::mem::replace(&mut self.bus.stopping, true) {
            end(pid, false, children, now_ms);
        }
        false
    }

    pub(super) fn tell_hub(&self, order: &HubOrder, children: &Children) {
        if let Some(pid) = self.bus.pid
            && let Err(error) = children.tell_with(pid, order, &[])
        {
            tracing::warn!("the hub cannot be told {order:?}: {error}");
        }
    }

    pub(super) fn bus_deadline_ms(&self) -> Option<u64> {
        let waits = self.bus.pid.is_none() && !self.bus.members.is_empty();
        waits.then_some(self.bus.start_at_ms)
    }
}

impl Bus {
    /// None if nobody uses it.
    pub(super) fn shown(&self, now_ms: u64) -> Option<HubStatus> {
        (!self.members.is_empty()).then(|| HubStatus {
            pid: self.pid.map(i32::unsigned_abs),
            since_s: now_ms.saturating_sub(self.started_ms) / 1_000,
            workers: self.members.len() as u64,
            restarts: self.restarts,
        })
    }

    fn wait(&mut self, now_ms: u64) {
        self.start_at_ms = now_ms + self.back_off_ms;
        self.back_off_ms = (self.back_off_ms * 2).clamp(BACK_OFF_MS, BACK_OFF_MS_MAX);
    }
}

/// It has a while to write down what it has.
fn end(hub: i32, follows: bool, children: &mut Children, now_ms: u64) {
    match children.tell_with(hub, &HubOrder::Stop { follows }, &[]) {
        Ok(()) => children.end_by(hub, now_ms + ENDS_WITHIN_MS),
        Err(_) => children.kill(hub, Signal::SIGKILL),
    }
}

/// One end to the worker, the other to the hub.
fn join(children: &Children, hub: i32, worker: i32, service: String) -> io::Result<()> {
    let (workers, hubs) = pair()?;
    children.tell_with(hub, &HubOrder::Attach { service }, &[hubs.as_fd()])?;
    children.tell_with(worker, &Order::Bus {}, &[workers.as_fd()])
}

fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socketpair(
        AddressFamily::Unix,
        SockType::Stream,
        None,
        flags,
    )?)
}

/// History belongs to the identity that the hub will have, and to nobody else.
fn make_folder(daemon: &DaemonPlan) -> io::Result<()> {
    let folder = daemon.state_dir.join(FOLDER);
    let mut builder = std::fs::DirBuilder::new();
    match builder.mode(0o700).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    match &daemon.identity {
        Some(it) if nix::unistd::geteuid().is_root() => {
            let (uid, gid) = (Uid::from_raw(it.uid), Gid::from_raw(it.gid));
            Ok(chown(&folder, Some(uid), Some(gid))?)
        }
        _ => Ok(()),
    }
}
