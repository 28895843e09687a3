//! Line-chat: rooms for people with `nc` or `telnet`, and for programs with JSON lines.
//!
//! What a session is and does is kept in its worker ([`member`]); what all share is on the bus: each
//! room is a topic, each nick a lease, and who is where follows from the leases. So every worker shows
//! the same lines in the same order, and one that dies takes nobody's lines along.
//!
//! Here is only what the daemon calls; [`reading`] looks at input, [`login`] lets people in, [`acting`]
//! does what they ask for, [`hearing`] takes what the bus brings. Invariant: a line is shown as it came
//! from the bus, never before, unless the bus is away.
#![forbid(unsafe_code)]

use std::any::Any;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use polyport_plugin::bus::{Event, Start};
use polyport_plugin::prelude::*;

mod acting;
mod arrivals;
mod carried;
mod clock;
mod command;
mod counts;
mod delivery;
mod format;
mod gaps;
mod hearing;
mod json;
mod leaving;
mod line;
mod login;
mod mail;
mod member;
mod message;
mod names;
mod operating;
mod pace;
mod passwords;
mod presence;
mod reading;
mod record;
mod room;
mod rooms;
mod rules;
mod sanitise;
mod settings;
mod stranded;
mod telling;
mod telnet;
mod waiting;

use arrivals::Arrivals;
use counts::Counts;
use delivery::Delayed;
use gaps::Look;
use mail::{Mail, NODES};
use member::{Member, secret};
use pace::Pace;
use presence::Presence;
use record::Record;
use room::Room;
use rules::Rules;
use settings::Choices;
use waiting::Waiting;

/// Rooms that somebody may be in at once.
const ROOMS_MAX: usize = 8;
/// Nicks that somebody may ignore.
const IGNORED_MAX: usize = 64;
/// How long the nick of somebody who was lost, and who has a token, is kept.
const RESUME_MS: u64 = 600_000;
/// Nicks that are kept so in one worker; of more the oldest is given up.
const GHOSTS_MAX: usize = 1000;
/// How long the bus may be away before anybody is told.
const LINK_LOST_MS: u64 = 2000;
/// Told to those who are there, and to others of them, when this worker ends.
const STOPS: &str = "the server stops";
/// Between two looks at who waits for the clock.
const TICK_MS: u64 = 250;

/// The protocol of one service.
pub struct Chat {
    choices: Choices,
    counts: Counts,
    /// Names this instance to the others.
    node: String,
    started_ms: u64,
    members: Vec<Option<Box<Member>>>,
    free: Vec<u32>,
    /// Who has which nick here, folded.
    nicks: HashMap<String, u32>,
    claims: HashMap<ClaimId, u32>,
    rooms: BTreeMap<Rc<str>, Room>,
    followed: BTreeMap<SubscriptionId, Rc<str>>,
    /// Looks further back in history.
    looks: HashMap<SubscriptionId, Look>,
    presence: Presence,
    people: WatchId,
    /// Claimed once the people are watched: when it is won, all who were there before are known.
    arrival: ClaimId,
    is_present: bool,
    rules: Rules,
    orders: SubscriptionId,
    /// The orders that were given before have been read.
    is_ruled: bool,
    mail: Mail,
    delayed: Vec<Delayed>,
    /// Passwords that are being looked at, and whose they are to be.
    proofs: HashMap<WorkId, (u32, SessionId)>,
    record: Record,
    waiting: Waiting,
    arrivals: Arrivals,
    /// Until when who is to have a nick.
    logins: VecDeque<(u64, u32, SessionId)>,
    slow: Vec<(u32, SessionId)>,
    ghosts: VecDeque<Ghost>,
    /// Since when the bus is away, as it is at first.
    away_since_ms: Option<u64>,
    /// Everybody was told that it is.
    is_alone: bool,
    is_ticking: bool,
}

/// The nick of somebody who was lost and may come back.
#[derive(Debug)]
struct Ghost {
    until_ms: u64,
    key: String,
    token: Box<str>,
}

/// Where a session's member is.
#[derive(Debug)]
pub struct Seat(u32);

impl Default for Seat {
    fn default() -> Seat {
        Seat(u32::MAX)
    }
}

