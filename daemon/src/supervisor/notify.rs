//! What the service manager is told, in the protocol of sd_notify(3).
//!
//! It tells and never asks: nothing here depends on being heard, and without NOTIFY_SOCKET every call
//! is nothing. The watchdog is fed from one place only, after a full pass of the supervisor, so that
//! it dies with whatever stops the passes.
//!
//! Invariant: each RELOADING is followed by a READY, whatever came of the change; after STOPPING
//! there is neither. No message is longer than the manager reads.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use sd_notify::NotifyState;

/// For how much longer the manager is to wait each time while connections drain.
const EXTEND_MS: u64 = 20_000;
/// How often what `systemctl status` shows is looked at.
const STATUS_MS: u64 = 1_000;
/// How long the end waits for the manager to have read what came before.
const BARRIER_MS: u16 = 1_000;
/// The manager passes over a message of more than 4096 bytes, whatever else is in it.
const STATUS_BYTES_MAX: usize = 2_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Starting,
    Serving,
    Reloading,
    Stopping,
}

/// A socket that the manager is to keep while the daemon is not there.
#[derive(Debug)]
pub(super) struct Keepsake<'a> {
    pub(super) name: String,
    pub(super) socket: BorrowedFd<'a>,
    pub(super) datagram: bool,
}

#[derive(Debug)]
pub(super) struct Notifier {
    heard: bool,
    stage: Stage,
    beat_every_ms: Option<u64>,
    beat_ms: u64,
    extended_ms: u64,
    status: String,
    status_ms: u64,
    /// Names in the manager's store.
    stored: BTreeSet<String>,
}

impl Notifier {
    /// `stored` are the names that the manager has kept for us.
    pub(super) fn of_environment(stored: BTreeSet<String>) -> Notifier {
        // A third leaves room for a pass that takes its time: half would be the manager's advice.
        let watchdog = sd_notify::watchdog_enabled();
        let beat = watchdog.map(|every| u64::max(every.as_millis() as u64 / 3, 1));
        Notifier {
            heard: std::env::var_os("NOTIFY_SOCKET").is_some(),
            stage: Stage::Starting,
            beat_every_ms: beat,
            beat_ms: 0,
            extended_ms: 0,
            status: String::new(),
            status_ms: 0,
            stored,
        }
    }

    /// In the place of another program, which has said that it serves.
    pub(super) fn going_on(stored: BTreeSet<String>) -> Notifier {
        Notifier {
            stage: Stage::Serving,
            ..Notifier::of_environment(stored)
        }
    }

    pub(super) fn stored(&self) -> &BTreeSet<String> {
        &self.stored
    }

    /// All that can serve does.
    pub(super) fn serving(&mut self, status: &str) {
        if self.stage == Stage::Starting {
            self.stage = Stage::Serving;
            self.tell_with_status(NotifyState::Ready, status);
        }
    }

