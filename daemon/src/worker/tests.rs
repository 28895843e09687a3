//! A worker on a thread of its own, with real loopback sockets and a scripted protocol. Every wait
//! is a blocking read or receive with a limit that only a failure reaches.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::libc::linger;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{setsockopt, sockopt};

use super::{NextOrder, Orders, Outcome, Share, Wakes, serve};
use crate::channel::{ListenerBrief, Order, Report};
use crate::engine::protocol::Protocol;
use crate::engine::session::End;
use crate::plan::{Access, Address, Limits, ThreadLimits};
use crate::scoreboard::sources::{SourceTable, Sources};
use crate::scoreboard::{self, Counter, Scoreboard};
use crate::sys::shared_memory::SharedWords;

mod datagrams;
mod endings;
mod files;
mod handover;
mod script;
mod stand_in;
mod unix;

use script::{CHUNK, Event, Mode, Script};

pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// A drain is one byte: its grace in tenths of a second. Another order is the byte `OTHER`, and waits
/// beside, with the descriptor that rides along, if one does.
struct TestOrders {
    channel: UnixStream,
    others: Receiver<(Order, Option<OwnedFd>)>,
    rode_along: Option<OwnedFd>,
}

const OTHER: u8 = u8::MAX;

impl TestOrders {
    fn new(channel: UnixStream) -> (TestOrders, Sender<(Order, Option<OwnedFd>)>) {
        let (sender, others) = mpsc::channel();
        let orders = TestOrders {
            channel,
            others,
            rode_along: None,
        };
        (orders, sender)
    }
}

impl Orders for TestOrders {
    fn fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }

    fn take_descriptor(&mut self) -> Option<OwnedFd> {
        self.rode_along.take()
    }

    fn next(&mut self) -> NextOrder {
        let mut tenths = [0];
        match self.channel.read(&mut tenths) {
            Ok(0) => NextOrder::Closed,
            Ok(_) if tenths == [OTHER] => {
                let (order, fd) = self.others.recv().expect("it was sent before the byte");
                self.rode_along = fd;
                NextOrder::Order(order)
            }
            Ok(_) => NextOrder::Order(Order::Drain {
                grace_ms: u64::from(tenths[0]) * 100,
                leaving: Vec::new(),
                hurried: false,
            }),
            Err(_) => NextOrder::Empty,
        }
    }

    fn report(&mut self, _: &Report) -> io::Result<()> {
        Ok(())
    }
}

struct TestWakes(Arc<EventFd>, Receiver<u64>);

impl Wakes for TestWakes {
    fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn next(&mut self) -> Option<u64> {
        self.1.try_recv().ok()
    }
}

pub(super) struct Running {
    local: Address,
    channel: UnixStream,
    others: Sender<(Order, Option<OwnedFd>)>,
    wake_fd: Arc<EventFd>,
    wakes: Sender<u64>,
    events: Receiver<Event>,
    pub(super) board: Scoreboard,
    /// The outcome, and whether the protocol came back.
    thread: JoinHandle<io::Result<(Outcome, bool)>>,
}

pub(super) fn limits() -> Limits {
    Limits {
        connections: 1000,
        idle_ms: 0,
        input_bytes_max: 64 * 1024,
        output_bytes_max: 256 * 1024,
        threads: ThreadLimits {
            max: 64,
            queue_max: 128,
            handler_ms: 0,
        },
        ..Limits::default()
    }
}

fn start(mode: Mode, limits: Limits) -> Running {
    start_with(|tell| Script::new(mode, tell), limits)
}

pub(super) fn start_with<P: Protocol + Send + 'static>(
    protocol: impl FnOnce(Sender<Event>) -> P,
    limits: Limits,
) -> Running {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    start_on(listener.into(), Address::Tcp(address), protocol, limits)
}

fn start_on<P: Protocol + Send + 'static>(
    listener: OwnedFd,
    local: Address,
    protocol: impl FnOnce(Sender<Event>) -> P,
    limits: Limits,
) -> Running {
    let file = SharedWords::file("test", scoreboard::BYTES).expect("memory file");
    let board = Scoreboard::over(SharedWords::map(&file).expect("mapping")).expect("long enough");
    let (channel, worker_channel) = UnixStream::pair().expect("a pair");
    worker_channel
        .set_nonblocking(true)
        .expect("it is a socket");
    let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
    let wake_fd = Arc::new(EventFd::from_flags(flags).expect("an event descriptor"));
    let (wakes, wakes_taken) = mpsc::channel();
    let (tell, events) = mpsc::channel();
    let (orders, others) = TestOrders::new(worker_channel);
    let brief = ListenerBrief {
        endpoint: local.to_string(),
        local: local.clone(),
        shard: 0,
        shared: true,
    };
    let table = SourceTable::new(1).expect("memory");
    let sources = Sources::map(table.file(), 0).expect("mapping");
    let share = Share {
        listeners: vec![(listener, brief)],
        limits,
        send_buffer_bytes: Some(32 << 10),
        access: Access::default(),
        bans: Vec::new(),
        sources,
        worker_count: 1,
        drain_timeout_ms: 1000,
    };
    let protocol = protocol(tell);
    let worker_wakes = TestWakes(wake_fd.clone(), wakes_taken);
    let worker_board = board.clone();
    let thread = std::thread::spawn(move || {
        let served = serve(share, protocol, worker_wakes, orders, worker_board);
        served.map(|(outcome, protocol)| (outcome, protocol.is_some()))
    });
    Running {
        local,
        channel,
        others,
        wake_fd,
        wakes,
        events,
        board,
        thread,
    }
}

