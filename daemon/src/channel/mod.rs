//! The channel: messages between the supervisor and one child over a SEQPACKET socket pair.
//!
//! One message is one packet of JSON, at most [`MESSAGE_BYTES_MAX`] long. Neither side trusts the
//! other's: what does not parse is reported as garbled, descriptors that ride along uninvited are
//! closed, and a full socket is an error to the sender rather than a wait.
//!
//! Invariant: nothing here blocks, and the end of the channel means the other process is gone.

mod conformance;
mod connections;
pub mod handed;
mod message;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, getsockopt, recv, send, socketpair, sockopt,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::sys::passing;

pub use conformance::{DIARY_BYTES, Rule, TRIAL_BYTES_MAX, Trial, what_happened_last};
pub use connections::{ConnectionFilter, ConnectionsOrder, OpenConnection, OpenConnections};
pub use message::{
    Adjustment, BANS_MAX, Ban, Brief, CheckBrief, Depth, HubBrief, HubOrder, ListenerBrief, Order,
    ProbeBrief, RehearsalBrief, Report, StandIn, StoredPlugin, TRAPPED_PER_S, WorkerBrief,
};

/// Longer messages are refused by the sender and count as garbled at the receiver.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
}

/// What a look at the channel found.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<T> {
    Message(T),
    /// Not a message of this protocol; the text says why.
    Garbled(String),
    Empty,
    Closed,
}

impl Channel {
    /// The supervisor's end, and the descriptor to hand to a child.
    pub fn pair() -> io::Result<(Channel, OwnedFd)> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        Ok((Channel { socket: ours }, theirs))
    }

    /// A child's end; `None` if the descriptor is not such a socket, which means that somebody
    /// other than a supervisor started this process.
    pub fn adopt(socket: OwnedFd) -> Option<Channel> {
        match getsockopt(&socket, sockopt::SockType) {
            Ok(SockType::SeqPacket) => Some(Channel { socket }),
            _ => None,
        }
    }

    pub fn send(&self, message: &impl Serialize) -> io::Result<()> {
        let bytes = encoded(message)?;
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        let sent = send(self.socket.as_raw_fd(), &bytes, flags);
        Ok(sent.map(drop).map_err(gone)?)
    }

    /// The same, with descriptors that ride along: the receiver is told in the message how many.
    pub fn send_with(&self, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = encoded(message)?;
        Ok(passing::send(&self.socket, &bytes, fds).map_err(gone)?)
    }

    pub fn receive<T: DeserializeOwned>(&self) -> Received<T> {
        // One byte more than a message may have, so that a longer one shows.
        let mut buffer = vec![0; MESSAGE_BYTES_MAX + 1];
        loop {
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(n) => return read(&buffer[..n]),
                Err(Errno::EINTR | UNREAD) => {}
                Err(Errno::EAGAIN) => return Received::Empty,
                Err(_) => return Received::Closed,
            }
        }
    }

    /// A message and the descriptors that rode along; `count` says how many belong to it. With more or
    /// fewer it is garbled, and all of them are closed.
    pub fn receive_with<T: DeserializeOwned>(
        &self,
        count: impl FnOnce(&T) -> usize,
    ) -> (Received<T>, Vec<OwnedFd>) {
        let mut buffer = vec![0; MESSAGE_BYTES_MAX + 1];
        let packet = loop {
            match passing::receive(&self.socket, &mut buffer) {
                Ok(packet) => break packet,
                Err(UNREAD) => {}
                Err(Errno::EAGAIN) => return (Received::Empty, Vec::new()),
                Err(_) => return (Received::Closed, Vec::new()),
            }
        };
        let received = read(&buffer[..packet.bytes]);
        if let Received::Message(message) = &received {
            let (wanted, found) = (count(message), packet.fds.len());
            if wanted != found || packet.fds_lost {
                let text = format!("{found} descriptors rode along, not {wanted}");
                return (Received::Garbled(text), Vec::new());
            }
            return (received, packet.fds);
        }
        (received, Vec::new())
    }
}

/// Said once on this side when the other one is gone and had not read everything. What it had said
/// itself is there all the same, and then the end.
const UNREAD: Errno = Errno::ECONNRESET;

/// Nobody is there to be told, whatever they had left unread.
fn gone(errno: Errno) -> Errno {
    match errno {
        UNREAD => Errno::EPIPE,
        errno => errno,
    }
}

