//! Datagrams through a worker on a thread of its own, with real sockets of loopback.

use std::io::{IoSlice, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram, UnixStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg, setsockopt, sockopt};

use super::{PATIENCE, TestOrders, TestWakes, limits, noise};
use crate::channel::ListenerBrief;
use crate::engine::desk::Desk;
use crate::engine::protocol::Protocol;
use crate::engine::session::{DatagramFacts, End, Facts, Fed, Party, TimerToken, Token};
use crate::plan::{Access, Address, Limits, UnixName};
use crate::scoreboard::sources::{SourceTable, Sources};
use crate::scoreboard::{self, Counter, Scoreboard};
use crate::sys::shared_memory::SharedWords;
use crate::sys::socket_option::set_int;
use crate::worker::{Outcome, Share, serve};

mod busy;
mod errors;

/// What the protocol was told of.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    peer: Party,
    local: Party,
    length: usize,
}

/// Echoes. "copy" is answered from the protocol's own memory, "late" by the next timer; on "wait" it
/// stands still until the test says go.
struct Echo {
    desk: Desk,
    tell: Sender<Told>,
    go: Receiver<()>,
    late: Option<u64>,
}

impl Protocol for Echo {
    type State = ();

    fn open(&mut self, _: Token, _: &Facts<'_>) -> Result<(), End> {
        Err(End::Aborted)
    }

    fn feed(&mut self, _: Token, (): (), _: &[u8]) -> Fed {
        Fed::Failed(End::Aborted)
    }

    fn peer_finished(&mut self, _: Token, (): ()) -> Result<bool, End> {
        Ok(false)
    }

    fn writable(&mut self, _: Token, (): ()) -> Result<(), End> {
        Ok(())
    }

    fn closed(&mut self, _: Token, (): (), _: End) {}

    fn datagram(&mut self, facts: &DatagramFacts<'_>, payload: &[u8]) -> bool {
        let told = Told {
            peer: facts.peer,
            local: facts.local,
            length: payload.len(),
        };
        self.tell.send(told).expect("the test listens");
        match payload {
            b"fail" => return false,
            b"wait" => self.go.recv().expect("the test says go"),
            b"late" => {
                self.late = Some(facts.reply);
                self.desk.timer_set(1, 0).expect("there is room");
                return true;
            }
            _ => {}
        }
        let lent = (payload != b"copy").then_some(0..payload.len());
        let answer = self.desk.outbox.send(facts.reply, None, payload, lent);
        answer.is_ok()
    }

    fn timer(&mut self, _: TimerToken, _: u64) {
        let reply = self.late.take().expect("asked for by a datagram");
        let sent = self.desk.outbox.send(reply, None, b"at last", None);
        sent.expect("the token is young");
    }

    fn wake(&mut self, _: u64) {}

    fn drain(&mut self, _: u64) {}

    fn desk(&mut self) -> &mut Desk {
        &mut self.desk
    }
}

struct Running {
    channel: UnixStream,
    told: Receiver<Told>,
    go: Sender<()>,
    board: Scoreboard,
    thread: JoinHandle<std::io::Result<Outcome>>,
    // Kept open, or the worker's wakes would end.
    _wakes: Sender<u64>,
}

fn start(listeners: Vec<(OwnedFd, Address)>, limits: Limits) -> Running {
    start_for(Access::default(), listeners, limits)
}

fn start_for(access: Access, listeners: Vec<(OwnedFd, Address)>, limits: Limits) -> Running {
    let file = SharedWords::file("test", scoreboard::BYTES).expect("memory file");
    let board = Scoreboard::over(SharedWords::map(&file).expect("mapping")).expect("long enough");
    let (channel, orders) = UnixStream::pair().expect("a pair");
    orders.set_nonblocking(true).expect("it is a socket");
    let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
    let wake_fd = Arc::new(EventFd::from_flags(flags).expect("an event descriptor"));
    let (wakes, wakes_taken) = mpsc::channel();
    let (tell, told) = mpsc::channel();
    let (go, gone) = mpsc::channel();
    let brief = |local: Address| ListenerBrief {
        endpoint: local.to_string(),
        local,
        shard: 0,
        shared: true,
    };
    let listeners = listeners.into_iter();
    let table = SourceTable::new(1).expect("memory");
    let sources = Sources::map(table.file(), 0).expect("mapping");
    let share = Share {
        listeners: listeners.map(|(fd, local)| (fd, brief(local))).collect(),
        limits,
        worker_count: 1,
        drain_timeout_ms: 1000,
        send_buffer_bytes: None,
        access,
        bans: Vec::new(),
        sources,
    };
    let worker_board = board.clone();
    let thread = std::thread::spawn(move || {
        let echo = Echo {
            desk: Desk::default(),
            tell,
            go: gone,
            late: None,
        };
        let wakes = TestWakes(wake_fd, wakes_taken);
        serve(share, echo, wakes, TestOrders::new(orders).0, worker_board)
            .map(|(outcome, _)| outcome)
    });
    Running {
        channel,
        told,
        go,
        board,
        thread,
        _wakes: wakes,
    }
}

