//! Deaths on record: who is to blame, what follows for the peer, and a file of each for the operator.
//!
//! A death is worth a record if nobody asked for it. The files are a convenience and not a promise:
//! what cannot be written is said, and what cannot be read is passed over. Everything that the dead
//! worker left is untrusted; it is bounded before it gets here.
//!
//! Invariant: at most `CRASHES_MAX` files, each whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::bans::Bans;
use super::children::Child;
use super::service::{Edition, Service};
use crate::control::{
    Answer, CrashBlame, CrashList, CrashReport, CrashSummary, Frame, RecordedCrash, Reply, Request,
};
use crate::exit as code;
use crate::lifecycle::{Cause, Exit, Penalties, WorkerId};
use crate::log;
use crate::scoreboard::blame::{self, Blame, Evidence};
use crate::scoreboard::crash::{CodeRange, CrashRecord};
use crate::sys::clock::utc_ms;
use crate::sys::reap::End;

mod memory;
use memory::OutOfMemory;

/// Records that are kept; of more the oldest are removed.
const CRASHES_MAX: usize = 100;
/// No record is longer; a longer file is none of the daemon's.
const CRASH_BYTES_MAX: u64 = 256 * 1024;
const SIGKILL: i32 = 9;

#[derive(Debug)]
pub(super) struct Crashes {
    directory: PathBuf,
    kept: Vec<CrashSummary>,
    next_id: u64,
    pub(super) penalties: Penalties,
    out_of_memory: OutOfMemory,
    /// Workers that were told to end by a signal, and whether because they did not return.
    pub(super) told: BTreeSet<WorkerId>,
    pub(super) hung: BTreeSet<WorkerId>,
    /// Since the start, by service.
    pub(super) counts: BTreeMap<String, u64>,
}

/// What the scoreboard of a dead worker says.
struct Left {
    record: Option<CrashRecord>,
    ranges: Vec<CodeRange>,
    blame: Option<Blame>,
}

