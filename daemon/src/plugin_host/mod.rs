//! The daemon's side of the plugin ABI: from a file's name to callbacks of a running instance.
//!
//! In the order in which a plugin passes through: `verify` takes the file into the store and
//! confirms it, `load` maps it, `admit` does the handshake, `options` and `needs` turn settings into
//! values, `instance` makes the calls and `host_api` answers those that come back; `handlers` and
//! `work` do both for what runs on threads that may block. `probe` is all of it but the instance, in
//! a process of its own. The supervisor uses `take` and `prune` only, which read bytes and never map
//! code.
//!
//! One of the two rooms of the daemon in which `unsafe` may stand. Invariant: nothing that a plugin
//! returns or passes is used before it was checked, and no pointer of a plugin leaves this folder.
#![allow(unsafe_code, reason = "this is one of the two rooms for it")]

use std::collections::BTreeMap;

use crate::channel::StoredPlugin;
use crate::plan::Needs;
use crate::scoreboard::{Callback, Slot};

mod admit;
mod answering;
mod bus;
mod calls;
mod carry;
mod conformance;
mod error;
mod extension;
mod facts;
mod file;
mod handlers;
mod host_api;
mod host_state;
mod instance;
mod load;
mod log;
mod metrics;
mod nearby;
mod needs;
mod options;
pub mod probe;
mod render;
mod settings;
mod text;
mod threads;
pub mod verify;
mod waker;
mod work;

pub use admit::Admitted;
pub use error::LoadError;
pub use instance::{Instance, Surroundings};
pub use options::Chosen;
pub use settings::InstanceFacts;
pub use verify::{prune, take};
pub use waker::WakeSource;

/// Loads a stored plugin into this process, for good. The plugin's own code runs in here.
pub fn load(code: &StoredPlugin, slot: Option<&Slot>) -> Result<Admitted, LoadError> {
    let confirmed = verify::confirm(code)?;
    let _inside = slot.map(|slot| calls::Inside::enter(slot, Callback::Load, 0, 0));
    let table = load::load(&confirmed)?;
    // SAFETY: the table of a library that stays loaded; what the header demands of it is what a
    // plugin is trusted with.
    unsafe { admit::admit(table) }
}

impl Admitted {
    /// Types a service's settings; `places` says where each was written.
    pub fn choose(
        &self,
        service: &str,
        settings: &BTreeMap<String, serde_json::Value>,
        places: &BTreeMap<String, String>,
    ) -> Result<Chosen, LoadError> {
        options::choose(&self.options, service, settings, places)
    }

    /// What it needs as it declares it: `$root` for the value of its option `root`.
    pub fn declared_needs(&self) -> Needs {
        self.needs.as_declared()
    }

    /// What the sandbox of an instance with these settings must allow.
    pub fn needs(&self, chosen: &Chosen) -> Needs {
        self.needs.with(chosen)
    }
}
