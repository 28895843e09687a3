//! The configuration as written, typed: all layers over each other, nothing looked up yet.
//!
//! Names of users, ports and plugins are still text here. Defaults are filled in from the schema, so
//! a field is an `Option` only where nothing is a meaning of its own or where the key is required
//! and may still be missing.
//!
//! Invariant: each value came through its kind in the schema.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::complaint::{Complaint, Places};

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Config {
    pub daemon: Daemon,
    #[serde(default)]
    pub services: BTreeMap<String, Service>,
    #[serde(skip)]
    pub places: Places,
    /// Everything refused so far; a plan exists only if this stays empty.
    #[serde(skip)]
    pub complaints: Vec<Complaint>,
    /// Keys with a complaint of their own: that they are missing now is no news.
    #[serde(skip)]
    pub refused: BTreeSet<String>,
    /// Files in the order they were read, and whether parts of them could not be understood.
    #[serde(skip)]
    pub files: Vec<(Arc<str>, bool)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Daemon {
    pub plugin_dir: PathBuf,
    pub run_dir: PathBuf,
    pub state_dir: PathBuf,
    pub user: Option<String>,
    pub group: Option<String>,
    #[serde(rename = "drain_timeout")]
    pub drain_timeout_ms: u64,
    #[serde(rename = "hang_timeout")]
    pub hang_timeout_ms: u64,
    #[serde(rename = "thread_hang_timeout")]
    pub thread_hang_timeout_ms: u64,
    pub sandbox: SandboxPolicy,
    pub log: Log,
    #[serde(default)]
    pub control: Control,
    pub bus: Bus,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Control {
    #[serde(default)]
    pub operators: Vec<String>,
}

/// What the bus keeps, and where.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Bus {
    pub history: u64,
    #[serde(rename = "keep")]
    pub keep_ms: u64,
    pub backend: Backend,
    pub nats: Nats,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    Local,
    Nats,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Nats {
    pub servers: Option<Vec<String>>,
    pub user: Option<String>,
    pub credentials: Option<PathBuf>,
    pub tls: Tls,
    pub ca: Option<PathBuf>,
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub prefix: String,
    pub replicas: usize,
    #[serde(rename = "node_timeout")]
    pub node_timeout_ms: u64,
}

/// When TLS is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tls {
    /// To a server that asks for it.
    Auto,
    Required,
    /// Before the server has said anything.
    First,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SandboxPolicy {
    /// Close as much as this kernel offers and report how much that was.
    BestEffort,
    /// A missing mechanism is an error.
    Required,
    /// For writing a plugin: nothing is closed, and what would be refused is logged.
    Log,
    /// For debugging a plugin only.
    Off,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Log {
    pub target: LogTarget,
    pub file: Option<PathBuf>,
    pub facility: Facility,
    pub level: LogLevel,
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogTarget {
    Stderr,
    Journal,
    Syslog,
    File,
}

/// Under which the syslog daemon files what it gets (syslog(3)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Facility {
    User = 1,
    #[default]
    Daemon = 3,
    Local0 = 16,
    Local1,
    Local2,
    Local3,
    Local4,
    Local5,
    Local6,
    Local7,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogLevel {
    Debug,
    Info,
    Warning,
    Error,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Service {
    pub plugin: Option<String>,
    pub listen: Option<Vec<String>>,
    pub workers: Workers,
    pub when_failing: WhenFailing,
    pub user: Option<String>,
    pub group: Option<String>,
    pub sha256: Option<String>,
    pub enabled: bool,
    pub limits: Limits,
    pub access: Access,
    pub socket: Socket,
    #[serde(default)]
    pub settings: BTreeMap<String, serde_json::Value>,
}

/// How connections are answered while the plugin keeps failing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenFailing {
    /// With the plugin's own words.
    #[default]
    Refuse,
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Workers {
    Count(u16),
    Word(Auto),
}

/// The one word that `workers` knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Auto {
    Auto,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Limits {
    pub connections: u32,
    pub per_source: u32,
    pub rate: u32,
    pub burst: u32,
    pub pending: u32,
    #[serde(rename = "idle")]
    pub idle_ms: u64,
    #[serde(rename = "lifetime")]
    pub lifetime_ms: u64,
    #[serde(rename = "progress")]
    pub progress_ms: u64,
    #[serde(rename = "stall")]
    pub stall_ms: u64,
    pub bandwidth: u64,
    #[serde(rename = "input")]
    pub input_bytes_max: usize,
    #[serde(rename = "output")]
    pub output_bytes_max: usize,
    pub datagram_rate: u32,
    pub datagram_burst: u32,
    #[serde(rename = "threads")]
    pub threads_max: u16,
    #[serde(rename = "queue")]
    pub queue_max: u32,
    #[serde(rename = "handler")]
    pub handler_ms: u64,
}

/// Networks and hours are text here.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Access {
    #[serde(default)]
    pub allow: Vec<String>,
    #[serde(default)]
    pub deny: Vec<String>,
    #[serde(default)]
    pub times: Vec<String>,
    #[serde(default)]
    pub banner_refused: String,
    pub sensor: bool,
    #[serde(rename = "sensor_ban")]
    pub sensor_ban_ms: u64,
    #[serde(default)]
    pub proxy_from: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Socket {
    pub backlog: i32,
    #[serde(rename = "send_buffer")]
    pub send_buffer_bytes: Option<u32>,
    #[serde(rename = "receive_buffer")]
    pub receive_buffer_bytes: Option<u32>,
    pub nodelay: bool,
    pub keepalive: bool,
    #[serde(rename = "keepalive_idle")]
    pub keepalive_idle_ms: Option<u64>,
    #[serde(rename = "keepalive_interval")]
    pub keepalive_interval_ms: Option<u64>,
    pub keepalive_count: Option<u8>,
    pub ttl: Option<u8>,
    pub tos: Option<u8>,
    pub device: Option<String>,
    pub mark: Option<u32>,
    pub v6only: bool,
    pub fast_open: Option<u16>,
    #[serde(rename = "defer_accept")]
    pub defer_accept_ms: Option<u64>,
    #[serde(rename = "user_timeout")]
    pub user_timeout_ms: Option<u32>,
    #[serde(rename = "busy_poll")]
    pub busy_poll_us: Option<u32>,
    #[serde(rename = "linger")]
    pub linger_ms: Option<u64>,
    pub broadcast: bool,
    pub multicast: Option<Vec<String>>,
    pub mode: String,
    pub owner: Option<String>,
    pub group: Option<String>,
}
