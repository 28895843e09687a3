//! Access: whether a peer may come in, by its address and by the hour.
//!
//! The plan's lists made ready to be asked at every accept. The longest prefix in `allow` and `deny`
//! decides, a tie refuses, and a service with an `allow` refuses who is in neither list. Peers on
//! Unix sockets have no address and are in no list, for their sockets have a mode; the hours hold for
//! them too.
//!
//! The hour comes from the caller, and only services with hours ask for it.

use std::net::IpAddr;

use super::networks::Networks;
use super::session::Party;
use crate::plan::{self, Hours};

#[derive(Debug)]
pub struct Access {
    /// Whether the network is let in.
    networks: Networks<bool>,
    /// Whether those are let in who are in no list.
    others: bool,
    times: Vec<Hours>,
    proxies: Networks<()>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    ByAddress,
    ByHour,
}

impl Access {
    pub fn new(plan: &plan::Access) -> Access {
        let mut networks = Networks::default();
        let allowed = plan.allow.iter().map(|network| (network, true));
        // Later ones replace: what is in both lists is denied.
        for (network, admitted) in allowed.chain(plan.deny.iter().map(|network| (network, false))) {
            networks.insert(*network, admitted);
        }
        let mut proxies = Networks::default();
        for network in &plan.proxy_from {
            proxies.insert(*network, ());
        }
        Access {
            networks,
            others: plan.allow.is_empty(),
            times: plan.times.clone(),
            proxies,
        }
    }

    /// Whoever comes is let in: nobody is listed, and it is always open.
    pub fn admits_all(&self) -> bool {
        self.others && self.networks.is_empty() && self.times.is_empty()
    }

    /// `utc_s` is asked only if it matters: seconds since 1970.
    pub fn admit(&self, peer: Party, utc_s: impl FnOnce() -> u64) -> Result<(), Denied> {
        if let Some(address) = address_of(peer) {
            let listed = self.networks.of(address).next();
            if !listed.copied().unwrap_or(self.others) {
                return Err(Denied::ByAddress);
            }
        }
        if !self.times.is_empty() {
            let now_s = utc_s();
            if !self.times.iter().any(|hours| hours.contain(now_s)) {
                return Err(Denied::ByHour);
            }
        }
        Ok(())
    }

    /// Whether it is to introduce the real peer.
    pub fn is_proxy(&self, peer: Party) -> bool {
        !self.proxies.is_empty()
            && address_of(peer).is_some_and(|address| self.proxies.of(address).next().is_some())
    }
}

fn address_of(peer: Party) -> Option<IpAddr> {
    match peer {
        Party::Internet(socket) => Some(socket.ip()),
        Party::Unix => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn networks(texts: &[&str]) -> Vec<ipnet::IpNet> {
        let parse = |text: &&str| plan::parse_network(text).expect("a network");
        texts.iter().map(parse).collect()
    }

    fn peer(ip: &str) -> Party {
        SocketAddr::new(ip.parse().expect("an address"), 40_000).into()
    }

    #[test]
    fn the_longest_prefix_decides_and_a_tie_refuses() {
        // allow, deny, peer, let in
        type Row<'a> = (&'a [&'a str], &'a [&'a str], &'a str, bool);
        let rows: [Row<'_>; 14] = [
            (&[], &[], "192.0.2.7", true),
            (&[], &["192.0.2.7"], "192.0.2.7", false),
            (&[], &["192.0.2.7"], "::ffff:192.0.2.7", false),
            (&[], &["192.0.2.7"], "192.0.2.8", true),
            (&["192.0.2.0/24"], &[], "192.0.2.8", true),
            (&["192.0.2.0/24"], &[], "192.0.3.8", false),
            (&["192.0.2.0/24"], &[], "::1", false),
            (&["192.0.2.0/24"], &["192.0.2.7"], "192.0.2.7", false),
            (&["192.0.2.7"], &["192.0.2.0/24"], "192.0.2.7", true),
            (&["192.0.2.7"], &["192.0.2.0/24"], "192.0.2.8", false),
            (&["192.0.2.7"], &["192.0.2.7"], "192.0.2.7", false),
            (&["192.0.2.7"], &["10.0.0.0/8"], "198.51.100.1", false),
            (&["::/0", "0.0.0.0/0"], &["::1"], "::2", true),
            (
                &["2001:db8::/32"],
                &["2001:db8:1::/48"],
                "2001:db8:1::1",
                false,
            ),
        ];
        for (allow, deny, ip, admitted) in rows {
            let access = Access::new(&plan::Access {
                allow: networks(allow),
                deny: networks(deny),
                ..plan::Access::default()
            });
            let found = access.admit(peer(ip), || unreachable!("no hours are given"));
            let expected = if admitted {
                Ok(())
            } else {
                Err(Denied::ByAddress)
            };
            assert_eq!(found, expected, "{allow:?} {deny:?} {ip}");
            assert_eq!(access.admit(Party::Unix, || 0), Ok(()), "it has no address");
        }
    }

    #[test]
    fn outside_its_hours_nobody_comes_in() {
        let access = Access::new(&plan::Access {
            times: ["08:00-09:00", "10:00-11:00"]
                .map(|text| Hours::parse(text).expect("hours"))
                .into(),
            ..plan::Access::default()
        });
        for (hour, expected) in [(8, Ok(())), (9, Err(Denied::ByHour)), (10, Ok(()))] {
            for peer in [peer("192.0.2.7"), Party::Unix] {
                let found = access.admit(peer, || hour * 3600);
                assert_eq!(found, expected, "{peer} at {hour}");
            }
        }
    }

    #[test]
    fn only_listed_networks_introduce_others() {
        let access = Access::new(&plan::Access {
            proxy_from: networks(&["10.0.0.0/8", "::1"]),
            ..plan::Access::default()
        });
        for (ip, is_proxy) in [("10.9.9.9", true), ("::1", true), ("11.0.0.1", false)] {
            assert_eq!(access.is_proxy(peer(ip)), is_proxy, "{ip}");
        }
        assert!(!access.is_proxy(Party::Unix));
    }
}
