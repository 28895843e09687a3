//! The protocol of the simulated worlds: it speaks all kinds, and is the oracle of what was said.

use std::collections::{BTreeMap, BTreeSet};

use slotmap::{Key, KeyData};

use crate::engine::desk::{Desk, Refusal, Said};
use crate::engine::files::HeldFile;
use crate::engine::protocol::Protocol;
use crate::engine::session::{Closing, End, Facts, Fed, Party, TimerToken, Token};

pub(super) const RECORD: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Everything back, from the lent input.
    Echo,
    /// Whole records back, one write each; stops at the first refusal.
    Records,
    /// What it hears goes to another session as well.
    Relay,
    /// Echoes, and finishes after so many bytes.
    Closer,
    /// Answers the peer's FIN only later, from a timer; pauses now and then.
    Slow,
}

pub(super) const KINDS: [Kind; 5] = [
    Kind::Echo,
    Kind::Records,
    Kind::Relay,
    Kind::Closer,
    Kind::Slow,
];

/// Speaks all kinds, and is the oracle of what was said to whom.
pub(super) struct Script {
    pub(super) desk: Desk,
    random: Random,
    pub(super) said: BTreeMap<Token, Vec<u8>>,
    pub(super) open: BTreeSet<Token>,
    pub(super) closed: BTreeMap<Token, End>,
    finished_late: Vec<(TimerToken, Token)>,
    /// Now and then it sends a file as well.
    pub(super) sends_files: bool,
}

impl Script {
    pub(super) fn new(seed: u64) -> Script {
        Script {
            desk: Desk::default(),
            random: Random(seed.wrapping_mul(31) | 1),
            said: BTreeMap::new(),
            open: BTreeSet::new(),
            closed: BTreeMap::new(),
            finished_late: Vec::new(),
            sends_files: true,
        }
    }

    fn say(&mut self, session: Token, said: Said<'_>, bytes: &[u8]) -> Result<(), Refusal> {
        self.desk.write(session, said, false)?;
        self.said
            .entry(session)
            .or_default()
            .extend_from_slice(bytes);
        Ok(())
    }

    /// The same to some, one after the other, and perhaps something else to one of them.
    fn say_to_many(&mut self, bytes: &[u8]) {
        let count = self.random.below(self.open.len() as u64 + 1) as usize;
        let some: Vec<Token> = self.open.iter().copied().take(count).collect();
        for session in &some {
            let _ = self.say(*session, Said::Bytes(bytes), bytes);
        }
        if let Some(session) = some.first()
            && self.random.below(4) == 0
        {
            let _ = self.say(*session, Said::Bytes(b"you first"), b"you first");
        }
    }

    /// A range of a file whose content nobody else has.
    fn send_file(&mut self, session: Token) {
        if !self.sends_files || self.random.below(4) > 0 {
            return;
        }
        let length = [1, 700, 60_000, 300_000][self.random.below(4) as usize];
        let content = self.random.bytes(length + 50);
        let offset = self.random.below(50) as usize;
        let range = content[offset..offset + length].to_vec();
        let (offset, length) = (offset as u64, length as u64);
        let file = || match offset % 2 {
            0 => HeldFile::new(content),
            _ => HeldFile::of_memory(content),
        };
        // A refusal is one of too many.
        if self.desk.send_file(session, offset, length, file).is_ok() {
            self.said.entry(session).or_default().extend(range);
        }
    }

    fn later(&mut self, session: Token) {
        let delay_ms = self.random.below(50);
        if let Ok(timer) = self.desk.timer_set(delay_ms, 0) {
            self.finished_late.push((timer, session));
        }
    }
}

impl Protocol for Script {
    type State = Kind;

    fn open(&mut self, session: Token, facts: &Facts<'_>) -> Result<Kind, End> {
        assert!(
            !self.closed.contains_key(&session),
            "a token is never used twice"
        );
        let kind = KINDS[port_of(facts) as usize % KINDS.len()];
        if self.random.below(40) == 0 {
            return Err(End::Aborted);
        }
        assert!(self.open.insert(session));
        self.said.insert(session, Vec::new());
        Ok(kind)
    }

