//! One probe outside a daemon, for an operator's verb: started, heard, reaped.

use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use super::children::{Children, Kind};
use super::preparation::{PROBE_MS, probe_died};
use crate::channel::{Brief, ProbeBrief, Report};
use crate::lifecycle::Exit;
use crate::plan::Descriptor;

/// Waits for the verdict, at most as long as a daemon would.
pub fn probe_once(brief: ProbeBrief) -> Result<Descriptor, String> {
    let service = brief.service.clone();
    let plugin = brief.plan.plugin.clone();
    let failed = |error: std::io::Error| format!("services.{service}: cannot probe: {error}");
    let mut children = Children::new().map_err(failed)?;
    let kind = Kind::Probe(service.clone());
    let pid = children
        .start(kind, &Brief::Probe(brief), &[], None)
        .map_err(failed)?;

    let until = Instant::now() + Duration::from_millis(PROBE_MS);
    let verdict = loop {
        for heard in children.listen(pid) {
            match heard {
                Ok(Report::Admitted { descriptor }) => return end(children, pid, Ok(*descriptor)),
                Ok(Report::Refused { text }) => return end(children, pid, Err(text)),
                Ok(_) | Err(_) => {}
            }
        }
        let Some((_, channel)) = children.channels().next() else {
            break None;
        };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break Some(Exit::Signal(Signal::SIGKILL as i32));
        }
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let _ = poll(&mut [PollFd::new(channel, PollFlags::POLLIN)], timeout);
    };
    // Its channel has ended or its time is up: it is dead, or is made so.
    let exit = match verdict {
        Some(exit) => exit,
        None => children.wait_for(pid),
    };
    end(children, pid, Err(probe_died(&service, &plugin, exit)))
}

fn end(
    mut children: Children,
    pid: i32,
    verdict: Result<Descriptor, String>,
) -> Result<Descriptor, String> {
    children.kill(pid, Signal::SIGKILL);
    children.wait_for(pid);
    verdict
}
