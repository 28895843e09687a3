//! The giving side: session after session leaves the event queue, is written down, and is sent with its
//! socket; what the taker does not adopt goes on here, and is drained with the rest.
//!
//! Nothing is asked of a socket on the way out, for an error that is read here is gone for the taker.
//! Memory of those that have left goes back to the system while others still leave, for the taker needs
//! as much of it: both together hold little more than the giver did alone.
//!
//! Invariant: a session that was sent stays frozen, and its socket open, until it is known who has it;
//! meanwhile it is not counted here, so that a giver's death leaves in the count what died with it.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::super::turn::Worker;
use super::super::{Orders, Outcome, Wakes};
use super::line::{Heard, Line};
use super::packed::{BusWait, Packed};
use crate::engine::handover::{Answer, Answers, BATCHES_MAX, Batch, Message, SILENCE_MS};
use crate::engine::protocol::Protocol;
use crate::engine::session::Token;
use crate::scoreboard::Counter;
use crate::sys::heap;

#[derive(Debug)]
pub(super) struct Giving {
    pub(super) line: Line,
    /// The last is the next. Whoever came late may lie where somebody early has left a gap, so that
    /// memory becomes free in one piece if they go first.
    pub(super) todo: Vec<Token>,
    /// The next batch.
    pub(super) packed: Option<Packed>,
    pub(super) bus_wait: BusWait,
    /// Batches that are not answered yet.
    sent: VecDeque<(u32, Vec<Token>)>,
    batches: u32,
    /// What the taker has room for beyond what was packed; `None` before it has said so.
    pub(super) room: Option<usize>,
    heard_ms: u64,
    time: Time,
}

/// How long giving may take.
#[derive(Clone, Copy, Debug)]
struct Time {
    /// When it is over in any case.
    end_ms: u64,
    /// Where somebody waits for the giver's place: what may pass from one session that is adopted to the
    /// next.
    pause_ms: Option<u64>,
    /// When one last was, or when the hurry began.
    since_ms: u64,
}

enum Next {
    GoOn,
    /// The taker is gone, or nothing sensible comes from there.
    GiveUp,
}

impl Giving {
    pub(super) fn new(line: Line, todo: Vec<Token>, now_ms: u64, grace_ms: u64) -> Giving {
        // Whoever takes has a beginning of its own.
        heap::give_back();
        Giving {
            line,
            todo,
            packed: None,
            bus_wait: BusWait::default(),
            sent: VecDeque::new(),
            batches: 0,
            room: None,
            heard_ms: now_ms,
            time: Time {
                end_ms: now_ms.saturating_add(grace_ms),
                pause_ms: None,
                since_ms: now_ms,
            },
        }
    }

    pub(super) fn can_pack(&self) -> bool {
        let has_room = self.room.is_some_and(|room| room > 0) && self.packed.is_none();
        has_room && !self.todo.is_empty() && self.sent.len() < BATCHES_MAX
    }

    pub(super) fn next_deadline_ms(&self) -> u64 {
        let waits = self.bus_wait.deadline_ms();
        waits.map_or(self.over_ms(), |it| it.min(self.over_ms()))
    }

    fn over_ms(&self) -> u64 {
        self.time.over_ms().min(self.heard_ms + SILENCE_MS)
    }

    /// There is less time than was said: so much, or so much from each session that is adopted.
    pub(super) fn hasten(&mut self, grace_ms: u64, hurried: bool, now_ms: u64) {
        self.time.hasten(grace_ms, hurried, now_ms);
    }

    fn is_finished(&self) -> bool {
        let nowhere_to = self.room == Some(0);
        let is_under_way = self.packed.is_some() || !self.sent.is_empty();
        !is_under_way && (self.todo.is_empty() || nowhere_to)
    }
}

impl Time {
    fn over_ms(self) -> u64 {
        match self.pause_ms {
            Some(pause_ms) => self.end_ms.min(self.since_ms.saturating_add(pause_ms)),
            None => self.end_ms,
        }
    }

