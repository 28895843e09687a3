//! The daemon's directories, and the lock that keeps a second daemon out of them.
//!
//! Invariant: while a `Directories` lives, no other daemon has one of the same run directory.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::{AccessFlags, access};

use crate::control;
use crate::plan::DaemonPlan;

#[derive(Debug)]
pub(super) struct Directories {
    run_dir: PathBuf,
    pub(super) lock: Flock<File>,
}

impl Directories {
    /// Makes what is missing and takes the lock; the text of an error is for the administrator.
    pub(super) fn claim(plan: &DaemonPlan) -> Result<Directories, String> {
        make("run_dir", &plan.run_dir)?;
        make("state_dir", &plan.state_dir)?;
        let store = plan.state_dir.join("plugins");
        make("state_dir", &store)?;
        // Nothing would be written there before the first service wants its plugin, and none could serve.
        access(&store, AccessFlags::W_OK | AccessFlags::X_OK).map_err(|errno| {
            let (place, why) = (store.display(), errno.desc());
            format!(
                "daemon.state_dir: cannot write in {place}: {why}; make it writable for the \
                 daemon's user, or choose another"
            )
        })?;
        let path = plan.run_dir.join("polyport.lock");
        let problem = |error: &dyn std::fmt::Display| {
            format!("daemon.run_dir: cannot lock {}: {error}", path.display())
        };
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o644);
        let file = options.open(&path).map_err(|error| problem(&error))?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| {
            if error != Errno::EAGAIN {
                return problem(&error);
            }
            let pid = fs::read_to_string(&path).unwrap_or_default();
            let pid = pid
                .trim()
                .parse::<u32>()
                .map_or("unknown".into(), |pid| pid.to_string());
            format!(
                "another daemon (pid {pid}) already uses {}; stop it with `polyport stop`, or \
                 give this one its own daemon.run_dir",
                plan.run_dir.display()
            )
        })?;
        lock.set_len(0).map_err(|error| problem(&error))?;
        writeln!(&*lock, "{}", std::process::id()).map_err(|error| problem(&error))?;
        Ok(Directories {
            run_dir: plan.run_dir.clone(),
            lock,
        })
    }

    /// Whose lock another program in this process had taken.
    pub(super) fn adopted(run_dir: PathBuf, lock: OwnedFd) -> Result<Directories, String> {
        // Taking again what is held through the same open file changes nothing (flock(2)).
        let lock = Flock::lock(File::from(lock), FlockArg::LockExclusiveNonblock).map_err(
            |(_, error)| format!("the lock of {} is not held: {error}", run_dir.display()),
        )?;
        Ok(Directories { run_dir, lock })
    }

    pub(super) fn control_socket(&self) -> PathBuf {
        self.run_dir.join(control::SOCKET)
    }
}

fn make(key: &str, path: &Path) -> Result<(), String> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .map_err(|error| {
            format!(
                "daemon.{key}: cannot make {}: {error}; make it yourself, owned by the daemon's \
             user, or choose another",
                path.display()
            )
        })
}
