//! The gate: who may come in now, asked of every connection before any byte of it is read.
//!
//! Bans first, then the trap, the lists and the hours, then how many of that source are in already
//! and how fast new ones come. It keeps the books of who is in, because a source that is banned has
//! to leave and one that leaves makes room. A peer at a Unix socket has no address: of all these only
//! the hours and the rate are for it. What is said and done to those refused is in `entry`.
//!
//! Invariant: whoever was counted in is counted out once.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::channel::{BANS_MAX, Ban, TRAPPED_PER_S};
use crate::engine::access::Access;
use crate::engine::bans::Bans;
use crate::engine::bucket::Bucket;
use crate::engine::roll::Beside;
use crate::engine::session::{Party, Token};
use crate::engine::source_of;
use crate::plan::{self, Limits};
use crate::scoreboard::Counter;
use crate::scoreboard::sources::{Counted, Sources};
use crate::sys::clock::utc_ms;

#[derive(Debug)]
pub(super) struct Gate {
    bans: Bans,
    access: Access,
    /// Whoever connects is banned for so long.
    sensor_ban_ms: Option<u64>,
    sources: Sources,
    per_source: Limited,
    rate: Limited,
    bucket: Bucket,
    /// What one connection costs in the bucket, which has the rate of the whole service.
    cost: u64,
    traps: Bucket,
    /// Who is in, and what it was counted as; peers without an address are not kept.
    guests: Beside<Guest>,
}

/// A limit and whether it holds for peers on this machine: on the loopback, or at a Unix socket.
/// 0 is none.
#[derive(Clone, Copy, Debug)]
struct Limited {
    max: u32,
    on_loopback: bool,
}

/// A peer that was let in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guest {
    /// `None` on a Unix socket. Its port is nobody's business, and there is one for each connection.
    address: Option<IpAddr>,
    /// It takes a place of its source.
    counted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Banned,
    /// It came to a sensor.
    Trapped,
    Access,
    Source,
    Rate,
}

impl Refusal {
    pub(super) fn counter(self) -> Counter {
        match self {
            Refusal::Banned => Counter::RefusedBanned,
            Refusal::Trapped => Counter::Trapped,
            Refusal::Access => Counter::RefusedAccess,
            Refusal::Source => Counter::RefusedSource,
            Refusal::Rate => Counter::RefusedRate,
        }
    }

    /// Those who are banned hear nothing from us.
    pub(super) fn is_told(self) -> bool {
        match self {
            Refusal::Banned | Refusal::Trapped => false,
            Refusal::Access | Refusal::Source | Refusal::Rate => true,
        }
    }
}

impl Guest {
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.address
    }

    fn peer(&self) -> Party {
        match self.address {
            Some(ip) => Party::Internet(SocketAddr::new(ip, 0)),
            None => Party::Unix,
        }
    }
}

fn address_of(peer: Party) -> Option<IpAddr> {
    match peer {
        Party::Internet(socket) => Some(socket.ip()),
        Party::Unix => None,
    }
}

impl Gate {
    pub(super) fn new(
        limits: &Limits,
        access: &plan::Access,
        sources: Sources,
        worker_count: u16,
        now_ms: u64,
    ) -> Gate {
        let workers = u64::from(worker_count.max(1));
        // One whole connection must fit, or none would ever be let in.
        let burst = u64::from(limits.burst).max(workers);
        Gate {
            bans: Bans::new(BANS_MAX),
            access: Access::new(access),
            sensor_ban_ms: access.sensor.then_some(access.sensor_ban_ms),
            sources,
            per_source: Limited {
                max: limits.per_source,
                on_loopback: limits.per_source_on_loopback,
            },
            rate: Limited {
                max: limits.rate,
                on_loopback: limits.rate_on_loopback,
            },
            bucket: Bucket::new(u64::from(limits.rate), burst, now_ms),
            cost: workers,
            traps: Bucket::new(u64::from(TRAPPED_PER_S), u64::from(TRAPPED_PER_S), now_ms),
            guests: Beside::default(),
        }
    }

