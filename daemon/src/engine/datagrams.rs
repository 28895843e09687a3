//! Datagrams: telling the protocol of one, by the same rules as of everything else.
//!
//! There is no connection and no state here; which way an answer goes is remembered by the desk's
//! outbox, and what is to be sent stays there until the worker has flushed the batch.
//!
//! Invariant: nothing is lent outside the call that it is lent for.

use super::outbox::Outbox;
use super::protocol::Protocol;
use super::session::DatagramFacts;
use super::streams::Streams;

impl<P: Protocol> Streams<P> {
    /// A datagram whose payload lies at `at` in the worker's batch, where it stays until the flush.
    pub fn datagram(&mut self, facts: &DatagramFacts<'_>, payload: &[u8], at: usize, now_ms: u64) {
        self.protocol.desk().outbox.lend(at, now_ms);
        let taken = self.protocol.datagram(facts, payload);
        self.protocol.desk().outbox.unlend();
        self.tally.datagrams_failed += u64::from(!taken);
        self.carry_out(None, now_ms);
        self.end_sessions(now_ms);
    }

    /// Ways to answer, and what is to be sent.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.protocol.desk().outbox
    }
}
