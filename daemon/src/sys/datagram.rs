//! Many datagrams in one call: recvmmsg(2) into memory made once, sendmmsg(2) from pieces that lie
//! anywhere, with the control messages that say to which address one came and leave from which.
//!
//! nix has both calls, but collects the pieces of each into vectors of its own and knows no way to
//! keep the headers of outgoing ones; here a call allocates nothing. How addresses and control
//! messages look is `wire`'s. What became of a datagram is for the caller to decide.
//!
//! Invariant: the kernel writes into this memory only inside `receive`, and nothing borrowed from
//! it outlives the next one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{NonNull, null_mut};

use nix::errno::Errno;

mod errors;
mod wire;

pub use errors::take_errors;
use wire::{CONTROL_BYTES, Control, Controls, NAME_BYTES, Written, name, put_name};

/// Datagrams of one call.
pub const BATCH: usize = 64;
/// Pieces of one outgoing call.
pub const PIECES_MAX: usize = 256;
/// The kernel cuts no more than this many datagrams from one (udp(7), UDP_SEGMENT).
pub const SEGMENTS_MAX: usize = 64;

/// No datagram is longer.
const PAYLOAD_BYTES: usize = 64 * 1024;
/// Places begin at different lines of the caches, which a power of two would make collide.
const STRIDE_BYTES: usize = PAYLOAD_BYTES + 24 * 64;

#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Place {
    name: [u8; NAME_BYTES],
    control: [u8; CONTROL_BYTES],
}

impl Place {
    const EMPTY: Place = Place {
        name: [0; NAME_BYTES],
        control: [0; CONTROL_BYTES],
    };
}

/// Who sent a datagram, or whom one is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name<'a> {
    Internet(SocketAddr),
    /// A path, or a NUL and an abstract name; empty for a socket without one.
    Unix(&'a [u8]),
}

/// One end of a datagram's way that is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// `None` leaves the choice to the kernel.
    pub address: Option<IpAddr>,
    /// 0 leaves the choice to the routing table.
    pub interface: u32,
}

/// What the kernel said about one datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival<'a> {
    pub payload: &'a [u8],
    /// Where the payload lies in `Inbox::bytes`.
    pub at: usize,
    /// It was longer than that.
    pub truncated: bool,
    pub from: Name<'a>,
    /// What the kernel said beside it; see `way`.
    notes: &'a [u8],
}

/// By which way a datagram came, as far as that was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// Where it was sent to, as its header has it.
    pub to: Option<IpAddr>,
    /// What an answer should leave from.
    pub source: Option<Source>,
}

/// Where datagrams are received. Memory is only touched as far as datagrams reach.
#[derive(Debug)]
pub struct Inbox {
    slab: NonNull<[u8]>,
    places: NonNull<[Place]>,
    pieces: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    /// Headers that the kernel has changed.
    used: usize,
    /// What the last `receive` asked for.
    notes: bool,
}

impl Default for Inbox {
    fn default() -> Self {
        Inbox::new()
    }
}

impl Inbox {
    pub fn new() -> Inbox {
        let slab = NonNull::from(Box::leak(vec![0; BATCH * STRIDE_BYTES].into_boxed_slice()));
        let places = NonNull::from(Box::leak(vec![Place::EMPTY; BATCH].into_boxed_slice()));
        let mut inbox = Inbox {
            slab,
            places,
            pieces: vec![no_piece(); BATCH].into_boxed_slice(),
            headers: vec![no_header(); BATCH].into_boxed_slice(),
            used: BATCH,
            notes: false,
        };
        for nth in 0..BATCH {
            // SAFETY: `nth` is a place's number, so both offsets stay in their allocations.
            let base = unsafe { inbox.slab.cast::<u8>().add(nth * STRIDE_BYTES) };
            // SAFETY: as above.
            let place = unsafe { inbox.places.cast::<Place>().add(nth) };
            inbox.pieces[nth] = libc::iovec {
                iov_base: base.as_ptr().cast(),
                iov_len: PAYLOAD_BYTES,
            };
            let header = &mut inbox.headers[nth].msg_hdr;
            header.msg_name = place.as_ptr().cast();
            // SAFETY: the control buffer lies behind the name, in the same place.
            header.msg_control = unsafe { place.cast::<u8>().add(NAME_BYTES) }
                .as_ptr()
                .cast();
            header.msg_iov = &raw mut inbox.pieces[nth];
            header.msg_iovlen = 1;
        }
        inbox
    }

