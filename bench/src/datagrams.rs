//! The load generator for datagrams: one thread, one event queue, flows to one server on loopback.
//!
//! A flow is a connected socket with a window of datagrams under way; each answer lets the next one
//! leave, and what one call received is replaced with one call. A datagram names its flow and its
//! place in it and has bytes of its own, so an answer that is lost, doubled, out of order, changed or
//! somebody else's is noticed: on loopback none of that is the network's doing.
//!
//! Invariant: it stops after the time, the requests or the errors that it was given, whichever of
//! them comes first, and never speaks to anything beyond this machine.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, MultiHeaders, recvmmsg, sendmmsg};

use crate::tally::{PATTERN_PERIOD, Tally, only_on_loopback, pattern};

const EVENTS_MAX: usize = 256;
const WINDOW_MAX: usize = 64;
/// The flow and the place in it.
const HEADER_BYTES: usize = 8;
/// What is not answered by then is lost.
const LOST: Duration = Duration::from_millis(250);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Flows {
    pub(crate) flows: usize,
    /// Datagrams of one flow that are under way.
    pub(crate) window: usize,
    pub(crate) bytes: usize,
}

pub(crate) struct Generator {
    load: Flows,
    epoll: Epoll,
    flows: Vec<Flow>,
    pattern: Box<[u8]>,
    /// A slot for each datagram of a window, with room for one byte too many.
    bytes: Box<[u8]>,
    // On connected sockets a datagram needs no address.
    received: MultiHeaders<()>,
    sent: MultiHeaders<()>,
}

struct Flow {
    socket: UdpSocket,
    number: u64,
    /// The place of the next one to leave, and of the next one to be answered.
    next: u64,
    awaited: u64,
    /// When each of the window left.
    since: Vec<Instant>,
}

