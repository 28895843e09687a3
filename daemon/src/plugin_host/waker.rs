//! Wakers: the only way into an instance from a thread that its plugin made.
//!
//! A waker is a counted reference to the instance's queue, so it may outlive the instance; then it
//! answers that the instance is gone. Tokens that wait already are not queued again, and the queue
//! is bounded: a thread that asks for more distinct tokens is told that it is full.
//!
//! Invariant: while a token waits, the event descriptor is readable.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// Distinct tokens that can wait for one instance.
pub(super) const TOKENS_MAX: usize = 4096;
/// Wakers that one instance can have handed out.
pub(super) const WAKERS_MAX: u32 = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unheard {
    Gone,
    Full,
}

#[derive(Debug)]
pub(super) struct WakeQueue {
    waiting: Mutex<Waiting>,
    event: EventFd,
    gone: AtomicBool,
    wakers: AtomicU32,
}

#[derive(Debug, Default)]
struct Waiting {
    order: Vec<u64>,
    tokens: HashSet<u64>,
}

impl WakeQueue {
    pub(super) fn new() -> nix::Result<Arc<WakeQueue>> {
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Arc::new(WakeQueue {
            waiting: Mutex::default(),
            event,
            gone: AtomicBool::new(false),
            wakers: AtomicU32::new(0),
        }))
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    /// From any thread.
    pub(super) fn wake(&self, token: u64) -> Result<(), Unheard> {
        if self.gone.load(Ordering::Acquire) {
            return Err(Unheard::Gone);
        }
        let mut waiting = self.waiting();
        if waiting.tokens.contains(&token) {
            return Ok(());
        }
        if waiting.order.len() == TOKENS_MAX {
            return Err(Unheard::Full);
        }
        waiting.tokens.insert(token);
        waiting.order.push(token);
        if waiting.order.len() == 1 {
            // It cannot fail: the counter is far from full (eventfd(2)).
            let _ = self.event.write(1);
        }
        Ok(())
    }

    /// The tokens that wait, in the order in which they came.
    pub(super) fn take(&self) -> Vec<u64> {
        let mut waiting = self.waiting();
        // Nothing to read means that the event was only a late one.
        let _ = self.event.read();
        waiting.tokens.clear();
        std::mem::take(&mut waiting.order)
    }

    pub(super) fn retire(&self) {
        self.gone.store(true, Ordering::Release);
    }

    /// One reference more for the plugin, while there are not too many.
    pub(super) fn hand_out(self: &Arc<WakeQueue>) -> Option<Arc<WakeQueue>> {
        let room = |count| (count < WAKERS_MAX).then_some(count + 1);
        self.wakers
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, room)
            .ok()?;
        Some(self.clone())
    }

    pub(super) fn hand_back(reference: Arc<WakeQueue>) {
        reference.wakers.fetch_sub(1, Ordering::Relaxed);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it is held; even then its content is only numbers.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The worker's end: what to poll, and what was said.
#[derive(Debug)]
pub struct WakeSource(Arc<WakeQueue>);

impl WakeSource {
    pub(super) fn new(queue: Arc<WakeQueue>) -> WakeSource {
        WakeSource(queue)
    }

    /// Readable while tokens wait.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.fd()
    }

    /// The tokens that came since last asked.
    pub fn take(&self) -> Vec<u64> {
        self.0.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    fn readable(queue: &WakeQueue) -> bool {
        let mut fds = [PollFd::new(queue.fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).expect("poll") == 1
    }

    #[test]
    fn equal_tokens_that_wait_arrive_as_one_and_in_order() {
        let queue = WakeQueue::new().expect("a descriptor");
        assert!(!readable(&queue));
        for token in [7, 3, 7, 9, 3] {
            assert_eq!(queue.wake(token), Ok(()));
        }
        assert!(readable(&queue));
        assert_eq!(queue.take(), [7, 3, 9]);
        assert!(!readable(&queue));
        assert_eq!(queue.wake(7), Ok(()));
        assert!(readable(&queue));
        assert_eq!(queue.take(), [7]);
    }

    #[test]
    fn a_flood_of_tokens_is_told_that_it_is_full_and_loses_none() {
        let queue = WakeQueue::new().expect("a descriptor");
        for token in 0..TOKENS_MAX as u64 {
            assert_eq!(queue.wake(token), Ok(()));
        }
        assert_eq!(queue.wake(u64::MAX), Err(Unheard::Full));
        assert_eq!(queue.wake(5), Ok(()), "it waits already");
        assert_eq!(queue.take().len(), TOKENS_MAX);
        assert_eq!(queue.wake(u64::MAX), Ok(()));
    }

    #[test]
    fn wakers_are_limited_and_outlive_the_instance() {
        let queue = WakeQueue::new().expect("a descriptor");
        let wakers: Vec<_> = (0..WAKERS_MAX)
            .map(|_| queue.hand_out().expect("room"))
            .collect();
        assert!(queue.hand_out().is_none());
        queue.retire();
        drop(queue);
        for waker in wakers {
            assert_eq!(waker.wake(1), Err(Unheard::Gone));
            WakeQueue::hand_back(waker);
        }
    }

    #[test]
    fn threads_that_wake_at_once_lose_no_token() {
        let queue = WakeQueue::new().expect("a descriptor");
        let threads: Vec<_> = (0..4_u64)
            .map(|thread| {
                let waker = queue.hand_out().expect("room");
                std::thread::spawn(move || {
                    (0..500)
                        .try_for_each(|n| waker.wake(thread * 1000 + n))
                        .expect("room for all");
                })
            })
            .collect();
        let mut tokens = HashSet::new();
        while tokens.len() < 2000 {
            let mut fds = [PollFd::new(queue.fd(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::NONE).expect("poll");
            tokens.extend(queue.take());
        }
        threads
            .into_iter()
            .for_each(|thread| thread.join().expect("no panic"));
        assert!(!readable(&queue));
    }
}
