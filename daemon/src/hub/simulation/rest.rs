//! What holds when nothing is under way any more.
//!
//! Invariant: it is looked at only, never changed, once all that was said has been heard.

use std::collections::BTreeMap;

use super::{KEYS, Log, World};

impl World {
    pub(super) fn rest(&mut self) {
        if self.hub.is_none() {
            self.hub_starts();
        }
        let mut moved = true;
        while moved {
            moved = false;
            for nth in 0..self.workers.len() {
                moved |= self.carry(nth, true);
            }
        }
    }

    pub(super) fn check_at_rest(&mut self) {
        let held = |world: &World, key: &str| {
            let holders = world.workers.iter().filter(|it| it.holds.contains_key(key));
            holders.count()
        };
        for key in KEYS {
            let holders = held(self, key);
            assert!(holders <= 1, "{holders} holders of {key}");
            for worker in &self.workers {
                assert_eq!(worker.seen.contains_key(key), holders == 1, "{key} seen");
            }
        }
        for worker in &self.workers {
            for (token, log) in &worker.logs {
                assert!(log.caught_up.is_some(), "{token} has never caught up");
                if log.live {
                    self.check_log(*token, log, u64::MAX);
                }
            }
        }
        let mut before: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for ((topic, _), content) in &self.truth {
            let text = std::str::from_utf8(content).expect("as it was made");
            let (name, number) = text.split_once(' ').expect("as it was made");
            let number: u64 = number.parse().expect("as it was made");
            // Others may publish again what has a name. And of two that a hub had numbered before it died,
            // the earlier may have been heard by nobody: asked again, it comes behind the later, if that
            // was told to one who had begun to follow between them.
            if !number.is_multiple_of(2) && self.hub_deaths == 0 {
                let before = before.insert((topic, name), number).unwrap_or(0);
                assert!(before < number, "the order of {name} in {topic}");
            }
        }
    }

    /// Whether a subscription has heard all that there is from its first message up to this number.
    pub(super) fn check_log(&self, token: u64, log: &Log, end: u64) {
        let (false, Some((first, _))) = (log.missed, log.heard.first()) else {
            return;
        };
        let all: Vec<_> = self
            .truth
            .iter()
            .filter(|((topic, sequence), _)| {
                *topic == log.topic && (*first..=end).contains(sequence)
            })
            .map(|((_, sequence), content)| (*sequence, content.clone()))
            .collect();
        assert_eq!(log.heard, all, "{token} has heard everything once");
    }
}
