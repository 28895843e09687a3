//! A live session on its way from one worker to another, as bytes.
//!
//! What a connection is beside its socket: who is at its ends, how far it is, what was not consumed and
//! not sent, what its limits have counted so far, and the plugin's own bytes. Moments travel as spans,
//! so neither side has to know the other's clock. The other side may be another release of this program,
//! or a worker that a peer has taken over: each field is checked, none is repaired.
//!
//! Numbers are little-endian; what has a length is preceded by it. Invariant: `read` of what `write`
//! made is the same session, and of anything else a session that `write` could have made, or an error.

use std::net::{IpAddr, SocketAddr};

use super::session::{Credentials, End, Party};

/// Another one for every change of the layout.
pub const VERSION: u16 = 1;
/// The plugin's own bytes, as its ABI has it.
pub const SESSION_BYTES_MAX: usize = 64 * 1024;
const ENDPOINT_BYTES_MAX: usize = 1024;
/// What of a record is not input, output or the plugin's.
pub const FRAME_BYTES_MAX: usize = ENDPOINT_BYTES_MAX + 512;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    pub facts: CarriedFacts,
    pub course: Course,
    /// The plugin's number for its bytes.
    pub format: u32,
    pub session: Vec<u8>,
    /// Read and not consumed.
    pub input: Vec<u8>,
    /// Said and not sent.
    pub output: Vec<u8>,
}

/// What a session is opened with, kept for as long as it may be carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CarriedFacts {
    pub peer: Party,
    pub local: Party,
    pub credentials: Option<Credentials>,
    pub proxied: bool,
    pub age_ms: u64,
    /// As written.
    pub endpoint: String,
}

/// How far a connection is, and what its limits have counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Course {
    pub stage: Stage,
    pub paused: bool,
    pub full: bool,
    pub feed_again: bool,
    /// The peer's FIN was read.
    pub peer_fin: bool,
    /// Our FIN is to follow the output; was sent. Nothing that a socket reports tells the latter.
    pub fin_asked: bool,
    pub fin_sent: bool,
    /// The plugin is owed a `writable`.
    pub refused: bool,
    /// The peer has not said anything yet.
    pub silent: bool,
    /// Since a byte moved.
    pub idle_for_ms: u64,
    /// The plugin's own limit on that; 0 is none.
    pub idle_ms: Option<u64>,
    pub linger_left_ms: Option<u64>,
    pub progress_left_ms: Option<u64>,
    pub stall_left_ms: Option<u64>,
    /// Bytes read and dropped while lingering.
    pub dropped: u64,
    /// What may be moved at once, where bytes a second are limited.
    pub input_allowance: Option<u64>,
    pub output_allowance: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Open,
    PeerFinished,
    Finishing(End),
}

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

const ENDS: [End; 7] = [
    End::Finished,
    End::Aborted,
    End::Lost,
    End::Idle,
    End::Limit,
    End::Drain,
    End::Fault,
];
const FLAGS: usize = 10;

impl Carried {
    pub fn write(&self, into: &mut Vec<u8>) {
        let facts = &self.facts;
        let course = &self.course;
        let flags = self.flags();
        let bits = (0..).zip(flags).map(|(nth, set)| u16::from(set) << nth);
        into.extend(bits.fold(0, |bits, bit| bits | bit).to_le_bytes());
        let (stage, why) = match course.stage {
            Stage::Open => (0, 0),
            Stage::PeerFinished => (1, 0),
            Stage::Finishing(why) => (2, ENDS.iter().position(|end| *end == why).unwrap_or(1)),
        };
        into.extend([stage, why as u8]);
        write_party(facts.peer, into);
        write_party(facts.local, into);
        let known = facts.credentials.unwrap_or(Credentials {
            pid: 0,
            uid: 0,
            gid: 0,
        });
        for number in [known.pid, known.uid, known.gid, self.format] {
            into.extend(number.to_le_bytes());
        }
        for number in [facts.age_ms, course.idle_for_ms, course.dropped] {
            into.extend(number.to_le_bytes());
        }
        for number in course.optional() {
            // A span of so many years never passes either.
            into.extend(number.unwrap_or(u64::MAX).to_le_bytes());
        }
        for bytes in [
            facts.endpoint.as_bytes(),
            &self.session,
            &self.input,
            &self.output,
        ] {
            into.extend((bytes.len() as u32).to_le_bytes());
            into.extend(bytes);
        }
    }

