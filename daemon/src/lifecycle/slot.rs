//! One slot of a pool: the worker in it now, or the wait for the next one.
//!
//! It answers every event in every state and orders what concerns this worker alone. Whether a death
//! is followed by another try is the pool's decision, because only the pool knows if it ever served.
//!
//! Invariants: a slot orders a spawn only while `Gone`, so it never has two processes; `turn` is the
//! only place that assigns `phase`; a worker that was told to go has a moment at which it is killed
//! or has been killed already. A worker that another kind takes over from leaves with a slot of its own.

use serde::{Deserialize, Serialize};

use super::back_off::{self, STABLE_MS};
use super::breaker::Cause;
use super::ending::{Death, End, Leave};
use super::event::{Exit, SIGKILL, WorkerId};
use super::order::{Order, Signal, State};
use super::{Moment, Policy};
use crate::plan::LogLevel;

mod birth;
mod hurried;
mod shown;
mod stuck;

use hurried::Hurried;
use stuck::Stuck;

/// From its birth to the worker's word that it serves.
pub(super) const READY_WITHIN_MS: u64 = 10_000;
/// What a worker that was sent SIGABRT has to be gone.
const ABORT_GRACE_MS: u64 = 1_000;
/// What a worker that was sent SIGKILL takes at most to be gone, unless the system is in trouble.
const MISSED_AFTER_MS: u64 = 10_000;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Slot {
    service_name: String,
    worker: WorkerId,
    phase: Phase,
    since_ms: u64,
    pid: Option<u32>,
    /// This incarnation waits to be told to serve.
    parked: bool,
    /// This incarnation runs nothing of the plugin.
    stand_in: bool,
    /// Somebody has stopped its process.
    stopped: bool,
    /// It was killed, and whoever looks at the log is told if it is still there then.
    #[serde(default)]
    missed_at_ms: Option<u64>,
    /// Its time is over sooner than it was told at first, unless it gets on.
    #[serde(default)]
    hurried: Option<Hurried>,
    /// When this incarnation reported that it serves.
    ready_at_ms: Option<u64>,
    /// Some incarnation did.
    was_ready: bool,
    /// In a row, for the back-off.
    failures: u32,
    last_death: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Phase {
    Starting {
        ready_by_ms: u64,
    },
    Serving {
        stuck: Option<Stuck>,
    },
    /// Going, of its own accord or by a signal. `kill_at_ms` is `None` once SIGKILL was ordered.
    Draining {
        kill_at_ms: Option<u64>,
        fault: Option<String>,
    },
    Gone {
        retry_at_ms: Option<u64>,
    },
}

impl Slot {
    /// An empty slot; `nobody` is its incarnation 0, which is never spawned.
    fn new(service_name: String, nobody: WorkerId, now_ms: u64) -> Slot {
        Slot {
            service_name,
            worker: nobody,
            phase: Phase::Gone { retry_at_ms: None },
            since_ms: now_ms,
            pid: None,
            parked: false,
            stand_in: false,
            stopped: false,
            missed_at_ms: None,
            hurried: None,
            ready_at_ms: None,
            was_ready: false,
            failures: 0,
            last_death: None,
        }
    }

    // --- events --------------------------------------------------------------------------------

    pub(super) fn ready(&mut self, moment: &mut Moment<'_>) {
        match self.phase {
            Phase::Starting { .. } => {
                self.ready_at_ms = Some(moment.now_ms);
                self.was_ready = true;
                self.turn(
                    Phase::Serving { stuck: None },
                    LogLevel::Info,
                    "serving",
                    moment,
                );
            }
            // Said twice, or crossed with an order to go.
            Phase::Serving { .. } | Phase::Draining { .. } | Phase::Gone { .. } => {}
        }
    }

    /// True if the plugin refused before this worker served; it is killed in any case.
    pub(super) fn refused(&mut self, text: &str, moment: &mut Moment<'_>) -> bool {
        match self.phase {
            Phase::Starting { .. } => {
                self.give_up(Signal::Kill, format!("plugin refused: {text}"), moment);
                true
            }
            // A worker that serves has nothing to refuse: it is confused or hostile.
            Phase::Serving { .. } => {
                let fault = format!("reported a refusal while serving: {text}");
                self.give_up(Signal::Kill, fault, moment);
                false
            }
            Phase::Draining { .. } | Phase::Gone { .. } => false,
        }
    }

    /// The process was reaped; `bury` follows unless this is stale.
    pub(super) fn exited(&self, exit: Exit, blame: Option<&str>, cause: Option<Cause>) -> End {
        let at_start = self.ready_at_ms.is_none();
        // What a stand-in dies of is no fault of a plugin.
        let cause = cause.filter(|_| !self.stand_in);
        match &self.phase {
            Phase::Starting { .. } | Phase::Serving { .. } => End::Died(Death {
                text: match blame {
                    Some(blame) => format!("{exit} {blame}"),
                    None => exit.to_string(),
                },
                at_start,
                innocent: exit == Exit::Signal(SIGKILL) && blame.is_none(),
                cause,
            }),
            Phase::Draining {
                fault: Some(fault), ..
            } => End::Died(Death {
                text: fault.clone(),
                at_start,
                innocent: false,
                // Whom it refused, or took too long for, was nobody yet.
                cause: cause.or((at_start && !self.stand_in).then_some(Cause::Plugin)),
            }),
            Phase::Draining { fault: None, .. } => End::Told,
            Phase::Gone { .. } => End::Stale,
        }
    }

    /// Carries out what is due, except the next try, which the pool paces.
    pub(super) fn tick(&mut self, moment: &mut Moment<'_>) {
        if self
            .deadline_ms(moment.policy)
            .is_none_or(|deadline_ms| moment.now_ms < deadline_ms)
        {
            return;
        }
        match &self.phase {
            Phase::Starting { .. } => {
                let fault = format!("not ready within {} s", READY_WITHIN_MS / 1_000);
                self.give_up(Signal::Kill, fault, moment);
            }
            Phase::Serving { stuck: Some(stuck) } => {
                let long_ms = moment.now_ms.saturating_sub(stuck.since_ms);
                let fault = format!(
                    "in {} for {} s without returning",
                    stuck.callback,
                    long_ms / 1_000
                );
                self.give_up(Signal::Abort, fault, moment);
            }
            Phase::Draining {
                kill_at_ms: None, ..
            } => self.miss(moment),
            Phase::Draining { fault, .. } => {
                let fault = fault.clone();
                self.kill(Signal::Kill, moment);
                let next = Phase::Draining {
                    kill_at_ms: None,
                    fault,
                };
                self.turn(
                    next,
                    LogLevel::Warning,
                    "did not end in time; killed",
                    moment,
                );
            }
            Phase::Serving { stuck: None } | Phase::Gone { .. } => {}
        }
    }

    /// The worker is to go, with no fault of its own.
    pub(super) fn leave(&mut self, leave: Leave, moment: &mut Moment<'_>) {
        let kill_by_ms = moment.now_ms.saturating_add(leave.kill_after_ms);
        match &mut self.phase {
            Phase::Starting { .. } => {
                self.kill(Signal::Kill, moment);
                let next = Phase::Draining {
                    kill_at_ms: None,
                    fault: None,
                };
                self.turn(next, LogLevel::Debug, "stopped while starting", moment);
            }
            Phase::Serving { .. } => self.drain(leave, kill_by_ms, moment),
            Phase::Draining {
                kill_at_ms: Some(at_ms),
                fault: None,
            } if kill_by_ms < *at_ms => {
                self.hurried = Hurried::by(leave, *at_ms);
                self.drain(leave, kill_by_ms, moment);
            }
            // As fast already, unless it got on: whoever is to go fast waits for nobody's progress.
            Phase::Draining {
                kill_at_ms: Some(at_ms),
                fault: None,
            } if self
                .hurried
                .is_some_and(|it| it.would_outlast(leave, kill_by_ms)) =>
            {
                let at_ms = *at_ms;
                self.hurried = None;
                self.drain(leave, at_ms, moment);
            }
            // Going at least as fast already.
            Phase::Draining { .. } => {}
            Phase::Gone { retry_at_ms } => *retry_at_ms = None,
        }
    }

    // --- the pool's side -----------------------------------------------------------------------

    /// Is this the present incarnation?
    pub(super) fn is(&self, worker: WorkerId) -> bool {
        self.worker == worker
    }

    pub(super) fn is_gone(&self) -> bool {
        self.state() == State::Gone
    }

    pub(super) fn is_stand_in(&self) -> bool {
        self.stand_in
    }

    pub(super) fn number(&self) -> u16 {
        self.worker.slot
    }

    pub(super) fn was_ready(&self) -> bool {
        self.was_ready
    }

    pub(super) fn retry_at_ms(&self) -> Option<u64> {
        match self.phase {
            Phase::Gone { retry_at_ms } => retry_at_ms,
            Phase::Starting { .. } | Phase::Serving { .. } | Phase::Draining { .. } => None,
        }
    }

    /// Nothing is waited for any more: a parked worker is told to serve once it can.
    pub(super) fn release(&mut self, moment: &mut Moment<'_>) {
        match self.phase {
            Phase::Serving { .. } if self.parked => {
                self.parked = false;
                moment.orders.push(Order::Serve(self.worker));
            }
            // Released when it is ready, gone, or never held back.
            Phase::Serving { .. }
            | Phase::Starting { .. }
            | Phase::Draining { .. }
            | Phase::Gone { .. } => {}
        }
    }

    /// Who takes over what is left of a worker that goes.
    pub(super) fn successor(&self) -> Option<WorkerId> {
        match self.phase {
            Phase::Serving { .. } => Some(self.worker),
            Phase::Starting { .. } | Phase::Draining { .. } | Phase::Gone { .. } => None,
        }
    }

    /// Its turn has come, but the pool has restarted too many this second.
    pub(super) fn postpone(&mut self, until_ms: u64) {
        match &mut self.phase {
            Phase::Gone { retry_at_ms } => *retry_at_ms = Some(until_ms),
            Phase::Starting { .. } | Phase::Serving { .. } | Phase::Draining { .. } => {}
        }
    }

    /// Notes a death and says how long to wait before the next try. `free` adds no back-off.
    pub(super) fn back_off_ms(&mut self, free: bool, moment: &mut Moment<'_>) -> u64 {
        let served_ms = self
            .ready_at_ms
            .map_or(0, |at_ms| moment.now_ms.saturating_sub(at_ms));
        if served_ms >= STABLE_MS {
            self.failures = 0;
        }
        if free {
            return 0;
        }
        let delay_ms = back_off::delay_ms(self.failures, moment.jitter);
        self.failures = self.failures.saturating_add(1);
        delay_ms
    }

    /// The worker ended as it was told to.
    pub(super) fn bury(&mut self, moment: &mut Moment<'_>) {
        self.turn(
            Phase::Gone { retry_at_ms: None },
            LogLevel::Info,
            "ended",
            moment,
        );
        self.pid = None;
    }

    /// The worker died; `retry_in_ms` is `None` if nobody follows it.
    pub(super) fn mourn(
        &mut self,
        text: String,
        retry_in_ms: Option<u64>,
        moment: &mut Moment<'_>,
    ) {
        let next = match retry_in_ms {
            None => "no other follows".to_owned(),
            Some(0) => "the next one starts at once".to_owned(),
            Some(ms @ 1..1_000) => format!("the next one starts in {ms} ms"),
            Some(ms) => format!(
                "the next one starts in {}.{} s",
                ms / 1_000,
                ms % 1_000 / 100
            ),
        };
        let retry_at_ms = retry_in_ms.map(|ms| moment.now_ms.saturating_add(ms));
        let line = format!("worker died: {text}; {next}");
        self.turn(
            Phase::Gone { retry_at_ms },
            LogLevel::Warning,
            &line,
            moment,
        );
        self.last_death = Some(text);
        self.pid = None;
    }

    pub(super) fn deadline_ms(&self, policy: Policy) -> Option<u64> {
        match &self.phase {
            Phase::Starting { ready_by_ms } => Some(*ready_by_ms),
            Phase::Serving { stuck } => {
                let stuck = stuck.as_ref()?;
                Some(
                    stuck
                        .since_ms
                        .saturating_add(policy.hang_ms(stuck.on_thread)),
                )
            }
            Phase::Draining { kill_at_ms, .. } => kill_at_ms.or(self.missed_at_ms),
            Phase::Gone { retry_at_ms } => *retry_at_ms,
        }
    }

    pub(super) fn state(&self) -> State {
        match self.phase {
            Phase::Starting { .. } => State::Starting,
            Phase::Serving { .. } => State::Serving,
            Phase::Draining { .. } => State::Draining,
            Phase::Gone { .. } => State::Gone,
        }
    }

    // --- inside --------------------------------------------------------------------------------

    /// Asks it to go by itself, at the latest when it is killed.
    fn drain(&mut self, leave: Leave, kill_by_ms: u64, moment: &mut Moment<'_>) {
        moment.orders.push(Order::Drain {
            worker: self.worker,
            grace_ms: leave.grace_ms,
            successor: leave.successor,
            hurried: leave.hurried,
        });
        let next = Phase::Draining {
            kill_at_ms: Some(kill_by_ms),
            fault: None,
        };
        self.turn(next, LogLevel::Debug, "draining", moment);
    }

    /// Ends it for a fault, which its exit will be reported with.
    fn give_up(&mut self, signal: Signal, fault: String, moment: &mut Moment<'_>) {
        self.kill(signal, moment);
        let kill_at_ms = match signal {
            Signal::Abort => Some(moment.now_ms.saturating_add(ABORT_GRACE_MS)),
            Signal::Kill => None,
        };
        let line = format!("{fault}; killed");
        let next = Phase::Draining {
            kill_at_ms,
            fault: Some(fault),
        };
        self.turn(next, LogLevel::Warning, &line, moment);
    }

    /// Without a process yet, the order waits for `spawned`.
    fn kill(&self, signal: Signal, moment: &mut Moment<'_>) {
        if self.pid.is_some() {
            moment.orders.push(Order::Kill {
                worker: self.worker,
                signal,
            });
        }
    }
}