    fn hasten(&mut self, grace_ms: u64, hurried: bool, now_ms: u64) {
        match hurried {
            true => {
                self.pause_ms = Some(grace_ms);
                self.since_ms = now_ms;
            }
            false => self.end_ms = self.end_ms.min(now_ms.saturating_add(grace_ms)),
        }
    }

    fn adopted(&mut self, now_ms: u64) {
        self.since_ms = now_ms;
    }
}

impl<P: Protocol, W: Wakes, O: Orders> Worker<P, W, O> {
    pub(super) fn go_on_giving(&mut self, mut giving: Box<Giving>) {
        if self.outcome.is_some() {
            // The supervisor is gone, as nothing else sets one while sessions are given: what is under
            // way comes to its end, and nothing more begins.
            giving.todo.clear();
            self.unpack(&mut giving);
        }
        let mut next = self.hear_taker(&mut giving);
        if let Next::GoOn = next {
            self.pack(&mut giving);
            if let Some(packed) = self.take_packed(&mut giving) {
                next = self.send_batch(&mut giving, packed);
            }
        }
        match next {
            Next::GoOn if giving.is_finished() => self.end_giving(*giving),
            Next::GoOn if giving.over_ms() <= self.now_ms => self.stop_giving(*giving),
            Next::GoOn => self.handover.giving = Some(giving),
            Next::GiveUp => self.stop_giving(*giving),
        }
    }

    fn hear_taker(&mut self, giving: &mut Giving) -> Next {
        if !giving.line.waiting {
            return Next::GoOn;
        }
        loop {
            match giving.line.receive() {
                Heard::Nothing => {
                    giving.line.waiting = false;
                    return Next::GoOn;
                }
                Heard::Ended => return Next::GiveUp,
                Heard::Message(Message::Room(room), _) if giving.room.is_none() => {
                    giving.heard_ms = self.now_ms;
                    giving.room = Some(room as usize);
                }
                Heard::Message(Message::Answers(answers), _) => {
                    giving.heard_ms = self.now_ms;
                    if !self.heed(giving, &answers) {
                        return self.broken("an answer to nothing");
                    }
                }
                Heard::Message(..) => return self.broken("a message out of place"),
                Heard::Wrong(what) => return self.broken(&what),
            }
        }
    }

    fn broken(&mut self, what: &str) -> Next {
        self.scoreboard.add(Counter::CarryBroken, 1);
        tracing::error!("a handover to another worker is given up: {what}");
        Next::GiveUp
    }

    /// False if it does not answer what was sent first.
    fn heed(&mut self, giving: &mut Giving, answers: &Answers) -> bool {
        let fits = |(number, tokens): &&(u32, Vec<Token>)| {
            *number == answers.number && tokens.len() == answers.answers.len()
        };
        if giving.sent.front().filter(fits).is_none() {
            return false;
        }
        let (_, tokens) = giving.sent.pop_front().unwrap_or_default();
        self.scoreboard
            .add(Counter::Connections, tokens.len() as u64);
        for (token, answer) in tokens.into_iter().zip(&answers.answers) {
            match answer {
                Answer::Adopted => {
                    giving.time.adopted(self.now_ms);
                    self.scoreboard.add(Counter::CarriedOut, 1);
                    self.streams.given(token, self.now_ms);
                    self.part();
                }
                Answer::Refused => {
                    self.poll_again(token);
                    self.streams.finish_open(token);
                }
                Answer::NotTaken => self.poll_again(token),
            }
        }
        giving.todo.shrink_to_fit();
        heap::give_back();
        let under_way: usize = giving.sent.iter().map(|(_, tokens)| tokens.len()).sum();
        let waits = giving.packed.as_ref().map_or(0, |it| it.tokens.len());
        giving.room = Some((answers.room as usize).saturating_sub(under_way + waits));
        true
    }

