//! Endpoints: "tcp://HOST:PORT" or "unix:PATH" to an address, and which cannot be bound together.
//!
//! Only numbers are addresses here. A host name would tie the start of the daemon to a name server
//! and change its meaning over time, so names are refused; names of ports and of interfaces are
//! known on this machine and handed in as facts.
//!
//! Invariant: two claims that [`overlap`] cannot both be bound by one daemon.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::path::{Component, Path};

use super::facts::Facts;
use super::{Address, UnixName, socket};
use crate::config::{Fault, shown};

const FORM: &str = "write tcp://HOST:PORT, udp://HOST:PORT, unix:/PATH or unixgram:/PATH, \
                    for example tcp://127.0.0.1:7007";
/// unix(7): 108 bytes, one of them the NUL at the end of a path or before an abstract name.
const UNIX_NAME_BYTES_MAX: usize = 107;

pub(super) fn parse(written: &str, facts: &Facts) -> Result<Address, Fault> {
    let quoted = shown(written);
    if let Some(rest) = written.strip_prefix("tcp://") {
        return internet(rest, "tcp", facts, &quoted).map(Address::Tcp);
    }
    if let Some(rest) = written.strip_prefix("udp://") {
        return internet(rest, "udp", facts, &quoted).map(Address::Udp);
    }
    if let Some(rest) = written.strip_prefix("unix:") {
        return unix_name(rest, "unix", &quoted).map(Address::Unix);
    }
    if let Some(rest) = written.strip_prefix("unixgram:") {
        return unix_name(rest, "unixgram", &quoted).map(Address::UnixDatagram);
    }
    Err(match written.starts_with("tls://") {
        true => {
            Fault::new(format!("tls:// is not in this release, in \"{quoted}\"")).hint("use tcp://")
        }
        false => Fault::new(format!("\"{quoted}\" is not an endpoint")).hint(FORM),
    })
}

fn internet(rest: &str, transport: &str, facts: &Facts, quoted: &str) -> Result<SocketAddr, Fault> {
    let (host, port) = match rest.strip_prefix('[') {
        Some(inside) => inside.split_once("]:").ok_or_else(|| {
            Fault::new(format!("\"{quoted}\" is not an endpoint"))
                .hint(format!("write {transport}://[::1]:PORT"))
        })?,
        None => rest
            .rsplit_once(':')
            .ok_or_else(|| Fault::new(format!("\"{quoted}\" has no port")).hint(FORM))?,
    };
    let port = port_number(port, transport, &facts.services, quoted)?;
    if rest.starts_with('[') {
        return ipv6(host, port, facts, quoted).map(SocketAddr::V6);
    }
    let ip = ipv4(host, transport, quoted)?;
    Ok(SocketAddr::V4(SocketAddrV4::new(ip, port)))
}

/// "@NAME", or an absolute path that names the same file however the daemon's directory changes.
fn unix_name(rest: &str, scheme: &str, quoted: &str) -> Result<UnixName, Fault> {
    let wrong = |what: &str| Fault::new(format!("{what}, in \"{quoted}\""));
    let name = match rest.strip_prefix('@') {
        Some("") => {
            return Err(wrong("an abstract name is missing").hint(format!("write {scheme}:@NAME")));
        }
        Some(name) => UnixName::Abstract(name.to_owned()),
        None if rest.starts_with("//") => {
            return Err(wrong("a path begins with one slash").hint(format!("write {scheme}:/PATH")));
        }
        None if !rest.starts_with('/') => {
            return Err(wrong("a path is absolute").hint(format!(
                "write {scheme}:/PATH, or {scheme}:@NAME for an abstract name"
            )));
        }
        None if rest.ends_with('/') || has_parent(rest) => {
            return Err(
                wrong("not the path of a file").hint("write it without .. and a last slash")
            );
        }
        None => UnixName::Path(rest.into()),
    };
    let bytes = rest.strip_prefix('@').unwrap_or(rest).len();
    if bytes > UNIX_NAME_BYTES_MAX {
        return Err(
            wrong(&format!("a name of {bytes} bytes is too long")).hint(format!(
                "a Unix socket's name has at most {UNIX_NAME_BYTES_MAX}"
            )),
        );
    }
    Ok(name)
}

