//! Whom an echo may never go to, decided from addresses alone.
//!
//! An answer goes where a datagram says that it comes from, and that can be forged. So nothing is
//! said to ports that might answer in turn, to addresses of many or of nobody, or to whoever is not
//! allowed; see CERT CA-1996-01 and CVE-2024-2169.
//!
//! Invariant: pure; the order of the reasons is that of the checks, most certain first.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// Ports below belong to services, not to peers that ask.
const PEER_PORT_MIN: u16 = 1024;

#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    /// Ports of other services that answer; sorted.
    pub(crate) refused_ports: Vec<u16>,
    /// UDP ports of this daemon; sorted.
    pub(crate) served_ports: Vec<u16>,
    pub(crate) allow_broadcast: bool,
    /// If there are any, a peer elsewhere must be in one of them.
    pub(crate) allow: Vec<IpNet>,
}

/// Why a datagram is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Reason {
    LowPort = 0,
    OwnPort,
    ServedPort,
    RefusedPort,
    SourceAddress,
    Destination,
    ForeignLoopback,
    NotAllowed,
    Muted,
    Rate,
    ServiceRate,
    NoWayBack,
    Full,
    Discarded,
}

impl Reason {
    pub(crate) const NAMES: [&str; 14] = [
        "port below 1024",
        "our own port",
        "a port of this daemon",
        "refused port",
        "source address",
        "sent to many",
        "loopback from elsewhere",
        "not allowed",
        "muted",
        "over its rate",
        "over the service's rate",
        "no way back",
        "batch full",
        "discarded",
    ];
}

impl Rules {
    pub(crate) fn refuse(
        &self,
        peer: SocketAddr,
        local: SocketAddr,
        to_many: bool,
    ) -> Option<Reason> {
        let port = peer.port();
        if port < PEER_PORT_MIN {
            return Some(Reason::LowPort);
        }
        if port == local.port() {
            return Some(Reason::OwnPort);
        }
        if self.served_ports.binary_search(&port).is_ok() {
            return Some(Reason::ServedPort);
        }
        if self.refused_ports.binary_search(&port).is_ok() {
            return Some(Reason::RefusedPort);
        }
        if is_nobody(peer.ip()) {
            return Some(Reason::SourceAddress);
        }
        if (to_many || is_many(local.ip())) && !self.allow_broadcast {
            return Some(Reason::Destination);
        }
        if peer.ip().is_loopback() {
            return (!local.ip().is_loopback()).then_some(Reason::ForeignLoopback);
        }
        let allowed =
            self.allow.is_empty() || self.allow.iter().any(|net| net.contains(&peer.ip()));
        (!allowed).then_some(Reason::NotAllowed)
    }
}

/// Addresses that no single peer has. The daemon shows an IPv4 peer of an IPv6 socket as IPv4; one
/// that is still mapped was made up.
fn is_nobody(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => matches!(ip.octets()[0], 0 | 224..),
        IpAddr::V6(ip) => ip.is_multicast() || ip.is_unspecified() || ip.to_ipv4_mapped().is_some(),
    }
}

fn is_many(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_multicast(),
    }
}

