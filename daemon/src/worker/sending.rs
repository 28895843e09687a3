//! Sending: what is in the outbox leaves, many datagrams with one call, from where each is to.
//!
//! A run of datagrams of one size to one peer is handed to the kernel as one long one to be cut
//! there (UDP_SEGMENT), which costs one way through its network stack instead of many. Where it will
//! not, the same datagrams leave one by one, and so do all later ones of that socket. What the socket
//! does not take at once is lost, as any datagram may be; nothing waits. What a host has said against
//! an earlier answer fails the next send, whoever that is for: it is taken note of, and the send made again.
//!
//! Invariant: with and without runs, the same datagrams leave in the same order.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use nix::errno::Errno;

use super::datagram::DatagramListener;
use crate::engine::outbox::{Outbox, Outgoing, PAYLOAD_BYTES_MAX};
use crate::engine::replies::{Flow, FlowPeer};
use crate::sys::datagram::{Name, SEGMENTS_MAX, Sender, Source};

/// Longer ones are cut into packets anyway on most ways, and the kernel refuses what no packet holds.
const SEGMENT_BYTES_MAX: usize = 1452;

#[derive(Debug, Default)]
pub(super) struct Sending {
    sender: Sender,
    /// Behind each message of a call, the number of the next datagram.
    ends: Vec<usize>,
}

/// What became of an outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) datagrams: u64,
    /// Of which a run takes one.
    pub(super) sends: u64,
    pub(super) bytes: u64,
    pub(super) dropped: u64,
    pub(super) icmp_errors: u64,
}

impl Sending {
    /// `batch` is where lent payloads lie.
    pub(super) fn send(
        &mut self,
        outbox: &Outbox,
        batch: &[u8],
        listeners: &mut [DatagramListener],
    ) -> Sent {
        let sends = outbox.sends();
        let mut sent = Sent::default();
        let mut at = 0;
        let mut made_again = None;
        while at < sends.len() {
            let listener = &mut listeners[way(outbox, &sends[at]).listener as usize];
            let answer = self.send_some(outbox, batch, at, listener);
            let first_end = self.ends[0];
            let end = match answer {
                Ok(messages) => {
                    let end = self.ends[messages - 1];
                    sent.datagrams += (end - at) as u64;
                    sent.sends += messages as u64;
                    let bytes: usize = sends[at..end].iter().map(|send| send.piece.len()).sum();
                    sent.bytes += bytes as u64;
                    // The next one failed, and the kernel does not say for what.
                    if messages < self.ends.len() {
                        sent.icmp_errors += listener.take_errors();
                    }
                    end
                }
                Err(errno) if listener.is_told_of(errno) && made_again != Some(at) => {
                    sent.icmp_errors += listener.take_errors();
                    made_again = Some(at);
                    at
                }
                // The kernel or this interface cuts no runs: once more without.
                Err(Errno::EINVAL | Errno::EIO | Errno::EMSGSIZE) if first_end - at > 1 => {
                    listener.cuts_runs = false;
                    at
                }
                // The socket's own queue is full; that of a Unix peer is its own matter.
                Err(Errno::EAGAIN) if listener.brief.local.socket().is_some() => {
                    let end = self.ends.last().copied().unwrap_or(first_end);
                    sent.dropped += (end - at) as u64;
                    end
                }
                Err(_) => {
                    sent.dropped += (first_end - at) as u64;
                    first_end
                }
            };
            at = end;
        }
        sent
    }

    /// As many as fit into one call and leave by one socket, from `at` on.
    fn send_some(
        &mut self,
        outbox: &Outbox,
        batch: &[u8],
        at: usize,
        listener: &DatagramListener,
    ) -> nix::Result<usize> {
        let sends = outbox.sends();
        let socket = way(outbox, &sends[at]).listener;
        let mut messages = self.sender.batch();
        self.ends.clear();
        let mut next = at;
        while let Some(send) = sends.get(next) {
            let flow = way(outbox, send);
            if flow.listener != socket {
                break;
            }
            let run = if listener.cuts_runs {
                run_of(outbox, &sends[next..])
            } else {
                1
            };
            if !messages.has_room(run) {
                break;
            }
            let to = target(outbox, send, flow);
            let segment = (run > 1).then(|| send.piece.len() as u16);
            messages.message(to, listener.is_v6(), source(flow, to), segment);
            for send in &sends[next..next + run] {
                messages.piece(outbox.bytes(&send.piece, batch));
            }
            next += run;
            self.ends.push(next);
        }
        messages.send(listener.socket.as_fd())
    }
}

