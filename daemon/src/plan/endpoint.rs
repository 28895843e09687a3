//! Endpoints: "tcp://HOST:PORT" to an address, and which of them cannot be bound together.
//!
//! Only numbers are addresses here. A host name would tie the start of the daemon to a name server
//! and change its meaning over time, so names are refused; names of ports come from a file on this
//! machine and are looked up in its text.
//!
//! Invariant: two claims that [`overlap`] cannot both be bound by one daemon.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use super::{Address, UnixName};
use crate::config::{Fault, shown};

const FORM: &str = "write tcp://HOST:PORT, for example tcp://127.0.0.1:7007";

/// `services` is the text of /etc/services.
pub(super) fn parse(written: &str, services: &str) -> Result<Address, Fault> {
    let quoted = shown(written);
    let Some(rest) = written.strip_prefix("tcp://") else {
        return Err(other_scheme(written, &quoted));
    };
    let (host, port) = match rest.strip_prefix('[') {
        Some(inside) => inside.split_once("]:").ok_or_else(|| {
            Fault::new(format!("\"{quoted}\" is not an endpoint")).hint("write tcp://[::1]:PORT")
        })?,
        None => rest
            .rsplit_once(':')
            .ok_or_else(|| Fault::new(format!("\"{quoted}\" has no port")).hint(FORM))?,
    };
    let port = port_number(port, services, &quoted)?;
    if rest.starts_with('[') {
        return ipv6(host, port, &quoted).map(|v6| Address::Tcp(SocketAddr::V6(v6)));
    }
    let ip = ipv4(host, &quoted)?;
    Ok(Address::Tcp(SocketAddr::V4(SocketAddrV4::new(ip, port))))
}

fn other_scheme(written: &str, quoted: &str) -> Fault {
    let later = ["udp://", "unix:", "unixgram:", "tls://"];
    match later.iter().find(|scheme| written.starts_with(**scheme)) {
        Some(scheme) => Fault::new(format!("{scheme} is not in this release, in \"{quoted}\""))
            .hint("use tcp://"),
        None => Fault::new(format!("\"{quoted}\" is not an endpoint")).hint(FORM),
    }
}

fn ipv4(host: &str, quoted: &str) -> Result<Ipv4Addr, Fault> {
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
                .hint("write tcp://[ADDRESS]:PORT");
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

fn ipv6(host: &str, port: u16, quoted: &str) -> Result<SocketAddrV6, Fault> {
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
        None => 0,
        Some(digits) => digits_only(digits).ok_or_else(|| {
            Fault::new(format!(
                "\"{}\" is not a scope, in \"{quoted}\"",
                shown(digits)
            ))
            .hint("write the interface's number, as `ip link` shows it, not its name")
        })?,
    };
    Ok(SocketAddrV6::new(ip, port, 0, scope))
}

fn port_number(port: &str, services: &str, quoted: &str) -> Result<u16, Fault> {
    if port.is_empty() {
        return Err(Fault::new(format!("\"{quoted}\" has no port")).hint(FORM));
    }
    if port.bytes().all(|b| b.is_ascii_digit()) {
        return digits_only(port).ok_or_else(|| {
            let problem = format!("port {} is too large, in \"{quoted}\"", shown(port));
            Fault::new(problem).hint("ports go from 0 to 65535")
        });
    }
    named_port(port, services).ok_or_else(|| {
        let port = shown(port);
        Fault::new(format!("no tcp port is named \"{port}\", in \"{quoted}\""))
            .hint("write its number, or add the name to /etc/services")
    })
}

/// `parse` alone would take a sign as well.
fn digits_only<N: std::str::FromStr>(text: &str) -> Option<N> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// As services(5) has it: "name port/protocol alias…  # comment".
fn named_port(name: &str, services: &str) -> Option<u16> {
    services.lines().find_map(|line| {
        let line = line.split('#').next().unwrap_or(line);
        let mut words = line.split_whitespace();
        let official = words.next()?;
        let port = words.next()?.strip_suffix("/tcp")?;
        let named = official == name || words.any(|alias| alias == name);
        named.then(|| digits_only(port)).flatten()
    })
}

/// Whether binding one of them leaves the other in use. Port 0 asks for any free port, and a
/// wildcard takes every address of its family; `[::]` takes IPv4 too, as Linux does unless told
/// otherwise.
pub(super) fn overlap(one: &Address, other: &Address) -> bool {
    let (one, other) = match (one, other) {
        (Address::Tcp(one), Address::Tcp(other)) | (Address::Udp(one), Address::Udp(other)) => {
            (*one, *other)
        }
        (Address::Unix(one), Address::Unix(other))
        | (Address::UnixDatagram(one), Address::UnixDatagram(other))
        // Two kinds of socket cannot share a file, but they can share an abstract name.
        => return one == other,
        (Address::Unix(UnixName::Path(one)), Address::UnixDatagram(UnixName::Path(other)))
        | (Address::UnixDatagram(UnixName::Path(one)), Address::Unix(UnixName::Path(other))) => {
            return one == other;
        }
        _ => return false,
    };
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
    covers(one, other) || covers(other, one)
}

