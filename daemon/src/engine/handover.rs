//! What two workers say to each other while sessions go from one to the other.
//!
//! The taker begins with its room. The giver sends batches of sessions, whose sockets ride along; each
//! is answered, session by session. A giver that has waited in vain takes back what was not answered,
//! and says so. Messages are packets; the body of a long one is in a memory file beside the sockets.
//!
//! Invariant: a message of another version, or one that is wrong anywhere, is an error as a whole.

use super::carried::{FRAME_BYTES_MAX, Malformed, SESSION_BYTES_MAX, VERSION};

/// Sessions in one batch: so many are imported in one turn.
pub const BATCH_SESSIONS_MAX: usize = 64;
/// Bytes of one batch, and so of one session.
pub const BATCH_BYTES_MAX: usize = 8 << 20;
/// A batch is not made longer than this while there is a choice.
pub const BATCH_BYTES_ENOUGH: usize = 1 << 20;
/// A longer body does not go into the packet.
pub const PACKET_BYTES_MAX: usize = 128 << 10;
/// Batches that are not answered yet.
pub const BATCHES_MAX: usize = 2;
/// When the other side has been silent for so long, it is given up.
pub const SILENCE_MS: u64 = 5_000;

/// A session with more waiting bytes than this stays where it is.
pub const WAITING_BYTES_MAX: usize =
    BATCH_BYTES_MAX - FRAME_BYTES_MAX - SESSION_BYTES_MAX - HEAD_BYTES - 16;

const MAGIC: [u8; 4] = *b"PPHO";
const HEAD_BYTES: usize = 8;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// So many sessions can come.
    Room(u32),
    Batch(Batch),
    Answers(Answers),
    /// Batches that were not answered stay with the giver.
    Revoked,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub number: u32,
    /// One a socket, in their order.
    pub records: Vec<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers {
    pub number: u32,
    /// Beyond these and what was sent before.
    pub room: u32,
    pub answers: Vec<Answer>,
}

/// What became of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Answer {
    /// It is the taker's from now on.
    Adopted = 0,
    /// The plugin, or a ban, does not let it go on: the giver ends it.
    Refused = 1,
    /// It stays where it is.
    NotTaken = 2,
}

impl Message {
    pub fn write(&self) -> Vec<u8> {
        let (kind, body_bytes) = match self {
            Message::Room(_) => (0, 4),
            Message::Batch(batch) => (1, batch_bytes(batch)),
            Message::Answers(answers) => (2, 8 + answers.answers.len()),
            Message::Revoked => (3, 0),
        };
        // Made once, and no longer than it has to be: a batch may be long.
        let mut bytes = Vec::with_capacity(HEAD_BYTES + body_bytes);
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend([kind, 0]);
        match self {
            Message::Room(room) => bytes.extend(room.to_le_bytes()),
            Message::Batch(batch) => write_batch(batch, &mut bytes),
            Message::Answers(answers) => {
                bytes.extend(answers.number.to_le_bytes());
                bytes.extend(answers.room.to_le_bytes());
                bytes.extend(answers.answers.iter().map(|answer| *answer as u8));
            }
            Message::Revoked => {}
        }
        debug_assert_eq!(bytes.len(), HEAD_BYTES + body_bytes);
        bytes
    }

    pub fn read(bytes: &[u8]) -> Result<Message, Malformed> {
        let (head, body) = bytes
            .split_first_chunk::<HEAD_BYTES>()
            .ok_or(Malformed("head"))?;
        let [m0, m1, m2, m3, v0, v1, kind, reserved] = *head;
        if [m0, m1, m2, m3] != MAGIC || reserved != 0 {
            return Err(Malformed("head"));
        }
        if u16::from_le_bytes([v0, v1]) != VERSION {
            return Err(Malformed("version"));
        }
        match kind {
            0 => match body.try_into() {
                Ok(room) => Ok(Message::Room(u32::from_le_bytes(room))),
                Err(_) => Err(Malformed("room")),
            },
            1 => read_batch(body).map(Message::Batch),
            2 => read_answers(body).map(Message::Answers),
            3 if body.is_empty() => Ok(Message::Revoked),
            _ => Err(Malformed("kind")),
        }
    }
}

