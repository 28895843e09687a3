//! What an operator asks over the control socket, and the answer: one line of JSON each way.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

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
}

/// Who may ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Anyone whom the socket's mode lets in.
    Read,
    /// The daemon's own user, and root.
    Admin,
}

impl Request {
    pub fn needs(&self) -> Role {
        match self {
            Request::Status
            | Request::SocketOptions { .. }
            | Request::Bans
            | Request::Crashes
            | Request::CrashReport { .. }
            | Request::LastReload => Role::Read,
            Request::Stop { .. }
            | Request::Ban { .. }
            | Request::Unban { .. }
            | Request::Reload { .. }
            | Request::Upgrade { .. }
            | Request::Rollback
            | Request::Restart { .. }
            | Request::Drain { .. }
            | Request::Resume { .. }
            | Request::Scale { .. } => Role::Admin,
        }
    }

    /// These keep their own record of who asked, and for whom.
    pub fn is_about_bans(&self) -> bool {
        matches!(
            self,
            Request::Ban { .. } | Request::Unban { .. } | Request::Bans
        )
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
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reply {
    /// One of the fixed exit codes.
    pub exit: u8,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "serde_json::Value::is_null", default)]
    pub answer: serde_json::Value,
}

impl Reply {
    /// A document as the answer.
    pub fn of(answer: &impl Serialize) -> Reply {
        Reply::done(serde_json::to_value(answer).expect("an answer is plain data"))
    }

    pub fn done(answer: serde_json::Value) -> Reply {
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
            answer: serde_json::Value::Null,
        }
    }
}
