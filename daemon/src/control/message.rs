//! What an operator asks over the control socket, and the answer: one line of JSON each way.

use std::collections::BTreeMap;
use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::channel::ConnectionFilter;
use crate::config::Sources;
use crate::plan::LogLevel;

/// A longer request is refused and the connection closed.
pub(super) const REQUEST_BYTES_MAX: usize = 64 * 1024;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case")]
pub enum Request {
    Status,
    /// The options of all listeners, or of one service's.
    SocketOptions {
        service: Option<String>,
    },
    /// Answered at once; the connection then stays open until the daemon is gone.
    Stop {
        fast: bool,
    },
    Ban {
        network: IpNet,
        /// `None` is until it is taken back.
        for_ms: Option<u64>,
        why: String,
    },
    Unban {
        network: IpNet,
    },
    Bans,
    /// Deaths of workers that are on record.
    Crashes,
    /// All that is known of one.
    CrashReport {
        id: u64,
    },
    /// Read the configuration again and change to it.
    Reload {
        wait: bool,
        dry_run: bool,
    },
    /// Let the program that is installed now take the daemon over.
    Upgrade {
        wait: bool,
        dry_run: bool,
    },
    /// How the last change went.
    LastReload,
    /// Change back to what served before the last change.
    Rollback,
    /// New workers for all services, or for one.
    Restart {
        service: Option<String>,
    },
    /// Serve nobody, until resumed.
    Drain {
        service: Option<String>,
    },
    Resume {
        service: Option<String>,
    },
    Scale {
        service: String,
        workers: u16,
    },
    /// Whether every service serves.
    Health,
    Metrics,
    /// What is carried out, by the keys of a configuration.
    ShowConfig,
    /// Connections that are open and fit; with `end`, they are ended.
    Connections {
        filter: ConnectionFilter,
        end: bool,
    },
    LogLevel {
        level: LogLevel,
        /// `None` is until the next reload.
        for_ms: Option<u64>,
    },
}

/// Who may ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Role {
    /// May ask for nothing.
    Nobody,
    /// Who is in the group of the daemon.
    Read,
    /// Whom `daemon.control.operators` names.
    Operate,
    /// The daemon's own user, and root.
    Admin,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Nobody => "nobody",
            Role::Read => "read",
            Role::Operate => "operate",
            Role::Admin => "admin",
        })
    }
}

impl Request {
    pub fn needs(&self) -> Role {
        match self {
            Request::Status
            | Request::SocketOptions { .. }
            | Request::Bans
            | Request::Crashes
            | Request::CrashReport { .. }
            | Request::LastReload
            | Request::Health
            | Request::Metrics
            | Request::Connections { end: false, .. } => Role::Read,
            // Settings of plugins may be secrets.
            Request::ShowConfig
            | Request::Connections { end: true, .. }
            | Request::LogLevel { .. }
            | Request::Ban { .. }
            | Request::Unban { .. }
            | Request::Reload { .. }
            | Request::Rollback
            | Request::Restart { .. }
            | Request::Drain { .. }
            | Request::Resume { .. }
            | Request::Scale { .. } => Role::Operate,
            Request::Stop { .. } | Request::Upgrade { .. } => Role::Admin,
        }
    }

    /// Whether who asked is to be remembered, with what came of it.
    pub fn is_audited(&self) -> bool {
        self.needs() > Role::Read && *self != Request::ShowConfig
    }

    /// As the audit line has it.
    pub fn verb(&self) -> &'static str {
        match self {
            Request::Status => "status",
            Request::SocketOptions { .. } => "doctor sockopts",
            Request::Stop { fast: false } => "stop",
            Request::Stop { fast: true } => "stop --fast",
            Request::Ban { .. } => "ban",
            Request::Unban { .. } => "unban",
            Request::Bans => "bans",
            Request::Crashes => "crashes",
            Request::CrashReport { .. } => "crashes show",
            Request::Reload { dry_run: false, .. } => "reload",
            Request::Reload { dry_run: true, .. } => "reload --dry-run",
            Request::Upgrade { dry_run: false, .. } => "upgrade",
            Request::Upgrade { dry_run: true, .. } => "upgrade --dry-run",
            Request::LastReload => "reload --last",
            Request::Rollback => "rollback",
            Request::Restart { .. } => "restart",
            Request::Drain { .. } => "drain",
            Request::Resume { .. } => "resume",
            Request::Scale { .. } => "scale",
            Request::Health => "health",
            Request::Metrics => "metrics",
            Request::ShowConfig => "config show",
            Request::Connections { end: false, .. } => "connections",
            Request::Connections { end: true, .. } => "connections kill",
            Request::LogLevel { .. } => "log-level",
        }
    }
}

/// What is carried out, and where it was read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunningConfig {
    pub keys: BTreeMap<String, Value>,
    pub sources: Sources,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reply {
    /// One of the fixed exit codes.
    pub exit: u8,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "serde_json::Value::is_null", default)]
    pub answer: Value,
}

impl Reply {
    /// A document as the answer.
    pub fn of(answer: &impl Serialize) -> Reply {
        Reply::done(serde_json::to_value(answer).expect("an answer is plain data"))
    }

    pub fn done(answer: Value) -> Reply {
        Reply {
            exit: crate::exit::DONE,
            error: None,
            answer,
        }
    }

    pub fn failed(exit: u8, error: impl Into<String>) -> Reply {
        Reply {
            exit,
            error: Some(error.into()),
            answer: Value::Null,
        }
    }
}
