//! The stream between giver and taker: messages as packets, sockets beside them, and what does not fit
//! a packet in a memory file.
//!
//! Invariant: nothing here waits, and what is received is at most as long as a batch may be.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::epoll::Epoll;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{MsgFlags, Shutdown, recv, shutdown};

use crate::engine::handover::{BATCH_BYTES_MAX, Message, PACKET_BYTES_MAX};
use crate::sys::passing;

/// A packet that says no more than that the message is in the file which rides along last.
const IN_FILE: &[u8] = b"PPHF";

#[derive(Debug)]
pub(super) struct Line {
    socket: OwnedFd,
    pub(super) event: u64,
    /// There may be something to receive.
    pub(super) waiting: bool,
}

#[derive(Debug)]
pub(super) enum Heard {
    Message(Message, Vec<OwnedFd>),
    Nothing,
    /// The other side has closed its end; nothing that it had sent is left.
    Ended,
    /// What came is no message, or has not come whole.
    Wrong(String),
}

impl Line {
    pub(super) fn new(socket: OwnedFd, event: u64, epoll: &Epoll) -> nix::Result<Line> {
        super::poll(&socket, event, epoll)?;
        Ok(Line {
            socket,
            event,
            waiting: false,
        })
    }

    pub(super) fn close(self, epoll: &Epoll) {
        // It was added when this was made; closing it is the end of it in any case.
        let _ = epoll.delete(&self.socket);
    }

    pub(super) fn send(&self, message: &Message, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = message.write();
        if bytes.len() <= PACKET_BYTES_MAX {
            return Ok(passing::send(&self.socket, &bytes, sockets)?);
        }
        let file = memory_file(&bytes)?;
        let mut along = sockets.to_vec();
        along.push(file.as_fd());
        Ok(passing::send(&self.socket, IN_FILE, &along)?)
    }

    pub(super) fn receive(&self) -> Heard {
        let mut buffer = Vec::new();
        // As long as it is: memory for the longest would be taken, and kept between what sessions are
        // made of, in both workers and for each that gives.
        let packet = once_more(|| waiting_bytes(&self.socket)).and_then(|bytes| {
            buffer.resize(bytes.min(PACKET_BYTES_MAX + 1), 0);
            once_more(|| passing::receive(&self.socket, &mut buffer))
        });
        let mut packet = match packet {
            Ok(packet) => packet,
            Err(Errno::EAGAIN) => return Heard::Nothing,
            Err(_) => return Heard::Ended,
        };
        if packet.fds_lost {
            return Heard::Wrong("sockets were lost for want of descriptors".to_owned());
        }
        if packet.bytes == 0 {
            return Heard::Ended;
        }
        if packet.cut || packet.bytes > PACKET_BYTES_MAX {
            return Heard::Wrong("a packet is too long".to_owned());
        }
        let mut bytes = &buffer[..packet.bytes];
        let from_file;
        if bytes == IN_FILE {
            from_file = packet.fds.pop().map(read_file);
            bytes = match &from_file {
                Some(Ok(bytes)) => bytes,
                Some(Err(error)) => return Heard::Wrong(format!("its file: {error}")),
                None => return Heard::Wrong("a file is missing".to_owned()),
            };
        }
        match Message::read(bytes) {
            Ok(message) => Heard::Message(message, packet.fds),
            Err(wrong) => Heard::Wrong(format!("wrong in a message: {}", wrong.0)),
        }
    }

    /// From now on the other side cannot say anything any more; what it has said can be received.
    pub(super) fn stop_listening(&self) {
        // Fails only if the other side is gone, which comes to the same.
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Read);
    }
}

/// Of the next packet; 0 is the end.
fn waiting_bytes(socket: &OwnedFd) -> nix::Result<usize> {
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC | MsgFlags::MSG_DONTWAIT;
    loop {
        match recv(socket.as_raw_fd(), &mut [], flags) {
            Err(Errno::EINTR) => {}
            length => return length,
        }
    }
}

/// The kernel says once that the other side went away with something unread; what that had sent before
/// is still there.
fn once_more<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    match call() {
        Err(Errno::ECONNRESET) => call(),
        result => result,
    }
}

fn memory_file(bytes: &[u8]) -> io::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut file = File::from(memfd_create(c"polyport-handover", flags)?);
    file.write_all(bytes)?;
    let seals = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals | SealFlag::F_SEAL_SEAL))?;
    Ok(file.into())
}

/// Whoever wrote it: it has to be a sealed memory file, of which no read can wait.
fn read_file(file: OwnedFd) -> io::Result<Vec<u8>> {
    let seals = fcntl(&file, FcntlArg::F_GET_SEALS)?;
    if seals & SealFlag::F_SEAL_SHRINK.bits() == 0 {
        return Err(io::Error::other("it is not sealed"));
    }
    let length = nix::sys::stat::fstat(&file)?.st_size as u64;
    if length > BATCH_BYTES_MAX as u64 {
        return Err(io::Error::other(format!(
            "longer than {BATCH_BYTES_MAX} bytes"
        )));
    }
    let mut bytes = vec![0; length as usize];
    File::from(file).read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}
