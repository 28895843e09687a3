//! What the supervisor tells the lifecycle: names of things, and what happened to them.
//!
//! Events are facts about processes and wishes of the administrator, already taken out of signals,
//! channels and the scoreboard. An event about a worker carries the incarnation it was seen of, so
//! one that comes late is recognised and changes nothing.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Policy;
use super::breaker::Cause;

/// A service, by a number that no other one ever gets. Those given to [`super::Lifecycle::new`] are
/// numbered from 0; whoever adds one later names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServiceId(pub u32);

/// One process, ever: a replacement in the same slot has the next incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkerId {
    pub service: ServiceId,
    pub generation: u32,
    /// From 0; logs and `status` count from 1.
    pub slot: u16,
    pub incarnation: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The service's plugin passed its probe: it gets so many workers.
    Admitted { service: ServiceId, workers: u16 },
    /// It did not, or could not be probed; the text names problem and remedy.
    NotAdmitted { service: ServiceId, text: String },
    /// Something of one worker.
    Worker(WorkerId, News),
    /// Other generations are to serve. Answered by `Commit`, or by `Abandon` and nothing changed.
    Change(Changes),
    /// This service is to accept nobody until a change begins it anew.
    Pause { service: ServiceId },
    /// Drain and stop; `fast`, or asked a second time, with hardly any time to drain.
    Stop { fast: bool },
    /// Time has passed. Given once per turn after all else, also in the first turn.
    Tick,
}

/// What is to serve instead of what serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    pub policy: Policy,
    /// Services that are new or have changed.
    pub begun: Vec<Beginning>,
    pub removed: Vec<ServiceId>,
    /// Whether to go back should the new generations keep dying.
    pub on_probation: bool,
}

/// A generation of a service that is to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beginning {
    pub service: ServiceId,
    /// Higher than any that this service has had.
    pub generation: u32,
    pub name: String,
    pub workers: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Answer to an order to spawn, before anything else is said of that worker.
    Spawned {
        pid: u32,
    },
    /// The other answer; nothing more is said of that worker.
    NotSpawned {
        error: String,
    },
    Ready,
    /// The worker says why its plugin cannot serve.
    Refused {
        text: String,
    },
    /// It was reaped: the last word on it. `blame` says what it was doing, where the scoreboard
    /// knows: "in feed"; `cause` what was behind it, if that is the plugin's fault.
    Exited {
        exit: Exit,
        blame: Option<String>,
        cause: Option<Cause>,
    },
    /// It has been in the same callback since then: on its event loop, or on a thread, which may
    /// take longer. Said again for another callback.
    Stuck {
        callback: String,
        since_ms: u64,
        on_thread: bool,
    },
    /// That callback has returned.
    Unstuck,
    /// Somebody has stopped its process, or lets it go on.
    Stopped(bool),
    /// Sessions that it hands over have been adopted since this was said last.
    Gives,
    /// Faults of its plugin that ended a session each and not the worker, by the words for their
    /// sources; 0 is none.
    Soft {
        sources: Vec<u64>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
}

pub(super) const SIGKILL: i32 = 9;
/// What a new process exits with that found no descriptor for what it was handed, or no program.
const NOT_STARTED: i32 = 127;

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Exit::Code(NOT_STARTED) => {
                write!(
                    f,
                    "exit code {NOT_STARTED} (the program could not be started in it)"
                )
            }
            Exit::Code(code) => write!(f, "exit code {code}"),
            Exit::Signal(number) => match signal_name(number) {
                Some(name) => write!(f, "signal {number} ({name})"),
                None => write!(f, "signal {number}"),
            },
        }
    }
}

/// Linux numbers them alike on every architecture that the daemon is built for (signal(7)).
fn signal_name(number: i32) -> Option<&'static str> {
    const NAMES: [(i32, &str); 13] = [
        (1, "SIGHUP"),
        (2, "SIGINT"),
        (3, "SIGQUIT"),
        (4, "SIGILL"),
        (5, "SIGTRAP"),
        (6, "SIGABRT"),
        (7, "SIGBUS"),
        (8, "SIGFPE"),
        (SIGKILL, "SIGKILL"),
        (11, "SIGSEGV"),
        (13, "SIGPIPE"),
        (15, "SIGTERM"),
        (31, "SIGSYS"),
    ];
    let found = NAMES.iter().find(|(named, _)| *named == number);
    found.map(|(_, name)| *name)
}
