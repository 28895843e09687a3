//! What the kernel says of a process and its descendants: processor time, wake-ups and
//! memory.
//!
//! Times come from the clocks of processes, which count nanoseconds; only for children that are gone
//! are the coarse ticks of `/proc` all there is. Nothing here changes another process.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

/// `USER_HZ`, the same on every architecture of Linux that Rust runs on but Alpha and IA-64.
const TICKS_PER_SECOND: u64 = 100;

/// Runs this on these cores only, with all processes that it starts; then the thread goes to another.
pub(crate) fn on_cores<R>(
    cores: &[usize],
    after: usize,
    run: impl FnOnce() -> R,
) -> nix::Result<R> {
    move_to(cores)?;
    let result = run();
    move_to(&[after])?;
    Ok(result)
}

pub(crate) fn move_to(cores: &[usize]) -> nix::Result<()> {
    let mut set = CpuSet::new();
    cores.iter().try_for_each(|core| set.set(*core))?;
    sched_setaffinity(Pid::from_raw(0), &set)
}

/// The process and all that descend from it.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let mut family = vec![pid];
    let mut at = 0;
    while let Some(pid) = family.get(at) {
        // Whoever has ended meanwhile has no children any more.
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.unwrap_or_default();
        family.extend(
            children
                .split_whitespace()
                .filter_map(|pid| pid.parse::<u32>().ok()),
        );
        at += 1;
    }
    family
}

/// Time on a processor, user and system, of the whole family, children that are gone included.
pub(crate) fn processor_time(pid: u32) -> Duration {
    let each = family(pid).into_iter().map(|pid| {
        let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(pid as i32));
        let time = clock
            .and_then(clock_gettime)
            .map_or(Duration::ZERO, Into::into);
        time + time_of_reaped_children(pid)
    });
    each.sum()
}

fn time_of_reaped_children(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The second field, a name in parentheses, may have spaces; cutime and cstime are 16 and 17.
    let after_name = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let fields = after_name.split_whitespace().skip(13).take(2);
    let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
}

/// How often the process went from running to waiting, with all its threads.
pub(crate) fn waits(pid: u32) -> u64 {
    let of_thread = |status: PathBuf| {
        let status = fs::read_to_string(status).unwrap_or_default();
        let mut lines = status.lines();
        let count = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        count.map_or(0, |count| count.trim().parse().unwrap_or(0))
    };
    // Whoever has ended meanwhile has no threads any more.
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter();
    let threads = threads.flatten().flatten();
    threads
        .map(|thread| of_thread(thread.path().join("status")))
        .sum::<u64>()
}

/// As many descriptors as the system lets this process have, for itself and those it starts.
pub(crate) fn raise_descriptor_limit() -> nix::Result<usize> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    Ok(most as usize)
}

/// Resident memory, the process's proportional share of it, and what no other process and no file has,
/// in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) resident: u64,
    pub(crate) proportional: u64,
    pub(crate) own: u64,
}

pub(crate) fn memory(pid: u32) -> io::Result<Memory> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let bytes = |name: &str| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        number.map(|kibibytes| kibibytes * 1024).ok_or_else(|| {
            let text = format!("/proc/{pid}/smaps_rollup has no line {name}");
            io::Error::new(io::ErrorKind::InvalidData, text)
        })
    };
    Ok(Memory {
        resident: bytes("Rss:")?,
        proportional: bytes("Pss:")?,
        own: bytes("Anonymous:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_of_its_own_family_and_has_memory_and_time() {
        let pid = std::process::id();
        assert_eq!(family(pid).first(), Some(&pid));
        assert!(processor_time(pid) > Duration::ZERO);
        let memory = memory(pid).expect("of this process");
        assert!(memory.proportional > 0 && memory.proportional <= memory.resident);
        assert!(memory.own > 0 && memory.own <= memory.proportional);
    }
}
