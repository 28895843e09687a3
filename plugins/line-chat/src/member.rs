//! What is remembered of one session, a member of the chat: little, for most are idle.
//!
//! Invariant: what a member waits for is in `stage`, and as long as it waits for anything no line of it
//! is looked at: input then waits in the daemon, and the session is not read.

use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;

use polyport_plugin::prelude::*;

use crate::format::Form;
use crate::line::Half;
use crate::names;
use crate::pace::Pace;
use crate::presence::{PREFIX, Person};
use crate::telnet::Telnet;

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Is asked for a nick.
    Nick,
    /// The bus is asked for its nick, at first or for another one.
    Claiming,
    /// The same, and the bus is away: it is read, and only leaving is possible.
    Stranded,
    /// Waits for what was said in the room it comes into.
    Entering,
    /// Is read as fast as it may speak.
    Talking,
    /// Has said more than it may; is read later.
    Slow,
    /// Its password is being looked at.
    Proving,
    /// What it has ordered is on its way round the bus.
    Ordering,
    /// Has left; only its output is still on its way.
    Left,
}

/// A room that it is in.
#[derive(Clone, Debug)]
pub(crate) struct Stay {
    pub(crate) room: Rc<str>,
    /// The last line of it that the session has had.
    pub(crate) seen: u64,
    /// The room's history is on its way.
    pub(crate) waits: bool,
    /// Was in it before, in another worker.
    pub(crate) carried: bool,
}

/// A nick that was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) nick: String,
    /// Not asked for before what was said under the old nick is heard everywhere before it.
    pub(crate) claim: Option<ClaimId>,
    /// With the token of an earlier session.
    pub(crate) resumes: bool,
    /// Another guest will do as well.
    pub(crate) guest: bool,
}

/// Names a session to everybody: so many hexadecimal digits. It lies in its member, for each line that
/// comes is asked of each member whether it is its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Id([u8; Id::DIGITS]);

impl Id {
    pub(crate) const DIGITS: usize = 12;

    pub(crate) fn of(text: &[u8]) -> Option<Id> {
        let digits = <[u8; Id::DIGITS]>::try_from(text).ok()?;
        digits
            .iter()
            .all(u8::is_ascii_hexdigit)
            .then_some(Id(digits))
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// One session. First is what each line that it is told is about.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Member {
    pub(crate) session: SessionId,
    /// Stays over a carry.
    pub(crate) id: Id,
    pub(crate) form: Form,
    pub(crate) echo: bool,
    /// Output is full: it gets what it has not seen when there is room.
    pub(crate) lags: bool,
    pub(crate) current: usize,
    pub(crate) stays: Vec<Stay>,
    pub(crate) ignored: Vec<Box<str>>,
    /// In its name nicks are claimed, so it stays secret; stays over a carry too.
    pub(crate) token: Box<str>,
    /// Empty until it has one.
    pub(crate) nick: Box<str>,
    pub(crate) stage: Stage,
    pub(crate) address: Address,
    pub(crate) telnet: Telnet,
    pub(crate) half: Half,
    pub(crate) pace: Pace,
    pub(crate) quiet: bool,
    pub(crate) operator: bool,
    /// It was told that its text is read as Latin-1.
    pub(crate) latin1: bool,
    /// It has asked for its token, so its nick is kept for a while when it is lost.
    pub(crate) may_resume: bool,
    /// The peer has finished: it leaves once all that it has said is done.
    pub(crate) finished: bool,
    /// It is on its way to another worker.
    pub(crate) exported: bool,
    /// Notices it has missed for want of room.
    pub(crate) skipped: u32,
    pub(crate) tries: u8,
    pub(crate) since_ms: u64,
    pub(crate) away: Option<Box<str>>,
    /// Who has written to it last: the session, and its nick.
    pub(crate) partner: Option<Box<(String, String)>>,
    pub(crate) claim: Option<ClaimId>,
    /// What it was claimed with is not granted yet.
    pub(crate) announcing: bool,
    pub(crate) wanted: Option<Box<Wanted>>,
}

impl Member {
    pub(crate) fn new(session: SessionId, address: Address, pace: Pace, since_ms: u64) -> Member {
        Member {
            session,
            // A secret has that form.
            id: Id::of(secret(Id::DIGITS).as_bytes()).unwrap_or(Id([b'0'; Id::DIGITS])),
            token: secret(32),
            nick: "".into(),
            stage: Stage::Nick,
            address,
            telnet: Telnet::default(),
            half: Half::default(),
            pace,
            form: Form::default(),
            quiet: false,
            echo: false,
            operator: false,
            latin1: false,
            may_resume: false,
            finished: false,
            exported: false,
            lags: false,
            skipped: 0,
            tries: 0,
            current: 0,
            since_ms,
            stays: Vec::new(),
            ignored: Vec::new(),
            away: None,
            partner: None,
            claim: None,
            announcing: false,
            wanted: None,
        }
    }

    pub(crate) fn is_named(&self) -> bool {
        !self.nick.is_empty()
    }

    /// Whether its input has to wait.
    pub(crate) fn is_held(&self) -> bool {
        match self.stage {
            Stage::Nick | Stage::Talking | Stage::Stranded => false,
            Stage::Claiming | Stage::Entering | Stage::Slow => true,
            Stage::Proving | Stage::Ordering | Stage::Left => true,
        }
    }

    pub(crate) fn folded(&self) -> String {
        names::fold(&self.nick)
    }

    /// The lease of its nick.
    pub(crate) fn key(&self) -> String {
        format!("{PREFIX}{}", self.folded())
    }

    pub(crate) fn ignores(&self, folded: &str) -> bool {
        self.ignored.iter().any(|it| &**it == folded)
    }

    pub(crate) fn room(&self) -> Option<&Rc<str>> {
        self.stays.get(self.current).map(|stay| &stay.room)
    }

    /// Into a room that it was not in before.
    pub(crate) fn is_coming(&self) -> bool {
        self.stays.iter().any(|stay| stay.waits && !stay.carried)
    }

    pub(crate) fn stay(&self, room: &str) -> Option<usize> {
        self.stays.iter().position(|stay| &*stay.room == room)
    }

    /// On this machine.
    pub(crate) fn is_local(&self) -> bool {
        match self.address {
            Address::Ip(address) => address.ip().to_canonical().is_loopback(),
            Address::Unix => true,
        }
    }

    pub(crate) fn ip(&self) -> Option<std::net::IpAddr> {
        match self.address {
            Address::Ip(address) => Some(address.ip().to_canonical()),
            Address::Unix => None,
        }
    }

    /// What everybody may know of it.
    pub(crate) fn person(&self, node: &str) -> Person {
        Person {
            id: self.id.text().to_owned(),
            node: node.to_owned(),
            nick: self.nick.to_string(),
            was: String::new(),
            since_ms: self.since_ms,
            address: self
                .ip()
                .map_or_else(|| "unix".to_owned(), |ip| ip.to_string()),
            operator: self.operator,
            rooms: self
                .stays
                .iter()
                .map(|stay| stay.room.to_string())
                .collect(),
            why: String::new(),
            away: self.away.as_deref().unwrap_or_default().to_owned(),
        }
    }
}

/// So many hexadecimal digits that nobody can guess: the hash of nothing under keys that the system
/// has made at random.
pub(crate) fn secret(digits: usize) -> Box<str> {
    let mut text = String::new();
    while text.len() < digits {
        text += &format!("{:016x}", RandomState::new().hash_one(text.len()));
    }
    text.truncate(digits);
    text.into()
}
