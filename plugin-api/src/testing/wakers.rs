//! Wakers of the fake host: counted by hand, so that a reference freed twice or used after it was
//! freed is a message and not a crash.
//!
//! What the test's own thread wakes is delivered at once; what another thread wakes waits until the
//! test asks for it. So the order of events never depends on who is faster.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, ThreadId};
use std::time::Duration;

use crate::abi;

pub(crate) struct Inbox {
    thread: ThreadId,
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    tokens: VecDeque<u64>,
    from_elsewhere: VecDeque<u64>,
    destroyed: bool,
    broken: Vec<String>,
}

impl Inbox {
    pub(crate) fn new() -> Inbox {
        Inbox {
            thread: thread::current().id(),
            state: Mutex::default(),
            arrived: Condvar::new(),
        }
    }

    pub(crate) fn take_token(&self) -> Option<u64> {
        self.state().tokens.pop_front()
    }

    /// Blocks until another thread has used a waker, and lets its token in; false if none does for
    /// ten seconds.
    pub(crate) fn admit_from_elsewhere(&self) -> bool {
        let waited = self
            .arrived
            .wait_timeout_while(self.state(), Duration::from_secs(10), |it| {
                it.from_elsewhere.is_empty()
            });
        let (mut state, _) = waited.expect("nobody panics while holding the inbox");
        let token = state.from_elsewhere.pop_front();
        state.tokens.extend(token);
        token.is_some()
    }

    pub(crate) fn take_broken(&self) -> Vec<String> {
        std::mem::take(&mut self.state().broken)
    }

    pub(crate) fn broke(&self, rule: &str) {
        self.state().broken.push(rule.to_owned());
    }

    pub(crate) fn destroyed(&self) {
        self.state().destroyed = true;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("nobody panics while holding the inbox")
    }
}

pub(crate) struct FakeWaker {
    freed: AtomicBool,
    inbox: Arc<Inbox>,
}

impl FakeWaker {
    pub(crate) fn new(inbox: Arc<Inbox>) -> FakeWaker {
        FakeWaker {
            freed: AtomicBool::new(false),
            inbox,
        }
    }

    pub(crate) fn is_freed(&self) -> bool {
        self.freed.load(Ordering::SeqCst)
    }

    pub(crate) fn wake(&self, token: u64) -> abi::Status {
        if self.is_freed() {
            self.inbox.broke("a waker was used after it was freed");
            return abi::E_GONE;
        }
        let mut state = self.inbox.state();
        if state.destroyed {
            return abi::E_GONE;
        }
        let here = self.inbox.thread == thread::current().id();
        let State {
            tokens,
            from_elsewhere,
            ..
        } = &mut *state;
        let tokens = if here { tokens } else { from_elsewhere };
        if !tokens.contains(&token) {
            tokens.push_back(token);
        }
        self.inbox.arrived.notify_all();
        abi::OK
    }

    pub(crate) fn free(&self) {
        if self.freed.swap(true, Ordering::SeqCst) {
            self.inbox.broke("a waker was freed twice");
        }
    }
}
