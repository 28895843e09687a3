//! Addresses and control messages as bytes, in the layouts of ip(7), ipv6(7), unix(7) and cmsg(3).
//!
//! What the kernel left out reads as zero, and what is not known is passed over, so that neither an
//! older nor a newer one can lead outside of what it wrote. Nothing here is unsafe.
//!
//! Invariant: what is written here is read back as the same by the other half.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use super::{Name, Source};

pub(super) const NAME_BYTES: usize = 128;
/// Room for two kinds of packet info, and more.
pub(super) const CONTROL_BYTES: usize = 128;
const HEADER_BYTES: usize = size_of::<libc::cmsghdr>();

// --- addresses as bytes ------------------------------------------------------------------------

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    // What is not there reads as zero: a kernel that says less than we know of.
    if let Some(found) = bytes.get(at..at + N) {
        array.copy_from_slice(found);
    }
    array
}

pub(super) fn name(bytes: &[u8]) -> Name<'_> {
    let port = || u16::from_be_bytes(array(bytes, 2));
    match i32::from(u16::from_ne_bytes(array(bytes, 0))) {
        libc::AF_INET => {
            let ip = Ipv4Addr::from(array::<4>(bytes, 4));
            Name::Internet(SocketAddrV4::new(ip, port()).into())
        }
        libc::AF_INET6 => {
            let ip = Ipv6Addr::from(array::<16>(bytes, 8));
            let flow = u32::from_be_bytes(array(bytes, 4));
            let scope = u32::from_ne_bytes(array(bytes, 24));
            Name::Internet(SocketAddrV6::new(ip, port(), flow, scope).into())
        }
        _ => Name::Unix(unix_name(bytes.get(2..).unwrap_or_default())),
    }
}

/// A path may end in a NUL that is not part of it; an abstract name begins with one that is.
fn unix_name(bytes: &[u8]) -> &[u8] {
    match bytes {
        [0, ..] | [] => bytes,
        path => path.split(|byte| *byte == 0).next().unwrap_or(path),
    }
}

/// How many bytes of `into` are the name now; those behind them are left as they were.
pub(super) fn put_name(into: &mut [u8; NAME_BYTES], name: Name<'_>, v6: bool) -> usize {
    match name {
        Name::Internet(SocketAddr::V4(to)) if !v6 => {
            let mut raw = [0; size_of::<libc::sockaddr_in>()];
            raw[..2].copy_from_slice(&family(libc::AF_INET));
            raw[2..4].copy_from_slice(&to.port().to_be_bytes());
            raw[4..8].copy_from_slice(&to.ip().octets());
            put(into, &raw)
        }
        Name::Internet(to) => {
            let (ip, scope) = match to {
                SocketAddr::V4(to) => (to.ip().to_ipv6_mapped(), 0),
                SocketAddr::V6(to) => (*to.ip(), to.scope_id()),
            };
            let mut raw = [0; size_of::<libc::sockaddr_in6>()];
            raw[..2].copy_from_slice(&family(libc::AF_INET6));
            raw[2..4].copy_from_slice(&to.port().to_be_bytes());
            raw[8..24].copy_from_slice(&ip.octets());
            raw[24..].copy_from_slice(&scope.to_ne_bytes());
            put(into, &raw)
        }
        Name::Unix(path) => {
            let path = &path[..path.len().min(NAME_BYTES - 3)];
            let ending = usize::from(path.first().is_some_and(|byte| *byte != 0));
            into[..2].copy_from_slice(&family(libc::AF_UNIX));
            into[2..2 + path.len()].copy_from_slice(path);
            into[2 + path.len()] = 0;
            (2 + path.len() + ending).min(size_of::<libc::sockaddr_un>())
        }
    }
}

fn family(family: i32) -> [u8; 2] {
    (family as u16).to_ne_bytes()
}

fn put<const N: usize>(into: &mut [u8; NAME_BYTES], raw: &[u8; N]) -> usize {
    into[..N].copy_from_slice(raw);
    N
}

// --- control messages as bytes -----------------------------------------------------------------

pub(super) struct Control<'a> {
    pub(super) level: i32,
    pub(super) kind: i32,
    bytes: &'a [u8],
}

impl Control<'_> {
    pub(super) fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        array(self.bytes, at)
    }
}

/// The messages that the kernel wrote.
pub(super) struct Controls<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Controls<'a> {
    type Item = Control<'a>;

    fn next(&mut self) -> Option<Control<'a>> {
        let length = usize::from_ne_bytes(array(self.0, 0));
        if length < HEADER_BYTES {
            return None;
        }
        let message = self.0.get(..length)?;
        self.0 = self.0.get(aligned(length)..).unwrap_or_default();
        Some(Control {
            level: i32::from_ne_bytes(array(message, size_of::<usize>())),
            kind: i32::from_ne_bytes(array(message, size_of::<usize>() + 4)),
            bytes: &message[HEADER_BYTES..],
        })
    }
}

/// Messages for the kernel.
pub(super) struct Written<'a> {
    pub(super) bytes: &'a mut [u8; CONTROL_BYTES],
    pub(super) length: usize,
}

