//! What `health` answers: whether the daemon lives, and whether each service serves.
//!
//! For monitors: less than `status`, and stable. The document only ever grows.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::exit;
use crate::lifecycle::State;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// It answers.
    pub live: bool,
    /// Every service is ready.
    pub ready: bool,
    pub services: BTreeMap<String, ServiceHealth>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceHealth {
    /// It serves, with all the workers that it should have.
    pub ready: bool,
    pub state: State,
    pub workers_serving: usize,
    pub workers: usize,
    /// Why it is not ready, as far as that is known.
    pub reason: Option<String>,
}

impl Health {
    pub fn exit(&self) -> u8 {
        match self.ready {
            true => exit::DONE,
            false => exit::DEGRADED,
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let yes = |is: bool| if is { "ready" } else { "not ready" };
        writeln!(f, "live, {}", yes(self.ready))?;
        for (name, service) in &self.services {
            let ServiceHealth {
                ready,
                workers_serving,
                workers,
                reason,
                ..
            } = service;
            let ready = yes(*ready);
            write!(
                f,
                "  {name:<16} {ready}, {workers_serving} of {workers} workers serve"
            )?;
            match reason {
                Some(reason) => writeln!(f, "; {}", reason.replace('\n', "; "))?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}
