//! Replies: by which way each of the last datagrams came, so that an answer can take it back.
//!
//! A ring. A token is the count of datagrams so far, so it names its slot and its epoch at once, and
//! one that was overwritten is noticed. What a plugin was refused is still readable here for one
//! batch more: what it sent meanwhile is looked up only at the batch's end.
//!
//! Invariant: a token is never 0 and never given out twice.

use std::net::{IpAddr, SocketAddr};

/// Datagrams received in one call at most, and so forgotten in one batch at most.
pub const BATCH: usize = 64;
/// A token is honoured while its datagram is one of so many last ones.
pub const REPLIES: usize = 960;
const SLOTS: usize = REPLIES + BATCH;
/// The longest name of a Unix socket, as unix(7) has it.
pub const UNIX_NAME_BYTES_MAX: usize = 108;

/// One datagram's way: the socket, our end of it and the peer's. Each has a line of the caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(64))]
pub struct Flow {
    /// Which of the worker's datagram listeners it came to.
    pub listener: u32,
    /// The interface it came in by; 0 where that is not known.
    pub interface: u32,
    /// The address that an answer is to leave from; `None` leaves the choice to the kernel.
    pub local: Option<IpAddr>,
    pub peer: FlowPeer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowPeer {
    /// As its socket has it: an IPv4 peer of a dual-stack listener is a mapped address.
    Internet(SocketAddr),
    /// A Unix socket, whose name is kept beside the ring.
    Unix,
    /// A Unix socket without a name: nothing can be sent to it.
    Nameless,
}

const _: () = assert!(size_of::<Flow>() == 64);

#[derive(Debug, Default)]
pub struct Replies {
    /// Tokens given out; the last one.
    count: u64,
    flows: Vec<Flow>,
    /// Names of Unix peers, one place a slot; empty until the first of them comes.
    names: Vec<Name>,
}

#[derive(Clone, Copy, Debug)]
struct Name {
    length: usize,
    bytes: [u8; UNIX_NAME_BYTES_MAX],
}

impl Replies {
    /// Remembers a way and gives its token. `name` is that of a Unix peer.
    pub fn note(&mut self, flow: Flow, name: &[u8]) -> u64 {
        let slot = (self.count % SLOTS as u64) as usize;
        match self.flows.get_mut(slot) {
            Some(old) => *old = flow,
            None => self.flows.push(flow),
        }
        if flow.peer == FlowPeer::Unix {
            self.keep_name(slot, name);
        }
        self.count += 1;
        self.count
    }

    /// The way of a token that a plugin names; `None` once it is too old, or if it never was one.
    pub fn find(&self, token: u64) -> Option<&Flow> {
        let age = self.count.checked_sub(token)?;
        (token != 0 && age < REPLIES as u64).then(|| self.flow(token))
    }

    /// The way of a token that was found during this batch.
    pub fn flow(&self, token: u64) -> &Flow {
        &self.flows[slot_of(token)]
    }

    /// The name of a token's Unix peer.
    pub fn name(&self, token: u64) -> &[u8] {
        let name = &self.names[slot_of(token)];
        &name.bytes[..name.length]
    }

    fn keep_name(&mut self, slot: usize, name: &[u8]) {
        if self.names.is_empty() {
            let none = Name {
                length: 0,
                bytes: [0; UNIX_NAME_BYTES_MAX],
            };
            self.names = vec![none; SLOTS];
        }
        let length = name.len().min(UNIX_NAME_BYTES_MAX);
        self.names[slot].length = length;
        self.names[slot].bytes[..length].copy_from_slice(&name[..length]);
    }
}

fn slot_of(token: u64) -> usize {
    ((token - 1) % SLOTS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(port: u16, peer: FlowPeer) -> Flow {
        Flow {
            listener: u32::from(port),
            interface: 0,
            local: None,
            peer,
        }
    }

    #[test]
    fn a_token_is_honoured_for_so_many_datagrams_and_readable_for_a_batch_more() {
        let mut replies = Replies::default();
        assert_eq!(replies.find(0), None);
        assert_eq!(replies.find(1), None, "not given out yet");
        let tokens: Vec<u64> = (0..3000)
            .map(|port| replies.note(flow(port, FlowPeer::Nameless), b""))
            .collect();
        for (nth, token) in tokens.iter().enumerate() {
            let later = tokens.len() - 1 - nth;
            let found = replies.find(*token).map(|flow| flow.listener as usize);
            let expected = (later < REPLIES).then_some(nth);
            assert_eq!(found, expected, "token {token}, {later} datagrams later");
            if later < REPLIES + BATCH {
                assert_eq!(replies.flow(*token).listener as usize, nth);
            }
        }
        assert_eq!(replies.find(3001), None);
        assert_eq!(replies.find(u64::MAX), None);
    }

    #[test]
    fn the_name_of_a_unix_peer_goes_with_its_token() {
        let mut replies = Replies::default();
        let long = [b'x'; 200];
        let names: [&[u8]; 4] = [b"/run/a", b"\0abstract", b"", &long];
        let tokens = names.map(|name| replies.note(flow(0, FlowPeer::Unix), name));
        for (token, name) in tokens.iter().zip(names) {
            let kept = &name[..name.len().min(UNIX_NAME_BYTES_MAX)];
            assert_eq!(replies.name(*token), kept);
        }
    }
}
