//! Networks with something attached to each, looked up by address: the longest prefix first.
//!
//! One ordered table per length of prefix that occurs, so that a look-up costs what different
//! lengths cost and not what entries do. Addresses are taken for what they are: IPv4 in IPv6
//! clothes is IPv4.
//!
//! Invariant: a network is in it at most once.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

#[derive(Debug)]
pub(super) struct Networks<T> {
    /// IPv4 and IPv6: length of prefix, longest first → leading bits → what is attached.
    families: [BTreeMap<Reverse<u8>, BTreeMap<u128, T>>; 2],
    count: usize,
}

impl<T> Default for Networks<T> {
    fn default() -> Self {
        Networks {
            families: [BTreeMap::new(), BTreeMap::new()],
            count: 0,
        }
    }
}

impl<T> Networks<T> {
    /// What was attached before goes.
    pub(super) fn insert(&mut self, network: IpNet, attached: T) {
        let (family, length, bits) = place(network);
        let table = self.families[family].entry(Reverse(length)).or_default();
        if table.insert(bits, attached).is_none() {
            self.count += 1;
        }
    }

    pub(super) fn remove(&mut self, network: IpNet) {
        let (family, length, bits) = place(network);
        let Some(table) = self.families[family].get_mut(&Reverse(length)) else {
            return;
        };
        if table.remove(&bits).is_some() {
            self.count -= 1;
        }
        if table.is_empty() {
            self.families[family].remove(&Reverse(length));
        }
    }

    /// What is attached to the networks that an address lies in, the longest prefix first.
    pub(super) fn of(&self, address: IpAddr) -> impl Iterator<Item = &T> {
        let (family, width, bits) = bits(address);
        let tables = self.families[family].iter();
        tables.filter_map(move |(Reverse(length), table)| table.get(&masked(bits, *length, width)))
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        for family in &mut self.families {
            for table in family.values_mut() {
                table.retain(|_, attached| keep(attached));
            }
            family.retain(|_, table| !table.is_empty());
        }
        let tables = self.families.iter().flat_map(BTreeMap::values);
        self.count = tables.map(BTreeMap::len).sum();
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// The network that counts as one peer: an IPv4 address, or the /64 an IPv6 peer can choose from.
pub fn source_of(address: IpAddr) -> IpNet {
    let address = address.to_canonical();
    let length = if address.is_ipv4() { 32 } else { 64 };
    IpNet::new(address, length)
        .expect("no longer than the address")
        .trunc()
}

fn place(network: IpNet) -> (usize, u8, u128) {
    let (family, width, bits) = bits(network.addr());
    let length = network.prefix_len();
    (family, length, masked(bits, length, width))
}

/// Family, width, and the address as a number.
fn bits(address: IpAddr) -> (usize, u8, u128) {
    match address.to_canonical() {
        IpAddr::V4(address) => (0, 32, u128::from(u32::from(address))),
        IpAddr::V6(address) => (1, 128, u128::from(address)),
    }
}

/// The leading bits only; a network longer than its address has none behind them.
fn masked(bits: u128, length: u8, width: u8) -> u128 {
    let behind = u32::from(width.saturating_sub(length));
    match behind {
        128.. => 0,
        _ => bits >> behind << behind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(networks: &Networks<u8>, address: &str) -> Vec<u8> {
        let address = address.parse().expect("an address");
        networks.of(address).copied().collect()
    }

    #[test]
    fn the_longest_prefix_comes_first_and_families_do_not_mix() {
        let mut networks = Networks::default();
        let entries = [
            "0.0.0.0/0",
            "10.0.0.0/8",
            "10.1.0.0/16",
            "10.1.2.3/32",
            "::/0",
            "2001:db8::/32",
            "2001:db8::1/128",
        ];
        for (number, network) in (0u8..).zip(entries) {
            networks.insert(network.parse().expect("a network"), number);
        }
        for (address, expected) in [
            ("10.1.2.3", vec![3, 2, 1, 0]),
            ("::ffff:10.1.2.3", vec![3, 2, 1, 0]),
            ("10.1.2.4", vec![2, 1, 0]),
            ("10.2.0.0", vec![1, 0]),
            ("9.255.255.255", vec![0]),
            ("2001:db8::1", vec![6, 5, 4]),
            ("2001:db8::2", vec![5, 4]),
            ("::1", vec![4]),
        ] {
            assert_eq!(of(&networks, address), expected, "{address}");
        }
        assert_eq!(networks.len(), 7);
        networks.remove("10.1.0.0/16".parse().expect("a network"));
        networks.remove("10.1.0.0/17".parse().expect("a network"));
        networks.retain(|number| *number != 4);
        assert_eq!(of(&networks, "10.1.2.3"), [3, 1, 0]);
        assert!(of(&networks, "::1").is_empty());
        assert_eq!(networks.len(), 5);
    }

    #[test]
    fn a_source_is_what_one_peer_can_choose_from() {
        for (address, source) in [
            ("192.0.2.7", "192.0.2.7/32"),
            ("::ffff:192.0.2.7", "192.0.2.7/32"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("::1", "::/64"),
        ] {
            let found = source_of(address.parse().expect("an address"));
            assert_eq!(found.to_string(), source);
        }
    }
}
