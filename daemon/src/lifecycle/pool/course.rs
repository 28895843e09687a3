//! A pool and the breaker of its plugin: who runs the plugin now, and who stands in for it.
//!
//! A fault counts while the pool is what serves. When the course turns, each worker of the wrong kind
//! drains, and one of the right kind takes its place at once: addresses stay bound, and somebody
//! answers there. A new generation begins with a breaker that is closed.
//!
//! Invariant: two workers of one place never both run the plugin; what a stand-in dies of is nobody's
//! fault.

use serde::{Deserialize, Serialize};

use super::winding::HURRIED;
use super::{Phase, Pool, Speed, Standing};
use crate::lifecycle::Moment;
use crate::lifecycle::breaker::{Breaker, Cause, Course};
use crate::lifecycle::ending::End;
use crate::lifecycle::event::News;
use crate::lifecycle::order::State;
use crate::lifecycle::soft::SoftFaults;
use crate::lifecycle::view::BreakerView;
use crate::plan::LogLevel;

/// How far the plugin is trusted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Trust {
    breaker: Breaker,
    soft: SoftFaults,
    /// The latest fault.
    why: String,
}

impl Pool {
    // --- faults --------------------------------------------------------------------------------

    pub(super) fn fault(&mut self, cause: Cause, why: &str, moment: &mut Moment<'_>) {
        if !self.is_judged() {
            return;
        }
        if self.trust.breaker.course() != Course::Open {
            why.clone_into(&mut self.trust.why);
        }
        let before = self.trust.breaker.course();
        self.trust.breaker.fault(cause, moment.now_ms);
        self.turned(before, moment);
    }

    pub(super) fn soft_faults(&mut self, sources: &[u64], moment: &mut Moment<'_>) {
        for source in sources {
            if self.trust.soft.count(*source, moment.now_ms) {
                self.fault(Cause::Plugin, "session after session has failed", moment);
            }
        }
    }

    pub(super) fn tick_course(&mut self, moment: &mut Moment<'_>) {
        if self.is_judged() {
            let before = self.trust.breaker.course();
            self.trust.breaker.tick(moment.now_ms);
            self.turned(before, moment);
        }
    }

    pub(super) fn course_deadline_ms(&self) -> Option<u64> {
        let deadline_ms = self.trust.breaker.next_deadline_ms();
        deadline_ms.filter(|_| self.is_judged())
    }

    /// It serves, and has shown that it can.
    fn is_judged(&self) -> bool {
        self.standing == Standing::Current && matches!(self.phase, Phase::Serving)
    }

    fn turned(&self, before: Course, moment: &mut Moment<'_>) {
        let breaker = &self.trust.breaker;
        let in_s = breaker
            .next_deadline_ms()
            .map_or(0, |at_ms| at_ms.saturating_sub(moment.now_ms) / 1_000);
        let (severity, text) = match breaker.course() {
            course if course == before => return,
            Course::Open => {
                let why = &self.trust.why;
                let text = format!(
                    "suspended, because its plugin keeps failing: {why}; it is tried again in {in_s} s"
                );
                (LogLevel::Error, text)
            }
            Course::HalfOpen => {
                let text = format!("one worker tries the plugin for {in_s} s");
                (LogLevel::Warning, text)
            }
            Course::Closed => (LogLevel::Info, "no longer suspended".to_owned()),
        };
        self.tell(severity, &text, moment);
    }

    // --- who runs the plugin -------------------------------------------------------------------

    pub(super) fn wants_stand_in(&self, at: usize) -> bool {
        match self.trust.breaker.course() {
            Course::Closed => false,
            Course::HalfOpen => at > 0,
            Course::Open => true,
        }
    }

    /// Replaces the workers that are of the wrong kind.
    pub(super) fn follow_course(&mut self, moment: &mut Moment<'_>) {
        if !self.is_judged() {
            return;
        }
        for at in 0..self.slots.len() {
            if self.slots[at].is_stand_in() == self.wants_stand_in(at) {
                continue;
            }
            match self.slots[at].state() {
                State::Gone => self.slots[at].postpone(moment.now_ms),
                // Killed for a fault, and followed by one of the right kind.
                State::Draining => {}
                State::Starting | State::Serving => self.change_kind(at, moment),
            }
        }
    }

    fn change_kind(&mut self, at: usize, moment: &mut Moment<'_>) {
        let to_plugin = !self.wants_stand_in(at);
        let number = self.slots[at].number();
        let mut last = self.replaced.iter_mut().filter(|it| it.number() == number);
        if let Some(last) = last.find(|it| to_plugin && !it.is_stand_in()) {
            // It drains slowly, and there is one place for what a plugin's worker counts.
            return last.leave(HURRIED, moment);
        }
        let leave = match to_plugin {
            // A stand-in has nothing to finish.
            true => Speed::Fast.leave(moment),
            false => Speed::Drain.leave(moment),
        };
        let heir = self.slots[at].heir(moment.now_ms);
        let mut former = std::mem::replace(&mut self.slots[at], heir);
        former.leave(leave, moment);
        self.replaced.push(former);
    }

    /// Of a worker whose place another kind has.
    pub(super) fn news_of_replaced(&mut self, at: usize, news: News, moment: &mut Moment<'_>) {
        let slot = &mut self.replaced[at];
        let end = match news {
            News::Spawned { pid } => return slot.spawned(pid, moment),
            News::NotSpawned { error } => slot.not_spawned(error),
            News::Exited { exit, .. } => slot.exited(exit, None, None),
            // Its end is under way.
            News::Ready | News::Refused { .. } | News::Soft { .. } => return,
            News::Stuck { .. } | News::Unstuck | News::Stopped(_) => return,
            // To nobody: whoever has its place is of its own generation.
            News::Gives => return,
        };
        match end {
            End::Stale => {}
            End::Told => slot.bury(moment),
            End::Died(death) => slot.mourn(death.text, None, moment),
        }
        self.replaced.remove(at);
    }

    // --- what others may know ------------------------------------------------------------------

    /// Nothing of the plugin is run.
    pub(in crate::lifecycle) fn is_suspended(&self) -> bool {
        self.trust.breaker.course() == Course::Open
    }

    pub(super) fn breaker_view(&self) -> Option<BreakerView> {
        Some(BreakerView {
            course: self.trust.breaker.course(),
            until_ms: self.trust.breaker.next_deadline_ms()?,
            why: self.trust.why.clone(),
        })
    }
}
