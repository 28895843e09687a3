//! Datagrams that a thread serves: out to it, and what it has said back.
//!
//! Invariant: what is said to a datagram leaves from the loop, once.

use std::sync::{Arc, Mutex, PoisonError};

use super::handlers::{Answer, Handlers, HeldDatagram};
use super::instance::Instance;
use super::work::Owed;
use crate::engine::handler::{Errand, JobEnd};
use crate::engine::session::DatagramFacts;
use crate::scoreboard::Counter;

impl Instance {
    /// A datagram for a thread. One that is not taken is lost, and counted with the jobs refused.
    pub(super) fn hand_out(&mut self, facts: &DatagramFacts<'_>, payload: &[u8]) -> bool {
        let serves = |handlers: &Arc<Handlers>| handlers.serves_datagrams();
        let Some(handlers) = self.handlers.clone().filter(serves) else {
            return false;
        };
        let answer = Arc::new(Mutex::new(Answer::default()));
        let (held, place) = (HeldDatagram::new(facts, payload), answer.clone());
        let source = facts.peer.source();
        let serve = move || {
            let answer = handlers.serve_datagram(&held);
            *place.lock().unwrap_or_else(PoisonError::into_inner) = answer;
            JobEnd::Ran
        };
        let inside = self.inside();
        if let Ok(job) = inside.desk.submit(Errand::Datagram { source }, serve) {
            inside.jobs.owed.insert(job, Owed::Answer(answer));
        }
        true
    }

    /// What a thread has said to a datagram leaves from the loop.
    pub(super) fn answer(&mut self, answer: &Mutex<Answer>) {
        let mut answer = answer.lock().unwrap_or_else(PoisonError::into_inner);
        if answer.failed {
            self.board.add(Counter::DatagramsFailed, 1);
        }
        let desk = &mut self.inside().desk;
        for said in answer.replies.drain(..) {
            // What cannot be sent is counted by the outbox.
            let _ = desk.outbox.send(said.via, said.to, &said.bytes, None);
        }
        if let Some(text) = answer.fault.take() {
            desk.fault(text);
        }
    }
}
