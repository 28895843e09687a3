//! Fault lists: the same conversation again and again, with another host call failing each time.
//!
//! Nothing here knows what a plugin ought to answer; that is the test's to say. Invariant: the list ends
//! with a run in which nothing failed, so a conversation that is never reached fails the test.

use super::{FakeHost, Setup};

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
}

impl FakeHost {
    /// Whether the write that [`Setup::full_at`] names has come.
    pub fn has_refused(&self) -> bool {
        self.shared.ledger().writes_left == Some(0)
    }
}
