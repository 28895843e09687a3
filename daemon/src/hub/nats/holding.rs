//! Leases in a cluster: what is asked of the server key by key, and what it answers.
//!
//! Who holds a key is decided by the server alone, by a write that names the revision it replaces. What
//! the bucket shows (`seen`) is a first guess at that revision, and no claim is denied for it. A node that
//! was silent for longer than it said itself is dead: every node that notices frees what it held, and the
//! server lets one of them.
//!
//! Invariant: of one key one request is under way at most; in `mine` is what the server has granted and
//! nobody is known to have taken since.

use std::collections::{HashMap, HashSet, VecDeque};

use super::cluster::{Answer, Lease, Node, Request};
use crate::hub::core::{Hub, MemberId};
use crate::hub::leases::{Held, LEASES_MAX};
use crate::hub::store::Store;
use crate::hub::wire::News;

/// A node that was not heard of itself yet is given this long.
pub(super) const UNKNOWN_MS: u64 = 15_000;

/// The leases of one service.
#[derive(Default)]
pub(super) struct Holding {
    /// All that the bucket has was shown on this connection.
    pub(super) is_seen: bool,
    /// All was shown on some connection.
    pub(super) was_seen: bool,
    /// The last revision that was shown.
    pub(super) position: u64,
    pub(super) entries: HashMap<String, Entry>,
    pub(super) mine: HashMap<String, Mine>,
    pub(super) steps: HashMap<String, VecDeque<Step>>,
    asked: HashSet<String>,
}

/// A key as the bucket shows it.
pub(super) struct Entry {
    pub(super) lease: Lease,
    pub(super) revision: u64,
    /// It was shown on this connection.
    pub(super) is_fresh: bool,
}

pub(super) struct Mine {
    pub(super) held: Held,
    pub(super) revision: u64,
}

/// What is to be done with a key, one after the other.
pub(super) enum Step {
    Claim {
        claim: Held,
        /// The revision that it replaces, if the server has said.
        found: Option<u64>,
    },
    Release {
        member: MemberId,
        session: Box<[u8]>,
    },
    Free {
        revision: u64,
        last: Lease,
    },
}

/// What comes of the first step of a key.
enum Turn {
    Ask(Request),
    Won { token: u64, before: Option<Held> },
    Denied { claim: Held, value: Box<[u8]> },
    Nothing,
}

impl Holding {
    pub(super) fn is_at_rest(&self) -> bool {
        self.steps.is_empty()
    }

    /// Nothing that was asked is answered.
    pub(super) fn forget_asked(&mut self) {
        self.asked.clear();
        self.is_seen = false;
        for entry in self.entries.values_mut() {
            entry.is_fresh = false;
        }
    }

    fn add(&mut self, key: &str, step: Step) {
        self.steps
            .entry(key.to_owned())
            .or_default()
            .push_back(step);
    }

    fn end_step(&mut self, key: &str) -> Option<Step> {
        let steps = self.steps.get_mut(key)?;
        let step = steps.pop_front();
        if steps.is_empty() {
            self.steps.remove(key);
        }
        step
    }

