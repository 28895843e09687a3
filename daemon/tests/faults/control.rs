//! The control socket's bad callers: they are answered, timed out or refused, and a good one is
//! served all the same.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

use super::scene::Scene;
use crate::support::daemon::{Daemon, PATIENCE};
use crate::support::plugins::smallest;

fn call(daemon: &Daemon) -> UnixStream {
    let caller = UnixStream::connect(daemon.socket()).expect("connected");
    caller.set_read_timeout(Some(PATIENCE)).expect("set");
    caller
}

#[test]
fn a_request_that_makes_no_sense_is_answered_as_such() {
    let scene = Scene::start("control-garbage", "", &smallest(), "");
    let endless = vec![b'x'; 1 << 20];
    for garbage in [
        &b"\n"[..],
        b"{}\n",
        b"[[[[[[[[\n",
        b"\xff\xfe\x00\n",
        b"{\"verb\":\"fly\"}\n",
        b"{\"verb\":\"stop\",\"fast\":7}\n",
        &endless,
    ] {
        let mut caller = call(&scene.daemon);
        // It may be answered and left before all of it is sent.
        let _ = caller.write_all(garbage);
        let mut reply = String::new();
        match caller.read_to_string(&mut reply) {
            Ok(_) => assert!(reply.starts_with("{\"exit\":2,"), "{reply}"),
            // What it had not read when it closed turns the end into a reset.
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
    scene.finish(&[]);
}

/// Half a question, an answer that nobody takes, and more silent callers than there are places: all
/// of them stay while somebody asks properly.
#[test]
fn bad_callers_are_outlived_by_a_good_one() {
    let scene = Scene::start("control-patience", "", &smallest(), "");
    let mut half = call(&scene.daemon);
    half.write_all(b"{\"verb\":\"sta").expect("sent");
    let mut slow = call(&scene.daemon);
    slow.write_all(b"{\"verb\":\"status\"}\n").expect("sent");
    let mut silent: Vec<UnixStream> = (0..20).map(|_| call(&scene.daemon)).collect();
    assert_eq!(scene.daemon.status()["healthy"], true);
    for caller in silent.iter_mut().chain([&mut half]) {
        let mut reply = Vec::new();
        caller.read_to_end(&mut reply).expect("the end of its time");
        assert_eq!(reply, b"", "nothing was asked");
    }
    scene.finish(&[]);
}

#[test]
fn a_thousand_callers_at_once_cost_a_bounded_number_of_descriptors() {
    let scene = Scene::start("control-thousand", "", &smallest(), "");
    let address = UnixAddr::new(&scene.daemon.socket()).expect("an address");
    let mut callers = Vec::new();
    for _ in 0..1_000 {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let caller = socket(AddressFamily::Unix, SockType::Stream, flags, None).expect("a socket");
        match connect(std::os::fd::AsRawFd::as_raw_fd(&caller), &address) {
            Ok(()) => callers.push(caller),
            // The queue is full: on this system it is shorter than that.
            Err(Errno::EAGAIN) => {}
            Err(other) => panic!("{other}"),
        }
    }
    let open = std::fs::read_dir(format!("/proc/{}/fd", scene.daemon.pid())).expect("procfs");
    assert!(open.count() < 100, "the supervisor took them all");
    drop(callers);
    assert_eq!(scene.daemon.status()["healthy"], true);
    scene.finish(&[]);
}