impl Running {
    fn told(&self) -> Told {
        self.told.recv_timeout(PATIENCE).expect("it is told")
    }

    /// Drains at once; then the counters do not change any more.
    fn stop(mut self) -> Scoreboard {
        self.channel.write_all(&[0]).expect("it reads its channel");
        let outcome = self.thread.join().expect("no panic").expect("no error");
        assert_eq!(outcome, Outcome::Drained);
        self.board
    }
}

/// As the supervisor binds one: packet info and the queue of errors are on.
fn listener(address: &str) -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind(address).expect("a free port");
    let local = socket.local_addr().expect("it is bound");
    if local.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true).expect("IPv6");
        setsockopt(&socket, sockopt::Ipv6RecvErr, &true).expect("IPv6");
    } else {
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true).expect("IPv4");
    }
    setsockopt(&socket, sockopt::Ipv4RecvErr, &true).expect("for peers of both families");
    (socket, local)
}

fn one(address: &str, limits: Limits) -> (Running, u16) {
    let (socket, local) = listener(address);
    let running = start(vec![(socket.into(), Address::Udp(local))], limits);
    (running, local.port())
}

fn peer(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).expect("a free port");
    socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
    socket
}

fn hear(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut bytes = vec![0; 70_000];
    let (length, from) = socket.recv_from(&mut bytes).expect("an answer");
    bytes.truncate(length);
    (bytes, from)
}

#[test]
fn each_size_comes_back_byte_for_byte() {
    let (running, port) = one("127.0.0.1:0", limits());
    let peer = peer("127.0.0.1:0");
    let sizes = [0, 1, 2, 3, 511, 512, 1471, 1472, 1473, 9000, 65_506, 65_507];
    for (seed, size) in (1..).zip(sizes) {
        let sent = noise(size, seed);
        peer.send_to(&sent, ("127.0.0.1", port))
            .expect("it is taken");
        let (heard, from) = hear(&peer);
        assert!(heard == sent, "{size} bytes differ");
        assert_eq!(from.port(), port);
    }
    let board = running.stop();
    let whole: usize = sizes.iter().sum();
    assert_eq!(board.read(Counter::DatagramsIn), sizes.len() as u64);
    assert_eq!(board.read(Counter::DatagramsOut), sizes.len() as u64);
    assert_eq!(board.read(Counter::BytesIn), whole as u64);
    assert_eq!(board.read(Counter::BytesOut), whole as u64);
    assert_eq!(board.read(Counter::DatagramsDropped), 0);
}

#[test]
fn a_burst_is_answered_in_order_whatever_its_sizes() {
    // Equal ones leave in runs that the kernel cuts; the others one by one.
    let shapes: [fn(usize) -> usize; 4] = [|_| 64, |_| 1400, |nth| nth % 97, |nth| 300 - nth];
    let refusing = shapes.map(|shape| (shape, true));
    let shapes = shapes
        .map(|shape| (shape, false))
        .into_iter()
        .chain(refusing);
    for (seed, (shape, refused)) in (1..).zip(shapes) {
        let (socket, local) = listener("127.0.0.1:0");
        // A socket without checksums is one whose runs the kernel does not cut.
        set_int(&socket, libc::SOL_SOCKET, libc::SO_NO_CHECK, refused.into()).expect("udp(7)");
        let peer = peer("127.0.0.1:0");
        // All wait in the queue before the worker begins: whole batches.
        let sent: Vec<Vec<u8>> = (0..70)
            .map(|nth| noise(shape(nth), seed + nth as u32))
            .collect();
        for payload in &sent {
            peer.send_to(payload, local).expect("it is taken");
        }
        let running = start(vec![(socket.into(), Address::Udp(local))], limits());
        for (nth, payload) in sent.iter().enumerate() {
            assert!(hear(&peer).0 == *payload, "answer {nth} of shape {seed}");
        }
        running.stop();
    }
}

