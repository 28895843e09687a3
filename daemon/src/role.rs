//! What a child of the supervisor does: take what it was handed, then play its part.
//!
//! A child is told everything by its brief; its command line is for readers of `ps` only. Whoever
//! starts this by hand lacks the channel and is told so.

use std::fs::File;
use std::os::fd::OwnedFd;

use crate::channel::{Brief, Channel, CheckBrief, Depth, ProbeBrief, Report, handed};
use crate::exit;
use crate::plan::{Needs, SandboxPolicy};
use crate::supervisor::rehearse;
use crate::sys::sandbox::Profile;
use crate::sys::{jail, orphan, sandbox, spawn};
use crate::terminal::complain;
use crate::{hub, log, plan, plugin_host, worker};

/// Returns the exit code.
pub fn play() -> u8 {
    match handed_over() {
        Some((channel, Brief::Check(brief), answer)) => check(&channel, &brief, answer),
        Some((channel, Brief::Probe(brief), answer)) => probe(&channel, &brief, answer),
        Some((channel, Brief::Hub(brief), _)) => hub::process::play(&channel, &brief),
        Some((channel, Brief::Worker(brief), board)) => worker::play(channel, brief, board),
        Some((channel, Brief::Rehearsal(brief), _)) => tell(&channel, Ok(rehearse(&brief))),
        None => {
            let text = format!(
                "`{}` is how the supervisor starts its children; you want `polyport run`",
                handed::CHILD_VERB
            );
            complain(exit::USAGE, &text)
        }
    }
}

/// Channel, brief, and the third descriptor.
fn handed_over() -> Option<(Channel, Brief, OwnedFd)> {
    let fds = spawn::take_handed(0, handed::FIXED_FDS)?;
    let [channel, brief, third] = <[OwnedFd; handed::FIXED_FDS]>::try_from(fds).ok()?;
    let channel = Channel::adopt(channel)?;
    // Only the supervisor seals.
    if !handed::is_sealed(&brief) {
        return None;
    }
    let brief = handed::read(&brief).ok()?;
    Some((channel, brief, third))
}

/// What the plan says of the sandbox is not known yet.
fn check(channel: &Channel, brief: &CheckBrief, answer: OwnedFd) -> u8 {
    let _ = log::begin(&log::early(), "check");
    let (policy, needs) = (SandboxPolicy::BestEffort, Needs::default());
    if let Err(why) = sandbox::close(policy, &needs, Profile::Check) {
        return tell(channel, Err(why));
    }
    let planned = plan::run_check(brief);
    sandbox::tell();
    let report = match planned {
        Ok(plan) => handed::answer(answer, &plan).map(|bytes| Report::Resolved { bytes }),
        Err(complaints) => {
            let lines: Vec<String> = complaints.iter().map(ToString::to_string).collect();
            handed::answer(answer, &lines).map(|bytes| Report::Rejected { bytes })
        }
    };
    tell(channel, report.map_err(|error| error.to_string()))
}

fn probe(channel: &Channel, brief: &ProbeBrief, answer: OwnedFd) -> u8 {
    let _ = log::begin(&log::early(), &format!("probe {}", brief.service));
    let identity = brief.daemon.numbers_for(&brief.plan);
    let closed = jail::limits_for_probe(brief.depth.file_bytes_max())
        .map_err(|error| error.to_string())
        .and_then(|()| jail::drop_identity(identity).map_err(|error| error.to_string()))
        .and_then(|()| orphan::end_with_parent().map_err(|error| error.to_string()));
    let out = match brief.depth {
        Depth::Render(_) | Depth::Conformance(_) => spawn::take_handed(handed::FIXED_FDS, 1),
        Depth::Handshake | Depth::Settings => None,
    };
    let out = out.and_then(|mut fds| fds.pop()).map(File::from);
    let verdict = closed.and_then(|()| {
        plugin_host::probe::run(brief, out, |needs| {
            let level = sandbox::close(brief.daemon.sandbox, needs, Profile::Probe);
            level.map(drop).map_err(|error| error.to_string())
        })
        .map_err(sandbox::explain)
    });
    sandbox::tell();
    let report = match verdict {
        Ok(descriptor) => handed::answer(answer, &descriptor)
            .map(|bytes| Report::Admitted { bytes })
            .map_err(|error| error.to_string()),
        Err(text) => Ok(Report::refused(text)),
    };
    tell(channel, report)
}

fn tell(channel: &Channel, report: Result<Report, String>) -> u8 {
    match report.and_then(|report| channel.send(&report).map_err(|error| error.to_string())) {
        Ok(()) => exit::DONE,
        Err(error) => complain(
            exit::INTERNAL,
            &format!("a child could not report: {error}"),
        ),
    }
}