impl Running {
    fn address(&self) -> SocketAddr {
        self.local.socket().expect("a TCP listener")
    }

    pub(super) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        stream.set_write_timeout(Some(PATIENCE)).expect("not zero");
        stream
    }

    fn event(&self) -> Event {
        self.events
            .recv_timeout(PATIENCE)
            .expect("the protocol is told")
    }

    pub(super) fn wake(&self, token: u64) {
        self.wakes.send(token).expect("the worker takes it");
        self.wake_fd.write(1).expect("it is an event descriptor");
    }

    pub(super) fn drain(&mut self, tenths: u8) {
        self.channel
            .write_all(&[tenths])
            .expect("the worker reads its channel");
    }

    pub(super) fn order(&mut self, order: Order, fd: impl Into<Option<OwnedFd>>) {
        self.others
            .send((order, fd.into()))
            .expect("the worker lives");
        self.channel
            .write_all(&[OTHER])
            .expect("the worker reads its channel");
    }

    fn join(self) -> Outcome {
        self.join_with_protocol().0
    }

    /// And whether the protocol came back.
    pub(super) fn join_with_protocol(self) -> (Outcome, bool) {
        self.thread.join().expect("no panic").expect("no error")
    }

    pub(super) fn stop(mut self) -> Outcome {
        self.drain(0);
        self.join()
    }
}

fn noise(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn round_trip(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).expect("it is read");
    let mut echoed = vec![0; bytes.len()];
    stream.read_exact(&mut echoed).expect("it is echoed");
    assert!(echoed == bytes, "an echo differs");
}

#[test]
fn an_echo_is_exact_and_ends_with_a_fin_after_a_half_close() {
    let running = start(Mode::Echo, limits());
    let stream = running.connect();
    let sent = noise(1 << 20, 1);
    let (mut writer, bytes) = (stream.try_clone().expect("a descriptor"), sent.clone());
    let writing = std::thread::spawn(move || {
        writer.write_all(&bytes).expect("it is read");
        writer.shutdown(Shutdown::Write).expect("it is open");
    });
    let mut echoed = Vec::new();
    (&stream).read_to_end(&mut echoed).expect("an orderly end");
    writing.join().expect("no panic");
    assert!(
        echoed == sent,
        "{} bytes of {} came back",
        echoed.len(),
        sent.len()
    );
    assert_eq!(running.event(), Event::Opened);
    assert_eq!(running.event(), Event::Closed(End::Finished));
    let board = running.board.clone();
    assert_eq!(running.stop(), Outcome::Drained);
    assert_eq!(board.read(Counter::BytesIn), 1 << 20);
    assert_eq!(board.read(Counter::BytesOut), 1 << 20);
    assert_eq!(board.read(Counter::Accepted), 1);
    assert_eq!(board.read(Counter::Connections), 0);
}

#[test]
fn many_connections_are_served_side_by_side() {
    let running = start(Mode::Echo, limits());
    let mut streams: Vec<TcpStream> = (0..100).map(|_| running.connect()).collect();
    for round in 0..3 {
        for (nth, stream) in streams.iter_mut().enumerate() {
            round_trip(stream, &noise(1 + nth * 50, round));
        }
    }
    assert_eq!(running.board.read(Counter::Connections), 100);
    drop(streams);
    assert_eq!(running.stop(), Outcome::Drained);
}

#[test]
fn at_the_limit_connections_wait_in_the_queue_until_one_closes() {
    let running = start(
        Mode::Echo,
        Limits {
            connections: 2,
            ..limits()
        },
    );
    let (mut first, mut second) = (running.connect(), running.connect());
    round_trip(&mut first, b"one");
    round_trip(&mut second, b"two");
    let mut third = running.connect();
    third.write_all(b"three").expect("the kernel takes it");
    // The listener was reported no later than this input.
    round_trip(&mut first, b"one again");
    round_trip(&mut first, b"and again");
    assert_eq!(running.board.read(Counter::Accepted), 2);
    drop(second);
    let mut echoed = [0; 5];
    third.read_exact(&mut echoed).expect("it is served at last");
    assert_eq!(&echoed, b"three");
    assert_eq!(running.board.read(Counter::Accepted), 3);
    drop((first, third));
    assert_eq!(running.stop(), Outcome::Drained);
}

