//! The outbox: datagrams that a protocol wants sent, gathered until the batch's end.
//!
//! Bytes of the payload that is lent for the call are noted by position and sent from there; all
//! others are copied once. One batch is all that is ever held: what does not fit is refused at once,
//! since a datagram that waits is worth less than one that is lost.
//!
//! Invariant: every send names a reply token that was honoured in this batch.

use std::net::SocketAddr;
use std::ops::Range;

use super::piece::Piece;
use super::replies::{FlowPeer, Replies};

/// Datagrams sent in one batch.
pub const SENDS_MAX: usize = 256;
/// Bytes of them that had to be copied.
pub const SENDS_BYTES_MAX: usize = 1 << 20;
/// The most that a datagram over IPv4 holds; all transports are held to it.
pub const PAYLOAD_BYTES_MAX: usize = 65_507;

/// Why a datagram will not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsent {
    /// The token is too old.
    Gone,
    /// The batch is full.
    Full,
    /// Nobody can answer this peer, or not to that kind of address from this listener.
    Unreachable,
    TooLong,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Where it leaves.
    pub reply: u64,
    /// To whom, if not back to the peer of that token.
    pub to: Option<SocketAddr>,
    pub piece: Piece,
}

/// The payload that is lent for the running call.
#[derive(Clone, Copy, Debug)]
struct Loan {
    /// Where it lies in the batch.
    at: usize,
    came_ms: u64,
}

#[derive(Debug, Default)]
pub struct Outbox {
    pub replies: Replies,
    sends: Vec<Outgoing>,
    bytes: Vec<u8>,
    lent: Option<Loan>,
    dropped: u64,
}

impl Outbox {
    // --- the engine's side ---------------------------------------------------------------------

    /// The payload of the coming call lies at `at` in the batch, which came at that moment.
    pub fn lend(&mut self, at: usize, came_ms: u64) {
        self.lent = Some(Loan { at, came_ms });
    }

    pub fn unlend(&mut self) {
        self.lent = None;
    }

    pub fn sends(&self) -> &[Outgoing] {
        &self.sends
    }

    /// The bytes of a piece; `batch` is where lent ones lie.
    pub fn bytes<'a>(&'a self, piece: &Piece, batch: &'a [u8]) -> &'a [u8] {
        match piece {
            Piece::Lent(range) => &batch[range.clone()],
            Piece::Copied(range) => &self.bytes[range.clone()],
        }
    }

    /// At the batch's end: what was in it is sent or lost.
    pub fn clear(&mut self) {
        self.sends.clear();
        self.bytes.clear();
    }

    /// Datagrams refused since last asked.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    // --- the protocol's side -------------------------------------------------------------------

    /// When the datagram came that the running call is about: a clock is not asked again for each.
    pub fn came_ms(&self) -> Option<u64> {
        self.lent.map(|loan| loan.came_ms)
    }

    /// `lent` says which range of the lent payload the bytes are, if they are one.
    pub fn send(
        &mut self,
        reply: u64,
        to: Option<SocketAddr>,
        bytes: &[u8],
        lent: Option<Range<usize>>,
    ) -> Result<(), Unsent> {
        let sent = self.try_send(reply, to, bytes, lent);
        self.dropped += u64::from(sent.is_err());
        sent
    }

    fn try_send(
        &mut self,
        reply: u64,
        to: Option<SocketAddr>,
        bytes: &[u8],
        lent: Option<Range<usize>>,
    ) -> Result<(), Unsent> {
        let flow = self.replies.find(reply).ok_or(Unsent::Gone)?;
        if !reaches(flow.peer, to) {
            return Err(Unsent::Unreachable);
        }
        if bytes.len() > PAYLOAD_BYTES_MAX {
            return Err(Unsent::TooLong);
        }
        if self.sends.len() >= SENDS_MAX {
            return Err(Unsent::Full);
        }
        let piece = match (self.lent, lent) {
            (Some(Loan { at, .. }), Some(range)) => Piece::Lent(at + range.start..at + range.end),
            _ if self.bytes.len() + bytes.len() > SENDS_BYTES_MAX => return Err(Unsent::Full),
            _ => {
                let start = self.bytes.len();
                self.bytes.extend_from_slice(bytes);
                Piece::Copied(start..self.bytes.len())
            }
        };
        self.sends.push(Outgoing { reply, to, piece });
        Ok(())
    }
}

