//! A worker that lives and does not answer: its plugin does not return, or its process was stopped.
//!
//! The first ends it when its time is over. The second does not: whoever stopped it will let it go on.
//! Either way nobody accepts in its stead meanwhile, which is told to whoever asks.
//!
//! Invariant: only a slot that serves is stuck.

use serde::{Deserialize, Serialize};

use super::{Phase, Slot};
use crate::lifecycle::Moment;
use crate::plan::LogLevel;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Stuck {
    pub(super) callback: String,
    pub(super) since_ms: u64,
    pub(super) on_thread: bool,
}

impl Slot {
    pub(in crate::lifecycle) fn stuck(
        &mut self,
        callback: String,
        since_ms: u64,
        on_thread: bool,
        moment: &mut Moment<'_>,
    ) {
        match &mut self.phase {
            Phase::Serving { stuck } => {
                let long_ms = moment.now_ms.saturating_sub(since_ms);
                let text = format!("its plugin has been in {callback} for {long_ms} ms");
                *stuck = Some(Stuck {
                    callback,
                    since_ms,
                    on_thread,
                });
                self.tell(LogLevel::Warning, text, moment);
            }
            // These end at a deadline of their own.
            Phase::Starting { .. } | Phase::Draining { .. } | Phase::Gone { .. } => {}
        }
    }

    pub(in crate::lifecycle) fn unstuck(&mut self) {
        match &mut self.phase {
            Phase::Serving { stuck } => *stuck = None,
            Phase::Starting { .. } | Phase::Draining { .. } | Phase::Gone { .. } => {}
        }
    }

    pub(in crate::lifecycle) fn stopped(&mut self, stopped: bool) {
        self.stopped = stopped;
    }

    /// Since when nobody accepts in its stead, as far as one can tell: now, if it was known before.
    pub(in crate::lifecycle) fn silent_since_ms(&self, now_ms: u64) -> Option<u64> {
        match &self.phase {
            Phase::Serving { stuck: Some(stuck) } if !stuck.on_thread => Some(stuck.since_ms),
            // Of that there is no doubt, so there is no need to wait.
            Phase::Serving { .. } => self.stopped.then_some(0),
            Phase::Starting { .. } | Phase::Draining { .. } | Phase::Gone { .. } => Some(now_ms),
        }
    }
}