fn encoded(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(io::Error::other(format!(
            "a channel message of {} bytes is over the limit of {MESSAGE_BYTES_MAX}",
            bytes.len()
        )));
    }
    Ok(bytes)
}

fn read<T: DeserializeOwned>(packet: &[u8]) -> Received<T> {
    if packet.is_empty() {
        // It reads like the end; nobody honest sends one.
        return Received::Closed;
    }
    if packet.len() > MESSAGE_BYTES_MAX {
        return Received::Garbled(format!("longer than {MESSAGE_BYTES_MAX} bytes"));
    }
    match serde_json::from_slice(packet) {
        Ok(message) => Received::Message(message),
        Err(error) => Received::Garbled(error.to_string()),
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both() -> (Channel, Channel) {
        let (ours, theirs) = Channel::pair().expect("socket pair");
        (ours, Channel::adopt(theirs).expect("a SEQPACKET socket"))
    }

    #[test]
    fn an_order_arrives_as_it_was_sent() {
        let (supervisor, worker) = both();
        assert_eq!(worker.receive::<Order>(), Received::Empty);
        let order = Order::Drain {
            grace_ms: 30_000,
            leaving: Vec::new(),
            hurried: true,
        };
        supervisor.send(&order).expect("sent");
        assert_eq!(worker.receive(), Received::Message(order));
        assert_eq!(worker.receive::<Order>(), Received::Empty);
    }

    #[test]
    fn the_end_of_the_other_side_is_seen() {
        let (supervisor, worker) = both();
        drop(worker);
        assert_eq!(supervisor.receive::<Report>(), Received::Closed);
    }

    /// Whoever ends with something unread leaves an error behind, before what it had said itself.
    #[test]
    fn last_words_are_heard_of_one_who_had_not_read_everything() {
        let words = Report::Refused {
            text: "no file".into(),
        };
        let ended = || {
            let (supervisor, worker) = both();
            supervisor.send(&Order::Serve).expect("sent");
            worker.send(&words).expect("sent");
            supervisor
        };
        let supervisor = ended();
        assert_eq!(supervisor.receive(), Received::Message(words.clone()));
        assert_eq!(supervisor.receive::<Report>(), Received::Closed);
        let supervisor = ended();
        let (heard, _) = supervisor.receive_with(|_: &Report| 0);
        assert_eq!(heard, Received::Message(words.clone()));
        let gone = io::ErrorKind::BrokenPipe;
        for supervisor in [ended(), supervisor] {
            let told = supervisor.send(&Order::Serve).expect_err("nobody is there");
            assert_eq!(told.kind(), gone);
        }
        let told = ended().send_with(&Order::Serve, &[]).expect_err("nobody");
        assert_eq!(told.kind(), gone);
    }

    #[test]
    fn garbage_of_any_length_is_named_and_survived() {
        let (supervisor, worker) = both();
        let raw = worker.as_fd().as_raw_fd();
        for garbage in [&b"\xff\x00\xfe"[..], b"{\"ready\":", b"[]", &[b'x'; 70_000]] {
            send(raw, garbage, MsgFlags::empty()).expect("sent");
            let received = supervisor.receive::<Report>();
            assert!(matches!(received, Received::Garbled(_)), "{received:?}");
        }
        worker
            .send(&Report::Refused {
                text: "still here".into(),
            })
            .expect("sent");
        assert!(matches!(
            supervisor.receive::<Report>(),
            Received::Message(_)
        ));
    }

    #[test]
    fn what_is_too_long_is_not_sent() {
        let (supervisor, worker) = both();
        let report = Report::Refused {
            text: "x".repeat(MESSAGE_BYTES_MAX),
        };
        assert!(worker.send(&report).is_err());
        assert_eq!(supervisor.receive::<Report>(), Received::Empty);
    }

    #[test]
    fn a_full_channel_is_an_error_and_not_a_wait() {
        let (_supervisor, worker) = both();
        let report = Report::Refused {
            text: "x".repeat(60_000),
        };
        let sent = (0..1_000)
            .take_while(|_| worker.send(&report).is_ok())
            .count();
        assert!(sent < 1_000);
    }

    #[test]
    fn another_kind_of_descriptor_is_not_adopted() {
        let file = std::fs::File::open("/dev/null").expect("open");
        assert!(Channel::adopt(file.into()).is_none());
    }
}
