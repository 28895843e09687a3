//! The mode in which nothing is refused and everything that would be is told: for writing a plugin.
//!
//! A thread of this process, made before the others are watched, hears of each call that no line
//! grants, notes it for `denials` and lets it pass. A process that a plugin starts is watched too.
//!
//! Invariant: a watched call waits for a thread that allocates nothing and takes no lock.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::mpsc;
use std::thread;

use super::{Profile, denials, filter};
use crate::plan::Needs;

pub(super) fn begin(needs: &Needs, profile: Profile) -> Result<(), String> {
    let (give, take) = mpsc::sync_channel::<OwnedFd>(1);
    thread::Builder::new()
        .name("sandbox".to_owned())
        .spawn(move || {
            if let Ok(listener) = take.recv() {
                while pass_one(listener.as_raw_fd()) {}
            }
        })
        .map_err(|error| error.to_string())?;
    denials::begin_without_refusing();
    let listener = filter::listen(needs, profile)?;
    give.send(listener).map_err(|error| error.to_string())
}

/// False once there is nobody to watch.
fn pass_one(listener: RawFd) -> bool {
    // SAFETY: all zeroes are what the kernel wants to find in it.
    let mut heard: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the listener is open, and the kernel fills a struct of the size in the request.
    if unsafe { libc::ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut heard) } != 0 {
        let error = nix::errno::Errno::last();
        // Whoever made the call may have been ended meanwhile.
        return matches!(error, nix::errno::Errno::EINTR | nix::errno::Errno::ENOENT);
    }
    denials::note(heard.data.nr);
    let mut answer = libc::seccomp_notif_resp {
        id: heard.id,
        val: 0,
        error: 0,
        flags: libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
    };
    // SAFETY: as above. If it fails, the caller is gone.
    unsafe { libc::ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer) };
    true
}