#[test]
fn an_answer_leaves_from_the_address_that_was_asked() {
    let cases: [(&str, &str, &[&str]); 3] = [
        (
            "0.0.0.0:0",
            "127.0.0.1:0",
            &["127.0.0.1", "127.0.0.5", "127.1.2.3"],
        ),
        ("[::]:0", "[::1]:0", &["::1"]),
        ("[::]:0", "127.0.0.1:0", &["127.0.0.1", "127.0.0.77"]),
    ];
    for (wildcard, from, addresses) in cases {
        let (running, port) = one(wildcard, limits());
        let peer = peer(from);
        for address in addresses {
            let asked = SocketAddr::new(address.parse().expect("an address"), port);
            for payload in [&b"lent"[..], b"copy", b"late"] {
                peer.send_to(payload, asked).expect("it is taken");
                let (heard, from) = hear(&peer);
                let expected = if payload == b"late" {
                    b"at last"
                } else {
                    payload
                };
                assert_eq!((heard.as_slice(), from), (expected, asked), "{wildcard}");
                assert_eq!(running.told().local, Party::Internet(asked));
            }
        }
        running.stop();
    }
}

#[test]
fn what_does_not_fit_into_a_datagram_is_dropped_and_counted() {
    let (listener, local) = unix_listener("truncated");
    let running = start(vec![(listener, local.clone())], limits());
    let peer = unix_peer("truncated-peer");
    let to = unix_address("truncated");
    setsockopt(&peer, sockopt::SndBuf, &400_000).expect("it is a socket");
    peer.send_to_addr(&noise(65_537, 1), &to)
        .expect("it is taken");
    peer.send_to_addr(b"behind it", &to).expect("it is taken");
    let mut heard = [0; 20];
    let length = peer.recv(&mut heard).expect("an answer");
    assert_eq!(&heard[..length], b"behind it");
    let board = running.stop();
    assert_eq!(board.read(Counter::DatagramsTruncated), 1);
    assert_eq!(board.read(Counter::DatagramsIn), 1);
}

#[test]
fn a_unix_peer_is_answered_by_its_name_and_one_without_is_not() {
    let (listener, local) = unix_listener("names");
    let running = start(vec![(listener, local)], limits());
    let to = unix_address("names");
    let nameless = UnixDatagram::unbound().expect("a socket");
    nameless.send_to_addr(b"who?", &to).expect("it is taken");
    let peers = [unix_peer("names-1"), unix_peer("names-2")];
    for (nth, peer) in peers.iter().enumerate() {
        peer.send_to_addr(&[nth as u8; 5], &to)
            .expect("it is taken");
        let mut heard = [9; 20];
        let length = peer.recv(&mut heard).expect("an answer");
        assert_eq!(heard[..length], [nth as u8; 5]);
    }
    assert_eq!(
        (running.told().peer, running.told().length),
        (Party::Unix, 5)
    );
    let board = running.stop();
    assert_eq!(board.read(Counter::DatagramsIn), 3);
    assert_eq!(board.read(Counter::DatagramsOut), 2);
    assert_eq!(board.read(Counter::DatagramsDropped), 1);
    assert_eq!(board.read(Counter::DatagramsFailed), 1);
}

#[test]
fn a_descriptor_that_a_peer_sends_along_is_not_taken() {
    // With an Internet listener beside it, whose datagrams come with notes.
    let (internet, local) = listener("127.0.0.1:0");
    let (unix, name) = unix_listener("descriptors");
    let listeners = vec![(internet.into(), Address::Udp(local)), (unix, name)];
    let running = start(listeners, limits());
    let udp = peer("127.0.0.1:0");
    udp.send_to(b"first", local).expect("it is taken");
    hear(&udp);
    let peer = unix_peer("descriptors-peer");
    let (mut reader, writer) = UnixStream::pair().expect("a pair");
    reader.set_nonblocking(true).expect("it is a socket");
    let to = format!("polyport-test-{}-descriptors", std::process::id());
    let to = UnixAddr::new_abstract(to.as_bytes()).expect("a short name");
    let along = [ControlMessage::ScmRights(&[writer.as_raw_fd()])];
    let payload = [IoSlice::new(b"take this")];
    for _ in 0..3 {
        let flags = MsgFlags::empty();
        sendmsg(peer.as_raw_fd(), &payload, &along, flags, Some(&to)).expect("it is taken");
        let mut heard = [0; 20];
        let length = peer.recv(&mut heard).expect("an answer");
        assert_eq!(&heard[..length], b"take this");
    }
    drop(writer);
    // Nobody else has the other end, or this would not be the end of the stream.
    assert_eq!(reader.read(&mut [0]).expect("the end"), 0);
    running.stop();
}

