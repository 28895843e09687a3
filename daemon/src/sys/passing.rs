//! Descriptors that ride along with a packet, from one process to another.
//!
//! Who may send which and what they mean is for the caller; here they are counted and owned.
//!
//! Invariant: every descriptor that the kernel has delivered is owned by what `receive` returns, and is
//! closed on exec; also when others of the same packet could not be delivered.

use std::io::IoSlice;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use libc::{CMSG_DATA, CMSG_FIRSTHDR, CMSG_NXTHDR, cmsghdr, iovec, msghdr};
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};

/// What the kernel takes along with one packet (SCM_MAX_FD).
pub const FDS_MAX: usize = 253;
/// Header and descriptors, in words so that the header is aligned.
const CONTROL_WORDS: usize = 2 + (FDS_MAX * size_of::<RawFd>()).div_ceil(8);

/// A packet and what rode along.
#[derive(Debug)]
pub struct Packet {
    pub bytes: usize,
    pub fds: Vec<OwnedFd>,
    /// It was longer than the memory for it.
    pub cut: bool,
    /// Not all its descriptors could be delivered; the others are gone.
    pub fds_lost: bool,
}

/// Never blocks.
pub fn send(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> nix::Result<()> {
    let numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&numbers)];
    let along = if fds.is_empty() { &[] } else { &rights[..] };
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    let socket = socket.as_fd().as_raw_fd();
    loop {
        match sendmsg::<UnixAddr>(socket, &[IoSlice::new(bytes)], along, flags, None) {
            Err(Errno::EINTR) => {}
            sent => return sent.map(drop),
        }
    }
}

/// Never blocks. A packet of no bytes is the end. (What nix receives is lost to the caller when some
/// descriptors could not be delivered; so this is by hand.)
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> nix::Result<Packet> {
    let mut control = [0_u64; CONTROL_WORDS];
    let mut place = iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: numbers and pointers: all zero is a valid msghdr.
    let mut message: msghdr = unsafe { zeroed() };
    message.msg_iov = &raw mut place;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    let socket = socket.as_fd().as_raw_fd();
    let bytes = loop {
        // SAFETY: the header points to memory of ours of the sizes that it says (recvmsg(2)).
        match Errno::result(unsafe { libc::recvmsg(socket, &mut message, flags) }) {
            Err(Errno::EINTR) => {}
            received => break received? as usize,
        }
    };
    Ok(Packet {
        bytes,
        fds: delivered(&message),
        cut: message.msg_flags & libc::MSG_TRUNC != 0,
        fds_lost: message.msg_flags & libc::MSG_CTRUNC != 0,
    })
}

/// The descriptors of a message that `recvmsg` has just filled in.
fn delivered(message: &msghdr) -> Vec<OwnedFd> {
    let mut fds = Vec::new();
    // SAFETY: the kernel has written headers into the control memory, and its length (cmsg(3)).
    let mut next = unsafe { CMSG_FIRSTHDR(message) };
    // SAFETY: null, or a header that lies in the control memory.
    while let Some(header) = unsafe { next.as_ref() } {
        if header.cmsg_level == libc::SOL_SOCKET && header.cmsg_type == libc::SCM_RIGHTS {
            let length = header.cmsg_len - size_of::<cmsghdr>();
            // SAFETY: its data follow the header.
            let data = unsafe { CMSG_DATA(header) }.cast::<RawFd>();
            for nth in 0..length / size_of::<RawFd>() {
                // SAFETY: so many numbers lie there.
                let number = unsafe { data.add(nth).read_unaligned() };
                // SAFETY: the kernel made it for this process just now (unix(7)); nobody else has it.
                fds.push(unsafe { OwnedFd::from_raw_fd(number) });
            }
        }
        // SAFETY: as for the first.
        next = unsafe { CMSG_NXTHDR(message, header) };
    }
    fds
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::shared_memory::SharedWords;
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
    use nix::sys::stat::fstat;

    fn pair() -> (OwnedFd, OwnedFd) {
        let flags = SockFlag::SOCK_CLOEXEC;
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).expect("a pair")
    }

    #[test]
    fn descriptors_arrive_in_their_order_and_as_many_as_were_sent() {
        let (here, there) = pair();
        for count in [0, 1, 2, FDS_MAX] {
            let files: Vec<OwnedFd> = (0..count)
                .map(|nth| SharedWords::file("test", nth + 1).expect("a memory file"))
                .collect();
            let lent: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
            send(&here, b"some", &lent).expect("sent");
            let mut buffer = [0; 8];
            let packet = receive(&there, &mut buffer).expect("received");
            assert_eq!(
                (packet.bytes, packet.cut, packet.fds_lost),
                (4, false, false)
            );
            assert_eq!(packet.fds.len(), count);
            for (nth, fd) in packet.fds.into_iter().enumerate() {
                let size = fstat(&fd).expect("it is a file").st_size;
                assert_eq!(size as usize, nth + 1, "in their order");
            }
        }
        assert_eq!(receive(&there, &mut [0; 8]).err(), Some(Errno::EAGAIN));
        drop(here);
        assert_eq!(receive(&there, &mut [0; 8]).expect("the end").bytes, 0);
    }

    #[test]
    fn what_is_longer_than_the_memory_is_marked() {
        let (here, there) = pair();
        send(&here, b"longer", &[]).expect("sent");
        let packet = receive(&there, &mut [0; 3]).expect("received");
        assert!(packet.cut && packet.bytes == 3);
    }
}