impl Written<'_> {
    pub(super) fn put(&mut self, level: i32, kind: i32, bytes: &[u8]) {
        let message = &mut self.bytes[self.length..];
        let length = HEADER_BYTES + bytes.len();
        message[..8].copy_from_slice(&length.to_ne_bytes());
        message[8..12].copy_from_slice(&level.to_ne_bytes());
        message[12..16].copy_from_slice(&kind.to_ne_bytes());
        message[HEADER_BYTES..length].copy_from_slice(bytes);
        self.length += aligned(length);
    }

    /// `to` is whom the datagram goes to: an IPv4 peer of an IPv6 socket takes IPv4 ways only.
    pub(super) fn source(&mut self, source: Source, to: Name<'_>, v6: bool) {
        let interface = source.interface.to_ne_bytes();
        if v6 {
            let ip = match source.address {
                None if is_ipv4(to) => Ipv4Addr::UNSPECIFIED.to_ipv6_mapped(),
                None => Ipv6Addr::UNSPECIFIED,
                Some(IpAddr::V4(ip)) => ip.to_ipv6_mapped(),
                Some(IpAddr::V6(ip)) => ip,
            };
            let mut info = [0; 20];
            info[..16].copy_from_slice(&ip.octets());
            info[16..].copy_from_slice(&interface);
            self.put(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
        } else {
            let ip = match source.address.map(|ip| ip.to_canonical()) {
                Some(IpAddr::V4(ip)) => ip,
                Some(IpAddr::V6(_)) | None => Ipv4Addr::UNSPECIFIED,
            };
            let mut info = [0; 12];
            info[..4].copy_from_slice(&interface);
            info[4..8].copy_from_slice(&ip.octets());
            self.put(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
        }
    }
}

fn is_ipv4(name: Name<'_>) -> bool {
    matches!(name, Name::Internet(peer) if peer.ip().to_canonical().is_ipv4())
}

const fn aligned(length: usize) -> usize {
    length.next_multiple_of(align_of::<usize>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_name_is_read_as_it_was_written() {
        let cases: [(Name<'_>, bool, Name<'_>); 7] = [
            (
                Name::Internet(address("192.0.2.1:9")),
                false,
                Name::Internet(address("192.0.2.1:9")),
            ),
            (
                Name::Internet(address("192.0.2.1:9")),
                true,
                Name::Internet(address("[::ffff:192.0.2.1]:9")),
            ),
            (
                Name::Internet(address("[fe80::1%3]:65535")),
                true,
                Name::Internet(address("[fe80::1%3]:65535")),
            ),
            (Name::Unix(b"/run/a"), false, Name::Unix(b"/run/a")),
            (
                Name::Unix(b"\0abs\0tract"),
                false,
                Name::Unix(b"\0abs\0tract"),
            ),
            (Name::Unix(b""), false, Name::Unix(b"")),
            (Name::Unix(&[b'x'; 108]), false, Name::Unix(&[b'x'; 108])),
        ];
        for (written, v6, expected) in cases {
            // What was there before is no part of it.
            let mut bytes = [7; NAME_BYTES];
            let length = put_name(&mut bytes, written, v6);
            assert_eq!(name(&bytes[..length]), expected, "{written:?}");
        }
    }

    #[test]
    fn no_bytes_of_the_kernel_lead_outside_of_them() {
        let mut state = 7u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        for round in 0..20_000 {
            let mut bytes = [0u8; CONTROL_BYTES];
            bytes.fill_with(&mut next);
            // Lengths that are plausible now and then, or nothing would be read at all.
            let length = usize::from(next()) % 48;
            bytes[..8].copy_from_slice(&length.to_ne_bytes());
            let end = usize::from(next()) % (CONTROL_BYTES + 1);
            assert!(Controls(&bytes[..end]).count() <= CONTROL_BYTES, "{round}");
            let _ = name(&bytes[..end]);
        }
    }

    #[test]
    fn a_source_is_said_in_the_family_of_the_socket() {
        let v4 = Some(IpAddr::from([192, 0, 2, 1]));
        let mapped = Some(IpAddr::from(Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped()));
        let cases = [
            (v4, "192.0.2.7:9", false, "192.0.2.1"),
            (mapped, "192.0.2.7:9", false, "192.0.2.1"),
            (None, "192.0.2.7:9", false, "0.0.0.0"),
            (v4, "[::ffff:192.0.2.7]:9", true, "::ffff:192.0.2.1"),
            (None, "[::ffff:192.0.2.7]:9", true, "::ffff:0.0.0.0"),
            (None, "[2001:db8::7]:9", true, "::"),
        ];
        for (source, to, v6, expected) in cases {
            let mut bytes = [0; CONTROL_BYTES];
            let mut written = Written {
                bytes: &mut bytes,
                length: 0,
            };
            let source = Source {
                address: source,
                interface: 5,
            };
            written.source(source, Name::Internet(address(to)), v6);
            let length = written.length;
            let message = Controls(&bytes[..length]).next().expect("one message");
            let (said, interface): (IpAddr, [u8; 4]) = if v6 {
                (message.array::<16>(0).into(), message.array(16))
            } else {
                (message.array::<4>(4).into(), message.array(0))
            };
            assert_eq!(said.to_string(), expected);
            assert_eq!(u32::from_ne_bytes(interface), 5);
        }
    }
}
