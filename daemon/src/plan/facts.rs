//! What resolving a configuration must know of this machine, asked for once and handed in.
//!
//! Kept apart from resolving so that the same configuration and facts always give the same plan.
//!
//! Invariant: nothing here changes anything on the machine.

use std::fs;
use std::io::Read;
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{Group, User};

/// The numbers of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserNumbers {
    pub uid: u32,
    /// Of its primary group.
    pub gid: u32,
}

/// A name looked up: `Ok(None)` if nobody has it, an error's text if that cannot be known.
pub type Looked<T> = Result<Option<T>, String>;

pub struct Facts {
    pub cpus: u16,
    /// The text of /etc/services, for names of ports.
    pub services: String,
    pub user: fn(&str) -> Looked<UserNumbers>,
    pub group: fn(&str) -> Looked<u32>,
    /// The number of a network interface.
    pub interface: fn(&str) -> Looked<u32>,
    pub exists: fn(&Path) -> bool,
}

impl Facts {
    pub fn of_this_machine() -> Facts {
        let cpus = std::thread::available_parallelism().map_or(1, |count| count.get());
        Facts {
            cpus: u16::try_from(cpus).unwrap_or(u16::MAX),
            services: services_text(),
            user: |name| {
                User::from_name(name)
                    .map(|user| {
                        user.map(|user| UserNumbers {
                            uid: user.uid.as_raw(),
                            gid: user.gid.as_raw(),
                        })
                    })
                    .map_err(|errno| errno.to_string())
            },
            group: |name| {
                Group::from_name(name)
                    .map(|group| group.map(|group| group.gid.as_raw()))
                    .map_err(|errno| errno.to_string())
            },
            interface: |name| match nix::net::if_::if_nametoindex(name) {
                Ok(number) => Ok(Some(number)),
                Err(Errno::ENODEV | Errno::ENXIO) => Ok(None),
                Err(errno) => Err(errno.to_string()),
            },
            exists: Path::exists,
        }
    }
}

/// Small systems have no such file; then ports have numbers only.
fn services_text() -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = fs::File::open("/etc/services") {
        // What was read before an error is still true.
        let _ = file.take(4 << 20).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_knows_root_and_nobody_of_a_made_up_name() {
        let facts = Facts::of_this_machine();
        assert!(facts.cpus >= 1);
        assert_eq!(
            (facts.user)("root"),
            Ok(Some(UserNumbers { uid: 0, gid: 0 }))
        );
        assert_eq!((facts.group)("root"), Ok(Some(0)));
        assert_eq!((facts.user)("no-such-user-here"), Ok(None));
        assert_eq!((facts.group)("no-such-group-here"), Ok(None));
        assert_eq!((facts.interface)("lo"), Ok(Some(1)));
        assert_eq!((facts.interface)("no-such-card"), Ok(None));
    }
}
