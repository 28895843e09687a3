//! What runs on a thread: a task taken from the queue, with the scoreboard told of it, and what came of
//! it as a value for the event loop.
//!
//! How a session ends is decided here from what its handler answered and from what has cut it short;
//! what that does to the socket is done on the loop.
//!
//! Invariant: when the answer leaves, the thread holds nothing of the session any more.

use std::sync::Arc;

use slotmap::Key;

use super::session::Cut;
use super::stream::{Named, Stop, Waiting};
use super::{Done, Fate, Task, Visit};
use crate::engine::Passed;
use crate::engine::handler::{Errand, Job, SharedHandler};
use crate::engine::session::{End, Facts, Token};
use crate::scoreboard::{Callback, Scoreboard, Slot};

/// What each thread needs.
pub(super) struct Runner {
    pub(super) handler: Option<SharedHandler>,
    pub(super) stop: Arc<Stop>,
    pub(super) board: Scoreboard,
}

impl Runner {
    pub(super) fn run(&self, task: Task, number: usize) -> Done {
        let slot = self.board.slot(number);
        match task {
            Task::Serve(visit) => self.serve(*visit, &slot),
            Task::Run(job) => run(job, &slot),
            Task::Read(read) => Done::Read(read.run()),
        }
    }

    fn serve(&self, visit: Visit, slot: &Slot) -> Done {
        let Visit {
            token,
            session,
            facts,
            endpoint,
            kept,
            patience,
        } = visit;
        if let Some(passed) = session.ended_for() {
            return never_served(token, passed);
        }
        let facts = Facts {
            endpoint: &endpoint,
            ..facts
        };
        let handler = self
            .handler
            .as_ref()
            .expect("only a handler's sessions come here");
        let named = Named {
            session: token.data().as_ffi(),
            source: facts.peer.source(),
        };
        let mut stream = Waiting::new((&session, kept), &self.stop, patience, slot, named);
        slot.enter(Callback::Serve, named.session, named.source);
        let served = handler.serve(token, &facts, &mut stream);
        slot.leave();
        if served.verdict == Err(End::Fault) {
            slot.note_fault();
        }
        let cut = stream.cut();
        let (unsent, finished) = (stream.is_unsent(), stream.has_finished());
        let end = match cut {
            Some(cut) => cut.end(),
            None => served.verdict.err().unwrap_or(End::Finished),
        };
        let fate = match end {
            End::Aborted | End::Fault | End::File => Fate::Reset,
            _ if unsent => Fate::Reset,
            End::Idle | End::Limit | End::Lost => Fate::Close,
            End::Finished | End::Drain | End::Carried => Fate::Linger,
        };
        if matches!(fate, Fate::Linger) && !finished {
            session.socket.shut_writing();
        }
        Done::Session {
            token,
            end,
            passed: cut.and_then(Cut::passed),
            fate,
            log_dropped: served.log_dropped,
        }
    }
}

fn run(job: Job, slot: &Slot) -> Done {
    let (callback, source) = match job.errand {
        Errand::Job => (Callback::Run, 0),
        Errand::Datagram { source } => (Callback::Serve, source),
    };
    slot.enter(callback, 0, source);
    let end = (job.run)();
    slot.leave();
    Done::Job(job.token, end)
}

/// The loop has ended it before its turn came: no handler hears of it.
fn never_served(token: Token, passed: Passed) -> Done {
    Done::Session {
        token,
        end: End::Limit,
        passed: Some(passed),
        fate: Fate::Close,
        log_dropped: 0,
    }
}
