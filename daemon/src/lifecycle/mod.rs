//! The lifecycle: everything the supervisor decides about services and workers, and nothing it does.
//!
//! Events and the time go in, orders come out. Here are no sockets, no processes and no clock, so
//! each decision can be tested by telling it a story, and a whole world can be simulated from a
//! seed. The supervisor carries out the orders and turns what then happens into the next events.
//!
//! To use it: [`Lifecycle::new`], then [`Lifecycle::handle`] for each event and once per turn with
//! `Event::Tick`; wait no longer than [`Lifecycle::next_deadline_ms`]. Times are milliseconds of one
//! clock that never goes back. Spawning takes whoever carries it out long, so it is ordered in ticks
//! only, and a few at a time.
//!
//! Invariants: what is pending has a deadline or a process whose exit will be reported; `Announce`
//! and `Exit` are ordered at most once; after a stop nobody is spawned; each `Change` is answered once.

mod back_off;
mod breaker;
mod ending;
mod event;
mod handover;
mod order;
mod penalty;
mod pool;
mod slot;
mod soft;
#[cfg(test)]
mod tests;
mod view;

pub use breaker::{Breaker, Cause, Course as BreakerCourse};
pub use event::{Beginning, Changes, Event, Exit, News, ServiceId, WorkerId};
pub use order::{Change, Order, Signal, State};
pub use penalty::Penalties;
pub use view::{BreakerView, ServiceView, WorkerView};

use back_off::Jitter;
use handover::{Handover, Probation, Verdict};
use pool::{Pool, Speed, Standing};
use serde::{Deserialize, Serialize};

const FIRST_GENERATION: u32 = 1;
/// Workers ordered in one turn: between two turns whoever asks is answered.
const SPAWNS_PER_TURN_MAX: usize = 4;

/// What the plan says about lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    pub drain_timeout_ms: u64,
    pub hang_timeout_ms: u64,
    pub thread_hang_timeout_ms: u64,
}

impl Policy {
    /// What a callback may take: on a thread, or on the event loop.
    pub fn hang_ms(self, on_thread: bool) -> u64 {
        match on_thread {
            true => self.thread_hang_timeout_ms,
            false => self.hang_timeout_ms,
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Lifecycle {
    policy: Policy,
    pools: Vec<Pool>,
    jitter: Jitter,
    course: Course,
    /// Never while the daemon is handed to another program.
    #[serde(skip)]
    handover: Option<Handover>,
    probation: Option<Probation>,
}

/// How far the daemon as a whole has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Course {
    Starting,
    Announced,
    Stopping(Speed),
    Ended,
}

/// What a decision may look at beside its subject, and where its orders go.
struct Moment<'a> {
    now_ms: u64,
    policy: Policy,
    jitter: &'a mut Jitter,
    /// How many more workers may be ordered now.
    spawns_left: usize,
    orders: Vec<Order>,
}

impl Lifecycle {
    /// All services of the plan; the first is `ServiceId(0)`. The seed spreads retries.
    pub fn new(
        policy: Policy,
        service_names: impl IntoIterator<Item = String>,
        seed: u64,
    ) -> Lifecycle {
        let pools = service_names.into_iter().zip(0..);
        Lifecycle {
            policy,
            pools: pools
                .map(|(name, number)| Pool::new(ServiceId(number), FIRST_GENERATION, name))
                .collect(),
            jitter: Jitter::new(seed),
            course: Course::Starting,
            handover: None,
            probation: None,
        }
    }

