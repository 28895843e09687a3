//! What a plugin says of itself, as values: made by the probe and by workers from the plugin's
//! table, shown by `status` and `plugins`, used by the supervisor to set up listeners.

use serde::{Deserialize, Serialize};

/// What a plugin's peers are told in its place is no longer than this.
pub const REFUSAL_BYTES_MAX: usize = 1024;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptor {
    pub name: String,
    pub version: String,
    pub build_info: String,
    /// "1.0": the ABI the plugin was built with.
    pub revision: String,
    pub streams: bool,
    pub datagrams: bool,
    /// It serves by calls that may block, each on a thread.
    pub blocking: bool,
    /// It hears of the bus: the daemon has to have one.
    #[serde(default)]
    pub bus: bool,
    pub peer_first: bool,
    /// What its peers are told while it keeps failing and nothing of it runs.
    #[serde(default)]
    pub refusal: Vec<u8>,
    pub options: Vec<OptionFacts>,
    pub needs: Needs,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptionFacts {
    pub name: String,
    pub kind: String,
    pub help: String,
    /// `None` means required.
    pub default: Option<String>,
    pub choices: Vec<String>,
    pub min: Option<i64>,
    pub max: Option<i64>,
}

/// What its sandbox must allow, with option names already replaced by their values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    pub files_read: Vec<String>,
    pub files_write: Vec<String>,
    pub connect: bool,
    pub exec: bool,
    pub jit: bool,
}

impl Needs {
    /// Each need in words: "read /srv/gopher", "connect".
    pub fn words(&self) -> Vec<String> {
        let flags = [
            (self.connect, "connect"),
            (self.exec, "exec"),
            (self.jit, "jit"),
        ];
        let reads = self.files_read.iter().map(|path| format!("read {path}"));
        let writes = self.files_write.iter().map(|path| format!("write {path}"));
        let flags = flags.into_iter().filter(|(needed, _)| *needed);
        let flags = flags.map(|(_, word)| word.to_owned());
        reads.chain(writes).chain(flags).collect()
    }
}
