//! The socket options that Linux knows, as data: level, name, number, and what its value looks like.
//!
//! From socket(7), ip(7), ipv6(7), tcp(7), udp(7) and the kernel's headers. Options that can only be
//! set, that hand out descriptors, take something away by being read, are filled-in questions rather
//! than values, or name this one socket or this moment, are listed and not read.
//!
//! Invariant: reading any of these changes nothing.

/// What the bytes of a value are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One integer of 1, 4 or 8 bytes.
    Number,
    /// `struct linger`.
    Linger,
    /// `struct timeval`.
    Time,
    Text,
    /// An IPv4 address.
    Address,
    /// Several ints.
    Numbers,
    Unread,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) name: &'static str,
    pub(super) number: i32,
    pub(super) kind: Kind,
}

/// A level's name and number, and its options.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    pub(super) name: &'static str,
    pub(super) number: i32,
    pub(super) options: &'static [Known],
}

/// Names that libc has stand alone; others bring their number.
macro_rules! options {
    ($($kind:ident: $($name:ident $(= $number:literal)?),+;)+) => {
        &[$($(Known {
            name: stringify!($name),
            number: options!(@ $name $(= $number)?),
            kind: Kind::$kind,
        },)+)+]
    };
    (@ $name:ident = $number:literal) => { $number };
    (@ $name:ident) => { libc::$name };
}

pub(super) const SOCKET: Level = Level {
    name: "SOL_SOCKET",
    number: libc::SOL_SOCKET,
    options: options! {
        Number: SO_ACCEPTCONN, SO_BROADCAST, SO_BUSY_POLL, SO_BUSY_POLL_BUDGET, SO_BUF_LOCK,
            SO_DEBUG, SO_DOMAIN, SO_DONTROUTE, SO_INCOMING_CPU, SO_INCOMING_NAPI_ID,
            SO_KEEPALIVE, SO_LOCK_FILTER, SO_MARK, SO_MAX_PACING_RATE, SO_NETNS_COOKIE, SO_NOFCS,
            SO_NO_CHECK, SO_OOBINLINE, SO_PASSCRED, SO_PASSPIDFD, SO_PASSRIGHTS = 83, SO_PASSSEC,
            SO_PEEK_OFF, SO_PREFER_BUSY_POLL, SO_PRIORITY, SO_PROTOCOL, SO_RCVBUF, SO_RCVLOWAT,
            SO_RCVMARK, SO_RESERVE_MEM, SO_REUSEADDR, SO_REUSEPORT, SO_RXQ_OVFL,
            SO_SELECT_ERR_QUEUE, SO_SNDBUF, SO_SNDLOWAT, SO_TIMESTAMP, SO_TIMESTAMPING,
            SO_TIMESTAMPNS, SO_TXREHASH, SO_TYPE, SO_WIFI_STATUS, SO_ZEROCOPY,
            SO_BINDTOIFINDEX, SO_RCVPRIORITY = 82, SO_INQ = 84;
        Linger: SO_LINGER;
        Time: SO_RCVTIMEO, SO_SNDTIMEO;
        Text: SO_BINDTODEVICE, SO_PEERSEC;
        Numbers: SO_MEMINFO, SO_PEERCRED, SO_TXTIME;
        Unread: SO_ATTACH_BPF, SO_ATTACH_FILTER, SO_ATTACH_REUSEPORT_CBPF,
            SO_ATTACH_REUSEPORT_EBPF, SO_CNX_ADVICE, SO_COOKIE, SO_DETACH_FILTER, SO_DETACH_REUSEPORT_BPF,
            SO_DEVMEM_DONTNEED = 80, SO_ERROR, SO_PEERGROUPS, SO_PEERNAME, SO_PEERPIDFD,
            SO_RCVBUFFORCE, SO_SNDBUFFORCE;
    },
};

pub(super) const IP: Level = Level {
    name: "IPPROTO_IP",
    number: libc::IPPROTO_IP,
    options: options! {
        Number: IP_BIND_ADDRESS_NO_PORT, IP_CHECKSUM, IP_FREEBIND, IP_HDRINCL,
            IP_LOCAL_PORT_RANGE = 51, IP_MINTTL, IP_MTU, IP_MTU_DISCOVER, IP_MULTICAST_ALL,
            IP_MULTICAST_LOOP, IP_MULTICAST_TTL, IP_NODEFRAG, IP_PASSSEC, IP_PKTINFO,
            IP_PROTOCOL = 52, IP_RECVERR, IP_RECVERR_RFC4884 = 26, IP_RECVFRAGSIZE = 25,
            IP_RECVOPTS, IP_RECVORIGDSTADDR, IP_RECVTOS, IP_RECVTTL, IP_RETOPTS, IP_ROUTER_ALERT,
            IP_TOS, IP_TRANSPARENT, IP_TTL, IP_UNICAST_IF;
        Address: IP_MULTICAST_IF;
        Numbers: IP_OPTIONS;
        Unread: IP_ADD_MEMBERSHIP, IP_ADD_SOURCE_MEMBERSHIP, IP_BLOCK_SOURCE, IP_DROP_MEMBERSHIP,
            IP_DROP_SOURCE_MEMBERSHIP, IP_IPSEC_POLICY, IP_MSFILTER, IP_PKTOPTIONS,
            IP_UNBLOCK_SOURCE, IP_XFRM_POLICY, MCAST_BLOCK_SOURCE = 43, MCAST_JOIN_GROUP = 42,
            MCAST_JOIN_SOURCE_GROUP = 46, MCAST_LEAVE_GROUP = 45, MCAST_LEAVE_SOURCE_GROUP = 47,
            MCAST_MSFILTER = 48, MCAST_UNBLOCK_SOURCE = 44;
    },
};