/// Whether only this machine reaches an endpoint, given as a URL in numbers.
pub(crate) fn is_local(endpoint: &str) -> bool {
    let Some(address) = endpoint.strip_prefix("udp://") else {
        // The other kind of datagram is that of a Unix socket.
        return true;
    };
    let address: Result<SocketAddr, _> = address.parse();
    address.is_ok_and(|address| address.ip().to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules {
            refused_ports: vec![1900, 2049, 3702, 5353, 11211],
            served_ports: vec![5300, 7008],
            allow_broadcast: false,
            allow: Vec::new(),
        }
    }

    #[test]
    fn who_is_never_answered() {
        use Reason::{
            Destination, ForeignLoopback, LowPort, OwnPort, RefusedPort, ServedPort, SourceAddress,
        };
        // (source, destination, to many, reason)
        let cases = [
            ("192.0.2.1:1024", "198.51.100.1:7007", false, None),
            ("192.0.2.1:65535", "198.51.100.1:7007", false, None),
            ("[2001:db8::1]:5000", "[2001:db8::2]:7007", false, None),
            ("[fe80::1%2]:5000", "[fe80::2%2]:7007", false, None),
            ("192.0.2.1:0", "198.51.100.1:7007", false, Some(LowPort)),
            ("192.0.2.1:7", "198.51.100.1:7007", false, Some(LowPort)),
            ("192.0.2.1:1023", "198.51.100.1:7007", false, Some(LowPort)),
            ("192.0.2.1:7007", "198.51.100.1:7007", false, Some(OwnPort)),
            (
                "[2001:db8::1]:7007",
                "[2001:db8::2]:7007",
                false,
                Some(OwnPort),
            ),
            (
                "192.0.2.1:7008",
                "198.51.100.1:7007",
                false,
                Some(ServedPort),
            ),
            (
                "192.0.2.1:5300",
                "198.51.100.1:7007",
                false,
                Some(ServedPort),
            ),
            (
                "192.0.2.1:1900",
                "198.51.100.1:7007",
                false,
                Some(RefusedPort),
            ),
            (
                "192.0.2.1:2049",
                "198.51.100.1:7007",
                false,
                Some(RefusedPort),
            ),
            (
                "192.0.2.1:3702",
                "198.51.100.1:7007",
                false,
                Some(RefusedPort),
            ),
            (
                "192.0.2.1:5353",
                "198.51.100.1:7007",
                false,
                Some(RefusedPort),
            ),
            (
                "192.0.2.1:11211",
                "198.51.100.1:7007",
                false,
                Some(RefusedPort),
            ),
            (
                "0.0.0.0:5000",
                "198.51.100.1:7007",
                false,
                Some(SourceAddress),
            ),
            (
                "0.1.2.3:5000",
                "198.51.100.1:7007",
                false,
                Some(SourceAddress),
            ),
            (
                "224.0.0.1:5000",
                "198.51.100.1:7007",
                false,
                Some(SourceAddress),
            ),
            (
                "239.255.255.255:5000",
                "198.51.100.1:7007",
                false,
                Some(SourceAddress),
            ),
            (
                "240.0.0.1:5000",
                "198.51.100.1:7007",
                false,
                Some(SourceAddress),
            ),
            (
                "255.255.255.255:5000",
                "198.51.100.1:7007",
                false,
                Some(SourceAddress),
            ),
            (
                "[::]:5000",
                "[2001:db8::2]:7007",
                false,
                Some(SourceAddress),
            ),
            (
                "[ff02::1]:5000",
                "[2001:db8::2]:7007",
                false,
                Some(SourceAddress),
            ),
            (
                "[::ffff:192.0.2.1]:5000",
                "[2001:db8::2]:7007",
                false,
                Some(SourceAddress),
            ),
            (
                "192.0.2.1:5000",
                "198.51.100.255:7007",
                true,
                Some(Destination),
            ),
            (
                "192.0.2.1:5000",
                "255.255.255.255:7007",
                false,
                Some(Destination),
            ),
            (
                "192.0.2.1:5000",
                "224.0.0.251:7007",
                false,
                Some(Destination),
            ),
            (
                "[2001:db8::1]:5000",
                "[ff02::1]:7007",
                false,
                Some(Destination),
            ),
            ("127.0.0.1:5000", "127.0.0.1:7007", false, None),
            ("127.9.9.9:5000", "127.0.0.1:7007", false, None),
            ("[::1]:5000", "[::1]:7007", false, None),
            (
                "127.0.0.1:5000",
                "198.51.100.1:7007",
                false,
                Some(ForeignLoopback),
            ),
            (
                "[::1]:5000",
                "[2001:db8::2]:7007",
                false,
                Some(ForeignLoopback),
            ),
            ("127.0.0.1:7008", "127.0.0.1:7007", false, Some(ServedPort)),
        ];
        for (peer, local, to_many, expected) in cases {
            let [from, to] = [peer, local].map(|text| text.parse().expect("an address"));
            assert_eq!(
                rules().refuse(from, to, to_many),
                expected,
                "{peer} {local}"
            );
        }
    }

    #[test]
    fn what_is_written_is_allowed_and_nothing_more() {
        let rules = Rules {
            allow_broadcast: true,
            allow: ["192.0.2.0/24", "2001:db8::/32"]
                .map(|net| net.parse().expect("a network"))
                .to_vec(),
            ..rules()
        };
        for (peer, local, to_many, expected) in [
            ("192.0.2.1:5000", "198.51.100.1:7007", false, None),
            ("192.0.2.1:5000", "198.51.100.255:7007", true, None),
            ("[2001:db8::1]:5000", "[2001:db8::2]:7007", false, None),
            ("127.0.0.1:5000", "127.0.0.1:7007", false, None),
            (
                "192.0.3.1:5000",
                "198.51.100.1:7007",
                false,
                Some(Reason::NotAllowed),
            ),
            (
                "[2001:db9::1]:5000",
                "[::1]:7007",
                false,
                Some(Reason::NotAllowed),
            ),
            (
                "192.0.2.1:1023",
                "198.51.100.1:7007",
                false,
                Some(Reason::LowPort),
            ),
        ] {
            let [from, to] = [peer, local].map(|text| text.parse().expect("an address"));
            assert_eq!(rules.refuse(from, to, to_many), expected, "{peer}");
        }
    }

    #[test]
    fn only_loopback_and_unix_sockets_are_out_of_everybodys_reach() {
        for (endpoint, expected) in [
            ("udp://127.0.0.1:7", true),
            ("udp://127.3.2.1:7", true),
            ("udp://[::1]:7", true),
            ("unixgram:/run/echo", true),
            ("unixgram:@echo", true),
            ("udp://0.0.0.0:7", false),
            ("udp://[::]:7", false),
            ("udp://192.0.2.1:7", false),
            ("udp://[fe80::1%2]:7", false),
            ("udp://nonsense", false),
        ] {
            assert_eq!(is_local(endpoint), expected, "{endpoint}");
        }
    }
}
