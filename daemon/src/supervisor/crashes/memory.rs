//! Whether the kernel has killed somebody here because memory ran out, as its control group counts it.
//!
//! The count is of the whole group; in both versions of control groups it is a line of the same form. It
//! is read only when somebody has died of SIGKILL, and a growth is given to that one, or to as many as it
//! says and die of SIGKILL shortly after; where there is no such count, memory never ran out.

use std::fs;
use std::path::PathBuf;

/// Of several whom the kernel takes at once the last ones are gone a little later: they have memory to
/// give back.
const TOGETHER_MS: u64 = 5_000;

#[derive(Debug)]
pub(super) struct OutOfMemory {
    events: Option<PathBuf>,
    seen: u64,
    /// Counted, and nobody's so far.
    left: u64,
    /// Until then.
    until_ms: u64,
}

impl OutOfMemory {
    /// Of the group that this process is in.
    pub(super) fn watch() -> OutOfMemory {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mut counts = groups.lines().filter_map(count_of);
        let events = counts.find(|path| path.exists());
        let mut watched = OutOfMemory {
            events,
            seen: 0,
            left: 0,
            until_ms: 0,
        };
        watched.look(0);
        watched.left = 0;
        watched
    }

    /// Whether the kernel has taken somebody whom nobody was told of yet.
    pub(super) fn took_one(&mut self, now_ms: u64) -> bool {
        self.look(now_ms);
        let took = self.left > 0 && now_ms <= self.until_ms;
        self.left = if took { self.left - 1 } else { 0 };
        took
    }

    fn look(&mut self, now_ms: u64) {
        let text = self
            .events
            .as_ref()
            .and_then(|path| fs::read_to_string(path).ok());
        let count = text.as_deref().and_then(kills).unwrap_or(self.seen);
        if count > self.seen {
            self.left += count - self.seen;
            self.until_ms = now_ms.saturating_add(TOGETHER_MS);
        }
        self.seen = count;
    }
}

/// Where the count of one line of /proc/self/cgroup stands, if that is of memory.
fn count_of(line: &str) -> Option<PathBuf> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, own) = (fields.next()?, fields.next()?);
    let (hierarchy, count) = match controllers {
        // The one hierarchy of version 2 has no name (cgroups(7)).
        "" => ("/sys/fs/cgroup", "memory.events"),
        of if of.split(',').any(|it| it == "memory") => {
            ("/sys/fs/cgroup/memory", "memory.oom_control")
        }
        _ => return None,
    };
    Some(
        PathBuf::from(hierarchy)
            .join(own.trim_start_matches('/'))
            .join(count),
    )
}

fn kills(events: &str) -> Option<u64> {
    let line = events
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "));
    line?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_in_both_versions_of_control_groups() {
        for (line, expected) in [
            ("0::/", Some("/sys/fs/cgroup/memory.events")),
            (
                "0::/system.slice/polyport.service",
                Some("/sys/fs/cgroup/system.slice/polyport.service/memory.events"),
            ),
            (
                "4:memory:/a:b",
                Some("/sys/fs/cgroup/memory/a:b/memory.oom_control"),
            ),
            (
                "3:cpu,memory:/",
                Some("/sys/fs/cgroup/memory/memory.oom_control"),
            ),
            ("9:name=systemd:/", None),
            ("nonsense", None),
        ] {
            assert_eq!(count_of(line), expected.map(PathBuf::from), "{line}");
        }
    }

    #[test]
    fn a_growth_of_the_count_is_told_once() {
        let file = std::env::temp_dir().join(format!("pp-memory-events-{}", std::process::id()));
        let mut watched = OutOfMemory {
            events: Some(file.clone()),
            seen: 2,
            left: 0,
            until_ms: 0,
        };
        assert!(!watched.took_one(1), "there is no such file");
        for (now_ms, text, expected) in [
            (2, "low 0\noom 9\noom_kill 2\noom_group_kill 0\n", false),
            (3, "low 0\noom 9\noom_kill 3\noom_group_kill 0\n", true),
            (3, "low 0\noom 9\noom_kill 3\noom_group_kill 0\n", false),
            (4, "nothing of the kind", false),
            (5, "oom_kill 4\n", true),
            (6, "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n", true),
            // Two at once, and a third whom somebody else killed.
            (7, "oom_kill 7\n", true),
            (TOGETHER_MS + 7, "oom_kill 7\n", true),
            (TOGETHER_MS + 7, "oom_kill 7\n", false),
            // Whom else it was, died as no worker.
            (10_000, "oom_kill 9\n", true),
            (10_001 + TOGETHER_MS, "oom_kill 9\n", false),
            (10_001 + TOGETHER_MS, "oom_kill 9\n", false),
        ] {
            fs::write(&file, text).expect("written");
            assert_eq!(watched.took_one(now_ms), expected, "{now_ms} {text:?}");
        }
        fs::remove_file(&file).expect("removed");
    }
}
