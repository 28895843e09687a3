//! The hub's process: a loop that waits for the ends of all members, and nothing that decides.
//!
//! It has one thread, the plan's identity, and a sandbox in which only the folder of its database can be
//! written. It ends when the supervisor says so or is gone, and writes down first what is not written.
//!
//! Invariant: nothing here waits but the one wait of each turn.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, Shutdown, recv, send, shutdown};

use super::core::{Hub, MemberId, OUTPUT_BYTES_MAX};
use super::nats::{Backend, Settings, needs};
use super::sqlite::{BATCH_MAX, BATCH_MS, PORTION_MS, Retention, SWEEP_MS, Sqlite};
use super::store::Store;
use super::wire::{FRAME_BYTES_MAX, next_frame};
use crate::channel::{Channel, HubBrief, HubOrder, Received, Report, handed};
use crate::exit;
use crate::log;
use crate::plan::{DaemonPlan, Needs};
use crate::sys::clock::utc_ms;
use crate::sys::sandbox::{self, Profile};
use crate::sys::{jail, orphan, spawn};

mod end;

use end::End;

/// The folder in the state directory.
pub const FOLDER: &str = "bus";
const FILE: &str = "history.sqlite";
/// The same, as a copy of what a cluster keeps.
const COPY: &str = "cluster.sqlite";
/// How long a hub that ends waits for what it has asked of others.
const FAREWELL_MS: u64 = 2_000;
/// What one read may bring.
const READ_BYTES: usize = 256 * 1024;
/// Memory of an input that is kept when it is empty.
const INPUT_BYTES_KEPT: usize = 64 * 1024;
/// Waiting no longer than this shows that the clock of the day went on.
const PATIENCE_MS: u64 = 60_000;
/// What one member may have asked of history in one turn; opening a topic takes a few.
const ASKS_MAX: u64 = 256;
/// Events taken from the queue in one turn.
const EVENTS_MAX: usize = 64;
// What an event is about; members are numbered from 1 on.
const CHANNEL: u64 = u64::MAX;
const BACKEND: u64 = u64::MAX - 1;

/// From what the supervisor handed over to the exit code.
pub fn play(channel: &Channel, brief: &HubBrief) -> u8 {
    let mut process = match start(brief) {
        Ok((process, sandbox)) => {
            if channel.send(&Report::Ready { sandbox }).is_err() {
                return exit::FAILED;
            }
            process
        }
        Err(text) => {
            let _ = channel.send(&Report::refused(format!("bus: {text}")));
            return exit::FAILED;
        }
    };
    process.run(channel);
    exit::DONE
}

/// A list in which each step gives up what the steps before it needed.
fn start(brief: &HubBrief) -> Result<(Process, String), String> {
    let daemon = &brief.daemon;
    // 1. What was handed over, before anything else can take its numbers.
    let ends = spawn::take_handed(handed::FIXED_FDS, brief.members.len())
        .ok_or("not all ends were handed over")?;
    // 2. The log's file, which the later identity may not be allowed to open.
    log::begin(&daemon.log, "hub").map_err(|error| error.to_string())?;
    // 3. Resource limits, identity, capabilities.
    jail::limits_for_worker().map_err(|error| error.desc().to_owned())?;
    let identity = daemon.identity.as_ref().map(|it| (it.uid, it.gid));
    jail::drop_identity(identity).map_err(|error| error.to_string())?;
    // 4. An end, should the supervisor die while a disk holds this thread.
    orphan::end_after_parent(daemon.drain_timeout_ms + daemon.hang_timeout_ms)
        .map_err(|error| error.to_string())?;
    // 5. The sandbox, with the database's folder.
    let folder = daemon.state_dir.join(FOLDER);
    let needs = Needs {
        files_write: vec![folder.to_string_lossy().into_owned()],
        ..daemon.bus.nats.as_ref().map(needs).unwrap_or_default()
    };
    let sandbox = sandbox::close(daemon.sandbox, &needs, Profile::Hub)?;
    // 6. History.
    let store = open_history(daemon, &folder);
    let queue = |error: io::Error| format!("no event queue: {error}");
    let mut process = Process::new(store, brief.replaces).map_err(queue)?;
    // 7. The client of others, in a thread that is as closed in as this one.
    if let Some(plan) = &daemon.bus.nats {
        let settings = Settings::of(plan, &daemon.bus);
        process.hub.join(settings.node.clone());
        let backend = Backend::start(settings).map_err(|error| format!("NATS: {error}"))?;
        let event = EpollEvent::new(EpollFlags::EPOLLIN, BACKEND);
        let added = process.epoll.add(&backend, event);
        added.map_err(|error| queue(error.into()))?;
        process.backend = Some(backend);
    }
    for (service, end) in brief.members.iter().zip(ends) {
        process.attach(service, end, true);
    }
    let now_ms = process.now_ms();
    process.hub.expire(now_ms);
    Ok((process, sandbox))
}

