//! The limits for datagrams: bare echo servers that receive and send in batches.
//!
//! One thread that blocks in `recvmmsg`, up to 64 datagrams a call; what came leaves in one `sendmmsg`,
//! or, with segments, each run to one peer as one datagram that the kernel cuts (`UDP_SEGMENT`). They
//! have no event queue, no limits and no manners: what cannot be sent is lost, and the generator
//! counts it.
//!
//! Invariant: nothing is sent but what the last batch brought.

use std::array;
use std::convert::Infallible;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg, sendmsg,
};

const BATCH: usize = 64;
/// Longer datagrams than any workload has are cut.
const SLOT_BYTES: usize = 2048;
/// What one datagram can carry, before it is cut into segments.
const RUN_BYTES_MAX: usize = 65_507;

struct Batch {
    headers: MultiHeaders<SockaddrIn>,
    bytes: Box<[u8]>,
    lengths: [usize; BATCH],
    peers: [Option<SockaddrIn>; BATCH],
}

/// Echoes each batch with one call, until the socket fails or the process ends.
pub(crate) fn serve(socket: &UdpSocket) -> io::Result<Infallible> {
    let mut batch = Batch::new();
    let mut headers = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    loop {
        let count = batch.receive(socket)?;
        let slices = batch.slices().map(|slice| [slice]);
        let to = &batch.peers[..count];
        let flags = MsgFlags::empty();
        heed(sendmmsg(socket.as_raw_fd(), &mut headers, &slices, to, [], flags).map(drop))?;
    }
}

/// Echoes each run of datagrams to one peer with one call.
pub(crate) fn serve_segments(socket: &UdpSocket) -> io::Result<Infallible> {
    let mut batch = Batch::new();
    loop {
        let count = batch.receive(socket)?;
        let slices = batch.slices();
        let mut from = 0;
        while from < count {
            let run = batch.run(from, count);
            let segment = batch.lengths[from] as u16;
            let segments = [ControlMessage::UdpGsoSegments(&segment)];
            let how: &[ControlMessage<'_>] = if run > 1 { &segments } else { &[] };
            let (of, to) = (&slices[from..from + run], batch.peers[from].as_ref());
            let flags = MsgFlags::empty();
            heed(sendmsg(socket.as_raw_fd(), of, how, flags, to).map(drop))?;
            from += run;
        }
    }
}

impl Batch {
    fn new() -> Batch {
        Batch {
            headers: MultiHeaders::preallocate(BATCH, None),
            bytes: vec![0; BATCH * SLOT_BYTES].into_boxed_slice(),
            lengths: [0; BATCH],
            peers: [None; BATCH],
        }
    }

    /// Waits for at least one.
    fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        let mut slots = self.bytes.chunks_exact_mut(SLOT_BYTES);
        let mut slices: [[IoSliceMut<'_>; 1]; BATCH] = array::from_fn(|_| {
            let slot = slots.next().expect("there are BATCH slots");
            [IoSliceMut::new(slot)]
        });
        let (fd, flags) = (socket.as_raw_fd(), MsgFlags::MSG_WAITFORONE);
        let came = recvmmsg(fd, &mut self.headers, &mut slices, flags, None)?;
        let mut count = 0;
        for one in came {
            self.lengths[count] = one.bytes;
            self.peers[count] = one.address;
            count += 1;
        }
        Ok(count)
    }

    fn slices(&self) -> [IoSlice<'_>; BATCH] {
        array::from_fn(|nth| {
            let slot = &self.bytes[nth * SLOT_BYTES..];
            IoSlice::new(&slot[..self.lengths[nth]])
        })
    }

    /// How many, from this one on, go to the same peer, are as long and fit one datagram.
    fn run(&self, from: usize, count: usize) -> usize {
        let (length, peer) = (self.lengths[from], self.peers[from]);
        let fit = RUN_BYTES_MAX / length.max(1);
        let alike = (from..count).take_while(|nth| {
            self.lengths[*nth] == length && self.peers[*nth] == peer && length > 0
        });
        alike.take(fit).count().max(1)
    }
}

/// An answer to somebody who has gone comes back as an error of the next call.
fn heed(sent: nix::Result<()>) -> io::Result<()> {
    match sent {
        Ok(()) | Err(Errno::ECONNREFUSED) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
