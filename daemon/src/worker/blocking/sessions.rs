//! The event loop's books on the sessions that threads serve: whom each takes a place of, when each
//! is too old, and which have not heard a byte of their peers.
//!
//! What ends a session whatever its handler does is decided here. What ends a wait of its handler's is
//! in `patience`.
//!
//! Invariant: each session is in `ages` exactly as long as in `open`, if there is a limit on its age.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use slotmap::SlotMap;

use super::super::gate::Guest;
use super::super::stream::Stream;
use super::session::Session;
use crate::engine::Passed;
use crate::engine::session::Token;

/// Below this many tokens stale ones are not worth looking for.
const SWEEP_ABOVE: usize = 64;

pub(super) struct Sessions {
    open: SlotMap<Token, Open>,
    /// The moments at which they are too old.
    ages: BTreeSet<(u64, Token)>,
    /// 0 is no limit.
    pending_max: usize,
    silent: Arc<AtomicUsize>,
    /// In the order in which they came; those that have spoken or gone are stepped over.
    order: VecDeque<Token>,
}

struct Open {
    guest: Guest,
    lifetime_ms: u64,
    session: Arc<Session>,
}

impl Sessions {
    pub(super) fn new(pending_max: u32) -> Sessions {
        Sessions {
            open: SlotMap::with_key(),
            ages: BTreeSet::new(),
            pending_max: pending_max as usize,
            silent: Arc::default(),
            order: VecDeque::new(),
        }
    }

    /// Of those who are silent now the oldest go with the next that comes.
    pub(super) fn adjust(&mut self, pending_max: u32) {
        self.pending_max = pending_max as usize;
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// It is too old at `lifetime_ms`, which is `u64::MAX` if it never is.
    pub(super) fn enter(
        &mut self,
        socket: Stream,
        spoken: bool,
        guest: Guest,
        lifetime_ms: u64,
    ) -> (Token, Arc<Session>) {
        let session = Arc::new(Session::new(socket, spoken, &self.silent));
        let token = self.open.insert(Open {
            guest,
            lifetime_ms,
            session: session.clone(),
        });
        if lifetime_ms != u64::MAX {
            self.ages.insert((lifetime_ms, token));
        }
        if self.pending_max > 0 && !spoken {
            self.order.push_back(token);
        }
        (token, session)
    }

    /// Of too many that are silent the oldest has to go.
    pub(super) fn end_silent(&mut self) {
        let count = || self.silent.load(Ordering::Relaxed);
        if self.pending_max == 0 {
            return;
        }
        while count() > self.pending_max {
            let Some(oldest) = self.order.pop_front() else {
                return;
            };
            if let Some(open) = self.open.get(oldest).filter(|o| o.session.is_silent()) {
                open.session.end(Passed::Pending);
                open.session.note_spoken();
            }
        }
        if self.order.len() > SWEEP_ABOVE && self.order.len() / 2 > count() {
            let open = &self.open;
            self.order
                .retain(|token| open.get(*token).is_some_and(|o| o.session.is_silent()));
        }
    }

    pub(super) fn end_old(&mut self, now_ms: u64) {
        while let Some(&(at_ms, token)) = self.ages.first()
            && at_ms <= now_ms
        {
            self.ages.pop_first();
            self.open[token].session.end(Passed::Lifetime);
        }
    }

    pub(super) fn end_banned(&self, is_banned: impl Fn(Guest) -> bool) {
        let banned = || self.open.values().filter(|open| is_banned(open.guest));
        // All of them first: the first that ends frees its thread for one that waits for it.
        banned().for_each(|open| open.session.condemn(Passed::Banned));
        banned().for_each(|open| open.session.end(Passed::Banned));
    }

    /// An operator wants these to end.
    pub(super) fn end_asked(&self, tokens: &[Token]) {
        for open in tokens.iter().filter_map(|token| self.open.get(*token)) {
            open.session.end(Passed::Asked);
        }
    }

    pub(super) fn seen(&self) -> impl Iterator<Item = (Token, Guest, &Stream)> {
        let open = self.open.iter();
        open.map(|(token, open)| (token, open.guest, &open.session.socket))
    }

    pub(super) fn next_deadline_ms(&self) -> Option<u64> {
        self.ages.first().map(|(at_ms, _)| *at_ms)
    }

    /// It is over, and its thread has let go of it: the socket is the loop's.
    pub(super) fn leave(&mut self, token: Token) -> Option<(Guest, Stream)> {
        let open = self.open.remove(token)?;
        self.ages.remove(&(open.lifetime_ms, token));
        open.session.note_spoken();
        let session = Arc::into_inner(open.session);
        let session = session.expect("a thread lets go of a session before it answers");
        Some((open.guest, session.socket))
    }
}