    pub fn handle(&mut self, now_ms: u64, event: Event) -> Vec<Order> {
        let mut moment = Moment {
            now_ms,
            policy: self.policy,
            jitter: &mut self.jitter,
            spawns_left: match event {
                Event::Tick => SPAWNS_PER_TURN_MAX,
                _ => 0,
            },
            orders: Vec::new(),
        };
        match event {
            Event::Admitted { service, workers } => {
                if let Some(pool) = current(&mut self.pools, service) {
                    pool.admitted(workers, &mut moment);
                }
            }
            Event::NotAdmitted { service, text } => {
                if let Some(pool) = current(&mut self.pools, service) {
                    pool.not_admitted(text, &mut moment);
                }
            }
            Event::Worker(worker, news) => {
                if let Some(pool) = pool_of(&mut self.pools, worker) {
                    pool.news(worker, news, &mut moment);
                }
            }
            Event::Change(changes) => match self.course {
                Course::Announced if self.handover.is_none() => {
                    self.handover = Some(Handover::begin(changes, &mut self.pools, &mut moment));
                }
                Course::Announced => moment.refuse("another change is under way"),
                Course::Starting => moment.refuse("the daemon is still starting"),
                Course::Stopping(_) | Course::Ended => moment.refuse("the daemon is stopping"),
            },
            Event::Pause { service } => {
                if let Some(pool) = current(&mut self.pools, service) {
                    pool.pause(&mut moment);
                }
            }
            Event::Stop { fast } => {
                if let Some(handover) = self.handover.take() {
                    let text = "the daemon is stopping".to_owned();
                    handover.abandon(text, &mut self.pools, &mut moment);
                }
                self.probation = None;
                self.course.stop(fast, &mut self.pools, &mut moment);
            }
            Event::Tick => self
                .pools
                .iter_mut()
                .for_each(|pool| pool.tick(&mut moment)),
        }
        for pool in &mut self.pools {
            pool.settle(&mut moment);
        }
        if let Some(handover) = &self.handover {
            match handover.settle(&mut self.pools, &mut moment) {
                Verdict::Pending => {}
                Verdict::GivenUp => self.handover = None,
                Verdict::Made { policy, probation } => {
                    self.handover = None;
                    self.policy = policy;
                    self.probation = probation;
                }
            }
        }
        if let Some(probation) = &self.probation
            && probation.settle(&self.pools, &mut moment)
        {
            self.probation = None;
        }
        retire(&mut self.pools, &mut moment);
        self.course.settle(&self.pools, &mut moment);
        moment.orders
    }

    /// Until when nothing needs to be done unless something happens.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        self.pools
            .iter()
            .filter_map(|pool| pool.deadline_ms(self.policy))
            .chain(self.probation.as_ref().map(Probation::deadline_ms))
            .min()
    }

    /// Would a change be taken up now?
    pub fn can_change(&self) -> bool {
        self.course == Course::Announced && self.handover.is_none()
    }

    /// In the order of their numbers; one that is being added or has been removed is not there.
    pub fn view(&self) -> Vec<ServiceView> {
        let current = self
            .pools
            .iter()
            .filter(|p| p.standing == Standing::Current);
        let mut views: Vec<ServiceView> = current.map(Pool::view).collect();
        views.sort_by_key(|view| view.service);
        for pool in self
            .pools
            .iter()
            .filter(|p| p.standing != Standing::Current)
        {
            let view = views.iter_mut().find(|view| view.service == pool.service);
            if let Some(view) = view {
                view.workers.extend(pool.workers());
            }
        }
        views
    }
}

impl Moment<'_> {
    fn refuse(&mut self, why: &str) {
        self.orders.push(Order::Abandon {
            text: why.to_owned(),
        });
    }
}

impl Course {
    fn stop(&mut self, fast: bool, pools: &mut [Pool], moment: &mut Moment<'_>) {
        let speed = match *self {
            Course::Starting | Course::Announced if fast => Speed::Fast,
            Course::Starting | Course::Announced => Speed::Drain,
            Course::Stopping(Speed::Drain) => Speed::Fast,
            Course::Stopping(Speed::Fast) | Course::Ended => return,
        };
        *self = Course::Stopping(speed);
        for pool in pools {
            pool.stop(speed, moment);
        }
    }

    fn settle(&mut self, pools: &[Pool], moment: &mut Moment<'_>) {
        match *self {
            Course::Starting if pools.iter().all(|pool| pool.state() != State::Starting) => {
                *self = Course::Announced;
                moment.orders.push(Order::Announce);
            }
            Course::Stopping(_) if pools.iter().all(|pool| pool.state() == State::Gone) => {
                *self = Course::Ended;
                moment.orders.push(Order::Exit);
            }
            Course::Starting | Course::Announced | Course::Stopping(_) | Course::Ended => {}
        }
    }
}

fn current(pools: &mut [Pool], service: ServiceId) -> Option<&mut Pool> {
    pools
        .iter_mut()
        .find(|pool| pool.service == service && pool.standing == Standing::Current)
}

fn pool_of(pools: &mut [Pool], worker: WorkerId) -> Option<&mut Pool> {
    pools
        .iter_mut()
        .find(|pool| pool.service == worker.service && pool.generation == worker.generation)
}

/// Takes out what was replaced and has no worker left.
fn retire(pools: &mut Vec<Pool>, moment: &mut Moment<'_>) {
    pools.retain(|pool| {
        let over = pool.standing == Standing::Former && pool.state() == State::Gone;
        if over {
            moment.orders.push(Order::Retired {
                service: pool.service,
                generation: pool.generation,
            });
        }
        !over
    });
}
