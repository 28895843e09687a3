//! A stream peer of a case, over TCP or a Unix socket: what both can do, under one name.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixStream};

use super::daemon::PATIENCE;

pub enum Peer {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Peer {
    /// To an endpoint as `status` names it.
    pub fn connect(url: &str) -> io::Result<Peer> {
        let peer = if let Some(address) = url.strip_prefix("tcp://") {
            let address: SocketAddr = address.parse().expect("an address");
            let stream = TcpStream::connect(reachable(address))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Peer::Tcp(stream)
        } else {
            let name = url.strip_prefix("unix:").expect("a stream endpoint");
            let stream = match name.strip_prefix('@') {
                Some(name) => UnixStream::connect_addr(&UnixAddress::from_abstract_name(name)?)?,
                None => UnixStream::connect(name)?,
            };
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Peer::Unix(stream)
        };
        Ok(peer)
    }

    pub fn try_clone(&self) -> io::Result<Peer> {
        Ok(match self {
            Peer::Tcp(stream) => Peer::Tcp(stream.try_clone()?),
            Peer::Unix(stream) => Peer::Unix(stream.try_clone()?),
        })
    }

    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Peer::Tcp(stream) => stream.shutdown(how),
            Peer::Unix(stream) => stream.shutdown(how),
        }
    }

    /// Of a TCP peer.
    pub fn local_addr(&self) -> SocketAddr {
        match self {
            Peer::Tcp(stream) => stream.local_addr().expect("an address"),
            Peer::Unix(_) => panic!("a Unix peer has no address"),
        }
    }
}

/// Whom to connect to where a service listens on every address.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Peer::Tcp(stream) => stream.as_fd(),
            Peer::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Read for Peer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Peer::Tcp(stream) => stream.read(buffer),
            Peer::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Peer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Peer::Tcp(stream) => stream.write(bytes),
            Peer::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
