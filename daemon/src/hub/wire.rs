//! What a worker and the hub say to each other: frames over a stream, one version, strictly read.
//!
//! A frame is its length, a kind, and the fields of that kind in a fixed order: numbers of 8 bytes, the
//! lowest first; bytes behind their length of 4. Whatever is too long, cut short or left over is an
//! error, and whoever sent it is not listened to any more.
//!
//! Invariant: what `read` of a frame returns, `write` would write as the same bytes.

use std::fmt;

use fields::{Reader, Writer};

mod fields;

/// Both sides must name the same.
pub const VERSION: u64 = 1;
pub const NAME_BYTES_MAX: usize = 128;
/// With the byte that says whose the id is.
pub const ID_BYTES_MAX: usize = 65;
pub const SESSION_BYTES_MAX: usize = 64;
pub const VALUE_BYTES_MAX: usize = 1024;
pub const MESSAGE_BYTES_MAX: usize = 65_536;
/// Said by a worker right behind its hello, as the end of a subscription that cannot be there: it knows
/// what a pen is. To a hub that does not, this means nothing; so both versions go together.
pub const KNOWS_PENS: u64 = u64::MAX;
/// A whole frame, with all that can be in it.
pub const FRAME_BYTES_MAX: usize = MESSAGE_BYTES_MAX + 1024;

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the last so many.
    Last(u64),
    From(u64),
    /// As `From`, by somebody who has had all before it: no number below was left to be given.
    Again(u64),
}

/// A message as it stands in its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    pub sequence: u64,
    pub time_ms: u64,
    pub id: &'a [u8],
    pub bytes: &'a [u8],
}

/// Ids of messages with the numbers of these, as they lie in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackedIds<'a>(&'a [u8]);

impl<'a> PackedIds<'a> {
    /// One more; what was put so is what [`PackedIds::of`] takes.
    pub fn put(packed: &mut Vec<u8>, sequence: u64, id: &[u8]) {
        packed.extend_from_slice(&sequence.to_le_bytes());
        // An id is no longer than `ID_BYTES_MAX`.
        packed.extend_from_slice(&(id.len() as u32).to_le_bytes());
        packed.extend_from_slice(id);
    }

    pub fn of(packed: &'a [u8]) -> PackedIds<'a> {
        PackedIds(packed)
    }

    pub fn iter(self) -> impl Iterator<Item = (u64, &'a [u8])> {
        let mut rest = Reader(self.0);
        std::iter::from_fn(move || {
            let sequence = rest.number().ok()?;
            Some((sequence, rest.bytes(ID_BYTES_MAX).ok()?))
        })
    }
}

/// From a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask<'a> {
    Hello {
        version: u64,
    },
    /// A message that was delivered by a hub before this one, and may not have been stored.
    Restore {
        topic: &'a str,
        message: Message<'a>,
    },
    /// All that was there before is said.
    Resumed,
    Publish {
        token: u64,
        topic: &'a str,
        id: &'a [u8],
        bytes: &'a [u8],
    },
    Subscribe {
        token: u64,
        topic: &'a str,
        start: Start,
        live: bool,
    },
    Unsubscribe {
        token: u64,
    },
    /// `held`: it was won before, from this hub or the one before it.
    Claim {
        token: u64,
        key: &'a str,
        value: &'a [u8],
        session: &'a [u8],
        held: bool,
    },
    Release {
        key: &'a str,
        session: &'a [u8],
    },
    Watch {
        token: u64,
        prefix: &'a str,
    },
    Unwatch {
        token: u64,
    },
    /// Nothing is published here from now on before the pen was given or refused.
    Take {
        topic: &'a str,
    },
    /// What the worker that has the pen has numbered itself.
    Wrote {
        topic: &'a str,
        message: Message<'a>,
    },
    /// The pen is the hub's again.
    Return {
        topic: &'a str,
    },
}

