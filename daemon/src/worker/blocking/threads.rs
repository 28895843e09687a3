//! Threads that may block: made when there is work, ended when there has been none for a while.
//!
//! They know nothing of what they run: a task goes in, and what came of it comes out on the event
//! loop's side, with an edge on an event descriptor. Tasks wait in a queue while all threads run.
//!
//! Invariant: while no more tasks are pending than there are threads, none of them waits: a thread
//! ends only if fewer are.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::sys::crash::cover_thread;

/// How many there may be, of which kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) threads_max: usize,
    /// Tasks that wait for a thread.
    pub(super) queue_max: usize,
    /// A thread without a task for so long ends.
    pub(super) idle: Duration,
}

pub(super) struct Threads<T, R> {
    bounds: Bounds,
    /// Gone when no task will follow.
    tasks: Option<Sender<T>>,
    results: Receiver<R>,
    shared: Arc<Shared<T, R>>,
    handles: Vec<JoinHandle<()>>,
}

/// What runs a task on the thread of this number, which no other thread has meanwhile. From 1.
pub(super) type Run<T, R> = dyn Fn(T, usize) -> R + Send + Sync;

struct Shared<T, R> {
    tasks: Receiver<T>,
    results: Sender<R>,
    event: EventFd,
    counts: Mutex<Counts>,
    idle: Duration,
    run: Box<Run<T, R>>,
}

#[derive(Debug, Default)]
struct Counts {
    /// Tasks that wait or run.
    pending: usize,
    /// Threads that there are.
    alive: usize,
    /// Numbers of threads that have ended.
    free: Vec<usize>,
}

/// Why a task was not taken; it comes back.
#[derive(Debug)]
pub(super) enum Refused<T> {
    /// All threads run, and enough wait.
    Busy(T),
    /// There is no thread, and none can be made.
    NoThread(T, io::Error),
}

impl<T: Send + 'static, R: Send + 'static> Threads<T, R> {
    pub(super) fn new(bounds: Bounds, run: Box<Run<T, R>>) -> io::Result<Threads<T, R>> {
        let (tasks, waiting) = unbounded();
        let (done, results) = unbounded();
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let shared = Arc::new(Shared {
            tasks: waiting,
            results: done,
            event,
            counts: Mutex::default(),
            idle: bounds.idle,
            run,
        });
        Ok(Threads {
            bounds,
            tasks: Some(tasks),
            results,
            shared,
            handles: Vec::new(),
        })
    }

    /// Written to after each result.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.shared.event.as_fd()
    }

    pub(super) fn submit(&mut self, task: T) -> Result<(), Refused<T>> {
        let Bounds {
            threads_max,
            queue_max,
            ..
        } = self.bounds;
        let shared = self.shared.clone();
        let mut counts = shared.counts();
        if counts.pending >= threads_max + queue_max {
            return Err(Refused::Busy(task));
        }
        if counts.pending >= counts.alive && counts.alive < threads_max {
            match self.spawn(&mut counts) {
                Ok(()) => {}
                Err(error) if counts.alive == 0 => return Err(Refused::NoThread(task, error)),
                // It waits for one of those that there are.
                Err(error) => tracing::debug!("no further thread: {error}"),
            }
        }
        counts.pending += 1;
        let tasks = self
            .tasks
            .as_ref()
            .expect("only join takes it, and self with it");
        // Under the lock, so that no thread ends between being counted on and being needed.
        tasks
            .send(task)
            .unwrap_or_else(|_| unreachable!("self holds a receiver"));
        Ok(())
    }

    fn spawn(&mut self, counts: &mut Counts) -> io::Result<()> {
        self.handles.retain(|handle| !handle.is_finished());
        let number = counts.free.pop().unwrap_or(counts.alive + 1);
        let shared = self.shared.clone();
        let thread = thread::Builder::new().name(format!("blocking-{number}"));
        match thread.spawn(move || shared.serve(number)) {
            Ok(handle) => {
                counts.alive += 1;
                self.handles.push(handle);
                Ok(())
            }
            Err(error) => {
                counts.free.push(number);
                Err(error)
            }
        }
    }

    /// What came of a task, if another is done.
    pub(super) fn next_result(&self) -> Option<R> {
        self.results.try_recv().ok()
    }

    /// A task that no thread has begun: it is the caller's again.
    pub(super) fn take_waiting(&mut self) -> Option<T> {
        let task = self.shared.tasks.try_recv().ok()?;
        self.shared.counts().pending -= 1;
        Some(task)
    }

    /// Threads that there are.
    #[cfg(test)]
    pub(super) fn alive(&self) -> usize {
        self.shared.counts().alive
    }

    /// Ends all threads; to be called when nothing is pending, else it waits for that.
    pub(super) fn join(mut self) {
        drop(self.tasks.take());
        for handle in self.handles {
            // A thread that panicked has ended the process.
            let _ = handle.join();
        }
    }
}

