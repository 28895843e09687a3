//! The options of `[services.NAME.socket]`, set on a socket before it is bound.
//!
//! What connections need is set on the listening socket as well, because Linux hands it on to each
//! connection that is accepted (`tcp_create_openreq_child` copies the socket whole); so a worker
//! makes no call for it. Unix streams inherit nothing: there the worker sets the one that matters.
//!
//! Invariant: an option that nobody wrote is not touched, except those that the daemon's own work
//! rests on.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};

use super::Listener;
use crate::plan::{Address, SocketPlan};
use crate::sys::datagram::has_ways;
use crate::sys::socket_option::{join_group, set_int};

/// Seconds for which the kernel may hold back a silent peer where the plugin lets it speak first.
const DEFER_ACCEPT_S: u32 = 1;

/// An option that the system did not take.
#[derive(Debug)]
pub(super) struct OptionError {
    pub(super) key: &'static str,
    /// The capability that would allow it.
    pub(super) needs: Option<&'static str>,
    pub(super) error: Errno,
}

/// One option of a C `int`.
struct Row {
    /// The key in the configuration; empty for what the daemon itself needs.
    key: &'static str,
    level: i32,
    name: i32,
    value: Option<i64>,
    needs: Option<&'static str>,
}

const fn row(key: &'static str, level: i32, name: i32, value: Option<i64>) -> Row {
    Row {
        key,
        level,
        name,
        value,
        needs: None,
    }
}

impl Row {
    fn needs(self, capability: &'static str) -> Row {
        Row {
            needs: Some(capability),
            ..self
        }
    }
}

/// All of them, for a socket that is about to be bound to this address.
pub(super) fn set(
    socket: &OwnedFd,
    address: &Address,
    plan: &SocketPlan,
    peer_first: bool,
) -> Result<(), OptionError> {
    let mut rows = every(plan);
    match address {
        Address::Tcp(bound) => {
            rows.extend(internet(plan, bound));
            rows.extend(tcp(plan, peer_first));
        }
        Address::Udp(bound) => {
            rows.extend(internet(plan, bound));
            rows.extend(udp(plan, bound));
            rows.extend(errors(bound));
        }
        Address::Unix(_) | Address::UnixDatagram(_) => {}
    }
    set_rows(socket, rows)?;
    match address {
        Address::Tcp(_) => {
            set_linger(socket, plan)?;
            set_device(socket, plan)
        }
        Address::Udp(bound) => {
            set_device(socket, plan)?;
            join_groups(socket, bound, plan)
        }
        Address::Unix(_) | Address::UnixDatagram(_) => Ok(()),
    }
}

/// The same for a socket that is bound: without what only a fresh one can be told.
pub(super) fn set_again(
    socket: &OwnedFd,
    address: &Address,
    plan: &SocketPlan,
    peer_first: bool,
) -> Result<(), OptionError> {
    let mut rows = every(plan);
    match address {
        Address::Tcp(bound) => {
            rows.extend(internet(plan, bound));
            rows.extend(tcp(plan, peer_first));
        }
        Address::Udp(bound) => {
            rows.extend(internet(plan, bound));
            rows.extend(errors(bound));
        }
        Address::Unix(_) | Address::UnixDatagram(_) => {}
    }
    rows.retain(|row| !matches!(row.key, "v6only" | "mark"));
    set_rows(socket, rows)?;
    match address {
        Address::Tcp(_) => set_linger(socket, plan),
        Address::Udp(_) | Address::Unix(_) | Address::UnixDatagram(_) => Ok(()),
    }
}