impl Crashes {
    /// With those of the daemon's earlier lives.
    pub(super) fn load(state_dir: &Path) -> Crashes {
        let directory = state_dir.join("crashes");
        let made = DirBuilder::new().mode(0o700).create(&directory);
        if let Err(error) = made
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            tracing::warn!("{}: crashes are not kept: {error}", directory.display());
        }
        let mut kept = summaries(&directory);
        kept.sort_by_key(|summary| summary.id);
        let next_id = kept.last().map_or(1, |last| last.id.saturating_add(1));
        let mut crashes = Crashes {
            directory,
            kept,
            next_id,
            penalties: Penalties::default(),
            out_of_memory: OutOfMemory::watch(),
            told: BTreeSet::new(),
            hung: BTreeSet::new(),
            counts: BTreeMap::new(),
        };
        crashes.prune();
        crashes
    }

    pub(super) fn counts(&self) -> &BTreeMap<String, u64> {
        &self.counts
    }

    /// The lifecycle had a signal sent: `hung` because a callback did not return.
    pub(super) fn told_to_end(&mut self, worker: WorkerId, hung: bool) {
        let set = if hung { &mut self.hung } else { &mut self.told };
        set.insert(worker);
    }

    /// A worker was reaped. Says whom to blame, keeps a source out that brought it down, and keeps a
    /// record, if nobody asked for this end.
    pub(super) fn worker_ended(
        &mut self,
        worker: WorkerId,
        child: &Child,
        exit: Exit,
        service: &Service,
        (bans, now_ms): (&mut Bans, u64),
    ) -> Option<(Blame, Cause)> {
        let (told, hung) = (self.told.remove(&worker), self.hung.remove(&worker));
        let edition = service.editions.get(&worker.generation);
        let left = self.examine(child, exit, hung, edition, now_ms);
        let asked_for = match exit {
            Exit::Code(0) => left.blame.is_none(),
            Exit::Code(_) => false,
            Exit::Signal(SIGKILL) => told && !hung && child.offence.is_none(),
            Exit::Signal(_) => false,
        };
        if asked_for {
            return None;
        }
        // Before this very fault has its consequences.
        let blame = left.blame;
        let blamed = blame.map(|blame| (blame, self.cause(&blame, now_ms)));
        let mut decided = Vec::new();
        if let Some(offence) = &child.offence {
            decided.push(format!("it was killed {offence}"));
        }
        if let Some(source) = left
            .blame
            .and_then(|blame| self.penalise(&blame, service, bans, now_ms))
        {
            decided.push(source);
        }
        let died = self.counts.entry(service.name.clone()).or_default();
        *died += 1;
        self.keep(report(worker, child, exit, service, left, decided));
        blamed
    }

    fn examine(
        &mut self,
        child: &Child,
        exit: Exit,
        hung: bool,
        edition: Option<&Edition>,
        now_ms: u64,
    ) -> Left {
        let Some(board) = &child.scoreboard else {
            return Left {
                record: None,
                ranges: Vec::new(),
                blame: None,
            };
        };
        let (record, ranges) = (board.crash(), board.code());
        let end = match exit {
            Exit::Code(code) => End::Code(code),
            Exit::Signal(number) => End::Signal(number),
        };
        let slots = board.glances();
        let evidence = Evidence {
            end,
            pid: child.pid,
            convicted: child.offence.is_some(),
            // The one thread that is watched.
            hung: hung.then_some(0),
            out_of_memory: exit == Exit::Signal(SIGKILL) && self.out_of_memory.took_one(now_ms),
            record: record.as_ref(),
            slots: &slots,
        };
        let path = edition.map(|edition| edition.code.path.display().to_string());
        let of_plugin = |range: &&CodeRange| Some(&range.path) == path.as_ref();
        let blame = blame::blame(&evidence, |address| {
            let mut ranges = ranges.iter().filter(of_plugin);
            ranges.any(|range| range.offset(address).is_some())
        });
        Left {
            record,
            ranges,
            blame,
        }
    }

    /// What was behind a fault. A peer on a Unix socket has no address: whoever may connect there is
    /// trusted by the socket's mode, and its faults are the plugin's.
    fn cause(&self, blame: &Blame, now_ms: u64) -> Cause {
        match blame.source {
            0 => Cause::Plugin,
            source if self.penalties.is_penalised(source, now_ms) => Cause::Penalised,
            source => Cause::Source(source),
        }
    }

    /// Keeps a source out that brought a worker down, and says so.
    fn penalise(
        &mut self,
        blame: &Blame,
        service: &Service,
        bans: &mut Bans,
        now_ms: u64,
    ) -> Option<String> {
        let Some(source) = blame::network_of(blame.source) else {
            let nobody = "its peer has no address that could be kept out".to_owned();
            return (blame.session > 0).then_some(nobody);
        };
        if source.addr().is_loopback() {
            return Some("a source on this machine is not kept out".to_owned());
        }
        let Some(for_ms) = self.penalties.fault(blame.source, now_ms) else {
            return Some(format!("{source} was being kept out already"));
        };
        let why = format!("penalty: brought down a worker of {}", service.name);
        bans.penalise(source, for_ms, &why, utc_ms());
        let text = format!("{source} is kept out for {} s", for_ms / 1_000);
        tracing::warn!(%source, "banned for {} s, {why}", for_ms / 1_000);
        Some(text)
    }

    // --- the files -----------------------------------------------------------------------------

    fn keep(&mut self, mut report: CrashReport) {
        report.summary.id = self.next_id;
        if let Err(error) = self.write(&report) {
            let path = self.directory.display();
            tracing::warn!("{path}: the record of a crash cannot be kept: {error}");
            return;
        }
        self.next_id += 1;
        self.kept.push(report.summary);
        self.prune();
    }

    fn write(&self, report: &CrashReport) -> io::Result<()> {
        let path = self.path(report.summary.id);
        let temporary = path.with_extension("new");
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(0o600);
        let written = options.open(&temporary).and_then(|mut file| {
            file.write_all(&serde_json::to_vec_pretty(report)?)?;
            fs::rename(&temporary, &path)
        });
        if written.is_err() {
            // Half a file on a full disk would only take room.
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    fn prune(&mut self) {
        while self.kept.len() > CRASHES_MAX {
            let oldest = self.kept.remove(0);
            if let Err(error) = fs::remove_file(self.path(oldest.id)) {
                tracing::debug!("an old record of a crash stays: {error}");
            }
        }
    }

    fn path(&self, id: u64) -> PathBuf {
        self.directory.join(format!("{id}.json"))
    }

    /// Answers `crashes`, and `crashes show`.
    pub(super) fn answer(&self, request: &Request) -> Answer {
        let reply = match request {
            Request::CrashReport { id } => match read(&self.path(*id)) {
                Ok(report) => Reply::done(plain(&report)),
                Err(error) => {
                    let why = match error.kind() {
                        io::ErrorKind::NotFound => format!("there is no crash {id}"),
                        _ => format!("crash {id}: {error}"),
                    };
                    let text = format!("{why}; `polyport crashes` lists those that are kept");
                    Reply::failed(code::FAILED, text)
                }
            },
            _ => Reply::done(plain(&CrashList {
                crashes: self.kept.clone(),
            })),
        };
        Answer::Now(reply)
    }
}

fn plain(document: &impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(document).expect("crashes are plain data")
}

fn read(path: &Path) -> io::Result<CrashReport> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(CRASH_BYTES_MAX)
        .read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// Of all whole files; others are none of the daemon's, or were being written when it was killed.
fn summaries(directory: &Path) -> Vec<CrashSummary> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let records = paths.filter(|path| path.extension().is_some_and(|it| it == "json"));
    records
        .filter_map(|path| read(&path).ok())
        .map(|report| report.summary)
        .collect()
}

