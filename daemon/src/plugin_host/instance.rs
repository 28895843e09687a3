//! The running plugin of one worker, as the engine's `Protocol`.
//!
//! It makes every callback, on one thread and one at a time, and turns statuses into what becomes of
//! the session. A broken rule (a panic that the plugin's glue reports, more consumed than was lent)
//! ends that session as a fault, with an error in the log that names plugin and callback; what
//! kills the process is for the supervisor to blame.
//!
//! Invariant: `closed` follows exactly once on each `open` that succeeded; `destroy` comes last, and
//! not at all while a handler or a job runs; after it every waker answers that the instance is gone.

use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::Arc;

use polyport_plugin::abi::{self, Status};
use slotmap::Key;

use super::admit::Admitted;
use super::calls::{Inside as InCall, status_name};
use super::error::LoadError;
use super::facts;
use super::handlers::Handlers;
use super::host_state::{HostState, Inside, Life};
use super::log::PluginLog;
use super::options::Chosen;
use super::settings::InstanceFacts;
use super::waker::{WakeQueue, WakeSource};
use super::work::{Jobs, Owed};
use crate::engine::desk::Desk;
use crate::engine::handler::{JobEnd, JobToken, SharedHandler};
use crate::engine::protocol::{BusNews, Protocol};
use crate::engine::replies::REPLIES;
use crate::engine::roll::Beside;
use crate::engine::session::{DatagramFacts, End, Facts, Fed, TimerToken, Token};
use crate::hub::client::Client;
use crate::plan::LogLevel;
use crate::scoreboard::{Callback, Counter, Scoreboard, Slot};

// The header promises what the engine keeps.
const _: () = assert!(REPLIES as u64 == abi::REPLIES);

/// What an instance needs of its worker.
#[derive(Clone, Debug)]
pub struct Surroundings {
    pub board: Scoreboard,
    /// Milliseconds that never go back; the same clock as `Facts::accepted_ms`.
    pub clock: fn() -> u64,
    pub log_level: LogLevel,
    /// Jobs that may wait or run at once.
    pub jobs_max: usize,
    /// Different in each worker that ever was.
    pub seed: u64,
}

#[derive(Debug)]
pub struct Instance {
    pub(super) admitted: Admitted,
    pub(super) object: *mut c_void,
    host: &'static HostState,
    pub(super) board: Scoreboard,
    slot: Slot,
    /// The plugin as threads see it, if it is of the blocking style.
    pub(super) handlers: Option<Arc<Handlers>>,
    /// Where a session is exported to.
    pub(super) space: Vec<u8>,
}

/// What is kept of one session, where the engine has it at hand in every call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionState {
    /// The plugin's own: a word that is only ever given back to it.
    pub(super) word: *mut c_void,
    /// The peer, for the scoreboard.
    pub(super) source: u64,
}

impl Instance {
    /// To be called on the event loop's thread, where the instance then stays.
    pub fn create(
        admitted: Admitted,
        chosen: &Chosen,
        facts: &InstanceFacts<'_>,
        around: Surroundings,
    ) -> Result<Instance, LoadError> {
        let wakes = WakeQueue::new().map_err(|errno| LoadError::System {
            call: "eventfd",
            why: errno.desc().to_owned(),
        })?;
        let log = PluginLog::new(facts.service, around.log_level);
        let jobs = Jobs {
            has_sink: admitted.work_done.is_some(),
            ..Jobs::default()
        };
        let inside = Inside {
            desk: Desk::with_jobs(around.jobs_max),
            jobs,
            peers: Beside::default(),
            wakes,
            bus: admitted.bus_sink.map(|_| Client::new(around.seed)),
            lent: 0..0,
            life: Life::Between,
            is_young: true,
            fault: None,
            now_ms: None,
        };
        let host = HostState::new(log, around.clock, around.board.clone(), inside);
        let slot = around.board.slot(0);
        let mut instance = Instance {
            admitted,
            object: null_mut(),
            host,
            board: around.board,
            slot,
            handlers: None,
            space: Vec::new(),
        };
        let create = |instance: &Instance| instance.admitted.create(host, chosen, facts);
        match instance.call(Callback::Create, Token::null(), 0, &[], create) {
            Ok(object) => {
                instance.object = object;
                instance.inside().is_young = false;
                let serve = |blocking| {
                    let plugin = instance.admitted.name();
                    Arc::new(Handlers::new(blocking, object, host, plugin))
                };
                instance.handlers = instance.admitted.blocking.map(serve);
                Ok(instance)
            }
            Err(refused) => {
                // Without an instance there is nothing to destroy.
                instance.admitted.table.0.destroy = None;
                Err(refused)
            }
        }
    }