    /// Other rules from now on. Who is in stays in, and bans hold.
    pub(super) fn adjust(
        &mut self,
        limits: &Limits,
        access: &plan::Access,
        worker_count: u16,
        now_ms: u64,
    ) {
        self.access = Access::new(access);
        self.sensor_ban_ms = access.sensor.then_some(access.sensor_ban_ms);
        self.per_source = Limited {
            max: limits.per_source,
            on_loopback: limits.per_source_on_loopback,
        };
        self.rate = Limited {
            max: limits.rate,
            on_loopback: limits.rate_on_loopback,
        };
        let burst = u64::from(limits.burst).max(u64::from(worker_count.max(1)));
        self.bucket = Bucket::new(u64::from(limits.rate), burst, now_ms);
    }

    /// Whether its real peer is still to be heard of. The proxy itself may be banned, no more.
    pub(super) fn is_proxy(&self, peer: Party) -> bool {
        self.access.is_proxy(peer)
    }

    pub(super) fn check_ban(&self, peer: Party, now_ms: u64) -> Result<(), Refusal> {
        match self.bans.includes(peer, now_ms) {
            true => Err(Refusal::Banned),
            false => Ok(()),
        }
    }

    /// Lets a peer in, or says why not. A guest has to `enter` or to `turn_back`.
    pub(super) fn judge(&mut self, peer: Party, now_ms: u64) -> Result<Guest, Refusal> {
        self.check_ban(peer, now_ms)?;
        if self.sensor_ban_ms.is_some() && peer != Party::Unix {
            return Err(Refusal::Trapped);
        }
        let admitted = self.access.admit(peer, utc_s);
        admitted.map_err(|_| Refusal::Access)?;
        let counted = match self.counts(peer) {
            true => match self.sources.enter(peer.source(), self.per_source.max) {
                Counted::TooMany => return Err(Refusal::Source),
                Counted::In => true,
                Counted::NoRoom => false,
            },
            false => false,
        };
        let guest = Guest {
            address: address_of(peer),
            counted,
        };
        if self.rate.applies(peer) && !self.bucket.take(self.cost, now_ms) {
            self.turn_back(guest);
            return Err(Refusal::Rate);
        }
        Ok(guest)
    }

    /// One that was let in by another worker, and goes on here: it is counted, and not judged again.
    pub(super) fn count_in(&mut self, peer: Party) -> Guest {
        let counted =
            self.counts(peer) && self.sources.enter(peer.source(), u32::MAX) == Counted::In;
        Guest {
            address: address_of(peer),
            counted,
        }
    }

    /// Whether it takes a place of its source. A peer on a Unix socket has no source.
    fn counts(&self, peer: Party) -> bool {
        peer != Party::Unix && self.per_source.applies(peer)
    }

    /// A datagram takes no place, and its source may be forged: it is held to bans and lists only.
    pub(super) fn permits(&mut self, peer: Party, now_ms: u64) -> Result<(), Refusal> {
        if self.bans.is_empty() && self.access.admits_all() {
            return Ok(());
        }
        self.check_ban(peer, now_ms)?;
        let admitted = self.access.admit(peer, utc_s);
        admitted.map(drop).map_err(|_| Refusal::Access)
    }

    /// Whether the table of sources had no room for somebody who had to be counted.
    pub(super) fn is_uncounted(&self, guest: Guest) -> bool {
        self.counts(guest.peer()) && !guest.counted
    }

    pub(super) fn enter(&mut self, token: Token, guest: Guest) {
        if guest.address.is_some() {
            self.guests.insert(token, guest);
        }
    }

    /// It was let in, and did not stay.
    pub(super) fn turn_back(&mut self, guest: Guest) {
        if guest.counted {
            self.sources.leave(guest.peer().source());
        }
    }

    /// Its connection is over.
    pub(super) fn left(&mut self, token: Token) {
        if let Some(guest) = self.guests.remove(token) {
            self.turn_back(guest);
        }
    }

    /// Bans a trapped peer here, and returns what is to be reported of it; nothing in a flood beyond
    /// bounds.
    pub(super) fn trap(&mut self, peer: Party, now_ms: u64) -> Option<IpNet> {
        let (Party::Internet(socket), Some(for_ms)) = (peer, self.sensor_ban_ms) else {
            return None;
        };
        let source = source_of(socket.ip());
        let until_ms = now_ms.saturating_add(for_ms);
        self.bans.ban(source, until_ms, now_ms);
        self.traps.take(1, now_ms).then_some(source)
    }

