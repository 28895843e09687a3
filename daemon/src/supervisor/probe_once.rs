//! One probe outside a daemon, for an operator's verb: started, heard, reaped.
//!
//! The plugin runs in a child here too, so what it does to its process is no harm to the verb. Several
//! probes at once, and what follows from a verdict, are `preparation`'s business.
//!
//! Invariant: when it returns, the child is gone and reaped.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use super::children::{Children, Kind};
use super::preparation::{PROBE_AT_START_MS, printable, probe_died};
use crate::channel::{Brief, Depth, ProbeBrief, Report};
use crate::plan::Descriptor;
use crate::sys::spawn::watch;

/// Waits for the verdict, at most as long as a daemon that starts would.
pub fn probe_once(brief: ProbeBrief) -> Result<Descriptor, String> {
    let service = brief.service.clone();
    let plugin = brief.plan.plugin.clone();
    let failed = |error: io::Error| format!("services.{service}: cannot probe: {error}");
    let mut children = Children::new().map_err(failed)?;
    let kind = Kind::Probe(service.clone());
    // What it renders is for whoever reads us; a child's own standard output is its log.
    let out = match brief.depth {
        Depth::Render(_) => Some(io::stdout().as_fd().try_clone_to_owned().map_err(failed)?),
        _ => None,
    };
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
    verdict.unwrap_or_else(|| Err(probe_died(&service, &plugin, exit, PROBE_AT_START_MS)))
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