    /// Where the wake-ups of the plugin's own threads arrive; each token is owed a `wake`.
    pub fn wakes(&self) -> WakeSource {
        // SAFETY: between callbacks, on the instance's thread; only a counted reference is kept.
        WakeSource::new(unsafe { self.host.inside() }.wakes.clone())
    }

    pub(super) fn inside(&mut self) -> &mut Inside {
        // SAFETY: an instance is not `Send`, so this is its thread; `&mut self` means that no
        // callback runs and no other reference was taken through here.
        unsafe { self.host.inside() }
    }

    /// One callback, announced and cleaned up after.
    #[inline]
    pub(super) fn call<R>(
        &mut self,
        callback: Callback,
        session: Token,
        source: u64,
        lent: &[u8],
        call: impl FnOnce(&Instance) -> R,
    ) -> R {
        let inside = self.inside();
        let addresses = lent.as_ptr_range();
        inside.lent = addresses.start as usize..addresses.end as usize;
        (inside.life, inside.fault, inside.now_ms) = (Life::InCallback, None, None);

        let number = if session.is_null() {
            0
        } else {
            session.data().as_ffi()
        };
        let announced = InCall::enter(&self.slot, callback, number, source);
        let returned = call(self);
        drop(announced);

        let inside = self.inside();
        (inside.life, inside.lent) = (Life::Between, 0..0);
        let dropped = self.host.log.take_dropped();
        if dropped > 0 {
            self.board.add(Counter::LogDropped, dropped);
        }
        if self.inside().fault.is_some() {
            self.slot.note_fault();
        }
        returned
    }

    /// What a callback's status means for its session.
    #[inline]
    pub(super) fn verdict(
        &mut self,
        callback: Callback,
        session: Token,
        status: Status,
    ) -> Result<(), End> {
        if self.inside().fault.is_some() || status == abi::E_PANIC {
            self.report_fault(callback, session, "it answered PP_E_PANIC");
            return Err(End::Fault);
        }
        if status >= 0 {
            return Ok(());
        }
        let (service, callback) = (self.host.log.service.as_str(), callback.name());
        let (session, status) = (session.data().as_ffi(), status_name(status));
        tracing::debug!(target: "plugin", service, session, "{callback} answered {status}");
        Err(End::Aborted)
    }

    /// One error for the administrator: in the plugin's own words, which its report has counted
    /// already, or `otherwise`.
    pub(super) fn report_fault(&mut self, callback: Callback, session: Token, otherwise: &str) {
        let plugin = self.admitted.name().to_owned();
        let inside = self.inside();
        let what = inside.fault.take().unwrap_or_else(|| {
            inside.desk.fault(otherwise.to_owned());
            otherwise.to_owned()
        });
        let (service, callback) = (self.host.log.service.as_str(), callback.name());
        let session = (!session.is_null()).then(|| session.data().as_ffi());
        tracing::error!(target: "plugin", service, session, "fault of plugin {plugin} in {callback}: {what}");
    }

    /// After a callback that no session can be blamed for.
    pub(super) fn note_fault(&mut self, callback: Callback) {
        if self.inside().fault.is_some() {
            self.report_fault(callback, Token::null(), "");
        }
    }
}

impl Protocol for Instance {
    type State = SessionState;

    fn open(&mut self, session: Token, facts: &Facts<'_>) -> Result<SessionState, End> {
        self.inside().peers.insert(session, facts.peer);
        let mut state = SessionState {
            word: null_mut(),
            source: facts.peer.source(),
        };
        let Some(open) = self.admitted.table.0.open else {
            return Ok(state);
        };
        let info = facts::session(facts);
        let status = self.call(Callback::Open, session, state.source, &[], |instance| {
            let number = session.data().as_ffi();
            // SAFETY: `create` made the object; facts and state live during the call.
            unsafe { open(instance.object, number, &info, &mut state.word) }
        });
        let opened = self.verdict(Callback::Open, session, status);
        if opened.is_err() {
            self.inside().peers.remove(session);
        }
        opened.map(|()| state)
    }

