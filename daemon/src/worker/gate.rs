//! The gate: who may come in now, asked of every connection before any byte of it is read.
//!
//! Bans first, then the trap, the lists and the hours, then how many of that source are in already
//! and how fast new ones come. It keeps the books of who is in, because a source that is banned has
//! to leave and one that leaves makes room. What is said and done to those refused is in `entry`.
//!
//! Invariant: whoever was counted in is counted out once.

use std::time::{SystemTime, UNIX_EPOCH};

use ipnet::IpNet;
use slotmap::SecondaryMap;

use crate::channel::{BANS_MAX, Ban, TRAPPED_PER_S};
use crate::engine::access::Access;
use crate::engine::bans::Bans;
use crate::engine::bucket::Bucket;
use crate::engine::session::{Party, Token};
use crate::engine::source_of;
use crate::plan::{self, Limits};
use crate::scoreboard::Counter;
use crate::scoreboard::sources::{Counted, Sources};

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
    guests: SecondaryMap<Token, Guest>,
}

/// A limit and whether it holds for peers on the loopback; 0 is none.
#[derive(Clone, Copy, Debug)]
struct Limited {
    max: u32,
    on_loopback: bool,
}

/// A peer that was let in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guest {
    peer: Party,
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
            guests: SecondaryMap::new(),
        }
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
        let Party::Internet(socket) = peer else {
            return Ok(Guest {
                peer,
                counted: false,
            });
        };
        self.check_ban(peer, now_ms)?;
        if self.sensor_ban_ms.is_some() {
            return Err(Refusal::Trapped);
        }
        let admitted = self.access.admit(peer, utc_s);
        admitted.map_err(|_| Refusal::Access)?;
        let loopback = socket.ip().to_canonical().is_loopback();
        let counted = match self.per_source.applies(loopback) {
            true => match self.sources.enter(peer.source(), self.per_source.max) {
                Counted::TooMany => return Err(Refusal::Source),
                Counted::In => true,
                Counted::NoRoom => false,
            },
            false => false,
        };
        let guest = Guest { peer, counted };
        if self.rate.applies(loopback) && !self.bucket.take(self.cost, now_ms) {
            self.turn_back(guest);
            return Err(Refusal::Rate);
        }
        Ok(guest)
    }

    /// Whether the table of sources had no room for somebody who had to be counted.
    pub(super) fn is_uncounted(&self, guest: Guest) -> bool {
        match guest.peer {
            Party::Internet(socket) => {
                let loopback = socket.ip().to_canonical().is_loopback();
                self.per_source.applies(loopback) && !guest.counted
            }
            Party::Unix => false,
        }
    }

    pub(super) fn enter(&mut self, token: Token, guest: Guest) {
        if guest.peer != Party::Unix {
            self.guests.insert(token, guest);
        }
    }

    /// It was let in, and did not stay.
    pub(super) fn turn_back(&mut self, guest: Guest) {
        if guest.counted {
            self.sources.leave(guest.peer.source());
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

    /// Returns who is in and has to go.
    pub(super) fn ban(&mut self, ban: &Ban, now_ms: u64) -> Vec<Token> {
        let until_ms = ban
            .for_ms
            .map_or(u64::MAX, |for_ms| now_ms.saturating_add(for_ms));
        self.bans.ban(ban.network, until_ms, now_ms);
        let banned = |(_, guest): &(Token, &Guest)| self.bans.includes(guest.peer, now_ms);
        let banned = self.guests.iter().filter(banned);
        banned.map(|(token, _)| token).collect()
    }

    pub(super) fn unban(&mut self, network: IpNet) {
        self.bans.unban(network);
    }
}

impl Limited {
    fn applies(self, loopback: bool) -> bool {
        self.max > 0 && (self.on_loopback || !loopback)
    }
}

/// Seconds since 1970; a clock before that is taken for its beginning.
fn utc_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
