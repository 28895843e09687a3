//! The PROXY header: how a trusted proxy says for whom it speaks, in its versions 1 and 2.
//!
//! A function of the bytes that came so far: not enough of them, a header and its length, or no
//! header at all. Nothing is guessed; a proxy that is asked for a header and sends something else is
//! misconfigured, and a peer that pretends to be one must not get through by chance. Additions
//! behind the addresses (TLV) are stepped over.
//!
//! Invariant: no more than [`HEADER_BYTES_MAX`] bytes are ever asked for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::session::Party;

/// The longest line of version 1, with its end.
const LINE_BYTES_MAX: usize = 107;
const FIXED_BYTES: usize = 16;
/// What version 2 may have behind its fixed part: the longest addresses, and as much of additions
/// as the protocol's own advice on sizes leaves room for.
const REST_BYTES_MAX: usize = 536;
pub const HEADER_BYTES_MAX: usize = FIXED_BYTES + REST_BYTES_MAX;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// So far it is the beginning of one.
    More,
    Header(Header),
    /// It is none, and cannot become one.
    Malformed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What follows is the peer's.
    pub bytes: usize,
    /// The peer, and where it came to; `None` if the proxy speaks for itself or does not know.
    pub ends: Option<(Party, Party)>,
}

pub fn parse(bytes: &[u8]) -> Parsed {
    match bytes.first() {
        None => Parsed::More,
        Some(b'P') => line(bytes),
        Some(b'\r') => binary(bytes),
        Some(_) => Parsed::Malformed,
    }
}

/// Version 1: `PROXY TCP4 192.0.2.7 198.51.100.1 40000 7\r\n`.
fn line(bytes: &[u8]) -> Parsed {
    const WORD: &[u8] = b"PROXY ";
    let begun = &bytes[..bytes.len().min(WORD.len())];
    if !WORD.starts_with(begun) {
        return Parsed::Malformed;
    }
    let seen = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = seen.windows(2).position(|pair| pair == b"\r\n") else {
        return match seen.len() {
            LINE_BYTES_MAX => Parsed::Malformed,
            _ => Parsed::More,
        };
    };
    let header = |ends| {
        Parsed::Header(Header {
            bytes: end + 2,
            ends,
        })
    };
    let Some(text) = seen.get(WORD.len()..end) else {
        return Parsed::Malformed;
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return Parsed::Malformed;
    };
    let words: Vec<&str> = text.split(' ').collect();
    match words[..] {
        ["UNKNOWN", ..] => header(None),
        [family, peer, local, peer_port, local_port] => {
            let peer = line_end(family, peer, peer_port);
            let local = line_end(family, local, local_port);
            match peer.zip(local) {
                Some(ends) => header(Some(ends)),
                None => Parsed::Malformed,
            }
        }
        _ => Parsed::Malformed,
    }
}

fn line_end(family: &str, address: &str, port: &str) -> Option<Party> {
    let address: IpAddr = match family {
        "TCP4" => address.parse::<Ipv4Addr>().ok()?.into(),
        "TCP6" => address.parse::<Ipv6Addr>().ok()?.into(),
        _ => return None,
    };
    let plain = port.bytes().all(|b| b.is_ascii_digit()) && (port == "0" || !port.starts_with('0'));
    let port: u16 = port.parse().ok().filter(|_| plain)?;
    Some(SocketAddr::new(address, port).into())
}

/// Version 2: signature, version and command, family and transport, length, addresses, additions.
fn binary(bytes: &[u8]) -> Parsed {
    let begun = &bytes[..bytes.len().min(SIGNATURE.len())];
    if !SIGNATURE.starts_with(begun) {
        return Parsed::Malformed;
    }
    let Some((fixed, rest)) = bytes.split_at_checked(FIXED_BYTES) else {
        return Parsed::More;
    };
    let (command, family) = (fixed[12], fixed[13]);
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if length > REST_BYTES_MAX {
        return Parsed::Malformed;
    }
    let Some(rest) = rest.get(..length) else {
        return Parsed::More;
    };
    let header = |ends| {
        Parsed::Header(Header {
            bytes: FIXED_BYTES + length,
            ends,
        })
    };
    match (command, family) {
        // The proxy speaks for itself: a look whether somebody is there. The family is to be ignored.
        (0x20, _) => header(None),
        (0x21, 0x00) => header(None),
        (0x21, 0x11) => match rest.first_chunk::<12>() {
            Some(ends) => header(Some(v4_ends(ends))),
            None => Parsed::Malformed,
        },
        (0x21, 0x21) => match rest.first_chunk::<36>() {
            Some(ends) => header(Some(v6_ends(ends))),
            None => Parsed::Malformed,
        },
        (0x21, 0x31) if length >= 216 => header(Some((Party::Unix, Party::Unix))),
        // Datagrams, or what a later version may bring.
        _ => Parsed::Malformed,
    }
}

fn v4_ends(bytes: &[u8; 12]) -> (Party, Party) {
    let [a, b, c, d, e, f, g, h, ports @ ..] = *bytes;
    let (peer_port, local_port) = ports_of(ports);
    let peer = SocketAddr::from(([a, b, c, d], peer_port));
    let local = SocketAddr::from(([e, f, g, h], local_port));
    (peer.into(), local.into())
}