    /// What the first step of a key asks for now.
    fn turn(
        &mut self,
        key: &str,
        service: usize,
        node: &str,
        nodes: &HashMap<String, Node>,
    ) -> Option<Turn> {
        let steps = self.steps.get_mut(key)?;
        let step = steps.front_mut()?;
        let (claim, expected) = match step {
            Step::Claim { claim, found } => match self.mine.get_mut(key) {
                Some(mine) if mine.held.session != claim.session => {
                    let (claim, value) = (claim.clone(), mine.held.value.clone());
                    return Some(Turn::Denied { claim, value });
                }
                Some(mine) if mine.held.value == claim.value => {
                    let before = std::mem::replace(&mut mine.held, claim.clone());
                    let (token, before) = (claim.token, Some(before));
                    return Some(Turn::Won { token, before });
                }
                Some(mine) => (claim, mine.revision),
                None => match (found, self.entries.get(key)) {
                    (Some(found), _) => (claim, *found),
                    (None, Some(it)) if may_replace(&it.lease, claim, node, nodes) => {
                        (claim, it.revision)
                    }
                    // What is shown may be over by now: the server says.
                    (None, Some(_)) => (claim, 0),
                    (None, None) if self.entries.len() >= LEASES_MAX => {
                        let (claim, value) = (claim.clone(), Box::default());
                        return Some(Turn::Denied { claim, value });
                    }
                    (None, None) => (claim, 0),
                },
            },
            Step::Release { member, session } => {
                let is_his = |it: &Mine| it.held.member == *member && it.held.session == *session;
                if !self.mine.get(key).is_some_and(is_his) {
                    return Some(Turn::Nothing);
                }
                let mine = self.mine.remove(key)?;
                let (revision, last) = (mine.revision, lease_of(&mine.held, node));
                *step = Step::Free { revision, last };
                return self.turn(key, service, node, nodes);
            }
            Step::Free { revision, last } => {
                return Some(Turn::Ask(Request::Delete {
                    service,
                    key: key.to_owned(),
                    revision: *revision,
                    last: last.clone(),
                }));
            }
        };
        Some(Turn::Ask(Request::Put {
            service,
            key: key.to_owned(),
            lease: lease_of(claim, node),
            expected,
        }))
    }
}

impl Entry {
    pub(super) fn freed(&self) -> Step {
        Step::Free {
            revision: self.revision,
            last: self.lease.clone(),
        }
    }
}

fn lease_of(held: &Held, node: &str) -> Lease {
    Lease {
        node: node.to_owned(),
        session: held.session.clone(),
        value: held.value.clone(),
    }
}

/// Who claims in the name of the holder's session has its key, and what a dead node held is free; what
/// this node is said to hold and does not know of was asked for by somebody who is gone.
fn may_replace(lease: &Lease, claim: &Held, node: &str, nodes: &HashMap<String, Node>) -> bool {
    let is_dead = |it: &Node| it.is_dead;
    lease.session == claim.session
        || lease.node == node
        || nodes.get(&lease.node).is_some_and(is_dead)
}

impl<S: Store> Hub<S> {
    // --- what workers ask ----------------------------------------------------------------------

    pub(in crate::hub) fn ask_lease(&mut self, service: usize, key: &str, claim: Held) {
        let found = None;
        self.add_step(service, key, Step::Claim { claim, found });
    }

    pub(in crate::hub) fn ask_release(
        &mut self,
        service: usize,
        key: &str,
        member: MemberId,
        session: &[u8],
    ) {
        let session = session.into();
        self.add_step(service, key, Step::Release { member, session });
    }

    /// A worker has ended: what it held is free, in the order of the names, as it is without a cluster.
    pub(in crate::hub) fn release_all(&mut self, service: usize, member: MemberId) {
        let Some(followed) = self.followed(service) else {
            return;
        };
        let mine = followed.holding.mine.iter();
        let his = mine.filter(|(_, mine)| mine.held.member == member);
        let mut his: Vec<(String, Box<[u8]>)> = his
            .map(|(key, mine)| (key.clone(), mine.held.session.clone()))
            .collect();
        his.sort();
        for (key, session) in his {
            self.add_step(service, &key, Step::Release { member, session });
        }
    }

    /// This hub ends, and so does all that its members held.
    pub fn leave_cluster(&mut self) {
        let members: Vec<(MemberId, usize)> = self
            .members
            .iter()
            .map(|(id, member)| (*id, member.service))
            .collect();
        for (member, service) in members {
            self.release_all(service, member);
        }
    }

    pub(super) fn add_step(&mut self, service: usize, key: &str, step: Step) {
        if let Some(followed) = self.followed(service) {
            followed.holding.add(key, step);
        }
        self.go_on(service, key);
    }