impl Configure for Chat {
    fn new(settings: &Settings, cx: &mut Context) -> Result<Self, String> {
        let choices = Choices::of(settings)?;
        let node = secret(12).to_string();
        let asked = |error: Error| format!("the bus cannot be used: {error}");
        let people = cx.watch(presence::PREFIX).map_err(asked)?;
        let mail = Mail::open(cx, &node).map_err(asked)?;
        let key = format!("{NODES}{node}");
        let counted = |error: Error| format!("its metrics cannot be defined: {error}");
        Ok(Chat {
            people,
            counts: Counts::define(cx).map_err(counted)?,
            mail,
            delayed: Vec::new(),
            arrival: cx.claim(&key, b"", node.as_bytes()).map_err(asked)?,
            orders: cx
                .subscribe(rules::TOPIC, Start::Last(rules::ORDERS_MAX))
                .map_err(asked)?,
            arrivals: Arrivals::new(choices.joins_per_minute, choices.joins_written),
            proofs: HashMap::new(),
            record: Record::new(&choices.record),
            waiting: Waiting::new(&node),
            choices,
            node,
            started_ms: unix_ms(),
            members: Vec::new(),
            free: Vec::new(),
            nicks: HashMap::new(),
            claims: HashMap::new(),
            rooms: BTreeMap::new(),
            followed: BTreeMap::new(),
            looks: HashMap::new(),
            presence: Presence::default(),
            is_present: false,
            rules: Rules::default(),
            is_ruled: false,
            logins: VecDeque::new(),
            slow: Vec::new(),
            ghosts: VecDeque::new(),
            away_since_ms: Some(now_ms(cx)),
            is_alone: false,
            is_ticking: false,
        })
    }

    fn check(settings: &Settings) -> Result<(), String> {
        Choices::of(settings).map(drop)
    }
}

impl Protocol for Chat {
    type Session = Seat;

    const OPTIONS: &'static [Opt] = settings::OPTIONS;
    const BUS: bool = true;
    const NEEDS: Needs = Needs {
        files_write: &[c"$record"],
        ..Needs::NOTHING
    };
    const CARRY_FORMAT: Option<u32> = Some(carried::FORMAT);

    fn open(&mut self, cx: &mut Context, session: SessionId, facts: &Facts) -> Result<Seat> {
        let pace = Pace::new(self.choices.rate, now_ms(cx));
        let member = Member::new(session, facts.peer(), pace, unix_ms());
        let seat = self.sit(member);
        // Told only now: whoever is refused is told why, and that needs a session.
        self.greet(cx, seat);
        Ok(Seat(seat))
    }

    fn feed(
        &mut self,
        cx: &mut Context,
        _: SessionId,
        seat: &mut Seat,
        input: &[u8],
    ) -> Result<usize> {
        Ok(self.read(cx, seat.0, input))
    }

    fn peer_finished(&mut self, cx: &mut Context, _: SessionId, seat: &mut Seat) -> Result {
        self.read_end(cx, seat.0);
        Ok(())
    }

    fn writable(&mut self, cx: &mut Context, _: SessionId, seat: &mut Seat) {
        self.catch_up(cx, seat.0);
    }

    fn closed(&mut self, cx: &mut Context, _: SessionId, seat: Seat, why: End) {
        let id = self.member(seat.0).map(|member| member.id);
        if why == End::Carried {
            if let Some(id) = id {
                self.let_letters_go(cx, id.text());
            }
            self.forget(cx, seat.0);
        } else {
            self.lost(cx, seat.0, why);
        }
        if let Some(stay) = self.members.get_mut(seat.0 as usize)
            && stay.take().is_some()
        {
            self.free.push(seat.0);
        }
        if let Some(id) = id {
            self.try_letters_of(cx, id);
        }
    }

    fn export(
        &mut self,
        cx: &mut Context,
        session: SessionId,
        seat: &Seat,
        out: &mut Vec<u8>,
    ) -> Result {
        let order = self.waiting.order_of(session).cloned();
        let (rate, now_ms) = (self.choices.rate, now_ms(cx));
        let member = self.member(seat.0).ok_or(Error::Gone)?;
        let order = order.filter(|_| member.stage == member::Stage::Ordering);
        let pace_left = member.pace.left(rate, now_ms);
        member.exported = true;
        let id = member.id;
        let letters = self.letters_of(id.text());
        let member = self.member(seat.0).ok_or(Error::Gone)?;
        carried::export(member, order.as_ref(), &letters, pace_left, out);
        Ok(())
    }

    fn import(
        &mut self,
        cx: &mut Context,
        session: SessionId,
        facts: &Facts,
        format: u32,
        bytes: &[u8],
    ) -> Result<Seat, String> {
        if format != carried::FORMAT {
            return Err(format!("format {format} is not known here"));
        }
        let now_ms = now_ms(cx);
        let arrived = carried::import(bytes, session, facts.peer(), &self.choices, now_ms);
        let arrived = arrived.ok_or("what was carried makes no sense")?;
        let seat = self.sit(arrived.member);
        self.settle(cx, seat, arrived.wants);
        if arrived.proving {
            let text = "your password was not looked at; say /op once more";
            self.tell(cx, seat, "error", text);
        }
        if let Some(order) = arrived.order {
            self.give_again(cx, seat, order);
        }
        self.take_letters(cx, arrived.letters);
        if arrived.left_behind > 0 {
            let count = arrived.left_behind;
            let text = format!("{count} of your private lines may not have been heard");
            self.tell(cx, seat, "error", &text);
        }
        self.keep_ticking(cx);
        Ok(Seat(seat))
    }

