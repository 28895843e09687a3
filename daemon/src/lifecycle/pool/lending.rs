//! What becomes of a slot's shards while nobody accepts there: after a second its siblings have them
//! too, until it has a worker that serves again.
//!
//! It makes no difference whether that worker is stuck, was stopped, or is dead and waits for its
//! next try. Connections that wait in the kernel meanwhile are nobody's yet, so none is lost.
//!
//! Invariant: what was lent is reclaimed, or whoever has it is gone or going.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Phase, Pool, Standing};
use crate::lifecycle::Moment;
use crate::lifecycle::event::WorkerId;
use crate::lifecycle::order::Order;

const LENT_AFTER_MS: u64 = 1_000;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Lending {
    silent: BTreeMap<u16, Silent>,
}

/// A slot at which nobody accepts.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Silent {
    since_ms: u64,
    /// It has been so for long.
    is_lent: bool,
    to: BTreeSet<WorkerId>,
}

impl Lending {
    pub(super) fn deadline_ms(&self) -> Option<u64> {
        let waiting = self.silent.values().filter(|silent| !silent.is_lent);
        waiting
            .map(|silent| silent.since_ms.saturating_add(LENT_AFTER_MS))
            .min()
    }
}

impl Pool {
    /// Lends and reclaims what follows from who serves now.
    pub(super) fn lend(&mut self, moment: &mut Moment<'_>) {
        let serves = self.standing == Standing::Current && matches!(self.phase, Phase::Serving);
        if !serves || self.slots.len() < 2 {
            // Whoever drains accepts nothing at all.
            self.lending.silent.clear();
            return;
        }
        let now_ms = moment.now_ms;
        let silences = self.slots.iter().map(|slot| slot.silent_since_ms(now_ms));
        let silences: Vec<Option<u64>> = silences.collect();
        let able: BTreeSet<WorkerId> = self
            .slots
            .iter()
            .zip(&silences)
            .filter(|(_, silent)| silent.is_none())
            .filter_map(|(slot, _)| slot.successor())
            .collect();
        let alive: BTreeSet<WorkerId> = self.slots.iter().filter_map(|s| s.successor()).collect();
        for (from, silence) in (0..).zip(silences) {
            match silence {
                None => {
                    let ended = self.lending.silent.remove(&from);
                    let borrowers = ended.into_iter().flat_map(|silent| silent.to);
                    for to in borrowers.filter(|to| alive.contains(to)) {
                        moment.orders.push(Order::Reclaim { from, to });
                    }
                }
                Some(since_ms) => {
                    let silent = self.lending.silent.entry(from).or_insert(Silent {
                        since_ms,
                        is_lent: false,
                        to: BTreeSet::new(),
                    });
                    silent.since_ms = silent.since_ms.min(since_ms);
                    silent.is_lent |= now_ms >= silent.since_ms.saturating_add(LENT_AFTER_MS);
                    silent.to.retain(|to| alive.contains(to));
                    let lent = able.iter().filter(|_| silent.is_lent);
                    for to in lent {
                        if silent.to.insert(*to) {
                            moment.orders.push(Order::Lend { from, to: *to });
                        }
                    }
                }
            }
        }
    }
}