/// From the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News<'a> {
    Welcome {
        version: u64,
    },
    Message {
        token: u64,
        message: Message<'a>,
    },
    Missed {
        token: u64,
        from: u64,
        to: u64,
    },
    CaughtUp {
        token: u64,
        sequence: u64,
    },
    /// The sequence is 0 if it was not taken.
    Published {
        token: u64,
        sequence: u64,
        time_ms: u64,
    },
    Won {
        token: u64,
    },
    /// Or lost, if it was won before.
    Denied {
        token: u64,
        value: &'a [u8],
    },
    Held {
        token: u64,
        key: &'a str,
        value: &'a [u8],
    },
    Free {
        token: u64,
        key: &'a str,
    },
    /// Every key that is held is named to this watch from here on, whatever was said before.
    Seeing {
        token: u64,
    },
    /// Every key that is held has been named to this watch.
    AllSeen {
        token: u64,
    },
    /// All messages before this one are stored.
    Stored,
    /// Nothing new is answered until there is another welcome.
    Away,
    /// The pen of this topic may be taken.
    Offer {
        topic: &'a str,
    },
    /// Some of the ids of the topic whose pen comes behind them, the oldest first.
    Ids {
        ids: PackedIds<'a>,
    },
    /// The worker numbers this topic from now on, with the number after the last.
    Pen {
        topic: &'a str,
        last: u64,
        time_ms: u64,
    },
    /// The pen is wanted back, or is not given.
    Recall {
        topic: &'a str,
    },
    /// A pen has come back, with all that was written.
    Returned,
    /// All messages before this one are stored, and so many of those that the worker wrote.
    StoredWritten {
        count: u64,
    },
}

/// Not a frame of this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Garbled(pub &'static str);

impl fmt::Display for Garbled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A name of a topic or key.
pub fn is_name(text: &[u8]) -> bool {
    let good = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-=/".contains(byte);
    text.len() <= NAME_BYTES_MAX && text.iter().all(good)
}

