//! The plan: configuration resolved, complete, checked, comparable and serialisable.
//!
//! Only plans travel between processes; nobody past this point asks what an administrator may have
//! meant. A plan holds no text that still needs a look-up: names of ports and users are numbers
//! here. Where each setting was written is kept beside the services, not in them, so that moving a
//! line in a file is not a change of its service.
//!
//! Invariant: two equal `ServicePlan`s ask for the same behaviour.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

mod bus;
mod descriptor;
mod diff;
mod endpoint;
mod facts;
mod fits;
mod hours;
mod keys;
mod network;
mod resolve;
mod socket;

pub use crate::config::schema::WORKERS_MAX;
pub use crate::config::{Facility, LogFormat, LogLevel, SandboxPolicy, WhenFailing};
pub use bus::{BusPlan, NatsPlan, Tls};
pub use descriptor::{Descriptor, Needs, OptionFacts, REFUSAL_BYTES_MAX};
pub use diff::{Seen, Step, needs_restart, of_hub, steps};
pub use facts::{Facts, Looked, UserNumbers};
pub use hours::Hours;
pub use keys::keys_of;
pub(crate) use keys::{duration, size};
pub use network::parse_network;
pub use resolve::{plugin_file, resolve};
pub use socket::{Group, Keepalive, SocketFile, SocketPlan};

use crate::config::{self, Complaint, Sources, Surroundings};

/// The check's whole work: from the files, as this process finds them, to a plan.
pub fn run_check(sources: &Sources) -> Result<Plan, Vec<Complaint>> {
    let config = config::read(sources, &Surroundings::of_this_process());
    resolve(config, &Facts::of_this_machine())
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub daemon: DaemonPlan,
    pub services: BTreeMap<String, ServicePlan>,
    /// "services.echo.settings.mode" → "/etc/polyport/polyport.toml:12", for later complaints.
    pub places: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonPlan {
    pub plugin_dir: PathBuf,
    pub run_dir: PathBuf,
    pub state_dir: PathBuf,
    /// Whom workers become; `None` keeps the supervisor's identity.
    pub identity: Option<Identity>,
    pub drain_timeout_ms: u64,
    pub hang_timeout_ms: u64,
    pub thread_hang_timeout_ms: u64,
    pub sandbox: SandboxPolicy,
    pub log: LogPlan,
    #[serde(default)]
    pub control: ControlPlan,
    pub bus: BusPlan,
}

impl DaemonPlan {
    /// Whom the workers of this service become.
    pub fn identity_for<'a>(&'a self, service: &'a ServicePlan) -> Option<&'a Identity> {
        service.identity.as_ref().or(self.identity.as_ref())
    }

    /// The user and group of the same.
    pub fn numbers_for(&self, service: &ServicePlan) -> Option<(u32, u32)> {
        let identity = self.identity_for(service);
        identity.map(|identity| (identity.uid, identity.gid))
    }
}

/// Of the control socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlPlan {
    /// As written, for showing.
    pub written: Vec<String>,
    pub operators: Operators,
}

/// Who may operate beside root and the daemon's own user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operators {
    pub uids: Vec<u32>,
    pub gids: Vec<u32>,
}

