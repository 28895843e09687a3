//! The operator's words: what may be asked of a running daemon, how it is asked and answered.

mod bans;
mod callers;
pub mod client;
mod connections;
mod crashes;
mod health;
mod message;
mod metrics;
mod reload;
mod server;
mod socket_options;
mod status;

/// The control socket's name in the run directory.
pub const SOCKET: &str = "control.sock";

pub use bans::{BanList, BanStatus};
pub use callers::Credentials;
pub use connections::{ConnectionList, ListedConnection};
pub use crashes::{CrashBlame, CrashList, CrashReport, CrashSummary, Frame, RecordedCrash};
pub use health::{Health, ServiceHealth};
pub use message::{Reply, Request, Role, RunningConfig};
pub use metrics::{Family, Kind as FamilyKind, Metrics, Sample};
pub use reload::ReloadOutcome;
pub use server::{Answer, Interest, KeptServer, Server};
pub use socket_options::{ListenerOptions, SocketOption, SocketOptions};
pub use status::{
    BreakerStatus, GenerationStatus, HubStatus, RemovedStatus, ServiceStatus, Standing, Status,
    WorkerStatus,
};