fn way<'a>(outbox: &'a Outbox, send: &Outgoing) -> &'a Flow {
    outbox.replies.flow(send.reply)
}

fn target<'a>(outbox: &'a Outbox, send: &Outgoing, flow: &Flow) -> Name<'a> {
    match (send.to, flow.peer) {
        (Some(to), _) => Name::Internet(to),
        (None, FlowPeer::Internet(peer)) => Name::Internet(peer),
        (None, FlowPeer::Unix | FlowPeer::Nameless) => Name::Unix(outbox.replies.name(send.reply)),
    }
}

/// What the datagram came to; not for a peer of the other family, which cannot be sent to from it.
fn source(flow: &Flow, to: Name<'_>) -> Option<Source> {
    let Name::Internet(to) = to else {
        return None;
    };
    if flow.local.is_none() && flow.interface == 0 {
        return None;
    }
    let v4 = |ip: IpAddr| ip.to_canonical().is_ipv4();
    let fits = flow.local.is_none_or(|local| v4(local) == v4(to.ip()));
    fits.then_some(Source {
        address: flow.local,
        interface: flow.interface,
    })
}

/// How many datagrams from the first on can leave as one: of one size but for a shorter last one,
/// by one way to one peer.
fn run_of(outbox: &Outbox, sends: &[Outgoing]) -> usize {
    let size = sends[0].piece.len();
    if size == 0 || size > SEGMENT_BYTES_MAX || sends.len() < 2 {
        return 1;
    }
    let mut run = 1;
    for send in sends[1..].iter().take(SEGMENTS_MAX - 1) {
        let length = send.piece.len();
        let fits = (1..=size).contains(&length) && (run + 1) * size <= PAYLOAD_BYTES_MAX;
        if !fits || !go_alike(outbox, &sends[0], send) {
            break;
        }
        run += 1;
        if length < size {
            break;
        }
    }
    run
}

/// To one peer by one way; of many flows nearly every next one has another port, so that is asked first.
fn go_alike(outbox: &Outbox, one: &Outgoing, other: &Outgoing) -> bool {
    let (first, second) = (way(outbox, one), way(outbox, other));
    let (to, also_to) = (internet_end(one, first), internet_end(other, second));
    to.map(SocketAddr::port) == also_to.map(SocketAddr::port)
        && to == also_to
        && first.listener == second.listener
        && first.interface == second.interface
        && first.local == second.local
}

fn internet_end<'a>(send: &'a Outgoing, flow: &'a Flow) -> Option<&'a SocketAddr> {
    match (&send.to, &flow.peer) {
        (Some(to), _) | (None, FlowPeer::Internet(to)) => Some(to),
        (None, FlowPeer::Unix | FlowPeer::Nameless) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_of_one_size_one_way_and_one_peer() {
        // Each datagram is (peer, length); the peer 1 came by another interface.
        let cases: [(&[(u16, usize)], usize); 13] = [
            (&[(7, 10)], 1),
            (&[(7, 10), (7, 10)], 2),
            (&[(7, 10), (7, 10), (7, 3), (7, 3)], 3),
            (&[(7, 10), (7, 11)], 1),
            (&[(7, 10), (8, 10)], 1),
            (&[(7, 10), (1, 10)], 1),
            (&[(7, 0), (7, 0)], 1),
            (&[(7, 10), (7, 0)], 1),
            (&[(7, 1452), (7, 1452)], 2),
            (&[(7, 1453), (7, 1453)], 1),
            (&[(7, 1); 100], 64),
            (&[(7, 1400); 100], 46),
            (&[(7, 1400), (7, 1399), (7, 1400)], 2),
        ];
        for (datagrams, expected) in cases {
            let mut outbox = Outbox::default();
            for (peer, length) in datagrams {
                let flow = Flow {
                    listener: 0,
                    interface: u32::from(*peer == 1),
                    local: None,
                    peer: FlowPeer::Internet(SocketAddr::from(([127, 0, 0, 1], *peer))),
                };
                let reply = outbox.replies.note(flow, b"");
                let payload = vec![0; *length];
                outbox.send(reply, None, &payload, None).expect("it fits");
            }
            assert_eq!(run_of(&outbox, outbox.sends()), expected, "{datagrams:?}");
        }
    }
}