fn open_history(daemon: &DaemonPlan, folder: &Path) -> Sqlite {
    let retention = Retention {
        messages: daemon.bus.history,
        keep_ms: daemon.bus.keep_ms,
        holes: false,
    };
    match daemon.bus.nats {
        Some(_) => Sqlite::open(&folder.join(COPY), retention).with_holes(),
        None => Sqlite::open(&folder.join(FILE), retention),
    }
}

/// What a worker that has ended held is kept for so long: whoever goes on with its sessions may have to
/// say so yet.
const LINGER_MS: u64 = 1_000;

struct Process {
    started: Instant,
    epoll: Epoll,
    events: Vec<EpollEvent>,
    hub: Hub<Sqlite>,
    backend: Option<Backend>,
    members: BTreeMap<MemberId, End>,
    /// Members whose ends are closed, and when they are gone.
    leaving: VecDeque<(u64, MemberId)>,
    buffer: Vec<u8>,
    commit_at_ms: Option<u64>,
    sweep_at_ms: u64,
}

impl Process {
    fn new(store: Sqlite, replaces: bool) -> io::Result<Process> {
        Ok(Process {
            started: Instant::now(),
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            events: vec![EpollEvent::empty(); EVENTS_MAX],
            hub: Hub::new(store, replaces, 0),
            backend: None,
            members: BTreeMap::new(),
            leaving: VecDeque::new(),
            buffer: vec![0; READ_BYTES],
            commit_at_ms: None,
            sweep_at_ms: 0,
        })
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn attach(&mut self, service: &str, socket: OwnedFd, knew: bool) {
        if self.backend.is_some() {
            let position = self.hub.store().last_of(service);
            self.hub.follow(service, position);
        }
        let id = self.hub.attach(service, knew);
        self.members.insert(id, End::of(socket));
    }

    fn run(&mut self, channel: &Channel) {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, CHANNEL);
        if let Err(error) = self.epoll.add(channel, event) {
            return tracing::error!("the supervisor cannot be heard: {error}");
        }
        loop {
            sandbox::tell();
            let order = self.wait();
            let now_ms = self.now_ms();
            if order && let ControlFlow::Break(follows) = self.obey(channel) {
                if !follows {
                    self.part_with_others();
                }
                self.commit();
                return;
            }
            let readable: Vec<MemberId> = self
                .members
                .iter()
                .filter(|(id, end)| {
                    end.readable || !end.input.is_empty() && self.hub.may_hear(**id)
                })
                .map(|(id, _)| *id)
                .collect();
            for id in readable {
                self.listen(id, now_ms);
            }
            while let Some((at_ms, id)) = self.leaving.front().copied()
                && at_ms <= now_ms
            {
                self.leaving.pop_front();
                self.hub.detach(id);
            }
            self.hub.expire(now_ms);
            self.exchange(now_ms);
            self.flush();
            self.keep_history(now_ms);
            self.flush();
        }
    }