fn covers(wildcard: IpAddr, other: IpAddr) -> bool {
    wildcard.is_unspecified() && (wildcard.is_ipv6() || other.is_ipv4())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICES: &str = "# comment\necho\t\t7/tcp\necho 7/udp\nhttp 80/tcp www # WWW\n\
                            tftp 69/udp\nbroken\nodd +5/tcp\n";

    #[test]
    fn an_endpoint_is_numbers_and_at_most_the_name_of_a_port() {
        let cases = [
            ("tcp://127.0.0.1:7007", "127.0.0.1:7007"),
            ("tcp://*:80", "0.0.0.0:80"),
            ("tcp://0.0.0.0:0", "0.0.0.0:0"),
            ("tcp://[::]:65535", "[::]:65535"),
            ("tcp://[::1]:echo", "[::1]:7"),
            ("tcp://127.0.0.1:www", "127.0.0.1:80"),
            ("tcp://[fe80::1%2]:9", "[fe80::1%2]:9"),
            ("tcp://[::ffff:1.2.3.4]:9", "[::ffff:1.2.3.4]:9"),
        ];
        for (written, address) in cases {
            let expected = Address::Tcp(address.parse().expect("an address"));
            assert_eq!(parse(written, SERVICES), Ok(expected), "{written}");
        }
    }

    #[test]
    fn a_refused_endpoint_says_what_would_do() {
        let cases = [
            ("", "not an endpoint"),
            ("127.0.0.1:80", "not an endpoint"),
            ("http://127.0.0.1:80", "not an endpoint"),
            ("udp://127.0.0.1:80", "udp:// is not in this release"),
            ("unix:/run/x", "unix: is not in this release"),
            ("unixgram:/run/x", "unixgram: is not in this release"),
            ("tls://127.0.0.1:443", "tls:// is not in this release"),
            ("tcp://", "has no port"),
            ("tcp://127.0.0.1", "has no port"),
            ("tcp://127.0.0.1:", "has no port"),
            ("tcp://:80", "has no host"),
            ("tcp://localhost:80", "host names are not resolved"),
            ("tcp://127.0.0.01:80", "not an IPv4 address"),
            ("tcp://127.1:80", "not an IPv4 address"),
            ("tcp://256.0.0.1:80", "not an IPv4 address"),
            ("tcp://::1:80", "without brackets"),
            ("tcp://[::1]", "not an endpoint"),
            ("tcp://[::1]80", "not an endpoint"),
            ("tcp://[localhost]:80", "not an IPv6 address"),
            ("tcp://[fe80::1%eth0]:80", "not a scope"),
            ("tcp://[fe80::1%+1]:80", "not a scope"),
            ("tcp://[fe80::1%]:80", "not a scope"),
            ("tcp://127.0.0.1:65536", "too large"),
            ("tcp://127.0.0.1:99999999999999999999", "too large"),
            ("tcp://127.0.0.1:+80", "no tcp port is named \"+80\""),
            ("tcp://127.0.0.1:80/", "no tcp port is named \"80/\""),
            ("tcp://127.0.0.1:tftp", "no tcp port is named \"tftp\""),
            ("tcp://127.0.0.1:odd", "no tcp port is named \"odd\""),
        ];
        for (written, reason) in cases {
            let fault = parse(written, SERVICES).expect_err(written);
            let said = format!("{}; {}", fault.problem, fault.hint.unwrap_or_default());
            assert!(said.contains(reason), "{written}: {said}");
        }
    }

    #[test]
    fn a_wildcard_overlaps_what_it_covers_and_port_0_nothing() {
        let cases = [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "[::1]:80", false),
            ("[::]:80", "[::1]:80", true),
            ("[::]:80", "127.0.0.1:80", true),
            ("[::]:80", "0.0.0.0:80", true),
            ("[::ffff:127.0.0.1]:80", "127.0.0.1:80", true),
            ("[fe80::1%1]:80", "[fe80::1%2]:80", false),
            ("[fe80::1%1]:80", "[fe80::1%1]:80", true),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("0.0.0.0:0", "127.0.0.1:0", false),
        ];
        for (one, other, expected) in cases {
            let [a, b] = [one, other].map(|text| Address::Tcp(text.parse().expect("an address")));
            assert_eq!(overlap(&a, &b), expected, "{one} {other}");
            assert_eq!(overlap(&b, &a), expected, "{other} {one}");
        }
    }
}
