//! A host without sockets, clocks or threads, to test plugins with: through their real C table, so
//! what is tested is what the daemon loads, in whatever language it was written.
//!
//! Everything is deterministic. Time moves when the test says so; input arrives whole, or a byte at
//! a time; any write can be made to find the output full. What a plugin may not do is a panic in the
//! test, with the last things that happened.
//!
//! ```
//! use polyport_plugin::prelude::*;
//! use polyport_plugin::testing::{Setup, Split};
//!
//! #[derive(Default)]
//! struct Echo;
//!
//! impl Protocol for Echo {
//!     type Session = ();
//!     fn feed(&mut self, cx: &mut Context, from: SessionId, _: &mut (), input: &[u8]) -> Result<usize> {
//!         cx.write(from, input)?;
//!         Ok(input.len())
//!     }
//! }
//!
//! for split in [Split::Whole, Split::EveryByte, Split::At(2)] {
//!     for refused in 1..10 {
//!         let mut host = Setup::of::<Echo>().split(split).full_at(refused).start().unwrap();
//!         let peer = host.connect();
//!         host.send(peer, b"hello");
//!         host.peer_finishes(peer);
//!         assert_eq!(host.received(peer), b"hello");
//!         assert_eq!(host.end(peer), Some(End::Finished));
//!     } // The host is dropped: everything is ended, destroyed and checked for leaks.
//! }
//! ```

pub(crate) mod bus;
mod conversation;
mod diary;
mod faults;
pub(crate) mod files;
pub(crate) mod host;
pub(crate) mod ledger;
pub(crate) mod metrics;
pub(crate) mod script;
mod seeds;
#[allow(
    unsafe_code,
    reason = "calls the plugin's table, and is called through the host's"
)]
pub(crate) mod settings;
pub(crate) mod wakers;

pub use bus::FakeBus;
pub use conversation::Conversation;
pub use host::{FakeHost, Peer, Refused};
pub use ledger::Sent;
pub use script::{Script, Served};
pub use seeds::Dice;

use crate::glue::{Exported, Table, caller};
use crate::{Blocking, Level, Protocol};

/// How the bytes of one [`FakeHost::send`] arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// All at once.
    Whole,
    /// One after the other.
    EveryByte,
    /// So many first, then the others.
    At(usize),
}

/// A line that the plugin has logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// How important it is.
    pub level: Level,
    /// What it says.
    pub text: String,
}

/// What a plugin will find: its settings, its limits, and what shall go wrong.
#[derive(Clone, Debug)]
pub struct Setup {
    table: Table,
    settings: Vec<(String, String)>,
    raw_json: String,
    split: Split,
    full_at: Option<usize>,
    refused_at: Option<usize>,
    pub(crate) carried_at: Option<usize>,
    input_bytes_max: usize,
    output_bytes_max: usize,
    work_max: usize,
    worker: (u32, u32),
    host_table_bytes: usize,
    lacks: Vec<String>,
    endpoints: Vec<String>,
    udp_ports: Vec<u16>,
    sends_max: usize,
    appetite: usize,
    bus: Option<FakeBus>,
    cold_files: bool,
    diary: diary::Diary,
}

impl Setup {
    /// For a protocol of this crate; [`export_plugin!`](crate::export_plugin) is not needed.
    pub fn of<P: Protocol>() -> Setup {
        // A few bytes for each setup of a test: the table must live as long as the process.
        let table = Box::leak(Box::new(Exported::of::<P>("under-test\0", "0.0.0\0", "\0")));
        Setup::table(table.table())
    }

    /// The same for a plugin of the blocking style.
    pub fn blocking<B: Blocking>() -> Setup {
        let exported = Exported::of_blocking::<B>("under-test\0", "0.0.0\0", "\0");
        Setup::table(Box::leak(Box::new(exported)).table())
    }

    /// For what an entry function returned: `Setup::table(polyport_plugin_v1())`.
    pub fn table(table: Table) -> Setup {
        Setup {
            table,
            settings: Vec::new(),
            raw_json: "{}".to_owned(),
            split: Split::Whole,
            full_at: None,
            refused_at: None,
            carried_at: None,
            input_bytes_max: 64 * 1024,
            output_bytes_max: 64 * 1024,
            work_max: 128,
            worker: (0, 1),
            host_table_bytes: size_of::<crate::abi::HostApi>(),
            lacks: Vec::new(),
            endpoints: vec!["tcp://127.0.0.1:7".to_owned()],
            udp_ports: Vec::new(),
            sends_max: 256,
            appetite: usize::MAX,
            bus: None,
            cold_files: false,
            diary: diary::Diary::default(),
        }
    }