pub(super) const IPV6: Level = Level {
    name: "IPPROTO_IPV6",
    number: libc::IPPROTO_IPV6,
    options: options! {
        Number: IPV6_ADDRFORM, IPV6_ADDR_PREFERENCES, IPV6_AUTOFLOWLABEL, IPV6_CHECKSUM,
            IPV6_DONTFRAG, IPV6_FLOWINFO = 11, IPV6_FLOWINFO_SEND = 33, IPV6_FREEBIND,
            IPV6_HDRINCL = 36, IPV6_MINHOPCOUNT, IPV6_MTU, IPV6_MTU_DISCOVER, IPV6_MULTICAST_ALL,
            IPV6_MULTICAST_HOPS, IPV6_MULTICAST_IF, IPV6_MULTICAST_LOOP, IPV6_RECVDSTOPTS,
            IPV6_RECVERR, IPV6_RECVERR_RFC4884 = 31, IPV6_RECVFRAGSIZE, IPV6_RECVHOPLIMIT,
            IPV6_RECVHOPOPTS, IPV6_RECVORIGDSTADDR, IPV6_RECVPATHMTU, IPV6_RECVPKTINFO,
            IPV6_RECVRTHDR, IPV6_RECVTCLASS, IPV6_ROUTER_ALERT, IPV6_ROUTER_ALERT_ISOLATE,
            IPV6_TCLASS, IPV6_TRANSPARENT, IPV6_UNICAST_HOPS, IPV6_UNICAST_IF, IPV6_V6ONLY;
        Unread: IPV6_2292DSTOPTS, IPV6_2292HOPLIMIT, IPV6_2292HOPOPTS, IPV6_2292PKTINFO,
            IPV6_2292PKTOPTIONS, IPV6_2292RTHDR, IPV6_ADD_MEMBERSHIP, IPV6_DROP_MEMBERSHIP,
            IPV6_DSTOPTS, IPV6_FLOWLABEL_MGR = 32, IPV6_HOPLIMIT, IPV6_HOPOPTS, IPV6_IPSEC_POLICY,
            IPV6_JOIN_ANYCAST, IPV6_LEAVE_ANYCAST, IPV6_PATHMTU, IPV6_PKTINFO, IPV6_RTHDR,
            IPV6_RTHDRDSTOPTS, IPV6_XFRM_POLICY;
    },
};

pub(super) const TCP: Level = Level {
    name: "IPPROTO_TCP",
    number: libc::IPPROTO_TCP,
    options: options! {
        Number: TCP_CM_INQ = 36, TCP_CORK, TCP_DEFER_ACCEPT, TCP_DELACK_MAX_US = 46, TCP_FASTOPEN,
            TCP_FASTOPEN_CONNECT, TCP_FASTOPEN_NO_COOKIE, TCP_IS_MPTCP = 43, TCP_KEEPCNT,
            TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_LINGER2, TCP_MAXSEG, TCP_NODELAY, TCP_NOTSENT_LOWAT,
            TCP_QUICKACK, TCP_REPAIR, TCP_RTO_MAX_MS = 44, TCP_RTO_MIN_US = 45, TCP_SAVE_SYN,
            TCP_SYNCNT, TCP_THIN_DUPACK, TCP_THIN_LINEAR_TIMEOUTS, TCP_TX_DELAY = 37,
            TCP_USER_TIMEOUT, TCP_WINDOW_CLAMP;
        Text: TCP_CONGESTION, TCP_ULP;
        Unread: TCP_AO_ADD_KEY = 38, TCP_AO_DEL_KEY = 39, TCP_AO_GET_KEYS = 41, TCP_AO_INFO = 40,
            TCP_AO_REPAIR = 42, TCP_CC_INFO, TCP_FASTOPEN_KEY, TCP_INFO, TCP_MD5SIG,
            TCP_MD5SIG_EXT, TCP_QUEUE_SEQ, TCP_REPAIR_OPTIONS, TCP_REPAIR_QUEUE,
            TCP_REPAIR_WINDOW, TCP_SAVED_SYN, TCP_TIMESTAMP, TCP_ZEROCOPY_RECEIVE;
    },
};

pub(super) const UDP: Level = Level {
    name: "IPPROTO_UDP",
    number: libc::IPPROTO_UDP,
    options: options! {
        Number: UDP_CORK, UDP_ENCAP, UDP_GRO, UDP_NO_CHECK6_RX, UDP_NO_CHECK6_TX, UDP_SEGMENT;
    },
};