    /// Returns who is in and has to go, of those that have entered.
    pub(super) fn ban(&mut self, ban: &Ban, now_ms: u64) -> Vec<Token> {
        let until_ms = ban
            .for_ms
            .map_or(u64::MAX, |for_ms| now_ms.saturating_add(for_ms));
        self.bans.ban(ban.network, until_ms, now_ms);
        let banned = |(_, guest): &(Token, &Guest)| self.bans.includes(guest.peer(), now_ms);
        let banned = self.guests.iter().filter(banned);
        banned.map(|(token, _)| token).collect()
    }

    pub(super) fn address_of(&self, token: Token) -> Option<IpAddr> {
        self.guests.get(token)?.address
    }

    pub(super) fn is_banned(&self, guest: Guest, now_ms: u64) -> bool {
        self.bans.includes(guest.peer(), now_ms)
    }

    pub(super) fn unban(&mut self, network: IpNet) {
        self.bans.unban(network);
    }
}

impl Limited {
    fn applies(self, peer: Party) -> bool {
        let is_local = match peer {
            Party::Internet(socket) => socket.ip().to_canonical().is_loopback(),
            Party::Unix => true,
        };
        self.max > 0 && (self.on_loopback || !is_local)
    }
}

/// Seconds since 1970; a clock before that is taken for its beginning.
fn utc_s() -> u64 {
    utc_ms() / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scoreboard::sources::SourceTable;
    use std::net::SocketAddr;

    fn gate(limits: &Limits, access: &plan::Access, workers: u16) -> Gate {
        let table = SourceTable::new(1).expect("memory");
        let sources = Sources::map(table.file(), 0).expect("mapped");
        Gate::new(limits, access, sources, workers, 0)
    }

    fn peer(ip: &str) -> Party {
        SocketAddr::new(ip.parse().expect("an address"), 40_000).into()
    }

    fn admitted(gate: &mut Gate, ip: &str, times: usize) -> usize {
        of_those(gate, peer(ip), times)
    }

    fn of_those(gate: &mut Gate, peer: Party, times: usize) -> usize {
        let judged = (0..times).map(|_| gate.judge(peer, 0));
        judged.filter(Result::is_ok).count()
    }

    #[test]
    fn peers_on_the_loopback_are_limited_only_where_that_was_written() {
        for written in [false, true] {
            let limits = Limits {
                per_source: 2,
                per_source_on_loopback: written,
                rate: 5,
                burst: 5,
                rate_on_loopback: written,
                ..Limits::default()
            };
            let mut gate = gate(&limits, &plan::Access::default(), 1);
            let expected = if written { 2 } else { 10 };
            for ip in ["127.0.0.1", "::1", "::ffff:127.0.0.2"] {
                let found = admitted(&mut gate, ip, 10);
                let rest = if written && ip.starts_with("::ffff") {
                    1
                } else {
                    expected
                };
                assert_eq!(found, rest, "{ip} written: {written}");
            }
            let expected = if written { 0 } else { 2 };
            assert_eq!(admitted(&mut gate, "192.0.2.7", 10), expected);
        }
    }

    #[test]
    fn each_worker_has_its_part_of_the_rate_and_at_least_one_connection_of_it() {
        for (rate, burst, workers, at_once) in [(10, 10, 1, 10), (10, 10, 4, 2), (1, 1, 4, 1)] {
            let limits = Limits {
                rate,
                burst,
                ..Limits::default()
            };
            let mut gate = gate(&limits, &plan::Access::default(), workers);
            assert_eq!(admitted(&mut gate, "192.0.2.7", 20), at_once);
            let moments = 1..=40_000;
            let later = moments.filter(|now_ms| gate.judge(peer("192.0.2.7"), *now_ms).is_ok());
            let share = 40 * rate as usize / usize::from(workers);
            assert!(
                (share..=share + 1).contains(&later.count()),
                "{rate} by {workers}"
            );
        }
    }

    #[test]
    fn whoever_leaves_or_turns_back_makes_room_and_only_once() {
        let limits = Limits {
            per_source: 1,
            ..Limits::default()
        };
        let mut gate = gate(&limits, &plan::Access::default(), 1);
        let ip = "2001:db8::1";
        let guest = gate.judge(peer(ip), 0).expect("the first");
        assert_eq!(
            gate.judge(peer("2001:db8::2"), 0).err(),
            Some(Refusal::Source)
        );
        gate.turn_back(guest);
        let guest = gate.judge(peer(ip), 0).expect("there is room");
        let mut tokens = slotmap::SlotMap::<Token, ()>::with_key();
        let token = tokens.insert(());
        gate.enter(token, guest);
        gate.left(token);
        gate.left(token);
        assert_eq!(admitted(&mut gate, ip, 3), 1);
    }

    #[test]
    fn a_refusal_for_the_rate_leaves_no_trace_in_the_counts() {
        let limits = Limits {
            per_source: 2,
            rate: 1,
            burst: 1,
            ..Limits::default()
        };
        let mut gate = gate(&limits, &plan::Access::default(), 1);
        assert_eq!(admitted(&mut gate, "192.0.2.7", 10), 1);
        assert_eq!(gate.judge(peer("192.0.2.7"), 1_000).err(), None);
        assert_eq!(
            gate.judge(peer("192.0.2.7"), 2_000).err(),
            Some(Refusal::Source)
        );
    }

    #[test]
    fn a_unix_peer_is_held_to_the_rate_and_the_hours_and_to_nothing_that_asks_for_an_address() {
        let limits = Limits {
            per_source: 1,
            per_source_on_loopback: true,
            rate: 3,
            burst: 3,
            rate_on_loopback: true,
            ..Limits::default()
        };
        let listed = plan::Access {
            allow: vec!["192.0.2.0/24".parse().expect("a network")],
            ..plan::Access::default()
        };
        let mut held = gate(&limits, &listed, 1);
        assert_eq!(of_those(&mut held, Party::Unix, 10), 3);
        assert_eq!(held.judge(Party::Unix, 0).err(), Some(Refusal::Rate));
        assert!(held.judge(Party::Unix, 1_000).is_ok());
        assert_eq!(held.permits(Party::Unix, 0), Ok(()));

        let hour = utc_s() / 3600;
        let later = format!("{:02}:00-{:02}:00", (hour + 8) % 24, (hour + 16) % 24);
        let closed = plan::Access {
            times: vec![plan::Hours::parse(&later).expect("hours")],
            ..plan::Access::default()
        };
        let mut closed = gate(&Limits::default(), &closed, 1);
        assert_eq!(closed.judge(Party::Unix, 0).err(), Some(Refusal::Access));
        assert_eq!(closed.permits(Party::Unix, 0), Err(Refusal::Access));
    }

    #[test]
    fn a_trap_bans_its_source_here_at_once_and_reports_no_flood() {
        let access = plan::Access {
            sensor: true,
            sensor_ban_ms: 1_000,
            ..plan::Access::default()
        };
        let mut gate = gate(&Limits::default(), &access, 1);
        assert_eq!(
            gate.judge(peer("192.0.2.7"), 0).err(),
            Some(Refusal::Trapped)
        );
        let source = gate.trap(peer("192.0.2.7"), 0).expect("to be reported");
        assert_eq!(source.to_string(), "192.0.2.7/32");
        assert_eq!(
            gate.judge(peer("192.0.2.7"), 999).err(),
            Some(Refusal::Banned)
        );
        assert_eq!(
            gate.judge(peer("192.0.2.7"), 1_000).err(),
            Some(Refusal::Trapped)
        );
        assert!(gate.judge(Party::Unix, 0).is_ok(), "it has no address");
        let many = (0..100).map(|nth| peer(&format!("10.0.0.{nth}")));
        let reported = many.filter_map(|peer| gate.trap(peer, 0)).count();
        assert_eq!(reported, TRAPPED_PER_S as usize - 1);
    }

    #[test]
    fn a_ban_names_those_who_are_in_and_a_taken_back_one_lets_them_in_again() {
        let mut gate = gate(&Limits::default(), &plan::Access::default(), 1);
        let mut tokens = slotmap::SlotMap::<Token, ()>::with_key();
        let mut inside = Vec::new();
        for ip in ["192.0.2.7", "192.0.3.7", "192.0.2.200"] {
            let guest = gate.judge(peer(ip), 0).expect("let in");
            inside.push(tokens.insert(()));
            gate.enter(inside[inside.len() - 1], guest);
        }
        let ban = Ban {
            network: "192.0.2.0/24".parse().expect("a network"),
            for_ms: None,
        };
        assert_eq!(gate.ban(&ban, 0), [inside[0], inside[2]]);
        assert_eq!(
            gate.judge(peer("192.0.2.8"), 1 << 50).err(),
            Some(Refusal::Banned)
        );
        gate.unban(ban.network);
        assert!(gate.judge(peer("192.0.2.8"), 0).is_ok());
    }
}
