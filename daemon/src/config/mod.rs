//! Configuration: text to [`Config`], exactly as written, with every complaint at once.
//!
//! Layers, each over the one before: built-in defaults, the main file, `conf.d/*.toml` beside it in
//! name order, the environment (`POLYPORT_DAEMON__…`, for `[daemon]` only), the command line. The
//! `config` crate lays them over each other and serde types the result; before that a walk checks
//! each layer against the [`schema`], because only there positions are still known.
//!
//! Nothing here asks the machine what a name means: users, ports and plugin files are looked up by
//! `plan`, which resolves a `Config` further. Nothing of the daemon is imported here.
//!
//! Invariant: reading never fails and never panics; what was refused is in `complaints` and not in
//! the values.

mod complaint;
mod document;
mod kind;
mod layers;
mod rescue;
pub mod schema;
mod sources;
pub mod units;
mod variables;
mod walk;
mod written;

pub(crate) use complaint::shown;
pub use complaint::{COMPLAINTS_MAX, Complaint, Fault, Place, Places};
pub(crate) use kind::nearest;
pub(crate) use layers::in_order;
pub use layers::read;
pub use rescue::run_dir;
pub use sources::{BUILT_IN_FILE, Sources, Surroundings};
pub use written::{
    Access, Backend, Bus, Config, Daemon, Facility, Limits, Log, LogFormat, LogLevel, LogTarget,
    SandboxPolicy, Service, Socket, Tls, WhenFailing, Workers,
};
