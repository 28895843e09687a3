//! Why an address could not be had, said to the administrator: service, key, endpoint, remedy.
//!
//! The same number of the system means different things for a port and for a path; which is meant
//! is decided here and nowhere else.

use std::fmt;

use nix::errno::Errno;

use super::options::OptionError;

/// Why an address could not be had; `Display` says what to do.
#[derive(Debug)]
pub(in crate::supervisor) struct BindError {
    pub(super) service: String,
    /// As written.
    pub(super) endpoint: String,
    pub(super) internet: bool,
    pub(super) trouble: Trouble,
}

#[derive(Debug)]
pub(super) enum Trouble {
    Bind(Errno),
    Option(OptionError),
    /// Another kind of file has the path.
    NoSocket,
}

impl From<Errno> for Trouble {
    fn from(error: Errno) -> Trouble {
        Trouble::Bind(error)
    }
}

impl From<OptionError> for Trouble {
    fn from(error: OptionError) -> Trouble {
        Trouble::Option(error)
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BindError {
            service,
            endpoint,
            internet,
            trouble,
        } = self;
        let socket = format!("services.{service}.socket");
        let error = match trouble {
            Trouble::Bind(error) => error,
            // What nobody wrote has no key.
            Trouble::Option(OptionError { key: "", error, .. }) => error,
            Trouble::Option(error) => {
                return explain_option(error, &socket, endpoint, f);
            }
            Trouble::NoSocket => {
                return write!(
                    f,
                    "services.{service}.listen: cannot listen on {endpoint}: there is a file that \
                     is no socket; remove it, or choose another path"
                );
            }
        };
        write!(
            f,
            "services.{service}.listen: cannot listen on {endpoint}: "
        )?;
        match internet {
            true => explain_internet(*error, f),
            false => explain_unix(*error, f),
        }
    }
}

fn explain_option(
    error: &OptionError,
    table: &str,
    endpoint: &str,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let OptionError { key, needs, error } = error;
    write!(f, "{table}.{key}: cannot be set on {endpoint}: ")?;
    match (error, needs) {
        (Errno::EPERM | Errno::EACCES, Some(capability)) => {
            write!(
                f,
                "no permission; it needs root, or the capability {capability}"
            )
        }
        (Errno::ENODEV, _) => {
            write!(
                f,
                "there is no such network interface; `ip link` lists those there are"
            )
        }
        // Only a file can be missing.
        (Errno::ENOENT, _) => f.write_str(
            "its path is not this daemon's socket any more; restart the daemon, which makes it anew",
        ),
        _ => f.write_str(error.desc()),
    }
}

fn explain_internet(error: Errno, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(match error {
        Errno::EADDRINUSE => {
            "the address is in use; `ss -lntup` shows by whom, or choose another port"
        }
        Errno::EACCES => {
            "no permission; ports below 1024 need the capability CAP_NET_BIND_SERVICE, which the \
             systemd unit grants, or root"
        }
        Errno::EADDRNOTAVAIL => "this machine has no such address; `ip address` lists those it has",
        other => return explain_any(other, f),
    })
}

fn explain_unix(error: Errno, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(match error {
        Errno::EADDRINUSE => "the name is in use; `ss -lxp` shows by whom, or choose another",
        Errno::ENOENT => "its folder does not exist; make it, owned by the daemon's user",
        Errno::EACCES | Errno::EPERM => {
            "no permission; the daemon's user must be able to write to its folder"
        }
        other => return explain_any(other, f),
    })
}

fn explain_any(error: Errno, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(match error {
        Errno::EAFNOSUPPORT => "this machine does not speak that address family",
        Errno::EMFILE | Errno::ENFILE => {
            "out of file descriptors; raise LimitNOFILE in the unit, or `ulimit -n`"
        }
        other => other.desc(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_key_and_what_would_help() {
        let option = |key, needs, error| Trouble::Option(OptionError { key, needs, error });
        let cases = [
            (
                option("mark", Some("CAP_NET_ADMIN"), Errno::EPERM),
                "services.x.socket.mark: cannot be set on tcp://*:1: no permission; it needs root, \
                 or the capability CAP_NET_ADMIN",
            ),
            (
                option("device", Some("CAP_NET_RAW"), Errno::ENODEV),
                "services.x.socket.device: cannot be set on tcp://*:1: there is no such network \
                 interface; `ip link` lists those there are",
            ),
            (
                option("ttl", None, Errno::EINVAL),
                "services.x.socket.ttl: cannot be set on tcp://*:1: Invalid argument",
            ),
            (
                option("", None, Errno::ENOPROTOOPT),
                "services.x.listen: cannot listen on tcp://*:1: Protocol not available",
            ),
            (
                option("owner", Some("CAP_CHOWN"), Errno::EPERM),
                "services.x.socket.owner: cannot be set on tcp://*:1: no permission; it needs root, \
                 or the capability CAP_CHOWN",
            ),
            (
                option("mode, owner or group", None, Errno::ENOENT),
                "services.x.socket.mode, owner or group: cannot be set on tcp://*:1: its path is \
                 not this daemon's socket any more; restart the daemon, which makes it anew",
            ),
        ];
        for (trouble, expected) in cases {
            let error = BindError {
                service: "x".into(),
                endpoint: "tcp://*:1".into(),
                internet: true,
                trouble,
            };
            assert_eq!(error.to_string(), expected);
        }
    }
}