/// The first whole frame's content and the bytes it takes, if it is there.
pub fn next_frame(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, Garbled> {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_le_bytes(*length) as usize;
    if length == 0 || length > FRAME_BYTES_MAX {
        return Err(Garbled("a frame of an impossible length"));
    }
    Ok(rest.get(..length).map(|content| (content, 4 + length)))
}

impl<'a> Ask<'a> {
    pub fn read(content: &'a [u8]) -> Result<Ask<'a>, Garbled> {
        let mut from = Reader(content);
        let ask = match from.byte()? {
            1 => Ask::Hello {
                version: from.number()?,
            },
            2 => Ask::Restore {
                topic: from.name()?,
                message: from.message()?,
            },
            3 => Ask::Resumed,
            4 => Ask::Publish {
                token: from.number()?,
                topic: from.name()?,
                id: from.bytes(ID_BYTES_MAX)?,
                bytes: from.bytes(MESSAGE_BYTES_MAX)?,
            },
            5 => Ask::Subscribe {
                token: from.number()?,
                topic: from.name()?,
                start: match (from.byte()?, from.number()?) {
                    (1, count) => Start::Last(count),
                    (2, sequence) => Start::From(sequence),
                    (3, sequence) => Start::Again(sequence),
                    _ => return Err(Garbled("an unknown start")),
                },
                live: from.flag()?,
            },
            6 => Ask::Unsubscribe {
                token: from.number()?,
            },
            7 => Ask::Claim {
                token: from.number()?,
                key: from.name()?,
                value: from.bytes(VALUE_BYTES_MAX)?,
                session: from.bytes(SESSION_BYTES_MAX)?,
                held: from.flag()?,
            },
            8 => Ask::Release {
                key: from.name()?,
                session: from.bytes(SESSION_BYTES_MAX)?,
            },
            9 => Ask::Watch {
                token: from.number()?,
                prefix: from.name()?,
            },
            10 => Ask::Unwatch {
                token: from.number()?,
            },
            11 => Ask::Take {
                topic: from.name()?,
            },
            12 => Ask::Wrote {
                topic: from.name()?,
                message: from.message()?,
            },
            13 => Ask::Return {
                topic: from.name()?,
            },
            _ => return Err(Garbled("an unknown kind of frame")),
        };
        from.end()?;
        Ok(ask)
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        let mut to = Writer::begin(out);
        match *self {
            Ask::Hello { version } => to.byte(1).number(version),
            Ask::Restore { topic, message } => to.byte(2).bytes(topic.as_bytes()).message(message),
            Ask::Resumed => to.byte(3),
            Ask::Publish {
                token,
                topic,
                id,
                bytes,
            } => to
                .byte(4)
                .number(token)
                .bytes(topic.as_bytes())
                .bytes(id)
                .bytes(bytes),
            Ask::Subscribe {
                token,
                topic,
                start,
                live,
            } => {
                let (kind, value) = match start {
                    Start::Last(count) => (1, count),
                    Start::From(sequence) => (2, sequence),
                    Start::Again(sequence) => (3, sequence),
                };
                to.byte(5)
                    .number(token)
                    .bytes(topic.as_bytes())
                    .byte(kind)
                    .number(value)
                    .byte(u8::from(live))
            }
            Ask::Unsubscribe { token } => to.byte(6).number(token),
            Ask::Claim {
                token,
                key,
                value,
                session,
                held,
            } => to
                .byte(7)
                .number(token)
                .bytes(key.as_bytes())
                .bytes(value)
                .bytes(session)
                .byte(u8::from(held)),
            Ask::Release { key, session } => to.byte(8).bytes(key.as_bytes()).bytes(session),
            Ask::Watch { token, prefix } => to.byte(9).number(token).bytes(prefix.as_bytes()),
            Ask::Unwatch { token } => to.byte(10).number(token),
            Ask::Take { topic } => to.byte(11).bytes(topic.as_bytes()),
            Ask::Wrote { topic, message } => to.byte(12).bytes(topic.as_bytes()).message(message),
            Ask::Return { topic } => to.byte(13).bytes(topic.as_bytes()),
        };
        to.end();
    }
}

impl<'a> News<'a> {
    pub fn read(content: &'a [u8]) -> Result<News<'a>, Garbled> {
        let mut from = Reader(content);
        let news = match from.byte()? {
            1 => News::Welcome {
                version: from.number()?,
            },
            2 => News::Message {
                token: from.number()?,
                message: from.message()?,
            },
            3 => News::Missed {
                token: from.number()?,
                from: from.number()?,
                to: from.number()?,
            },
            4 => News::CaughtUp {
                token: from.number()?,
                sequence: from.number()?,
            },
            5 => News::Published {
                token: from.number()?,
                sequence: from.number()?,
                time_ms: from.number()?,
            },
            6 => News::Won {
                token: from.number()?,
            },
            7 => News::Denied {
                token: from.number()?,
                value: from.bytes(VALUE_BYTES_MAX)?,
            },
            8 => News::Held {
                token: from.number()?,
                key: from.name()?,
                value: from.bytes(VALUE_BYTES_MAX)?,
            },
            9 => News::Free {
                token: from.number()?,
                key: from.name()?,
            },
            10 => News::AllSeen {
                token: from.number()?,
            },
            11 => News::Stored,
            12 => News::Seeing {
                token: from.number()?,
            },
            13 => News::Away,
            14 => News::Offer {
                topic: from.name()?,
            },
            15 => News::Ids { ids: from.ids()? },
            16 => News::Pen {
                topic: from.name()?,
                last: from.number()?,
                time_ms: from.number()?,
            },
            17 => News::Recall {
                topic: from.name()?,
            },
            18 => News::Returned,
            19 => News::StoredWritten {
                count: from.number()?,
            },
            _ => return Err(Garbled("an unknown kind of frame")),
        };
        from.end()?;
        Ok(news)
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        let mut to = Writer::begin(out);
        match *self {
            News::Welcome { version } => to.byte(1).number(version),
            News::Message { token, message } => to.byte(2).number(token).message(message),
            News::Missed {
                token,
                from,
                to: last,
            } => to.byte(3).number(token).number(from).number(last),
            News::CaughtUp { token, sequence } => to.byte(4).number(token).number(sequence),
            News::Published {
                token,
                sequence,
                time_ms,
            } => to.byte(5).number(token).number(sequence).number(time_ms),
            News::Won { token } => to.byte(6).number(token),
            News::Denied { token, value } => to.byte(7).number(token).bytes(value),
            News::Held { token, key, value } => {
                to.byte(8).number(token).bytes(key.as_bytes()).bytes(value)
            }
            News::Free { token, key } => to.byte(9).number(token).bytes(key.as_bytes()),
            News::AllSeen { token } => to.byte(10).number(token),
            News::Stored => to.byte(11),
            News::Seeing { token } => to.byte(12).number(token),
            News::Away => to.byte(13),
            News::Offer { topic } => to.byte(14).bytes(topic.as_bytes()),
            News::Ids { ids } => to.byte(15).bytes(ids.0),
            News::Pen {
                topic,
                last,
                time_ms,
            } => to
                .byte(16)
                .bytes(topic.as_bytes())
                .number(last)
                .number(time_ms),
            News::Recall { topic } => to.byte(17).bytes(topic.as_bytes()),
            News::Returned => to.byte(18),
            News::StoredWritten { count } => to.byte(19).number(count),
        };
        to.end();
    }
}

#[cfg(test)]
mod tests;