    /// A setting, as an administrator would write it.
    pub fn set(mut self, option: &str, text: &str) -> Setup {
        self.settings.push((option.to_owned(), text.to_owned()));
        self
    }

    /// The settings as JSON, for plugins that read them so.
    pub fn raw_json(mut self, text: &str) -> Setup {
        self.raw_json = text.to_owned();
        self
    }

    /// How input arrives; whole unless said.
    pub fn split(mut self, split: Split) -> Setup {
        self.split = split;
        self
    }

    /// Makes the n-th write of all find the output full; the first is 1.
    pub fn full_at(mut self, n: usize) -> Setup {
        self.full_at = Some(n);
        self
    }

    /// Makes the n-th of those calls be refused that the host may answer with "no more"; the first is 1.
    /// See [`each_call_refused`](Setup::each_call_refused).
    pub fn refused_at(mut self, n: usize) -> Setup {
        self.refused_at = Some(n);
        self
    }

    /// Moves all sessions to a fresh instance after the n-th thing that happens to any of them; see
    /// [`FakeHost::carry`].
    pub fn carried_at(mut self, n: usize) -> Setup {
        self.carried_at = Some(n);
        self
    }

    /// Bytes that the plugin may leave unconsumed; 64 KiB unless said.
    pub fn input_bytes_max(mut self, bytes: usize) -> Setup {
        self.input_bytes_max = bytes;
        self
    }

    /// Bytes that may be queued for one peer; 64 KiB unless said.
    pub fn output_bytes_max(mut self, bytes: usize) -> Setup {
        self.output_bytes_max = bytes;
        self
    }

    /// Jobs that may wait for a thread; 128 unless said.
    pub fn work_max(mut self, jobs: usize) -> Setup {
        self.work_max = jobs;
        self
    }

    /// Which of how many workers the instance is in; the only one unless said.
    pub fn worker(mut self, index: u32, count: u32) -> Setup {
        self.worker = (index, count);
        self
    }

    /// The service's endpoints, as URLs in numbers; `tcp://127.0.0.1:7` unless said.
    pub fn endpoints(mut self, urls: &[&str]) -> Setup {
        self.endpoints = urls.iter().map(|url| (*url).to_owned()).collect();
        self
    }

    /// The UDP ports that the daemon serves in all its services; none unless said.
    pub fn udp_ports(mut self, ports: &[u16]) -> Setup {
        self.udp_ports = ports.to_vec();
        self
    }

    /// Datagrams that one callback may send; 256 unless said.
    pub fn sends_max(mut self, datagrams: usize) -> Setup {
        self.sends_max = datagrams;
        self
    }

    /// How many bytes each peer reads before it stops; all that there are unless said.
    pub fn appetite(mut self, bytes: usize) -> Setup {
        self.appetite = bytes;
        self
    }

    /// Which bus it is on, with others that are set up so; one of its own unless said.
    pub fn bus(mut self, bus: &FakeBus) -> Setup {
        self.bus = Some(bus.clone());
        self
    }

    /// Files are not in memory: what is sent of them waits for [`FakeHost::read_files`].
    pub fn cold_files(mut self) -> Setup {
        self.cold_files = true;
        self
    }

    /// Makes the host an older one, whose table ends after so many bytes.
    pub fn host_table_bytes(mut self, bytes: usize) -> Setup {
        self.host_table_bytes = bytes;
        self
    }

    /// Makes the host one that does not offer an extension: its id, as in `polyport.work/1`.
    pub fn without(mut self, extension: &str) -> Setup {
        self.lacks.push(extension.to_owned());
        self
    }

    /// Whether the plugin would take these settings, without an instance. The error is the reason of the
    /// refusal.
    pub fn check(&self) -> Result<(), String> {
        self.try_check().map_err(|refused| refused.why)
    }

    /// The same, for who wants to know whether there is a reason.
    pub fn try_check(&self) -> Result<(), Refused> {
        let plugin = caller::Plugin::admit(self.table, &self.lacks)?;
        Ok(plugin.check(&self.lent_settings(&plugin)?)?)
    }

    /// Loads the plugin and makes an instance. The error is the reason of the refusal.
    pub fn start(&self) -> Result<FakeHost, String> {
        self.try_start().map_err(|refused| refused.why)
    }

    /// The same, for who wants to tell a refusal from a panic.
    pub fn try_start(&self) -> Result<FakeHost, Refused> {
        FakeHost::start(self)
    }

    fn lent_settings(&self, plugin: &caller::Plugin) -> Result<caller::LentSettings, String> {
        let values = settings::values(plugin.options(), &self.settings)?;
        Ok(caller::LentSettings::new(
            values,
            &self.raw_json,
            self.worker,
            self.endpoints.clone(),
            self.udp_ports.clone(),
        ))
    }
}
