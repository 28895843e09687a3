//! Wakers of the fake host: counted by hand, so that a reference freed twice or used after it was
//! freed is a message and not a crash.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use crate::abi;

/// What reaches the event loop from other threads.
#[derive(Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    tokens: VecDeque<u64>,
    destroyed: bool,
    broken: Vec<String>,
}

impl Inbox {
    pub(super) fn take_token(&self) -> Option<u64> {
        self.state().tokens.pop_front()
    }

    /// Blocks until there is a token; false if none comes for ten seconds.
    pub(super) fn wait(&self) -> bool {
        let waited = self
            .arrived
            .wait_timeout_while(self.state(), Duration::from_secs(10), |it| {
                it.tokens.is_empty()
            });
        let (state, _) = waited.expect("nobody panics while holding the inbox");
        !state.tokens.is_empty()
    }

    pub(super) fn take_broken(&self) -> Vec<String> {
        std::mem::take(&mut self.state().broken)
    }

    pub(super) fn broke(&self, rule: &str) {
        self.state().broken.push(rule.to_owned());
    }

    pub(super) fn destroyed(&self) {
        self.state().destroyed = true;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("nobody panics while holding the inbox")
    }
}

pub(super) struct FakeWaker {
    freed: AtomicBool,
    inbox: Arc<Inbox>,
}

impl FakeWaker {
    pub(super) fn new(inbox: Arc<Inbox>) -> FakeWaker {
        FakeWaker {
            freed: AtomicBool::new(false),
            inbox,
        }
    }

    pub(super) fn is_freed(&self) -> bool {
        self.freed.load(Ordering::SeqCst)
    }

    pub(super) fn wake(&self, token: u64) -> abi::Status {
        if self.is_freed() {
            self.inbox.broke("a waker was used after it was freed");
            return abi::E_GONE;
        }
        let mut state = self.inbox.state();
        if state.destroyed {
            return abi::E_GONE;
        }
        if !state.tokens.contains(&token) {
            state.tokens.push_back(token);
        }
        self.inbox.arrived.notify_all();
        abi::OK
    }

    pub(super) fn free(&self) {
        if self.freed.swap(true, Ordering::SeqCst) {
            self.inbox.broke("a waker was freed twice");
        }
    }
}
