//! What somebody wants to be served instead of what is, how far that has come, and what may be gone
//! back to.
//!
//! Values and their bookkeeping. The way from a wish to a change is in `reload`.
//!
//! Invariant: at most one wish is under way, and at most [`WISHES_MAX`] wait.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::preparation::Preparation;
use crate::channel::StoredPlugin;
use crate::control::ReloadOutcome;
use crate::lifecycle::ServiceId;
use crate::plan::{Plan, Step, WORKERS_MAX};
use crate::sys::spawn::Program;

/// Wishes that wait for the change that is under way.
pub(super) const WISHES_MAX: usize = 8;

/// A plan and the code that belonged to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Snapshot {
    pub(super) plan: Plan,
    pub(super) codes: BTreeMap<String, StoredPlugin>,
}

/// What somebody wants.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Wish {
    pub(super) goal: Goal,
    /// Who wants it, for the log.
    pub(super) cause: String,
    pub(super) dry_run: bool,
    /// Operators who wait for the outcome.
    pub(super) askers: Vec<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Goal {
    /// What the files say.
    Files,
    /// What was.
    Return(Box<Snapshot>),
    /// What serves once it is this wish's turn, with so many workers, and these services anew
    /// whether they changed or not.
    Amended {
        workers: Option<Workers>,
        anew: BTreeSet<String>,
        because: Cow<'static, str>,
    },
    /// Another program in the supervisor's place.
    Program,
    /// Workers of the program that has taken it.
    Roll,
}

/// Workers that a service is to have.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Workers {
    Exactly {
        service: String,
        count: u16,
    },
    /// One more for each service.
    More,
    Fewer,
}

impl Workers {
    pub(super) fn amend(&self, plan: &mut Plan) {
        for (name, service) in &mut plan.services {
            service.workers = match self {
                Workers::Exactly { service, count } if service == name => *count,
                Workers::Exactly { .. } => service.workers,
                Workers::More => (service.workers + 1).min(WORKERS_MAX),
                Workers::Fewer => service.workers.saturating_sub(1).max(1),
            };
        }
    }
}

/// The change under way, those that wait, and what may be gone back to.
#[derive(Default)]
pub(super) struct Reloads {
    pub(super) under_way: Option<Reload>,
    pub(super) waiting: VecDeque<Wish>,
    /// What serves has proved itself as this.
    pub(super) proven: Option<Snapshot>,
    /// What served before the last change of anything but processes.
    pub(super) previous: Option<Snapshot>,
    pub(super) last: Option<ReloadOutcome>,
}

pub(super) struct Reload {
    pub(super) wish: Wish,
    pub(super) stage: Stage,
}

pub(super) enum Stage {
    /// The files are being read by this process.
    Checking(i32),
    /// The program that is to take over tries it, as this process.
    Rehearsing(Rehearsal),
    /// Plugins are being tried.
    Preparing(Box<Preparation>, BTreeMap<String, Step>),
    /// The lifecycle makes it, or gives it up.
    Changing(Box<Changing>),
}

pub(super) struct Rehearsal {
    pub(super) pid: i32,
    pub(super) program: Program,
    /// It could.
    pub(super) passed: bool,
}

pub(super) struct Changing {
    pub(super) plan: Plan,
    pub(super) steps: BTreeMap<String, Step>,
    pub(super) begun: Vec<(ServiceId, u32)>,
    pub(super) added: Vec<ServiceId>,
    pub(super) removed: Vec<ServiceId>,
}

impl Reloads {
    pub(super) fn start_from(&mut self, snapshot: Snapshot) {
        self.proven = Some(snapshot);
    }

    pub(super) fn prove(&mut self, snapshot: Snapshot) {
        tracing::info!("the last change has proved itself");
        self.proven = Some(snapshot);
    }

    /// What must stay in the store.
    pub(super) fn codes(&self) -> impl Iterator<Item = &StoredPlugin> {
        let snapshots = self.proven.iter().chain(&self.previous);
        let preparing = self
            .under_way
            .iter()
            .filter_map(|reload| match &reload.stage {
                Stage::Preparing(preparation, _) => Some(&preparation.codes),
                Stage::Checking(_) | Stage::Rehearsing(_) | Stage::Changing(_) => None,
            });
        let codes = snapshots.map(|snapshot| &snapshot.codes).chain(preparing);
        codes.flat_map(|codes| codes.values())
    }

    /// The next wish could be taken up, as far as this is concerned.
    pub(super) fn is_due(&self) -> bool {
        self.under_way.is_none() && !self.waiting.is_empty()
    }

    /// What may be gone back to.
    pub(super) fn proven(&self) -> Option<Snapshot> {
        self.proven.clone()
    }

    /// The change that the lifecycle has just decided about.
    pub(super) fn take_changing(&mut self) -> Option<(Wish, Changing)> {
        match self.under_way.take() {
            Some(Reload {
                wish,
                stage: Stage::Changing(changing),
            }) => Some((wish, *changing)),
            other => {
                self.under_way = other;
                None
            }
        }
    }
}