#[test]
fn a_full_queue_is_counted_by_what_it_lost() {
    let (listener, local) = listener("127.0.0.1:0");
    setsockopt(&listener, sockopt::RcvBuf, &4096).expect("it is a socket");
    let running = start(vec![(listener.into(), Address::Udp(local))], limits());
    let peer = peer("127.0.0.1:0");
    peer.send_to(b"wait", local).expect("it is taken");
    running.told();
    let flood = 500;
    for _ in 0..flood {
        peer.send_to(&[7; 100], local)
            .expect("it is taken, or lost");
    }
    running.go.send(()).expect("it waits");
    // The loss is looked for with a datagram that comes a while after it.
    loop {
        peer.send_to(b"last", local).expect("it is taken");
        let board = &running.board;
        if running.told().length == 4 && board.read(Counter::ReceiveQueueFull) > 0 {
            break;
        }
    }
    let board = running.stop();
    let (lost, came) = (
        board.read(Counter::ReceiveQueueFull),
        board.read(Counter::DatagramsIn),
    );
    assert!(lost > 0 && lost + came >= flood, "{lost} lost, {came} came");
}

#[test]
fn a_source_is_held_to_its_rate_and_peers_on_this_machine_only_if_it_is_written() {
    for (written, passed) in [(false, 20), (true, 5)] {
        let limits = Limits {
            datagram_rate: 1,
            datagram_burst: 5,
            datagram_rate_written: written,
            ..limits()
        };
        let (socket, local) = listener("127.0.0.1:0");
        let peer = peer("127.0.0.1:0");
        for nth in 0..20 {
            peer.send_to(&[nth], local).expect("it is taken");
        }
        let running = start(vec![(socket.into(), Address::Udp(local))], limits);
        for nth in 0..passed {
            assert_eq!(hear(&peer).0, [nth], "written: {written}");
        }
        let board = running.stop();
        let limited = board.read(Counter::DatagramsLimited);
        // A slow machine may have let a second pass in between.
        assert_eq!(limited > 0, written);
        assert_eq!(board.read(Counter::DatagramsOut) + limited, 20);
    }
}

#[test]
fn who_may_not_come_in_is_not_answered() {
    let access = Access {
        deny: vec!["127.0.0.2/32".parse().expect("a network")],
        ..Access::default()
    };
    let (socket, local) = listener("127.0.0.1:0");
    let (denied, welcome) = (peer("127.0.0.2:0"), peer("127.0.0.1:0"));
    denied.send_to(b"no", local).expect("it is taken");
    welcome.send_to(b"yes", local).expect("it is taken");
    let sockets = vec![(socket.into(), Address::Udp(local))];
    let running = start_for(access, sockets, limits());
    assert_eq!(hear(&welcome).0, b"yes");
    let board = running.stop();
    assert_eq!(board.read(Counter::RefusedAccess), 1);
    assert_eq!(board.read(Counter::DatagramsOut), 1);
}

fn unix_address(name: &str) -> UnixAddress {
    let name = format!("polyport-test-{}-{name}", std::process::id());
    UnixAddress::from_abstract_name(name).expect("a short name")
}

fn unix_listener(name: &str) -> (OwnedFd, Address) {
    let socket = UnixDatagram::bind_addr(&unix_address(name)).expect("a new name");
    let local = Address::UnixDatagram(UnixName::Abstract(name.to_owned()));
    (socket.into(), local)
}

fn unix_peer(name: &str) -> UnixDatagram {
    let socket = UnixDatagram::bind_addr(&unix_address(name)).expect("a new name");
    socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
    socket
}
