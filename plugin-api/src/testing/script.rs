//! A scripted peer of the blocking style: what a handler reads, call by call, and what became of it.
//!
//! A handler that would wait is not made to: the script says at once what the waiting came to.
//! Invariant: the end of the stream, a drain and a vanished peer stay what they are, however often
//! the handler asks.

use std::collections::VecDeque;

use super::Split;
use crate::{Error, Result};

/// What a peer does, in order; see [`FakeHost::serve`](super::FakeHost::serve). After the last step
/// it has finished.
#[derive(Clone, Debug, Default)]
pub struct Script {
    steps: VecDeque<Step>,
    takes: Option<usize>,
    gone_at: Option<usize>,
}

#[derive(Clone, Debug)]
enum Step {
    Says(Vec<u8>),
    Silence,
    Drain,
    End,
    Vanish,
}

/// What came of a served session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// All that the peer got.
    pub received: Vec<u8>,
    /// Whether the handler ended its side before it returned.
    pub finished_writing: bool,
    /// How often the handler has used its stream.
    pub calls: usize,
    /// What the plugin answered; the host finishes the stream after `Ok`, and also when the handler
    /// passes on that it was cancelled, timed out or left alone. Anything else is a reset.
    pub answer: Result,
}

impl Script {
    /// A peer that finishes at once.
    pub fn new() -> Script {
        Script::default()
    }

    /// It sends bytes; they arrive as the [`Split`] of the setup says.
    pub fn says(self, bytes: &[u8]) -> Script {
        self.then(Step::Says(bytes.to_vec()))
    }

    /// It says nothing for so long that one read or peek times out.
    pub fn is_silent(self) -> Script {
        self.then(Step::Silence)
    }

    /// The worker drains: from here on whoever reads is told that it is cancelled.
    pub fn drains(self) -> Script {
        self.then(Step::Drain)
    }

    /// It finishes its side, and goes on reading.
    pub fn finishes(self) -> Script {
        self.then(Step::End)
    }

    /// It resets the connection: from here on nothing arrives either way.
    pub fn vanishes(self) -> Script {
        self.then(Step::Vanish)
    }

    /// It takes so many bytes of what is written; what goes beyond times out.
    pub fn takes(mut self, bytes: usize) -> Script {
        self.takes = Some(bytes);
        self
    }

    /// It is found to have reset the connection by the n-th use of the stream, whatever that is; the
    /// first is 1.
    pub fn is_gone_at(mut self, n: usize) -> Script {
        self.gone_at = Some(n);
        self
    }

    fn then(mut self, step: Step) -> Script {
        self.steps.push_back(step);
        self
    }
}

/// A script as it is played.
pub(crate) struct Play {
    steps: VecDeque<Step>,
    room: usize,
    gone_at: Option<usize>,
    pub(crate) calls: usize,
    pub(crate) received: Vec<u8>,
    pub(crate) finished_writing: bool,
}

impl Play {
    pub(crate) fn new(script: Script, split: Split) -> Play {
        let mut steps = VecDeque::new();
        for step in script.steps {
            match step {
                Step::Says(bytes) => {
                    steps.extend(split.pieces(&bytes).into_iter().map(Step::Says));
                }
                other => steps.push_back(other),
            }
        }
        Play {
            steps,
            room: script.takes.unwrap_or(usize::MAX),
            gone_at: script.gone_at,
            calls: 0,
            received: Vec::new(),
            finished_writing: false,
        }
    }

    /// The handler uses its stream, in whatever way.
    pub(crate) fn begin_call(&mut self) {
        self.calls += 1;
        if self.gone_at == Some(self.calls) {
            self.steps.push_front(Step::Vanish);
        }
    }

    pub(crate) fn read(&mut self, buffer: &mut [u8], peek: bool) -> Result<usize> {
        match self.steps.front_mut() {
            Some(Step::Says(bytes)) => {
                let count = bytes.len().min(buffer.len());
                buffer[..count].copy_from_slice(&bytes[..count]);
                if !peek {
                    bytes.drain(..count);
                    if bytes.is_empty() {
                        self.steps.pop_front();
                    }
                }
                Ok(count)
            }
            Some(Step::Silence) => {
                self.steps.pop_front();
                Err(Error::TimedOut)
            }
            Some(Step::Drain) => Err(Error::Cancelled),
            Some(Step::Vanish) => Err(Error::Gone),
            Some(Step::End) | None => Ok(0),
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8], finish: bool) -> Result {
        let vanished = matches!(self.steps.front(), Some(Step::Vanish));
        if vanished || self.finished_writing {
            return Err(Error::Gone);
        }
        let count = bytes.len().min(self.room);
        self.received.extend_from_slice(&bytes[..count]);
        self.room -= count;
        if count < bytes.len() {
            return Err(Error::TimedOut);
        }
        self.finished_writing = finish;
        Ok(())
    }
}
