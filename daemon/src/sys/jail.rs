//! Gives up identity and capabilities, and bounds what a process may use.
//!
//! The list in [`drop_identity`] is the order: each step needs a privilege that a later one takes
//! away. It is followed by the proof, because a call that reports success and changes nothing has
//! been the hole in more than one daemon. What a process may still ask of the kernel afterwards is
//! `sandbox`'s business.
//!
//! Invariant: after it returns `Ok`, no capability is left in any set, no program brings one back, and
//! root is out of reach, unless the daemon was told to keep root's identity.

use std::fmt;

use caps::{CapSet, Capability};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid, setuid};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JailError {
    step: &'static str,
    why: String,
}

impl fmt::Display for JailError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}\n  fix: start the daemon as root or with CAP_SETUID, CAP_SETGID and CAP_SETPCAP, \
             or leave out `user`",
            self.step, self.why
        )
    }
}

impl std::error::Error for JailError {}

/// Becomes `identity`, or keeps the present one, and empties all capabilities either way.
pub fn drop_identity(identity: Option<(u32, u32)>) -> Result<(), JailError> {
    let failed = |step| {
        move |errno: Errno| JailError {
            step,
            why: errno.desc().to_owned(),
        }
    };

    // 1. What exec could give back: taken first, because it needs CAP_SETPCAP. Without that
    //    capability no_new_privs has to do, which is the last step.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP).unwrap_or(false) {
        empty(CapSet::Bounding, "drop the bounding capabilities")?;
    }
    if let Some((uid, gid)) = identity.map(|(uid, gid)| (Uid::from_raw(uid), Gid::from_raw(gid))) {
        let already = Uid::effective() == uid && Gid::effective() == gid && !uid.is_root();
        if !already {
            // 2. Groups of the starter, while setting them is still allowed.
            setgroups(&[]).map_err(failed("setgroups"))?;
            // 3. The group before the user, for the same reason.
            setresgid(gid, gid, gid).map_err(failed("setresgid"))?;
        }
        // 4. Real, effective and saved: with a saved root the way back would be open.
        setresuid(uid, uid, uid).map_err(failed("setresuid"))?;
    }
    // 5. What children would inherit.
    empty(CapSet::Ambient, "drop the ambient capabilities")?;
    empty(CapSet::Inheritable, "drop the inheritable capabilities")?;
    // 6. What this process has; permitted last, as it bounds the others.
    empty(CapSet::Effective, "drop the effective capabilities")?;
    empty(CapSet::Permitted, "drop the permitted capabilities")?;
    // 7. What a program with another owner's rights would bring back, whatever the sandbox is set to.
    prctl::set_no_new_privs().map_err(failed("no_new_privs"))?;

    prove(identity)
}

/// Tries the way back.
fn prove(identity: Option<(u32, u32)>) -> Result<(), JailError> {
    let open = |step, why: &str| {
        Err(JailError {
            step,
            why: why.to_owned(),
        })
    };
    for set in [
        CapSet::Permitted,
        CapSet::Effective,
        CapSet::Inheritable,
        CapSet::Ambient,
    ] {
        if caps::read(None, set).map_or(true, |left| !left.is_empty()) {
            return open("prove the capabilities", "some are left");
        }
    }
    if prctl::get_no_new_privs() != Ok(true) {
        return open("prove no_new_privs", "it is not set");
    }
    let Some((uid, gid)) = identity else {
        return Ok(());
    };
    if Uid::current().as_raw() != uid || Gid::current().as_raw() != gid {
        return open("prove the identity", "it is another than was asked for");
    }
    if uid != 0 && setuid(Uid::from_raw(0)).is_ok() {
        return open("prove the identity", "the way back to root is open");
    }
    Ok(())
}

/// Where nothing is left no system call is made: a service manager may have forbidden it.
fn empty(set: CapSet, step: &'static str) -> Result<(), JailError> {
    if caps::read(None, set).is_ok_and(|left| left.is_empty()) {
        return Ok(());
    }
    caps::clear(None, set).map_err(|error| JailError {
        step,
        why: error.to_string(),
    })
}

// --- resource limits ---------------------------------------------------------------------------

/// A worker has as many descriptors as the system lets it.
pub fn limits_for_worker() -> nix::Result<()> {
    raise_descriptors()
}

/// As many descriptors as the system allows this process.
pub fn raise_descriptors() -> nix::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
}

