//! Plugins as they were built with ABI 1.0, by today's daemon: each is loaded, serves, is exchanged
//! under its peers and is drained.
//!
//! The libraries are kept in `plugin-api/tests/frozen/1.0`, where a README says how they were made. They
//! are for x86-64, so this test is only there on such machines; on others, as on these,
//! `plugin-api/tests/frozen.rs` has the C plugins of then with the header of then.
//!
//! Invariant: nothing here builds or changes a frozen library but by bytes behind its end.

#![cfg(target_arch = "x86_64")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use support::daemon::{Daemon, Directory, PATIENCE, family_of};

/// A service for each of the libraries: its name, and what peers say and hear before and after the
/// plugin's file is another one. Whoever can be carried over has one session for both.
struct Frozen {
    name: &'static str,
    before: (&'static str, &'static str),
    after: (&'static str, &'static str),
    carries: bool,
}

const STREAMS: [Frozen; 12] = [
    Frozen {
        name: "echo",
        before: ("one\n", "one\n"),
        after: ("two\n", "two\n"),
        carries: true,
    },
    Frozen {
        name: "gopher",
        before: ("\r\n", "Writing a plugin"),
        after: ("0/about.txt\r\n", "WHAT POLYPORT IS"),
        carries: false,
    },
    Frozen {
        name: "line-chat",
        before: ("ann\n", "you are in #lobby"),
        after: ("/help\n", "/nick"),
        carries: true,
    },
    Frozen {
        name: "blocking",
        before: ("one\n", "ONE\n"),
        after: ("two\n", "TWO\n"),
        carries: false,
    },
    Frozen {
        name: "smallest",
        before: ("one\n", "one\n"),
        after: ("two\n", "two\n"),
        carries: false,
    },
    Frozen {
        name: "carrying",
        before: ("one\n", "1\n"),
        after: ("two\n", "\n"),
        carries: true,
    },
    Frozen {
        name: "counting",
        before: ("one\n", "one\n"),
        after: ("two\n", "two\n"),
        carries: false,
    },
    Frozen {
        name: "greeting",
        before: ("", "WHAT POLYPORT IS"),
        after: ("", "WHAT POLYPORT IS"),
        carries: false,
    },
    Frozen {
        name: "proving",
        before: ("one\n", "proved\n"),
        after: ("two\n", "proved\n"),
        carries: false,
    },
    Frozen {
        name: "sending",
        before: ("one\n", "WHAT POLYPORT IS"),
        after: ("two\n", "WHAT POLYPORT IS"),
        carries: false,
    },
    Frozen {
        name: "serving",
        before: ("one\n", "one\n"),
        after: ("two\n", "two\n"),
        carries: false,
    },
    Frozen {
        name: "shouting",
        before: ("one\n", "one\n"),
        after: ("two\n", "two\n"),
        carries: false,
    },
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugin-api/tests/frozen/1.0")
}

fn start(name: &str) -> Daemon {
    let directory = Directory::new(name);
    let hole = Path::new(env!("CARGO_MANIFEST_DIR")).join("../etc/gopher");
    let about = hole.join("about.txt");
    let mut config = String::new();
    for name in STREAMS.iter().map(|it| it.name).chain(["udp-echo"]) {
        let file = format!("{name}.so");
        let plugin = directory.path().join(&file);
        fs::copy(folder().join(&file), &plugin).expect("it is kept");
        let scheme = if name == "udp-echo" { "udp" } else { "tcp" };
        config += &format!(
            "[services.{name}]\nplugin = {plugin:?}\nlisten = [\"{scheme}://127.0.0.1:0\"]\nworkers = 1\n"
        );
        match name {
            "gopher" => config += &format!("settings.root = {hole:?}\n"),
            "greeting" | "sending" => config += &format!("settings.file = {about:?}\n"),
            _ => {}
        }
    }
    Daemon::start_in(Arc::new(directory), &config)
}

struct Peer(TcpStream);

impl Peer {
    fn of(daemon: &Daemon, service: &str) -> Peer {
        let stream = TcpStream::connect(daemon.address(service, 0)).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        Peer(stream)
    }

