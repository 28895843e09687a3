//! What this worker has open, for an operator who asks; those that are named can be ended.
//!
//! The answer is written into a memory file of the supervisor's and reported over the channel. Bytes
//! are what the kernel has counted, so that nothing is counted here that nobody may ever ask for.
//!
//! Invariant: nothing waits for the one who asked.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::libc;
use nix::sys::socket::{SockaddrLike, SockaddrStorage, getpeername, getsockname};
use slotmap::Key;

use super::stream::Stream;
use super::turn::Worker;
use super::{Orders, Wakes};
use crate::channel::{ConnectionsOrder, OpenConnection, OpenConnections, Report, handed};
use crate::engine::protocol::Protocol;
use crate::engine::session::Token;
use crate::sys::socket_option;

impl<P: Protocol, W: Wakes, O: Orders> Worker<P, W, O> {
    pub(super) fn say_connections(&mut self, order: &ConnectionsOrder) {
        let Some(file) = self.orders.take_descriptor() else {
            return;
        };
        let (said, in_loop, on_threads) = self.look(order);
        if order.end {
            for token in in_loop {
                self.streams.finish_for_operator(token, self.now_ms);
            }
            self.blocking.end_asked(&on_threads);
            self.part();
        }
        let report = match handed::answer(file, &said) {
            Ok(bytes) => Report::Connections {
                number: order.number,
                bytes,
            },
            // No memory for it: it will be called silent, and is.
            Err(error) => return tracing::warn!("connections cannot be listed: {error}"),
        };
        if let Err(error) = self.orders.report(&report) {
            tracing::warn!("connections cannot be reported: {error}");
        }
    }

    /// What is to be said, and which of it the loop and which threads serve.
    fn look(&self, order: &ConnectionsOrder) -> (OpenConnections, Vec<Token>, Vec<Token>) {
        let mut said = OpenConnections::default();
        let (mut in_loop, mut on_threads) = (Vec::new(), Vec::new());
        for seen in self.streams.seen(self.now_ms) {
            let Some(stream) = self.sockets.get(seen.token) else {
                continue;
            };
            let known = self.gate.address_of(seen.token);
            let mut open = self.open_connection(stream, seen.token.data().as_ffi(), known);
            open.idle_ms = Some(seen.idle_ms);
            open.queued = Some(seen.queued as u64);
            if order.fits(&open) {
                note(order, open, &mut said);
                in_loop.push(seen.token);
            }
        }
        for (token, guest, stream) in self.blocking.seen() {
            let number = token.data().as_ffi() | ON_THREADS;
            let open = self.open_connection(stream, number, guest.address());
            if order.fits(&open) {
                note(order, open, &mut said);
                on_threads.push(token);
            }
        }
        (said, in_loop, on_threads)
    }

    fn open_connection(
        &self,
        stream: &Stream,
        token: u64,
        known: Option<IpAddr>,
    ) -> OpenConnection {
        let fd = stream.socket.as_raw_fd();
        let here = getpeername::<SockaddrStorage>(fd).ok().and_then(internet);
        // Whom a proxy has introduced is not who is at the other end; its port is not known here.
        let peer = match (known, here) {
            (Some(ip), Some(here)) if here.ip() == ip => Some(here),
            (Some(ip), _) => Some(SocketAddr::new(ip, 0)),
            (None, here) => here,
        };
        let bytes = bytes_of(&stream.socket);
        OpenConnection {
            token,
            peer,
            local: getsockname::<SockaddrStorage>(fd).ok().and_then(internet),
            age_ms: self.now_ms.saturating_sub(stream.since_ms),
            idle_ms: None,
            bytes_in: bytes.map(|(bytes_in, _)| bytes_in),
            bytes_out: bytes.map(|(_, bytes_out)| bytes_out),
            queued: None,
        }
    }
}

/// Tells the sessions of threads from those of the loop, whose epochs do not go so far.
const ON_THREADS: u64 = 1 << 63;

fn note(order: &ConnectionsOrder, open: OpenConnection, said: &mut OpenConnections) {
    match said.connections.len() < order.list_max {
        true => said.connections.push(open),
        false => said.left_out += 1,
    }
}

fn internet(address: SockaddrStorage) -> Option<SocketAddr> {
    match address.family()? {
        nix::sys::socket::AddressFamily::Inet => {
            Some(SocketAddr::V4((*address.as_sockaddr_in()?).into()))
        }
        nix::sys::socket::AddressFamily::Inet6 => {
            Some(SocketAddr::V6((*address.as_sockaddr_in6()?).into()))
        }
        _ => None,
    }
}

/// Received and acknowledged, from the kernel's struct tcp_info; `None` for other sockets.
fn bytes_of(socket: &OwnedFd) -> Option<(u64, u64)> {
    // In uapi/linux/tcp.h; fields are only ever added to its end.
    const BYTES_ACKED_AT: usize = 120;
    const BYTES_RECEIVED_AT: usize = 128;
    let mut bytes = [0; BYTES_RECEIVED_AT + 8];
    let (level, name) = (libc::IPPROTO_TCP, libc::TCP_INFO);
    let length = socket_option::read(socket, level, name, &mut bytes).ok()?;
    let number = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    (length == bytes.len()).then(|| (number(BYTES_RECEIVED_AT), number(BYTES_ACKED_AT)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn the_kernel_counts_what_has_come_and_what_was_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let mut peer =
            TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let (mut ours, _) = listener.accept().expect("accepted");
        peer.write_all(b"12345").expect("sent");
        ours.read_exact(&mut [0; 5]).expect("read");
        let (bytes_in, bytes_out) = bytes_of(&ours.into()).expect("a TCP socket");
        assert_eq!((bytes_in, bytes_out <= 1), (5, true));
        let (unix, _other) = std::os::unix::net::UnixStream::pair().expect("a pair");
        assert_eq!(bytes_of(&unix.into()), None);
    }
}
