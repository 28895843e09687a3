//! One session: what each mode does with the input it is offered.
//!
//! Invariant: a method that returns [`Error::Full`](polyport_plugin::Error::Full) has changed
//! nothing, so that the same input can be offered again.

use polyport_plugin::prelude::*;

use crate::{line, small};

/// There is one for each connection, idle ones included: it is kept small.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// Bytes that are done with.
    pub(crate) consumed: u64,
    /// A copy of the line that has no end yet. The daemon keeps these bytes as well and offers them
    /// again with more; this is for the case that the peer finishes first.
    pub(crate) partial: Vec<u8>,
    /// What is still to be said after the peer has finished.
    pub(crate) last_words: Box<[u8]>,
    pub(crate) peer_has_finished: bool,
    /// The next line of chargen.
    pub(crate) line: u8,
}

impl Session {
    pub(crate) fn stream(
        &mut self,
        cx: &mut Context,
        from: SessionId,
        input: &[u8],
    ) -> Result<usize> {
        cx.write(from, input)?;
        Ok(input.len())
    }

    pub(crate) fn once(
        &mut self,
        cx: &mut Context,
        from: SessionId,
        input: &[u8],
    ) -> Result<usize> {
        cx.write(from, input)?;
        cx.close(from, "said once")?;
        Ok(input.len())
    }

    pub(crate) fn lines(
        &mut self,
        cx: &mut Context,
        from: SessionId,
        input: &[u8],
        line_max: usize,
    ) -> Result<usize> {
        let (end, too_long) = match line::complete(input, line_max) {
            Ok(end) => (end, false),
            Err(end) => (end, true),
        };
        cx.write(from, &input[..end])?;
        if too_long {
            cx.close(from, "a line is longer than line_max")?;
        }
        self.remember(&input[end..], end > 0);
        Ok(end)
    }

    pub(crate) fn who(
        &mut self,
        cx: &mut Context,
        from: SessionId,
        input: &[u8],
        line_max: usize,
    ) -> Result<usize> {
        let line = line::first(input);
        if line::without_end(&input[..line.unwrap_or(input.len())]).len() > line_max {
            cx.close(from, "a line is longer than line_max")?;
            return Ok(input.len());
        }
        let Some(end) = line else {
            self.remember(input, false);
            return Ok(0);
        };
        cx.write(from, &line::answer(&input[..end]))?;
        cx.close(from, "answered")?;
        Ok(end)
    }

    /// Says all there is to say to this peer, and ends; if there is no room yet, `writable` comes
    /// back here.
    pub(crate) fn tell(&mut self, cx: &mut Context, id: SessionId, answer: &[u8]) -> Result {
        match cx.write(id, answer) {
            Ok(()) => cx.close_done(id, "answered"),
            Err(Error::Full) => {
                self.last_words = answer.into();
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Lines for as long as there is room; `writable` goes on, which comes once for all refusals.
    pub(crate) fn pour(&mut self, cx: &mut Context, id: SessionId) {
        while cx.write(id, &small::lines(self.line.into())).is_ok() {
            self.line = small::next(self.line.into()) as u8;
        }
    }

    /// Says what is left to say and finishes; if there is no room yet, `writable` comes back here.
    pub(crate) fn say_last_words(&mut self, cx: &mut Context, id: SessionId) -> Result {
        self.peer_has_finished = true;
        match cx.write_and_finish(id, &self.last_words) {
            // Gone: they were said before, and what was refused then was something else.
            Err(Error::Full | Error::Gone) => Ok(()),
            other => other,
        }
    }

    /// Keeps the copy of the incomplete line equal to what the daemon keeps, copying each byte once.
    fn remember(&mut self, rest: &[u8], begins_anew: bool) {
        if begins_anew {
            self.partial.clear();
        }
        match rest.get(self.partial.len()..) {
            Some(more) => self.partial.extend_from_slice(more),
            // Carried here with more than there was.
            None => self.partial = rest.to_vec(),
        }
    }
}
