//! Accepting a connection, with all that is to hold for it said in the same call.
//!
//! Nothing is decided here about who may connect.

use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{SockaddrLike, SockaddrStorage};

/// The next connection, whose calls never wait, and its address if it is one of the Internet's.
pub fn accept(listener: impl AsFd) -> nix::Result<(OwnedFd, Option<SocketAddr>)> {
    let fd = listener.as_fd().as_raw_fd();
    // SAFETY: all zeroes are an address, of no family.
    let mut place: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut length = size_of_val(&place) as libc::socklen_t;
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    let accepted = loop {
        // SAFETY: both places outlive the call, and `length` says how long the first is; accept4(2)
        // writes no more than that.
        let accepted =
            unsafe { libc::accept4(fd, (&raw mut place).cast(), &raw mut length, flags) };
        match Errno::result(accepted) {
            Err(Errno::EINTR) => {}
            accepted => break accepted?,
        }
    };
    // SAFETY: the call has made this descriptor for us.
    let socket = unsafe { OwnedFd::from_raw_fd(accepted) };
    // SAFETY: the kernel has written an address of this length, and the storage has room for any.
    let peer = unsafe { SockaddrStorage::from_raw((&raw const place).cast(), Some(length)) };
    Ok((socket, peer.as_ref().and_then(internet)))
}

fn internet(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address
        .as_sockaddr_in()
        .map(|it| SocketAddr::V4((*it).into()));
    v4.or_else(|| {
        address
            .as_sockaddr_in6()
            .map(|it| SocketAddr::V6((*it).into()))
    })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::{UnixListener, UnixStream};

    use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};

    use super::*;

    #[test]
    fn the_peer_has_its_address_and_the_socket_never_waits() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).expect("a free port");
            let peer = TcpStream::connect(listener.local_addr().expect("it is bound"));
            let peer = peer.expect("it listens");
            let (socket, from) = accept(&listener).expect("somebody waits");
            assert_eq!(from, peer.local_addr().ok(), "{address}");
            let flags = fcntl(&socket, FcntlArg::F_GETFL).map(OFlag::from_bits_retain);
            assert!(flags.expect("it is open").contains(OFlag::O_NONBLOCK));
            let flags = fcntl(&socket, FcntlArg::F_GETFD).map(FdFlag::from_bits_retain);
            assert!(flags.expect("it is open").contains(FdFlag::FD_CLOEXEC));
            listener.set_nonblocking(true).expect("it is a socket");
            assert_eq!(accept(&listener).err(), Some(Errno::EAGAIN));
        }
    }

    #[test]
    fn who_comes_to_a_path_has_no_address() {
        let path = std::env::temp_dir().join(format!("polyport-accept-{}", std::process::id()));
        let listener = UnixListener::bind(&path).expect("a free path");
        let _peer = UnixStream::connect(&path).expect("it listens");
        std::fs::remove_file(&path).expect("it is ours");
        let (_, from) = accept(&listener).expect("somebody waits");
        assert_eq!(from, None);
    }
}
