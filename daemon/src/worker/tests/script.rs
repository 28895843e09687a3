//! The protocol of the worker's tests, which tells the test what it is told.

use std::sync::mpsc::Sender;

use crate::engine::desk::{Desk, Said};
use crate::engine::protocol::Protocol;
use crate::engine::session::{Closing, Credentials, End, Facts, Fed, Party, TimerToken, Token};

pub(super) const CHUNK: usize = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Echo,
    /// Answers the first input and finishes.
    Once,
    /// Answers once, and waits for nobody.
    Done,
    /// Aborts at the first input.
    Abort,
    /// Consumes nothing.
    Deaf,
    /// Sends numbered chunks for as long as there is room.
    Source,
    /// Echoes, and is not to be carried.
    Stays,
    /// Echoes, and takes no session over.
    Refuses,
    /// Echoes, and has published something of which no hub hears before it is woken.
    Unheard,
}

#[derive(Debug, PartialEq, Eq)]
pub(in crate::worker) enum Event {
    Opened,
    /// From another worker.
    Taken,
    /// By a process that the kernel knows.
    OpenedBy(Credentials, Party),
    Refused {
        queued: u64,
    },
    /// Asked whether the hub has heard all, and has said no.
    Waits,
    Closed(End),
}

pub(super) struct Script {
    desk: Desk,
    mode: Mode,
    chunk: u32,
    sessions: Vec<Token>,
    was_woken: bool,
    events: Sender<Event>,
}

impl Script {
    pub(super) fn new(mode: Mode, events: Sender<Event>) -> Script {
        Script {
            desk: Desk::default(),
            mode,
            chunk: 0,
            sessions: Vec::new(),
            was_woken: false,
            events,
        }
    }

    fn tell(&self, event: Event) {
        // A test that is no longer interested has dropped its end.
        let _ = self.events.send(event);
    }

    fn pour(&mut self, session: Token) {
        loop {
            let chunk = [self.chunk.to_le_bytes(); CHUNK / 4].concat();
            if self
                .desk
                .write(session, Said::Bytes(&chunk), false)
                .is_err()
            {
                let queued = self.desk.queued(session).expect("it is open");
                return self.tell(Event::Refused { queued });
            }
            self.chunk += 1;
        }
    }
}

impl Protocol for Script {
    type State = ();

    fn open(&mut self, session: Token, facts: &Facts<'_>) -> Result<(), End> {
        self.sessions.push(session);
        self.tell(match facts.credentials {
            Some(credentials) => Event::OpenedBy(credentials, facts.peer),
            None => Event::Opened,
        });
        if self.mode == Mode::Source {
            self.pour(session);
        }
        Ok(())
    }

    fn feed(&mut self, session: Token, (): (), input: &[u8]) -> Fed {
        match self.mode {
            Mode::Echo | Mode::Stays | Mode::Refuses | Mode::Unheard => {
                match self.desk.write(session, Said::Lent(0, input.len()), false) {
                    Ok(()) => Fed::Took(input.len()),
                    Err(_) => Fed::Full,
                }
            }
            Mode::Once => {
                let bye = self.desk.write(session, Said::Bytes(b"bye"), false);
                bye.and(self.desk.close(session, Closing::Finish))
                    .expect("it is open and empty");
                Fed::Took(input.len())
            }
            Mode::Done => {
                let bye = self.desk.write(session, Said::Bytes(b"bye"), false);
                bye.and(self.desk.close(session, Closing::Done))
                    .expect("it is open and empty");
                Fed::Took(1)
            }
            Mode::Abort => Fed::Failed(End::Aborted),
            Mode::Deaf => Fed::Took(0),
            Mode::Source => Fed::Took(input.len()),
        }
    }

    fn peer_finished(&mut self, _: Token, (): ()) -> Result<bool, End> {
        Ok(false)
    }

    fn writable(&mut self, session: Token, (): ()) -> Result<(), End> {
        if self.mode == Mode::Source {
            self.pour(session);
        }
        Ok(())
    }

    fn closed(&mut self, session: Token, (): (), why: End) {
        self.sessions.retain(|open| *open != session);
        self.tell(Event::Closed(why));
    }

    fn carries(&self) -> bool {
        true
    }

    fn export(&mut self, _: Token, (): ()) -> Option<(u32, Vec<u8>)> {
        match self.mode {
            Mode::Stays => None,
            _ => Some((1, self.chunk.to_le_bytes().to_vec())),
        }
    }

    fn import(
        &mut self,
        session: Token,
        _: &Facts<'_>,
        _: u32,
        bytes: &[u8],
    ) -> Result<(), String> {
        if self.mode == Mode::Refuses {
            return Err("it does not want to".to_owned());
        }
        self.chunk = u32::from_le_bytes(bytes.try_into().expect("four bytes"));
        self.sessions.push(session);
        self.tell(Event::Taken);
        Ok(())
    }

    fn timer(&mut self, _: TimerToken, _: u64) {}

    fn wake(&mut self, token: u64) {
        self.was_woken = true;
        if self.mode == Mode::Unheard {
            return;
        }
        for session in &self.sessions {
            let bytes = token.to_le_bytes();
            self.desk
                .write(*session, Said::Bytes(&bytes), false)
                .expect("it is open and empty");
        }
    }

    fn drain(&mut self, _: u64) {}

    fn bus_published(&mut self) -> u64 {
        u64::from(self.mode == Mode::Unheard)
    }

    fn bus_has_settled(&mut self, published: u64) -> bool {
        let has_settled = published == 0 || self.was_woken;
        if !has_settled {
            self.tell(Event::Waits);
        }
        has_settled
    }

    fn desk(&mut self) -> &mut Desk {
        &mut self.desk
    }
}