    fn feed(&mut self, session: Token, state: SessionState, input: &[u8]) -> Fed {
        let Some(feed) = self.admitted.table.0.feed else {
            return Fed::Failed(End::Aborted);
        };
        let mut consumed = 0;
        let status = self.call(Callback::Feed, session, state.source, input, |instance| {
            let number = session.data().as_ffi();
            let (object, bytes) = (instance.object, input.as_ptr());
            // SAFETY: object and state are the plugin's own; the input lives during the call.
            unsafe {
                feed(
                    object,
                    number,
                    state.word,
                    bytes,
                    input.len(),
                    &mut consumed,
                )
            }
        });
        if status == abi::E_FULL && self.inside().fault.is_none() {
            return Fed::Full;
        }
        match self.verdict(Callback::Feed, session, status) {
            Err(end) => Fed::Failed(end),
            Ok(()) if consumed > input.len() => {
                let what = format!("it consumed {consumed} of {} bytes", input.len());
                self.report_fault(Callback::Feed, session, &what);
                Fed::Failed(End::Fault)
            }
            Ok(()) => Fed::Took(consumed),
        }
    }

    fn whereabouts(&self, state: SessionState) -> *const u8 {
        state.word.cast_const().cast()
    }

    fn peer_finished(&mut self, session: Token, state: SessionState) -> Result<bool, End> {
        let Some(peer_finished) = self.admitted.table.0.peer_finished else {
            return Ok(false);
        };
        let status = self.call(
            Callback::PeerFinished,
            session,
            state.source,
            &[],
            |instance| {
                // SAFETY: object and state are the plugin's own.
                unsafe { peer_finished(instance.object, session.data().as_ffi(), state.word) }
            },
        );
        self.verdict(Callback::PeerFinished, session, status)
            .map(|()| true)
    }

    fn writable(&mut self, session: Token, state: SessionState) -> Result<(), End> {
        let Some(writable) = self.admitted.table.0.writable else {
            return Ok(());
        };
        self.call(Callback::Writable, session, state.source, &[], |instance| {
            // SAFETY: object and state are the plugin's own.
            unsafe { writable(instance.object, session.data().as_ffi(), state.word) }
        });
        self.verdict(Callback::Writable, session, abi::OK)
    }

    fn closed(&mut self, session: Token, state: SessionState, why: End) {
        if let Some(closed) = self.admitted.table.0.closed {
            self.call(Callback::Closed, session, state.source, &[], |instance| {
                let number = session.data().as_ffi();
                // SAFETY: object and state are the plugin's own; it sees this state no more.
                unsafe { closed(instance.object, number, state.word, end_word(why)) }
            });
            self.note_fault(Callback::Closed);
        }
        self.inside().peers.remove(session);
    }

    fn carries(&self) -> bool {
        self.admitted.carry.is_some()
    }

    fn export(&mut self, session: Token, state: SessionState) -> Option<(u32, Vec<u8>)> {
        self.export_session(session, state)
    }

    fn import(
        &mut self,
        session: Token,
        facts: &Facts<'_>,
        format: u32,
        bytes: &[u8],
    ) -> Result<SessionState, String> {
        self.import_session(session, facts, format, bytes)
    }

    fn datagram(&mut self, facts: &DatagramFacts<'_>, payload: &[u8]) -> bool {
        let Some(datagram) = self.admitted.table.0.datagram else {
            return self.hand_out(facts, payload);
        };
        let from = facts::datagram(facts);
        let (callback, nobody) = (Callback::Datagram, Token::null());
        let source = facts.peer.source();
        let status = self.call(callback, nobody, source, payload, |instance| {
            let (object, start) = (instance.object, payload.as_ptr());
            // SAFETY: the object is the plugin's own; facts and payload live during the call.
            unsafe { datagram(object, &from, start, payload.len()) }
        });
        // Anybody can send many that are all at fault: the worker complains of them, at a pace.
        let inside = self.inside();
        if inside.fault.take().is_none() && status == abi::E_PANIC {
            inside.desk.fault("datagram answered PP_E_PANIC".to_owned());
        }
        status >= 0
    }

