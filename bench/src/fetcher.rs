//! The load generator for pages: one request on each connection, read to its end, by gopher or by HTTP.
//!
//! Each seat has one connection under way. What a page is, is learned from the first answer, which has to
//! have what the page is known to have; every other is compared with it, byte by byte. Of HTTP only the
//! body is compared: its head has the time.
//!
//! Invariant: it stops after the time or the errors that it was given, whichever comes first, and never
//! speaks to anything beyond this machine.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, SockaddrIn, bind, connect, recv, send, setsockopt,
    socket, sockopt,
};

use crate::tally::{Tally, only_on_loopback};

const EVENTS_MAX: usize = 64;
const READ_BYTES: usize = 256 * 1024;
/// Addresses that connections come from, so that closed ones do not use up one address's ports.
const SOURCES: usize = 250;

/// What is asked for, again and again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    /// Its path, in every server.
    pub(crate) path: &'static str,
    pub(crate) connections: usize,
    /// What the page has at least: bytes of a file, names of a menu.
    pub(crate) bytes_least: usize,
}

pub(crate) struct Fetcher {
    server: SocketAddrV4,
    is_web: bool,
    page: Page,
    request: Vec<u8>,
    expected: Vec<u8>,
    epoll: Epoll,
    seats: Vec<Seat>,
    connects: usize,
    buffer: Box<[u8]>,
}

struct Seat {
    socket: TcpStream,
    has_asked: bool,
    /// Of HTTP, until its head has ended.
    head: Option<Vec<u8>>,
    /// Bytes of the body that have come, and were right.
    right: usize,
    since: Instant,
}

enum Step {
    Waiting,
    Answered,
    Broken(String),
}

impl Fetcher {
    pub(crate) fn new(server: SocketAddrV4, is_web: bool, page: Page) -> io::Result<Fetcher> {
        only_on_loopback(server)?;
        let request = match is_web {
            true => format!("GET {} HTTP/1.0\r\n\r\n", page.path),
            false => format!("{}\r\n", page.path),
        };
        let request = request.into_bytes();
        let expected = learned(server, is_web, &request)?;
        if expected.len() < page.bytes_least {
            return Err(io::Error::other(format!(
                "{} has {} bytes of at least {}",
                page.path,
                expected.len(),
                page.bytes_least
            )));
        }
        let mut fetcher = Fetcher {
            server,
            is_web,
            page,
            request,
            expected,
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            seats: Vec::new(),
            connects: 0,
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
        };
        for nth in 0..page.connections {
            let seat = fetcher.connect(nth)?;
            fetcher.seats.push(seat);
        }
        Ok(fetcher)
    }

    /// Goes on for so long. What is under way at the end stays so, and counts in the next run.
    pub(crate) fn run(&mut self, time: Duration) -> io::Result<Tally> {
        let mut tally = Tally::default();
        let mut events = vec![EpollEvent::empty(); EVENTS_MAX];
        let begun = Instant::now();
        loop {
            tally.time = begun.elapsed();
            let left = time.saturating_sub(tally.time);
            if left.is_zero() || tally.is_enough(u64::MAX) {
                return Ok(tally);
            }
            let timeout = EpollTimeout::try_from(left).unwrap_or(EpollTimeout::MAX);
            let heard = match self.epoll.wait(&mut events, timeout) {
                Err(Errno::EINTR) => 0,
                heard => heard?,
            };
            for event in &events[..heard] {
                self.visit(event.data() as usize, &mut tally)?;
            }
        }
    }

    fn visit(&mut self, nth: usize, tally: &mut Tally) -> io::Result<()> {
        let seat = &mut self.seats[nth];
        match seat.go_on(&self.request, &self.expected, &mut self.buffer) {
            Step::Waiting => return Ok(()),
            Step::Answered => {
                tally.requests += 1;
                tally.took(seat.since.elapsed());
            }
            Step::Broken(why) => tally.fail(format!("{}: {why}", self.page.path)),
        }
        self.seats[nth] = self.connect(nth)?;
        Ok(())
    }

    fn connect(&mut self, nth: usize) -> io::Result<Seat> {
        let since = Instant::now();
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
        setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
        setsockopt(&socket, sockopt::TcpNoDelay, &true)?;
        let source = Ipv4Addr::new(127, 0, 1, 1 + (self.connects % SOURCES) as u8);
        self.connects += 1;
        let source = SockaddrIn::from(SocketAddrV4::new(source, 0));
        bind(socket.as_raw_fd(), &source)?;
        match connect(socket.as_raw_fd(), &SockaddrIn::from(self.server)) {
            Ok(()) | Err(Errno::EINPROGRESS) => {}
            Err(errno) => return Err(errno.into()),
        }
        let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
        self.epoll
            .add(socket.as_fd(), EpollEvent::new(interest, nth as u64))?;
        Ok(Seat {
            socket: socket.into(),
            has_asked: false,
            head: self.is_web.then(Vec::new),
            right: 0,
            since,
        })
    }
}

impl Seat {
    fn go_on(&mut self, request: &[u8], expected: &[u8], buffer: &mut [u8]) -> Step {
        if !self.has_asked {
            match send(self.socket.as_raw_fd(), request, MsgFlags::MSG_NOSIGNAL) {
                Ok(sent) if sent == request.len() => self.has_asked = true,
                Ok(_) => return Step::Broken("a request went in pieces".to_owned()),
                Err(Errno::EAGAIN | Errno::ENOTCONN) => return Step::Waiting,
                Err(errno) => return Step::Broken(format!("send: {}", errno.desc())),
            }
        }
        loop {
            let read = match recv(self.socket.as_raw_fd(), buffer, MsgFlags::empty()) {
                Ok(0) if self.head.is_none() && self.right == expected.len() => {
                    return Step::Answered;
                }
                Ok(0) => return Step::Broken(format!("it ended after {} bytes", self.right)),
                Ok(read) => read,
                Err(Errno::EAGAIN) => return Step::Waiting,
                Err(errno) => return Step::Broken(format!("recv: {}", errno.desc())),
            };
            let mut body = &buffer[..read];
            if let Some(head) = &mut self.head {
                let before = head.len();
                head.extend_from_slice(body);
                let Some(end) = end_of_head(head) else {
                    continue;
                };
                body = &body[end - before..];
                self.head = None;
            }
            if !expected[self.right..].starts_with(body) {
                return Step::Broken(format!("other bytes than before, from {}", self.right));
            }
            self.right += body.len();
        }
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let at = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    at.map(|at| at + 4)
}

/// The page as it is.
fn learned(server: SocketAddrV4, is_web: bool, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut socket = TcpStream::connect(server)?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    socket.write_all(request)?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer)?;
    match end_of_head(&answer) {
        Some(end) if is_web => Ok(answer.split_off(end)),
        _ => Ok(answer),
    }
}