    fn timer(&mut self, cx: &mut Context, _: TimerId, _: u64) {
        self.is_ticking = false;
        self.tick(cx);
        self.keep_ticking(cx);
    }

    fn worked(&mut self, cx: &mut Context, work: WorkId, result: Result<Box<dyn Any + Send>>) {
        match self.record.is_writing(work) {
            true => self.record.written(cx, result),
            false => self.has_worked(cx, work, result),
        }
    }

    /// Nobody who is still here has anywhere to go on: nicks are given up at once, and not when the peers
    /// have hung up.
    fn drain(&mut self, cx: &mut Context, _: Duration) {
        for seat in self.seats() {
            if self
                .member(seat)
                .is_some_and(|it| it.stage != member::Stage::Left)
            {
                self.tell(cx, seat, "notice", STOPS);
                self.leave(cx, seat, STOPS);
            }
        }
    }

    fn bus(&mut self, cx: &mut Context, event: Event<'_>) {
        self.hear(cx, event);
        self.keep_ticking(cx);
    }
}

impl Chat {
    fn member(&mut self, seat: u32) -> Option<&mut Member> {
        self.members
            .get_mut(seat as usize)
            .and_then(Option::as_deref_mut)
    }

    /// The seat of whoever has this session, if it is still there.
    fn seat_of(&self, seat: u32, session: SessionId) -> Option<u32> {
        let member = self.members.get(seat as usize)?.as_ref()?;
        (member.session == session).then_some(seat)
    }

    fn seats(&self) -> Vec<u32> {
        (0..)
            .zip(&self.members)
            .filter(|(_, it)| it.is_some())
            .map(|(seat, _)| seat)
            .collect()
    }

    fn sit(&mut self, member: Member) -> u32 {
        let member = Some(Box::new(member));
        if let Some(seat) = self.free.pop() {
            self.members[seat as usize] = member;
            return seat;
        }
        self.members.push(member);
        // A worker has far fewer sessions than that, by its descriptors alone.
        u32::try_from(self.members.len() - 1).unwrap_or(u32::MAX)
    }

    /// What waits for the clock: slow speakers, who has no nick yet, kept nicks, a bus that is away.
    fn tick(&mut self, cx: &mut Context) {
        let now_ms = now_ms(cx);
        for (seat, session) in std::mem::take(&mut self.slow) {
            if let Some(seat) = self.seat_of(seat, session) {
                self.let_speak(cx, seat, now_ms);
            }
        }
        while self.logins.front().is_some_and(|it| it.0 <= now_ms)
            && let Some((_, seat, session)) = self.logins.pop_front()
        {
            if let Some(seat) = self.seat_of(seat, session)
                && self.member(seat).is_some_and(|member| !member.is_named())
            {
                let waits = |it: &mut Member| {
                    matches!(it.stage, member::Stage::Stranded | member::Stage::Claiming)
                };
                if is_away(cx, session) || self.member(seat).is_some_and(waits) {
                    self.logins.push_back((now_ms + TICK_MS, seat, session));
                    break;
                }
                self.tell(cx, seat, "notice", "you have not told your nick in time");
                self.leave(cx, seat, "no nick in time");
            }
        }
        self.try_letters(cx);
        while self.ghosts.front().is_some_and(|it| it.until_ms <= now_ms)
            && let Some(ghost) = self.ghosts.pop_front()
        {
            let _ = cx.release(&ghost.key, ghost.token.as_bytes());
        }
        if self.away_since_ms.is_none() {
            self.give_up_letters(cx, now_ms);
        }
        if self
            .away_since_ms
            .is_some_and(|since| since + LINK_LOST_MS <= now_ms)
        {
            self.go_alone(cx);
        }
    }

    fn keep_ticking(&mut self, cx: &mut Context) {
        let idle = self.slow.is_empty()
            && self.logins.is_empty()
            && self.ghosts.is_empty()
            && self.delayed.is_empty()
            && !self.mail.awaits_receipts()
            && (self.away_since_ms.is_none() || self.is_alone);
        if !idle && !self.is_ticking {
            self.is_ticking = cx.timer_set(Duration::from_millis(TICK_MS), 0).is_ok();
        }
    }
}

/// Whether the session is on its way between two workers. Then nothing that it is asked for is done; if
/// it stays here, it is told that it is writable.
fn is_away(cx: &mut Context, session: SessionId) -> bool {
    // Nothing always fits otherwise.
    cx.write(session, b"") == Err(Error::Full)
}

/// The wall clock; before 1970 it is 1970.
fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// The clock that never goes back.
fn now_ms(cx: &Context) -> u64 {
    u64::try_from(cx.now().as_millis()).unwrap_or(u64::MAX)
}

export_plugin!(Chat, name = "line-chat");
