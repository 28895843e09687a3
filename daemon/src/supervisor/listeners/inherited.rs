//! Sockets that were there before the daemon: kept by the service manager for it, or opened by a
//! socket unit.
//!
//! A name says nothing that can be relied on: whose a socket is shows in its own address, type and
//! state. What fits no endpoint is closed, with a warning, and never served.
//!
//! Invariant: a socket serves one endpoint at most.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{SockType, SockaddrStorage, UnixAddr, getsockname, getsockopt, sockopt};

use super::internet::local_address;
use super::{Listener, Origin};
use crate::plan::{Address, Endpoint, ServicePlan, UnixName};
use crate::sys::spawn;

/// Before the names that this daemon gave; a socket unit's are others.
const PREFIX: &str = "polyport-";

#[derive(Debug, Default)]
pub(in crate::supervisor) struct Inherited {
    sockets: Vec<Socket>,
}

#[derive(Debug)]
struct Socket {
    fd: OwnedFd,
    name: String,
    /// Or why it can serve nothing.
    address: Result<Address, String>,
}

impl Inherited {
    /// To be called before anything else is opened.
    pub(in crate::supervisor) fn take() -> Inherited {
        let Ok(handed) = sd_notify::listen_fds_with_names() else {
            return Inherited::default();
        };
        let names: Vec<String> = handed.map(|(_, name)| name).collect();
        let fds = spawn::take_handed(0, names.len()).unwrap_or_default();
        let sockets = fds.into_iter().zip(names).map(|(fd, name)| Socket {
            address: address_of(&fd),
            fd,
            name,
        });
        Inherited {
            sockets: sockets.collect(),
        }
    }

    /// What the manager keeps under our names.
    pub(in crate::supervisor) fn stored(&self) -> BTreeSet<String> {
        let names = self.sockets.iter().map(|socket| socket.name.clone());
        names.filter(|name| name.starts_with(PREFIX)).collect()
    }

    /// Those that are this service's.
    pub(in crate::supervisor) fn listeners(&mut self, plan: &ServicePlan) -> Vec<Rc<Listener>> {
        let endpoints = plan.endpoints.iter();
        let found = endpoints.filter_map(|endpoint| self.listener(endpoint, plan));
        found.map(Rc::new).collect()
    }

    fn listener(&mut self, endpoint: &Endpoint, plan: &ServicePlan) -> Option<Listener> {
        let fits = |socket: &Socket| {
            socket.address.as_ref() == Ok(&endpoint.address)
                && has_options(&socket.fd, &endpoint.address, plan)
        };
        let sockets = std::mem::take(&mut self.sockets);
        let (ours, others): (Vec<_>, Vec<_>) = sockets.into_iter().partition(fits);
        self.sockets = others;
        let first = ours.first()?;
        let origin = if first.name.starts_with(PREFIX) {
            Origin::Kept
        } else {
            Origin::Unit
        };
        tracing::info!(
            "{} goes on with {} sockets that were open before the start",
            endpoint.written,
            ours.len()
        );
        Some(Listener {
            endpoint: endpoint.written.clone(),
            asked: endpoint.address.clone(),
            local: endpoint.address.clone(),
            shards: ours.into_iter().map(|socket| socket.fd).collect(),
            origin,
            file: None,
        })
    }
}

/// What nobody wanted is closed here.
impl Drop for Inherited {
    fn drop(&mut self) {
        for Socket { name, address, .. } in &self.sockets {
            match address {
                Ok(address) => tracing::warn!(
                    "the service manager handed over {address} ({name}), which no service listens \
                     on in this way; it is closed\n  fix: write it as `listen` of a service, or \
                     take it out of the socket unit"
                ),
                Err(problem) => tracing::warn!(
                    "the service manager handed over a descriptor ({name}) that {problem}; it is \
                     closed"
                ),
            }
        }
    }
}

/// The name under which the manager keeps a shard: printable, without a colon.
pub(super) fn name_of(address: &Address, shard: usize) -> String {
    let mut name = format!("{PREFIX}{shard}-");
    for byte in address.to_string().bytes() {
        match byte {
            b':' | b'%' | ..=b' ' | 127.. => name.push_str(&format!("%{byte:02X}")),
            _ => name.push(char::from(byte)),
        }
    }
    name
}

/// Where it is bound, if it is a socket that could serve. It does not wait from here on.
fn address_of(socket: &OwnedFd) -> Result<Address, String> {
    let in_system = |error: Errno| match error {
        Errno::ENOTSOCK => "is no socket".to_owned(),
        error => format!("cannot be looked at: {error}"),
    };
    let kind = getsockopt(socket, sockopt::SockType).map_err(in_system)?;
    let stream = match kind {
        SockType::Stream => true,
        SockType::Datagram => false,
        _ => return Err("is neither a stream nor a datagram socket".to_owned()),
    };
    if stream && !getsockopt(socket, sockopt::AcceptConn).map_err(in_system)? {
        return Err("does not listen (a socket unit must not have Accept=yes)".to_owned());
    }
    let flags = fcntl(socket, FcntlArg::F_GETFL).map_err(in_system)?;
    let flags = OFlag::from_bits_retain(flags) | OFlag::O_NONBLOCK;
    fcntl(socket, FcntlArg::F_SETFL(flags)).map_err(in_system)?;
    if let Ok(at) = local_address(socket.as_fd()) {
        return Ok(if stream {
            Address::Tcp(at)
        } else {
            Address::Udp(at)
        });
    }
    let name: SockaddrStorage = getsockname(socket.as_raw_fd()).map_err(in_system)?;
    let name = name.as_unix_addr().and_then(unix_name);
    let name = name.ok_or("has an address of a kind that no service can have")?;
    Ok(if stream {
        Address::Unix(name)
    } else {
        Address::UnixDatagram(name)
    })
}

fn unix_name(address: &UnixAddr) -> Option<UnixName> {
    if let Some(path) = address.path() {
        return Some(UnixName::Path(path.to_owned()));
    }
    let name = address.as_abstract()?;
    Some(UnixName::Abstract(String::from_utf8(name.to_owned()).ok()?))
}

/// Whether it is what would have been bound: an address is another one with and without IPv4.
fn has_options(socket: &OwnedFd, address: &Address, plan: &ServicePlan) -> bool {
    match address.socket() {
        Some(at) if at.is_ipv6() => {
            getsockopt(socket, sockopt::Ipv6V6Only) == Ok(plan.socket.v6only)
        }
        Some(_) | None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_the_manager_takes() {
        for (address, name) in [
            (
                Address::Tcp("127.0.0.1:7".parse().expect("an address")),
                "polyport-3-tcp%3A//127.0.0.1%3A7",
            ),
            (
                Address::Udp("[fe80::1%2]:7".parse().expect("an address")),
                "polyport-3-udp%3A//[fe80%3A%3A1%252]%3A7",
            ),
            (
                Address::Unix(UnixName::Abstract("ä b".to_owned())),
                "polyport-3-unix%3A@%C3%A4%20b",
            ),
        ] {
            assert_eq!(name_of(&address, 3), name);
        }
    }
}