    fn feed(&mut self, session: Token, kind: Kind, input: &[u8]) -> Fed {
        assert!(self.open.contains(&session), "no feed after closed");
        let before = self.said[&session].len();
        match kind {
            Kind::Echo | Kind::Slow | Kind::Closer => {
                if self
                    .say(session, Said::Lent(0, input.len()), input)
                    .is_err()
                {
                    return Fed::Full;
                }
                self.send_file(session);
                if kind == Kind::Slow && self.random.below(8) == 0 {
                    self.desk.pause(session, true).expect("it is open");
                    self.later(session);
                }
                if kind == Kind::Closer && before > 20_000 {
                    let ways = [Closing::Finish, Closing::Done];
                    let way = ways[self.random.below(2) as usize];
                    self.desk.close(session, way).expect("it is open");
                }
                Fed::Took(input.len())
            }
            Kind::Records => {
                let mut consumed = 0;
                while consumed + RECORD <= input.len() {
                    let end = consumed + RECORD;
                    let record = &input[consumed..end];
                    if self
                        .say(session, Said::Lent(consumed, end), record)
                        .is_err()
                    {
                        break;
                    }
                    consumed = end;
                }
                Fed::Took(consumed)
            }
            Kind::Relay => {
                let nth = self.random.below(self.open.len() as u64) as usize;
                let other = *self.open.iter().nth(nth).expect("it is below the length");
                // A refusal loses the message for that one, as in a chat.
                let _ = self.say(other, Said::Bytes(input), input);
                self.send_file(other);
                let _ = self.say(
                    other,
                    Said::Lent(0, input.len() / 2),
                    &input[..input.len() / 2],
                );
                if self.random.below(500) == 0 {
                    let _ = self.desk.close(other, Closing::Abort);
                }
                Fed::Took(input.len())
            }
        }
    }

    fn peer_finished(&mut self, session: Token, kind: Kind) -> Result<bool, End> {
        if kind == Kind::Slow {
            self.later(session);
        }
        Ok(kind == Kind::Slow)
    }

    fn writable(&mut self, session: Token, _: Kind) -> Result<(), End> {
        assert!(self.open.contains(&session), "no writable after closed");
        Ok(())
    }

    fn closed(&mut self, session: Token, _: Kind, why: End) {
        assert!(self.open.remove(&session), "closed once for each open");
        self.closed.insert(session, why);
        assert_eq!(self.desk.queued(session), Err(Refusal::Gone));
        self.say_to_many(b"one left");
    }

    fn carries(&self) -> bool {
        true
    }

    fn export(&mut self, session: Token, kind: Kind) -> Option<(u32, Vec<u8>)> {
        assert!(self.open.contains(&session), "no export after closed");
        if self.random.below(10) == 0 {
            return None;
        }
        let number = session.data().as_ffi();
        Some((kind as u32, number.to_le_bytes().to_vec()))
    }

    fn import(
        &mut self,
        session: Token,
        _: &Facts<'_>,
        format: u32,
        bytes: &[u8],
    ) -> Result<Kind, String> {
        let number = u64::from_le_bytes(bytes.try_into().expect("a number"));
        if self.random.below(20) == 0 {
            return Err("not today".to_owned());
        }
        let before = Token::from(KeyData::from_ffi(number));
        let said = self.said[&before].clone();
        self.said.insert(session, said);
        assert!(self.open.insert(session));
        let kind = KINDS[format as usize];
        if kind == Kind::Slow {
            self.later(session);
        }
        if kind == Kind::Relay && self.random.below(4) == 0 {
            let _ = self.say(session, Said::Bytes(b"here again"), b"here again");
        }
        Ok(kind)
    }

    fn timer(&mut self, timer: TimerToken, _: u64) {
        let at = self.finished_late.iter().position(|(t, _)| *t == timer);
        let (_, session) = self
            .finished_late
            .remove(at.expect("an armed timer fires once"));
        if self.random.below(3) == 0 {
            // Paused or not.
            if self.desk.close(session, Closing::Finish) == Err(Refusal::Busy) {
                self.later(session);
            }
        } else if self.open.contains(&session) {
            let asked = self.desk.pause(session, false);
            assert!(matches!(asked, Ok(()) | Err(Refusal::Busy)), "it is open");
            self.later(session);
        }
    }

    fn wake(&mut self, _: u64) {
        self.say_to_many(b"woken");
    }

    fn drain(&mut self, _: u64) {}

    fn desk(&mut self) -> &mut Desk {
        &mut self.desk
    }
}

/// Xorshift: repeatable and good enough for choosing.
#[derive(Clone)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(super) fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 32) % n.max(1)
    }
}

fn port_of(facts: &Facts<'_>) -> u16 {
    match facts.peer {
        Party::Internet(address) => address.port(),
        Party::Unix => 0,
    }
}