    pub fn read(bytes: &[u8]) -> Result<Carried, Malformed> {
        let mut rest = Reader(bytes);
        let bits = u16::from_le_bytes(rest.take()?);
        if bits >> FLAGS != 0 {
            return Err(Malformed("flags"));
        }
        let flag = |nth: usize| bits >> nth & 1 == 1;
        let [stage, why] = rest.take()?;
        let why = ENDS.get(usize::from(why)).copied();
        let stage = match (stage, why) {
            (0, Some(End::Finished)) => Stage::Open,
            (1, Some(End::Finished)) => Stage::PeerFinished,
            (2, Some(why)) => Stage::Finishing(why),
            _ => return Err(Malformed("stage")),
        };
        let (peer, local) = (rest.party()?, rest.party()?);
        let known = Credentials {
            pid: rest.u32()?,
            uid: rest.u32()?,
            gid: rest.u32()?,
        };
        let nobody = known.pid == 0 && known.uid == 0 && known.gid == 0;
        if !flag(9) && !nobody {
            return Err(Malformed("credentials"));
        }
        let format = rest.u32()?;
        let (age_ms, idle_for_ms, dropped) = (rest.u64()?, rest.u64()?, rest.u64()?);
        let course = Course {
            stage,
            paused: flag(0),
            full: flag(1),
            feed_again: flag(2),
            peer_fin: flag(3),
            fin_asked: flag(4),
            fin_sent: flag(5),
            refused: flag(6),
            silent: flag(7),
            idle_for_ms,
            dropped,
            idle_ms: rest.optional()?,
            linger_left_ms: rest.optional()?,
            progress_left_ms: rest.optional()?,
            stall_left_ms: rest.optional()?,
            input_allowance: rest.optional()?,
            output_allowance: rest.optional()?,
        };
        let endpoint = rest.bytes(ENDPOINT_BYTES_MAX)?;
        let endpoint = String::from_utf8(endpoint).map_err(|_| Malformed("endpoint"))?;
        let carried = Carried {
            facts: CarriedFacts {
                peer,
                local,
                credentials: flag(9).then_some(known),
                proxied: flag(8),
                age_ms,
                endpoint,
            },
            course,
            format,
            session: rest.bytes(SESSION_BYTES_MAX)?,
            input: rest.bytes(bytes.len())?,
            output: rest.bytes(bytes.len())?,
        };
        if !rest.0.is_empty() {
            return Err(Malformed("length"));
        }
        carried.course.check()?;
        Ok(carried)
    }

    fn flags(&self) -> [bool; FLAGS] {
        let course = &self.course;
        [
            course.paused,
            course.full,
            course.feed_again,
            course.peer_fin,
            course.fin_asked,
            course.fin_sent,
            course.refused,
            course.silent,
            self.facts.proxied,
            self.facts.credentials.is_some(),
        ]
    }
}

impl Course {
    fn optional(&self) -> [Option<u64>; 6] {
        [
            self.idle_ms,
            self.linger_left_ms,
            self.progress_left_ms,
            self.stall_left_ms,
            self.input_allowance,
            self.output_allowance,
        ]
    }

    /// What no connection can be.
    fn check(&self) -> Result<(), Malformed> {
        let finishing = matches!(self.stage, Stage::Finishing(_));
        if self.stage == Stage::PeerFinished && (!self.peer_fin || self.fin_asked) {
            return Err(Malformed("peer finished"));
        }
        if self.fin_sent && !self.fin_asked && !finishing {
            return Err(Malformed("our FIN"));
        }
        if self.full && !self.refused {
            return Err(Malformed("full"));
        }
        Ok(())
    }
}