    /// True if the supervisor has something to say.
    fn wait(&mut self) -> bool {
        for (id, end) in &mut self.members {
            let may_hear = self.hub.may_hear(*id);
            if let Err(error) = end.watch(&self.epoll, id.number(), may_hear) {
                tracing::error!("a member's end cannot be watched: {error}");
            }
        }
        let timeout = EpollTimeout::try_from(self.patience_ms()).unwrap_or(EpollTimeout::MAX);
        let heard = match self.epoll.wait(&mut self.events, timeout) {
            Ok(heard) => heard,
            Err(Errno::EINTR) => 0,
            Err(error) => {
                tracing::error!("epoll_wait failed: {error}");
                0
            }
        };
        let mut order = false;
        let over = EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR;
        for event in &self.events[..heard] {
            match event.data() {
                CHANNEL => order = true,
                // It is asked in every turn.
                BACKEND => {}
                number => {
                    // One of a member that has left meanwhile is stale.
                    if let Some(end) = self.members.get_mut(&MemberId::numbered(number)) {
                        end.readable = event.events().intersects(over);
                        end.writable |= event.events().contains(EpollFlags::EPOLLOUT);
                    }
                }
            }
        }
        order
    }

    fn patience_ms(&self) -> u64 {
        // What was held back, and may be heard or sent since, wakes nobody.
        let waits = |(id, end): (&MemberId, &End)| {
            end.writable && !self.hub.output(*id).is_empty()
                || self.hub.may_hear(*id) && !matches!(next_frame(&end.input), Ok(None))
        };
        if self.members.iter().any(waits) {
            return 0;
        }
        let now_ms = self.now_ms();
        let leaves = self.leaving.front().map(|(at_ms, _)| *at_ms);
        let sweeps = self.hub.store.keeps().then_some(self.sweep_at_ms);
        let due = [
            self.hub.next_deadline_ms(),
            self.commit_at_ms,
            leaves,
            sweeps,
        ];
        let due = due.into_iter().flatten().min().unwrap_or(u64::MAX);
        due.saturating_sub(now_ms).min(PATIENCE_MS)
    }

    /// Breaks if it is to end, with whether another hub follows.
    fn obey(&mut self, channel: &Channel) -> ControlFlow<bool> {
        loop {
            let (received, mut fds) = channel.receive_with(HubOrder::descriptors);
            match received {
                Received::Message(HubOrder::Attach { service }) => {
                    if let Some(end) = fds.pop() {
                        self.attach(&service, end, false);
                    }
                }
                Received::Message(HubOrder::LogTo {}) => {
                    if let Some(opened) = fds.pop() {
                        log::write_to(opened.into());
                    }
                }
                Received::Message(HubOrder::LogLevel { level }) => log::set_level(level),
                Received::Message(HubOrder::Stop { follows }) => {
                    return ControlFlow::Break(follows);
                }
                Received::Closed => return ControlFlow::Break(false),
                Received::Empty => return ControlFlow::Continue(()),
                Received::Garbled(why) => tracing::warn!("an order is not understood: {why}"),
            }
        }
    }

    /// Hears what a member has said, as far as it may be heard now.
    fn listen(&mut self, id: MemberId, now_ms: u64) {
        let time_ms = utc_ms();
        let Some(end) = self.members.get_mut(&id) else {
            return;
        };
        if end.readable && end.input.len() < READ_BYTES + FRAME_BYTES_MAX {
            let flags = MsgFlags::MSG_DONTWAIT;
            match recv(end.socket.as_raw_fd(), &mut self.buffer, flags) {
                Ok(0) => end.over = Some("it was closed"),
                Ok(count) => end.input.extend_from_slice(&self.buffer[..count]),
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(error) => end.over = Some(error.desc()),
            }
        }
        // If there is more, the event queue says so again.
        end.readable = false;
        if end.over.is_some() {
            end.writable = false;
            self.hub.deafen(id);
        }
        let mut at = 0;
        // A recovery has a time limit of its own, and nobody has his turn before it is over.
        let asks_max = match self.hub.recovery {
            Some(_) => u64::MAX,
            None => self.hub.store.asked + ASKS_MAX,
        };
        while self.hub.may_hear(id) && self.hub.store.asked < asks_max {
            let heard = match next_frame(&end.input[at..]) {
                Ok(Some((content, taken))) => {
                    at += taken;
                    self.hub.hear(id, content, time_ms, now_ms)
                }
                Ok(None) => break,
                Err(garbled) => Err(garbled),
            };
            if let Err(garbled) = heard {
                tracing::error!("a worker's end of the bus is closed: it sent {garbled}");
                self.close(id);
                return self.hub.detach(id);
            }
        }
        end.input.drain(..at);
        if end.input.is_empty() && end.input.capacity() > INPUT_BYTES_KEPT {
            end.input = Vec::new();
        }
        // What it has said may have to wait for the end of a recovery.
        if let (Some(why), Ok(None)) = (end.over, next_frame(&end.input)) {
            self.part(id, why);
        }
    }