/// Which changes of what is written cannot be made to these, which are bound.
pub(in crate::supervisor) fn unchangeable(
    bound: &[Rc<Listener>],
    old: &SocketPlan,
    new: &SocketPlan,
) -> Vec<&'static str> {
    let others_file = bound.iter().any(|listener| listener.has_file_of_another());
    let unset = |old: bool, new: bool| old && !new;
    let (was, is) = (old.keepalive.is_some(), new.keepalive.is_some());
    let rows = [
        ("v6only", old.v6only != new.v6only),
        ("mark", old.mark != new.mark),
        ("device", old.device != new.device),
        ("multicast", old.multicast != new.multicast),
        ("broadcast", old.broadcast != new.broadcast),
        ("mode, owner or group", others_file && old.file != new.file),
        ("keepalive", unset(was, is)),
        ("ttl", unset(old.ttl.is_some(), new.ttl.is_some())),
        ("tos", unset(old.tos.is_some(), new.tos.is_some())),
        (
            "linger",
            unset(old.linger_s.is_some(), new.linger_s.is_some()),
        ),
        (
            "send_buffer",
            unset(
                old.send_buffer_bytes.is_some(),
                new.send_buffer_bytes.is_some(),
            ),
        ),
        (
            "receive_buffer",
            unset(
                old.receive_buffer_bytes.is_some(),
                new.receive_buffer_bytes.is_some(),
            ),
        ),
        (
            "user_timeout",
            unset(old.user_timeout_ms.is_some(), new.user_timeout_ms.is_some()),
        ),
        (
            "busy_poll",
            unset(old.busy_poll_us.is_some(), new.busy_poll_us.is_some()),
        ),
        (
            "fast_open",
            unset(old.fast_open.is_some(), new.fast_open.is_some()),
        ),
        (
            "defer_accept",
            unset(old.defer_accept_s.is_some(), new.defer_accept_s.is_some()),
        ),
    ];
    let changed = rows.iter().filter(|(_, changed)| *changed);
    changed.map(|(key, _)| *key).collect()
}

fn set_rows(socket: &OwnedFd, rows: Vec<Row>) -> Result<(), OptionError> {
    for Row {
        key,
        level,
        name,
        value,
        needs,
    } in rows
    {
        // Marks are unsigned: the kernel reads the same 32 bits.
        if let Some(value) = value {
            set_int(socket, level, name, value as i32).map_err(|error| OptionError {
                key,
                needs,
                error: errno_of(&error),
            })?;
        }
    }
    Ok(())
}

fn every(plan: &SocketPlan) -> Vec<Row> {
    let number = |value: Option<u32>| value.map(i64::from);
    let (send, receive) = (plan.send_buffer_bytes, plan.receive_buffer_bytes);
    vec![
        row(
            "send_buffer",
            libc::SOL_SOCKET,
            libc::SO_SNDBUF,
            number(send),
        ),
        row(
            "receive_buffer",
            libc::SOL_SOCKET,
            libc::SO_RCVBUF,
            number(receive),
        ),
    ]
}

fn internet(plan: &SocketPlan, bound: &SocketAddr) -> Vec<Row> {
    let (ip, ipv6) = (libc::IPPROTO_IP, libc::IPPROTO_IPV6);
    let (ttl, tos) = (plan.ttl.map(i64::from), plan.tos.map(i64::from));
    let mark = plan.mark.map(i64::from);
    let busy_poll = plan.busy_poll_us.map(i64::from);
    let mut rows = vec![
        row("mark", libc::SOL_SOCKET, libc::SO_MARK, mark).needs("CAP_NET_ADMIN"),
        row("busy_poll", libc::SOL_SOCKET, libc::SO_BUSY_POLL, busy_poll).needs("CAP_NET_ADMIN"),
        // On an IPv6 socket these two are for the IPv4 peers that come to it.
        row("ttl", ip, libc::IP_TTL, ttl),
        row("tos", ip, libc::IP_TOS, tos),
    ];
    if bound.is_ipv6() {
        // Said aloud, because the system's default can be changed behind an administrator's back.
        let v6only = Some(i64::from(plan.v6only));
        rows.extend([
            row("v6only", ipv6, libc::IPV6_V6ONLY, v6only),
            row("ttl", ipv6, libc::IPV6_UNICAST_HOPS, ttl),
            row("tos", ipv6, libc::IPV6_TCLASS, tos),
        ]);
    }
    rows
}

