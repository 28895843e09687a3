//! Complaints: what an administrator should know about limits and faults, each kind at most once a
//! second however often it happens. The exact numbers are on the scoreboard.

use std::io;

use nix::errno::Errno;

use super::gate::Refusal;
use crate::channel::ListenerBrief;
use crate::engine::Passed;
use crate::engine::session::Party;
use crate::scoreboard::Counter;

const EVERY_MS: u64 = 1000;

#[derive(Debug, Default)]
pub(super) struct Complaints {
    at_limit: Pace,
    out_of_descriptors: Pace,
    accept_failed: Pace,
    closed_at_limit: Pace,
    fault: Pace,
    receive_failed: Pace,
    queue_was_full: Pace,
    over_datagram_rate: Pace,
    refused: [Pace; 3],
    sources_full: Pace,
    passed: [Pace; Passed::ALL.len()],
    busy: Pace,
    no_thread: Pace,
    handler_time: Pace,
    file_failed: Pace,
    carry_refused: Pace,
}

impl Complaints {
    pub(super) fn at_limit(&mut self, now_ms: u64, listener: &ListenerBrief, max: usize) {
        if self.at_limit.allows(now_ms) {
            let endpoint = &listener.endpoint;
            tracing::warn!(
                %endpoint,
                "this worker has its {max} connections; more wait until one closes \
                 (limits.connections raises it)"
            );
        }
    }

    pub(super) fn out_of_descriptors(&mut self, now_ms: u64, listener: &ListenerBrief) {
        if self.out_of_descriptors.allows(now_ms) {
            let endpoint = &listener.endpoint;
            tracing::warn!(
                %endpoint,
                "out of file descriptors or memory while accepting; connections are refused \
                 (raise LimitNOFILE, or lower limits.connections)"
            );
        }
    }

    pub(super) fn accept_failed(
        &mut self,
        now_ms: u64,
        listener: &ListenerBrief,
        error: &io::Error,
    ) {
        if self.accept_failed.allows(now_ms) {
            tracing::error!(endpoint = %listener.endpoint, %error, "accept failed");
        }
    }

    pub(super) fn receive_failed(&mut self, now_ms: u64, listener: &ListenerBrief, error: Errno) {
        if self.receive_failed.allows(now_ms) {
            tracing::error!(endpoint = %listener.endpoint, %error, "receiving datagrams failed");
        }
    }

    pub(super) fn queue_was_full(&mut self, now_ms: u64, listener: &ListenerBrief, count: u32) {
        if self.queue_was_full.allows(now_ms) {
            let endpoint = &listener.endpoint;
            tracing::warn!(
                %endpoint,
                count,
                "datagrams were lost because the socket's queue was full \
                 (raise socket.receive_buffer, or workers)"
            );
        }
    }

    pub(super) fn over_datagram_rate(
        &mut self,
        now_ms: u64,
        listener: &ListenerBrief,
        peer: Party,
    ) {
        if self.over_datagram_rate.allows(now_ms) {
            let endpoint = &listener.endpoint;
            tracing::warn!(
                %endpoint,
                %peer,
                "datagrams of a source are dropped, it sends more than limits.datagram_rate allows"
            );
        }
    }

    pub(super) fn carry_refused(&mut self, now_ms: u64, reason: &str) {
        if self.carry_refused.allows(now_ms) {
            tracing::warn!("a session of the worker before this one is not taken over: {reason}");
        }
    }

    pub(super) fn closed_at_limit(&mut self, now_ms: u64, count: u64) {
        if self.closed_at_limit.allows(now_ms) {
            tracing::warn!(
                count,
                "connections closed at a limit: unread input above limits.input, \
                 or an answer above limits.output"
            );
        }
    }

