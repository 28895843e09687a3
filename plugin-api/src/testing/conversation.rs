//! Peers that follow a script: what each says, expects, waits for and how it leaves, in the order in
//! which it reads.
//!
//! The scripts of the blocking style are [`Script`](super::Script)s, which a handler reads from; these
//! here drive a host, so they can also look at what came back between two lines. Time is the host's:
//! a pause takes none of the test's.
//!
//! Invariant: what a peer has got is looked at once and in order; a step that expects says, when it
//! fails, which step of the script it is.

use std::fmt;
use std::time::Duration;

use super::{Dice, FakeHost, Peer};
use crate::facts::End;

/// What a peer of the event style does; see [`FakeHost::play`].
///
/// ```
/// # use polyport_plugin::prelude::*;
/// use std::time::Duration;
/// use polyport_plugin::testing::{Conversation, Setup};
/// # #[derive(Default)]
/// # struct Echo;
/// # impl Protocol for Echo {
/// #     type Session = ();
/// #     fn feed(&mut self, cx: &mut Context, from: SessionId, _: &mut (), input: &[u8]) -> Result<usize> {
/// #         cx.write(from, input)?;
/// #         Ok(input.len())
/// #     }
/// # }
///
/// let talk = Conversation::new()
///     .line("hello")
///     .expect("hello\r\n")
///     .pause(Duration::from_secs(10))
///     .bytes(b"\xff\x00")
///     .expect_bytes(b"\xff\x00")
///     .finish()
///     .expect_end(End::Finished);
/// Setup::of::<Echo>().start().unwrap().play(&talk);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conversation {
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Says(Vec<u8>),
    Expects(Vec<u8>),
    ExpectsEnd(End),
    Pauses(Duration),
    Finishes,
    Vanishes,
}

impl Conversation {
    /// A peer that connects, and does nothing yet.
    pub fn new() -> Conversation {
        Conversation::default()
    }

    /// It sends a line, with CR and LF behind it.
    pub fn line(self, text: &str) -> Conversation {
        self.bytes(format!("{text}\r\n").as_bytes())
    }

    /// It sends bytes; they arrive as the [`Split`](super::Split) of the setup says.
    pub fn bytes(self, bytes: &[u8]) -> Conversation {
        self.then(Step::Says(bytes.to_vec()))
    }

    /// It has got exactly this since it last looked.
    pub fn expect(self, text: &str) -> Conversation {
        self.expect_bytes(text.as_bytes())
    }

    /// The same, for what is no text.
    pub fn expect_bytes(self, bytes: &[u8]) -> Conversation {
        self.then(Step::Expects(bytes.to_vec()))
    }

    /// The session has ended so.
    pub fn expect_end(self, end: End) -> Conversation {
        self.then(Step::ExpectsEnd(end))
    }

    /// It says nothing for so long: timers fire, idle sessions end.
    pub fn pause(self, time: Duration) -> Conversation {
        self.then(Step::Pauses(time))
    }

    /// It finishes its side, and goes on reading.
    pub fn finish(self) -> Conversation {
        self.then(Step::Finishes)
    }

    /// It resets the connection.
    pub fn vanish(self) -> Conversation {
        self.then(Step::Vanishes)
    }

    /// The same conversation with what is said in other pieces, and other pauses between them.
    pub(super) fn cut(&self, dice: &mut Dice, pause_max: Duration) -> Conversation {
        let pause_max_ms = usize::try_from(pause_max.as_millis()).unwrap_or(usize::MAX);
        let mut steps = Vec::new();
        for step in &self.steps {
            let Step::Says(bytes) = step else {
                steps.push(step.clone());
                continue;
            };
            let mut left = bytes.as_slice();
            while !left.is_empty() {
                // Short pieces find more than long ones, but some are whole.
                let most = if dice.below(4) == 0 { left.len() } else { 8 };
                let (piece, rest) = left.split_at(1 + dice.below(most.min(left.len())));
                steps.push(Step::Says(piece.to_vec()));
                left = rest;
                if !left.is_empty() && pause_max_ms > 0 && dice.below(2) == 0 {
                    let pause_ms = dice.below(pause_max_ms) as u64;
                    steps.push(Step::Pauses(Duration::from_millis(pause_ms)));
                }
            }
        }
        Conversation { steps }
    }

    fn then(mut self, step: Step) -> Conversation {
        self.steps.push(step);
        self
    }
}

/// As a test would write it, for what fails.
impl fmt::Display for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, step) in self.steps.iter().enumerate() {
            writeln!(f, "{:>4} {step}", nth + 1)?;
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Says(bytes) => write!(f, "says {}", bytes.escape_ascii()),
            Step::Expects(bytes) => write!(f, "expects {}", bytes.escape_ascii()),
            Step::ExpectsEnd(end) => write!(f, "expects the end: {end:?}"),
            Step::Pauses(time) => write!(f, "pauses for {} ms", time.as_millis()),
            Step::Finishes => f.write_str("finishes"),
            Step::Vanishes => f.write_str("vanishes"),
        }
    }
}

impl FakeHost {
    /// A new peer does all that the conversation says; jobs that the plugin submits meanwhile are run.
    /// The answer is the peer, for further questions.
    #[track_caller]
    pub fn play(&mut self, conversation: &Conversation) -> Peer {
        let peer = self.connect();
        self.play_on(peer, conversation);
        peer
    }

    /// A peer does it that is there already, and has looked at what earlier scripts expected.
    #[track_caller]
    pub fn play_on(&mut self, peer: Peer, conversation: &Conversation) {
        for (nth, step) in conversation.steps.iter().enumerate() {
            match step {
                Step::Says(bytes) => self.send(peer, bytes),
                Step::Pauses(time) => self.advance(*time),
                Step::Finishes => self.peer_finishes(peer),
                Step::Vanishes => self.peer_vanishes(peer),
                Step::Expects(expected) => {
                    self.hear_bus();
                    let got = self.unseen(peer);
                    if got != *expected {
                        let got = format!("it got {}", got.escape_ascii());
                        self.astray(conversation, nth, &got);
                    }
                }
                Step::ExpectsEnd(end) => {
                    if self.end(peer) != Some(*end) {
                        let got = format!("it has {:?}", self.end(peer));
                        self.astray(conversation, nth, &got);
                    }
                }
            }
            while self.run_work() {}
        }
    }

    #[track_caller]
    fn astray(&self, conversation: &Conversation, nth: usize, got: &str) -> ! {
        let nth = nth + 1;
        let happened = self.transcript();
        panic!("step {nth} of this conversation: {got}\n{conversation}what happened:\n{happened}");
    }
}