impl<T, R> Shared<T, R> {
    /// The life of a thread.
    fn serve(&self, number: usize) {
        let _guard = AbortOnPanic;
        let _covered = cover_thread(number)
            .inspect_err(|error| tracing::debug!("a crash here will not be recorded: {error}"));
        loop {
            match self.tasks.recv_timeout(self.idle) {
                Ok(task) => {
                    let result = (self.run)(task, number);
                    self.counts().pending -= 1;
                    // Whoever would hear of it is gone only when the process is.
                    let _ = self.results.send(result);
                    let _ = self.event.write(1);
                }
                Err(RecvTimeoutError::Timeout) if !self.may_end(number) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Whether the others are enough for what is pending; then this one is not counted any more.
    fn may_end(&self, number: usize) -> bool {
        let mut counts = self.counts();
        let may = counts.pending < counts.alive;
        if may {
            counts.alive -= 1;
            counts.free.push(number);
        }
        may
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Nothing panics while it is held; even then its content is only numbers.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A panic of the daemon's own code on a thread ends the worker, as it does on the event loop:
/// otherwise a task would be lost, and whoever waits for its result would wait for ever.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    /// Tasks wait until they are let go; results are the number of the thread.
    fn threads(threads_max: usize, queue_max: usize, idle: Duration) -> Threads<Gate, usize> {
        let bounds = Bounds {
            threads_max,
            queue_max,
            idle,
        };
        let run = |gate: Gate, number| {
            // Whoever holds the other end lets go by dropping it.
            let _ = gate.recv();
            number
        };
        Threads::new(bounds, Box::new(run)).expect("a descriptor")
    }

    type Gate = Receiver<()>;
    const LONG: Duration = Duration::from_secs(3600);

    fn result(threads: &Threads<Gate, usize>) -> usize {
        loop {
            if let Some(number) = threads.next_result() {
                return number;
            }
            let mut fds = [PollFd::new(threads.fd(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::NONE).expect("poll");
            let _ = threads.shared.event.read();
        }
    }

    #[test]
    fn as_many_run_as_may_then_as_many_wait_as_may_then_they_are_refused() {
        let mut threads = threads(3, 2, LONG);
        let (gates, tasks): (Vec<Sender<()>>, Vec<Gate>) = (0..5).map(|_| unbounded()).unzip();
        for (nth, task) in tasks.into_iter().enumerate() {
            threads.submit(task).expect("there is room");
            assert_eq!(threads.alive(), 3.min(nth + 1));
        }
        let (_gate, sixth) = unbounded();
        let Err(Refused::Busy(sixth)) = threads.submit(sixth) else {
            panic!("the queue is full");
        };
        drop(gates);
        let numbers: BTreeSet<usize> = (0..5).map(|_| result(&threads)).collect();
        assert!(numbers.iter().all(|number| (1..=3).contains(number)));
        drop(_gate);
        threads.submit(sixth).expect("there is room again");
        result(&threads);
        threads.join();
    }

    #[test]
    fn a_thread_is_used_again_and_no_further_one_is_made() {
        let mut threads = threads(8, 0, LONG);
        for _ in 0..100 {
            let (_, free) = unbounded();
            threads.submit(free).expect("there is room");
            assert_eq!(result(&threads), 1);
            assert_eq!(threads.alive(), 1);
        }
        threads.join();
    }

    #[test]
    fn threads_without_work_end_and_come_back_with_it() {
        let mut threads = threads(4, 4, Duration::from_millis(1));
        for _ in 0..3 {
            let (gates, tasks): (Vec<Sender<()>>, Vec<Gate>) = (0..6).map(|_| unbounded()).unzip();
            for task in tasks {
                threads.submit(task).expect("there is room");
            }
            drop(gates);
            for _ in 0..6 {
                assert!((1..=4).contains(&result(&threads)));
            }
            while threads.alive() > 0 {
                thread::yield_now();
            }
        }
        threads.join();
    }

    #[test]
    fn a_task_that_nobody_has_begun_can_be_taken_back() {
        let mut threads = threads(1, 4, LONG);
        let (gates, tasks): (Vec<Sender<()>>, Vec<Gate>) = (0..3).map(|_| unbounded()).unzip();
        for task in tasks {
            threads.submit(task).expect("there is room");
        }
        let mut taken = 0;
        while threads.take_waiting().is_some() {
            taken += 1;
        }
        // The thread may not have come to take the first one.
        assert!((2..=3).contains(&taken), "{taken}");
        drop(gates);
        (taken..3).for_each(|_| assert_eq!(result(&threads), 1));
        threads.join();
    }
}
