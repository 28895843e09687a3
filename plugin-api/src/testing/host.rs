//! The fake host itself: peers on one side, the plugin on the other, and between them the same rules
//! that the daemon keeps, played through until nothing moves any more.
//!
//! Invariant: every method returns with the world at rest; each session that was opened gets exactly
//! one `closed`, last.

mod carry;
mod line;
mod rounds;
mod threads;

use std::collections::BTreeMap;
use std::time::Duration;

use super::faults::Refusals;
use super::ledger::{Output, Sent, short, shown};
use super::settings::milliseconds;
use super::{Logged, Setup, Split};
use crate::abi;
use crate::facts::{Address, End};
use crate::glue::caller::{LentStream, Plugin, Refusal, Shared};
use crate::testing::ledger::Ledger;
use crate::{Error, Result};

use line::Line;

/// One peer of the plugin; stays valid for questions after its session has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer(abi::Session);

impl Peer {
    pub(crate) fn session(self) -> abi::Session {
        self.0
    }
}

/// A plugin's instance and its peers. When it is dropped, what is open is ended, the instance is
/// destroyed, and leaks or unexpected faults are a panic.
pub struct FakeHost {
    setup: Setup,
    /// Things that have happened to sessions.
    steps: usize,
    plugin: Plugin,
    pub(crate) shared: Box<Shared>,
    lines: BTreeMap<Peer, Line>,
    /// Those of sessions that were served, kept to notice late use.
    streams: Vec<LentStream>,
    split: Split,
    input_bytes_max: usize,
    output_bytes_max: usize,
    appetite: usize,
    draining: bool,
    destroyed: bool,
}

/// There is no instance, or would be none; see [`Setup::try_start`] and [`Setup::try_check`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The plugin's reason, or why it cannot be asked.
    pub why: String,
    /// The plugin gave no reason: `why` names its status, and that is all.
    pub is_wordless: bool,
    /// What its glue has reported: a panic in `create`.
    pub fault: Option<String>,
}

impl From<String> for Refused {
    fn from(why: String) -> Refused {
        Refused {
            why,
            is_wordless: false,
            fault: None,
        }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Refused {
        Refused {
            is_wordless: matches!(refusal, Refusal::Wordless(_)),
            ..Refused::from(refusal.to_string())
        }
    }
}

impl FakeHost {
    pub(crate) fn start(setup: &Setup) -> Result<FakeHost, Refused> {
        let mut plugin = Plugin::admit(setup.table, &setup.lacks)?;
        let settings = setup.lent_settings(&plugin)?;
        let ledger = Ledger::new(
            Refusals::new(setup.full_at, setup.refused_at),
            setup.output_bytes_max,
            setup.sends_max,
            setup.work_max,
            setup
                .bus
                .clone()
                .unwrap_or_default()
                .join(plugin.has_bus_sink()),
        );
        let shared = Shared::new(ledger, setup.host_table_bytes);
        shared.ledger().cold_files = setup.cold_files;
        shared.ledger().lacks.clone_from(&setup.lacks);
        shared.ledger().diary = setup.diary.clone();
        let written = setup.settings.iter();
        let written = written.map(|(name, text)| format!(" {name}={}", shown(text.as_bytes())));
        let written: String = written.collect();
        shared.ledger().note(format_args!("create{written}"));
        shared.ledger().during = Some("create");
        let created = plugin.create(&shared, &settings);
        shared.ledger().during = None;
        let mut host = FakeHost {
            setup: setup.clone(),
            steps: 0,
            plugin,
            shared,
            lines: BTreeMap::new(),
            streams: Vec::new(),
            split: setup.split,
            input_bytes_max: setup.input_bytes_max,
            output_bytes_max: setup.output_bytes_max,
            appetite: setup.appetite,
            draining: false,
            destroyed: created.is_err(),
        };
        if let Err(refusal) = created {
            // There is no instance to complain about later.
            let fault = host.take_faults().into_iter().next();
            return Err(Refused {
                fault,
                ..refusal.into()
            });
        }
        host.settle();
        Ok(host)
    }

    // --- peers ---------------------------------------------------------------------------------

    /// A new peer, from an address of its own: 127.0.0.1:50001, then 50002, ...
    #[track_caller]
    pub fn connect(&mut self) -> Peer {
        match self.try_connect(self.next_address()) {
            Ok(peer) => peer,
            Err(error) => self.fail(&format!("open was refused: {error}")),
        }
    }

