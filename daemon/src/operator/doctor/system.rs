//! What `doctor` finds on this machine, whatever is configured: kernel, sandbox, limits.

use std::fs;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::sys::utsname::uname;

use super::Finding;
use crate::sys::sandbox;

/// From this release on a kernel has every call that nothing stands in for; the youngest of them is
/// pidfd_open(2).
const KERNEL_OLDEST: (u32, u32) = (5, 3);
/// From this one on it can mark all descriptors at once (close_range(2) with CLOSE_RANGE_CLOEXEC).
const KERNEL_MARKS_ALL: (u32, u32) = (5, 11);

pub(super) fn findings() -> Vec<Finding> {
    vec![kernel(), memory_files(), descriptors()]
}

fn kernel() -> Finding {
    let release = uname().map(|name| name.release().to_string_lossy().into_owned());
    let release = release.unwrap_or_else(|error| error.to_string());
    of_release(release)
}

fn of_release(release: String) -> Finding {
    let mut numbers = release.split(['.', '-']).map(|part| part.parse().ok());
    let version = numbers.next().flatten().zip(numbers.next().flatten());
    let ((major, minor), why) = match version {
        Some(version) if version >= KERNEL_MARKS_ALL => return Finding::fine("kernel", release),
        Some(version) if version >= KERNEL_OLDEST => (
            KERNEL_MARKS_ALL,
            "on this one workers also get what whoever starts the daemon leaves open to it",
        ),
        Some(_) | None => (KERNEL_OLDEST, "an older one lacks calls that are needed"),
    };
    let fix = format!("use Linux {major}.{minor} or newer: {why}");
    Finding::wrong("kernel", release, fix)
}

/// Briefs, scoreboards and answers are such files.
fn memory_files() -> Finding {
    let what = "sealed memory files";
    match crate::channel::handed::brief(&"") {
        Ok(_) => Finding::fine(what, "yes"),
        Err(error) => Finding::wrong(
            what,
            error.to_string(),
            "allow memfd_create(2) where the daemon runs",
        ),
    }
}

fn descriptors() -> Finding {
    let what = "RLIMIT_NOFILE";
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, hard)) => Finding::fine(what, format!("{} (soft {soft})", limit(hard))),
        Err(error) => Finding::wrong(what, error.to_string(), "allow getrlimit(2)"),
    }
}

pub(super) fn limit(number: u64) -> String {
    match number {
        RLIM_INFINITY => "unlimited".to_owned(),
        number => number.to_string(),
    }
}

/// The level that workers would reach.
pub(super) fn sandbox() -> Finding {
    let level = sandbox::level_of_a_worker().unwrap_or_else(|text| text);
    match level.contains("no ") || !level.contains("seccomp") {
        false => Finding::fine("sandbox", level),
        true => Finding::wrong(
            "sandbox",
            level,
            "use Linux 6.12 or newer with Landlock in its list of security modules (lsm=)",
        ),
    }
}

/// A number below /proc/sys, by its name with dots.
pub(super) fn sysctl(name: &str) -> Option<u64> {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    let text = fs::read_to_string(path).ok()?;
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_release_is_good_for() {
        for (release, fix) in [
            ("6.1.0-18-amd64", None),
            ("5.11", None),
            ("5.10.0-28-amd64", Some("5.11 or newer: on this one")),
            ("5.3.18", Some("5.11 or newer: on this one")),
            ("4.19.0", Some("5.3 or newer: an older one lacks")),
            ("unknown", Some("5.3 or newer: an older one lacks")),
        ] {
            let found = of_release(release.to_owned()).fix;
            let fits = match (&found, fix) {
                (Some(found), Some(part)) => found.contains(part),
                (found, part) => found.is_none() && part.is_none(),
            };
            assert!(fits, "{release}: {found:?}");
        }
    }
}
