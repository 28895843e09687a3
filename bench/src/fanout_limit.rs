//! The limit for rooms: what one connection sends is sent to all others, and nothing else is done.
//!
//! One thread, an edge-triggered event queue, one `recv` a burst and one `send` a member and burst. It has
//! no nicks, no history, no order over several processes and no limits, and shares no code with the
//! daemon.
//!
//! Invariant: a member that reads too slowly for its socket is closed, so nobody is owed anything.

use std::convert::Infallible;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, recv, send, setsockopt, sockopt};

const EVENTS_MAX: usize = 1024;
const READ_BYTES: usize = 64 * 1024;

/// Serves until the event queue fails or the process ends.
pub(crate) fn serve(listener: &TcpListener) -> io::Result<Infallible> {
    listener.set_nonblocking(true)?;
    // Sockets that are accepted inherit it.
    setsockopt(listener, sockopt::TcpNoDelay, &true)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let listener_event = listener.as_raw_fd() as u64;
    let event = EpollEvent::new(EpollFlags::EPOLLIN, listener_event);
    epoll.add(listener, event)?;
    // By descriptor, and those that are in use.
    let mut sockets: Vec<Option<TcpStream>> = Vec::new();
    let mut members: Vec<usize> = Vec::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut events = vec![EpollEvent::empty(); EVENTS_MAX];
    loop {
        let heard = match epoll.wait(&mut events, EpollTimeout::NONE) {
            Err(Errno::EINTR) => 0,
            heard => heard?,
        };
        for event in &events[..heard] {
            if event.data() == listener_event {
                accept_all(listener, &epoll, &mut sockets, &mut members)?;
                continue;
            }
            let from = event.data() as usize;
            while let Some(socket) = &sockets[from] {
                match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                    Ok(read) if read > 0 => {
                        tell(&mut sockets, &mut members, from, &buffer[..read]);
                        // A read that was cut short has emptied the socket.
                        if read < buffer.len() {
                            break;
                        }
                    }
                    Err(Errno::EAGAIN) => break,
                    _ => part(&mut sockets, &mut members, from),
                }
            }
        }
    }
}

fn accept_all(
    listener: &TcpListener,
    epoll: &Epoll,
    sockets: &mut Vec<Option<TcpStream>>,
    members: &mut Vec<usize>,
) -> io::Result<()> {
    loop {
        let socket = match listener.accept() {
            Ok((socket, _)) => socket,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) => return Err(error),
        };
        let fd = socket.as_raw_fd() as usize;
        let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        epoll.add(socket.as_fd(), EpollEvent::new(interest, fd as u64))?;
        if sockets.len() <= fd {
            sockets.resize_with(fd + 1, || None);
        }
        sockets[fd] = Some(socket);
        members.push(fd);
    }
}

fn tell(sockets: &mut [Option<TcpStream>], members: &mut Vec<usize>, from: usize, bytes: &[u8]) {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    let mut gone = Vec::new();
    for fd in members.iter().copied().filter(|fd| *fd != from) {
        if let Some(socket) = &sockets[fd]
            && send(socket.as_raw_fd(), bytes, flags) != Ok(bytes.len())
        {
            gone.push(fd);
        }
    }
    for fd in gone {
        part(sockets, members, fd);
    }
}

fn part(sockets: &mut [Option<TcpStream>], members: &mut Vec<usize>, fd: usize) {
    // Closing takes it out of the event queue.
    sockets[fd] = None;
    members.retain(|member| *member != fd);
}
