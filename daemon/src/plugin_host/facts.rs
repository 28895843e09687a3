//! What a plugin is told of its peers: the engine's facts as the raw tables of the ABI.
//!
//! Invariant: what a table points to belongs to the facts that it was made from.

use std::net::{IpAddr, SocketAddr};

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

/// An IPv4 peer of a dual-stack listener is shown as IPv4. The address is one word until the end: of an
/// array that is made in one of several ways, compilers move each byte by itself, for every datagram.
fn address(party: Party) -> abi::Address {
    let (family, port, scope, ip) = match party {
        Party::Unix => (abi::FAMILY_UNIX, 0, 0, 0),
        Party::Internet(socket) => match socket.ip().to_canonical() {
            IpAddr::V4(ip) => {
                let ip = u32::from_le_bytes(ip.octets());
                (abi::FAMILY_IPV4, socket.port(), 0, u128::from(ip))
            }
            IpAddr::V6(ip) => {
                let ip = u128::from_le_bytes(ip.octets());
                (abi::FAMILY_IPV6, socket.port(), scope(socket), ip)
            }
        },
    };
    abi::Address {
        family,
        port,
        scope,
        ip: ip.to_le_bytes(),
    }
}

fn scope(socket: SocketAddr) -> u32 {
    match socket {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(socket) => socket.scope_id(),
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
