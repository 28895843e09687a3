//! The load generator for streams: one thread, one event queue, connections to one server on loopback.
//!
//! Each seat has one connection and one burst under way: requests that leave in one send, whose
//! answers are awaited together. When they are all there the seat begins its next burst, on the same
//! connection or, under churn, on a new one. It takes only echoes and compares every byte; a burst has
//! bytes of its own, so that an answer meant for another is noticed as well.
//!
//! Invariant: it stops after the time, the requests or the errors that it was given, whichever of
//! them comes first, and never speaks to anything beyond this machine.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, SockaddrIn, bind, connect, recv, send, setsockopt,
    socket, sockopt,
};

use crate::lines::Requests;
use crate::tally::{Tally, only_on_loopback};

const EVENTS_MAX: usize = 1024;
const READ_BYTES: usize = 64 * 1024;
/// Addresses that connections come from, so that closed ones do not use up one address's ports.
const SOURCES: usize = 250;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) connections: usize,
    /// Of one request.
    pub(crate) bytes: usize,
    /// Requests of one burst.
    pub(crate) pipelined: usize,
    /// A new connection for each burst.
    pub(crate) churn: bool,
}

pub(crate) struct Generator {
    server: SocketAddrV4,
    load: Load,
    epoll: Epoll,
    seats: Vec<Option<Seat>>,
    /// Connections made so far.
    connects: usize,
    requests: Requests,
    buffer: Box<[u8]>,
}

struct Seat {
    socket: TcpStream,
    /// Where in the pattern its burst begins.
    from: usize,
    sent: usize,
    answered: usize,
    since: Instant,
}

enum Step {
    Waiting,
    Answered,
    Broken(String),
}

impl Generator {
    pub(crate) fn new(server: SocketAddrV4, load: Load) -> io::Result<Generator> {
        only_on_loopback(server)?;
        let mut generator = Generator {
            server,
            load,
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            seats: Vec::with_capacity(load.connections),
            connects: 0,
            requests: Requests::of(load.bytes, load.bytes * load.pipelined),
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
        };
        for nth in 0..load.connections {
            let seat = generator.connect(nth)?;
            generator.seats.push(Some(seat));
        }
        Ok(generator)
    }

    /// Goes on for so long, or until so many requests are answered. What is under way at the end
    /// stays so, and counts in the next run.
    pub(crate) fn run(&mut self, time: Duration, requests_max: u64) -> io::Result<Tally> {
        let mut tally = Tally::default();
        let mut events = vec![EpollEvent::empty(); EVENTS_MAX];
        let begun = Instant::now();
        loop {
            tally.time = begun.elapsed();
            let left = time.saturating_sub(tally.time);
            if left.is_zero()
                || tally.is_enough(requests_max)
                || self.seats.iter().all(Option::is_none)
            {
                return Ok(tally);
            }
            let timeout = EpollTimeout::try_from(left).unwrap_or(EpollTimeout::MAX);
            let heard = match self.epoll.wait(&mut events, timeout) {
                Err(Errno::EINTR) => 0,
                heard => heard?,
            };
            for event in &events[..heard] {
                self.visit(event.data() as usize, event.events(), &mut tally)?;
            }
        }
    }

    fn visit(&mut self, nth: usize, events: EpollFlags, tally: &mut Tally) -> io::Result<()> {
        let length = self.load.bytes * self.load.pipelined;
        let Some(seat) = &mut self.seats[nth] else {
            return Ok(());
        };
        let burst = self.requests.burst(seat.from, length);
        let step = match seat.send(burst) {
            Step::Waiting if events.intersects(!EpollFlags::EPOLLOUT) => {
                seat.receive(burst, &mut self.buffer)
            }
            step => step,
        };
        match step {
            Step::Waiting => return Ok(()),
            Step::Answered => {
                let now = Instant::now();
                tally.requests += self.load.pipelined as u64;
                tally.took(now.duration_since(seat.since));
                if !self.load.churn {
                    seat.begin(self.requests.next(seat.from + length), now);
                    let burst = self.requests.burst(seat.from, length);
                    if let Step::Broken(why) = seat.send(burst) {
                        tally.fail(why);
                        self.seats[nth] = None;
                    }
                    return Ok(());
                }
            }
            Step::Broken(why) => tally.fail(why),
        }
        self.seats[nth] = None;
        if self.load.churn {
            self.seats[nth] = Some(self.connect(nth)?);
        }
        Ok(())
    }

    /// The burst begins with the connection, so that under churn its latency has both.
    fn connect(&mut self, nth: usize) -> io::Result<Seat> {
        let since = Instant::now();
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
        setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
        setsockopt(&socket, sockopt::TcpNoDelay, &true)?;
        let source = Ipv4Addr::new(127, 0, 1, 1 + (self.connects % SOURCES) as u8);
        self.connects += 1;
        bind(
            socket.as_raw_fd(),
            &SockaddrIn::from(SocketAddrV4::new(source, 0)),
        )?;
        match connect(socket.as_raw_fd(), &SockaddrIn::from(self.server)) {
            Ok(()) | Err(Errno::EINPROGRESS) => {}
            Err(errno) => return Err(errno.into()),
        }
        let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
        self.epoll
            .add(socket.as_fd(), EpollEvent::new(interest, nth as u64))?;
        let mut seat = Seat {
            socket: socket.into(),
            from: 0,
            sent: 0,
            answered: 0,
            since,
        };
        seat.begin(self.requests.first(self.connects), since);
        Ok(seat)
    }
}

impl Seat {
    fn begin(&mut self, from: usize, now: Instant) {
        (self.from, self.sent, self.answered, self.since) = (from, 0, 0, now);
    }

