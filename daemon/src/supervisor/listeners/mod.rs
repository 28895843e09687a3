//! Listeners: bound once, in shards, and kept as long as their address is configured.
//!
//! The queue of a listening socket dies with its last descriptor, so workers only borrow shards and
//! the supervisor keeps them open behind every worker that comes and goes. The number of shards is
//! fixed when an address is bound; the number of workers may change freely afterwards.
//!
//! Nothing is accepted and nothing is read here.
//!
//! Invariant: either every address of a set is bound, or none of them stays bound.

mod error;
mod inherited;
mod internet;
mod options;
mod unix;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use nix::sys::socket::{Backlog, listen};

use super::notify::Keepsake;
use serde::{Deserialize, Serialize};

use crate::channel::ListenerBrief;
use crate::plan::{Address, Endpoint, ServicePlan, SocketPlan, Transport, UnixName};
pub(super) use error::BindError;
use error::Trouble;
pub(super) use inherited::Inherited;
use options::OptionError;
pub(in crate::supervisor) use options::unchangeable;
pub(super) use unix::BoundFile;

/// More shards than this help nobody and cost a descriptor each in every worker.
const SHARDS_MAX: usize = 64;

/// A bound address of a service.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) endpoint: String,
    /// As it was resolved; port 0 is 0 here.
    pub(super) asked: Address,
    pub(super) local: Address,
    pub(super) shards: Vec<OwnedFd>,
    pub(super) origin: Origin,
    /// Removed with this value.
    pub(super) file: Option<BoundFile>,
}

/// Who had it first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Origin {
    Bound,
    /// A daemon before this one, and the service manager in between.
    Kept,
    /// A socket unit, which keeps it by itself.
    Unit,
}

/// How many shards an address gets on a machine with so many CPUs, in a service with so many workers:
/// with fewer than workers, some of these would share one and others not.
pub(super) fn shard_count(cpus: usize, workers: u16) -> usize {
    let wanted = usize::max(2 * cpus, usize::from(workers));
    wanted.next_power_of_two().clamp(2, SHARDS_MAX)
}