fn report(
    worker: WorkerId,
    child: &Child,
    exit: Exit,
    service: &Service,
    left: Left,
    decided: Vec<String>,
) -> CrashReport {
    let edition = service.editions.get(&worker.generation);
    let said = edition.map(|edition| &edition.descriptor);
    let plugin = said.map(|it| format!("{} {}", it.name, it.version));
    let code = edition.map(|edition| &edition.code);
    let now = utc_ms();
    let blame = left.blame.map(|blame| CrashBlame {
        callback: blame.callback.map(|it| it.name().to_owned()),
        thread: blame.thread,
        connection: (blame.session != 0).then_some(blame.session),
        source: blame::network_of(blame.source),
        confidence: blame.confidence.name().to_owned(),
    });
    CrashReport {
        summary: CrashSummary {
            id: 0,
            when: log::timestamp(now / 1_000, (now % 1_000) as u32),
            service: service.name.clone(),
            worker: worker.slot + 1,
            pid: child.pid,
            generation: worker.generation,
            ended: exit.to_string(),
            plugin: plugin.unwrap_or_else(|| service.plan.plugin.display().to_string()),
            blame,
        },
        code: code.map_or_else(String::new, |it| it.path.display().to_string()),
        hash: code.map_or_else(String::new, |it| it.hash.clone()),
        record: left.record.map(|record| recorded(&record, &left.ranges)),
        decided,
    }
}

fn recorded(record: &CrashRecord, ranges: &[CodeRange]) -> RecordedCrash {
    let frame = |address: &u64| {
        let found = ranges
            .iter()
            .find_map(|range| Some((range, range.offset(*address)?)));
        Frame {
            address: format!("{address:#x}"),
            file: found.map(|(range, _)| range.path.clone()),
            offset: found.map(|(_, offset)| format!("{offset:#x}")),
        }
    };
    let registers = record.registers.iter();
    RecordedCrash {
        signal: record.signal,
        code: record.code,
        address: format!("{:#x}", record.address),
        stack_overflow: record.overflow,
        registers: registers
            .map(|(name, held)| ((*name).to_owned(), format!("{held:#x}")))
            .collect(),
        frames: record.frames.iter().map(frame).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("pp-crashes-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).expect("a folder for the test");
        path
    }

    fn crash(service: &str) -> CrashReport {
        CrashReport {
            summary: CrashSummary {
                id: 0,
                when: String::new(),
                service: service.to_owned(),
                worker: 1,
                pid: 1,
                generation: 1,
                ended: "signal 11 (SIGSEGV)".to_owned(),
                plugin: "p".to_owned(),
                blame: None,
            },
            code: String::new(),
            hash: String::new(),
            record: None,
            decided: Vec::new(),
        }
    }

    fn ids(crashes: &Crashes) -> Vec<u64> {
        crashes.kept.iter().map(|summary| summary.id).collect()
    }

    #[test]
    fn the_latest_are_kept_over_restarts_and_numbers_are_not_used_again() {
        let folder = folder("kept");
        let mut crashes = Crashes::load(&folder);
        let most = CRASHES_MAX as u64;
        for _ in 0..most + 3 {
            crashes.keep(crash("a"));
        }
        let expected: Vec<u64> = (4..=most + 3).collect();
        assert_eq!(ids(&crashes), expected);
        // What is not a whole record is passed over.
        let directory = folder.join("crashes");
        fs::write(directory.join("9999.json"), "{\"half").expect("written");
        fs::write(directory.join("9998.new"), "").expect("written");
        let mut crashes = Crashes::load(&folder);
        assert_eq!(ids(&crashes), expected);
        crashes.keep(crash("b"));
        assert_eq!(crashes.kept.last().map(|last| last.id), Some(most + 4));
        let mode = fs::metadata(crashes.path(most + 4))
            .expect("a file")
            .permissions();
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777,
            0o600
        );
        fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn a_disk_that_takes_nothing_costs_the_record_only() {
        let folder = folder("full");
        let mut crashes = Crashes::load(&folder);
        fs::remove_dir(folder.join("crashes")).expect("empty");
        crashes.keep(crash("a"));
        assert_eq!(ids(&crashes), Vec::<u64>::new());
        fs::create_dir(folder.join("crashes")).expect("made");
        crashes.keep(crash("a"));
        assert_eq!(ids(&crashes), [1]);
        fs::remove_dir_all(folder).expect("removed");
    }
}