impl Generator {
    pub(crate) fn new(server: SocketAddrV4, load: Flows) -> io::Result<Generator> {
        only_on_loopback(server)?;
        assert!(load.bytes >= HEADER_BYTES && (1..=WINDOW_MAX).contains(&load.window));
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let mut flows = Vec::with_capacity(load.flows);
        for number in 0..load.flows as u64 {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.set_nonblocking(true)?;
            socket.connect(server)?;
            epoll.add(socket.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, number))?;
            flows.push(Flow {
                socket,
                number,
                next: 0,
                awaited: 0,
                since: vec![Instant::now(); load.window],
            });
        }
        Ok(Generator {
            load,
            epoll,
            flows,
            pattern: pattern(load.bytes),
            bytes: vec![0; slot_bytes(load) * load.window].into_boxed_slice(),
            received: MultiHeaders::preallocate(load.window, None),
            sent: MultiHeaders::preallocate(load.window, None),
        })
    }

    /// Goes on for so long, or until so many requests are answered. What is under way at the end
    /// stays so, and counts in the next run.
    pub(crate) fn run(&mut self, time: Duration, requests_max: u64) -> io::Result<Tally> {
        let mut tally = Tally::default();
        let mut events = vec![EpollEvent::empty(); EVENTS_MAX];
        let begun = Instant::now();
        let mut looked = begun;
        for nth in 0..self.flows.len() {
            self.fill(nth, &mut tally);
        }
        loop {
            tally.time = begun.elapsed();
            let left = time.saturating_sub(tally.time);
            if left.is_zero() || tally.is_enough(requests_max) {
                return Ok(tally);
            }
            let timeout = EpollTimeout::try_from(left.min(LOST)).unwrap_or(EpollTimeout::MAX);
            let heard = match self.epoll.wait(&mut events, timeout) {
                Err(Errno::EINTR) => 0,
                heard => heard?,
            };
            for event in &events[..heard] {
                let nth = event.data() as usize;
                self.receive(nth, &mut tally);
                self.fill(nth, &mut tally);
            }
            if looked.elapsed() >= LOST {
                looked = Instant::now();
                self.give_up_lost(looked, &mut tally);
            }
        }
    }

    /// What one call brings.
    fn receive(&mut self, nth: usize, tally: &mut Tally) {
        let (load, flow) = (self.load, &mut self.flows[nth]);
        let slot_bytes = slot_bytes(load);
        let mut lengths = [0; WINDOW_MAX];
        let mut count = 0;
        let slots = self.bytes.chunks_exact_mut(slot_bytes);
        let mut slices: Vec<[IoSliceMut<'_>; 1]> =
            slots.map(|slot| [IoSliceMut::new(slot)]).collect();
        let fd = flow.socket.as_raw_fd();
        let flags = MsgFlags::MSG_DONTWAIT;
        match recvmmsg(fd, &mut self.received, &mut slices, flags, None) {
            Ok(came) => {
                for one in came {
                    lengths[count] = one.bytes;
                    count += 1;
                }
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => tally.fail(format!("recvmmsg: {}", errno.desc())),
        }
        let now = Instant::now();
        for (slot, length) in self.bytes.chunks_exact(slot_bytes).zip(&lengths[..count]) {
            match flow.judge(&slot[..*length], load, &self.pattern) {
                Ok(lost) => {
                    for _ in 0..lost {
                        tally.fail("an answer is missing or out of order".to_owned());
                    }
                    let place = (flow.awaited - 1) as usize % load.window;
                    tally.took(now.duration_since(flow.since[place]));
                    tally.requests += 1;
                }
                Err(why) => tally.fail(why),
            }
        }
    }

    /// Sends what the window has room for.
    fn fill(&mut self, nth: usize, tally: &mut Tally) {
        let (load, flow) = (self.load, &mut self.flows[nth]);
        let room = load.window - (flow.next - flow.awaited) as usize;
        let slot_bytes = slot_bytes(load);
        let slots = self.bytes.chunks_exact_mut(slot_bytes).take(room);
        for (slot, place) in slots.zip(flow.next..) {
            flow.write(place, &mut slot[..load.bytes], &self.pattern);
        }
        let slots = self.bytes.chunks_exact(slot_bytes).take(room);
        let slices: Vec<[IoSlice<'_>; 1]> = slots
            .map(|slot| [IoSlice::new(&slot[..load.bytes])])
            .collect();
        let (fd, nobody, flags) = (
            flow.socket.as_raw_fd(),
            [None; WINDOW_MAX],
            MsgFlags::empty(),
        );
        let now = Instant::now();
        match sendmmsg(fd, &mut self.sent, &slices, nobody, [], flags) {
            Ok(sent) => {
                for _ in sent {
                    flow.since[flow.next as usize % load.window] = now;
                    flow.next += 1;
                }
            }
            // There will be room after the next answer, or when the window is given up.
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => tally.fail(format!("sendmmsg: {}", errno.desc())),
        }
    }

    /// Flows whose oldest datagram was not answered for too long begin anew.
    fn give_up_lost(&mut self, now: Instant, tally: &mut Tally) {
        for nth in 0..self.flows.len() {
            let flow = &mut self.flows[nth];
            let oldest = flow.since[flow.awaited as usize % self.load.window];
            if flow.awaited < flow.next && now.duration_since(oldest) >= LOST {
                for _ in flow.awaited..flow.next {
                    tally.fail("an answer did not come".to_owned());
                }
                flow.awaited = flow.next;
            }
            self.fill(nth, tally);
        }
    }
}

impl Flow {
    fn write(&self, place: u64, datagram: &mut [u8], pattern: &[u8]) {
        let (header, body) = datagram.split_at_mut(HEADER_BYTES);
        header.copy_from_slice(&self.header(place));
        body.copy_from_slice(self.body(place, body.len(), pattern));
    }

    /// How many answers are missing before this one, which is then no longer awaited.
    fn judge(&mut self, answer: &[u8], load: Flows, pattern: &[u8]) -> Result<u64, String> {
        if answer.len() != load.bytes {
            let (length, bytes) = (answer.len(), load.bytes);
            return Err(format!("{length} bytes answer {bytes}"));
        }
        let (header, body) = answer.split_at(HEADER_BYTES);
        let under_way = self.awaited..self.next;
        let place = under_way
            .clone()
            .find(|place| self.header(*place) == *header)
            .ok_or_else(|| "an answer to nothing that is under way on its flow".to_owned())?;
        if body != self.body(place, body.len(), pattern) {
            return Err("an answer is not what was sent".to_owned());
        }
        self.awaited = place + 1;
        Ok(place - under_way.start)
    }

    fn header(&self, place: u64) -> [u8; HEADER_BYTES] {
        (place << 16 | self.number).to_le_bytes()
    }

    fn body<'p>(&self, place: u64, length: usize, pattern: &'p [u8]) -> &'p [u8] {
        let from = (place * 7919 + self.number * 104_729) as usize % PATTERN_PERIOD;
        &pattern[from..from + length]
    }
}