    /// A new peer from anywhere; the error is the plugin's refusal.
    #[track_caller]
    pub fn try_connect(&mut self, from: Address) -> Result<Peer> {
        assert!(self.plugin.serves_streams(), "the plugin serves no streams");
        assert!(!self.draining, "a draining worker opens no sessions");
        let session = self.next_session();
        let now_ms = self.shared.ledger().now_ms;
        self.shared
            .ledger()
            .sessions
            .insert(session, Output::default());
        self.begin("open", format_args!("open {} from {from}", short(session)));
        let opened = self.plugin.open(session, from, now_ms);
        let faulted = self.finish_call();
        let state = match opened {
            Ok(state) => state,
            Err(status) => {
                let mut ledger = self.shared.ledger();
                ledger.sessions.remove(&session);
                ledger.ended.insert(session);
                drop(ledger);
                self.check_status("open", status);
                return Err(Error::check(status).expect_err("the call has failed"));
            }
        };
        let peer = Peer(session);
        self.lines
            .insert(peer, Line::new(state, from, now_ms, self.appetite));
        if faulted {
            self.end_session(peer, End::Fault);
        }
        self.settle();
        Ok(peer)
    }

    /// The peer sends bytes; they arrive as the [`Split`] says.
    #[track_caller]
    pub fn send(&mut self, peer: Peer, bytes: &[u8]) {
        let pieces = self.split.pieces(bytes);
        let now_ms = self.shared.ledger().now_ms;
        let line = self.line(peer);
        assert!(
            !line.peer_finished,
            "a peer that has finished sends nothing more"
        );
        line.arriving.extend(pieces);
        line.active_ms = now_ms;
        self.settle();
    }

    /// The peer sends the end of its stream and goes on reading.
    #[track_caller]
    pub fn peer_finishes(&mut self, peer: Peer) {
        self.line(peer).peer_finished = true;
        self.settle();
    }

    /// The peer resets the connection.
    #[track_caller]
    pub fn peer_vanishes(&mut self, peer: Peer) {
        if self.line(peer).end.is_none() {
            self.end_session(peer, End::Lost);
        }
        self.settle();
    }

    /// The peer reads nothing more, so that output piles up.
    #[track_caller]
    pub fn peer_stops_reading(&mut self, peer: Peer) {
        self.line(peer).appetite = 0;
    }

    /// The peer reads so many bytes more, and then nothing.
    #[track_caller]
    pub fn peer_reads(&mut self, peer: Peer, bytes: usize) {
        self.line(peer).appetite = bytes;
        self.settle();
    }

    /// The peer reads all there is from now on, as it does at first.
    #[track_caller]
    pub fn peer_reads_on(&mut self, peer: Peer) {
        self.peer_reads(peer, usize::MAX);
    }

    /// All that the peer has read.
    #[track_caller]
    pub fn received(&self, peer: Peer) -> &[u8] {
        &self.lines.get(&peer).expect("a peer of this host").received
    }

    /// What of it no conversation has looked at.
    #[track_caller]
    pub(super) fn unseen(&mut self, peer: Peer) -> Vec<u8> {
        let line = self.line(peer);
        let unseen = line.received[line.seen..].to_vec();
        line.seen = line.received.len();
        unseen
    }

    /// Bytes that the plugin has written and the peer has not read.
    pub fn queued(&self, peer: Peer) -> usize {
        self.shared
            .ledger()
            .sessions
            .get(&peer.0)
            .map_or(0, Output::left)
    }

    /// Whether the peer has read the end of our stream.
    #[track_caller]
    pub fn is_finished(&self, peer: Peer) -> bool {
        let ledger = self.shared.ledger();
        match ledger.sessions.get(&peer.0) {
            Some(output) => output.has_said_all(),
            None => self.end(peer) == Some(End::Finished),
        }
    }

    /// Why the session ended, if it has.
    #[track_caller]
    pub fn end(&self, peer: Peer) -> Option<End> {
        self.lines.get(&peer).expect("a peer of this host").end
    }

    /// A datagram arrives, sent to 127.0.0.1:7; the answer is the plugin's.
    #[track_caller]
    pub fn datagram(&mut self, from: Address, payload: &[u8]) -> Result {
        let local = Address::Ip(([127, 0, 0, 1], 7).into());
        self.datagram_to(local, false, from, payload)
    }

    /// A datagram arrives that was sent to an address of the test's choice, and perhaps `to_many`.
    #[track_caller]
    pub fn datagram_to(
        &mut self,
        local: Address,
        to_many: bool,
        from: Address,
        payload: &[u8],
    ) -> Result {
        assert!(
            self.plugin.serves_datagrams(),
            "the plugin serves no datagrams"
        );
        let reply_token = self.shared.ledger().flow(from);
        let callback = if self.plugin.serves_datagrams_on_threads() {
            "serve_datagram"
        } else {
            "datagram"
        };
        self.begin(
            callback,
            format_args!("{callback} from {from} {}", shown(payload)),
        );
        let status = self
            .plugin
            .datagram(from, local, to_many, reply_token, payload);
        self.finish_call();
        self.check_status(callback, status);
        self.settle();
        Error::check(status)
    }

    /// The datagrams that the plugin has sent since last asked.
    pub fn take_sent(&mut self) -> Vec<Sent> {
        std::mem::take(&mut self.shared.ledger().sent)
    }

    // --- the host ------------------------------------------------------------------------------