fn write_party(party: Party, into: &mut Vec<u8>) {
    let mut place = [0; 23];
    if let Party::Internet(address) = party {
        place[1..3].copy_from_slice(&address.port().to_le_bytes());
        match address {
            SocketAddr::V4(address) => {
                place[0] = 4;
                place[3..7].copy_from_slice(&address.ip().octets());
            }
            SocketAddr::V6(address) => {
                place[0] = 6;
                place[3..19].copy_from_slice(&address.ip().octets());
                place[19..23].copy_from_slice(&address.scope_id().to_le_bytes());
            }
        }
    }
    into.extend(place);
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed("length"))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.take().map(u64::from_le_bytes)
    }

    fn optional(&mut self) -> Result<Option<u64>, Malformed> {
        Ok(Some(self.u64()?).filter(|number| *number != u64::MAX))
    }

    /// With their length before them.
    fn bytes(&mut self, max: usize) -> Result<Vec<u8>, Malformed> {
        let length = self.u32()? as usize;
        if length > max {
            return Err(Malformed("length"));
        }
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed("length"))?;
        self.0 = rest;
        Ok(taken.to_vec())
    }

    fn party(&mut self) -> Result<Party, Malformed> {
        let [family] = self.take()?;
        let port = u16::from_le_bytes(self.take()?);
        let ip: [u8; 16] = self.take()?;
        let scope = self.u32()?;
        let [a, b, c, d, behind @ ..] = ip;
        match family {
            0 if port == 0 && ip == [0; 16] && scope == 0 => Ok(Party::Unix),
            4 if behind == [0; 12] && scope == 0 => {
                let ip = IpAddr::from([a, b, c, d]);
                Ok(SocketAddr::new(ip, port).into())
            }
            6 => {
                let address = std::net::SocketAddrV6::new(ip.into(), port, 0, scope);
                Ok(SocketAddr::from(address).into())
            }
            _ => Err(Malformed("address")),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::engine) fn some() -> Vec<Carried> {
        let party = |text: &str| Party::from(text.parse::<SocketAddr>().expect("an address"));
        let plain = Carried {
            facts: CarriedFacts {
                peer: party("192.0.2.7:40000"),
                local: party("198.51.100.1:7"),
                credentials: None,
                proxied: false,
                age_ms: 12_345,
                endpoint: "tcp://*:7".to_owned(),
            },
            course: Course {
                stage: Stage::Open,
                paused: false,
                full: false,
                feed_again: false,
                peer_fin: false,
                fin_asked: false,
                fin_sent: false,
                refused: false,
                silent: false,
                idle_for_ms: 17,
                idle_ms: None,
                linger_left_ms: None,
                progress_left_ms: Some(1),
                stall_left_ms: None,
                dropped: 0,
                input_allowance: Some(0),
                output_allowance: None,
            },
            format: 1,
            session: b"own".to_vec(),
            input: b"half a li".to_vec(),
            output: vec![b'x'; 100],
        };
        let mut other = plain.clone();
        other.facts.peer = Party::Unix;
        other.facts.local = party("[fe80::1%3]:7");
        other.facts.credentials = Some(Credentials {
            pid: 1,
            uid: 2,
            gid: 3,
        });
        other.course.stage = Stage::Finishing(End::Drain);
        (other.course.fin_sent, other.course.paused) = (true, true);
        other.course.idle_ms = Some(0);
        let mut last = plain.clone();
        last.course.stage = Stage::PeerFinished;
        (last.course.peer_fin, last.facts.proxied) = (true, true);
        (last.input, last.session) = (Vec::new(), Vec::new());
        vec![plain, other, last]
    }

    #[test]
    fn what_is_written_is_read() {
        for carried in some() {
            let mut bytes = Vec::new();
            carried.write(&mut bytes);
            let frame = bytes.len()
                - carried.input.len()
                - carried.output.len()
                - carried.session.len()
                - carried.facts.endpoint.len();
            assert!(frame + ENDPOINT_BYTES_MAX <= FRAME_BYTES_MAX);
            assert_eq!(Carried::read(&bytes), Ok(carried));
        }
    }

    /// Whatever is read would be written just so: nothing is repaired or overlooked.
    #[test]
    fn what_is_changed_anywhere_is_refused_or_is_another_session() {
        for carried in some() {
            let mut right = Vec::new();
            carried.write(&mut right);
            for cut in 0..right.len() {
                assert!(Carried::read(&right[..cut]).is_err(), "cut at {cut}");
            }
            assert!(Carried::read(&[&right[..], b"x"].concat()).is_err());
            for at in 0..right.len() {
                for value in 0..=255 {
                    let mut bytes = right.clone();
                    bytes[at] = value;
                    if let Ok(read) = Carried::read(&bytes) {
                        let mut again = Vec::new();
                        read.write(&mut again);
                        assert!(again == bytes, "byte {at} as {value}");
                    }
                }
            }
        }
    }
}
