//! Streams over a Unix socket in the worker: the same path as TCP, and the peer's credentials.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{Backlog, getsockopt, listen};

use super::*;
use crate::engine::session::{Credentials, Party};
use crate::plan::UnixName;
use crate::worker::listener::Listener;

#[test]
fn a_unix_peer_is_served_like_any_other_and_known_by_the_kernel() {
    let name = format!("polyport-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("short enough");
    let listener = UnixListener::bind_addr(&address).expect("nobody has it");
    let local = Address::Unix(UnixName::Abstract(name));
    let running = start_on(
        listener.into(),
        local,
        |tell| Script::new(Mode::Echo, tell),
        limits(),
    );
    let stream = UnixStream::connect_addr(&address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
    let sent = noise(1 << 20, 1);
    let (mut writer, bytes) = (stream.try_clone().expect("a descriptor"), sent.clone());
    let writing = std::thread::spawn(move || {
        writer.write_all(&bytes).expect("it is read");
        writer.shutdown(Shutdown::Write).expect("it is open");
    });
    let mut echoed = Vec::new();
    (&stream).read_to_end(&mut echoed).expect("an orderly end");
    writing.join().expect("no panic");
    assert!(echoed == sent, "{} bytes came back", echoed.len());
    let credentials = Credentials {
        pid: std::process::id(),
        uid: nix::unistd::geteuid().as_raw(),
        gid: nix::unistd::getegid().as_raw(),
    };
    assert_eq!(running.event(), Event::OpenedBy(credentials, Party::Unix));
    assert_eq!(running.event(), Event::Closed(End::Finished));
    assert_eq!(running.stop(), Outcome::Drained);
}

/// TCP inherits it from the listening socket, so there no call is made.
#[test]
fn only_a_unix_connection_is_given_its_send_buffer() {
    let name = format!("polyport-test-buffer-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("short enough");
    let unix = UnixListener::bind_addr(&address).expect("nobody has it");
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let at = tcp.local_addr().expect("it is bound");
    let listeners = [
        (unix.into(), Address::Unix(UnixName::Abstract(name)), true),
        (tcp.into(), Address::Tcp(at), false),
    ];
    for (fd, local, given) in listeners {
        let brief = ListenerBrief {
            endpoint: local.to_string(),
            local,
            shard: 0,
            shared: false,
        };
        let listener = Listener::new(fd, brief, 2).expect("a listener");
        let connection = OwnedFd::from(UnixStream::pair().expect("a pair").0);
        let size = || getsockopt(&connection, sockopt::SndBuf).expect("readable");
        let before = size();
        listener.equip(&connection, None);
        assert_eq!(size(), before);
        listener.equip(&connection, Some(32 << 10));
        assert_eq!(size() == 64 << 10, given);
    }
}

/// They have been told that it is open, and nobody else will take them.
#[test]
fn all_who_wait_at_an_endpoint_that_leaves_are_taken_though_it_was_quiet() {
    const WAITING: u64 = 3_500;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("our own");
    setrlimit(Resource::RLIMIT_NOFILE, hard.max(soft), hard).expect("up to the hard limit");
    let name = format!("polyport-test-leaving-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("short enough");
    let listener = UnixListener::bind_addr(&address).expect("nobody has it");
    listen(&listener, Backlog::new(4096).expect("it fits")).expect("once more, with more room");
    let local = Address::Unix(UnixName::Abstract(name));
    let leaving = vec![local.to_string()];
    let many = Limits {
        connections: 5_000,
        ..limits()
    };
    let script = |tell| Script::new(Mode::Echo, tell);
    let mut running = start_on(listener.into(), local, script, many);
    // From now on it is asked for one at a time.
    let quiet = UnixStream::connect_addr(&address).expect("it listens");
    assert!(matches!(running.event(), Event::OpenedBy(..)));
    // An order of which only the beginning is there keeps the worker busy.
    running.channel.write_all(&[OTHER]).expect("it is read");
    for _ in 0..WAITING {
        // It waits there though its peer has gone again.
        drop(UnixStream::connect_addr(&address).expect("there is room in the queue"));
    }
    let drain = Order::Drain {
        grace_ms: 0,
        leaving,
        hurried: false,
    };
    running.others.send((drain, None)).expect("it waits for it");
    let board = running.board.clone();
    assert_eq!(running.join(), Outcome::Drained);
    assert_eq!(board.read(Counter::Accepted), WAITING + 1);
    drop(quiet);
}