    /// Lets time pass: timers fire in their order, idle sessions end.
    #[track_caller]
    pub fn advance(&mut self, time: Duration) {
        let until = self.shared.ledger().now_ms + milliseconds(time);
        while let Some(next) = self.next_deadline().filter(|due| *due <= until) {
            let now = self.shared.ledger().now_ms;
            self.shared.ledger().now_ms = next.max(now);
            self.end_idle();
            self.settle();
        }
        self.shared.ledger().now_ms = until;
        self.settle();
    }

    /// The worker drains: no peer comes any more.
    #[track_caller]
    pub fn drain(&mut self, grace: Duration) {
        assert!(!self.draining, "a worker drains once");
        self.draining = true;
        self.begin("drain", format_args!("drain"));
        self.plugin.drain(milliseconds(grace));
        self.finish_call();
        self.settle();
    }

    /// The worker dies at once, as a crash would have it: nothing is told to the plugin any more, and
    /// what it holds on the bus is free.
    pub fn crash(self) {
        self.shared.ledger().bus.leave();
        std::mem::forget(self);
    }

    /// Ends all sessions and destroys the instance. What is left behind is checked on drop, so
    /// wakers that a test still holds can be tried before.
    #[track_caller]
    pub fn destroy(&mut self) {
        if std::mem::replace(&mut self.destroyed, true) {
            return;
        }
        let open: Vec<Peer> = self.open_peers();
        for peer in open {
            self.end_session(peer, End::Drain);
        }
        self.cancel_work();
        self.shared.ledger().bus.leave();
        self.begin("destroy", format_args!("destroy"));
        self.plugin.destroy();
        self.finish_call();
        self.shared.ledger().inbox.destroyed();
        self.check_rules();
    }

    /// Blocks until a thread of the plugin has used a waker, and delivers one token. Those that the
    /// plugin's callbacks themselves use are delivered without asking.
    #[track_caller]
    pub fn await_wake(&mut self) {
        let inbox = std::sync::Arc::clone(&self.shared.ledger().inbox);
        if !inbox.admit_from_elsewhere() {
            self.fail("nobody has used a waker for ten seconds");
        }
        self.settle();
    }

    /// Hears what others have done on the [bus](super::FakeBus). Whatever else a test does with this
    /// host lets it hear that as well.
    #[track_caller]
    pub fn hear_bus(&mut self) {
        self.settle();
    }

    /// Timers that are armed.
    pub fn timers(&self) -> usize {
        self.shared.ledger().timers.len()
    }

    /// Everything logged so far.
    pub fn log(&self) -> Vec<Logged> {
        self.shared.ledger().log.clone()
    }

    /// The panics that the plugin's glue has reported since last asked. A test that expects one
    /// takes it; one that is left is a panic in the end.
    pub fn take_faults(&mut self) -> Vec<String> {
        std::mem::take(&mut self.shared.ledger().faults)
    }

    /// All calls so far, in both directions, one a line.
    pub fn transcript(&self) -> String {
        self.shared.ledger().transcript().to_owned()
    }

    // --- rules ---------------------------------------------------------------------------------

    fn begin(&self, callback: &'static str, line: std::fmt::Arguments<'_>) {
        let mut ledger = self.shared.ledger();
        ledger.note(line);
        ledger.during = Some(callback);
        ledger.faulted = false;
        ledger.begin_batch();
    }

    /// Whether a fault was reported meanwhile.
    fn finish_call(&self) -> bool {
        let mut ledger = self.shared.ledger();
        ledger.during = None;
        ledger.faulted
    }

    #[track_caller]
    fn check_status(&self, callback: &str, status: abi::Status) {
        self.check_rules();
        if status > 0 {
            self.fail(&format!("{callback} answered {status}: success is 0"));
        }
    }

    #[track_caller]
    fn check_rules(&self) {
        let broken = self.shared.ledger().first_broken();
        if let Some(rule) = broken {
            self.fail(&rule);
        }
    }

    #[track_caller]
    fn fail(&self, what: &str) -> ! {
        let transcript = self.transcript();
        let lines: Vec<&str> = transcript.lines().collect();
        let last = lines[lines.len().saturating_sub(20)..].join("\n");
        panic!("the plugin broke a rule: {what}\nwhat happened last:\n{last}");
    }

    fn opened(&self) -> usize {
        let ledger = self.shared.ledger();
        ledger.sessions.len() + ledger.ended.len()
    }

    fn open_peers(&self) -> Vec<Peer> {
        self.shared
            .ledger()
            .sessions
            .keys()
            .map(|id| Peer(*id))
            .collect()
    }

    #[track_caller]
    fn line(&mut self, peer: Peer) -> &mut Line {
        self.lines.get_mut(&peer).expect("a peer of this host")
    }
}

impl Drop for FakeHost {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.destroy();
        let leaked = self.shared.ledger().leaked_wakers();
        if leaked > 0 {
            self.fail(&format!("{leaked} wakers were never freed"));
        }
        if let Some(fault) = self.take_faults().first() {
            self.fail(&format!(
                "it reported a fault that no test has taken: {fault}"
            ));
        }
    }
}
