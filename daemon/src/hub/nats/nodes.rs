//! The other nodes: who is heard of, and who has been silent for longer than it said itself.
//!
//! Invariant: nobody is taken for dead by a hub that could not hear of it.

use std::collections::HashSet;

use super::cluster::{Cluster, Node};
use crate::hub::core::Hub;
use crate::hub::store::Store;

/// Between two looks for nodes that are dead.
const LOOK_MS: u64 = 500;

impl<S: Store> Hub<S> {
    pub(super) fn node_heard(&mut self, node: String, timeout_ms: Option<u64>, now_ms: u64) {
        let Some(cluster) = &mut self.cluster else {
            return;
        };
        if node == cluster.node {
            return;
        }
        let heard = Node {
            heard_ms: now_ms,
            timeout_ms: timeout_ms.unwrap_or(0),
            is_dead: false,
        };
        cluster.nodes.insert(node, heard);
    }

    /// Frees what dead nodes held.
    pub(in crate::hub) fn look_for_dead(&mut self, now_ms: u64) {
        let Some(cluster) = &mut self.cluster else {
            return;
        };
        if !cluster.is_up || now_ms < cluster.look_at_ms {
            return;
        }
        cluster.look_at_ms = now_ms + LOOK_MS;
        for node in cluster.nodes.values_mut() {
            node.is_dead = now_ms.saturating_sub(node.heard_ms) >= node.timeout_ms;
        }
        if !cluster.nodes.values().any(|node| node.is_dead) {
            return;
        }
        let mut free = Vec::new();
        let mut known = HashSet::new();
        for (service, followed) in &cluster.services {
            for (key, entry) in &followed.holding.entries {
                let node = &entry.lease.node;
                if cluster.nodes.get(node).is_some_and(|it| it.is_dead) {
                    known.insert(node.clone());
                    if !followed.holding.steps.contains_key(key) {
                        free.push((*service, key.clone(), entry.freed()));
                    }
                }
            }
        }
        cluster
            .nodes
            .retain(|name, node| !node.is_dead || known.contains(name));
        for (service, key, step) in free {
            self.add_step(service, &key, step);
        }
    }
}

impl Cluster {
    pub(in crate::hub) fn next_deadline_ms(&self) -> Option<u64> {
        let looks = self.is_up && !self.nodes.is_empty();
        looks.then_some(self.look_at_ms)
    }
}