impl Operators {
    pub fn is_empty(&self) -> bool {
        self.uids.is_empty() && self.gids.is_empty()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub user: String,
    pub uid: u32,
    pub gid: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPlan {
    pub target: LogTarget,
    /// Plans of before there was a choice have none.
    #[serde(default)]
    pub facility: Facility,
    pub level: LogLevel,
    pub format: LogFormat,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogTarget {
    Stderr,
    Journal,
    Syslog,
    File(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePlan {
    /// The plugin's file as it will be looked for; it need not exist.
    pub plugin: PathBuf,
    pub endpoints: Vec<Endpoint>,
    pub workers: u16,
    #[serde(default)]
    pub when_failing: WhenFailing,
    pub limits: Limits,
    pub access: Access,
    pub socket: SocketPlan,
    /// Whom its workers become, if not whom those of the others do.
    #[serde(default)]
    pub identity: Option<Identity>,
    /// The SHA-256 that its plugin's file has to have, in hexadecimal digits.
    #[serde(default)]
    pub pin: Option<String>,
    /// The plugin's own options, checked by the probe against what the plugin declares.
    pub settings: BTreeMap<String, serde_json::Value>,
}

/// A listener's address. Its identity is the service and `written`; port 0 is never a duplicate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    pub written: String,
    pub address: Address,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Address {
    Tcp(SocketAddr),
    Udp(SocketAddr),
    Unix(UnixName),
    UnixDatagram(UnixName),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnixName {
    Path(PathBuf),
    /// Without its leading NUL.
    Abstract(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    Stream,
    Datagram,
}

impl Address {
    pub fn transport(&self) -> Transport {
        match self {
            Address::Tcp(_) | Address::Unix(_) => Transport::Stream,
            Address::Udp(_) | Address::UnixDatagram(_) => Transport::Datagram,
        }
    }

    /// Of an Internet address.
    pub fn socket(&self) -> Option<SocketAddr> {
        match self {
            Address::Tcp(address) | Address::Udp(address) => Some(*address),
            Address::Unix(_) | Address::UnixDatagram(_) => None,
        }
    }
}

impl fmt::Display for Address {
    /// As a URL, the way it is written in a configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => write!(f, "tcp://{address}"),
            Address::Udp(address) => write!(f, "udp://{address}"),
            Address::Unix(name) => write!(f, "unix:{name}"),
            Address::UnixDatagram(name) => write!(f, "unixgram:{name}"),
        }
    }
}

impl fmt::Display for UnixName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnixName::Path(path) => write!(f, "{}", path.display()),
            UnixName::Abstract(name) => write!(f, "@{name}"),
        }
    }
}

/// In all of them 0 means that there is no such limit; so says the default of every field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Connections of the whole service; each worker takes its share.
    pub connections: u32,
    /// Connections of one source (an IPv4 address, an IPv6 /64) over all workers.
    pub per_source: u32,
    /// New connections a second in the whole service, and how many of them may come at once.
    pub rate: u32,
    pub burst: u32,
    /// An administrator wrote the limit for a source, or for the rate: it then holds for peers on
    /// the loopback too.
    pub per_source_on_loopback: bool,
    pub rate_on_loopback: bool,
    /// Connections of the whole service whose peers have not sent a byte yet.
    pub pending: u32,
    /// Without a byte either way for so long, a connection is closed; 0 never closes.
    pub idle_ms: u64,
    /// From being accepted to being closed, whatever happens in between.
    pub lifetime_ms: u64,
    /// For so long may input wait that the plugin has not consumed.
    pub progress_ms: u64,
    /// For so long may output wait for a peer that takes none of it.
    pub stall_ms: u64,
    /// Bytes a second that one connection may receive, and as many that it may send.
    pub bandwidth: u64,
    /// Bytes that a plugin may leave unconsumed.
    pub input_bytes_max: usize,
    /// Bytes queued for one peer; at half of it the plugin is not fed, below a quarter it is again.
    pub output_bytes_max: usize,
    /// Datagrams a second of one source, shared out among the workers; 0 sets no limit.
    pub datagram_rate: u32,
    /// So many of them may come at once.
    pub datagram_burst: u32,
    /// Peers on this machine are held to it as well: somebody wrote it.
    pub datagram_rate_written: bool,
    pub threads: ThreadLimits,
}

/// Of what may block, in each worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadLimits {
    /// Handlers and jobs that run at once.
    pub max: u16,
    /// Connections and jobs that wait for a thread; more are refused.
    pub queue_max: u32,
    /// A handler that has served one connection for so long is told that time is up; 0 never.
    pub handler_ms: u64,
}

/// Who may come in, and when. Of peers on Unix sockets only the hour is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// The longest prefix in both decides. If there is one here, who is in neither is denied.
    pub allow: Vec<IpNet>,
    pub deny: Vec<IpNet>,
    /// Open at these hours only; empty is always.
    pub times: Vec<Hours>,
    /// Said to those who are turned away.
    pub banner_refused: String,
    /// Whoever connects is banned from all services.
    pub sensor: bool,
    pub sensor_ban_ms: u64,
    /// Who has to introduce its peers with a PROXY header.
    pub proxy_from: Vec<IpNet>,
}