    /// An administrator hears of limits that may be too low, and not of doors that are shut.
    pub(super) fn refused(&mut self, now_ms: u64, peer: Party, refusal: Refusal) {
        match refusal {
            Refusal::Source if self.refused[0].allows(now_ms) => tracing::warn!(
                %peer,
                "refused: its source has its connections (limits.per_source raises it)"
            ),
            Refusal::Rate if self.refused[1].allows(now_ms) => tracing::warn!(
                %peer,
                "refused: new connections come too fast (limits.rate and limits.burst raise it)"
            ),
            Refusal::Trapped if self.refused[2].allows(now_ms) => {
                tracing::warn!(%peer, "came to a sensor");
            }
            Refusal::Source | Refusal::Rate | Refusal::Trapped => {}
            Refusal::Access | Refusal::Banned => {
                tracing::debug!(%peer, why = ?refusal, "refused");
            }
        }
    }

    pub(super) fn sources_full(&mut self, now_ms: u64) {
        if self.sources_full.allows(now_ms) {
            tracing::warn!(
                "too many sources to count at once: some are let in without limits.per_source \
                 (more workers count more)"
            );
        }
    }

    pub(super) fn busy(&mut self, now_ms: u64) {
        if self.busy.allows(now_ms) {
            tracing::warn!(
                "all threads of this worker are busy and enough waits for one; more is refused \
                 (limits.threads or limits.queue raises it)"
            );
        }
    }

    pub(super) fn file_failed(&mut self, now_ms: u64, why: &str) {
        if self.file_failed.allows(now_ms) {
            tracing::warn!(
                "a file could not be sent to its end and its connection was reset: {why} \
                 (put a new file in the old one's place with a rename, instead of writing over it)"
            );
        }
    }

    pub(super) fn closed_for(&mut self, now_ms: u64, passed: Passed, count: u64) {
        if !self.passed[passed as usize].allows(now_ms) {
            return;
        }
        match passed {
            Passed::Lifetime => {
                tracing::warn!(count, "connections closed as too old (limits.lifetime)");
            }
            Passed::Progress => tracing::warn!(
                count,
                "connections closed: their input waited too long for the rest (limits.progress)"
            ),
            Passed::Stall => tracing::warn!(
                count,
                "connections closed: their peers took no output for too long (limits.stall)"
            ),
            Passed::Pending => tracing::warn!(
                count,
                "connections closed: too many had not said anything (limits.pending)"
            ),
            Passed::Header => tracing::warn!(
                count,
                "connections closed: no PROXY header from an address in access.proxy_from"
            ),
            Passed::Asked => tracing::info!(count, "connections ended: an operator wanted it"),
            Passed::Banned => tracing::info!(count, "connections closed: their source is banned"),
        }
    }

    pub(super) fn no_thread(&mut self, now_ms: u64, error: &io::Error) {
        if self.no_thread.allows(now_ms) {
            tracing::error!(%error, "no thread can be made; connections and jobs are refused");
        }
    }

    pub(super) fn handler_time(&mut self, now_ms: u64) {
        if self.handler_time.allows(now_ms) {
            tracing::warn!("a connection was served for longer than limits.handler, and closed");
        }
    }

    pub(super) fn fault(&mut self, now_ms: u64, text: &str) {
        if self.fault.allows(now_ms) {
            tracing::error!("the plugin broke a rule: {text}");
        }
    }
}

#[derive(Debug, Default)]
struct Pace {
    /// The earliest moment of the next one.
    next_ms: u64,
}

impl Pace {
    fn allows(&mut self, now_ms: u64) -> bool {
        let allowed = now_ms >= self.next_ms;
        if allowed {
            self.next_ms = now_ms + EVERY_MS;
        }
        allowed
    }
}

/// Where those are counted that were closed for it.
pub(super) fn closed_for(passed: Passed) -> Counter {
    match passed {
        Passed::Lifetime => Counter::ClosedLifetime,
        Passed::Progress => Counter::ClosedProgress,
        Passed::Stall => Counter::ClosedStalled,
        Passed::Pending => Counter::ClosedPending,
        Passed::Header => Counter::ClosedProxy,
        Passed::Banned => Counter::ClosedBanned,
        Passed::Asked => Counter::ClosedAsked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_one_complaint_a_second() {
        let mut pace = Pace::default();
        let said: Vec<u64> = (5..3500).filter(|now_ms| pace.allows(*now_ms)).collect();
        assert_eq!(said, [5, 1005, 2005, 3005]);
    }
}
