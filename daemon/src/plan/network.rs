//! Networks as administrators write them: "192.0.2.0/24", "2001:db8::/32", or one address.
//!
//! A network with bits set behind its prefix is refused: it is a typing error or a
//! misunderstanding, and either would let in others than were meant. IPv4 in IPv6 clothes is taken
//! for what it is, as peers are too.
//!
//! Invariant: an accepted network has no bit set behind its prefix.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use crate::config::{Fault, shown};

pub fn parse_network(text: &str) -> Result<IpNet, Fault> {
    let wrong = |why: &str| {
        let found = shown(text);
        Fault::new(format!(
            "expected an address or a network such as \"192.0.2.0/24\", found \"{found}\"{why}"
        ))
    };
    if text == "*" {
        return Err(wrong("").hint("write \"0.0.0.0/0\" and \"::/0\""));
    }
    let (address, prefix) = match text.split_once('/') {
        None => (text, None),
        Some((address, prefix)) => (address, Some(prefix)),
    };
    if address.contains('%') {
        return Err(wrong(" (a scope cannot be part of it)"));
    }
    let address: IpAddr = address
        .parse()
        .map_err(|_| wrong("").hint("host names are not looked up"))?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => bits,
        Some(digits) => prefix_length(digits, bits)
            .ok_or_else(|| wrong(&format!(" (its prefix is 0 to {bits} bits long)")))?,
    };
    let network = IpNet::new(address, prefix).expect("the prefix was bounded by the family");
    if network.trunc() != network {
        let hint = format!("write \"{}\", or \"{address}\"", network.trunc());
        return Err(wrong(" (bits are set behind its prefix)").hint(hint));
    }
    Ok(canonical(network))
}

/// No sign, no blank, no leading zero.
fn prefix_length(digits: &str, bits: u8) -> Option<u8> {
    let plain = digits == "0" || !digits.starts_with('0');
    let number = plain && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let length = digits.parse().ok().filter(|_| number)?;
    (length <= bits).then_some(length)
}

/// `::ffff:192.0.2.0/120` is 192.0.2.0/24.
fn canonical(network: IpNet) -> IpNet {
    match (network.addr().to_canonical(), network.prefix_len()) {
        (IpAddr::V4(address), prefix @ 96..) if network.addr().is_ipv6() => {
            let v4 = Ipv4Net::new(address, prefix - 96).expect("at most 128 less 96");
            IpNet::V4(v4)
        }
        _ => network,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_an_address_with_or_without_a_prefix() {
        for (text, network) in [
            ("192.0.2.7", "192.0.2.7/32"),
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::/0", "::/0"),
            ("::1", "::1/128"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::ffff:192.0.2.7", "192.0.2.7/32"),
            ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::fffe:0:0/95", "::fffe:0:0/95"),
        ] {
            let found = parse_network(text).expect(text);
            assert_eq!(found.to_string(), network, "{text}");
        }
    }

    #[test]
    fn a_refused_network_says_what_would_do() {
        for (text, reason) in [
            ("", "such as"),
            ("*", "0.0.0.0/0"),
            ("localhost", "not looked up"),
            ("192.0.2.7/24", "write \"192.0.2.0/24\", or \"192.0.2.7\""),
            ("2001:db8::1/64", "write \"2001:db8::/64\""),
            ("192.0.2.0/33", "0 to 32 bits"),
            ("2001:db8::/129", "0 to 128 bits"),
            ("192.0.2.0/", "0 to 32 bits"),
            ("192.0.2.0/+8", "0 to 32 bits"),
            ("192.0.2.0/08", "0 to 32 bits"),
            ("192.0.2.0/256", "0 to 32 bits"),
            ("192.0.2.0/24/24", "0 to 32 bits"),
            ("192.0.2", "such as"),
            ("192.0.2.0/255.255.255.0", "0 to 32 bits"),
            ("fe80::1%eth0", "scope"),
            ("[::1]", "such as"),
            (" ::1", "such as"),
        ] {
            let fault = parse_network(text).expect_err(text);
            let said = format!("{}; {}", fault.problem, fault.hint.unwrap_or_default());
            assert!(said.contains(reason), "{text:?}: {said}");
        }
    }
}