    fn part(&mut self, id: MemberId, why: &str) {
        tracing::debug!("a member leaves the bus: {why}");
        self.hub.heard_all(id);
        self.close(id);
        self.leaving.push_back((self.now_ms() + LINGER_MS, id));
    }

    fn close(&mut self, id: MemberId) {
        if let Some(end) = self.members.remove(&id) {
            end.close(&self.epoll);
        }
    }

    fn exchange(&mut self, now_ms: u64) {
        if let Some(backend) = &mut self.backend {
            backend.exchange(&mut self.hub, utc_ms(), now_ms);
        }
    }

    /// What was asked of others is answered, and what is held is free; or it takes too long.
    fn part_with_others(&mut self) {
        let until_ms = self.now_ms() + FAREWELL_MS;
        self.hub.leave_cluster();
        self.wait_for_others(until_ms, |process| process.hub.is_at_rest());
        self.hub.say_goodbye();
        self.exchange(self.now_ms());
        let is_over = |process: &Process| process.backend.as_ref().is_none_or(|it| it.is_over);
        self.wait_for_others(until_ms, |process| {
            !process.hub.is_linked() || is_over(process)
        });
    }

    fn wait_for_others(&mut self, until_ms: u64, done: impl Fn(&Process) -> bool) {
        while let Some(backend) = &self.backend
            && !done(self)
            && self.now_ms() < until_ms
        {
            let mut fds = [PollFd::new(backend.as_fd(), PollFlags::POLLIN)];
            let left = until_ms.saturating_sub(self.now_ms());
            let _ = poll(
                &mut fds,
                PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO),
            );
            self.exchange(self.now_ms());
        }
    }

    fn flush(&mut self) {
        while let Some(id) = self.hub.pop_touched() {
            self.send(id);
        }
        // Those who could not be sent to at first, and can now.
        let ready: Vec<MemberId> = self
            .members
            .iter()
            .filter(|(id, end)| end.writable && !self.hub.output(**id).is_empty())
            .map(|(id, _)| *id)
            .collect();
        for id in ready {
            self.send(id);
        }
    }

    fn send(&mut self, id: MemberId) {
        let Some(end) = self.members.get_mut(&id) else {
            return;
        };
        // Who takes all at once, and has much to take, has his turn again after the others.
        let mut left = OUTPUT_BYTES_MAX;
        while end.writable && left > 0 {
            let output = self.hub.output(id);
            if output.is_empty() {
                return;
            }
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            match send(end.socket.as_raw_fd(), output, flags) {
                Ok(count) => {
                    left = left.saturating_sub(count);
                    self.hub.sent(id, count);
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => end.writable = false,
                // Its worker has ended, or is to go. What it has said before is still to be read.
                Err(_) => {
                    let _ = shutdown(end.socket.as_raw_fd(), Shutdown::Write);
                    (end.readable, end.writable) = (true, false);
                    self.hub.deafen(id);
                }
            }
        }
    }

    fn keep_history(&mut self, now_ms: u64) {
        let waiting = self.hub.store().waiting;
        if waiting > 0 && self.commit_at_ms.is_none() {
            self.commit_at_ms = Some(now_ms + BATCH_MS);
        }
        if waiting >= BATCH_MAX || self.commit_at_ms.is_some_and(|at| at <= now_ms) {
            self.commit();
        }
        if self.sweep_at_ms <= now_ms && self.hub.store().keeps() {
            let pause_ms = match self.hub.store().sweep(utc_ms()) {
                true => PORTION_MS,
                false => SWEEP_MS,
            };
            self.sweep_at_ms = now_ms + pause_ms;
            self.commit();
        }
        if !self.hub.store().keeps() {
            self.hub.recall_all();
        }
        if let Some(complaint) = self.hub.store().take_complaint() {
            tracing::error!("bus: {complaint}");
        }
    }

    fn commit(&mut self) {
        self.commit_at_ms = None;
        if self.hub.store().commit() {
            self.hub.stored();
        }
    }
}

#[cfg(test)]
mod tests;
