//! The upgrade: the program that is installed now takes this process over.
//!
//! It is a change like others: it waits for its turn, and is rejected before anything is touched. The
//! file is opened once. A child runs that very file and tries to adopt copies of everything; only
//! then does the process become it, under the same pid, with all signals held back meanwhile. What is
//! handed over, and how, is `adoption`'s business; afterwards all services get new workers.
//!
//! Invariant: what is executed is what has rehearsed.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use nix::sys::signal::Signal as UnixSignal;
use nix::sys::stat::{Mode, fstat};

use super::adoption::{self, Adopted, Packed, pack};
use super::children::{Children, Kind};
use super::life::Life;
use super::listeners::Inherited;
use super::signals::Signals;
use super::wishes::{Goal, Rehearsal, Reload, Stage, Wish};
use super::{Ending, Phase, Supervisor};
use crate::channel::{Brief, RehearsalBrief, handed};
use crate::exit;
use crate::lifecycle::{Event, Exit, News};
use crate::log;
use crate::plugin_host::verify;
use crate::sys::exec::{self, HeldSignals};
use crate::sys::spawn::{EXEC_FAILED, Program};

/// How long a rehearsal may take.
const REHEARSAL_MS: u64 = 10_000;

impl Life {
    /// Opens the program and starts its rehearsal.
    pub(super) fn begin_upgrade(&mut self, wish: Wish, children: &mut Children, now_ms: u64) {
        let begun = open(&children.path).and_then(|program| {
            let pid = self.rehearse(&program, children, now_ms);
            let pid = pid.map_err(|error| format!("the rehearsal cannot be started: {error}"));
            pid.map(|pid| (pid, program))
        });
        match begun {
            Ok((pid, program)) => {
                let stage = Stage::Rehearsing(Rehearsal {
                    pid,
                    program,
                    passed: false,
                });
                self.changes.under_way = Some(Reload { wish, stage });
            }
            Err(text) => self.reject(&wish, exit::REJECTED, vec![text], now_ms),
        }
    }

    fn rehearse(&self, program: &Program, children: &mut Children, now_ms: u64) -> io::Result<i32> {
        let packed = pack(self, children, None, now_ms)?;
        let copies = packed.fds.iter().map(|fd| fd.try_clone_to_owned());
        let copies: Vec<OwnedFd> = copies.collect::<io::Result<_>>()?;
        let file = packed.file;
        let brief = Brief::Rehearsal(RehearsalBrief {
            descriptors: copies.len(),
        });
        let mut fds: Vec<BorrowedFd<'_>> = vec![file.as_fd()];
        fds.extend(copies.iter().map(AsFd::as_fd));
        let due_ms = Some(now_ms + REHEARSAL_MS);
        children.start_as(Some(program), Kind::Rehearsal, &brief, &fds, due_ms)
    }

    fn rehearsal(&mut self, pid: i32) -> Option<&mut Rehearsal> {
        match &mut self.changes.under_way.as_mut()?.stage {
            Stage::Rehearsing(rehearsal) if rehearsal.pid == pid => Some(rehearsal),
            _ => None,
        }
    }

    /// What the rehearsal came to, in its own words.
    pub(super) fn rehearsed(&mut self, pid: i32, verdict: Result<(), String>, now_ms: u64) {
        let Some(rehearsal) = self.rehearsal(pid) else {
            return;
        };
        rehearsal.passed = verdict.is_ok();
        let is_over = |reload: &mut Reload| verdict.is_err() || reload.wish.dry_run;
        let Some(Reload { wish, .. }) = self.changes.under_way.take_if(is_over) else {
            return;
        };
        match verdict {
            Ok(()) => {
                let text = "the program could take over; nothing was changed".to_owned();
                self.conclude_wish(&wish, exit::DONE, text, Default::default(), now_ms);
            }
            Err(text) => {
                let text = format!("the program cannot take over: {text}");
                self.reject(&wish, exit::REJECTED, vec![text], now_ms);
            }
        }
    }

    /// It ended; if it has not said what it came to, that is its verdict.
    pub(super) fn rehearsal_ended(&mut self, pid: i32, ended: Exit, now_ms: u64) {
        if self
            .rehearsal(pid)
            .is_some_and(|rehearsal| !rehearsal.passed)
        {
            let what = match ended {
                Exit::Code(EXEC_FAILED) => "it cannot be executed, or lacks a library".to_owned(),
                Exit::Signal(number) if number == UnixSignal::SIGKILL as i32 => {
                    format!(
                        "it was killed, or gave no answer within {} s",
                        REHEARSAL_MS / 1_000
                    )
                }
                ended => format!("it ended ({ended}) without an answer"),
            };
            let fix = "install an undamaged polyport of a version that can adopt this one, or \
                       restart the daemon";
            self.rehearsed(pid, Err(format!("{what}\n  fix: {fix}")), now_ms);
        }
    }

    /// The wish and the program, once it has rehearsed.
    fn take_rehearsed(&mut self) -> Option<(Wish, Program)> {
        let passed = |reload: &mut Reload| match &reload.stage {
            Stage::Rehearsing(rehearsal) => rehearsal.passed,
            _ => false,
        };
        match self.changes.under_way.take_if(passed)? {
            Reload {
                wish,
                stage: Stage::Rehearsing(Rehearsal { program, .. }),
            } => Some((wish, program)),
            _ => None,
        }
    }

