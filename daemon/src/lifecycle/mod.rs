//! The lifecycle: everything the supervisor decides about services and workers, and nothing it does.
//!
//! Events and the time go in, orders come out. Here are no sockets, no processes and no clock, so
//! each decision can be tested by telling it a story, and a whole world can be simulated from a
//! seed. The supervisor carries out the orders and turns what then happens into the next events.
//!
//! To use it: [`Lifecycle::new`], then [`Lifecycle::handle`] for each event and once per turn with
//! `Event::Tick`; wait no longer than [`Lifecycle::next_deadline_ms`]. Times are milliseconds of one
//! clock that never goes back.
//!
//! Invariants: what is pending has a deadline or a process whose exit will be reported; `Announce`
//! and `Exit` are ordered at most once; after a stop nobody is spawned.

mod back_off;
mod event;
mod order;
mod pool;
mod slot;
#[cfg(test)]
mod tests;
mod view;

pub use event::{Event, Exit, News, ServiceId, WorkerId};
pub use order::{Change, Order, Signal, State};
pub use view::{ServiceView, WorkerView};

use back_off::Jitter;
use pool::{Pool, Speed};

const FIRST_GENERATION: u32 = 1;

/// What the plan says about lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

#[derive(Debug)]
pub struct Lifecycle {
    policy: Policy,
    pools: Vec<Pool>,
    jitter: Jitter,
    course: Course,
}

/// How far the daemon as a whole has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
        }
    }

    pub fn handle(&mut self, now_ms: u64, event: Event) -> Vec<Order> {
        let mut moment = Moment {
            now_ms,
            policy: self.policy,
            jitter: &mut self.jitter,
            orders: Vec::new(),
        };
        match event {
            Event::Admitted { service, workers } => {
                if let Some(pool) = pool(&mut self.pools, service) {
                    pool.admitted(workers, &mut moment);
                }
            }
            Event::NotAdmitted { service, text } => {
                if let Some(pool) = pool(&mut self.pools, service) {
                    pool.not_admitted(text, &mut moment);
                }
            }
            Event::Worker(worker, news) => {
                if let Some(pool) = pool(&mut self.pools, worker.service) {
                    pool.news(worker, news, &mut moment);
                }
            }
            Event::Stop { fast } => self.course.stop(fast, &mut self.pools, &mut moment),
            Event::Tick => self
                .pools
                .iter_mut()
                .for_each(|pool| pool.tick(&mut moment)),
        }
        for pool in &mut self.pools {
            pool.settle(&mut moment);
        }
        self.course.settle(&self.pools, &mut moment);
        moment.orders
    }

    /// Until when nothing needs to be done unless something happens.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        self.pools
            .iter()
            .filter_map(|pool| pool.deadline_ms(self.policy))
            .min()
    }

    /// In the order given to `new`.
    pub fn view(&self) -> Vec<ServiceView> {
        self.pools.iter().map(Pool::view).collect()
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

fn pool(pools: &mut [Pool], service: ServiceId) -> Option<&mut Pool> {
    pools.get_mut(usize::try_from(service.0).ok()?)
}
