//! The worker's part in sending files, played at random: parts are in memory or are read first, sockets
//! take any number of their bytes, and now and then a file turns out to be too short.

use super::World;
use crate::engine::session::Token;
use crate::engine::streams::After;

impl World {
    /// Sends files for as long as the socket takes them.
    pub(super) fn send_file(&mut self, token: Token, generous: bool) {
        while let Some(piece) = self.streams.file_piece(token) {
            assert!(piece.left > 0 && piece.room > 0, "there is something to do");
            if piece.ready == 0 {
                let part = 1 + self.random.below(piece.left);
                match self.random.below(400) {
                    0 if !generous => return self.streams.file_failed(token, self.now_ms),
                    1..80 if !generous => {
                        self.streams.file_awaited(token);
                        assert!(self.streams.file_piece(token).is_none(), "it waits");
                        return self.reading.push(token);
                    }
                    _ => self.streams.file_found(token, part, self.now_ms),
                }
                continue;
            }
            let most = piece.ready.min(piece.room as u64) as usize;
            let bytes = match self.random.below(3) {
                _ if generous => most,
                0 => return,
                _ => 1 + self.random.below(most as u64) as usize,
            };
            let content = piece
                .file
                .as_kind::<Vec<u8>>()
                .expect("a file of the script");
            let from = piece.offset as usize;
            let peer = self.peers.get_mut(&token).expect("it is not parted with");
            assert!(!peer.fin_heard, "nothing follows our FIN");
            peer.hears.extend_from_slice(&content[from..from + bytes]);
            match self.streams.file_sent(token, bytes, self.now_ms) {
                After::ShutWriting => self.hear_fin(token),
                After::CloseAlone => return self.look(token),
                After::Nothing | After::SendFile => {}
            }
        }
        // What stands behind the files, or nothing.
        if self.streams.queued(token) > 0 && !self.streams.pieces(token).is_empty() {
            self.flush(token, generous);
        }
    }

    /// Threads are done with some of what they read, or with all of it.
    pub(super) fn files_are_read(&mut self, all: bool) {
        for token in std::mem::take(&mut self.reading) {
            if !all && self.random.below(2) == 0 {
                self.reading.push(token);
                continue;
            }
            // Its connection may have ended meanwhile.
            self.streams.file_found(token, 1_000_000, self.now_ms);
            if self.peers.contains_key(&token) {
                self.flush(token, all);
            }
        }
    }
}
