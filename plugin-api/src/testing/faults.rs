//! Fault lists: the same conversation again and again, with another host call failing each time.
//!
//! Nothing here knows what a plugin ought to answer; that is the test's to say. Invariant: the list ends
//! with a run in which nothing failed, so a conversation that is never reached fails the test.

use super::ledger::Ledger;
use super::{FakeHost, Refused, Setup};

/// Runs of one list; a conversation that writes more often says too much for it.
const RUNS_MAX: usize = 10_000;

impl Setup {
    /// Plays a conversation once for each write that it makes, and makes that one find the output
    /// full; at last once undisturbed. The conversation gets the number of the write that fails, and
    /// checks what came of it. The answer is how many runs there were.
    ///
    /// ```
    /// # use polyport_plugin::prelude::*;
    /// # use polyport_plugin::testing::Setup;
    /// # #[derive(Default)]
    /// # struct Echo;
    /// # impl Protocol for Echo {
    /// #     type Session = ();
    /// #     fn feed(&mut self, cx: &mut Context, from: SessionId, _: &mut (), input: &[u8]) -> Result<usize> {
    /// #         cx.write(from, input)?;
    /// #         Ok(input.len())
    /// #     }
    /// # }
    /// let runs = Setup::of::<Echo>().each_write_refused(|host, refused| {
    ///     let peer = host.connect();
    ///     host.send(peer, b"one");
    ///     host.send(peer, b"two");
    ///     assert_eq!(host.received(peer), b"onetwo", "write {refused} was refused");
    /// });
    /// assert_eq!(runs, 3); // Two writes, and a run in which none was refused.
    /// ```
    #[track_caller]
    pub fn each_write_refused(&self, converse: impl Fn(&mut FakeHost, usize)) -> usize {
        for refused in 1..=RUNS_MAX {
            let mut host = match self.clone().full_at(refused).start() {
                Ok(host) => host,
                Err(why) => panic!("the plugin refuses to start: {why}"),
            };
            converse(&mut host, refused);
            if !host.has_refused() {
                return refused;
            }
        }
        panic!("{RUNS_MAX} runs were not enough to refuse each write once");
    }

    /// Plays a conversation once for each call of the host that may be answered with "no more", from the
    /// first one in `create` on, and makes that one be: a write, a datagram, a range of a file, a timer, a
    /// waker, a job, a metric, an extension, or what is asked of the bus. At last once undisturbed. A
    /// plugin may refuse to start without what it asked for in `create`; then there is no conversation.
    ///
    /// What a peer is answered without a timer or a job is for the conversation to judge, which gets the
    /// number of the call. That the plugin breaks no rule meanwhile, does not panic and leaves nothing
    /// behind is checked in any case. The answer is how many runs there were.
    ///
    /// ```
    /// # use polyport_plugin::prelude::*;
    /// # use polyport_plugin::testing::Setup;
    /// # use std::time::Duration;
    /// /// Says "late" to whoever is silent for a while; who cannot be waited for is told at once.
    /// #[derive(Default)]
    /// struct Patient;
    /// impl Protocol for Patient {
    ///     type Session = ();
    ///     fn open(&mut self, cx: &mut Context, from: SessionId, _: &Facts) -> Result<()> {
    ///         match cx.timer_set(Duration::from_secs(9), 0) {
    ///             Ok(_) => Ok(()),
    ///             Err(_) => cx.write(from, b"late\n"),
    ///         }
    ///     }
    ///     fn feed(&mut self, cx: &mut Context, from: SessionId, _: &mut (), input: &[u8]) -> Result<usize> {
    ///         cx.write(from, input)?;
    ///         Ok(input.len())
    ///     }
    /// }
    ///
    /// let runs = Setup::of::<Patient>().each_call_refused(|host, refused| {
    ///     let peer = host.connect();
    ///     host.send(peer, b"one");
    ///     let told = host.received(peer).to_vec();
    ///     assert!(told.ends_with(b"one"), "call {refused}: {told:?}");
    /// });
    /// # assert!(runs > 2);
    /// ```
    #[track_caller]
    pub fn each_call_refused(&self, converse: impl Fn(&mut FakeHost, usize)) -> usize {
        if let Err(why) = self.start() {
            panic!("the plugin refuses to start: {why}");
        }
        for refused in 1..=RUNS_MAX {
            if !self.with_call_refused(refused, |host| converse(host, refused)) {
                return refused;
            }
        }
        panic!("{RUNS_MAX} runs were not enough to refuse each call once");
    }

    /// One run of [`each_call_refused`](Setup::each_call_refused); whether that call has come.
    #[track_caller]
    pub fn with_call_refused(&self, n: usize, converse: impl FnOnce(&mut FakeHost)) -> bool {
        match self.clone().refused_at(n).try_start() {
            Ok(mut host) => {
                converse(&mut host);
                host.has_refused()
            }
            Err(Refused {
                why, fault: None, ..
            }) => {
                // What refuses by itself as well was refused nothing.
                assert!(self.start().is_ok(), "the plugin refuses to start: {why}");
                true
            }
            Err(Refused {
                fault: Some(fault), ..
            }) => {
                panic!("call {n}, in create, was refused, and the plugin reported a fault: {fault}")
            }
        }
    }
}

impl FakeHost {
    /// Whether the write that [`Setup::full_at`] names, or the call that [`Setup::refused_at`] does, has
    /// come.
    pub fn has_refused(&self) -> bool {
        let refusals = &self.shared.ledger().refusals;
        [refusals.writes_left, refusals.calls_left].contains(&Some(0))
    }
}

/// What of a world is still to be refused.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    writes_left: Option<usize>,
    calls_left: Option<usize>,
}

impl Refusals {
    pub(crate) fn new(full_at: Option<usize>, refused_at: Option<usize>) -> Refusals {
        Refusals {
            writes_left: full_at,
            calls_left: refused_at,
        }
    }

    /// A write is a call as well.
    pub(crate) fn is_write_due(&mut self) -> bool {
        let is_due = is_due(&mut self.writes_left);
        self.is_call_due() || is_due
    }

    fn is_call_due(&mut self) -> bool {
        is_due(&mut self.calls_left)
    }
}

fn is_due(left: &mut Option<usize>) -> bool {
    match left {
        Some(left) if *left > 0 => {
            *left -= 1;
            *left == 0
        }
        _ => false,
    }
}

impl Ledger {
    /// One of the calls whose answer may be that there is no more, and it is that one's turn.
    pub(crate) fn refuses(&mut self, call: &str) -> bool {
        let is_due = self.refusals.is_call_due();
        if is_due {
            self.note(format_args!("{call} is refused by the test"));
        }
        is_due
    }
}
