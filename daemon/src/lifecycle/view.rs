//! What `status` shows of services and workers, as values at one moment.
//!
//! It repeats the lifecycle's own state and adds nothing; connections, totals and endpoints are
//! known elsewhere and joined by whoever answers the administrator. Fields are only ever added.

use serde::{Deserialize, Serialize};

use super::breaker::Course;
use super::event::ServiceId;
use super::order::State;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceView {
    pub service: ServiceId,
    pub name: String,
    pub state: State,
    /// Why the service has failed; it is then `draining` or `gone`.
    pub failure: Option<String>,
    /// An operator asked for nobody to be served.
    pub paused: bool,
    /// Why its plugin is not run, or only by one worker.
    pub breaker: Option<BreakerView>,
    pub generation: u32,
    /// Empty until the plugin has passed its probe. Those of other generations, which drain or are
    /// parked, follow those of this one.
    pub workers: Vec<WorkerView>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerView {
    pub course: Course,
    /// When it is tried, or has proved itself.
    pub until_ms: u64,
    /// The fault that opened it.
    pub why: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerView {
    /// "gopher/1", as in the log.
    pub name: String,
    pub slot: u16,
    pub generation: u32,
    pub pid: Option<u32>,
    pub state: State,
    /// It runs nothing of the plugin.
    pub stand_in: bool,
    /// How often the worker of this slot was replaced.
    pub restarts: u32,
    /// When it entered its state, on the clock of the supervisor's turns.
    pub since_ms: u64,
    /// When a gone worker is replaced.
    pub next_try_ms: Option<u64>,
    pub last_death: Option<String>,
}
