//! A plugin's lines in the daemon's log: named after their service, harmless, and not too many.
//!
//! Lines below the configured level cost nothing. Above [`LINES_PER_SECOND`] they are dropped and
//! counted, and the next second says how many were; faults are written by the daemon itself and are
//! not limited here.
//!
//! Invariant: within one second of the clock no more than that many lines of one instance pass.

use polyport_plugin::abi;
use tracing::field::display;

use super::text::{LOG_BYTES_MAX, escaped};
use crate::engine::session::Party;
use crate::plan::LogLevel;

pub(super) const LINES_PER_SECOND: u32 = 200;

#[derive(Debug)]
pub(super) struct PluginLog {
    pub(super) service: String,
    level: LogLevel,
    gate: Gate,
}

/// Whom a line is about.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct About {
    pub(super) session: Option<u64>,
    pub(super) peer: Option<Party>,
}

impl PluginLog {
    pub(super) fn new(service: &str, level: LogLevel) -> PluginLog {
        PluginLog {
            service: service.to_owned(),
            level,
            gate: Gate::default(),
        }
    }

    /// The lowest level that is not dropped, in the plugin's words.
    pub(super) fn level_word(&self) -> u32 {
        match self.level {
            LogLevel::Debug => abi::LOG_DEBUG,
            LogLevel::Info => abi::LOG_INFO,
            LogLevel::Warning => abi::LOG_WARNING,
            LogLevel::Error => abi::LOG_ERROR,
        }
    }

    pub(super) fn line(&mut self, now_ms: u64, level: u32, about: About, text: &[u8]) {
        if level < self.level_word() {
            return;
        }
        let service = self.service.as_str();
        match self.gate.pass(now_ms) {
            None => return,
            Some(0) => {}
            Some(missed) => tracing::warn!(
                target: "plugin",
                service,
                "{missed} lines dropped: the plugin logs more than {LINES_PER_SECOND} a second"
            ),
        }
        let text = escaped(text, LOG_BYTES_MAX);
        let (session, peer) = (about.session, about.peer.map(display));
        match level {
            abi::LOG_DEBUG => tracing::debug!(target: "plugin", service, session, peer, "{text}"),
            abi::LOG_INFO => tracing::info!(target: "plugin", service, session, peer, "{text}"),
            abi::LOG_WARNING => tracing::warn!(target: "plugin", service, session, peer, "{text}"),
            // A level of a newer minor is shown rather than lost.
            _ => tracing::error!(target: "plugin", service, session, peer, "{text}"),
        }
    }

    /// Lines dropped since last asked.
    pub(super) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.gate.uncounted)
    }
}

#[derive(Debug, Default)]
struct Gate {
    second: u64,
    lines: u32,
    /// Dropped and not yet mentioned in the log.
    missed: u64,
    /// Dropped and not yet counted on the scoreboard.
    uncounted: u64,
}

impl Gate {
    /// Whether a line may pass, and how many before it did not and were not mentioned yet.
    fn pass(&mut self, now_ms: u64) -> Option<u64> {
        let second = now_ms / 1000;
        if second != self.second {
            (self.second, self.lines) = (second, 0);
        }
        if self.lines >= LINES_PER_SECOND {
            self.missed += 1;
            self.uncounted += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.missed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_counted_and_mentioned_once() {
        let mut gate = Gate::default();
        let passed = (0..1000).filter(|_| gate.pass(5_000) == Some(0)).count();
        assert_eq!(passed, LINES_PER_SECOND as usize);
        assert_eq!(gate.uncounted, 800);
        assert_eq!(gate.pass(5_999), None);
        assert_eq!(gate.pass(6_000), Some(801));
        assert_eq!(gate.pass(6_001), Some(0));
    }
}
