//! Addresses and sources as a plugin and the scoreboard see them.

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
