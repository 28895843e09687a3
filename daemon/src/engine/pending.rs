//! Connections whose peers have not sent a byte yet, and who of them has waited longest.
//!
//! Kept only where there is a limit on them. The order is a queue of tokens in which those that have
//! spoken or gone are left to be stepped over, and swept out before they outnumber the others.
//!
//! Invariant: `silent` is the number of connections that are marked as silent.

use std::collections::VecDeque;

use super::session::Token;

/// Below this many tokens stale ones are not worth looking for.
const SWEEP_ABOVE: usize = 64;

#[derive(Debug)]
pub(super) struct Pending {
    max: usize,
    silent: usize,
    queue: VecDeque<Token>,
}

impl Pending {
    /// 0 is no limit.
    pub(super) fn new(max: u32) -> Pending {
        Pending {
            max: max as usize,
            silent: 0,
            queue: VecDeque::new(),
        }
    }

    /// Another limit, where there is one already: without, nobody has been counted.
    pub(super) fn adjust(&mut self, max: u32) {
        if self.max > 0 && max > 0 {
            self.max = max as usize;
        }
    }

    pub(super) fn is_limited(&self) -> bool {
        self.max > 0
    }

    /// A connection begins, and is marked as silent. Answers with the one that has to go for it.
    pub(super) fn enter(
        &mut self,
        token: Token,
        is_silent: impl Fn(Token) -> bool,
    ) -> Option<Token> {
        self.silent += 1;
        self.queue.push_back(token);
        if self.queue.len() > SWEEP_ABOVE && self.queue.len() / 2 > self.silent {
            self.queue.retain(|token| is_silent(*token));
        }
        if self.silent <= self.max {
            return None;
        }
        while let Some(oldest) = self.queue.pop_front() {
            if is_silent(oldest) {
                return Some(oldest);
            }
        }
        None
    }

    /// One that was marked spoke, or is gone.
    pub(super) fn leave(&mut self) {
        self.silent -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slotmap::SlotMap;

    #[test]
    fn the_oldest_that_is_still_silent_goes() {
        let mut silent = SlotMap::<Token, bool>::with_key();
        let mut pending = Pending::new(2);
        let tokens: Vec<Token> = (0..5).map(|_| silent.insert(true)).collect();
        assert_eq!(pending.enter(tokens[0], |_| true), None);
        assert_eq!(pending.enter(tokens[1], |_| true), None);
        silent[tokens[0]] = false;
        pending.leave();
        assert_eq!(pending.enter(tokens[2], |t| silent[t]), None);
        assert_eq!(pending.enter(tokens[3], |t| silent[t]), Some(tokens[1]));
        silent.remove(tokens[1]);
        pending.leave();
        let is_silent = |t| silent.get(t).copied().unwrap_or(false);
        assert_eq!(pending.enter(tokens[4], is_silent), Some(tokens[2]));
    }

    #[test]
    fn those_that_spoke_do_not_pile_up_behind_one_that_never_does() {
        let mut silent = SlotMap::<Token, bool>::with_key();
        let mut pending = Pending::new(10);
        let first = silent.insert(true);
        assert_eq!(pending.enter(first, |_| true), None);
        for _ in 0..10_000 {
            let token = silent.insert(true);
            assert_eq!(pending.enter(token, |t| silent.contains_key(t)), None);
            silent.remove(token);
            pending.leave();
            assert!(pending.queue.len() <= SWEEP_ABOVE + 1);
        }
        assert_eq!(pending.queue.front(), Some(&first));
    }
}
