//! The keys of `[services.NAME.socket]`: what an administrator may say about the sockets themselves.
//!
//! Which of them fits which transport is not said here but where a plan is resolved; what each does
//! to a socket is done where listeners are bound. Sharing ports is no key: the supervisor needs that.

use super::Preset::{Is, Unset};
use super::{Key, Kind, key};

/// As setsockopt takes it; the kernel doubles it for its own needs.
const BUFFER: Kind = Kind::Size {
    min: 4 << 10,
    max: 1 << 30,
};

pub(super) const KEYS: &[Key] = &[
    key(
        "services.*.socket.backlog",
        Kind::Count {
            min: 1,
            max: 65_535,
        },
        Is("4096"),
        "Connections that may wait to be accepted; the kernel cuts it at net.core.somaxconn.",
    ),
    key(
        "services.*.socket.send_buffer",
        BUFFER,
        Unset,
        "Bytes that the kernel keeps of what is sent (SO_SNDBUF); without it the kernel adapts.",
    ),
    key(
        "services.*.socket.receive_buffer",
        BUFFER,
        Unset,
        "Bytes that the kernel keeps of what arrives (SO_RCVBUF); without it the kernel adapts.",
    ),
    key(
        "services.*.socket.nodelay",
        Kind::Boolean,
        Is("true"),
        "Send small answers at once instead of waiting to fill packets (TCP_NODELAY).",
    ),
    key(
        "services.*.socket.keepalive",
        Kind::Boolean,
        Is("false"),
        "Ask a silent peer now and then whether it is still there (SO_KEEPALIVE).",
    ),
    key(
        "services.*.socket.keepalive_idle",
        Kind::Duration {
            min_ms: 1_000,
            max_ms: 32_767_000,
        },
        Unset,
        "After so long a silence, in whole seconds (TCP_KEEPIDLE); the kernel's default is 2 h.",
    ),
    key(
        "services.*.socket.keepalive_interval",
        Kind::Duration {
            min_ms: 1_000,
            max_ms: 32_767_000,
        },
        Unset,
        "And then again after so long, in whole seconds (TCP_KEEPINTVL); the kernel's default is 75 s.",
    ),
    key(
        "services.*.socket.keepalive_count",
        Kind::Count { min: 1, max: 127 },
        Unset,
        "Until so many questions were not answered (TCP_KEEPCNT); the kernel's default is 9.",
    ),
    key(
        "services.*.socket.ttl",
        Kind::Count { min: 1, max: 255 },
        Unset,
        "How many routers a packet may pass (IP_TTL, IPV6_UNICAST_HOPS).",
    ),
    key(
        "services.*.socket.tos",
        Kind::Count { min: 0, max: 255 },
        Unset,
        "Type of service of what is sent (IP_TOS, IPV6_TCLASS): the DSCP times 4.",
    ),
    key(
        "services.*.socket.device",
        Kind::Text,
        Unset,
        "Network interface that packets must come and go by (SO_BINDTODEVICE).",
    ),
    key(
        "services.*.socket.mark",
        Kind::Count {
            min: 0,
            max: 4_294_967_295,
        },
        Unset,
        "Firewall mark of what is sent (SO_MARK); needs the capability CAP_NET_ADMIN.",
    ),
    key(
        "services.*.socket.v6only",
        Kind::Boolean,
        Is("false"),
        "true keeps IPv4 peers away from an endpoint on [::] (IPV6_V6ONLY).",
    ),
    key(
        "services.*.socket.fast_open",
        Kind::Count {
            min: 1,
            max: 65_535,
        },
        Unset,
        "Take bytes with the SYN of known peers, so many at once (TCP_FASTOPEN); only if bit 2 of \
         net.ipv4.tcp_fastopen is set.",
    ),
    key(
        "services.*.socket.defer_accept",
        Kind::Duration {
            min_ms: 0,
            max_ms: 60_000,
        },
        Unset,
        "Hold a connection back so long, in whole seconds, until its first bytes are there \
         (TCP_DEFER_ACCEPT); \"0\" never does; without it \"1s\" where the plugin lets the peer speak \
         first.",
    ),
    key(
        "services.*.socket.user_timeout",
        Kind::Duration {
            min_ms: 1,
            max_ms: 86_400_000,
        },
        Unset,
        "Give a connection up when what was sent is not acknowledged for so long (TCP_USER_TIMEOUT).",
    ),
    key(
        "services.*.socket.busy_poll",
        Kind::Microseconds { max_us: 1_000_000 },
        Unset,
        "Look at the network card for so long before sleeping, such as \"50us\" (SO_BUSY_POLL).",
    ),
    key(
        "services.*.socket.linger",
        Kind::Duration {
            min_ms: 0,
            max_ms: 120_000,
        },
        Unset,
        "What the kernel does with a connection after it was closed here: keeps it for so long, in \
         whole seconds, until the peer has closed too (TCP_LINGER2), or with \"0\" resets it at once \
         and drops what was not sent yet (SO_LINGER).",
    ),
    key(
        "services.*.socket.broadcast",
        Kind::Boolean,
        Is("false"),
        "Take and send datagrams to all of a network (SO_BROADCAST).",
    ),
    key(
        "services.*.socket.multicast",
        Kind::TextList { max: 20 },
        Unset,
        "Groups whose datagrams are taken: an IPv4 or IPv6 address, or ADDRESS@INTERFACE.",
    ),
    key(
        "services.*.socket.mode",
        Kind::Text,
        Is(r#""0660""#),
        "Permissions of a Unix socket's file, in octal; whoever may write may connect.",
    ),
    key(
        "services.*.socket.owner",
        Kind::Text,
        Unset,
        "User who owns a Unix socket's file; without it the user who started the daemon.",
    ),
    key(
        "services.*.socket.group",
        Kind::Text,
        Unset,
        "Group of a Unix socket's file; without it the group of who started the daemon.",
    ),
];