fn tcp(plan: &SocketPlan, peer_first: bool) -> Vec<Row> {
    let level = libc::IPPROTO_TCP;
    let keepalive = plan.keepalive.unwrap_or_default();
    let number = |value: Option<u32>| value.map(i64::from);
    let asked = plan.keepalive.map(|_| 1);
    let as_plugin_says = if peer_first { DEFER_ACCEPT_S } else { 0 };
    let defer = plan.defer_accept_s.unwrap_or(as_plugin_says);
    let deferred = (defer > 0).then_some(i64::from(defer));
    let fast_open = plan.fast_open.map(i64::from);
    let nodelay = Some(i64::from(plan.nodelay));
    let count = keepalive.count.map(i64::from);
    let linger = plan.linger_s.filter(|seconds| *seconds > 0);
    vec![
        row("nodelay", level, libc::TCP_NODELAY, nodelay),
        row("keepalive", libc::SOL_SOCKET, libc::SO_KEEPALIVE, asked),
        row(
            "keepalive_idle",
            level,
            libc::TCP_KEEPIDLE,
            number(keepalive.idle_s),
        ),
        row(
            "keepalive_interval",
            level,
            libc::TCP_KEEPINTVL,
            number(keepalive.interval_s),
        ),
        row("keepalive_count", level, libc::TCP_KEEPCNT, count),
        row(
            "user_timeout",
            level,
            libc::TCP_USER_TIMEOUT,
            number(plan.user_timeout_ms),
        ),
        row("defer_accept", level, libc::TCP_DEFER_ACCEPT, deferred),
        row("fast_open", level, libc::TCP_FASTOPEN, fast_open),
        row("linger", level, libc::TCP_LINGER2, number(linger)),
    ]
}

fn udp(plan: &SocketPlan, bound: &SocketAddr) -> Vec<Row> {
    let (ip, ipv6) = (libc::IPPROTO_IP, libc::IPPROTO_IPV6);
    let on = has_ways(*bound).then_some(1);
    let broadcast = plan.broadcast.then_some(1);
    let mut rows = vec![
        row("broadcast", libc::SOL_SOCKET, libc::SO_BROADCAST, broadcast),
        // Answers leave from the address that was asked, where there may be several.
        row("", ip, libc::IP_PKTINFO, on),
        // Only the groups of this service, not those that anybody on the machine has joined.
        row("multicast", ip, libc::IP_MULTICAST_ALL, Some(0)),
    ];
    if bound.is_ipv6() {
        rows.push(row("", ipv6, libc::IPV6_RECVPKTINFO, on));
        rows.push(row("multicast", ipv6, libc::IPV6_MULTICAST_ALL, Some(0)));
    }
    rows
}

/// Without being connected, a socket is told of what became of its answers only if it asks. On an
/// IPv6 socket the first is for the IPv4 peers that come to it.
fn errors(bound: &SocketAddr) -> Vec<Row> {
    let mut rows = vec![row("", libc::IPPROTO_IP, libc::IP_RECVERR, Some(1))];
    if bound.is_ipv6() {
        rows.push(row("", libc::IPPROTO_IPV6, libc::IPV6_RECVERR, Some(1)));
    }
    rows
}

/// Only to reset. With a time, closing would make a worker and all its connections wait for one
/// peer, and change nothing else: the kernel goes on sending after a close either way.
fn set_linger(socket: &OwnedFd, plan: &SocketPlan) -> Result<(), OptionError> {
    if plan.linger_s != Some(0) {
        return Ok(());
    }
    let at_once = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    setsockopt(socket, sockopt::Linger, &at_once).map_err(|error| OptionError {
        key: "linger",
        needs: None,
        error,
    })
}

fn set_device(socket: &OwnedFd, plan: &SocketPlan) -> Result<(), OptionError> {
    let Some(device) = &plan.device else {
        return Ok(());
    };
    let name = device.into();
    setsockopt(socket, sockopt::BindToDevice, &name).map_err(|error| OptionError {
        key: "device",
        needs: Some("CAP_NET_RAW"),
        error,
    })
}

