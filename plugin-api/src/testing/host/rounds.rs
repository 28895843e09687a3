//! The fake host's event loop: what can happen next, to which session, until nothing can.
//!
//! The rules are those of the header, in the same order as in the daemon: first what was said leaves,
//! then the plugin hears that there is room, then it is fed, then it hears of the end.
//!
//! Invariant: a session that has ended is in no list here, so nothing happens to it.

use super::{FakeHost, Peer};
use crate::abi;
use crate::facts::End;
use crate::testing::ledger::{Before, Closing, short, shown};

/// Rounds without coming to rest: a plugin that arms a timer of no delay in each timer, or the like.
const ROUNDS_MAX: usize = 100_000;

impl FakeHost {
    /// Plays on until nothing moves.
    #[track_caller]
    pub(crate) fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            self.check_rules();
            let mut moved = self.deliver_wake() | self.fire_timer() | self.hear_notice();
            for peer in self.open_peers() {
                if self.step(peer) {
                    moved = true;
                    self.carry_if_due();
                }
                self.check_rules();
            }
            if !moved {
                return;
            }
        }
        self.fail("the plugin does not come to rest");
    }

    /// The next thing that can happen to this session; true if something did.
    #[track_caller]
    fn step(&mut self, peer: Peer) -> bool {
        if self.end_if_due(peer) {
            return true;
        }
        self.flush(peer) | self.tell_writable(peer) | self.feed(peer) | self.tell_finished(peer)
    }

    /// True once the session has ended.
    #[track_caller]
    fn end_if_due(&mut self, peer: Peer) -> bool {
        let line = &self.lines[&peer];
        let ledger = self.shared.ledger();
        let Some(output) = ledger.sessions.get(&peer.0) else {
            return false;
        };
        let said_all = output.has_said_all();
        let why = match output.closing {
            Some(Closing::Abort) => End::Aborted,
            _ if output.hopeless => End::Limit,
            Some(Closing::Finish) if said_all => End::Finished,
            None if said_all && line.told_finished => End::Finished,
            _ => return false,
        };
        drop(ledger);
        self.end_session(peer, why);
        true
    }

    #[track_caller]
    fn flush(&mut self, peer: Peer) -> bool {
        let mut ledger = self.shared.ledger();
        let now_ms = ledger.now_ms;
        let line = self
            .lines
            .get_mut(&peer)
            .expect("an open session has its line");
        let Some(output) = ledger.sessions.get_mut(&peer.0) else {
            return false;
        };
        let Ok(left) = output.leave(line.appetite) else {
            drop(ledger);
            self.end_session(peer, End::File);
            return true;
        };
        let count = left.len();
        line.received.extend(left);
        if line.appetite != usize::MAX {
            line.appetite -= count;
        }
        if count > 0 {
            line.active_ms = now_ms;
        }
        count > 0
    }

    #[track_caller]
    fn tell_writable(&mut self, peer: Peer) -> bool {
        let max = self.output_bytes_max;
        let mut ledger = self.shared.ledger();
        let Some(output) = ledger.sessions.get_mut(&peer.0) else {
            return false;
        };
        let (Some(before), None) = (output.refused, output.closing) else {
            return false;
        };
        let queued = output.left();
        // Room again means less than there was; otherwise it would be refused once more, for ever.
        if queued > 0 && (queued >= before || queued * 4 > max) {
            return false;
        }
        output.refused = None;
        drop(ledger);
        let state = self.lines[&peer].state;
        self.begin("writable", format_args!("writable {}", short(peer.0)));
        self.plugin.writable(peer.0, state);
        if self.finish_call() {
            self.end_session(peer, End::Fault);
        } else {
            self.line(peer).held = false;
        }
        true
    }

    #[track_caller]
    fn feed(&mut self, peer: Peer) -> bool {
        let Some(before) = self.readable(peer) else {
            return false;
        };
        let input_bytes_max = self.input_bytes_max;
        let line = self.line(peer);
        line.take_arriving(input_bytes_max);
        if !line.unfed {
            return false;
        }
        line.unfed = false;
        let (state, input) = (line.state, line.input.clone());
        if let Some(output) = self.shared.ledger().sessions.get_mut(&peer.0) {
            output.forced = false;
        }
        self.begin(
            "feed",
            format_args!("feed {} {}", short(peer.0), shown(&input)),
        );
        let (status, consumed) = self.plugin.feed(peer.0, state, &input);
        self.shared
            .ledger()
            .note(format_args!("-> {status}, {consumed} consumed"));
        let faulted = self.finish_call();
        self.check_status("feed", status);
        let ledger = self.shared.ledger();
        let paused = ledger.sessions.get(&peer.0).is_some_and(|it| it.paused);
        drop(ledger);
        if faulted {
            self.end_session(peer, End::Fault);
        } else if status == abi::E_FULL {
            let mut ledger = self.shared.ledger();
            ledger.undo(peer.0, before);
            if let Some(output) = ledger.sessions.get_mut(&peer.0) {
                // Nothing leaves that could make room for all that this call has to say.
                output.hopeless |= output.left() == 0 && !output.forced;
            }
            drop(ledger);
            let line = self.line(peer);
            (line.unfed, line.held) = (true, true);
        } else if status < 0 {
            self.end_session(peer, End::Aborted);
        } else if consumed > input.len() {
            let n = input.len();
            self.fail(&format!(
                "feed claims to have consumed {consumed} of {n} bytes"
            ));
        } else if consumed == 0 && input.len() >= input_bytes_max && !paused {
            self.end_session(peer, End::Limit);
        } else {
            let line = self.line(peer);
            line.input.drain(..consumed);
            // What a pause has left comes again after it.
            line.unfed = paused && !line.input.is_empty();
        }
        true
    }

    /// Whether the plugin may be fed now, and then what its output is before.
    fn readable(&self, peer: Peer) -> Option<Before> {
        let line = &self.lines[&peer];
        let ledger = self.shared.ledger();
        let output = ledger.sessions.get(&peer.0)?;
        let stopped = line.held
            || output.paused
            || output.closing.is_some()
            || output.hopeless
            || output.left() * 2 >= self.output_bytes_max;
        (!stopped).then(|| output.before())
    }

    #[track_caller]
    fn tell_finished(&mut self, peer: Peer) -> bool {
        let line = &self.lines[&peer];
        let due = line.peer_finished && !line.told_finished;
        if !due || line.unfed || !line.arriving.is_empty() || self.readable(peer).is_none() {
            return false;
        }
        let state = line.state;
        let line = self.line(peer);
        line.told_finished = true;
        line.input.clear();
        if !self.plugin.finishes_by_itself() {
            let mut ledger = self.shared.ledger();
            let output = ledger
                .sessions
                .get_mut(&peer.0)
                .expect("readable sessions are open");
            output.finished = true;
            return true;
        }
        self.begin(
            "peer_finished",
            format_args!("peer_finished {}", short(peer.0)),
        );
        let status = self.plugin.peer_finished(peer.0, state);
        let faulted = self.finish_call();
        self.check_status("peer_finished", status);
        if faulted {
            self.end_session(peer, End::Fault);
        } else if status < 0 {
            self.end_session(peer, End::Aborted);
        }
        true
    }

    fn deliver_wake(&mut self) -> bool {
        let token = self.shared.ledger().inbox.take_token();
        if let Some(token) = token {
            self.begin("wake", format_args!("wake {token}"));
            self.plugin.wake(token);
            self.finish_call();
        }
        token.is_some()
    }

    fn hear_notice(&mut self) -> bool {
        let notice = self.shared.ledger().bus.next();
        if let Some(notice) = &notice {
            self.begin("bus", format_args!("bus {notice:?}"));
            self.plugin.tell(notice);
            self.finish_call();
        }
        notice.is_some()
    }

    fn fire_timer(&mut self) -> bool {
        let mut ledger = self.shared.ledger();
        let now_ms = ledger.now_ms;
        let due = ledger
            .timers
            .iter()
            .filter(|(_, armed)| armed.due_ms <= now_ms);
        let Some(timer) = due
            .min_by_key(|(id, armed)| (armed.due_ms, **id))
            .map(|(id, _)| *id)
        else {
            return false;
        };
        let armed = ledger.timers.remove(&timer).expect("it was just found");
        drop(ledger);
        self.begin("timer", format_args!("timer {timer} with {}", armed.token));
        self.plugin.timer(timer, armed.token);
        self.finish_call();
        true
    }

    pub(crate) fn next_deadline(&self) -> Option<u64> {
        let ledger = self.shared.ledger();
        let timers = ledger.timers.values().map(|armed| armed.due_ms);
        let idle = ledger
            .sessions
            .iter()
            .filter(|(_, output)| output.idle_ms > 0);
        let idle = idle.map(|(id, output)| self.lines[&Peer(*id)].active_ms + output.idle_ms);
        timers.chain(idle).min()
    }

    #[track_caller]
    pub(crate) fn end_idle(&mut self) {
        for peer in self.open_peers() {
            let ledger = self.shared.ledger();
            let idle_ms = ledger.sessions[&peer.0].idle_ms;
            let due = idle_ms > 0 && self.lines[&peer].active_ms + idle_ms <= ledger.now_ms;
            drop(ledger);
            if due {
                self.end_session(peer, End::Idle);
            }
        }
    }

    #[track_caller]
    pub(crate) fn end_session(&mut self, peer: Peer, why: End) {
        let mut ledger = self.shared.ledger();
        ledger.sessions.remove(&peer.0);
        ledger.ended.insert(peer.0);
        drop(ledger);
        let line = self.line(peer);
        assert!(line.end.is_none(), "the kit itself ended a session twice");
        line.end = Some(why);
        let state = line.state;
        self.begin("closed", format_args!("closed {} {why:?}", short(peer.0)));
        self.plugin.closed(peer.0, state, why);
        self.finish_call();
        self.check_rules();
    }
}
