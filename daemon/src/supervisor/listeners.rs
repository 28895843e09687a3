//! Listeners: bound once, in shards, and kept as long as their address is configured.
//!
//! The queue of a listening socket dies with its last descriptor, so workers only borrow shards and
//! the supervisor keeps them open behind every worker that comes and goes. The number of shards is
//! fixed when an address is bound; the number of workers may change freely afterwards.
//!
//! Nothing is accepted and nothing is read here.
//!
//! Invariant: either every address of a set is bound, or none of them stays bound.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, getsockname, listen,
    setsockopt, socket, sockopt,
};

use crate::channel::ListenerBrief;
use crate::plan::{Address, Endpoint, ServicePlan};
use crate::sys::socket_option::defer_accept;

/// Seconds for which the kernel may hold back a silent peer where the plugin lets it speak first.
const DEFER_ACCEPT_S: i32 = 1;
/// More shards than this help nobody and cost a descriptor each in every worker.
const SHARDS_MAX: usize = 64;

/// A bound address of a service.
#[derive(Debug)]
pub(super) struct Listener {
    endpoint: String,
    local: SocketAddr,
    shards: Vec<OwnedFd>,
}

/// Why an address could not be had; `Display` says what to do.
#[derive(Debug)]
pub(super) struct BindError {
    service: String,
    endpoint: String,
    error: Errno,
}

/// How many shards an address gets on a machine with so many CPUs.
pub(super) fn shard_count(cpus: usize) -> usize {
    (2 * cpus).next_power_of_two().clamp(2, SHARDS_MAX)
}

/// Binds all endpoints of a service.
pub(super) fn bind_service(
    service: &str,
    plan: &ServicePlan,
    peer_first: bool,
    shards: usize,
) -> Result<Vec<Listener>, BindError> {
    plan.endpoints
        .iter()
        .map(|endpoint| {
            bind_endpoint(endpoint, plan, peer_first, shards).map_err(|error| BindError {
                service: service.to_owned(),
                endpoint: endpoint.written.clone(),
                error,
            })
        })
        .collect()
}

fn bind_endpoint(
    endpoint: &Endpoint,
    plan: &ServicePlan,
    peer_first: bool,
    shards: usize,
) -> Result<Listener, Errno> {
    let Address::Tcp(address) = endpoint.address else {
        return Err(Errno::EAFNOSUPPORT);
    };
    // The first socket must not share its port yet: with SO_REUSEPORT set before bind, another
    // daemon of the same user would join silently instead of being told that the port is busy.
    let first = stream_socket(&address)?;
    bind(first.as_raw_fd(), &SockaddrStorage::from(address))?;
    setsockopt(&first, sockopt::ReusePort, &true)?;
    // Port 0 has become a real one; the other shards join that.
    let local = local_address(first.as_fd())?;
    let mut group = vec![first];
    for _ in 1..shards {
        let next = stream_socket(&address)?;
        setsockopt(&next, sockopt::ReusePort, &true)?;
        bind(next.as_raw_fd(), &SockaddrStorage::from(local))?;
        group.push(next);
    }
    let backlog = Backlog::new(plan.socket.backlog).unwrap_or(Backlog::MAXCONN);
    for shard in &group {
        setsockopt(shard, sockopt::TcpNoDelay, &plan.socket.nodelay)?;
        if peer_first {
            defer_accept(shard, DEFER_ACCEPT_S).map_err(errno_of)?;
        }
        listen(shard, backlog)?;
    }
    Ok(Listener {
        endpoint: endpoint.written.clone(),
        local,
        shards: group,
    })
}

fn stream_socket(address: &SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(family, SockType::Stream, flags, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    if address.is_ipv6() {
        // Said aloud, because the system's default can be changed behind an administrator's back.
        setsockopt(&socket, sockopt::Ipv6V6Only, &false)?;
    }
    Ok(socket)
}

fn local_address(socket: BorrowedFd<'_>) -> Result<SocketAddr, Errno> {
    let name: SockaddrStorage = getsockname(socket.as_raw_fd())?;
    let v4 = name.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into()));
    let v6 = name
        .as_sockaddr_in6()
        .map(|v6| SocketAddr::V6((*v6).into()));
    v4.or(v6).ok_or(Errno::EAFNOSUPPORT)
}