    fn exchange(&mut self, service: &str, (said, awaited): (&str, &str)) {
        self.0.write_all(said.as_bytes()).expect("sent");
        let (mut heard, mut piece) = (String::new(), [0; 4096]);
        while !heard.contains(awaited) {
            let count = self.0.read(&mut piece).unwrap_or_default();
            assert!(count > 0, "{service}: {said:?} was answered {heard:?}");
            heard += &String::from_utf8_lossy(&piece[..count]);
        }
    }
}

fn exchange_datagrams(daemon: &Daemon) {
    let url = daemon.url("udp-echo", 0);
    let address: SocketAddr = url["udp://".len()..].parse().expect("an address");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bound");
    socket.set_read_timeout(Some(PATIENCE)).expect("set");
    socket.send_to(b"hello", address).expect("sent");
    let mut heard = [0; 16];
    let count = socket.recv(&mut heard).expect("an answer");
    assert_eq!(&heard[..count], b"hello");
}

/// Puts another file in each plugin's place: the same code, with bytes behind its end.
fn exchange_files(daemon: &Daemon) {
    for name in STREAMS.iter().map(|it| it.name).chain(["udp-echo"]) {
        let file = daemon.directory().join(format!("{name}.so"));
        let new = file.with_extension("new");
        let mut bytes = fs::read(&file).expect("there");
        bytes.extend_from_slice(b"another");
        fs::write(&new, bytes).expect("written");
        fs::rename(new, file).expect("renamed");
    }
    let output = daemon.operate(&["reload", "--wait"]);
    assert!(output.status.success(), "{output:?}\n{}", daemon.log());
}

#[test]
fn libraries_built_with_1_0_serve_are_exchanged_and_drain() {
    let daemon = start("frozen");
    let streams = STREAMS.iter();
    let mut peers: Vec<Peer> = streams.map(|it| Peer::of(&daemon, it.name)).collect();
    for (peer, frozen) in peers.iter_mut().zip(&STREAMS) {
        peer.exchange(frozen.name, frozen.before);
    }
    exchange_datagrams(&daemon);
    let counted = daemon.operate(&["metrics"]).stdout;
    let counted = String::from_utf8_lossy(&counted).into_owned();
    let awaited = "polyport_plugin_counting_answers_total{service=\"counting\"} 1\n";
    assert!(counted.contains(awaited), "{counted}");

    let old: Vec<u32> = STREAMS
        .iter()
        .flat_map(|it| daemon.worker_pids(it.name))
        .collect();
    exchange_files(&daemon);
    for (peer, frozen) in peers.iter_mut().zip(&STREAMS) {
        if !frozen.carries {
            *peer = Peer::of(&daemon, frozen.name);
        }
        peer.exchange(frozen.name, frozen.after);
    }
    exchange_datagrams(&daemon);
    let until = Instant::now() + PATIENCE;
    while family_of(daemon.pid()).iter().any(|pid| old.contains(pid)) {
        assert!(Instant::now() < until, "not drained:\n{}", daemon.log());
        support::looking::again();
    }
    // Those that go on where their worker is gone were carried.
    for (peer, frozen) in peers.iter_mut().zip(&STREAMS) {
        if frozen.carries {
            peer.exchange(frozen.name, frozen.after);
        }
    }
    drop(peers);
    daemon.finish(&[]);
}

#[test]
fn the_libraries_are_those_that_were_built_then() {
    let output = Command::new("sha256sum")
        .args(["--check", "--strict", "SHA256SUMS"])
        .current_dir(folder())
        .output()
        .expect("coreutils are there");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told}");
    let kept = fs::read_dir(folder()).expect("a folder");
    let libraries = kept.filter(|entry| {
        let path = entry.as_ref().expect("it can be listed").path();
        path.extension().is_some_and(|it| it == "so")
    });
    assert_eq!(libraries.count(), told.matches(": OK").count(), "{told}");
    assert_eq!(told.matches(": OK").count(), STREAMS.len() + 1, "{told}");
}
