//! What supervisor and children say to each other, as values.
//!
//! A *brief* is read once, at the start, from the memory file the child is given; *orders* go down
//! the channel and *reports* up. All are JSON: rare, small, readable under a tracer, and tolerant
//! of a field that an older or newer process does not know.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::conformance::Trial;
use super::connections::ConnectionsOrder;
pub use crate::config::Sources as CheckBrief;
use crate::plan::{
    Access, Address, DaemonPlan, Descriptor, Limits, LogLevel, ServicePlan, WhenFailing,
};

/// What a child is told before anything else; its variant is the child's role.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Brief {
    Check(CheckBrief),
    Probe(ProbeBrief),
    Worker(WorkerBrief),
    Hub(HubBrief),
    Rehearsal(RehearsalBrief),
}

/// A program that may take the supervisor's place is to try it with a copy of everything: what the
/// supervisor knows, then its descriptors, behind the fixed ones.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RehearsalBrief {
    pub descriptors: usize,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProbeBrief {
    pub service: String,
    pub daemon: DaemonPlan,
    pub plan: ServicePlan,
    pub code: StoredPlugin,
    pub places: BTreeMap<String, String>,
    pub depth: Depth,
}

/// How far a probe goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Depth {
    /// What the plugin says of itself, whatever its settings.
    Handshake,
    /// All that a start demands.
    Settings,
    /// That, and then a trial of one rule, with an instance that serves nobody.
    Conformance(Trial),
    /// That, and then what a peer that says this is answered, in the descriptor that follows the
    /// fixed ones.
    Render(Vec<u8>),
}

impl Depth {
    /// The longest file that the probe may write: its answer, which lies in memory, or what it prints.
    pub fn file_bytes_max(&self) -> u64 {
        match self {
            Depth::Handshake | Depth::Settings | Depth::Conformance(_) => 1 << 20,
            Depth::Render(_) => 1 << 30,
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HubBrief {
    pub daemon: DaemonPlan,
    /// There was a hub before this one.
    pub replaces: bool,
    /// Services of those who knew that one, in the order of their ends, which follow the fixed
    /// descriptors.
    pub members: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkerBrief {
    pub service: String,
    pub worker_index: u16,
    pub worker_count: u16,
    pub generation: u32,
    /// It is to be ready, and serve when it is told to.
    pub parked: bool,
    /// Its own in the table of sources.
    pub source_region: u16,
    pub daemon: DaemonPlan,
    pub plan: ServicePlan,
    pub code: StoredPlugin,
    /// Serve as this instead, and run nothing of the plugin.
    #[serde(default)]
    pub stand_in: Option<StandIn>,
    /// In the order of the descriptors that follow the fixed ones.
    pub listeners: Vec<ListenerBrief>,
    /// UDP ports that the daemon serves, in all its services, when this worker is started.
    #[serde(default)]
    pub udp_ports: Vec<u16>,
    /// At most [`BANS_MAX`].
    pub bans: Vec<Ban>,
}

/// What answers in the place of a plugin that keeps failing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandIn {
    /// Said to each connection before it is closed.
    pub refusal: Vec<u8>,
}

impl StandIn {
    /// As the administrator wants it, and in the plugin's words if it has any.
    pub fn of(plan: &ServicePlan, descriptor: Option<&Descriptor>) -> StandIn {
        let said = descriptor.map(|said| said.refusal.clone());
        let refusal = match plan.when_failing {
            WhenFailing::Refuse => said.unwrap_or_default(),
            WhenFailing::Close => Vec::new(),
        };
        StandIn { refusal }
    }
}

/// Nobody from this network is let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    pub network: IpNet,
    /// From now on; `None` is until it is taken back.
    pub for_ms: Option<u64>,
}

/// Networks that can be banned at a time; the supervisor keeps to it, and workers rely on that.
pub const BANS_MAX: usize = 65_536;

/// Sources that one worker reports as trapped in a second; further ones are let go.
pub const TRAPPED_PER_S: u32 = 64;

/// The file in the store that holds a plugin's code for one generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredPlugin {
    pub path: PathBuf,
    /// SHA-256 of the content, in hexadecimal.
    pub hash: String,
}

/// One shard that a worker polls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerBrief {
    /// The endpoint as written.
    pub endpoint: String,
    /// Where it really listens: a port that the system chose stands here as a number.
    pub local: Address,
    pub shard: u16,
    /// Other workers poll it too.
    pub shared: bool,
}