/// Binds all endpoints of a service, but for those that are there already: its own, and those that
/// another service gives up.
pub(super) fn bind_service(
    service: &str,
    plan: &ServicePlan,
    peer_first: bool,
    shards: usize,
    there: &[Rc<Listener>],
) -> Result<Vec<Rc<Listener>>, BindError> {
    plan.endpoints
        .iter()
        .map(|endpoint| {
            let bound = match there.iter().find(|listener| listener.is_for(endpoint)) {
                Some(listener) => listener.can_go_by(&plan.socket).map(|()| listener.clone()),
                None => bind_endpoint(endpoint, plan, peer_first, shards).map(Rc::new),
            };
            bound.map_err(|trouble| BindError {
                service: service.to_owned(),
                endpoint: endpoint.written.clone(),
                internet: endpoint.address.socket().is_some(),
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
        asked: endpoint.address.clone(),
        local,
        shards,
        file,
        origin: Origin::Bound,
    })
}

impl Listener {
    /// As written.
    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    fn is_for(&self, endpoint: &Endpoint) -> bool {
        self.endpoint == endpoint.written && self.asked == endpoint.address
    }

    /// Whether its file could have what is written for it now.
    fn can_go_by(&self, plan: &SocketPlan) -> Result<(), Trouble> {
        match &self.file {
            Some(file) => Ok(file.try_out(plan.file)?),
            None => Ok(()),
        }
    }

    /// Sets what may be set on a socket that is bound; the text is for the log.
    pub(super) fn set_again(&self, plan: &SocketPlan, peer_first: bool) -> Result<(), String> {
        let about = |error: OptionError| {
            format!("socket.{} of {}: {}", error.key, self.endpoint, error.error)
        };
        if let Some(file) = &self.file {
            file.set(plan.file).map_err(about)?;
        }
        for shard in &self.shards {
            options::set_again(shard, &self.local, plan, peer_first).map_err(about)?;
            if self.local.transport() == Transport::Stream {
                let backlog = Backlog::new(plan.backlog).unwrap_or(Backlog::MAXCONN);
                listen(shard, backlog)
                    .map_err(|error| format!("socket.backlog of {}: {error}", self.endpoint))?;
            }
        }
        Ok(())
    }

    /// Its path was made, and is kept, by a socket unit.
    fn has_file_of_another(&self) -> bool {
        self.has_path() && self.file.is_none()
    }

    fn has_path(&self) -> bool {
        matches!(
            &self.local,
            Address::Unix(UnixName::Path(_)) | Address::UnixDatagram(UnixName::Path(_))
        )
    }

    /// It was there before the daemon, with whatever options it was given then.
    pub(super) fn is_inherited(&self) -> bool {
        self.origin != Origin::Bound
    }

    /// What the service manager is to keep of it. A port that the kernel chose nobody would ask for
    /// again, and the path of a Unix socket goes with its daemon.
    pub(super) fn keepsakes(&self) -> impl Iterator<Item = Keepsake<'_>> {
        let wanted = self.origin != Origin::Unit && !self.has_path() && self.asked == self.local;
        let shards = self.shards.iter().enumerate().filter(move |_| wanted);
        shards.map(|(shard, socket)| Keepsake {
            name: inherited::name_of(&self.local, shard),
            socket: socket.as_fd(),
            datagram: self.local.transport() == Transport::Datagram,
        })
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Access, Limits, SocketPlan};
    use nix::errno::Errno;
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
            when_failing: crate::plan::WhenFailing::default(),
            limits: Limits::default(),
            access: Access::default(),
            socket: SocketPlan::default(),
            identity: None,
            pin: None,
            settings: BTreeMap::new(),
        }
    }

    #[test]
    fn shards_are_a_power_of_two_of_at_least_twice_the_cpus_and_of_all_workers() {
        for (cpus, workers, shards) in [
            (1, 1, 2),
            (2, 2, 4),
            (3, 3, 8),
            (4, 1, 8),
            (6, 6, 16),
            (200, 200, 64),
            (2, 5, 8),
            (2, 8, 8),
            (2, 9, 16),
            (1, 256, 64),
        ] {
            let found = shard_count(cpus, workers);
            assert_eq!(found, shards, "{cpus} CPUs, {workers} workers");
        }
    }

    #[test]
    fn eight_workers_on_two_cpus_share_evenly_and_so_do_more_of_them_later() {
        let shards = shard_count(2, 8);
        let bound = bind_service("x", &service("127.0.0.1:0"), false, shards, &[]).expect("bound");
        for (workers, polled) in [(8_u16, 1), (4, 2), (2, 4), (16, 1)] {
            for worker in 0..workers {
                let found = bound[0].shards_of(worker, workers);
                assert_eq!(found.len(), polled, "worker {worker} of {workers}");
                assert!(found.iter().all(|(_, brief)| brief.shared == (workers > 8)));
            }
        }
    }

    #[test]
    fn every_shard_has_a_worker_whatever_their_numbers() {
        let bound = bind_service("x", &service("127.0.0.1:0"), false, 4, &[]).expect("bound");
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
        let bound = bind_service("x", &service("127.0.0.1:0"), false, 4, &[]).expect("bound");
        let taken = bound[0]
            .local()
            .socket()
            .expect("of the Internet")
            .to_string();
        let error = bind_service("y", &service(&taken), false, 4, &[]).expect_err("it is in use");
        let in_use = matches!(error.trouble, Trouble::Bind(Errno::EADDRINUSE));
        assert!(in_use, "{error}");
        assert!(error.to_string().contains(&format!(
            "services.y.listen: cannot listen on tcp://{taken}"
        )));
        drop(bound);
        bind_service("y", &service(&taken), false, 4, &[]).expect("free again");
    }

    #[test]
    fn an_address_that_is_not_here_is_named() {
        let error =
            bind_service("x", &service("192.0.2.1:7"), false, 2, &[]).expect_err("not ours");
        assert!(error.to_string().contains("no such address"), "{error}");
    }

    #[test]
    fn connections_spread_over_all_shards() {
        let bound = bind_service("x", &service("127.0.0.1:0"), false, 4, &[]).expect("bound");
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

    #[test]
    fn a_udp_port_is_shared_by_shards_and_by_nobody_else() {
        let any = Address::Udp("127.0.0.1:0".parse().expect("an address"));
        let bound = bind_service("x", &listening(any), false, 4, &[]).expect("bound");
        assert_eq!(bound[0].shards.len(), 4);
        let taken = bound[0].local().clone();
        let error = bind_service("y", &listening(taken), false, 4, &[]).expect_err("it is in use");
        assert!(error.to_string().contains("in use"), "{error}");
        // What is sent to many would come once to each shard.
        let mut to_many = listening(Address::Udp("0.0.0.0:0".parse().expect("an address")));
        to_many.socket.broadcast = true;
        let bound = bind_service("z", &to_many, false, 4, &[]).expect("bound");
        let briefs = [0, 1].map(|worker| bound[0].shards_of(worker, 2));
        assert!(
            briefs
                .iter()
                .all(|shards| shards.len() == 1 && shards[0].1.shared)
        );
    }

    #[test]
    fn what_is_announced_can_be_typed() {
        let cases = [
            ("tcp://0.0.0.0:7", "nc 127.0.0.1 7"),
            ("tcp://[fe80::1%2]:7", "nc fe80::1%2 7"),
            ("udp://[::]:7", "nc -u ::1 7"),
            ("unix:/run/x", "nc -U /run/x"),
            ("unixgram:/run/x", "nc -uU /run/x"),
            ("unix:@x", "socat - ABSTRACT-CONNECT:x"),
            ("unixgram:@x", "socat - ABSTRACT-SENDTO:x,bind=x.try"),
        ];
        for (url, command) in cases {
            let local = match url.split_once(':').expect("a scheme") {
                ("tcp", at) => Address::Tcp(at[2..].parse().expect("an address")),
                ("udp", at) => Address::Udp(at[2..].parse().expect("an address")),
                ("unix", name) => Address::Unix(unix_name(name)),
                (_, name) => Address::UnixDatagram(unix_name(name)),
            };
            assert_eq!(local.to_string(), url);
            let listener = Listener {
                endpoint: String::new(),
                asked: local.clone(),
                local,
                shards: Vec::new(),
                file: None,
                origin: Origin::Bound,
            };
            assert_eq!(listener.to_try(), command);
        }
    }

    fn unix_name(text: &str) -> UnixName {
        match text.strip_prefix('@') {
            Some(name) => UnixName::Abstract(name.to_owned()),
            None => UnixName::Path(text.into()),
        }
    }
}
