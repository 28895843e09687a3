//! Sessions of the simulated worlds that are frozen at any moment, and go on later: where they were, or
//! made again from their bytes.

use super::World;
use crate::engine::carried::Carried;
use crate::engine::giving::NotTaken;
use crate::engine::session::Token;

impl World {
    /// Freezes this session, or decides what becomes of the one that is frozen.
    pub(super) fn carry(&mut self, token: Token) {
        let Some((frozen, bytes)) = self.frozen.take() else {
            if let Some(carried) = self.streams.give(token, self.now_ms) {
                let mut bytes = Vec::new();
                carried.write(&mut bytes);
                self.frozen = Some((token, bytes));
            }
            return;
        };
        if !self.streams.is_open(frozen) || self.random.below(3) == 0 {
            return self.streams.stay(frozen);
        }
        let carried = Carried::read(&bytes).expect("it was written so");
        match self.streams.take(&carried, self.now_ms) {
            // Here both are in one world, where the newcomer may be one silent session too many.
            Ok(taken) if !self.streams.is_open(frozen) => self.streams.given(taken, self.now_ms),
            Ok(taken) => {
                let peer = self.peers.remove(&frozen).expect("an open session has one");
                self.peers.insert(taken, peer);
                self.streams.given(frozen, self.now_ms);
                self.streams.stay(taken);
            }
            Err(NotTaken::Unfit) => self.streams.stay(frozen),
            Err(NotTaken::Refused(_)) => {
                self.streams.stay(frozen);
                self.streams.finish_open(frozen);
            }
        }
    }

    pub(super) fn thaw(&mut self) {
        if let Some((frozen, _)) = self.frozen.take() {
            self.streams.stay(frozen);
        }
    }
}
