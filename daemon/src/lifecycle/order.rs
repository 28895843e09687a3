//! What the lifecycle wants done, for the supervisor to carry out in the order given.
//!
//! Orders name workers, never process ids: whoever carries them out knows the process. A log line is
//! an order too, so that a decision and its record cannot come apart.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::event::{ServiceId, WorkerId};
use crate::plan::LogLevel;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Start this process; answered by `Spawned` or `NotSpawned`. One that is parked is ready to
    /// serve, and does once it is told to. A stand-in runs nothing of the plugin.
    Spawn {
        worker: WorkerId,
        parked: bool,
        stand_in: bool,
    },
    /// Tell a parked worker to serve.
    Serve(WorkerId),
    /// Tell it to accept nothing new and to finish within this time. What it can, it carries to the
    /// successor; one that does so already and is hurried has this time anew with all that is adopted.
    Drain {
        worker: WorkerId,
        grace_ms: u64,
        successor: Option<WorkerId>,
        hurried: bool,
    },
    Kill {
        worker: WorkerId,
        signal: Signal,
    },
    /// Have `to` accept at the shards of this slot of its own generation too.
    Lend {
        from: u16,
        to: WorkerId,
    },
    /// It is to leave them alone again.
    Reclaim {
        from: u16,
        to: WorkerId,
    },
    /// The change is made: from here on the new generations are what serves.
    Commit,
    /// The change is given up, and nothing has changed.
    Abandon {
        text: String,
    },
    /// The change has proved itself.
    Proven,
    /// The change keeps dying: make the one to the last plan that has proved itself.
    RollBack {
        text: String,
    },
    /// No worker of this generation is left, and none will come.
    Retired {
        service: ServiceId,
        generation: u32,
    },
    /// Every service serves or has failed: tell whoever waits for the daemon's start. Once.
    Announce,
    Log(Change),
    /// The stop is complete and no process is left: exit with 0. Once, and last.
    Exit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGABRT: the worker dies; a debugger or tracer sees where it was.
    Abort,
    Kill,
}

/// The words for where a pool or a worker is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    Starting,
    Serving,
    Draining,
    Gone,
}

/// A line for the log: what became of a service or of one of its workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub severity: LogLevel,
    /// "gopher" or "gopher/2".
    pub name: String,
    pub worker: Option<WorkerId>,
    pub pid: Option<u32>,
    /// The state it is in now.
    pub state: State,
    pub text: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "{} (pid {pid}): {}", self.name, self.text),
            None => write!(f, "{}: {}", self.name, self.text),
        }
    }
}
