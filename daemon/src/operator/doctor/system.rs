//! What `doctor` finds on this machine, whatever is configured: kernel, sandbox, limits.

use std::fs;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::sys::utsname::uname;

use super::Finding;
use crate::sys::sandbox;

/// The oldest kernel that is tested (its release is what `uname -r` prints).
const KERNEL_OLDEST: (u32, u32) = (5, 10);

pub(super) fn findings() -> Vec<Finding> {
    vec![kernel(), memory_files(), descriptors()]
}

fn kernel() -> Finding {
    let release = uname().map(|name| name.release().to_string_lossy().into_owned());
    let release = release.unwrap_or_else(|error| error.to_string());
    let mut numbers = release.split(['.', '-']).map(|part| part.parse().ok());
    let version = numbers.next().flatten().zip(numbers.next().flatten());
    match version {
        Some(version) if version >= KERNEL_OLDEST => Finding::fine("kernel", release),
        Some(_) | None => {
            let (major, minor) = KERNEL_OLDEST;
            let fix = format!("use Linux {major}.{minor} or newer");
            Finding::wrong("kernel", release, fix)
        }
    }
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
