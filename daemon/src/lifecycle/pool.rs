//! A pool: the workers of one service in one generation, from the plugin's probe to the last exit.
//!
//! It decides what a worker's death means. Until every slot has had a ready worker the service is
//! unproven: a refusal, or three deaths at the start, fail it for good. Once it has served, nothing
//! that its workers do ends it; they are replaced for as long as the administrator wants it.
//!
//! Invariants: a pool that is `Draining` or `Gone` spawns nobody; `turn` is the only place that
//! assigns `phase`; a failure touches no other pool.

use serde::{Deserialize, Serialize};

use super::back_off::Pace;
use super::ending::{Death, End};
use super::event::{Beginning, News, ServiceId, WorkerId};
use super::order::State;
use super::slot::Slot;
use super::{Moment, Policy};
use crate::plan::LogLevel;

mod course;
mod lending;
mod shown;
mod winding;

use course::Trust;
use lending::Lending;

/// Deaths at the start, over all slots of an unproven pool, that fail its service.
const START_DEATHS_MAX: u32 = 3;
/// Workers of a pool that may be on their way to serving at once. Each takes its part of the machine
/// from the others and from the supervisor: of too many none would be ready in time.
pub(super) const STARTING_MAX: usize = 32;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Pool {
    pub(super) service: ServiceId,
    pub(super) generation: u32,
    pub(super) standing: Standing,
    /// Deaths of its workers that count, since it became what serves.
    pub(super) deaths: u32,
    name: String,
    phase: Phase,
    slots: Vec<Slot>,
    /// Workers that drain because one of another kind has their place.
    replaced: Vec<Slot>,
    pace: Pace,
    trust: Trust,
    lending: Lending,
}

/// What a pool is to its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Standing {
    /// It is to serve once a change is committed; until then its workers are parked.
    Candidate,
    /// It is what the service is.
    Current,
    /// It was replaced, removed or given up.
    Former,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Phase {
    /// The plugin's probe is not back.
    Probing,
    /// There is room for it once an older generation has gone.
    Held {
        workers: u16,
    },
    Starting {
        deaths: u32,
    },
    Serving,
    Draining(Why),
    Gone(Why),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Why {
    Stopped,
    /// An administrator wants nobody to be served, for now.
    Paused,
    Replaced,
    Failed(String),
}

/// How fast a pool is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Speed {
    Drain,
    Fast,
}

impl Pool {
    pub(super) fn new(service: ServiceId, generation: u32, name: String) -> Pool {
        Pool {
            service,
            generation,
            standing: Standing::Current,
            deaths: 0,
            name,
            phase: Phase::Probing,
            slots: Vec::new(),
            replaced: Vec::new(),
            pace: Pace::default(),
            trust: Trust::default(),
            lending: Lending::default(),
        }
    }

    /// One that a change wants to serve. It waits for room, and then for the others.
    pub(super) fn candidate(beginning: Beginning) -> Pool {
        let Beginning {
            service,
            generation,
            name,
            workers,
        } = beginning;
        Pool {
            standing: Standing::Candidate,
            phase: Phase::Held { workers },
            ..Pool::new(service, generation, name)
        }
    }

    // --- events of the service -----------------------------------------------------------------

    pub(super) fn admitted(&mut self, workers: u16, moment: &mut Moment<'_>) {
        match self.phase {
            Phase::Probing => self.start(workers, moment),
            // Said twice, or crossed with a stop.
            Phase::Held { .. } | Phase::Starting { .. } | Phase::Serving => {}
            Phase::Draining(_) | Phase::Gone(_) => {}
        }
    }

    pub(super) fn not_admitted(&mut self, text: String, moment: &mut Moment<'_>) {
        match self.phase {
            Phase::Probing => self.fail(text, moment),
            Phase::Held { .. } | Phase::Starting { .. } | Phase::Serving => {}
            Phase::Draining(_) | Phase::Gone(_) => {}
        }
    }

    /// The generation that it waited for has gone.
    pub(super) fn begin(&mut self, moment: &mut Moment<'_>) {
        match self.phase {
            Phase::Held { workers } => self.start(workers, moment),
            Phase::Probing | Phase::Starting { .. } | Phase::Serving => {}
            Phase::Draining(_) | Phase::Gone(_) => {}
        }
    }

    /// The change is made: it is what serves from now on.
    pub(super) fn install(&mut self, moment: &mut Moment<'_>) {
        self.standing = Standing::Current;
        self.deaths = 0;
        for slot in &mut self.slots {
            slot.release(moment);
        }
    }

    /// Another generation serves in its stead, or nobody does.
    pub(super) fn replace_by(&mut self, successor: Option<&[WorkerId]>, moment: &mut Moment<'_>) {
        self.standing = Standing::Former;
        self.end(
            Why::Replaced,
            Speed::Drain,
            successor.unwrap_or(&[]),
            moment,
        );
    }

    pub(super) fn pause(&mut self, moment: &mut Moment<'_>) {
        self.end(Why::Paused, Speed::Drain, &[], moment);
    }

