//! Sockets of TCP and UDP addresses, in shards that share their port.
//!
//! Invariant: the first socket of an address is bound before it shares anything, so a port that
//! somebody has is refused.

use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, getsockname, listen,
    setsockopt, socket, sockopt,
};

use super::error::Trouble;
use super::options;
use crate::plan::{Address, SocketPlan, Transport};

/// All shards of an address, and where they really are.
pub(super) fn bind_shards(
    address: &Address,
    at: SocketAddr,
    plan: &SocketPlan,
    peer_first: bool,
    shards: usize,
) -> Result<(Vec<OwnedFd>, SocketAddr), Trouble> {
    let stream = address.transport() == Transport::Stream;
    // The kernel gives each socket of a port its own copy of what is sent to many; one shard for all
    // workers keeps it one.
    let to_many = !stream && (plan.broadcast || !plan.multicast.is_empty());
    let shards = if to_many { 1 } else { shards };
    let fresh = || fresh_socket(address, at, plan, peer_first);
    // The first socket must not share its port yet: with SO_REUSEPORT set before bind, another
    // daemon of the same user would join silently instead of being told that the port is busy.
    let first = fresh()?;
    bind(first.as_raw_fd(), &SockaddrStorage::from(at))?;
    setsockopt(&first, sockopt::ReusePort, &true)?;
    // Port 0 has become a real one; the other shards join that.
    let local = local_address(first.as_fd())?;
    let mut group = vec![first];
    for _ in 1..shards {
        let next = fresh()?;
        setsockopt(&next, sockopt::ReusePort, &true)?;
        bind(next.as_raw_fd(), &SockaddrStorage::from(local))?;
        group.push(next);
    }
    if stream {
        let backlog = Backlog::new(plan.backlog).unwrap_or(Backlog::MAXCONN);
        for shard in &group {
            listen(shard, backlog)?;
        }
    }
    Ok((group, local))
}

fn fresh_socket(
    address: &Address,
    at: SocketAddr,
    plan: &SocketPlan,
    peer_first: bool,
) -> Result<OwnedFd, Trouble> {
    let family = if at.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let kind = match address.transport() {
        Transport::Stream => SockType::Stream,
        Transport::Datagram => SockType::Datagram,
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(family, kind, flags, None)?;
    if kind == SockType::Stream {
        // Connections of a predecessor that still close do not keep the port; between datagram
        // sockets it would share the port itself.
        setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    }
    options::set(&socket, address, plan, peer_first)?;
    Ok(socket)
}

pub(super) fn local_address(socket: BorrowedFd<'_>) -> Result<SocketAddr, Errno> {
    let name: SockaddrStorage = getsockname(socket.as_raw_fd())?;
    let v4 = name.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into()));
    let v6 = name
        .as_sockaddr_in6()
        .map(|v6| SocketAddr::V6((*v6).into()));
    v4.or(v6).ok_or(Errno::EAFNOSUPPORT)
}
