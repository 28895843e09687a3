//! What the bucket shows of leases, and what follows from it for those who watch and for what this node
//! holds.
//!
//! Of several writes of a key only the last may be shown, which for one that is free says what it was at
//! last. A lease that this node holds and that is not shown any more is claimed again, unless its session
//! has had it elsewhere since; one that it is said to hold and does not know of is freed.
//!
//! Invariant: those who watch hear of a key in the order of its revisions, and of none twice.

use super::cluster::{Lease, Node, Shown};
use super::holding::{Entry, Step, UNKNOWN_MS};
use crate::hub::core::{Hub, NOBODY};
use crate::hub::leases::Held;
use crate::hub::store::Store;

impl<S: Store> Hub<S> {
    /// The bucket shows a key.
    pub(super) fn lease_seen(
        &mut self,
        service: usize,
        key: &str,
        revision: u64,
        shown: Shown,
        now_ms: u64,
    ) {
        let Some(cluster) = &mut self.cluster else {
            return;
        };
        let Some(followed) = cluster.services.get_mut(&service) else {
            return;
        };
        let holding = &mut followed.holding;
        let (lease, last) = match shown {
            Shown::Held(lease) => (Some(lease), None),
            // What was over before this hub has begun, and what it has heard, nobody has missed.
            Shown::Free(last) => {
                let is_news = holding.was_seen && holding.position < revision;
                (None, last.filter(|_| is_news))
            }
        };
        holding.position = holding.position.max(revision);
        if let Some(lease) = &lease
            && lease.node != cluster.node
        {
            cluster.nodes.entry(lease.node.clone()).or_insert(Node {
                heard_ms: now_ms,
                timeout_ms: UNKNOWN_MS,
                is_dead: false,
            });
        }
        let mut lost = None;
        let mut freed = None;
        if let Some(mine) = holding.mine.get_mut(key)
            && mine.revision < revision
        {
            let is_his = |it: &Lease| it.session == mine.held.session;
            let is_here = |it: &Lease| it.node == cluster.node;
            match (&lease, &last) {
                (Some(lease), _) if is_his(lease) && is_here(lease) => mine.revision = revision,
                // The same session had it elsewhere, and has given it up.
                (None, Some(last)) if is_his(last) && !is_here(last) => {
                    lost = holding.mine.remove(key);
                }
                // Those who say so took this node for dead.
                (None, _) => freed = holding.mine.remove(key),
                (Some(_), _) => lost = holding.mine.remove(key),
            }
        }
        let value = lease.as_ref().map(|lease| lease.value.clone());
        let before = last.map(|last| last.value);
        match lease {
            Some(lease) => {
                let entry = Entry {
                    lease,
                    revision,
                    is_fresh: true,
                };
                holding.entries.insert(key.to_owned(), entry);
            }
            None => drop(holding.entries.remove(key)),
        }
        if let Some(before) = &before {
            self.show_seen(service, key, Some(before));
        }
        self.show_seen(service, key, value.as_deref());
        if let Some(lost) = lost {
            self.denied(
                lost.held.member,
                lost.held.token,
                &value.or(before).unwrap_or_default(),
            );
        }
        if let Some(freed) = freed {
            self.ask_lease(service, key, freed.held);
        }
    }

    /// What those who watch are told of.
    pub(super) fn show_seen(&mut self, service: usize, key: &str, value: Option<&[u8]>) {
        let leases = &mut self.services[service].leases;
        let has_changed = match value {
            Some(value) => leases.set(
                key,
                Held {
                    member: NOBODY,
                    token: 0,
                    session: Box::default(),
                    value: value.into(),
                },
            ),
            None => leases.unset(key),
        };
        if has_changed {
            self.show(service, key, value);
        }
    }

    /// Everything that the bucket has was shown since the connection was made.
    pub(super) fn leases_seen(&mut self, service: usize) {
        let Some(cluster) = &mut self.cluster else {
            return;
        };
        let Some(followed) = cluster.services.get_mut(&service) else {
            return;
        };
        let (node, holding) = (&cluster.node, &mut followed.holding);
        (holding.is_seen, holding.was_seen) = (true, true);
        let mut gone = Vec::new();
        holding.entries.retain(|key, entry| {
            if !entry.is_fresh {
                gone.push(key.clone());
            }
            entry.is_fresh
        });
        let mut again = Vec::new();
        for (key, mine) in &mut holding.mine {
            match holding.entries.get(key) {
                Some(it) if it.lease.node == *node && it.lease.session == mine.held.session => {
                    mine.revision = it.revision;
                }
                _ => again.push(key.clone()),
            }
        }
        for key in again {
            if let Some(mine) = holding.mine.remove(&key) {
                let (claim, found) = (mine.held, None);
                let steps = holding.steps.entry(key).or_default();
                steps.push_front(Step::Claim { claim, found });
            }
        }
        for (key, entry) in &holding.entries {
            let is_nobodys = entry.lease.node == *node && !holding.mine.contains_key(key);
            if is_nobodys && !holding.steps.contains_key(key) {
                let steps = holding.steps.entry(key.clone()).or_default();
                steps.push_back(entry.freed());
            }
        }
        let keys: Vec<String> = holding.steps.keys().cloned().collect();
        for key in gone {
            self.show_seen(service, &key, None);
        }
        for key in keys {
            self.go_on(service, &key);
        }
    }
}