fn v6_ends(bytes: &[u8; 36]) -> (Party, Party) {
    let address = |at: usize| {
        let mut octets = [0; 16];
        octets.copy_from_slice(&bytes[at..at + 16]);
        octets
    };
    let (peer_port, local_port) = ports_of([bytes[32], bytes[33], bytes[34], bytes[35]]);
    let peer = SocketAddr::from((address(0), peer_port));
    let local = SocketAddr::from((address(16), local_port));
    (peer.into(), local.into())
}

fn ports_of([a, b, c, d]: [u8; 4]) -> (u16, u16) {
    (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(peer: &str, local: &str) -> Option<(Party, Party)> {
        let party = |text: &str| Party::from(text.parse::<SocketAddr>().expect("an address"));
        Some((party(peer), party(local)))
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = (rest.len() as u16).to_be_bytes();
        [SIGNATURE, &[command, family][..], &length, rest].concat()
    }

    /// Cut anywhere it wants more, whole it is this header whatever follows.
    fn is_header(bytes: &[u8], ends: Option<(Party, Party)>) {
        for cut in 0..bytes.len() {
            assert_eq!(parse(&bytes[..cut]), Parsed::More, "cut at {cut}");
        }
        let header = Header {
            bytes: bytes.len(),
            ends,
        };
        for behind in [&b""[..], b"\r\n", b"PROXY ", &[0xff; 600]] {
            let whole = [bytes, behind].concat();
            assert_eq!(parse(&whole), Parsed::Header(header), "{behind:?}");
        }
    }

    #[test]
    fn a_line_says_who_came_where() {
        is_header(
            b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 7\r\n",
            ends("192.0.2.7:40000", "198.51.100.1:7"),
        );
        is_header(
            b"PROXY TCP6 2001:db8::1 ::1 65535 0\r\n",
            ends("[2001:db8::1]:65535", "[::1]:0"),
        );
        is_header(b"PROXY UNKNOWN\r\n", None);
        is_header(b"PROXY UNKNOWN ffff::1 anything at all\r\n", None);
        let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(107 - 16));
        is_header(longest.as_bytes(), None);
    }

    #[test]
    fn a_line_that_is_wrong_anywhere_is_refused() {
        let too_long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(107 - 15));
        for line in [
            "X",
            "PROXY\r\n",
            "Proxy TCP4 192.0.2.7 198.51.100.1 40000 7\r\n",
            "PROXY TCP4\r\n",
            "PROXY TCP5 192.0.2.7 198.51.100.1 40000 7\r\n",
            "PROXY TCP4  192.0.2.7 198.51.100.1 40000 7\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 40000 7 \r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 40000\r\n",
            "PROXY TCP4 192.0.2.07 198.51.100.1 40000 7\r\n",
            "PROXY TCP4 ::1 198.51.100.1 40000 7\r\n",
            "PROXY TCP6 192.0.2.7 ::1 40000 7\r\n",
            "PROXY TCP6 fe80::1%1 ::1 40000 7\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 65536 7\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 +4000 7\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 04000 7\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 40000 \r\n",
            &too_long,
        ] {
            assert_eq!(parse(line.as_bytes()), Parsed::Malformed, "{line:?}");
        }
        let not_text = b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 \xff\r\n";
        assert_eq!(parse(not_text), Parsed::Malformed);
    }

    #[test]
    fn a_binary_header_says_who_came_where() {
        let v4 = [192, 0, 2, 7, 198, 51, 100, 1, 0x9c, 0x40, 0, 7];
        let v4_ends = ends("192.0.2.7:40000", "198.51.100.1:7");
        is_header(&v2(0x21, 0x11, &v4), v4_ends);
        is_header(&v2(0x21, 0x11, &[&v4[..], &[4, 0, 1, 9]].concat()), v4_ends);
        let mut v6 = [0; 36];
        v6[..4].copy_from_slice(&[0x20, 1, 0x0d, 0xb8]);
        (v6[15], v6[31], v6[33], v6[35]) = (1, 1, 5, 7);
        is_header(&v2(0x21, 0x21, &v6), ends("[2001:db8::1]:5", "[::1]:7"));
        let unix = Some((Party::Unix, Party::Unix));
        is_header(&v2(0x21, 0x31, &[b'x'; 216]), unix);
        is_header(&v2(0x21, 0x00, b""), None);
        is_header(&v2(0x20, 0x11, b"whatever"), None);
        is_header(&v2(0x20, 0x00, &[0; 536]), None);
    }

    #[test]
    fn a_binary_header_that_is_wrong_anywhere_is_refused() {
        for bytes in [
            b"\r\n\r\n\0\r\nQUIT!".to_vec(),
            b"\r\rx".to_vec(),
            v2(0x11, 0x11, &[0; 12]),
            v2(0x22, 0x11, &[0; 12]),
            v2(0x21, 0x12, &[0; 12]),
            v2(0x21, 0x22, &[0; 36]),
            v2(0x21, 0x41, &[0; 36]),
            v2(0x21, 0x11, &[0; 11]),
            v2(0x21, 0x21, &[0; 35]),
            v2(0x21, 0x31, &[0; 215]),
            v2(0x20, 0x00, &[0; 537]),
        ] {
            assert_eq!(parse(&bytes), Parsed::Malformed, "{bytes:?}");
        }
    }
}
