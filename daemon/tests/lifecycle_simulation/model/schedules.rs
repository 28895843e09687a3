//! How many schedules the worlds stand for: orders in which events can come, each of which leads from
//! the beginning through worlds that were looked at once.
//!
//! Invariant: a world that was met is not met again, and what follows from it is noted once.

use std::collections::HashMap;

pub(super) struct Schedules {
    /// A world's number, by its print. The first one's is 0.
    met: HashMap<u64, usize>,
    /// To where each event leads from a world; of those met last nothing is known.
    next: Vec<Vec<usize>>,
}

impl Schedules {
    pub(super) fn from(print: u64) -> Schedules {
        Schedules {
            met: HashMap::from([(print, 0)]),
            next: vec![Vec::new()],
        }
    }

    /// The world with this print follows from the one with that number. Its own, if it was not met
    /// before.
    pub(super) fn meet(&mut self, from: usize, print: u64) -> Option<usize> {
        let new = self.next.len();
        let number = *self.met.entry(print).or_insert(new);
        self.next[from].push(number);
        (number == new).then(|| {
            self.next.push(Vec::new());
            new
        })
    }

    /// Says how many it were; how many worlds.
    pub(super) fn tell(&self, what: &str, steps: usize) -> usize {
        let (worlds, schedules) = (self.next.len(), self.count(steps));
        println!("{what}: {worlds} worlds in {steps} steps, by {schedules} schedules");
        worlds
    }

    /// Of so many steps, or fewer if nothing more can happen.
    fn count(&self, steps: usize) -> u128 {
        let mut ways = vec![0_u128; self.next.len()];
        let mut ended = 0;
        ways[0] = 1;
        for _ in 0..steps {
            let mut after = vec![0_u128; self.next.len()];
            for (count, next) in ways.iter().zip(&self.next) {
                if next.is_empty() {
                    ended += count;
                }
                for number in next {
                    after[*number] += count;
                }
            }
            ways = after;
        }
        ended + ways.iter().sum::<u128>()
    }
}
