//! The books of the fake host: what the plugin asks for during a call is answered and noted here,
//! and carried out by `host` afterwards. Nothing here calls the plugin.
//!
//! Invariant: `sessions` holds exactly those that are open; whatever a plugin names that was never
//! handed out is a broken rule, and what has ended is answered as gone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write;
use std::ops::Range;
use std::sync::Arc;

use super::Logged;
use super::bus::Seat;
use super::diary::Diary;
use super::faults::Refusals;
use super::files::Queued;
use super::metrics::Metrics;
use super::wakers::{FakeWaker, Inbox};
use crate::abi;
use crate::facts::Address;
use crate::glue::caller::FakeJob;
use crate::{Level, TimerId};

/// A datagram that the plugin has sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// To whom.
    pub to: Address,
    /// What.
    pub payload: Vec<u8>,
}

/// Reply tokens are above this, so that a made-up one is noticed.
const REPLY_TOKENS_FROM: u64 = 1000;
/// A datagram holds no more.
const PAYLOAD_BYTES_MAX: usize = 65_507;

pub(crate) struct Ledger {
    pub(crate) now_ms: u64,
    pub(crate) sessions: BTreeMap<abi::Session, Output>,
    pub(crate) ended: BTreeSet<abi::Session>,
    pub(crate) timers: BTreeMap<abi::Timer, Armed>,
    pub(crate) wakers: Vec<Arc<FakeWaker>>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) log: Vec<Logged>,
    pub(crate) sent: Vec<Sent>,
    /// Peers of the datagrams so far, as far as their tokens are good.
    flows: VecDeque<Address>,
    flows_gone: u64,
    /// Datagrams that the running callback may still send.
    sends_left: usize,
    sends_max: usize,
    pub(crate) faults: Vec<String>,
    /// The callback that runs now.
    pub(crate) during: Option<&'static str>,
    /// It has reported a fault.
    pub(crate) faulted: bool,
    broken: Vec<String>,
    transcript: String,
    timers_made: u64,
    pub(crate) refusals: Refusals,
    output_bytes_max: usize,
    /// Extensions that it does not offer.
    pub(crate) lacks: Vec<String>,
    /// Files are not in memory before a test says so.
    pub(crate) cold_files: bool,
    /// All ranges that were queued so far, by session.
    pub(crate) sent_files: BTreeMap<abi::Session, Vec<Range<u64>>>,
    pub(crate) jobs: VecDeque<FakeJob>,
    /// `None` once the instance is about to be destroyed.
    pub(crate) jobs_max: Option<usize>,
    pub(crate) bus: Seat,
    pub(crate) metrics: Metrics,
    pub(crate) diary: Diary,
}

#[derive(Default)]
pub(crate) struct Output {
    pub(crate) queued: Vec<u8>,
    /// Between those bytes.
    pub(crate) files: Vec<Queued>,
    /// How many there were so far.
    pub(crate) files_sent: usize,
    pub(crate) finished: bool,
    pub(crate) closing: Option<Closing>,
    pub(crate) paused: bool,
    /// How much was queued when a write was refused: `writable` is owed.
    pub(crate) refused: Option<usize>,
    /// A write could never have succeeded.
    pub(crate) hopeless: bool,
    /// It was refused because the test said so.
    pub(crate) forced: bool,
    pub(crate) idle_ms: u64,
}

/// What an output was before a feed.
pub(crate) struct Before {
    queued: usize,
    files: usize,
    files_sent: usize,
    finished: bool,
}

impl Output {
    pub(crate) fn before(&self) -> Before {
        Before {
            queued: self.queued.len(),
            files: self.files.len(),
            files_sent: self.files_sent,
            finished: self.finished,
        }
    }