    fn timer(&mut self, timer: TimerToken, token: u64) {
        let Some(fire) = self.admitted.table.0.timer else {
            return;
        };
        self.call(Callback::Timer, Token::null(), 0, &[], |instance| {
            // SAFETY: the object is the plugin's own.
            unsafe { fire(instance.object, timer.data().as_ffi(), token) }
        });
        self.note_fault(Callback::Timer);
    }

    fn wake(&mut self, token: u64) {
        let Some(wake) = self.admitted.table.0.wake else {
            return;
        };
        self.call(Callback::Wake, Token::null(), 0, &[], |instance| {
            // SAFETY: the object is the plugin's own.
            unsafe { wake(instance.object, token) }
        });
        self.note_fault(Callback::Wake);
    }

    fn drain(&mut self, grace_ms: u64) {
        let Some(drain) = self.admitted.table.0.drain else {
            return;
        };
        self.call(Callback::Drain, Token::null(), 0, &[], |instance| {
            // SAFETY: the object is the plugin's own.
            unsafe { drain(instance.object, grace_ms) }
        });
        self.note_fault(Callback::Drain);
    }

    fn handler(&self) -> Option<SharedHandler> {
        self.handlers
            .clone()
            .map(|handlers| handlers as SharedHandler)
    }

    fn worked(&mut self, job: JobToken, end: JobEnd) {
        let (arg, token) = match self.inside().jobs.owed.remove(job) {
            Some(Owed::Plugin { arg, token }) => (arg, token),
            Some(Owed::Answer(answer)) => return self.answer(&answer),
            None => return,
        };
        let Some(done) = self.admitted.work_done else {
            return;
        };
        let status = match end {
            JobEnd::Cancelled => abi::E_CANCELLED,
            JobEnd::Ran | JobEnd::Faulted(_) => abi::OK,
        };
        if let JobEnd::Faulted(text) = end {
            let inside = self.inside();
            inside.fault = Some(text.clone());
            inside.desk.fault(text);
            self.report_fault(Callback::Run, Token::null(), "");
        }
        self.call(Callback::Done, Token::null(), 0, &[], |instance| {
            // SAFETY: the object is the plugin's own, and it gets back what it gave away.
            unsafe { done(instance.object, token, arg, status) }
        });
        self.note_fault(Callback::Done);
    }

    fn hear_bus(&mut self, news: BusNews<'_>) -> Result<bool, String> {
        self.tell_bus(news)
    }

    fn has_unanswered(&mut self) -> bool {
        let bus = self.inside().bus.as_ref();
        bus.is_some_and(Client::has_unanswered)
    }

    fn bus_published(&mut self) -> u64 {
        let bus = self.inside().bus.as_ref();
        bus.map_or(0, Client::published)
    }

    fn bus_has_settled(&mut self, published: u64) -> bool {
        let bus = self.inside().bus.as_ref();
        bus.is_none_or(|bus| bus.has_settled(published))
    }

    fn bus_output(&mut self, is_due: bool) -> &[u8] {
        let bus = self.inside().bus.as_ref();
        bus.map_or(&[], |bus| bus.output(is_due))
    }

    fn bus_sent(&mut self, bytes: usize) {
        if let Some(bus) = &mut self.inside().bus {
            bus.sent(bytes);
        }
    }

    fn desk(&mut self) -> &mut Desk {
        &mut self.inside().desk
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let handlers_gone = self.handlers.as_ref().is_none_or(|it| it.retire());
        // What still runs on a thread may use the object: then it stays as it is.
        let alone = handlers_gone && self.inside().jobs.owed.is_empty();
        if let Some(destroy) = self.admitted.table.0.destroy.filter(|_| alone) {
            self.call(Callback::Destroy, Token::null(), 0, &[], |instance| {
                // SAFETY: `create` made the object, and no callback follows.
                unsafe { destroy(instance.object) }
            });
        }
        let inside = self.inside();
        inside.life = Life::Gone;
        inside.wakes.retire();
        (inside.desk, inside.peers) = (Desk::default(), Beside::default());
    }
}

fn end_word(end: End) -> u32 {
    match end {
        End::Finished => abi::END_FINISHED,
        End::Aborted => abi::END_ABORTED,
        End::Lost => abi::END_LOST,
        End::Idle => abi::END_IDLE,
        End::Limit => abi::END_LIMIT,
        End::Drain => abi::END_DRAIN,
        End::Fault => abi::END_FAULT,
        End::File => abi::END_FILE,
        End::Carried => abi::END_CARRIED,
    }
}
