//! The limit: a bare echo server on one event loop, which does nothing that echoing does not need.
//!
//! One thread, an edge-triggered event queue, one `recv` and one `send` a request, every socket
//! registered once for both directions, one buffer for all, no allocation a request. It has no limits,
//! no log and no manners, and deliberately shares no code with the daemon: what it costs is what the
//! system itself costs.
//!
//! Invariant: a connection that still owes bytes is not read from.

use std::convert::Infallible;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockType, SockaddrIn, bind, listen, recv, send,
    setsockopt, socket, sockopt,
};

const EVENTS_MAX: usize = 1024;
const READ_BYTES: usize = 64 * 1024;

struct Connection {
    socket: TcpStream,
    /// Read but not yet taken back by the peer; empty unless a send was cut short.
    owed: Vec<u8>,
}

/// Two listeners on one port, between which the kernel divides those who connect.
pub(crate) fn pair() -> io::Result<[TcpListener; 2]> {
    let first = sharing(0)?;
    let second = sharing(first.local_addr()?.port())?;
    Ok([first, second])
}

fn sharing(port: u16) -> io::Result<TcpListener> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    setsockopt(&socket, sockopt::ReusePort, &true)?;
    bind(socket.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, port))?;
    listen(&socket, Backlog::MAXALLOWABLE)?;
    Ok(socket.into())
}

/// Echoes until the event queue fails or the process ends.
pub(crate) fn serve(listener: &TcpListener) -> io::Result<Infallible> {
    listener.set_nonblocking(true)?;
    // Sockets that are accepted inherit it.
    setsockopt(listener, sockopt::TcpNoDelay, &true)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let listener_event = listener.as_raw_fd() as u64;
    epoll.add(
        listener,
        EpollEvent::new(EpollFlags::EPOLLIN, listener_event),
    )?;
    // By descriptor: the kernel gives the lowest free one, so the table stays dense.
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut events = vec![EpollEvent::empty(); EVENTS_MAX];
    loop {
        let heard = match epoll.wait(&mut events, EpollTimeout::NONE) {
            Err(Errno::EINTR) => 0,
            heard => heard?,
        };
        for event in &events[..heard] {
            if event.data() == listener_event {
                accept_all(listener, &epoll, &mut connections)?;
                continue;
            }
            let place = &mut connections[event.data() as usize];
            // Whoever is over is closed, which takes it out of the event queue.
            if let Some(connection) = place
                && !connection.serve(event.events(), &mut buffer)
            {
                *place = None;
            }
        }
    }
}

fn accept_all(
    listener: &TcpListener,
    epoll: &Epoll,
    connections: &mut Vec<Option<Connection>>,
) -> io::Result<()> {
    let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
    loop {
        let socket = match listener.accept() {
            Ok((socket, _)) => socket,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) => return Err(error),
        };
        let fd = socket.as_raw_fd() as usize;
        epoll.add(socket.as_fd(), EpollEvent::new(interest, fd as u64))?;
        if connections.len() <= fd {
            connections.resize_with(fd + 1, || None);
        }
        connections[fd] = Some(Connection {
            socket,
            owed: Vec::new(),
        });
    }
}

impl Connection {
    /// False once the connection is over.
    fn serve(&mut self, events: EpollFlags, buffer: &mut [u8]) -> bool {
        if !self.owed.is_empty() {
            if !self.pay() {
                return false;
            }
        } else if !events.intersects(!EpollFlags::EPOLLOUT) {
            // Writable, with nothing to write.
            return true;
        }
        while self.owed.is_empty() {
            let fd = self.socket.as_raw_fd();
            let read = match recv(fd, buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(0) => return false,
                Ok(read) => read,
                Err(Errno::EAGAIN) => return true,
                Err(_) => return false,
            };
            match self.send(&buffer[..read]) {
                Ok(sent) => self.owed.extend_from_slice(&buffer[sent..read]),
                Err(_) => return false,
            }
            // A read that was cut short has emptied the socket.
            if read < buffer.len() {
                return true;
            }
        }
        true
    }

    fn pay(&mut self) -> bool {
        match self.send(&self.owed) {
            Ok(sent) => {
                self.owed.drain(..sent);
                true
            }
            Err(_) => false,
        }
    }

    fn send(&self, bytes: &[u8]) -> nix::Result<usize> {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        match send(self.socket.as_raw_fd(), bytes, flags) {
            Err(Errno::EAGAIN) => Ok(0),
            result => result,
        }
    }
}
