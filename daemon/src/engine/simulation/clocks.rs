//! The clocks of the simulated worlds. The one that the engine is told goes forth only, if by days at
//! once; the one on the wall, by which a service has its hours, is set back as well.
//!
//! Invariant: whatever the jump, what was due before it is done by the first look at the clock after it.

use super::World;
use super::script::Random;
use crate::engine::access::{Access, Denied};
use crate::engine::session::Party;
use crate::plan::{self, Hours};

const DAY_S: u64 = 86_400;
/// 1 ms to 3 days, each size as often as any other.
const JUMP_BITS: u64 = 28;

/// Always open by default.
#[derive(Default)]
pub(super) struct Wall {
    now_s: u64,
    /// Seconds of the day at which the service is open, and its word on them.
    hours: Option<((u64, u64), Access)>,
}

impl Wall {
    /// In every other world there are hours, in some of them over midnight.
    pub(super) fn new(seed: u64) -> Wall {
        let mut random = Random(seed | 1);
        let [from, to] = [(); 2].map(|()| random.below(24));
        let hours = (seed.is_multiple_of(2) && from != to).then(|| {
            let written = Hours::parse(&format!("{from:02}:00-{to:02}:00")).expect("hours");
            let access = plan::Access {
                times: vec![written],
                ..plan::Access::default()
            };
            ((from * 3600, to * 3600), Access::new(&access))
        });
        Wall {
            now_s: random.below(10_000 * DAY_S),
            hours,
        }
    }
}

impl World {
    /// Perhaps the clock jumps, and the one on the wall in whichever direction.
    pub(super) fn jump(&mut self) {
        if self.jumps == 0 || self.random.below(self.jumps) > 0 {
            return;
        }
        let [forth_ms, by_s] = [(); 2].map(|()| {
            let bits = self.random.below(JUMP_BITS);
            1 + self.random.below(1 << bits)
        });
        self.now_ms += forth_ms;
        let wall_s = &mut self.wall.now_s;
        *wall_s = match self.random.below(2) {
            0 => *wall_s + by_s,
            _ => wall_s.saturating_sub(by_s),
        };
        // Where something may change, now and then.
        if self.random.below(2) == 0 {
            *wall_s = *wall_s / 3600 * 3600 + self.random.below(120);
        }
        self.is_let_in();
    }

    /// Whether the service is open to whoever comes now.
    pub(super) fn is_let_in(&self) -> bool {
        let Some(((from, to), access)) = &self.wall.hours else {
            return true;
        };
        let second = self.wall.now_s % DAY_S;
        let is_open = match from < to {
            true => (*from..*to).contains(&second),
            false => second >= *from || second < *to,
        };
        let peer = Party::from(std::net::SocketAddr::from(([127, 0, 0, 1], 1)));
        let expected = if is_open { Ok(()) } else { Err(Denied::ByHour) };
        assert_eq!(access.admit(peer, || self.wall.now_s), expected);
        is_open
    }

    /// What is due is done, and no deadline is left behind.
    pub(super) fn expire(&mut self) {
        self.streams.expire(self.now_ms);
        for (token, connection) in self.streams.connections.iter() {
            let at_ms = connection.deadline_ms();
            assert!(at_ms > self.now_ms, "{token:?} was due at {at_ms}");
        }
    }
}
