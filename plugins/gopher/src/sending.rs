//! A reply on its way to one session: what was queued, and what still has to be.
//!
//! Invariant: bytes are queued in order and once; when the last ones are, the session is closed in
//! order, so that the peer reads everything before the end. Only what is on its way at once is
//! followed by the end of the socket: what a peer says later is answered with a reset, which would
//! destroy what has not left by then.

use std::fs::File;
use std::sync::Arc;

use polyport_plugin::prelude::*;

use crate::reply::{Body, Reply};
use crate::text::Lines;

/// Bytes of the first write of a call: a larger one might be more than the whole of `limits.output`, and
/// then end the session. All writes of one call leave together.
const WRITE_BYTES: usize = 1024;

/// What a new connection sends without waiting for its peer: ten segments, as RFC 6928 has it.
const AT_ONCE_BYTES_MAX: u64 = 14_000;

#[derive(Debug)]
pub(crate) struct Sending {
    /// Small: the line or the few lines that a manner puts in front.
    head: Vec<u8>,
    bytes: Option<Arc<Vec<u8>>>,
    /// Bytes of `bytes` that are queued.
    at: usize,
    file: Option<(File, u64)>,
    lines: Option<Lines>,
    outcome: &'static str,
    /// The peer may still be speaking, or more is sent than leaves at once.
    waits_for_end: bool,
}

pub(crate) enum Next {
    /// Until there is room.
    Wait,
    /// For the next piece, which a thread reads.
    Read(Lines),
    Done,
}

impl Sending {
    pub(crate) fn of(reply: Reply) -> Sending {
        let mut sending = Sending {
            head: reply.head,
            ..Sending::of_bytes(None, reply.outcome)
        };
        let length = match reply.body {
            Body::Bytes(bytes) => {
                let length = bytes.len() as u64;
                sending.bytes = Some(bytes);
                length
            }
            Body::File(file, length) => {
                sending.file = Some((file, length));
                length
            }
            Body::Lines(lines) => {
                let length = lines.length();
                sending.lines = Some(lines);
                length
            }
        };
        sending.waits_for_end = length > AT_ONCE_BYTES_MAX;
        sending
    }

    fn of_bytes(bytes: Option<Arc<Vec<u8>>>, outcome: &'static str) -> Sending {
        Sending {
            head: Vec::new(),
            bytes,
            at: 0,
            file: None,
            lines: None,
            outcome,
            waits_for_end: false,
        }
    }

    /// An answer to the first half of something, or to what is followed by more.
    pub(crate) fn of_refusal(bytes: Vec<u8>, why: &'static str) -> Sending {
        Sending {
            waits_for_end: true,
            ..Sending::of_bytes(Some(bytes.into()), why)
        }
    }

    /// Of a text of so many bytes.
    pub(crate) fn of_piece(bytes: Vec<u8>, lines: Option<Lines>, length: u64) -> Sending {
        Sending {
            lines,
            waits_for_end: length.max(bytes.len() as u64) > AT_ONCE_BYTES_MAX,
            ..Sending::of_bytes(Some(bytes.into()), "a text")
        }
    }

    pub(crate) fn pour(&mut self, cx: &mut Context, id: SessionId) -> Result<Next> {
        if !self.head.is_empty() {
            match cx.write(id, &self.head) {
                Ok(()) => self.head = Vec::new(),
                Err(Error::Full) => return Ok(Next::Wait),
                Err(error) => return Err(error),
            }
        }
        // What this call has queued is within the limit, so as many bytes at once are so too.
        let from = self.at;
        let bytes = self.bytes.as_deref().map_or(&[][..], Vec::as_slice);
        while self.at < bytes.len() {
            let length = WRITE_BYTES.max(self.at - from);
            let end = bytes.len().min(self.at + length);
            match cx.write(id, &bytes[self.at..end]) {
                Ok(()) => self.at = end,
                Err(Error::Full) => return Ok(Next::Wait),
                Err(error) => return Err(error),
            }
        }
        if let Some((file, length)) = self.file.take()
            && length > 0
        {
            cx.send_file(id, file, 0, length)?;
        }
        match self.lines.take() {
            Some(lines) => Ok(Next::Read(lines)),
            None => {
                match self.waits_for_end {
                    true => cx.close(id, self.outcome)?,
                    false => cx.close_done(id, self.outcome)?,
                }
                Ok(Next::Done)
            }
        }
    }
}

impl Reply {
    /// The same reply for somebody else, if it can be given twice.
    pub(crate) fn again(&self) -> Option<Reply> {
        match &self.body {
            Body::Bytes(bytes) => Some(Reply {
                head: self.head.clone(),
                body: Body::Bytes(Arc::clone(bytes)),
                outcome: self.outcome,
                warnings: Vec::new(),
            }),
            Body::File(..) | Body::Lines(..) => None,
        }
    }
}