/// Whole cache lines, of which an answer that is too long fills at least a byte more.
fn slot_bytes(load: Flows) -> usize {
    (load.bytes + 1).next_multiple_of(64)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::thread;

    use super::*;
    use crate::datagram_limit;

    /// Far longer than any of these runs; they end by their requests or errors.
    const PATIENCE: Duration = Duration::from_secs(60);
    const ONE: Flows = Flows {
        flows: 1,
        window: 1,
        bytes: 64,
    };

    fn socket() -> (UdpSocket, SocketAddrV4) {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port on loopback");
        match socket.local_addr().expect("it is bound") {
            SocketAddr::V4(address) => (socket, address),
            SocketAddr::V6(address) => panic!("{address} was not asked for"),
        }
    }

    #[test]
    fn the_limits_answer_every_load_byte_by_byte() {
        let (batches, of_batches) = socket();
        thread::spawn(move || datagram_limit::serve(&batches));
        let (segments, of_segments) = socket();
        thread::spawn(move || datagram_limit::serve_segments(&segments));
        for (flows, window, bytes) in [
            (1, 1, 8),
            (1, 64, 64),
            (1, 64, 1400),
            (64, 1, 64),
            (3, 5, 99),
        ] {
            let load = Flows {
                flows,
                window,
                bytes,
            };
            for server in [of_batches, of_segments] {
                let mut generator = Generator::new(server, load).expect("connected");
                let mut tally = generator.run(PATIENCE, 1000).expect("run");
                assert_eq!((tally.errors, &tally.first_error), (0, &None), "{load:?}");
                assert!(tally.requests >= 1000, "{load:?}: {tally:?}");
                assert_eq!(tally.timed() as u64, tally.requests, "{load:?}");
                assert!(tally.percentile(50) <= tally.percentile(99), "{load:?}");
            }
        }
    }

    /// Answers each datagram with what `answers` makes of it.
    fn liar(answers: fn(Vec<u8>) -> Vec<Vec<u8>>) -> SocketAddrV4 {
        let (socket, address) = socket();
        thread::spawn(move || {
            let mut buffer = [0; 256];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
                for answer in answers(buffer[..length].to_vec()) {
                    socket.send_to(&answer, peer).expect("on loopback");
                }
            }
        });
        address
    }

    type Lie = (fn(Vec<u8>) -> Vec<Vec<u8>>, &'static str);

    #[test]
    fn a_server_that_lies_is_noticed() {
        let lies: [Lie; 6] = [
            (
                |mut bytes| {
                    bytes[63] ^= 1;
                    vec![bytes]
                },
                "an answer is not what was sent",
            ),
            (
                |mut bytes| {
                    bytes[0] ^= 1;
                    vec![bytes]
                },
                "an answer to nothing that is under way on its flow",
            ),
            (
                |bytes| vec![bytes.clone(), bytes],
                "an answer to nothing that is under way on its flow",
            ),
            (
                |bytes| vec![[&bytes[..], &[7]].concat()],
                "65 bytes answer 64",
            ),
            (|bytes| vec![bytes[..63].to_vec()], "63 bytes answer 64"),
            (|_| Vec::new(), "an answer did not come"),
        ];
        for (lie, expected) in lies {
            let mut generator = Generator::new(liar(lie), ONE).expect("connected");
            let tally = loop {
                let tally = generator.run(LOST * 2, 100).expect("run");
                if tally.errors > 0 {
                    break tally;
                }
            };
            assert_eq!(tally.first_error.as_deref(), Some(expected));
        }
    }

    #[test]
    fn one_lost_of_a_window_is_noticed() {
        // The third of the first window.
        let address = liar(|bytes| match bytes[..2] == [0; 2] && bytes[2] == 2 {
            true => Vec::new(),
            false => vec![bytes],
        });
        let load = Flows { window: 8, ..ONE };
        let mut generator = Generator::new(address, load).expect("connected");
        let tally = generator.run(PATIENCE, 100).expect("run");
        assert_eq!(tally.errors, 1, "{tally:?}");
        let expected = "an answer is missing or out of order";
        assert_eq!(tally.first_error.as_deref(), Some(expected));
    }

    #[test]
    fn nothing_beyond_this_machine_is_spoken_to() {
        let elsewhere = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 7);
        assert!(Generator::new(elsewhere, ONE).is_err());
    }
}