fn join_groups(socket: &OwnedFd, bound: &SocketAddr, plan: &SocketPlan) -> Result<(), OptionError> {
    let heard = plan
        .multicast
        .iter()
        .filter(|group| group.reaches(bound, plan.v6only));
    for group in heard {
        join_group(socket.as_fd(), group.address, group.interface).map_err(|error| {
            OptionError {
                key: "multicast",
                needs: None,
                error: errno_of(&error),
            }
        })?;
    }
    Ok(())
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Group, Keepalive};
    use crate::sys::socket_option::read;
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
    use std::net::{TcpListener, TcpStream};

    fn fresh(kind: SockType) -> OwnedFd {
        let flags = SockFlag::SOCK_CLOEXEC;
        socket(AddressFamily::Inet, kind, flags, None).expect("a socket")
    }

    fn int(socket: &OwnedFd, level: i32, name: i32) -> i32 {
        let mut bytes = [0; 4];
        read(socket, level, name, &mut bytes).expect("it is readable");
        i32::from_ne_bytes(bytes)
    }

    #[test]
    fn silent_peers_are_held_back_where_they_speak_first_unless_told_otherwise() {
        let address = Address::Tcp("127.0.0.1:0".parse().expect("an address"));
        let cases = [
            (false, None, 0),
            (true, None, 1),
            (true, Some(0), 0),
            (true, Some(3), 3),
            (false, Some(3), 3),
        ];
        for (peer_first, defer_accept_s, expected) in cases {
            let socket = fresh(SockType::Stream);
            let plan = SocketPlan {
                defer_accept_s,
                ..SocketPlan::default()
            };
            set(&socket, &address, &plan, peer_first).expect("set");
            let found = int(&socket, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT);
            assert_eq!(found, expected, "{peer_first} {defer_accept_s:?}");
        }
    }

    #[test]
    fn datagram_sockets_say_where_each_datagram_came_to() {
        let address = Address::Udp("0.0.0.0:0".parse().expect("an address"));
        let socket = fresh(SockType::Datagram);
        let plan = SocketPlan {
            broadcast: true,
            multicast: vec![Group {
                address: "239.1.2.3".parse().expect("an address"),
                interface: 1,
            }],
            ..SocketPlan::default()
        };
        set(&socket, &address, &plan, false).expect("set");
        let (ip, any) = (libc::IPPROTO_IP, libc::SOL_SOCKET);
        for (level, name, expected) in [
            (ip, libc::IP_PKTINFO, 1),
            (any, libc::SO_BROADCAST, 1),
            (ip, libc::IP_MULTICAST_ALL, 0),
        ] {
            assert_eq!(int(&socket, level, name), expected, "{level} {name}");
        }
        let own = Address::Udp("127.0.0.1:0".parse().expect("an address"));
        let told = fresh(SockType::Datagram);
        set(&told, &own, &SocketPlan::default(), false).expect("set");
        assert_eq!(int(&told, ip, libc::IP_PKTINFO), 0, "there is but one way");
        // The kernel joins nothing twice, so it is joined.
        let again = set(&socket, &address, &plan, false).expect_err("joined already");
        assert_eq!((again.key, again.error), ("multicast", Errno::EADDRINUSE));
    }

    #[test]
    fn a_connection_has_what_its_listener_was_given() {
        let plan = SocketPlan {
            send_buffer_bytes: Some(32 << 10),
            receive_buffer_bytes: Some(64 << 10),
            nodelay: true,
            keepalive: Some(Keepalive {
                idle_s: Some(11),
                interval_s: Some(12),
                count: Some(3),
            }),
            ttl: Some(5),
            tos: Some(184),
            user_timeout_ms: Some(1_500),
            linger_s: Some(10),
            ..SocketPlan::default()
        };
        let (any, ip, tcp) = (libc::SOL_SOCKET, libc::IPPROTO_IP, libc::IPPROTO_TCP);
        let given = [
            (any, libc::SO_SNDBUF, 64 << 10),
            (any, libc::SO_RCVBUF, 128 << 10),
            (any, libc::SO_KEEPALIVE, 1),
            (tcp, libc::TCP_NODELAY, 1),
            (tcp, libc::TCP_KEEPIDLE, 11),
            (tcp, libc::TCP_KEEPINTVL, 12),
            (tcp, libc::TCP_KEEPCNT, 3),
            (tcp, libc::TCP_USER_TIMEOUT, 1_500),
            (tcp, libc::TCP_LINGER2, 10),
            (ip, libc::IP_TTL, 5),
            (ip, libc::IP_TOS, 184),
        ];
        // The third is an IPv4 peer of an IPv6 listener.
        for (bound, peer) in [
            ("127.0.0.1:0", "127.0.0.1"),
            ("[::]:0", "::1"),
            ("[::]:0", "127.0.0.1"),
        ] {
            let at: SocketAddr = bound.parse().expect("an address");
            let address = Address::Tcp(at);
            let (shards, local) =
                super::super::internet::bind_shards(&address, at, &plan, false, 1).expect("bound");
            let listener = TcpListener::from(shards.into_iter().next().expect("one"));
            listener.set_nonblocking(false).expect("set");
            let to = SocketAddr::new(peer.parse().expect("an address"), local.port());
            let _peer = TcpStream::connect(to).expect("connected");
            let accepted = OwnedFd::from(listener.accept().expect("accepted").0);
            for (level, name, expected) in given {
                let found = int(&accepted, level, name);
                assert_eq!(found, expected, "{bound} {peer}: {level} {name}");
            }
        }
    }
}