fn errno_of(error: io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

impl Listener {
    /// Where it really listens, as a URL.
    pub(super) fn url(&self) -> String {
        format!("tcp://{}", self.local)
    }

    /// Host and port for somebody on this machine.
    pub(super) fn to_try(&self) -> (IpAddr, u16) {
        let host = match self.local.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            other => other,
        };
        (host, self.local.port())
    }

    /// The shards that worker `index` of `count` polls: those whose number is congruent to its own,
    /// or one that it shares where there are more workers than shards.
    pub(super) fn shards_of(&self, index: u16, count: u16) -> Vec<(BorrowedFd<'_>, ListenerBrief)> {
        let (index, count, total) = (usize::from(index), usize::from(count), self.shards.len());
        let shared = count > total;
        self.shards
            .iter()
            .enumerate()
            .filter(|(shard, _)| {
                if shared {
                    *shard == index % total
                } else {
                    shard % count == index
                }
            })
            .map(|(shard, fd)| {
                let brief = ListenerBrief {
                    endpoint: self.endpoint.clone(),
                    local: Address::Tcp(self.local),
                    shard: shard as u16,
                    shared,
                };
                (fd.as_fd(), brief)
            })
            .collect()
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BindError {
            service,
            endpoint,
            error,
        } = self;
        write!(
            f,
            "services.{service}.listen: cannot listen on {endpoint}: "
        )?;
        match error {
            Errno::EADDRINUSE => {
                write!(
                    f,
                    "the address is in use; `ss -ltnp` shows by whom, or choose another port"
                )
            }
            Errno::EACCES => write!(
                f,
                "no permission; ports below 1024 need the capability CAP_NET_BIND_SERVICE, \
                 which the systemd unit grants, or root"
            ),
            Errno::EADDRNOTAVAIL => {
                write!(
                    f,
                    "this machine has no such address; `ip address` lists those it has"
                )
            }
            Errno::EAFNOSUPPORT => write!(f, "this machine does not speak that address family"),
            Errno::EMFILE | Errno::ENFILE => {
                write!(
                    f,
                    "out of file descriptors; raise LimitNOFILE in the unit, or `ulimit -n`"
                )
            }
            other => write!(f, "{}", other.desc()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Limits, SocketPlan, ThreadLimits};
    use std::collections::BTreeMap;

    fn service(address: &str) -> ServicePlan {
        let endpoint = Endpoint {
            written: format!("tcp://{address}"),
            address: Address::Tcp(address.parse().expect("an address")),
        };
        ServicePlan {
            plugin: "/nowhere".into(),
            endpoints: vec![endpoint],
            workers: 2,
            limits: Limits {
                connections: 1,
                idle_ms: 0,
                input_bytes_max: 1,
                output_bytes_max: 1,
                threads: ThreadLimits {
                    max: 1,
                    queue_max: 0,
                    handler_ms: 0,
                },
            },
            socket: SocketPlan {
                backlog: 256,
                nodelay: true,
            },
            settings: BTreeMap::new(),
        }
    }

    #[test]
    fn shards_are_a_power_of_two_of_at_least_twice_the_cpus() {
        for (cpus, shards) in [(1, 2), (2, 4), (3, 8), (4, 8), (6, 16), (200, 64)] {
            assert_eq!(shard_count(cpus), shards, "{cpus} CPUs");
        }
    }

    #[test]
    fn every_shard_has_a_worker_whatever_their_numbers() {
        let bound = bind_service("x", &service("127.0.0.1:0"), false, 4).expect("bound");
        for workers in 1..=9_u16 {
            let mut polled = [0; 4];
            for worker in 0..workers {
                let shards = bound[0].shards_of(worker, workers);
                assert!(
                    !shards.is_empty(),
                    "worker {worker} of {workers} polls nothing"
                );
                for (_, brief) in shards {
                    polled[usize::from(brief.shard)] += 1;
                    assert_eq!(brief.shared, workers > 4);
                }
            }
            let pollers = if workers > 4 { 1..=3 } else { 1..=1 };
            assert!(
                polled.iter().all(|n| pollers.contains(n)),
                "{workers}: {polled:?}"
            );
        }
    }

    #[test]
    fn a_port_of_another_daemon_of_the_same_user_is_refused() {
        let bound = bind_service("x", &service("127.0.0.1:0"), false, 4).expect("bound");
        let taken = bound[0].local.to_string();
        let error = bind_service("y", &service(&taken), false, 4).expect_err("it is in use");
        assert_eq!(error.error, Errno::EADDRINUSE);
        assert!(error.to_string().contains(&format!(
            "services.y.listen: cannot listen on tcp://{taken}"
        )));
        drop(bound);
        bind_service("y", &service(&taken), false, 4).expect("free again");
    }

    #[test]
    fn an_address_that_is_not_here_is_named() {
        let error = bind_service("x", &service("192.0.2.1:7"), false, 2).expect_err("not ours");
        assert!(error.to_string().contains("no such address"), "{error}");
    }

    #[test]
    fn connections_spread_over_all_shards() {
        let bound = bind_service("x", &service("127.0.0.1:0"), false, 4).expect("bound");
        let peers: Vec<_> = (0..200)
            .map(|_| std::net::TcpStream::connect(bound[0].local).expect("connected"))
            .collect();
        let mut queued = 0;
        for shard in &bound[0].shards {
            let flags = SockFlag::SOCK_CLOEXEC;
            let accepted =
                std::iter::from_fn(|| nix::sys::socket::accept4(shard.as_raw_fd(), flags).ok());
            let here = accepted.count();
            assert!(here > 0, "a shard got none of {} connections", peers.len());
            queued += here;
        }
        assert_eq!(queued, peers.len());
    }
}
