//! Bans as one worker knows them: networks that nobody may come from, until when.
//!
//! The list is the supervisor's, which tells every change but the passing of time; each entry ends
//! by itself here. Whether a connection is closed or refused for it is for the caller.
//!
//! Invariant: no more entries than `max`; what has expired bans nobody.

use ipnet::IpNet;

use super::networks::Networks;
use super::session::Party;

#[derive(Debug)]
pub struct Bans {
    /// Network → the first moment at which it is free again.
    until_ms: Networks<u64>,
    max: usize,
}

impl Bans {
    pub fn new(max: usize) -> Bans {
        Bans {
            until_ms: Networks::default(),
            max,
        }
    }

    pub fn ban(&mut self, network: IpNet, until_ms: u64, now_ms: u64) {
        if self.until_ms.len() >= self.max {
            self.until_ms.retain(|until_ms| *until_ms > now_ms);
        }
        // Whoever keeps the list keeps it to `max` as well, and takes back before it adds.
        if self.until_ms.len() < self.max {
            self.until_ms.insert(network, until_ms);
        }
    }

    pub fn unban(&mut self, network: IpNet) {
        self.until_ms.remove(network);
    }

    pub fn is_empty(&self) -> bool {
        self.until_ms.is_empty()
    }

    pub fn includes(&self, peer: Party, now_ms: u64) -> bool {
        match peer {
            Party::Internet(socket) if !self.until_ms.is_empty() => self
                .until_ms
                .of(socket.ip())
                .any(|until_ms| *until_ms > now_ms),
            Party::Internet(_) | Party::Unix => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn net(text: &str) -> IpNet {
        text.parse().expect("a network")
    }

    fn peer(ip: &str) -> Party {
        SocketAddr::new(ip.parse().expect("an address"), 1).into()
    }

    #[test]
    fn a_ban_holds_to_its_end_and_for_its_network_only() {
        let mut bans = Bans::new(10);
        bans.ban(net("192.0.2.7/32"), 100, 0);
        bans.ban(net("192.0.2.0/24"), 50, 0);
        bans.ban(net("2001:db8::/64"), u64::MAX, 0);
        for (ip, now_ms, banned) in [
            ("192.0.2.7", 49, true),
            ("192.0.2.7", 50, true),
            ("192.0.2.7", 99, true),
            ("192.0.2.7", 100, false),
            ("192.0.2.8", 49, true),
            ("192.0.2.8", 50, false),
            ("192.0.3.8", 0, false),
            ("2001:db8::ffff", 1 << 60, true),
            ("2001:db8:0:1::", 0, false),
        ] {
            assert_eq!(bans.includes(peer(ip), now_ms), banned, "{ip} at {now_ms}");
        }
        assert!(!bans.includes(Party::Unix, 0));
        bans.unban(net("192.0.2.7/32"));
        assert!(!bans.includes(peer("192.0.2.7"), 60));
    }

    #[test]
    fn what_has_expired_makes_room_and_the_number_is_bounded() {
        let mut bans = Bans::new(2);
        bans.ban(net("10.0.0.1/32"), 10, 0);
        bans.ban(net("10.0.0.2/32"), 20, 0);
        bans.ban(net("10.0.0.3/32"), 30, 5);
        assert!(!bans.includes(peer("10.0.0.3"), 5), "it is full");
        bans.ban(net("10.0.0.3/32"), 30, 10);
        assert!(bans.includes(peer("10.0.0.3"), 10));
        assert!(bans.includes(peer("10.0.0.2"), 10));
    }
}