    pub(super) fn stop(&mut self, speed: Speed, moment: &mut Moment<'_>) {
        self.end(Why::Stopped, speed, &[], moment);
    }

    /// A change that it was to be part of is given up.
    pub(super) fn abandon(&mut self, moment: &mut Moment<'_>) {
        self.standing = Standing::Former;
        self.end(Why::Replaced, Speed::Fast, &[], moment);
    }

    fn start(&mut self, workers: u16, moment: &mut Moment<'_>) {
        self.turn(
            Phase::Starting { deaths: 0 },
            LogLevel::Debug,
            "starting",
            moment,
        );
        for slot in 0..workers {
            let nobody = WorkerId {
                service: self.service,
                generation: self.generation,
                slot,
                incarnation: 0,
            };
            self.slots
                .push(Slot::due(self.name.clone(), nobody, moment.now_ms));
        }
    }

    fn end(&mut self, why: Why, speed: Speed, successors: &[WorkerId], moment: &mut Moment<'_>) {
        match self.phase {
            Phase::Probing | Phase::Held { .. } | Phase::Starting { .. } | Phase::Serving => {
                let (severity, text) = match why {
                    Why::Stopped => (LogLevel::Info, "stopping"),
                    Why::Paused => (LogLevel::Info, "draining, as an operator asked"),
                    Why::Replaced | Why::Failed(_) => (LogLevel::Debug, "draining"),
                };
                self.turn(Phase::Draining(why), severity, text, moment);
                self.wind_down(speed, successors, moment);
            }
            Phase::Draining(_) => self.wind_down(speed, successors, moment),
            Phase::Gone(_) => {}
        }
    }

    /// Do its new workers wait to be told to serve?
    fn parks(&self) -> bool {
        self.standing == Standing::Candidate
    }

    // --- events of its workers -----------------------------------------------------------------

    /// Of the slot's present incarnation. Any other is gone, and hearing of it late is normal.
    pub(super) fn news(&mut self, worker: WorkerId, news: News, moment: &mut Moment<'_>) {
        // Whoever takes over a place has no name of its own before it is spawned.
        if let Some(at) = self.replaced.iter().position(|slot| slot.is(worker)) {
            return self.news_of_replaced(at, news, moment);
        }
        let at = usize::from(worker.slot);
        let Some(slot) = self.slots.get_mut(at).filter(|slot| slot.is(worker)) else {
            return;
        };
        match news {
            News::Spawned { pid } => slot.spawned(pid, moment),
            News::NotSpawned { error } => {
                let end = slot.not_spawned(error);
                self.ended(at, end, moment);
            }
            News::Ready => {
                slot.ready(moment);
                if self.standing == Standing::Current {
                    slot.release(moment);
                }
            }
            News::Refused { text } => {
                if slot.refused(&text, moment) {
                    self.refused(text, moment);
                }
            }
            News::Exited { exit, blame, cause } => {
                let end = slot.exited(exit, blame.as_deref(), cause);
                self.ended(at, end, moment);
            }
            News::Stuck {
                callback,
                since_ms,
                on_thread,
            } => slot.stuck(callback, since_ms, on_thread, moment),
            News::Unstuck => slot.unstuck(),
            News::Stopped(stopped) => slot.stopped(stopped),
            News::Gives => slot.gives(moment),
            News::Soft { sources } => self.soft_faults(&sources, moment),
        }
    }

    fn refused(&mut self, text: String, moment: &mut Moment<'_>) {
        match self.phase {
            Phase::Starting { .. } => self.fail(text, moment),
            // A proven plugin that refuses now is one more death, counted when it is reaped.
            Phase::Serving => {}
            // Its end is under way already, or it has no worker that could refuse.
            Phase::Draining(_) | Phase::Probing | Phase::Held { .. } | Phase::Gone(_) => {}
        }
    }

    fn ended(&mut self, at: usize, end: End, moment: &mut Moment<'_>) {
        match end {
            End::Stale => {}
            End::Told => self.slots[at].bury(moment),
            End::Died(death) => self.bereaved(at, death, moment),
        }
    }

    fn bereaved(&mut self, at: usize, death: Death, moment: &mut Moment<'_>) {
        let free = death.innocent && self.pace.earliest_ms(moment.now_ms) == moment.now_ms;
        match &mut self.phase {
            Phase::Starting { deaths } => {
                if death.at_start && !free {
                    *deaths += 1;
                }
                if *deaths >= START_DEATHS_MAX {
                    let text = format!(
                        "workers died {deaths} times before they were ready, the last one: {}",
                        death.text
                    );
                    self.slots[at].mourn(death.text, None, moment);
                    self.fail(text, moment);
                } else {
                    self.replace(at, death.text, free, moment);
                }
            }
            Phase::Serving => {
                self.deaths += u32::from(!free);
                if let Some(cause) = death.cause {
                    self.fault(cause, &death.text, moment);
                }
                self.replace(at, death.text, free, moment);
            }
            Phase::Draining(_) => self.slots[at].mourn(death.text, None, moment),
            Phase::Probing | Phase::Held { .. } | Phase::Gone(_) => {
                unreachable!("a pool in this phase has no worker")
            }
        }
    }