    /// How many datagrams came; 0 if none waits. Without `notes` nothing is heard of addresses,
    /// and nothing that a peer sends along, such as descriptors, enters this process.
    pub fn receive(&mut self, socket: BorrowedFd<'_>, notes: bool) -> nix::Result<usize> {
        let control_length = if notes { CONTROL_BYTES } else { 0 };
        let stale = if notes == self.notes {
            self.used
        } else {
            BATCH
        };
        for header in &mut self.headers[..stale] {
            header.msg_hdr.msg_namelen = NAME_BYTES as libc::socklen_t;
            header.msg_hdr.msg_controllen = control_length;
            header.msg_hdr.msg_flags = 0;
        }
        (self.used, self.notes) = (0, notes);
        let headers = self.headers.as_mut_ptr();
        let fd = socket.as_raw_fd();
        loop {
            // SAFETY: BATCH headers, all of whose pointers lead into memory of this inbox that is
            // as long as they say; `&mut self` keeps everybody else out of it. recvmmsg(2).
            let came = unsafe {
                libc::recvmmsg(
                    fd,
                    headers,
                    BATCH as u32,
                    libc::MSG_DONTWAIT as _,
                    null_mut(),
                )
            };
            match Errno::result(came) {
                Ok(came) => {
                    self.used = came as usize;
                    return Ok(self.used);
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(0),
                Err(errno) => return Err(errno),
            }
        }
    }

    /// All payloads, at the places that arrivals name.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: made from a box in `new` and freed in `drop`; nobody writes while `self` is lent.
        unsafe { self.slab.as_ref() }
    }

    /// One of those that came with the last `receive`.
    pub fn arrival(&self, nth: usize) -> Arrival<'_> {
        assert!(nth < self.used, "only what came can be looked at");
        // SAFETY: as for `bytes`.
        let place = unsafe { &self.places.as_ref()[nth] };
        let header = &self.headers[nth];
        let at = nth * STRIDE_BYTES;
        let length = (header.msg_len as usize).min(PAYLOAD_BYTES);
        let name_length = (header.msg_hdr.msg_namelen as usize).min(NAME_BYTES);
        let control_length = header.msg_hdr.msg_controllen.min(CONTROL_BYTES);
        Arrival {
            payload: &self.bytes()[at..at + length],
            at,
            truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            from: name(&place.name[..name_length]),
            notes: &place.control[..control_length],
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        // SAFETY: it came from a box in `new`, and nothing refers to it any more.
        drop(unsafe { Box::from_raw(self.slab.as_ptr()) });
        // SAFETY: as above.
        drop(unsafe { Box::from_raw(self.places.as_ptr()) });
    }
}

impl Arrival<'_> {
    #[inline]
    pub fn way(&self) -> Way {
        let mut way = Way::default();
        for message in Controls(self.notes) {
            way.hear(message);
        }
        way
    }
}

impl Way {
    fn hear(&mut self, message: Control<'_>) {
        match (message.level, message.kind) {
            // struct in_pktinfo: interface, address to answer from, address in the header.
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                let ours: Ipv4Addr = message.array::<4>(4).into();
                self.to = Some(Ipv4Addr::from(message.array::<4>(8)).into());
                self.source = Some(Source {
                    address: (!ours.is_unspecified()).then_some(ours.into()),
                    interface: u32::from_ne_bytes(message.array(0)),
                });
            }
            // struct in6_pktinfo: address in the header, interface. The other kind says more.
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) if self.source.is_none() => {
                let to = Ipv6Addr::from(message.array::<16>(0));
                let one = !to.to_canonical().is_multicast() && !to.is_unspecified();
                self.to = Some(to.to_canonical());
                self.source = Some(Source {
                    address: one.then_some(to.into()),
                    interface: u32::from_ne_bytes(message.array(16)),
                });
            }
            _ => {}
        }
    }
}

/// Memory of outgoing calls, used again by each.
#[derive(Debug, Default)]
pub struct Sender {
    headers: Vec<libc::mmsghdr>,
    /// At least one for each header; they keep what was in them.
    places: Vec<Place>,
    pieces: Vec<libc::iovec>,
    /// The first piece of each message.
    firsts: Vec<usize>,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Place")
    }
}

impl Sender {
    /// Begins a call; what is left of the last one is forgotten.
    pub fn batch(&mut self) -> Batch<'_> {
        self.headers.clear();
        self.pieces.clear();
        self.firsts.clear();
        Batch {
            sender: self,
            lent: std::marker::PhantomData,
        }
    }
}