    /// Takes the steps of a key as far as they go without the server's answer.
    pub(super) fn go_on(&mut self, service: usize, key: &str) {
        loop {
            let Some(cluster) = &mut self.cluster else {
                return;
            };
            let Some(followed) = cluster.services.get_mut(&service) else {
                return;
            };
            let holding = &mut followed.holding;
            if !holding.is_seen || holding.asked.contains(key) {
                return;
            }
            match holding.turn(key, service, &cluster.node, &cluster.nodes) {
                None => return,
                Some(Turn::Ask(request)) => {
                    holding.asked.insert(key.to_owned());
                    return cluster.requests.push_back(request);
                }
                Some(Turn::Nothing) => drop(holding.end_step(key)),
                Some(Turn::Won { token, before }) => {
                    let mine = holding.mine.get(key).map(|mine| mine.held.clone());
                    holding.end_step(key);
                    if let Some(mine) = mine {
                        self.won(mine.member, token, before, &mine.value);
                    }
                }
                Some(Turn::Denied { claim, value }) => {
                    holding.end_step(key);
                    self.denied(claim.member, claim.token, &value);
                }
            }
        }
    }

    /// `value`: what whoever had it before hears.
    fn won(&mut self, member: MemberId, token: u64, before: Option<Held>, value: &[u8]) {
        if let Some(before) = before.filter(|before| before.member != member) {
            self.denied(before.member, before.token, value);
        }
        self.say(member, News::Won { token });
    }

    pub(super) fn denied(&mut self, member: MemberId, token: u64, value: &[u8]) {
        self.say(member, News::Denied { token, value });
    }

    // --- what the server says ------------------------------------------------------------------

    pub(super) fn put_answered(&mut self, service: usize, key: &str, answer: Answer) {
        let Some(cluster) = &mut self.cluster else {
            return;
        };
        let Some(followed) = cluster.services.get_mut(&service) else {
            return;
        };
        let holding = &mut followed.holding;
        holding.asked.remove(key);
        match answer {
            Answer::Taken(revision) => {
                if let Some(Step::Claim { claim, .. }) = holding.end_step(key) {
                    let (member, token) = (claim.member, claim.token);
                    if self.members.contains_key(&member) {
                        let (held, value) = (claim.clone(), claim.value);
                        let before = holding.mine.insert(key.to_owned(), Mine { held, revision });
                        self.won(member, token, before.map(|before| before.held), &value);
                    } else {
                        holding.mine.remove(key);
                        let last = lease_of(&claim, &cluster.node);
                        let first = holding.steps.entry(key.to_owned()).or_default();
                        first.push_front(Step::Free { revision, last });
                    }
                }
            }
            Answer::Found(lease, revision) => {
                let nodes = &cluster.nodes;
                let lost = holding.mine.remove(key);
                let step = holding.steps.get_mut(key).and_then(VecDeque::front_mut);
                if let Some(Step::Claim { claim, found }) = step {
                    if may_replace(&lease, claim, &cluster.node, nodes) {
                        *found = Some(revision);
                    } else {
                        let (member, token) = (claim.member, claim.token);
                        holding.end_step(key);
                        if let Some(lost) = lost.filter(|lost| lost.held.token != token) {
                            self.denied(lost.held.member, lost.held.token, &lease.value);
                        }
                        self.denied(member, token, &lease.value);
                    }
                }
            }
        }
        self.go_on(service, key);
    }

    /// `nothing`: the bucket does not have the key; if it is shown here, its end was not heard.
    pub(super) fn delete_answered(&mut self, service: usize, key: &str, nothing: bool) {
        let mut is_over = false;
        if let Some(followed) = self.followed(service) {
            let holding = &mut followed.holding;
            holding.asked.remove(key);
            if let Some(Step::Free { revision, .. }) = holding.end_step(key) {
                let is_it = |it: &Entry| it.revision == revision;
                is_over = nothing && holding.entries.get(key).is_some_and(is_it);
                if is_over {
                    holding.entries.remove(key);
                }
            }
        }
        if is_over {
            self.show_seen(service, key, None);
        }
        self.go_on(service, key);
    }
}
