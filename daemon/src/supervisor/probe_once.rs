//! One probe outside a daemon, for an operator's verb: started, heard, reaped.
//!
//! The plugin runs in a child here too, so what it does to its process is no harm to the verb. Several
//! probes at once, and what follows from a verdict, are `preparation`'s business.
//!
//! Invariant: when it returns, the child is gone and reaped.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use super::children::{Children, Kind};
use super::preparation::{PROBE_AT_START_MS, how_it_died, printable, probe_died};
use crate::channel::{Brief, DIARY_BYTES, Depth, ProbeBrief, Report, what_happened_last};
use crate::lifecycle::Exit;
use crate::plan::Descriptor;
use crate::sys::shared_memory::SharedWords;
use crate::sys::spawn::watch;

/// Waits for the verdict, at most as long as a daemon that starts would.
pub fn probe_once(brief: ProbeBrief) -> Result<Descriptor, String> {
    let service = brief.service.clone();
    let plugin = brief.plan.plugin.clone();
    let failed = |error: io::Error| format!("services.{service}: cannot probe: {error}");
    let mut children = Children::new().map_err(failed)?;
    let kind = Kind::Probe(service.clone());
    let out = match brief.depth {
        // What it renders is for whoever reads us; a child's own standard output is its log.
        Depth::Render(_) => Some(io::stdout().as_fd().try_clone_to_owned().map_err(failed)?),
        Depth::Conformance(_) => Some(SharedWords::file("diary", DIARY_BYTES).map_err(failed)?),
        Depth::Handshake | Depth::Settings => None,
    };
    let is_trial = matches!(brief.depth, Depth::Conformance(_));
    let handed: Vec<BorrowedFd<'_>> = out.iter().map(AsFd::as_fd).collect();
    let pid = children
        .start(kind, &Brief::Probe(brief), &handed, None)
        .map_err(failed)?;
    let heard = hear(&mut children, pid);
    // With a verdict it has nothing more to do, and without one its time is up or it is dead.
    children.kill(pid, Signal::SIGKILL);
    let (_, exit) = children
        .bury(pid)
        .expect("started above and not buried yet");
    let verdict = heard.map_err(failed)?;
    verdict.unwrap_or_else(|| {
        Err(match out.filter(|_| is_trial) {
            Some(diary) => trial_died(exit, diary.into()),
            None => probe_died(&service, &plugin, exit, PROBE_AT_START_MS),
        })
    })
}

/// It was taken before, so this is for its author.
fn trial_died(exit: Exit, diary: File) -> String {
    let what = how_it_died(exit, PROBE_AT_START_MS);
    let mut page = [0; DIARY_BYTES];
    let written = diary.read_at(&mut page, 0).unwrap_or(0);
    let text = String::from_utf8_lossy(&page[..written]).into_owned();
    let text = text.trim_end_matches('\0').trim_end();
    format!(
        "the plugin {what}\n  what happened last:{}\n  fix: the last line is what was done last, and the last that is not indented the call that has \
         not returned; play the same in a test, under a sanitizer or a debugger",
        what_happened_last(text)
    )
}

/// Until it has said something, or is dead, or has had its time.
fn hear(children: &mut Children, pid: i32) -> io::Result<Option<Result<Descriptor, String>>> {
    let life = watch(pid)?;
    let until = Instant::now() + Duration::from_millis(PROBE_AT_START_MS);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut fds = vec![PollFd::new(life.as_fd(), PollFlags::POLLIN)];
        fds.extend(children.channels().map(|(_, channel)| channel));
        let woken = poll(&mut fds, timeout);
        let is_dead = fds[0].any().unwrap_or(true);
        // Its time is counted here; what the table would add for a closed channel is not needed.
        for heard in children.listen(pid, 0) {
            match heard {
                Ok(Report::Admitted { .. }) => {
                    return children.answer(pid).map(|d| Some(Ok(printable(d))));
                }
                Ok(Report::Refused { text }) => return Ok(Some(Err(text))),
                Ok(_) | Err(_) => {}
            }
        }
        if is_dead || woken == Ok(0) {
            return Ok(None);
        }
    }
}