fn batch_bytes(batch: &Batch) -> usize {
    let records = batch.records.iter().map(|record| 4 + record.len());
    4 + records.sum::<usize>()
}

fn write_batch(batch: &Batch, into: &mut Vec<u8>) {
    into.extend(batch.number.to_le_bytes());
    for record in &batch.records {
        into.extend((record.len() as u32).to_le_bytes());
        into.extend(record);
    }
}

fn read_batch(body: &[u8]) -> Result<Batch, Malformed> {
    let wrong = Malformed("batch");
    let (number, mut rest) = body.split_first_chunk().ok_or(wrong)?;
    let mut records = Vec::new();
    while !rest.is_empty() {
        let (length, behind) = rest.split_first_chunk().ok_or(wrong)?;
        let length = u32::from_le_bytes(*length) as usize;
        let (record, behind) = behind.split_at_checked(length).ok_or(wrong)?;
        records.push(record.to_vec());
        rest = behind;
    }
    if records.is_empty() || records.len() > BATCH_SESSIONS_MAX {
        return Err(wrong);
    }
    let number = u32::from_le_bytes(*number);
    Ok(Batch { number, records })
}

fn read_answers(body: &[u8]) -> Result<Answers, Malformed> {
    let wrong = Malformed("answers");
    let (number, rest) = body.split_first_chunk().ok_or(wrong)?;
    let (room, rest) = rest.split_first_chunk().ok_or(wrong)?;
    if rest.is_empty() || rest.len() > BATCH_SESSIONS_MAX {
        return Err(wrong);
    }
    let answer = |byte: &u8| match byte {
        0 => Ok(Answer::Adopted),
        1 => Ok(Answer::Refused),
        2 => Ok(Answer::NotTaken),
        _ => Err(wrong),
    };
    Ok(Answers {
        number: u32::from_le_bytes(*number),
        room: u32::from_le_bytes(*room),
        answers: rest.iter().map(answer).collect::<Result<_, _>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Vec<Message> {
        vec![
            Message::Room(17),
            Message::Batch(Batch {
                number: 3,
                records: vec![b"one".to_vec(), Vec::new(), vec![7; 300]],
            }),
            Message::Answers(Answers {
                number: 3,
                room: u32::MAX,
                answers: vec![Answer::Adopted, Answer::Refused, Answer::NotTaken],
            }),
            Message::Revoked,
        ]
    }

    #[test]
    fn what_is_written_is_read() {
        for message in some() {
            assert_eq!(Message::read(&message.write()), Ok(message));
        }
    }

    /// Whatever is read would be written just so.
    #[test]
    fn what_is_changed_anywhere_is_refused_or_is_another_message() {
        for message in some() {
            let right = message.write();
            for at in 0..right.len() {
                for value in 0..=255 {
                    let mut bytes = right.clone();
                    bytes[at] = value;
                    for bytes in [&bytes[..], &bytes[..at]] {
                        if let Ok(read) = Message::read(bytes) {
                            assert!(read.write() == bytes, "byte {at} as {value}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn too_many_sessions_are_refused_whoever_sends_them() {
        for (count, right) in [(1, true), (64, true), (65, false)] {
            let records = vec![vec![1]; count];
            let batch = Message::Batch(Batch { number: 1, records });
            assert_eq!(Message::read(&batch.write()).is_ok(), right, "{count}");
        }
    }

    #[test]
    fn the_longest_session_fits_a_batch() {
        let record = WAITING_BYTES_MAX + FRAME_BYTES_MAX + SESSION_BYTES_MAX;
        let records = vec![vec![0; record]];
        let batch = Message::Batch(Batch { number: 1, records });
        assert!(batch.write().len() <= BATCH_BYTES_MAX);
    }
}