/// Down the channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// To a parked worker: serve.
    Serve,
    /// Accept nothing new, finish what is open within this time, then exit. What waits at endpoints
    /// that are `leaving` is accepted first: nobody else will. One that gives and is `hurried` has this
    /// time anew with each session that is adopted, within what it had.
    Drain {
        grace_ms: u64,
        leaving: Vec<String>,
        #[serde(default)]
        hurried: bool,
    },
    /// Go by other limits and rules.
    Adjust(Box<Adjustment>),
    /// The descriptor that rides along is the worker's end of the bus from now on.
    Bus {},
    /// Let nobody from there in, and close what is open from there.
    Ban(Ban),
    Unban {
        network: IpNet,
    },
    /// As `Drain`, but give all that can be carried to whoever is at the other end of the descriptor
    /// that rides along, before the rest is finished.
    Give {
        grace_ms: u64,
        leaving: Vec<String>,
    },
    /// Take what comes from the other end of the descriptor that rides along.
    Take {},
    /// Say in the memory file that rides along what is open.
    Connections(ConnectionsOrder),
    /// Write the log to the file that rides along, from now on.
    LogTo {},
    /// Poll the listener that rides along too: nobody accepts in the place that it belongs to.
    Lend {
        from: u16,
        listener: Box<ListenerBrief>,
    },
    /// Leave the listeners of that place alone again.
    Reclaim {
        from: u16,
    },
}

impl Order {
    /// Descriptors that ride along.
    pub fn descriptors(&self) -> usize {
        match self {
            Order::Serve
            | Order::Drain { .. }
            | Order::Adjust(_)
            | Order::Ban(_)
            | Order::Unban { .. }
            | Order::Reclaim { .. } => 0,
            Order::Give { .. }
            | Order::Take {}
            | Order::Lend { .. }
            | Order::Bus {}
            | Order::Connections(_)
            | Order::LogTo {} => 1,
        }
    }
}

/// To the hub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HubOrder {
    /// The end of a worker of this service rides along.
    Attach {
        service: String,
    },
    /// Write the log into the file that rides along.
    LogTo {},
    LogLevel {
        level: LogLevel,
    },
    /// Write down what is not written yet, and end. If another hub follows, what is held stays held.
    Stop {
        follows: bool,
    },
}

impl HubOrder {
    /// Descriptors that ride along.
    pub fn descriptors(&self) -> usize {
        match self {
            HubOrder::Attach { .. } | HubOrder::LogTo {} => 1,
            HubOrder::LogLevel { .. } | HubOrder::Stop { .. } => 0,
        }
    }
}

/// What a worker goes by from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adjustment {
    pub limits: Limits,
    pub access: Access,
    pub log_level: LogLevel,
}

/// A longer text of a refusal helps nobody, and a message holds no more.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// Up the channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Report {
    /// Check: the plan lies in the answer file, so many bytes long.
    Resolved { bytes: u64 },
    /// Check: the configuration is rejected; the complaints lie in the answer file.
    Rejected { bytes: u64 },
    /// Probe: the plugin loads and takes its options; its descriptor lies in the answer file.
    Admitted { bytes: u64 },
    /// Probe or worker: the plugin, or the way to it, fails; the text names problem and remedy.
    Refused { text: String },
    /// Worker: serving, shut in this tightly.
    Ready { sandbox: String },
    /// Rehearsal: it could take the supervisor's place.
    Rehearsed {},
    /// Worker of a sensor: somebody has come, from this IPv4 address or IPv6 /64.
    Trapped { source: IpNet },
    /// Worker: what the question of this number asked for lies in the file, so many bytes long.
    Connections { number: u64, bytes: u64 },
}

impl Report {
    /// Said again and again, or when it is asked for; all others are said once.
    pub fn is_repeated(&self) -> bool {
        matches!(self, Report::Trapped { .. } | Report::Connections { .. })
    }

    pub fn refused(mut text: String) -> Report {
        if text.len() > TEXT_BYTES_MAX {
            let whole = (0..=TEXT_BYTES_MAX).rfind(|at| text.is_char_boundary(*at));
            text.truncate(whole.unwrap_or(0));
            text.push('…');
        }
        Report::Refused { text }
    }
}