/// Messages to be sent in one call, from pieces that live at least as long.
#[derive(Debug)]
pub struct Batch<'a> {
    sender: &'a mut Sender,
    lent: std::marker::PhantomData<&'a [u8]>,
}

impl<'a> Batch<'a> {
    /// Whether a message of so many pieces fits in.
    pub fn has_room(&self, pieces: usize) -> bool {
        self.sender.headers.len() < BATCH && self.sender.pieces.len() + pieces <= PIECES_MAX
    }

    /// A message, which the kernel cuts into datagrams of `segment` bytes if there are more. `v6`
    /// says of which family the socket is. Its pieces follow.
    pub fn message(
        &mut self,
        to: Name<'_>,
        v6: bool,
        source: Option<Source>,
        segment: Option<u16>,
    ) {
        let nth = self.sender.headers.len();
        if nth == self.sender.places.len() {
            self.sender.places.push(Place::EMPTY);
        }
        let place = &mut self.sender.places[nth];
        let name_length = put_name(&mut place.name, to, v6);
        let mut controls = Written {
            bytes: &mut place.control,
            length: 0,
        };
        if let Some(source) = source {
            controls.source(source, to, v6);
        }
        if let Some(bytes) = segment {
            controls.put(libc::SOL_UDP, libc::UDP_SEGMENT, &bytes.to_ne_bytes());
        }
        let control_length = controls.length;
        let mut header = no_header();
        header.msg_hdr.msg_namelen = name_length as libc::socklen_t;
        header.msg_hdr.msg_controllen = control_length;
        self.sender.headers.push(header);
        self.sender.firsts.push(self.sender.pieces.len());
    }

    /// More bytes of the last message.
    pub fn piece(&mut self, bytes: &'a [u8]) {
        self.sender.pieces.push(libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        });
    }

    /// How many messages the socket took. An error is about the first one.
    pub fn send(self, socket: BorrowedFd<'_>) -> nix::Result<usize> {
        let Sender {
            headers,
            places,
            pieces,
            firsts,
        } = self.sender;
        let count = headers.len();
        for nth in 0..count {
            let end = firsts.get(nth + 1).copied().unwrap_or(pieces.len());
            let header = &mut headers[nth].msg_hdr;
            let place = &mut places[nth];
            header.msg_name = place.name.as_mut_ptr().cast();
            header.msg_iovlen = end - firsts[nth];
            header.msg_iov = pieces[firsts[nth]..end].as_mut_ptr();
            if header.msg_controllen > 0 {
                header.msg_control = place.control.as_mut_ptr().cast();
            }
        }
        let flags = (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _;
        let (fd, headers) = (socket.as_raw_fd(), headers.as_mut_ptr());
        loop {
            // SAFETY: so many headers, whose pointers were just set to memory of the sender and to
            // pieces that 'a keeps alive; the kernel only reads them. sendmmsg(2).
            let sent = unsafe { libc::sendmmsg(fd, headers, count as u32, flags) };
            match Errno::result(sent) {
                Ok(sent) => return Ok(sent as usize),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

/// Whether a socket that is bound there has to be told by which way each datagram came. To this
/// machine's own address for itself there is but one, and answers take it by themselves.
pub fn has_ways(bound: SocketAddr) -> bool {
    bound.ip() != Ipv4Addr::LOCALHOST && bound.ip() != Ipv6Addr::LOCALHOST
}

/// How many datagrams this socket has lost so far, to its full queue or a wrong checksum.
pub fn drops(socket: BorrowedFd<'_>) -> u32 {
    const SO_MEMINFO: i32 = 55;
    const WORDS: usize = 9;
    const DROPS: usize = 8;
    let mut words = [0u32; WORDS];
    let mut length = size_of_val(&words) as libc::socklen_t;
    let (level, into) = (libc::SOL_SOCKET, words.as_mut_ptr().cast());
    let fd = socket.as_raw_fd();
    // SAFETY: the pointer is to so many bytes as the length says, both alive during the call.
    let answer = unsafe { libc::getsockopt(fd, level, SO_MEMINFO, into, &raw mut length) };
    // A kernel that does not say is taken to have lost none.
    if answer == 0 { words[DROPS] } else { 0 }
}

const fn no_piece() -> libc::iovec {
    libc::iovec {
        iov_base: null_mut(),
        iov_len: 0,
    }
}

fn no_header() -> libc::mmsghdr {
    // SAFETY: all zero is a header without name, pieces and control messages.
    unsafe { std::mem::zeroed() }
}