    pub(super) fn reloading(&mut self) {
        if self.stage != Stage::Serving {
            return;
        }
        // Both in one datagram: on its own the first would leave the manager in a reload that it
        // cannot date.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => {
                self.stage = Stage::Reloading;
                self.tell(&[NotifyState::Reloading, now]);
            }
            Err(error) => tracing::warn!("the clock cannot be read for the manager: {error}"),
        }
    }

    /// A change has ended, in whatever way.
    pub(super) fn reloaded(&mut self, status: &str) {
        if self.stage == Stage::Reloading {
            self.stage = Stage::Serving;
            self.tell_with_status(NotifyState::Ready, status);
        }
    }

    pub(super) fn stopping(&mut self, now_ms: u64) {
        if self.stage == Stage::Stopping {
            return;
        }
        self.stage = Stage::Stopping;
        self.tell_with_status(
            NotifyState::Stopping,
            "Stopping: what is open is being finished",
        );
        self.extend(now_ms);
    }

    /// A full pass of the supervisor is done.
    pub(super) fn passed(&mut self, status: impl FnOnce() -> String, now_ms: u64) {
        if !self.heard {
            return;
        }
        if self
            .beat_every_ms
            .is_some_and(|every| now_ms >= self.beat_ms + every)
        {
            self.beat_ms = now_ms;
            self.tell(&[NotifyState::Watchdog]);
        }
        match self.stage {
            Stage::Stopping if now_ms >= self.extended_ms + EXTEND_MS / 2 => self.extend(now_ms),
            Stage::Serving if now_ms >= self.status_ms + STATUS_MS => {
                self.status_ms = now_ms;
                let status = one_line(&status());
                if status != self.status {
                    self.tell(&[NotifyState::Status(&status)]);
                    self.status = status;
                }
            }
            Stage::Starting | Stage::Serving | Stage::Reloading | Stage::Stopping => {}
        }
    }

    pub(super) fn next_deadline_ms(&self) -> Option<u64> {
        if !self.heard {
            return None;
        }
        let beat = self.beat_every_ms.map(|every| self.beat_ms + every);
        let extension = (self.stage == Stage::Stopping).then_some(self.extended_ms + EXTEND_MS / 2);
        beat.into_iter().chain(extension).min()
    }

    /// From now on these are what the manager keeps. While the daemon stops its store stays as it
    /// is: what is in it is for the next one.
    pub(super) fn keep(&mut self, keepsakes: &[Keepsake<'_>]) {
        if !self.heard || self.stage == Stage::Stopping {
            return;
        }
        let wanted: BTreeSet<&String> = keepsakes.iter().map(|kept| &kept.name).collect();
        let left = self.stored.iter().filter(|name| !wanted.contains(name));
        for name in left.cloned().collect::<Vec<_>>() {
            self.tell(&[NotifyState::FdStoreRemove, NotifyState::FdName(&name)]);
            self.stored.remove(&name);
        }
        for kept in keepsakes {
            if !self.stored.insert(kept.name.clone()) {
                continue;
            }
            let mut states = vec![NotifyState::FdStore, NotifyState::FdName(&kept.name)];
            if kept.datagram {
                // An ICMP error would look like the end of the socket to the manager.
                states.push(NotifyState::Custom("FDPOLL=0"));
            }
            if let Err(error) = sd_notify::notify_with_fds(&states, &[kept.socket]) {
                tracing::warn!("{} cannot be given to the manager: {error}", kept.name);
            }
        }
    }

    fn extend(&mut self, now_ms: u64) {
        self.extended_ms = now_ms;
        self.tell(&[NotifyState::ExtendTimeoutUsec(EXTEND_MS as u32 * 1_000)]);
    }

    fn tell_with_status(&mut self, state: NotifyState<'_>, status: &str) {
        let line = one_line(status);
        self.tell(&[state, NotifyState::Status(&line)]);
        self.status = line;
    }

    fn tell(&self, states: &[NotifyState<'_>]) {
        if let Err(error) = sd_notify::notify(states) {
            tracing::warn!("the service manager cannot be told: {error}");
        }
    }
}

/// The last words of a daemon that ends with a complaint. A message whose sender is gone belongs to
/// no service, so this waits until the manager has read all of them.
pub(super) fn farewell(text: &str) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    // Whoever does not hear it sees the exit code.
    let _ = sd_notify::notify(&[NotifyState::Status(&one_line(text))]);
    let _ = wait_until_read();
}

fn wait_until_read() -> io::Result<()> {
    let (ours, theirs) = nix::unistd::pipe()?;
    sd_notify::notify_with_fds(&[NotifyState::Custom("BARRIER=1")], &[theirs.as_fd()])?;
    drop(theirs);
    let mut fds = [PollFd::new(ours.as_fd(), PollFlags::empty())];
    poll(&mut fds, PollTimeout::from(BARRIER_MS))?;
    Ok(())
}

fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let mut line = lines.join("; ");
    if line.len() > STATUS_BYTES_MAX {
        let mut end = STATUS_BYTES_MAX;
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        line.truncate(end);
        line.push('…');
    }
    line
}
