//! The running plugin of one worker, as the engine's `Protocol`.
//!
//! It makes every callback, on one thread and one at a time, and turns statuses into what becomes of
//! the session. A broken rule (a panic that the plugin's glue reports, more consumed than was lent)
//! ends that session as a fault, with an error in the log that names plugin and callback; what
//! kills the process is for the supervisor to blame.
//!
//! Invariant: `closed` follows exactly once on each `open` that succeeded, `destroy` comes last, and
//! after it every waker answers that the instance is gone.

use std::ffi::c_void;
use std::net::{IpAddr, SocketAddr};
use std::ptr::null_mut;

use polyport_plugin::abi::{self, Status};
use slotmap::{Key, SecondaryMap};

use super::admit::Admitted;
use super::calls::{Inside as InCall, status_name};
use super::error::LoadError;
use super::host_state::{HostState, Inside, Life};
use super::log::PluginLog;
use super::options::Chosen;
use super::settings::{InstanceFacts, bytes};
use super::waker::{WakeQueue, WakeSource};
use crate::engine::desk::Desk;
use crate::engine::replies::REPLIES;
use crate::engine::session::{DatagramFacts, End, Facts, Fed, Party, Protocol, TimerToken, Token};
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
}

#[derive(Debug)]
pub struct Instance {
    admitted: Admitted,
    object: *mut c_void,
    host: &'static HostState,
    board: Scoreboard,
    slot: Slot,
}

