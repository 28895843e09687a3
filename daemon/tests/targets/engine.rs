//! The engine, with an echo-like protocol in it whose first byte of input asks for something else.
//!
//! It is the fuzzer's way to what the simulation beside the engine does with luck. What peers do and
//! what must hold is in `world`. Invariant: it says the same to the same bytes.

use std::cell::RefCell;
use std::rc::Rc;

use polyport::engine::desk::{Desk, Refusal, Said};
use polyport::engine::protocol::Protocol;
use polyport::engine::session::{Closing, End, Facts, Fed, TimerToken, Token};

use super::world::{Ledger, World};

pub fn engine(bytes: &[u8]) -> bool {
    let echo = |ledger| Echo {
        desk: Desk::default(),
        ledger,
        later: Vec::new(),
    };
    World::new(bytes, echo).play();
    true
}

/// Echoes, unless the first byte of its input asks for something else.
struct Echo {
    desk: Desk,
    ledger: Rc<RefCell<Ledger>>,
    later: Vec<(TimerToken, Token, Later)>,
}

#[derive(Clone, Copy)]
enum Later {
    Resume,
    Close,
}

impl Echo {
    fn say(&mut self, to: Token, said: Said<'_>, bytes: &[u8], last: bool) -> Result<(), Refusal> {
        self.desk.write(to, said, last)?;
        let mut ledger = self.ledger.borrow_mut();
        let so_far = ledger.said.get_mut(&to);
        so_far.expect("it was opened").extend_from_slice(bytes);
        Ok(())
    }

    fn other(&self, than: Token) -> Option<Token> {
        let ledger = self.ledger.borrow();
        ledger.open.iter().find(|token| **token != than).copied()
    }

    fn later(&mut self, session: Token, what: Later) {
        if let Ok(timer) = self.desk.timer_set(20, 0) {
            self.later.push((timer, session, what));
        }
    }

    /// What its first byte asks for, or all of it again.
    fn answer(&mut self, session: Token, input: &[u8]) -> Fed {
        let length = input.len();
        let half = length.div_ceil(2);
        match input[0] {
            b'K' if length < 8 => return Fed::Took(0),
            b'H' => {
                return match self.say(session, Said::Lent(0, half), &input[..half], false) {
                    Ok(()) => Fed::Took(half),
                    Err(_) => Fed::Full,
                };
            }
            b'R' => {
                // A refusal loses the message for that one, as in a chat.
                if let Some(other) = self.other(session) {
                    let _ = self.say(other, Said::Bytes(input), input, false);
                    let _ = self.say(other, Said::Lent(0, half), &input[..half], false);
                }
            }
            b'O' => {
                if let Some(other) = self.other(session) {
                    let way = match input.get(1) {
                        Some(b'!') => Closing::Abort,
                        _ => Closing::Finish,
                    };
                    let _ = self.desk.close(other, way);
                }
            }
            b'L' => {
                let last = self.say(session, Said::Lent(0, length), input, true);
                return last.map_or(Fed::Full, |()| Fed::Took(length));
            }
            b'X' => return Fed::Failed(End::Aborted),
            _ => {}
        }
        if self
            .say(session, Said::Lent(0, length), input, false)
            .is_err()
        {
            return Fed::Full;
        }
        match input[0] {
            b'P' => {
                let _ = self.desk.pause(session, true);
                self.later(session, Later::Resume);
            }
            b'C' => drop(self.desk.close(session, Closing::Finish)),
            b'D' => drop(self.desk.close(session, Closing::Done)),
            b'A' => drop(self.desk.close(session, Closing::Abort)),
            b'I' => drop(self.desk.idle(session, u64::from(input[length - 1]))),
            b'T' => self.later(session, Later::Close),
            _ => {}
        }
        Fed::Took(length)
    }
}

impl Protocol for Echo {
    type State = ();

    fn open(&mut self, session: Token, _: &Facts<'_>) -> Result<(), End> {
        self.ledger.borrow_mut().opened(session);
        Ok(())
    }

    fn feed(&mut self, session: Token, (): (), input: &[u8]) -> Fed {
        assert!(self.ledger.borrow().open.contains(&session), "not closed");
        let fed = self.answer(session, input);
        self.ledger.borrow_mut().fed(session, input, &fed);
        fed
    }

    fn peer_finished(&mut self, session: Token, (): ()) -> Result<bool, End> {
        let stays = self.ledger.borrow().said[&session].len() % 2 == 1;
        if stays {
            self.later(session, Later::Close);
        }
        Ok(stays)
    }

    fn writable(&mut self, session: Token, (): ()) -> Result<(), End> {
        assert!(self.ledger.borrow().open.contains(&session), "not closed");
        Ok(())
    }

    fn closed(&mut self, session: Token, (): (), why: End) {
        self.ledger.borrow_mut().closed(session, why);
        assert_eq!(self.desk.queued(session), Err(Refusal::Gone));
        if let Some(other) = self.other(session) {
            let _ = self.say(other, Said::Bytes(b"one left"), b"one left", false);
        }
    }

    fn timer(&mut self, timer: TimerToken, _: u64) {
        let at = self.later.iter().position(|(armed, ..)| *armed == timer);
        let (_, session, what) = self.later.remove(at.expect("an armed timer fires once"));
        let _ = match what {
            Later::Resume => self.desk.pause(session, false),
            Later::Close => self.desk.close(session, Closing::Finish),
        };
    }

    fn wake(&mut self, _: u64) {
        let last = self.ledger.borrow().open.last().copied();
        if let Some(session) = last {
            let _ = self.say(session, Said::Bytes(b"woken"), b"woken", false);
        }
    }

    fn drain(&mut self, _: u64) {}

    fn desk(&mut self) -> &mut Desk {
        &mut self.desk
    }
}