fn has_parent(path: &str) -> bool {
    let mut parts = Path::new(path).components();
    parts.any(|part| part == Component::ParentDir) || path.ends_with("/.")
}

fn ipv4(host: &str, transport: &str, quoted: &str) -> Result<Ipv4Addr, Fault> {
    if host == "*" {
        return Ok(Ipv4Addr::UNSPECIFIED);
    }
    host.parse().map_err(|_| {
        if host.is_empty() {
            return Fault::new(format!("\"{quoted}\" has no host"))
                .hint("write * for every IPv4 address of this machine");
        }
        if host.contains(':') {
            return Fault::new(format!("\"{quoted}\" has an IPv6 address without brackets"))
                .hint(format!("write {transport}://[ADDRESS]:PORT"));
        }
        let host = shown(host);
        if host.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return Fault::new(format!(
                "\"{host}\" is not an IPv4 address, in \"{quoted}\""
            ))
            .hint("four numbers from 0 to 255, without leading zeros");
        }
        Fault::new(format!("\"{host}\" is not an address, in \"{quoted}\"")).hint(
            "host names are not resolved here: write the address in numbers, or * for all of IPv4",
        )
    })
}

fn ipv6(host: &str, port: u16, facts: &Facts, quoted: &str) -> Result<SocketAddrV6, Fault> {
    let (address, scope) = match host.split_once('%') {
        Some((address, scope)) => (address, Some(scope)),
        None => (host, None),
    };
    let ip = address.parse::<Ipv6Addr>().map_err(|_| {
        let address = shown(address);
        Fault::new(format!(
            "\"{address}\" is not an IPv6 address, in \"{quoted}\""
        ))
    })?;
    let scope = match scope {
        None if ip.is_unicast_link_local() => {
            let problem = format!("a link-local address needs its interface, in \"{quoted}\"");
            return Err(Fault::new(problem).hint(format!("write [{ip}%INTERFACE]")));
        }
        None => 0,
        Some(interface) => socket::interface(interface, facts).map_err(|fault| Fault {
            problem: format!("{}, in \"{quoted}\"", fault.problem),
            ..fault
        })?,
    };
    Ok(SocketAddrV6::new(ip, port, 0, scope))
}

fn port_number(port: &str, transport: &str, services: &str, quoted: &str) -> Result<u16, Fault> {
    if port.is_empty() {
        return Err(Fault::new(format!("\"{quoted}\" has no port")).hint(FORM));
    }
    if port.bytes().all(|b| b.is_ascii_digit()) {
        return digits_only(port).ok_or_else(|| {
            let problem = format!("port {} is too large, in \"{quoted}\"", shown(port));
            Fault::new(problem).hint("ports go from 0 to 65535")
        });
    }
    named_port(port, transport, services).ok_or_else(|| {
        let port = shown(port);
        Fault::new(format!(
            "no {transport} port is named \"{port}\", in \"{quoted}\""
        ))
        .hint("write its number, or add the name to /etc/services")
    })
}

/// `parse` alone would take a sign as well.
fn digits_only<N: std::str::FromStr>(text: &str) -> Option<N> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// As services(5) has it: "name port/protocol alias…  # comment".
fn named_port(name: &str, transport: &str, services: &str) -> Option<u16> {
    services.lines().find_map(|line| {
        let line = line.split('#').next().unwrap_or(line);
        let mut words = line.split_whitespace();
        let official = words.next()?;
        let port = words.next()?.strip_suffix(transport)?.strip_suffix('/')?;
        let named = official == name || words.any(|alias| alias == name);
        named.then(|| digits_only(port)).flatten()
    })
}