    /// What of the burst has not left yet.
    fn send(&mut self, burst: &[u8]) -> Step {
        if self.sent == burst.len() {
            return Step::Waiting;
        }
        match send(
            self.socket.as_raw_fd(),
            &burst[self.sent..],
            MsgFlags::MSG_NOSIGNAL,
        ) {
            Ok(sent) => self.sent += sent,
            // ENOTCONN: still connecting. Either way there will be an event.
            Err(Errno::EAGAIN | Errno::ENOTCONN) => {}
            Err(errno) => return Step::Broken(format!("send: {}", errno.desc())),
        }
        Step::Waiting
    }

    fn receive(&mut self, burst: &[u8], buffer: &mut [u8]) -> Step {
        loop {
            let read = match recv(self.socket.as_raw_fd(), buffer, MsgFlags::empty()) {
                Ok(0) => return Step::Broken("it closed before it had answered".to_owned()),
                Ok(read) => read,
                Err(Errno::EAGAIN) => return Step::Waiting,
                Err(errno) => return Step::Broken(format!("recv: {}", errno.desc())),
            };
            let wanted = &burst[self.answered..self.sent];
            if !wanted.starts_with(&buffer[..read]) {
                return Step::Broken(difference(wanted, &buffer[..read]));
            }
            self.answered += read;
            if self.answered == burst.len() {
                return Step::Answered;
            }
            if read < buffer.len() {
                return Step::Waiting;
            }
        }
    }
}

fn difference(wanted: &[u8], received: &[u8]) -> String {
    let same = wanted.iter().zip(received).take_while(|(a, b)| a == b);
    match same.count() {
        at if at == wanted.len() => format!("{} bytes more than were sent", received.len() - at),
        at => format!("byte {at} of an answer is not what was sent"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener};
    use std::thread;

    use super::*;
    use crate::limit;
    use crate::tally::ERRORS_MAX;

    /// Far longer than any of these runs; they end by their requests or errors.
    const PATIENCE: Duration = Duration::from_secs(60);

    const LOADS: [Load; 4] = [
        Load {
            connections: 1,
            bytes: 1,
            pipelined: 1,
            churn: false,
        },
        Load {
            connections: 8,
            bytes: 64,
            pipelined: 16,
            churn: false,
        },
        // Longer than one read, and than what a socket takes at once.
        Load {
            connections: 2,
            bytes: 6 << 20,
            pipelined: 1,
            churn: false,
        },
        Load {
            connections: 4,
            bytes: 64,
            pipelined: 1,
            churn: true,
        },
    ];

    fn listener() -> (TcpListener, SocketAddrV4) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
        match listener.local_addr().expect("it is bound") {
            SocketAddr::V4(address) => (listener, address),
            SocketAddr::V6(address) => panic!("{address} was not asked for"),
        }
    }

    /// Echoes what a connection sends after `change`; once it is told nothing, closes.
    fn liar(change: fn(Vec<u8>) -> Vec<u8>) -> SocketAddrV4 {
        let (listener, address) = listener();
        thread::spawn(move || {
            for socket in listener.incoming() {
                let mut socket = socket.expect("a connection");
                let mut buffer = [0; 256];
                while let Ok(read @ 1..) = socket.read(&mut buffer) {
                    let answer = change(buffer[..read].to_vec());
                    if answer.is_empty() || socket.write_all(&answer).is_err() {
                        break;
                    }
                }
            }
        });
        address
    }

    #[test]
    fn the_limit_answers_every_load_byte_by_byte() {
        let (listener, address) = listener();
        thread::spawn(move || limit::serve(&listener));
        for load in LOADS {
            let mut generator = Generator::new(address, load).expect("connected");
            let mut tally = generator.run(PATIENCE, 32).expect("run");
            assert_eq!((tally.errors, &tally.first_error), (0, &None), "{load:?}");
            assert!(tally.requests >= 32, "{load:?}: {tally:?}");
            let bursts = tally.requests as usize / load.pipelined;
            assert_eq!(tally.timed(), bursts, "{load:?}");
            assert!(tally.percentile(50) <= tally.percentile(99), "{load:?}");
        }
    }

    type Lie = (fn(Vec<u8>) -> Vec<u8>, &'static str);

    #[test]
    fn a_server_that_lies_is_noticed() {
        let lies: [Lie; 4] = [
            (
                |mut bytes| {
                    bytes[63] ^= 1;
                    bytes
                },
                "byte 63 of an answer is not what was sent",
            ),
            (
                |mut bytes| {
                    bytes.swap(0, 1);
                    bytes
                },
                "byte 0 of an answer is not what was sent",
            ),
            (
                |mut bytes| {
                    bytes.push(7);
                    bytes
                },
                "1 bytes more than were sent",
            ),
            (|_| Vec::new(), "it closed before it had answered"),
        ];
        for (lie, expected) in lies {
            let load = Load {
                connections: 1,
                bytes: 64,
                pipelined: 1,
                churn: false,
            };
            let mut generator = Generator::new(liar(lie), load).expect("connected");
            let tally = generator.run(PATIENCE, 1).expect("run");
            assert_eq!((tally.requests, tally.errors), (0, 1), "{expected}");
            assert_eq!(tally.first_error.as_deref(), Some(expected));
        }
    }

    #[test]
    fn under_churn_a_server_that_lies_ends_the_run() {
        let load = LOADS[3];
        let mut generator = Generator::new(liar(|_| Vec::new()), load).expect("connected");
        let tally = generator.run(PATIENCE, u64::MAX).expect("run");
        assert!(tally.errors >= ERRORS_MAX, "{tally:?}");
        assert_eq!(tally.requests, 0);
    }

    #[test]
    fn nothing_beyond_this_machine_is_spoken_to() {
        let elsewhere = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 7);
        assert!(Generator::new(elsewhere, LOADS[0]).is_err());
    }
}