/// A probe runs code that nobody has tried: it may use little of anything.
pub fn limits_for_probe(file_bytes_max: u64) -> nix::Result<()> {
    let limits = [
        (Resource::RLIMIT_AS, 1 << 30),
        (Resource::RLIMIT_CPU, 10),
        (Resource::RLIMIT_NOFILE, 64),
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_FSIZE, file_bytes_max),
    ];
    // A log line into a file then fails instead of ending the probe (setrlimit(2), RLIMIT_FSIZE).
    // SAFETY: ignoring a signal runs no handler.
    unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) }?;
    for (resource, limit) in limits {
        // The starter's own limit may be lower, and a raise would be refused.
        let (_, hard) = getrlimit(resource)?;
        let limit = if hard == RLIM_INFINITY {
            limit
        } else {
            limit.min(hard)
        };
        setrlimit(resource, limit, limit)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::sandbox::tests::in_child;
    use nix::sys::wait::WaitStatus;

    fn passes(rule: &str, work: impl FnOnce() -> bool) {
        let status = in_child(|| i32::from(!work()));
        assert!(
            matches!(status, WaitStatus::Exited(_, 0)),
            "{rule}: {status:?}"
        );
    }

    fn nothing_is_left() -> bool {
        [
            CapSet::Permitted,
            CapSet::Effective,
            CapSet::Inheritable,
            CapSet::Ambient,
        ]
        .into_iter()
        .all(|set| caps::read(None, set).is_ok_and(|left| left.is_empty()))
            && prctl::get_no_new_privs() == Ok(true)
    }

    #[test]
    fn capabilities_are_emptied_whatever_the_identity() {
        passes("kept identity", || {
            drop_identity(None).is_ok() && nothing_is_left()
        });
        let own = (Uid::current().as_raw(), Gid::current().as_raw());
        passes("own identity", || {
            drop_identity(Some(own)).is_ok() && nothing_is_left()
        });
    }

    /// As systemd's units have it: who has no capability has nothing to lay down.
    #[test]
    fn nothing_is_laid_down_where_there_is_nothing() {
        use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
        passes("capset is refused", || {
            let filter = SeccompFilter::new(
                [(libc::SYS_capset, Vec::new())].into(),
                SeccompAction::Allow,
                SeccompAction::Errno(libc::EPERM as u32),
                std::env::consts::ARCH.try_into().expect("it is known"),
            );
            let program = BpfProgram::try_from(filter.expect("a filter")).expect("it fits");
            // Root is left first, and with it all that it could do.
            let left = !Uid::current().is_root() || setuid(Uid::from_raw(65_534)).is_ok();
            left && apply_filter(&program).is_ok()
                && drop_identity(None).is_ok()
                && nothing_is_left()
        });
    }

    #[test]
    fn another_identity_is_taken_for_good_or_refused() {
        const NOBODY: (u32, u32) = (65_534, 65_534);
        if !Uid::current().is_root() {
            passes("not root", || {
                drop_identity(Some(NOBODY)).is_err_and(|error| error.step == "setgroups")
            });
            return;
        }
        passes("root", || {
            drop_identity(Some(NOBODY)).is_ok()
                && nothing_is_left()
                && Uid::effective().as_raw() == NOBODY.0
                && nix::unistd::getgroups().is_ok_and(|groups| groups.is_empty())
                && setuid(Uid::from_raw(0)) == Err(Errno::EPERM)
                && setresgid(Gid::from_raw(0), Gid::from_raw(0), Gid::from_raw(0))
                    == Err(Errno::EPERM)
        });
    }

    #[test]
    fn a_probe_is_bounded_and_survives_its_bounds() {
        let path = std::env::temp_dir().join(format!("polyport-fsize-{}", std::process::id()));
        passes("limits", || {
            let Ok(file) = std::fs::File::create(&path) else {
                return false;
            };
            limits_for_probe(1 << 20).is_ok()
                && std::os::unix::fs::FileExt::write_at(&file, b"x", 1 << 20)
                    .is_err_and(|error| error.raw_os_error() == Some(libc::EFBIG))
                && getrlimit(Resource::RLIMIT_CORE) == Ok((0, 0))
                && std::panic::catch_unwind(|| Vec::<u8>::new().try_reserve_exact(2 << 30).is_err())
                    .unwrap_or(false)
        });
        std::fs::remove_file(path).expect("removed");
    }

    #[test]
    fn a_worker_has_all_descriptors_it_can_have() {
        passes("limits", || {
            limits_for_worker().is_ok()
                && getrlimit(Resource::RLIMIT_NOFILE).is_ok_and(|(soft, hard)| soft == hard)
        });
    }
}
