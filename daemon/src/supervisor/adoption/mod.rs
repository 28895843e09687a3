//! Adoption: another program goes on in the supervisor's place with all that it had.
//!
//! What the old program knows is written as one document, the estate, into a sealed memory file; the
//! descriptors stay open, and the estate names them by places in one list. The new program reads it
//! twice: at a rehearsal, as a child with copies, which says whether it could; and in earnest, under
//! the numbers that the descriptors have. Both times the same code reads.
//!
//! Invariant: whatever a rehearsal makes owns nothing that outlives it: no socket's file, no lock.

mod descriptors;
mod pack;
mod unpack;

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::children::Kind;
use super::connections::KeptLooks;
use super::listeners::{BoundFile, Origin};
use super::logging::LevelBack;
use super::metrics::Happened;
use super::plugin_metrics::Retired;
use super::unsent::Unsent;
use super::wishes::{Snapshot, Wish};
use crate::channel::{CheckBrief, RehearsalBrief, Report, StoredPlugin, handed};
use crate::control::{KeptServer, ReloadOutcome};
use crate::lifecycle::{ServiceId, WorkerId};
use crate::log;
use crate::plan::{Address, Descriptor, Plan, ServicePlan};
use crate::sys::spawn;
use descriptors::Handed;
pub(super) use pack::{Packed, pack};
pub(super) use unpack::Adopted;
use unpack::unpack;

/// Of the estate; a program adopts those of its own format only.
const FORMAT: u32 = 1;
/// No estate is longer: most of it is the list of bans.
const ESTATE_BYTES_MAX: u64 = 128 << 20;