#[test]
fn a_fin_that_came_with_the_input_is_found_although_its_edge_has_passed() {
    let running = start(
        Mode::Echo,
        Limits {
            connections: 1,
            ..limits()
        },
    );
    let mut first = running.connect();
    round_trip(&mut first, b"one");
    let mut second = running.connect();
    second.write_all(b"two").expect("the kernel takes it");
    second.shutdown(Shutdown::Write).expect("it is open");
    drop(first);
    let mut echoed = Vec::new();
    second.read_to_end(&mut echoed).expect("an orderly end");
    assert_eq!(echoed, b"two");
    assert_eq!(running.stop(), Outcome::Drained);
}

#[test]
fn a_slow_reader_costs_no_more_than_its_output_limit_and_loses_nothing() {
    // The second is more than the kernel buffers, so that the worker has to wait for the peer.
    for output_bytes_max in [256 * 1024, 16 << 20] {
        let running = start(
            Mode::Source,
            Limits {
                output_bytes_max,
                ..limits()
            },
        );
        let mut stream = running.connect();
        setsockopt(&stream, sockopt::RcvBuf, &65_536).expect("it is a socket");
        assert_eq!(running.event(), Event::Opened);
        let mut chunk = vec![0; CHUNK];
        for number in 0u32..2500 {
            stream.read_exact(&mut chunk).expect("it is sent");
            let right = [number.to_le_bytes(); CHUNK / 4].concat();
            assert!(chunk == right, "chunk {number} differs");
        }
        drop(stream);
        let mut refusals = 0;
        loop {
            match running.event() {
                Event::Refused { queued } => {
                    assert!(queued <= output_bytes_max as u64);
                    refusals += 1;
                }
                Event::Closed(why) => break assert_eq!(why, End::Lost),
                Event::Opened | Event::Taken | Event::OpenedBy(..) | Event::Waits => {
                    panic!("there is one connection")
                }
            }
        }
        assert!(
            refusals > 1,
            "it was refused, and told when it was writable again"
        );
        assert_eq!(running.stop(), Outcome::Drained);
    }
}

#[test]
fn input_that_nobody_consumes_ends_at_its_limit() {
    let running = start(
        Mode::Deaf,
        Limits {
            input_bytes_max: 1000,
            ..limits()
        },
    );
    let mut stream = running.connect();
    stream.write_all(&[7; 1001]).expect("the kernel takes it");
    let error = stream.read(&mut [0; 1]).expect_err("a reset");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(running.event(), Event::Opened);
    assert_eq!(running.event(), Event::Closed(End::Limit));
    let board = running.board.clone();
    running.stop();
    assert_eq!(board.read(Counter::ClosedLimit), 1);
}

#[test]
fn a_silent_connection_is_closed_when_idle_for_too_long() {
    let running = start(
        Mode::Echo,
        Limits {
            idle_ms: 30,
            ..limits()
        },
    );
    let mut stream = running.connect();
    round_trip(&mut stream, b"hello");
    assert_eq!(stream.read(&mut [0; 1]).expect("a FIN"), 0);
    assert_eq!(running.event(), Event::Opened);
    assert_eq!(running.event(), Event::Closed(End::Idle));
    let board = running.board.clone();
    running.stop();
    assert_eq!(board.read(Counter::ClosedIdle), 1);
}

#[test]
fn after_our_fin_late_input_is_read_so_that_no_reset_destroys_the_answer() {
    let running = start(Mode::Once, limits());
    let mut stream = running.connect();
    stream.write_all(b"hello").expect("it is read");
    assert_eq!(running.event(), Event::Opened);
    // Much more than was asked for, before the answer is read.
    stream
        .write_all(&noise(300_000, 3))
        .expect("it is dropped, not refused");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("no reset");
    assert_eq!(answer, b"bye");
    stream
        .write_all(&noise(100_000, 4))
        .expect("it is still dropped");
    drop(stream);
    assert_eq!(running.event(), Event::Closed(End::Finished));
    assert_eq!(running.stop(), Outcome::Drained);
}

#[test]
fn an_abort_is_a_reset() {
    let running = start(Mode::Abort, limits());
    let mut stream = running.connect();
    stream.write_all(b"hello").expect("it is read");
    let error = stream.read(&mut [0; 1]).expect_err("a reset");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(running.event(), Event::Opened);
    assert_eq!(running.event(), Event::Closed(End::Aborted));
    running.stop();
}

#[test]
fn a_peer_that_resets_is_lost() {
    let running = start(Mode::Echo, limits());
    let mut stream = running.connect();
    round_trip(&mut stream, b"hello");
    let at_once = linger {
        l_onoff: 1,
        l_linger: 0,
    };
    setsockopt(&stream, sockopt::Linger, &at_once).expect("it is a socket");
    drop(stream);
    assert_eq!(running.event(), Event::Opened);
    assert_eq!(running.event(), Event::Closed(End::Lost));
    running.stop();
}
