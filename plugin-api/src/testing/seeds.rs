//! Property tests without a library for them: a seed decides what happens, and a failure names it.
//!
//! What has to hold is the test's to say. Invariant: the same seed is the same run, on every machine.

use std::ops::Range;
use std::time::Duration;

use super::{Conversation, Setup};

/// A seed's luck (SplitMix64): good enough for choosing what happens in a test, and for nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dice(u64);

impl Dice {
    /// The same throws for the same seed.
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// 0, or more, but less than the bound.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound.max(1) as u64) as usize
    }
}

impl Setup {
    /// Plays a conversation once for each seed: what the peer says comes in other pieces, with other
    /// pauses up to `pause_max` between them, which may not change what it gets. A run that fails
    /// prints its seed.
    ///
    /// ```
    /// # use polyport_plugin::prelude::*;
    /// # use std::time::Duration;
    /// # use polyport_plugin::testing::{Conversation, Setup};
    /// # #[derive(Default)]
    /// # struct Echo;
    /// # impl Protocol for Echo {
    /// #     type Session = ();
    /// #     fn feed(&mut self, cx: &mut Context, from: SessionId, _: &mut (), input: &[u8]) -> Result<usize> {
    /// #         cx.write(from, input)?;
    /// #         Ok(input.len())
    /// #     }
    /// # }
    /// let talk = Conversation::new().line("hello").expect("hello\r\n");
    /// Setup::of::<Echo>().each_seed(0..100, &talk, Duration::from_secs(1));
    /// ```
    #[track_caller]
    pub fn each_seed(&self, seeds: Range<u64>, conversation: &Conversation, pause_max: Duration) {
        assert!(!seeds.is_empty(), "no seed, no test");
        for seed in seeds {
            let named = Named(seed);
            let mut dice = Dice::new(seed);
            let mut host = match self.start() {
                Ok(host) => host,
                Err(why) => panic!("the plugin refuses to start: {why}"),
            };
            host.play(&conversation.cut(&mut dice, pause_max));
            drop(named);
        }
    }
}

/// Whatever goes wrong meanwhile, in the conversation or in the plugin, its seed is told.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.0;
            eprintln!(
                "the seed was {seed}; `{seed}..{}` is this run alone",
                seed + 1
            );
        }
    }
}