    /// Nothing follows, and all has left.
    pub(crate) fn has_said_all(&self) -> bool {
        self.finished && self.left() == 0
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closing {
    Finish,
    Abort,
}

pub(crate) struct Armed {
    pub(crate) due_ms: u64,
    pub(crate) token: u64,
}

impl Ledger {
    pub(crate) fn new(
        refusals: Refusals,
        output_bytes_max: usize,
        sends_max: usize,
        jobs_max: usize,
        bus: Seat,
    ) -> Ledger {
        Ledger {
            now_ms: 1_000_000,
            sessions: BTreeMap::new(),
            ended: BTreeSet::new(),
            timers: BTreeMap::new(),
            wakers: Vec::new(),
            inbox: Arc::new(Inbox::new()),
            log: Vec::new(),
            sent: Vec::new(),
            flows: VecDeque::new(),
            flows_gone: 0,
            sends_left: sends_max,
            sends_max,
            faults: Vec::new(),
            during: None,
            faulted: false,
            broken: Vec::new(),
            transcript: String::new(),
            timers_made: 0,
            refusals,
            output_bytes_max,
            lacks: Vec::new(),
            cold_files: false,
            sent_files: BTreeMap::new(),
            jobs: VecDeque::new(),
            jobs_max: Some(jobs_max),
            bus,
            metrics: Metrics::default(),
            diary: Diary::default(),
        }
    }

    /// The books of the same world, for another instance: its time, its past, its refusals to come.
    pub(crate) fn continue_from(&mut self, before: &mut Ledger) {
        self.now_ms = before.now_ms;
        self.ended = before.ended.clone();
        self.refusals = std::mem::take(&mut before.refusals);
        self.sent = std::mem::take(&mut before.sent);
        let mut log = before.log.clone();
        log.append(&mut self.log);
        self.log = log;
        self.transcript.insert_str(0, &before.transcript);
    }

    // --- the host's side -----------------------------------------------------------------------

    pub(crate) fn note(&mut self, line: std::fmt::Arguments<'_>) {
        let indent = if self.during.is_some() { "  " } else { "" };
        writeln!(self.transcript, "{indent}{line}").expect("a String takes everything");
        self.diary.keep(&self.transcript);
    }

    pub(crate) fn broke(&mut self, rule: impl Into<String>) {
        let rule = rule.into();
        self.note(format_args!("BROKEN: {rule}"));
        self.broken.push(rule);
    }

    pub(crate) fn first_broken(&mut self) -> Option<String> {
        let elsewhere = self.inbox.take_broken();
        self.broken.extend(elsewhere);
        (!self.broken.is_empty()).then(|| self.broken.remove(0))
    }

    pub(crate) fn transcript(&self) -> &str {
        &self.transcript
    }

    pub(crate) fn leaked_wakers(&self) -> usize {
        self.wakers.iter().filter(|waker| !waker.is_freed()).count()
    }

    /// A datagram came: its reply token.
    pub(crate) fn flow(&mut self, peer: Address) -> u64 {
        self.flows.push_back(peer);
        if self.flows.len() as u64 > abi::REPLIES {
            self.flows.pop_front();
            self.flows_gone += 1;
        }
        REPLY_TOKENS_FROM + self.flows_gone + self.flows.len() as u64
    }

    /// A callback begins, and a batch with it.
    pub(crate) fn begin_batch(&mut self) {
        self.sends_left = self.sends_max;
    }

    /// A feed was answered as full: what it wrote to its own session never was.
    pub(crate) fn undo(&mut self, session: abi::Session, before: Before) {
        if let Some(output) = self.sessions.get_mut(&session) {
            output.queued.truncate(before.queued);
            output.files.truncate(before.files);
            output.finished = before.finished;
            output.refused = Some(output.left());
            output.files_sent = before.files_sent;
            let sent = self.sent_files.entry(session).or_default();
            sent.truncate(before.files_sent);
        }
    }

    // --- the plugin's side ---------------------------------------------------------------------

    pub(crate) fn write(&mut self, session: abi::Session, bytes: &[u8], flags: u32) -> abi::Status {
        if flags & !abi::WRITE_FINISH != 0 {
            self.broke(format!("write with unknown flags {flags:#x}"));
            return abi::E_ARG;
        }
        let finish = flags == abi::WRITE_FINISH;
        let status = self.try_write(session, bytes, finish);
        let how = if finish { " and finish" } else { "" };
        self.note(format_args!(
            "write {session} {}{how}{}",
            shown(bytes),
            refusal(status)
        ));
        status
    }

    fn try_write(&mut self, session: abi::Session, bytes: &[u8], finish: bool) -> abi::Status {
        // Nothing always fits.
        let forced = !bytes.is_empty() && self.refusals.is_write_due();
        let max = self.output_bytes_max;
        let output = match self.alive("write", session) {
            Ok(output) if output.finished => return abi::E_GONE,
            Ok(output) => output,
            Err(status) => return status,
        };
        if forced || output.queued.len() + bytes.len() > max {
            output.refused = Some(output.left());
            (output.hopeless, output.forced) = (output.hopeless || bytes.len() > max, forced);
            return abi::E_FULL;
        }
        output.queued.extend_from_slice(bytes);
        output.finished = finish;
        abi::OK
    }

    pub(crate) fn close(&mut self, session: abi::Session, how: u32, why: &str) -> abi::Status {
        let (closing, verb) = match how {
            abi::CLOSE_FINISH => (Closing::Finish, "close"),
            abi::CLOSE_ABORT => (Closing::Abort, "abort"),
            abi::CLOSE_DONE => (Closing::Finish, "close, done,"),
            _ => {
                self.broke(format!("close in the unknown way {how}"));
                return abi::E_ARG;
            }
        };
        let status = match self.alive("close", session) {
            Ok(output) => {
                output.closing = Some(closing);
                output.finished = true;
                abi::OK
            }
            Err(status) => status,
        };
        self.note(format_args!(
            "{verb} {} {why:?}{}",
            short(session),
            refusal(status)
        ));
        status
    }

    pub(crate) fn pause(&mut self, session: abi::Session, on: u32) -> abi::Status {
        if on > 1 {
            self.broke(format!("pause with {on}, which is neither 0 nor 1"));
            return abi::E_ARG;
        }
        let status = match self.alive("pause", session) {
            Ok(output) => {
                output.paused = on == 1;
                abi::OK
            }
            Err(status) => status,
        };
        let verb = if on == 1 { "pause" } else { "resume" };
        self.note(format_args!("{verb} {}{}", short(session), refusal(status)));
        status
    }

    pub(crate) fn queued(&mut self, session: abi::Session) -> Result<u64, abi::Status> {
        self.alive("queued", session)
            .map(|output| output.left() as u64)
    }

    pub(crate) fn idle(&mut self, session: abi::Session, idle_ms: u64) -> abi::Status {
        match self.alive("idle", session) {
            Ok(output) => {
                output.idle_ms = idle_ms;
                abi::OK
            }
            Err(status) => status,
        }
    }

    pub(crate) fn send(
        &mut self,
        via: u64,
        to: Option<&abi::Address>,
        payload: &[u8],
    ) -> abi::Status {
        self.in_callback("send");
        let back = match self.peer_of(via) {
            Ok(peer) => peer,
            Err(status) => return status,
        };
        let to = match to.map(Address::from_raw) {
            None | Some(Address::Unix) => back,
            Some(to) => to,
        };
        let refused = self.refuses("send");
        let status = if payload.len() > PAYLOAD_BYTES_MAX {
            abi::E_ARG
        } else if refused || self.sends_left == 0 {
            abi::E_FULL
        } else {
            abi::OK
        };
        self.note(format_args!(
            "send {to} {}{}",
            shown(payload),
            refusal(status)
        ));
        if status == abi::OK {
            self.sends_left -= 1;
            self.sent.push(Sent {
                to,
                payload: payload.to_vec(),
            });
        }
        status
    }

    fn peer_of(&mut self, via: u64) -> Result<Address, abi::Status> {
        let nth = via.checked_sub(REPLY_TOKENS_FROM + 1);
        let given = self.flows_gone + self.flows.len() as u64;
        let Some(nth) = nth.filter(|nth| *nth < given) else {
            self.broke(format!(
                "send with the reply token {via}, which no datagram had"
            ));
            return Err(abi::E_ARG);
        };
        nth.checked_sub(self.flows_gone)
            .and_then(|nth| self.flows.get(nth as usize))
            .copied()
            .ok_or(abi::E_GONE)
    }

    pub(crate) fn timer_set(&mut self, delay_ms: u64, token: u64) -> abi::Timer {
        self.timers_made += 1;
        let timer = self.timers_made;
        let due_ms = self.now_ms.saturating_add(delay_ms);
        self.timers.insert(timer, Armed { due_ms, token });
        self.note(format_args!(
            "timer_set {timer} in {delay_ms} ms with {token}"
        ));
        timer
    }

    pub(crate) fn timer_cancel(&mut self, timer: TimerId) -> abi::Status {
        let TimerId(timer) = timer;
        if timer == 0 || timer > self.timers_made {
            self.broke(format!("timer_cancel of {timer}, which is no timer"));
        }
        let known = self.timers.remove(&timer).is_some();
        let status = if known { abi::OK } else { abi::E_GONE };
        self.note(format_args!("timer_cancel {timer}{}", refusal(status)));
        status
    }

    pub(crate) fn submit(&mut self, job: FakeJob) -> abi::Status {
        let refused = self.refuses("submit");
        let status = match self.jobs_max {
            None => abi::E_CANCELLED,
            Some(max) if refused || self.jobs.len() >= max => abi::E_BUSY,
            Some(_) => abi::OK,
        };
        self.note(format_args!("submit {}{}", job.token, refusal(status)));
        if status == abi::OK {
            self.jobs.push_back(job);
        }
        status
    }

    pub(crate) fn waker_new(&mut self) -> Arc<FakeWaker> {
        let waker = Arc::new(FakeWaker::new(Arc::clone(&self.inbox)));
        self.wakers.push(Arc::clone(&waker));
        waker
    }

    pub(crate) fn log(&mut self, level: u32, session: abi::Session, text: &str) {
        let level = match level {
            abi::LOG_DEBUG => Level::Debug,
            abi::LOG_INFO => Level::Info,
            abi::LOG_WARNING => Level::Warning,
            abi::LOG_ERROR => Level::Error,
            _ => return self.broke(format!("log at the unknown level {level}")),
        };
        if session != 0 && !self.sessions.contains_key(&session) && !self.ended.contains(&session) {
            self.broke(format!("log about {session}, which never was a session"));
        }
        self.note(format_args!("log {level:?} {text:?}"));
        self.log.push(Logged {
            level,
            text: text.to_owned(),
        });
    }

    pub(crate) fn fault(&mut self, text: &str) {
        self.note(format_args!("fault {text:?}"));
        self.faults.push(text.to_owned());
        self.faulted = true;
    }

    pub(crate) fn alive(
        &mut self,
        call: &str,
        session: abi::Session,
    ) -> Result<&mut Output, abi::Status> {
        self.in_callback(call);
        if !self.sessions.contains_key(&session) && !self.ended.contains(&session) {
            self.broke(format!("{call} names {session}, which never was a session"));
        }
        match self.sessions.get_mut(&session) {
            Some(output) if output.closing.is_none() => Ok(output),
            _ => Err(abi::E_GONE),
        }
    }

    pub(crate) fn in_callback(&mut self, call: &str) {
        match self.during {
            None => self.broke(format!("{call} was called outside any callback")),
            Some("create") => self.broke(format!("{call} was called in create")),
            Some(_) => {}
        }
    }
}

/// A session's slot: its epoch is always the same here.
pub(crate) fn short(session: abi::Session) -> u32 {
    session as u32
}

pub(crate) fn refusal(status: abi::Status) -> String {
    match status {
        abi::OK => String::new(),
        abi::E_FULL => " -> full".to_owned(),
        abi::E_GONE => " -> gone".to_owned(),
        abi::E_BUSY => " -> busy".to_owned(),
        other => format!(" -> {other}"),
    }
}

/// Bytes for the transcript: readable, and not endless.
pub(crate) fn shown(bytes: &[u8]) -> String {
    const SHOWN_MAX: usize = 64;
    match bytes.len() {
        0..=SHOWN_MAX => format!("\"{}\"", bytes.escape_ascii()),
        n => format!("\"{}...\" ({n} bytes)", bytes[..SHOWN_MAX].escape_ascii()),
    }
}