    fn has_rehearsed(&self) -> bool {
        let stage = self.changes.under_way.as_ref().map(|reload| &reload.stage);
        matches!(stage, Some(Stage::Rehearsing(rehearsal)) if rehearsal.passed)
    }
}

impl Supervisor {
    /// Becomes the program that has rehearsed, if there is one; returns if not.
    pub(super) fn replace_if_rehearsed(&mut self, now_ms: u64) {
        if !matches!(&self.phase, Phase::Living(life) if life.has_rehearsed()) {
            return;
        }
        let held = match HeldSignals::hold() {
            Ok(held) => held,
            Err(error) => return tracing::error!("signals cannot be held back: {error}"),
        };
        // What has come in the last moment is in a pipe, which ends here; what comes from now on
        // stays pending in the kernel.
        for asked in self.signals.take() {
            self.signalled(asked, now_ms);
        }
        let Phase::Living(life) = &mut self.phase else {
            return;
        };
        let Some((wish, program)) = life.take_rehearsed() else {
            return;
        };
        let path = self.children.path.display().to_string();
        tracing::info!("{}: {path} takes over", wish.cause);
        let wish = Wish {
            goal: Goal::Roll,
            ..wish
        };
        let packed = pack(life, &self.children, Some(&wish), now_ms);
        let error = match packed {
            Ok(packed) => replace(&program, packed, &held),
            Err(error) => error,
        };
        let wish = Wish {
            goal: Goal::Program,
            ..wish
        };
        let text = format!("{path} cannot take over: {error}");
        life.reject(&wish, exit::FAILED, vec![text], now_ms);
    }

    /// Goes on with what the program before left in this process.
    pub(super) fn adopt() -> Result<Supervisor, Ending> {
        let held = HeldSignals::inherited();
        let file = estate_file().ok_or_else(|| Ending {
            exit: exit::USAGE,
            text: format!(
                "`{}` is how an upgraded daemon goes on; you want `polyport run`",
                handed::ADOPT_VERB
            ),
        })?;
        let adopted = adoption::adopt(&file, exec::inherited).map_err(in_system)?;
        let (adopted, before) = adopted;
        let Adopted {
            mut life,
            mut children,
            started,
            sources,
        } = adopted;
        log::begin(&life.plan.daemon.log, "supervisor").map_err(in_system)?;
        let signals = Signals::install().map_err(in_system)?;
        drop(held);
        let version = env!("CARGO_PKG_VERSION");
        tracing::info!("polyport {version} has taken over from polyport {before}");
        let launch = super::Launch {
            sources,
            announce: None,
            all_or_nothing: false,
        };
        // What was seen of callbacks before is not known any more, and is counted anew.
        let now_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let workers: Vec<_> = children.workers().collect();
        for worker in workers {
            let event = Event::Worker(worker, News::Unstuck);
            life.handle(event, &mut children, now_ms);
        }
        // It speaks with the workers of this program from now on.
        life.renew_hub(&mut children, now_ms);
        Ok(Supervisor {
            started,
            launch,
            signals,
            children,
            phase: Phase::Living(Box::new(life)),
            inherited: Inherited::default(),
        })
    }
}

/// Returns only if it fails.
fn replace(program: &Program, packed: Packed<'_>, held: &HeldSignals) -> io::Error {
    let Packed { file, mut fds } = packed;
    let number = file.as_raw_fd().to_string();
    let words = ["polyport", handed::ADOPT_VERB, &number];
    let arguments: Vec<CString> = words
        .iter()
        .map(|word| CString::new(*word).expect("no NUL in these words"))
        .collect();
    // What a service manager handed over at the start has found its place: the numbers mean others now.
    let environment: Vec<CString> = std::env::vars_os()
        .filter(|(name, _)| !name.as_encoded_bytes().starts_with(b"LISTEN_"))
        .filter_map(|(mut name, value)| {
            name.push("=");
            name.push(value);
            CString::new(name.into_vec()).ok()
        })
        .collect();
    fds.push(file.as_fd());
    exec::replace(program, &arguments, &environment, &fds, held)
}

/// The descriptor that the command line names.
fn estate_file() -> Option<OwnedFd> {
    let number = std::env::args_os().nth(2)?.to_str()?.parse().ok()?;
    let file = exec::inherited(&[number]).ok()?.pop()?;
    handed::is_sealed(&file).then_some(file)
}

fn in_system(error: impl std::fmt::Display) -> Ending {
    Ending {
        exit: exit::SYSTEM,
        text: format!("cannot take over: {error}"),
    }
}

/// The file that is installed there, if nobody but root and the daemon's user can have written it.
fn open(path: &Path) -> Result<Program, String> {
    let refused = |what: &str, fix: &str| {
        let path = path.display();
        format!("the program {path} {what}\n  fix: {fix}")
    };
    let file = verify::open_program(path).map_err(|error| {
        let fix = "install it where it was when the daemon was first started, written by nobody \
                   but root and the daemon's user";
        refused(&format!("is not taken: {error}"), fix)
    })?;
    let facts = fstat(&file).map_err(|errno| refused(errno.desc(), "look at the file"))?;
    let runs = Mode::S_IXUSR | Mode::S_IXGRP | Mode::S_IXOTH;
    if !Mode::from_bits_truncate(facts.st_mode).intersects(runs) {
        return Err(refused("is not executable", "chmod +x it"));
    }
    Ok(Program::of(file))
}