/// What there can be a contest for: a port, or a Unix name. Port 0 asks for any free one.
pub(super) fn contested(address: &Address) -> Option<String> {
    match address {
        Address::Tcp(socket) | Address::Udp(socket) => {
            (socket.port() != 0).then(|| socket.port().to_string())
        }
        // As a path compares, not as it is written.
        Address::Unix(UnixName::Path(path)) | Address::UnixDatagram(UnixName::Path(path)) => Some(
            path.components()
                .collect::<std::path::PathBuf>()
                .display()
                .to_string(),
        ),
        Address::Unix(name) | Address::UnixDatagram(name) => Some(name.to_string()),
    }
}

/// An address as somebody wants to have it.
#[derive(Clone, Copy)]
pub(super) struct Want<'a> {
    pub(super) address: &'a Address,
    pub(super) v6only: bool,
    pub(super) device: Option<&'a str>,
}

/// Whether binding one of them leaves the other in use. A wildcard takes every address of its
/// family, and `[::]` IPv4 too unless it is told otherwise; sockets of two devices never meet.
pub(super) fn overlap(one: &Want<'_>, other: &Want<'_>) -> bool {
    let sockets = match (one.address, other.address) {
        (Address::Tcp(one), Address::Tcp(other)) | (Address::Udp(one), Address::Udp(other)) => {
            (*one, *other)
        }
        (Address::Unix(one), Address::Unix(other))
        | (Address::UnixDatagram(one), Address::UnixDatagram(other)) => return one == other,
        // Two kinds of socket cannot share a file, but they can share an abstract name.
        (Address::Unix(UnixName::Path(one)), Address::UnixDatagram(UnixName::Path(other)))
        | (Address::UnixDatagram(UnixName::Path(one)), Address::Unix(UnixName::Path(other))) => {
            return one == other;
        }
        _ => return false,
    };
    if let (Some(one), Some(other)) = (one.device, other.device)
        && one != other
    {
        return false;
    }
    let apart = |want: &Want<'_>, socket: SocketAddr| want.v6only && socket.is_ipv6();
    sockets_overlap(
        (sockets.0, apart(one, sockets.0)),
        (sockets.1, apart(other, sockets.1)),
    )
}

/// Each with whether it keeps to IPv6.
fn sockets_overlap(one: (SocketAddr, bool), other: (SocketAddr, bool)) -> bool {
    let ((one, one_apart), (other, other_apart)) = (one, other);
    if one.port() != other.port() || one.port() == 0 {
        return false;
    }
    let scopes_differ = match (one, other) {
        (SocketAddr::V6(one), SocketAddr::V6(other)) => one.scope_id() != other.scope_id(),
        _ => false,
    };
    let (one, other) = (one.ip().to_canonical(), other.ip().to_canonical());
    if one == other {
        return !scopes_differ || one.is_unspecified();
    }
    covers(one, one_apart, other) || covers(other, other_apart, one)
}

