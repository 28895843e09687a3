//! From one set of generations to the next: everything that a change wants begun is ready to serve
//! before anything that serves is touched.
//!
//! Candidates start parked. When each of their workers has been ready the change is committed at
//! once; if one of them fails, all are given up and nothing else has changed. After that a change may
//! be on probation: deaths within it lead back.
//!
//! It decides about pools as wholes. Workers are their pools' business.
//!
//! Invariants: at most one change is under way; of a service at most two generations have workers.

use serde::{Deserialize, Serialize};

use super::event::{Beginning, Changes, ServiceId};
use super::order::{Order, State};
use super::pool::{Pool, Standing};
use super::{Moment, Policy};

/// For so long a change has to hold before it is what one goes back to.
pub(super) const PROBATION_MS: u64 = 30_000;
/// Deaths of one service's new workers within the probation that lead back.
const PROBATION_DEATHS_MAX: u32 = 3;

/// A change under way.
#[derive(Clone, Debug)]
pub(super) struct Handover {
    policy: Policy,
    removed: Vec<ServiceId>,
    on_probation: bool,
}

/// A change that was made, and has to hold.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Probation {
    until_ms: u64,
    on_trial: Vec<(ServiceId, u32)>,
}

/// What became of a change.
pub(super) enum Verdict {
    Pending,
    /// It is made; these are the limits of lives from now on.
    Made {
        policy: Policy,
        probation: Option<Probation>,
    },
    GivenUp,
}

impl Handover {
    /// Makes the candidates; whoever drains in their place is asked to be quick.
    pub(super) fn begin(changes: Changes, pools: &mut Vec<Pool>, moment: &mut Moment<'_>) -> Self {
        let Changes {
            policy,
            begun,
            removed,
            on_probation,
        } = changes;
        for beginning in begun {
            hurry_former(&beginning, pools, moment);
            pools.push(Pool::candidate(beginning));
        }
        Handover {
            policy,
            removed,
            on_probation,
        }
    }

    /// What follows from the pools' states, after each event.
    pub(super) fn settle(&self, pools: &mut [Pool], moment: &mut Moment<'_>) -> Verdict {
        let failed = |pool: &Pool| Some(named(&pool.view().name, pool.failure()?));
        let failure = candidates(pools).find_map(failed);
        if let Some(text) = failure {
            self.abandon(text, pools, moment);
            return Verdict::GivenUp;
        }
        admit_held(pools, moment);
        if candidates(pools).any(|pool| pool.state() != State::Serving) {
            return Verdict::Pending;
        }
        let on_trial: Vec<_> = candidates(pools)
            .map(|pool| (pool.service, pool.generation))
            .collect();
        self.commit(pools, moment);
        let probation = self.on_probation.then(|| Probation {
            until_ms: moment.now_ms.saturating_add(PROBATION_MS),
            on_trial,
        });
        Verdict::Made {
            policy: self.policy,
            probation,
        }
    }

    pub(super) fn abandon(&self, text: String, pools: &mut [Pool], moment: &mut Moment<'_>) {
        for pool in pools.iter_mut() {
            if pool.standing == Standing::Candidate {
                pool.abandon(moment);
            }
        }
        moment.orders.push(Order::Abandon { text });
    }

    fn commit(&self, pools: &mut [Pool], moment: &mut Moment<'_>) {
        moment.orders.push(Order::Commit);
        let mut heirs = Vec::new();
        for pool in pools.iter_mut() {
            if pool.standing == Standing::Candidate {
                pool.install(moment);
                heirs.push((pool.service, pool.generation, pool.successors()));
            }
        }
        for pool in pools.iter_mut() {
            let is_heir = |(service, generation, _): &&(ServiceId, u32, _)| {
                *service == pool.service && *generation != pool.generation
            };
            let successors = heirs.iter().find(is_heir).map(|(_, _, s)| s.as_slice());
            let leaves = successors.is_some() || self.removed.contains(&pool.service);
            if leaves && pool.standing == Standing::Current {
                pool.replace_by(successors, moment);
            }
        }
    }
}

impl Probation {
    pub(super) fn deadline_ms(&self) -> u64 {
        self.until_ms
    }

    /// True when it is over, one way or the other.
    pub(super) fn settle(&self, pools: &[Pool], moment: &mut Moment<'_>) -> bool {
        let dying = pools.iter().find(|pool| {
            self.on_trial.contains(&(pool.service, pool.generation))
                && pool.standing == Standing::Current
                && (pool.deaths >= PROBATION_DEATHS_MAX || pool.is_suspended())
        });
        if let Some(pool) = dying {
            let (name, generation) = (pool.view().name, pool.generation);
            let what = match pool.deaths {
                PROBATION_DEATHS_MAX.. => {
                    format!(
                        "{} workers of generation {generation} have died",
                        pool.deaths
                    )
                }
                _ => format!("the plugin of generation {generation} was suspended"),
            };
            let text = format!("{name}: {what} within its first {} s", PROBATION_MS / 1_000);
            moment.orders.push(Order::RollBack { text });
            return true;
        }
        if moment.now_ms >= self.until_ms {
            moment.orders.push(Order::Proven);
            return true;
        }
        false
    }
}

fn candidates(pools: &[Pool]) -> impl Iterator<Item = &Pool> {
    pools
        .iter()
        .filter(|pool| pool.standing == Standing::Candidate)
}

fn hurry_former(beginning: &Beginning, pools: &mut [Pool], moment: &mut Moment<'_>) {
    let former =
        |pool: &&mut Pool| pool.service == beginning.service && pool.standing == Standing::Former;
    for pool in pools.iter_mut().filter(former) {
        pool.hurry(moment);
    }
}

/// A candidate starts once at most the current generation of its service has workers.
fn admit_held(pools: &mut [Pool], moment: &mut Moment<'_>) {
    for at in 0..pools.len() {
        let service = pools[at].service;
        let lingers = |pool: &Pool| {
            pool.service == service
                && pool.standing == Standing::Former
                && pool.state() != State::Gone
        };
        if pools[at].is_held() && !pools.iter().any(lingers) {
            pools[at].begin(moment);
        }
    }
}

/// A worker that refuses has said which service it is of; one that dies has not.
fn named(service: &str, text: String) -> String {
    let name = format!("services.{service}: ");
    match text.starts_with(&name) {
        true => text,
        false => name + &text,
    }
}