/// What is kept of one session, where the engine has it at hand in every call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionState {
    /// The plugin's own: a word that is only ever given back to it.
    word: *mut c_void,
    /// The peer, for the scoreboard.
    source: u64,
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
        let host = HostState::new(Inside {
            desk: Desk::default(),
            log: PluginLog::new(facts.service, around.log_level),
            peers: SecondaryMap::new(),
            wakes,
            lent: 0..0,
            life: Life::Between,
            fault: None,
            now_ms: None,
            clock: around.clock,
        });
        let slot = around.board.slot(0);
        let mut instance = Instance {
            admitted,
            object: null_mut(),
            host,
            board: around.board,
            slot,
        };
        let create = |instance: &Instance| instance.admitted.create(host, chosen, facts);
        match instance.call(Callback::Create, Token::null(), 0, &[], create) {
            Ok(object) => {
                instance.object = object;
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

    fn inside(&mut self) -> &mut Inside {
        // SAFETY: an instance is not `Send`, so this is its thread; `&mut self` means that no
        // callback runs and no other reference was taken through here.
        unsafe { self.host.inside() }
    }

    /// One callback, announced and cleaned up after.
    #[inline]
    fn call<R>(
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
        let dropped = inside.log.take_dropped();
        if dropped > 0 {
            self.board.add(Counter::LogDropped, dropped);
        }
        returned
    }

    /// What a callback's status means for its session.
    #[inline]
    fn verdict(&mut self, callback: Callback, session: Token, status: Status) -> Result<(), End> {
        if self.inside().fault.is_some() || status == abi::E_PANIC {
            self.report_fault(callback, session, "it answered PP_E_PANIC");
            return Err(End::Fault);
        }
        if status >= 0 {
            return Ok(());
        }
        let inside = self.inside();
        let (service, callback) = (inside.log.service.as_str(), callback.name());
        let (session, status) = (session.data().as_ffi(), status_name(status));
        tracing::debug!(target: "plugin", service, session, "{callback} answered {status}");
        Err(End::Aborted)
    }

    /// One error for the administrator: in the plugin's own words, which its report has counted
    /// already, or `otherwise`.
    fn report_fault(&mut self, callback: Callback, session: Token, otherwise: &str) {
        let plugin = self.admitted.name().to_owned();
        let inside = self.inside();
        let what = inside.fault.take().unwrap_or_else(|| {
            inside.desk.fault(otherwise.to_owned());
            otherwise.to_owned()
        });
        let (service, callback) = (inside.log.service.as_str(), callback.name());
        let session = (!session.is_null()).then(|| session.data().as_ffi());
        tracing::error!(target: "plugin", service, session, "fault of plugin {plugin} in {callback}: {what}");
    }

    /// After a callback that no session can be blamed for.
    fn note_fault(&mut self, callback: Callback) {
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
        let info = session_info(facts);
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

    fn datagram(&mut self, facts: &DatagramFacts<'_>, payload: &[u8]) -> bool {
        let Some(datagram) = self.admitted.table.0.datagram else {
            return false;
        };
        let from = abi::Datagram {
            size: size_of::<abi::Datagram>() as u32,
            flags: if facts.to_many { abi::INFO_TO_MANY } else { 0 },
            peer: address(facts.peer),
            local: address(facts.local),
            reply_token: facts.reply,
            endpoint: bytes(facts.endpoint),
        };
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

    fn desk(&mut self) -> &mut Desk {
        &mut self.inside().desk
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some(destroy) = self.admitted.table.0.destroy {
            self.call(Callback::Destroy, Token::null(), 0, &[], |instance| {
                // SAFETY: `create` made the object, and no callback follows.
                unsafe { destroy(instance.object) }
            });
        }
        let inside = self.inside();
        inside.life = Life::Gone;
        inside.wakes.retire();
        (inside.desk, inside.peers) = (Desk::default(), SecondaryMap::new());
    }
}

fn session_info(facts: &Facts<'_>) -> abi::SessionInfo {
    abi::SessionInfo {
        size: size_of::<abi::SessionInfo>() as u32,
        flags: facts.credentials.map_or(0, |_| abi::INFO_CREDENTIALS),
        peer: address(facts.peer),
        local: address(facts.local),
        accepted_ms: facts.accepted_ms,
        endpoint: bytes(facts.endpoint),
        peer_pid: facts.credentials.map_or(0, |known| known.pid),
        peer_uid: facts.credentials.map_or(0, |known| known.uid),
        peer_gid: facts.credentials.map_or(0, |known| known.gid),
        reserved0: 0,
    }
}

/// An IPv4 peer of a dual-stack listener is shown as IPv4.
fn address(party: Party) -> abi::Address {
    let Party::Internet(socket) = party else {
        return abi::Address {
            family: abi::FAMILY_UNIX,
            ..abi::Address::default()
        };
    };
    let mut address = abi::Address {
        port: socket.port(),
        ..abi::Address::default()
    };
    match socket.ip().to_canonical() {
        IpAddr::V4(ip) => {
            address.family = abi::FAMILY_IPV4;
            address.ip[..4].copy_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            address.family = abi::FAMILY_IPV6;
            address.ip = ip.octets();
            if let SocketAddr::V6(socket) = socket {
                address.scope = socket.scope_id();
            }
        }
    }
    address
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_shown_as_the_family_it_is_of() {
        let cases = [
            (
                "192.0.2.7:7",
                abi::FAMILY_IPV4,
                vec![192, 0, 2, 7],
                1 << 32 | 0xc000_0207,
            ),
            (
                "[::ffff:192.0.2.7]:7",
                abi::FAMILY_IPV4,
                vec![192, 0, 2, 7],
                1 << 32 | 0xc000_0207,
            ),
            (
                "[2001:db8::9]:7",
                abi::FAMILY_IPV6,
                vec![0x20, 1, 0x0d, 0xb8],
                0x2001_0db8_0000_0000,
            ),
            (
                "[2001:db8::5]:7",
                abi::FAMILY_IPV6,
                vec![0x20, 1, 0x0d, 0xb8],
                0x2001_0db8_0000_0000,
            ),
            ("[::1]:7", abi::FAMILY_IPV6, vec![0, 0], 1),
        ];
        for (text, family, start, source) in cases {
            let socket: SocketAddr = text.parse().expect("an address");
            let shown = address(socket.into());
            assert_eq!((shown.family, shown.port), (family, 7), "{text}");
            assert!(shown.ip.starts_with(&start), "{text}");
            assert_eq!(Party::from(socket).source(), source, "{text}");
        }
    }
}
