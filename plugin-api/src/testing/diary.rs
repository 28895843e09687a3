//! What happened last, in a file that outlives the process: a plugin that crashes takes the transcript
//! with it, but not this.
//!
//! Nothing here is read back. Invariant: the file holds the end of one host's transcript, as much as it has
//! room for, and the line of a call is in it before the call is made.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::Setup;

#[derive(Clone, Debug, Default)]
pub(crate) struct Diary(Option<(Arc<File>, usize)>);

impl Diary {
    pub(super) fn keep(&self, transcript: &str) {
        let Some((file, room)) = &self.0 else { return };
        let bytes = transcript.as_bytes();
        let last = &bytes[bytes.len().saturating_sub(*room)..];
        let mut page = vec![0; *room];
        page[..last.len()].copy_from_slice(last);
        // It is for whoever looks after a crash; what is tested does not depend on it.
        let _ = file.write_all_at(&page, 0);
    }
}

impl Setup {
    /// Writes the end of the transcript to this file at each step, as much as the file is long; what is
    /// left of it is 0. So it can be read what a plugin did last that has ended its process.
    pub fn diary(mut self, file: &Arc<File>) -> Setup {
        let room = file.metadata().map_or(0, |facts| facts.len() as usize);
        self.diary = Diary(Some((Arc::clone(file), room)));
        self
    }
}
