//! The operator's words: what may be asked of a running daemon, how it is asked and answered.

mod bans;
pub mod client;
mod crashes;
mod message;
mod reload;
mod server;
mod socket_options;
mod status;

/// The control socket's name in the run directory.
pub const SOCKET: &str = "control.sock";

pub use bans::{BanList, BanStatus};
pub use crashes::{CrashBlame, CrashList, CrashReport, CrashSummary, Frame, RecordedCrash};
pub use message::{Reply, Request, Role};
pub use reload::ReloadOutcome;
pub use server::{Answer, Credentials, Interest, Server};
pub use socket_options::{ListenerOptions, SocketOption, SocketOptions};
pub use status::{BreakerStatus, ServiceStatus, Status, WorkerStatus};
