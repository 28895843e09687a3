//! What a plugin is told of its peers: the engine's facts as the raw tables of the ABI.
//!
//! Invariant: what a table points to belongs to the facts that it was made from.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use polyport_plugin::abi;

use super::settings::bytes;
use crate::engine::session::{DatagramFacts, Facts, Party};

pub(super) fn session(facts: &Facts<'_>) -> abi::SessionInfo {
    abi::SessionInfo {
        size: size_of::<abi::SessionInfo>() as u32,
        flags: facts.credentials.map_or(0, |_| abi::INFO_CREDENTIALS)
            | if facts.proxied { abi::INFO_PROXIED } else { 0 },
        peer: address(facts.peer),
        local: address(facts.local),
        accepted_ms: facts.accepted_ms,
        endpoint: bytes(facts.endpoint),
        peer_pid: facts.credentials.map_or(0, |known| known.pid),
        peer_uid: facts.credentials.map_or(0, |known| known.uid),
        peer_gid: facts.credentials.map_or(0, |known| known.gid),
        reserved0: 0,
    }
}

pub(super) fn datagram(facts: &DatagramFacts<'_>) -> abi::Datagram {
    abi::Datagram {
        size: size_of::<abi::Datagram>() as u32,
        flags: if facts.to_many { abi::INFO_TO_MANY } else { 0 },
        peer: address(facts.peer),
        local: address(facts.local),
        reply_token: facts.reply,
        endpoint: bytes(facts.endpoint),
    }
}

/// An IPv4 peer of a dual-stack listener is shown as IPv4.
fn address(party: Party) -> abi::Address {
    match party {
        Party::Unix => abi::Address {
            family: abi::FAMILY_UNIX,
            ..abi::Address::default()
        },
        Party::Internet(SocketAddr::V4(socket)) => v4(*socket.ip(), socket.port()),
        Party::Internet(SocketAddr::V6(socket)) => match socket.ip().to_canonical() {
            IpAddr::V4(ip) => v4(ip, socket.port()),
            IpAddr::V6(ip) => abi::Address {
                family: abi::FAMILY_IPV6,
                port: socket.port(),
                scope: socket.scope_id(),
                ip: ip.octets(),
            },
        },
    }
}

fn v4(ip: Ipv4Addr, port: u16) -> abi::Address {
    let [a, b, c, d] = ip.octets();
    abi::Address {
        family: abi::FAMILY_IPV4,
        port,
        scope: 0,
        ip: [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_shown_as_the_family_it_is_of() {
        let cases = [
            (
                "192.0.2.7:7",
                abi::FAMILY_IPV4,
                vec![192, 0, 2, 7],
                1 << 32 | 0xc000_0207,
            ),
            (
                "[::ffff:192.0.2.7]:7",
                abi::FAMILY_IPV4,
                vec![192, 0, 2, 7],
                1 << 32 | 0xc000_0207,
            ),
            (
                "[2001:db8::9]:7",
                abi::FAMILY_IPV6,
                vec![0x20, 1, 0x0d, 0xb8],
                0x2001_0db8_0000_0000,
            ),
            (
                "[2001:db8::5]:7",
                abi::FAMILY_IPV6,
                vec![0x20, 1, 0x0d, 0xb8],
                0x2001_0db8_0000_0000,
            ),
            ("[::1]:7", abi::FAMILY_IPV6, vec![0, 0], 1),
        ];
        for (text, family, start, source) in cases {
            let socket: SocketAddr = text.parse().expect("an address");
            let shown = address(socket.into());
            assert_eq!((shown.family, shown.port), (family, 7), "{text}");
            assert!(shown.ip.starts_with(&start), "{text}");
            assert_eq!(Party::from(socket).source(), source, "{text}");
        }
    }
}