fn covers(wildcard: IpAddr, apart: bool, other: IpAddr) -> bool {
    let ipv4_too = wildcard.is_ipv6() && !apart;
    wildcard.is_unspecified() && (wildcard.is_ipv6() == other.is_ipv6() || ipv4_too)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            cpus: 1,
            services: "# comment\necho\t\t7/tcp\necho 7/udp\nhttp 80/tcp www # WWW\n\
                       tftp 69/udp\nbroken\nodd +5/tcp\n"
                .to_owned(),
            user: |_| Ok(None),
            group: |_| Ok(None),
            interface: |name| match name {
                "eth0" => Ok(Some(2)),
                "eth9" => Err("EIO".to_owned()),
                _ => Ok(None),
            },
            exists: |_| false,
        }
    }

    fn address(url: &str) -> Address {
        parse(url, &facts()).unwrap_or_else(|fault| panic!("{url}: {fault:?}"))
    }

    #[test]
    fn an_endpoint_is_numbers_and_at_most_the_name_of_a_port() {
        let cases = [
            ("127.0.0.1:7007", "127.0.0.1:7007"),
            ("*:80", "0.0.0.0:80"),
            ("0.0.0.0:0", "0.0.0.0:0"),
            ("[::]:65535", "[::]:65535"),
            ("[::1]:echo", "[::1]:7"),
            ("[fe80::1%2]:9", "[fe80::1%2]:9"),
            ("[fe80::1%eth0]:9", "[fe80::1%2]:9"),
            ("[::ffff:1.2.3.4]:9", "[::ffff:1.2.3.4]:9"),
        ];
        for (written, expected) in cases {
            let expected = expected.parse().expect("an address");
            assert_eq!(address(&format!("tcp://{written}")), Address::Tcp(expected));
            assert_eq!(address(&format!("udp://{written}")), Address::Udp(expected));
        }
        let named = |url: &str| address(url).socket().expect("of the Internet").port();
        assert_eq!(named("tcp://127.0.0.1:www"), 80);
        assert_eq!(named("udp://127.0.0.1:tftp"), 69);
    }

    #[test]
    fn a_unix_name_is_an_absolute_path_or_abstract() {
        let longest = format!("/{}", "x".repeat(UNIX_NAME_BYTES_MAX - 1));
        for path in ["/run/x.sock", "/a b/@c", "/run/./x", &longest] {
            let name = UnixName::Path(path.into());
            assert_eq!(
                address(&format!("unix:{path}")),
                Address::Unix(name.clone())
            );
            assert_eq!(
                address(&format!("unixgram:{path}")),
                Address::UnixDatagram(name)
            );
        }
        for text in ["x", "/x", "@", &"x".repeat(UNIX_NAME_BYTES_MAX)] {
            let name = UnixName::Abstract(text.to_owned());
            assert_eq!(address(&format!("unix:@{text}")), Address::Unix(name));
        }
    }

    #[test]
    fn a_refused_endpoint_says_what_would_do() {
        let long = format!("unix:/{}", "x".repeat(UNIX_NAME_BYTES_MAX));
        let long_abstract = format!("unixgram:@{}", "x".repeat(UNIX_NAME_BYTES_MAX + 1));
        let cases = [
            ("", "not an endpoint"),
            ("127.0.0.1:80", "not an endpoint"),
            ("http://127.0.0.1:80", "not an endpoint"),
            ("tls://127.0.0.1:443", "tls:// is not in this release"),
            ("tcp://", "has no port"),
            ("tcp://127.0.0.1", "has no port"),
            ("tcp://127.0.0.1:", "has no port"),
            ("tcp://:80", "has no host"),
            ("tcp://localhost:80", "host names are not resolved"),
            ("tcp://127.0.0.01:80", "not an IPv4 address"),
            ("tcp://127.1:80", "not an IPv4 address"),
            ("udp://256.0.0.1:80", "not an IPv4 address"),
            ("tcp://::1:80", "without brackets; write tcp://["),
            ("udp://::1:80", "without brackets; write udp://["),
            ("tcp://[::1]", "not an endpoint"),
            ("tcp://[::1]80", "not an endpoint"),
            ("tcp://[localhost]:80", "not an IPv6 address"),
            ("tcp://[fe80::1]:80", "needs its interface"),
            (
                "tcp://[fe80::1%eth1]:80",
                "no network interface \"eth1\", in",
            ),
            ("tcp://[fe80::1%eth9]:80", "cannot look up"),
            ("tcp://[fe80::1%0]:80", "no network interface 0"),
            ("tcp://[fe80::1%+1]:80", "no network interface"),
            ("tcp://[fe80::1%]:80", "not the name of"),
            ("tcp://[fe80::1%sixteen-letters0]:80", "not the name of"),
            ("tcp://127.0.0.1:65536", "too large"),
            ("tcp://127.0.0.1:99999999999999999999", "too large"),
            ("tcp://127.0.0.1:+80", "no tcp port is named \"+80\""),
            ("tcp://127.0.0.1:80/", "no tcp port is named \"80/\""),
            ("tcp://127.0.0.1:tftp", "no tcp port is named \"tftp\""),
            ("udp://127.0.0.1:www", "no udp port is named \"www\""),
            ("tcp://127.0.0.1:odd", "no tcp port is named \"odd\""),
            ("unix:", "a path is absolute"),
            ("unix:x.sock", "a path is absolute"),
            ("unix://run/x.sock", "begins with one slash"),
            ("unix:/", "not the path of a file"),
            ("unix:/run/", "not the path of a file"),
            ("unix:/run/.", "not the path of a file"),
            ("unix:/run/../x", "not the path of a file"),
            ("unixgram:@", "abstract name is missing"),
            (&long, "108 bytes is too long"),
            (&long_abstract, "108 bytes is too long"),
        ];
        for (written, reason) in cases {
            let fault = parse(written, &facts()).expect_err(written);
            let said = format!("{}; {}", fault.problem, fault.hint.unwrap_or_default());
            assert!(said.contains(reason), "{written}: {said}");
        }
    }

    #[test]
    fn a_wildcard_overlaps_what_it_covers_and_port_0_nothing() {
        let cases = [
            ("tcp://127.0.0.1:80", "tcp://127.0.0.1:80", true),
            ("tcp://127.0.0.1:80", "udp://127.0.0.1:80", false),
            ("udp://127.0.0.1:80", "udp://*:80", true),
            ("tcp://127.0.0.1:80", "tcp://127.0.0.2:80", false),
            ("tcp://127.0.0.1:80", "tcp://127.0.0.1:81", false),
            ("tcp://0.0.0.0:80", "tcp://127.0.0.1:80", true),
            ("tcp://0.0.0.0:80", "tcp://[::1]:80", false),
            ("tcp://[::]:80", "tcp://[::1]:80", true),
            ("tcp://[::]:80", "tcp://127.0.0.1:80", true),
            ("tcp://[::]:80", "tcp://0.0.0.0:80", true),
            ("v6only tcp://[::]:80", "tcp://0.0.0.0:80", false),
            ("v6only tcp://[::]:80", "tcp://127.0.0.1:80", false),
            ("v6only tcp://[::]:80", "tcp://[::1]:80", true),
            ("v6only tcp://[::]:80", "tcp://[::]:80", true),
            ("v6only tcp://0.0.0.0:80", "tcp://127.0.0.1:80", true),
            ("tcp://[::ffff:127.0.0.1]:80", "tcp://127.0.0.1:80", true),
            ("tcp://[fe80::1%1]:80", "tcp://[fe80::1%2]:80", false),
            ("tcp://[fe80::1%1]:80", "tcp://[fe80::1%1]:80", true),
            ("tcp://127.0.0.1:0", "tcp://127.0.0.1:0", false),
            ("tcp://0.0.0.0:0", "tcp://127.0.0.1:0", false),
            ("unix:/run/x", "unix:/run//x", true),
            ("unix:/run/x", "unixgram:/run/x", true),
            ("unix:/run/x", "unix:/run/y", false),
            ("unix:/x", "unix:@/x", false),
            ("unix:@x", "unix:@x", true),
            ("unix:@x", "unixgram:@x", false),
        ];
        for (one, other, expected) in cases {
            let [a, b] = [one, other].map(|text| match text.strip_prefix("v6only ") {
                Some(url) => (address(url), true),
                None => (address(text), false),
            });
            let want = |(address, v6only)| Want {
                address,
                v6only,
                device: None,
            };
            let (a, b) = (want((&a.0, a.1)), want((&b.0, b.1)));
            assert_eq!(overlap(&a, &b), expected, "{one} {other}");
            assert_eq!(overlap(&b, &a), expected, "{other} {one}");
            let same_place = contested(a.address) == contested(b.address);
            assert!(
                !expected || same_place,
                "{one} {other} would not be compared"
            );
            let (left, right) = (Some("eth0"), Some("eth1"));
            let (left, right) = (Want { device: left, ..a }, Want { device: right, ..b });
            let internet = a.address.socket().is_some();
            assert_eq!(
                overlap(&left, &right),
                expected && !internet,
                "{one} {other}"
            );
        }
    }
}
