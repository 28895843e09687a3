//! Processes that drain: how long they have, which of them hand their sessions over, and what that is
//! worth to them when they are in somebody's way.
//!
//! Invariant of the rules here: nobody is killed before its time is over, and nobody much later.

use polyport::lifecycle::{Exit, News, WorkerId};

use crate::world::{Drain, Happening, World};

/// From the end of a drain to the kill.
const MARGIN_MS: u64 = 1_000;
/// A busy supervisor is late.
const LATE_MS: u64 = 300;

impl World {
    /// True if it hands its sessions over, which takes as long as it does.
    pub(crate) fn drains(
        &mut self,
        worker: WorkerId,
        grace_ms: u64,
        heir: bool,
        hurried: bool,
    ) -> bool {
        let over_ms = self.now_ms + grace_ms;
        if let Some(drain) = self.process(worker).drain {
            let latest_ms = drain
                .hurried
                .map_or(drain.over_ms, |(latest_ms, _)| latest_ms);
            self.rule(
                over_ms < latest_ms,
                "whoever drains is told so again to be quicker only",
            );
            self.process(worker).drain = Some(Drain {
                over_ms: over_ms.min(drain.over_ms),
                hurried: hurried.then_some((drain.over_ms, grace_ms)),
                gives: drain.gives,
            });
            if hurried {
                self.seen("hurried");
            }
            return drain.gives && hurried;
        }
        self.rule(!hurried, "only who drains is hurried");
        let gives = heir && self.dice.chance(60);
        self.process(worker).drain = Some(Drain {
            over_ms,
            hurried: None,
            gives,
        });
        if gives {
            let mut at_ms = 0;
            for _ in 0..self.dice.below(12) {
                at_ms += 1 + self.dice.below(6_000);
                self.say(at_ms, worker, News::Gives);
            }
            if self.dice.chance(70) {
                self.later(at_ms + 1, Happening::Die(worker, Exit::Code(0), None));
            }
        }
        gives
    }

    /// Also words of one that has died meanwhile.
    pub(crate) fn gets_on(&mut self, worker: WorkerId) {
        let now_ms = self.now_ms;
        let Some(process) = self.processes.get_mut(&worker) else {
            return;
        };
        let Some(drain) = process.drain.as_mut().filter(|_| !process.kill_ordered) else {
            return;
        };
        if let Some((latest_ms, grace_ms)) = drain.hurried {
            let later_ms = latest_ms.min(now_ms + grace_ms);
            if later_ms > drain.over_ms {
                drain.over_ms = later_ms;
                self.seen("given time by progress");
            }
        }
    }

    pub(crate) fn killed_in_drain(&mut self, worker: WorkerId) {
        self.seen("kill at drain's end");
        let now_ms = self.now_ms;
        let drain = self.process(worker).drain;
        let over_ms = drain.expect("it was told").over_ms + MARGIN_MS;
        self.rule(
            now_ms >= over_ms,
            "whoever drains is killed when its time is over, which begins anew with what it hands over",
        );
        self.rule(
            now_ms <= over_ms + LATE_MS,
            "whoever drains is killed soon after its time is over",
        );
    }
}