    fn send_batch(&mut self, giving: &mut Giving, packed: Packed) -> Next {
        let Packed {
            tokens, records, ..
        } = packed;
        giving.batches = giving.batches.wrapping_add(1);
        let number = giving.batches;
        let batch = Message::Batch(Batch { number, records });
        let sockets: Vec<BorrowedFd<'_>> = tokens
            .iter()
            .filter_map(|token| self.sockets.get(*token))
            .map(|stream| stream.socket.as_fd())
            .collect();
        debug_assert_eq!(sockets.len(), tokens.len(), "each that is frozen has one");
        match giving.line.send(&batch, &sockets) {
            Ok(()) => {
                if giving.sent.is_empty() {
                    giving.heard_ms = self.now_ms;
                }
                // Should this worker die now, they are the taker's and not lost.
                self.scoreboard
                    .subtract(Counter::Connections, tokens.len() as u64);
                giving.sent.push_back((number, tokens));
                Next::GoOn
            }
            Err(error) => {
                // No room in the stream, or too many sockets under way. They go on here; there is
                // room again once an answer comes.
                tracing::debug!("a batch of sessions was not sent: {error}");
                for token in tokens.into_iter().rev() {
                    self.poll_again(token);
                    giving.todo.push(token);
                }
                match giving.sent.is_empty() {
                    true => Next::GiveUp,
                    false => {
                        // Not before that.
                        giving.room = Some(0);
                        Next::GoOn
                    }
                }
            }
        }
    }

    /// What was answered by now counts; the rest goes on here, if it is sure that nobody has it.
    fn stop_giving(&mut self, mut giving: Giving) {
        giving.line.stop_listening();
        giving.todo.clear();
        self.unpack(&mut giving);
        while let Heard::Message(Message::Answers(answers), _) = giving.line.receive() {
            if !self.heed(&mut giving, &answers) {
                break;
            }
        }
        let mine = giving.sent.is_empty()
            || match giving.line.send(&Message::Revoked, &[]) {
                Ok(()) => true,
                // Nobody is there who could have them.
                Err(error) => error.kind() != io::ErrorKind::WouldBlock,
            };
        for (_, tokens) in std::mem::take(&mut giving.sent) {
            self.scoreboard
                .add(Counter::Connections, tokens.len() as u64);
            for token in tokens {
                if mine {
                    self.poll_again(token);
                } else {
                    self.streams.given(token, self.now_ms);
                }
            }
        }
        self.part();
        self.end_giving(giving);
    }

    /// All is given that could be: what is left is drained.
    fn end_giving(&mut self, giving: Giving) {
        let grace_ms = giving.time.over_ms().saturating_sub(self.now_ms);
        giving.line.close(&self.epoll);
        self.drain(Outcome::Drained, grace_ms);
    }

    /// A session that was taken here meanwhile goes on with the others.
    pub(super) fn give_too(&mut self, token: Token) {
        if let Some(giving) = &mut self.handover.giving {
            giving.todo.push(token);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At this time.
    enum Happens {
        Hurried(u64),
        Hastened(u64),
        Adopted(u64),
    }

    #[test]
    fn a_giver_that_is_hurried_has_its_time_anew_with_each_session_within_what_it_had() {
        use Happens::{Adopted, Hastened, Hurried};
        let stories: [(&[Happens], u64); 7] = [
            (&[], 30_000),
            (&[Adopted(4_000)], 30_000),
            (&[Hurried(1_000)], 6_000),
            (&[Hurried(1_000), Adopted(4_000), Adopted(8_000)], 13_000),
            (&[Hurried(27_000)], 30_000),
            (&[Hurried(20_000), Adopted(24_900), Adopted(29_000)], 30_000),
            (&[Hurried(1_000), Adopted(4_000), Hastened(4_500)], 5_500),
        ];
        for (nth, (story, over_ms)) in stories.into_iter().enumerate() {
            let mut time = Time {
                end_ms: 30_000,
                pause_ms: None,
                since_ms: 0,
            };
            for happens in story {
                match *happens {
                    Hurried(now_ms) => time.hasten(5_000, true, now_ms),
                    Hastened(now_ms) => time.hasten(1_000, false, now_ms),
                    Adopted(now_ms) => time.adopted(now_ms),
                }
            }
            assert_eq!(time.over_ms(), over_ms, "story {nth}");
        }
    }
}