    fn replace(&mut self, at: usize, text: String, free: bool, moment: &mut Moment<'_>) {
        let delay_ms = match self.slots[at].is_stand_in() == self.wants_stand_in(at) {
            true => self.slots[at].back_off_ms(free, moment),
            // The next one is of another kind, and has not failed yet.
            false => 0,
        };
        self.slots[at].mourn(text, Some(delay_ms), moment);
    }

    // --- time ----------------------------------------------------------------------------------

    pub(super) fn tick(&mut self, moment: &mut Moment<'_>) {
        for slot in self.slots.iter_mut().chain(&mut self.replaced) {
            slot.tick(moment);
        }
        self.tick_course(moment);
    }

    pub(super) fn deadline_ms(&self, policy: Policy) -> Option<u64> {
        // Until there is room, whoever waits for it is not waited for.
        let full = self.is_full();
        self.slots
            .iter()
            .filter(|slot| !(full && slot.is_gone()))
            .chain(&self.replaced)
            .filter_map(|slot| slot.deadline_ms(policy))
            .chain(self.course_deadline_ms())
            .chain(self.lending.deadline_ms())
            .min()
    }

    /// What follows from the slots' states, after each event.
    pub(super) fn settle(&mut self, moment: &mut Moment<'_>) {
        self.follow_course(moment);
        self.spawn_due(moment);
        self.lend(moment);
        match &self.phase {
            Phase::Starting { .. } if self.slots.iter().all(Slot::was_ready) => {
                let text = format!("serving, workers: {}", self.slots.len());
                self.turn(Phase::Serving, LogLevel::Info, &text, moment);
            }
            Phase::Draining(why) if self.all_gone() => {
                let next = Phase::Gone(why.clone());
                let text = match self.slots.iter().any(Slot::has_begun) {
                    true => "all workers have ended",
                    false => "ended, no worker was started",
                };
                self.turn(next, LogLevel::Info, text, moment);
            }
            Phase::Probing | Phase::Held { .. } | Phase::Starting { .. } | Phase::Serving => {}
            Phase::Draining(_) | Phase::Gone(_) => {}
        }
    }

    /// First come those of the lowest places; who has not had its turn is due in the next one.
    fn spawn_due(&mut self, moment: &mut Moment<'_>) {
        let parked = self.parks();
        for at in 0..self.slots.len() {
            if moment.spawns_left == 0 || self.is_full() {
                return;
            }
            let stand_in = self.wants_stand_in(at);
            let slot = &mut self.slots[at];
            let due = slot
                .retry_at_ms()
                .is_some_and(|at_ms| at_ms <= moment.now_ms);
            if !due {
                continue;
            }
            // The first worker of a place replaces nobody.
            if slot.has_begun() {
                let earliest_ms = self.pace.earliest_ms(moment.now_ms);
                if earliest_ms > moment.now_ms {
                    slot.postpone(earliest_ms);
                    continue;
                }
                self.pace.record(moment.now_ms);
            }
            moment.spawns_left -= 1;
            slot.spawn(parked, stand_in, moment);
        }
    }

    /// As many are starting as may be at once.
    fn is_full(&self) -> bool {
        let starting = self.slots.iter().filter(|slot| slot.is_starting());
        starting.count() >= STARTING_MAX
    }

    // --- what others may know ------------------------------------------------------------------

    pub(super) fn state(&self) -> State {
        match self.phase {
            Phase::Probing | Phase::Held { .. } | Phase::Starting { .. } => State::Starting,
            Phase::Serving => State::Serving,
            Phase::Draining(_) => State::Draining,
            Phase::Gone(_) => State::Gone,
        }
    }

    pub(super) fn failure(&self) -> Option<String> {
        match self.why()? {
            Why::Failed(text) => Some(text.clone()),
            Why::Stopped | Why::Paused | Why::Replaced => None,
        }
    }

    pub(super) fn is_held(&self) -> bool {
        matches!(self.phase, Phase::Held { .. })
    }

    /// Who can take over from another generation's workers, in the order of slots.
    pub(super) fn successors(&self) -> Vec<WorkerId> {
        self.slots.iter().filter_map(Slot::successor).collect()
    }

    fn all_gone(&self) -> bool {
        self.replaced.is_empty() && self.slots.iter().all(Slot::is_gone)
    }

    fn why(&self) -> Option<&Why> {
        match &self.phase {
            Phase::Draining(why) | Phase::Gone(why) => Some(why),
            Phase::Probing | Phase::Held { .. } | Phase::Starting { .. } | Phase::Serving => None,
        }
    }

    // --- inside --------------------------------------------------------------------------------

    fn fail(&mut self, text: String, moment: &mut Moment<'_>) {
        let line = match self.standing {
            Standing::Candidate => format!("generation {} has failed: {text}", self.generation),
            Standing::Current | Standing::Former => {
                format!("failed, and stays so until it is changed: {text}")
            }
        };
        self.turn(
            Phase::Draining(Why::Failed(text)),
            LogLevel::Error,
            &line,
            moment,
        );
        self.wind_down(Speed::Fast, &[], moment);
    }
}
