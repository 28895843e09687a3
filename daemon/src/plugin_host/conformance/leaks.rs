//! The trial that looks at what is left behind: memory and descriptors after hundreds of sessions.
//!
//! Only growth is judged, and only what grows in every round: what is made once and kept is no leak, and
//! allocators keep some of what they get back. Invariant: the rounds are alike, each on a thread of its own.

use super::{Subject, text_of};

/// Sessions before the memory is looked at first, so that what is made once has been made.
const WARM_UP: usize = 10;
/// Sessions in one round. What an allocator keeps for later grows in some rounds, a leak in each.
const ROUND: usize = 60;
const ROUNDS: usize = 4;
/// No allocation takes less.
const LEAKED_BYTES_LEAST: i64 = 16;

impl Subject {
    pub(super) fn leaks(&self, input: &[u8]) -> Result<(), String> {
        self.sessions(WARM_UP, input)?;
        let descriptors = open_descriptors();
        let mut leaked = i64::MAX;
        for _ in 0..ROUNDS {
            let before = allocated();
            self.sessions(ROUND, input)?;
            leaked = leaked.min(allocated() - before);
        }
        if leaked >= LEAKED_BYTES_LEAST * ROUND as i64 {
            return Err(format!(
                "{leaked} bytes more are allocated after each {ROUND} sessions, though they have ended \
                 and their instances were destroyed\n  fix: free in `closed` what `open` has made, and \
                 in `destroy` what `create` has made"
            ));
        }
        let more = open_descriptors() - descriptors;
        if more > 0 {
            return Err(format!(
                "{more} descriptors are still open after {} sessions have ended\n  fix: close them in \
                 `closed` and `destroy`",
                ROUND * ROUNDS
            ));
        }
        Ok(())
    }

    /// On a thread of their own, which gives back at its end what malloc(3) keeps for it.
    fn sessions(&self, count: usize, input: &[u8]) -> Result<(), String> {
        let converse = || (0..count).try_for_each(|_| self.converse(self.setup(), input).map(drop));
        std::thread::scope(|scope| {
            let thread = scope.spawn(converse);
            thread.join().unwrap_or_else(|panic| Err(text_of(&*panic)))
        })
    }
}

/// Bytes that malloc(3) has given out, in the whole process: plugins of every language use it.
fn allocated() -> i64 {
    // SAFETY: mallinfo2(3) takes nothing and returns numbers.
    let facts = unsafe { libc::mallinfo2() };
    (facts.uordblks + facts.hblkhd) as i64
}

/// Those that a probe may have at all are few.
fn open_descriptors() -> i64 {
    // SAFETY: fcntl(2): F_GETFD changes nothing, and a number that is not open is an error.
    let is_open = |fd| unsafe { libc::fcntl(fd, libc::F_GETFD) } >= 0;
    (0..256).filter(|fd| is_open(*fd)).count() as i64
}
