//! Listeners: bound once, in shards, and kept as long as their address is configured.
//!
//! The queue of a listening socket dies with its last descriptor, so workers only borrow shards and
//! the supervisor keeps them open behind every worker that comes and goes. The number of shards is
//! fixed when an address is bound; the number of workers may change freely afterwards.
//!
//! Nothing is accepted and nothing is read here.
//!
//! Invariant: either every address of a set is bound, or none of them stays bound.

mod internet;
mod options;
mod unix;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use crate::channel::ListenerBrief;
use crate::plan::{Address, Endpoint, ServicePlan, UnixName};
use options::OptionError;
use unix::BoundFile;

/// More shards than this help nobody and cost a descriptor each in every worker.
const SHARDS_MAX: usize = 64;

/// A bound address of a service.
#[derive(Debug)]
pub(super) struct Listener {
    endpoint: String,
    local: Address,
    shards: Vec<OwnedFd>,
    /// Removed with this value.
    _file: Option<BoundFile>,
}

/// Why an address could not be had; `Display` says what to do.
#[derive(Debug)]
pub(super) struct BindError {
    service: String,
    endpoint: Endpoint,
    trouble: Trouble,
}

#[derive(Debug)]
enum Trouble {
    Bind(Errno),
    Option(OptionError),
    /// Another kind of file has the path.
    NoSocket,
    /// The file cannot be given to whom it should belong.
    Owner(Errno),
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
            bind_endpoint(endpoint, plan, peer_first, shards).map_err(|trouble| BindError {
                service: service.to_owned(),
                endpoint: endpoint.clone(),
                trouble,
            })
        })
        .collect()
}

fn bind_endpoint(
    endpoint: &Endpoint,
    plan: &ServicePlan,
    peer_first: bool,
    shards: usize,
) -> Result<Listener, Trouble> {
    let address = &endpoint.address;
    let options = &plan.socket;
    let internet = |at| internet::bind_shards(address, at, options, peer_first, shards);
    let (local, shards, file) = match address {
        Address::Tcp(at) => {
            let (shards, local) = internet(*at)?;
            (Address::Tcp(local), shards, None)
        }
        Address::Udp(at) => {
            let (shards, local) = internet(*at)?;
            (Address::Udp(local), shards, None)
        }
        Address::Unix(name) | Address::UnixDatagram(name) => {
            let (socket, file) = unix::bind_name(address, name, options)?;
            (address.clone(), vec![socket], file)
        }
    };
    Ok(Listener {
        endpoint: endpoint.written.clone(),
        local,
        shards,
        _file: file,
    })
}

impl Listener {
    /// Where it really listens.
    pub(super) fn local(&self) -> &Address {
        &self.local
    }

    /// One of its sockets; all have the same options.
    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.shards[0].as_fd()
    }

    /// What somebody on this machine types to try it.
    pub(super) fn to_try(&self) -> String {
        match &self.local {
            Address::Tcp(at) => format!("nc {} {}", reachable(at), at.port()),
            Address::Udp(at) => format!("nc -u {} {}", reachable(at), at.port()),
            Address::Unix(UnixName::Path(path)) => format!("nc -U {}", path.display()),
            Address::UnixDatagram(UnixName::Path(path)) => format!("nc -uU {}", path.display()),
            Address::Unix(UnixName::Abstract(name)) => {
                format!("socat - ABSTRACT-CONNECT:{name}")
            }
            // An answer needs an address to go to.
            Address::UnixDatagram(UnixName::Abstract(name)) => {
                format!("socat - ABSTRACT-SENDTO:{name},bind={name}.try")
            }
        }
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
                    local: self.local.clone(),
                    shard: shard as u16,
                    shared,
                };
                (fd.as_fd(), brief)
            })
            .collect()
    }
}

fn reachable(at: &SocketAddr) -> String {
    match (at.ip(), at) {
        (IpAddr::V4(ip), _) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.to_string(),
        (IpAddr::V6(ip), _) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.to_string(),
        (ip, SocketAddr::V6(v6)) if v6.scope_id() != 0 => format!("{ip}%{}", v6.scope_id()),
        (ip, _) => ip.to_string(),
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BindError {
            service,
            endpoint,
            trouble,
        } = self;
        let Endpoint { written, address } = endpoint;
        let socket = format!("services.{service}.socket");
        let error = match trouble {
            Trouble::Bind(error) => error,
            Trouble::Option(error) => {
                return explain_option(error, &socket, written, f);
            }
            Trouble::NoSocket => {
                return write!(
                    f,
                    "services.{service}.listen: cannot listen on {written}: there is a file that \
                     is no socket; remove it, or choose another path"
                );
            }
            Trouble::Owner(error) => {
                return write!(
                    f,
                    "{socket}.owner: {written} cannot be given to that owner or group: {}; \
                     that needs root, or the capability CAP_CHOWN",
                    error.desc()
                );
            }
        };
        write!(f, "services.{service}.listen: cannot listen on {written}: ")?;
        match address.socket() {
            Some(_) => explain_internet(*error, f),
            None => explain_unix(*error, f),
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
    let why = error.desc();
    if key.is_empty() {
        return write!(f, "{endpoint} cannot be set up: {why}");
    }
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
        _ => f.write_str(why),
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
    use crate::plan::{Limits, SocketPlan};
    use nix::sys::socket::SockFlag;
    use std::collections::BTreeMap;
    use std::os::fd::AsRawFd;

    fn service(address: &str) -> ServicePlan {
        listening(Address::Tcp(address.parse().expect("an address")))
    }

    fn listening(address: Address) -> ServicePlan {
        let endpoint = Endpoint {
            written: address.to_string(),
            address,
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
            },
            socket: SocketPlan::default(),
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
        let taken = bound[0]
            .local()
            .socket()
            .expect("of the Internet")
            .to_string();
        let error = bind_service("y", &service(&taken), false, 4).expect_err("it is in use");
        let in_use = matches!(error.trouble, Trouble::Bind(Errno::EADDRINUSE));
        assert!(in_use, "{error}");
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
        let local = bound[0].local().socket().expect("of the Internet");
        let peers: Vec<_> = (0..200)
            .map(|_| std::net::TcpStream::connect(local).expect("connected"))
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