/// What every format has.
#[derive(Debug, Deserialize)]
struct Head {
    format: u32,
    version: String,
    /// The numbers of the descriptors, in earnest.
    numbers: Vec<RawFd>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Estate {
    format: u32,
    /// Of the program that wrote it.
    version: String,
    numbers: Vec<RawFd>,
    /// When the daemon started, on the machine's monotonic clock.
    started_ms: u64,
    program: PathBuf,
    sources: CheckBrief,
    plan: Plan,
    lifecycle: Value,
    services: Vec<KeptService>,
    listeners: Vec<KeptListener>,
    children: Vec<KeptChild>,
    next_service: u32,
    control: KeptServer,
    lock: usize,
    bans: Value,
    passing_bans: Vec<IpNet>,
    penalties: Value,
    told: Vec<WorkerId>,
    /// Soft faults that have been told of.
    signs: Vec<(WorkerId, u64)>,
    /// Names in the service manager's store.
    stored: BTreeSet<String>,
    hung: Vec<WorkerId>,
    bus: Value,
    waiting: Value,
    proven: Option<Snapshot>,
    previous: Option<Snapshot>,
    last: Option<ReloadOutcome>,
    looks: KeptLooks,
    happened: Happened,
    /// Crashes since the start, by service.
    died: BTreeMap<String, u64>,
    level_back: Option<LevelBack>,
}

#[derive(Serialize, Deserialize)]
struct KeptService {
    number: ServiceId,
    name: String,
    plan: ServicePlan,
    current: u32,
    newest: u32,
    editions: Vec<KeptEdition>,
    tried: Option<String>,
    left: bool,
    /// By name, as there may be others in another version.
    retired: BTreeMap<String, u64>,
    #[serde(default)]
    retired_metrics: Retired,
}

#[derive(Serialize, Deserialize)]
struct KeptEdition {
    generation: u32,
    plan: ServicePlan,
    code: StoredPlugin,
    descriptor: Descriptor,
    /// Places in the estate's list of listeners.
    listeners: Vec<usize>,
    leaving: Vec<String>,
    table: usize,
    workers_max: u16,
    side: u16,
    sandbox: String,
}

#[derive(Serialize, Deserialize)]
struct KeptListener {
    endpoint: String,
    asked: Address,
    local: Address,
    shards: Vec<usize>,
    origin: Origin,
    file: Option<BoundFile>,
}

#[derive(Serialize, Deserialize)]
struct KeptChild {
    pid: i32,
    kind: Kind,
    due_ms: Option<u64>,
    offence: Option<String>,
    has_reported: bool,
    channel: usize,
    channel_open: bool,
    unsent: Unsent,
    third: usize,
}

/// The head of an estate that this program can read.
fn head(file: &OwnedFd) -> Result<Head, String> {
    if !handed::is_sealed(file) {
        return Err("what it was given is no sealed memory file".to_owned());
    }
    let head: Head = handed::read_up_to(file, ESTATE_BYTES_MAX)
        .map_err(|error| format!("the estate cannot be read: {error}"))?;
    if head.format != FORMAT {
        return Err(format!(
            "the estate that polyport {} leaves has the format {}, and polyport {} adopts format \
             {FORMAT} only\n  fix: restart the daemon instead",
            head.version,
            head.format,
            env!("CARGO_PKG_VERSION")
        ));
    }
    Ok(head)
}

fn read(file: &OwnedFd) -> Result<Estate, String> {
    handed::read_up_to(file, ESTATE_BYTES_MAX)
        .map_err(|error| format!("the estate is not understood: {error}"))
}

/// In earnest: of what the program before left under these numbers.
pub(super) fn adopt(
    file: &OwnedFd,
    open: impl FnOnce(&[RawFd]) -> std::io::Result<Vec<OwnedFd>>,
) -> Result<(Adopted, String), String> {
    let head = head(file)?;
    let fds = open(&head.numbers).map_err(|error| format!("its descriptors: {error}"))?;
    let adopted = unpack(read(file)?, Handed::new(fds))?;
    adopted.own();
    Ok((adopted, head.version))
}

/// A child of the supervisor, with copies of everything: whether this program could take its place.
pub fn rehearse(brief: &RehearsalBrief) -> Report {
    let _ = log::begin(&log::early(), "rehearsal");
    match try_with_copies(brief) {
        Ok(()) => Report::Rehearsed {},
        Err(text) => Report::refused(text),
    }
}

fn try_with_copies(brief: &RehearsalBrief) -> Result<(), String> {
    let missing = || "descriptors are missing".to_owned();
    let fds = spawn::take_handed(handed::FIXED_FDS, brief.descriptors + 1);
    let mut fds = fds.ok_or_else(missing)?;
    let file = fds.remove(0);
    let head = head(&file)?;
    if head.numbers.len() != fds.len() {
        return Err(missing());
    }
    let adopted = unpack(read(&file)?, Handed::new(fds))?;
    // The lock and the control socket's path are the supervisor's: nothing of it is dropped.
    mem::forget(adopted);
    Ok(())
}

/// The wishes that wait, with the one that follows from this upgrade first.
fn wishes<'a>(first: Option<&'a Wish>, waiting: impl Iterator<Item = &'a Wish>) -> Value {
    let all: Vec<&Wish> = first.into_iter().chain(waiting).collect();
    serde_json::to_value(all).expect("wishes are plain data")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refusal(file: &OwnedFd) -> String {
        let opened = |_: &[RawFd]| Ok(Vec::new());
        match adopt(file, opened) {
            Ok(_) => "adopted".to_owned(),
            Err(text) => text,
        }
    }

    #[test]
    fn what_is_no_estate_of_this_format_is_refused_with_words() {
        let head = |format: u32| json!({ "format": format, "version": "9.9", "numbers": [] });
        for (document, expected) in [
            (json!("garbage"), "cannot be read"),
            (json!({}), "cannot be read"),
            (head(FORMAT + 1), "adopts format 1 only"),
            (head(FORMAT), "is not understood"),
        ] {
            let file = handed::brief(&document).expect("written");
            let text = refusal(&file);
            assert!(text.contains(expected), "{document}: {text}");
        }
        let open = handed::answer_file().expect("made");
        assert!(refusal(&open).contains("no sealed memory file"));
    }
}
