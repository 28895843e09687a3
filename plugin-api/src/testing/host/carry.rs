//! Sessions moving from one instance of the plugin to a fresh one, as on a reload.
//!
//! The fresh one has a host of its own, so that whatever the old instance still asks for is answered
//! there. Names of sessions stay, for tests hold on to them.
//!
//! Invariant: every session is told `closed` once by each instance that had it.

use super::{FakeHost, Peer};
use crate::facts::End;
use crate::testing::ledger::short;

impl FakeHost {
    /// Moves all open sessions to a fresh instance, by what the plugin exports and imports, and
    /// destroys the old one. Peers notice nothing: what was under way stays so.
    ///
    /// # Errors
    /// The plugin's reason, when it does not export or import a session. That session ends.
    #[track_caller]
    pub fn carry(&mut self) -> Result<(), String> {
        self.carry_changed(|_| ())
    }

    /// The same through something on the way that changes what was written down: a worker that a peer
    /// has taken over, or another version of the plugin.
    ///
    /// # Errors
    /// As for [`carry`](FakeHost::carry).
    #[track_caller]
    pub fn carry_changed(&mut self, mut change: impl FnMut(&mut Vec<u8>)) -> Result<(), String> {
        let mut setup = self.setup.clone();
        (setup.carried_at, setup.full_at, setup.refused_at) = (None, None, None);
        let mut fresh = setup.start()?;
        fresh.setup = self.setup.clone();
        fresh.steps = self.steps;
        fresh.draining = self.draining;
        fresh
            .shared
            .ledger()
            .continue_from(&mut self.shared.ledger());
        let mut refused = Ok(());
        for peer in self.open_peers() {
            if let Err(reason) = self.carry_one(peer, &mut fresh, &mut change) {
                self.end_session(peer, End::Aborted);
                fresh.shared.ledger().ended.insert(peer.0);
                refused = Err(reason);
            }
        }
        for (peer, line) in std::mem::take(&mut self.lines) {
            fresh.lines.entry(peer).or_insert(line);
        }
        std::mem::swap(self, &mut fresh);
        // The old instance is destroyed here, and looked after.
        drop(fresh);
        self.settle();
        refused
    }

    #[track_caller]
    fn carry_one(
        &mut self,
        peer: Peer,
        fresh: &mut FakeHost,
        change: &mut impl FnMut(&mut Vec<u8>),
    ) -> Result<(), String> {
        let line = &self.lines[&peer];
        let (state, address, accepted_ms) = (line.state, line.address, line.accepted_ms);
        self.begin("export", format_args!("export {}", short(peer.0)));
        let exported = self.plugin.export(peer.0, state);
        self.finish_call();
        self.check_rules();
        let (format, mut bytes) = exported?;
        change(&mut bytes);
        let mut books = self.shared.ledger();
        let output = books.sessions.get_mut(&peer.0).map(std::mem::take);
        drop(books);
        let output = output.expect("an open session is in the books");
        fresh.shared.ledger().sessions.insert(peer.0, output);
        fresh.begin("import", format_args!("import {}", short(peer.0)));
        let imported = fresh
            .plugin
            .import(peer.0, address, accepted_ms, format, &bytes);
        fresh.finish_call();
        fresh.check_rules();
        match imported {
            Err(reason) => {
                fresh.shared.ledger().sessions.remove(&peer.0);
                Err(reason)
            }
            Ok(state) => {
                let mut line = self.line(peer).clone();
                line.state = state;
                fresh.lines.insert(peer, line);
                self.end_session(peer, End::Carried);
                Ok(())
            }
        }
    }

    /// After something has happened to a session.
    #[track_caller]
    pub(super) fn carry_if_due(&mut self) {
        self.steps += 1;
        if self.setup.carried_at == Some(self.steps)
            && let Err(reason) = self.carry()
        {
            self.fail(&format!("a session was not carried: {reason}"));
        }
    }
}