/// Whether a datagram from the listener of this peer can go there.
fn reaches(peer: FlowPeer, to: Option<SocketAddr>) -> bool {
    match (peer, to) {
        (FlowPeer::Internet(_) | FlowPeer::Unix, None) => true,
        (FlowPeer::Nameless, None) | (FlowPeer::Unix | FlowPeer::Nameless, Some(_)) => false,
        // An IPv6 socket sends to IPv4 as well, to mapped addresses; not the other way round.
        (FlowPeer::Internet(peer), Some(to)) => peer.is_ipv6() || to.is_ipv4(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::replies::{Flow, REPLIES};

    fn flow(peer: FlowPeer) -> Flow {
        Flow {
            listener: 0,
            interface: 0,
            local: None,
            peer,
        }
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn what_was_lent_is_sent_from_there_and_the_rest_is_copied() {
        let mut outbox = Outbox::default();
        let batch = b"....payload....";
        let peer = FlowPeer::Internet(address("127.0.0.1:9"));
        let reply = outbox.replies.note(flow(peer), b"");
        outbox.lend(4, 0);
        assert_eq!(outbox.send(reply, None, b"payload", Some(0..7)), Ok(()));
        assert_eq!(outbox.send(reply, None, b"load", Some(3..7)), Ok(()));
        assert_eq!(outbox.send(reply, None, b"other", None), Ok(()));
        outbox.unlend();
        assert_eq!(
            outbox.send(reply, None, b"pay", Some(0..3)),
            Ok(()),
            "lent by somebody else: it is copied"
        );
        let sent: Vec<&[u8]> = outbox
            .sends()
            .iter()
            .map(|send| outbox.bytes(&send.piece, batch))
            .collect();
        assert_eq!(sent, [&b"payload"[..], b"load", b"other", b"pay"]);
        assert!(matches!(outbox.sends()[0].piece, Piece::Lent(_)));
        assert!(matches!(outbox.sends()[3].piece, Piece::Copied(_)));
        outbox.clear();
        assert!(outbox.sends().is_empty());
    }

    #[test]
    fn a_batch_has_its_limits_and_the_next_one_starts_anew() {
        let mut outbox = Outbox::default();
        let peer = FlowPeer::Internet(address("127.0.0.1:9"));
        let reply = outbox.replies.note(flow(peer), b"");
        for round in 0..2 {
            for nth in 0..SENDS_MAX {
                assert_eq!(outbox.send(reply, None, b"x", None), Ok(()), "{nth}");
            }
            assert_eq!(outbox.send(reply, None, b"x", None), Err(Unsent::Full));
            assert_eq!(outbox.take_dropped(), 1, "round {round}");
            outbox.clear();
        }
        let large = vec![0; PAYLOAD_BYTES_MAX];
        let sent = (0..SENDS_MAX)
            .take_while(|_| outbox.send(reply, None, &large, None).is_ok())
            .count();
        assert_eq!(sent, SENDS_BYTES_MAX / PAYLOAD_BYTES_MAX);
        let too_long = vec![0; PAYLOAD_BYTES_MAX + 1];
        let answer = outbox.send(reply, None, &too_long, None);
        assert_eq!(answer, Err(Unsent::TooLong));
    }

    #[test]
    fn only_whom_the_listener_reaches_is_sent_to() {
        let v4 = FlowPeer::Internet(address("192.0.2.1:9"));
        let v6 = FlowPeer::Internet(address("[2001:db8::1]:9"));
        let to_v4 = Some(address("192.0.2.7:7"));
        let to_v6 = Some(address("[2001:db8::7]:7"));
        let cases = [
            (v4, None, true),
            (v4, to_v4, true),
            (v4, to_v6, false),
            (v6, to_v4, true),
            (v6, to_v6, true),
            (FlowPeer::Unix, None, true),
            (FlowPeer::Unix, to_v4, false),
            (FlowPeer::Nameless, None, false),
            (FlowPeer::Nameless, to_v4, false),
        ];
        for (peer, to, sent) in cases {
            let mut outbox = Outbox::default();
            let reply = outbox.replies.note(flow(peer), b"name");
            let expected = if sent {
                Ok(())
            } else {
                Err(Unsent::Unreachable)
            };
            assert_eq!(
                outbox.send(reply, to, b"", None),
                expected,
                "{peer:?} {to:?}"
            );
        }
    }

    #[test]
    fn a_token_that_is_too_old_is_gone() {
        let mut outbox = Outbox::default();
        let peer = FlowPeer::Internet(address("192.0.2.1:9"));
        let reply = outbox.replies.note(flow(peer), b"");
        for _ in 1..REPLIES {
            outbox.replies.note(flow(peer), b"");
        }
        assert_eq!(outbox.send(reply, None, b"", None), Ok(()));
        outbox.replies.note(flow(peer), b"");
        assert_eq!(outbox.send(reply, None, b"", None), Err(Unsent::Gone));
        assert_eq!(outbox.send(0, None, b"", None), Err(Unsent::Gone));
    }
}
