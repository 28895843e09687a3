//! The echo of openbsd-inetd beside ours: whatever a peer does, both answer with the same bytes and
//! end the same way; and whose datagrams inetd never answers, we answer where only this machine asks.
//!
//! inetd knows its own services by name only, so its echo is on port 7, on a loopback address that
//! nobody else uses. Who may not bind that plays the test in a network of its own.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Stdio};
use std::time::Instant;

use support::daemon::{Daemon, Directory, PATIENCE};
use support::dice::Dice;
use support::namespace;
use support::program::program;

const NAME: &str = "what_inetd_echoes_is_echoed_the_same";
const EXCHANGES: usize = 60;
const SEED: &str = "POLYPORT_SEED";

#[test]
fn what_inetd_echoes_is_echoed_the_same() {
    // Of this process's own, so that two of them do not meet.
    let [high, low] = (std::process::id() as u16).to_be_bytes();
    let address = SocketAddr::from((Ipv4Addr::new(127, 7, high, low), 7));
    match TcpListener::bind(address) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return namespace::play(NAME);
        }
        bound => drop(bound.expect("nobody uses this address")),
    }
    let inetd = Inetd::start(address, "");
    let config = "[services.echo]\nplugin = \"echo\"\nlisten = [\"tcp://127.0.0.1:0\"]\n";
    let daemon = Daemon::start("inetd", config);
    let ours = daemon.address("echo", 0);
    let seed = std::env::var(SEED).map_or(7, |seed| seed.parse().expect("a number"));
    eprintln!("once more: {SEED}={seed}");
    let mut dice = Dice(seed);
    for nth in 0..EXCHANGES {
        let exchange = Exchange::new(&mut dice);
        let theirs = exchange.play(inetd.address);
        let found = exchange.play(ours);
        assert!(
            found == theirs,
            "exchange {nth} of {SEED}={seed}, {:?}: {} instead of {}",
            exchange.steps,
            found.outline(),
            theirs.outline()
        );
        // Both could be wrong alike.
        assert_eq!(theirs.bytes.len(), exchange.expected(), "inetd");
    }
    drop(inetd);
    daemon.finish(&[]);
}

const DATAGRAMS: &str = "whom_inetd_never_answers_we_answer_on_loopback_only";

/// inetd answers no datagram from the loopback, so there are other addresses: in a network of its own.
#[test]
fn whom_inetd_never_answers_we_answer_on_loopback_only() {
    if !namespace::is_inside() {
        return namespace::play(DATAGRAMS);
    }
    for address in ["192.0.2.1/32", "192.0.2.2/32"] {
        let mut ip = program("ip", "iproute2");
        let status = ip.args(["address", "add", address, "dev", "lo"]).status();
        assert!(status.expect("ip runs").success());
    }
    let lines =
        ["192.0.2.1", "127.0.0.1"].map(|ip| format!("{ip}:echo dgram udp wait root internal\n"));
    let inetd = Inetd::start(SocketAddr::from(([192, 0, 2, 1], 7)), &lines.concat());
    let config = "[services.echo]\nplugin = \"udp-echo\"\nworkers = 1\n\
                  listen = [\"udp://192.0.2.1:0\", \"udp://127.0.0.1:0\"]\nsettings = { public = true }\n";
    let daemon = Daemon::start("inetd-udp", config);
    let ours = [0, 1].map(|nth| {
        let url = daemon.url("echo", nth);
        let address = url.strip_prefix("udp://").expect("a UDP endpoint");
        address.parse().expect("an address")
    });
    let theirs = [([192, 0, 2, 1], 7), ([127, 0, 0, 1], 7)].map(SocketAddr::from);
    // Which endpoint is asked, from where, and who answers: inetd, and we. Not every release of inetd
    // refuses ports of services, as that of OpenBSD does and Debian's does not.
    for (endpoint, from, inetd, we) in [
        (0, "192.0.2.2:0", Some(true), true),
        (0, "192.0.2.2:1024", Some(true), true),
        (0, "192.0.2.2:1023", None, false),
        (0, "192.0.2.2:7", None, false),
        (0, "192.0.2.2:19", None, false),
        // Network file systems answer there.
        (0, "192.0.2.2:2049", None, false),
        (0, "127.0.0.2:0", Some(false), false),
        // A service on the loopback is for the loopback.
        (1, "127.0.0.2:0", Some(false), true),
        (1, "127.0.0.2:1023", Some(false), false),
    ] {
        let found = answers(theirs[endpoint], theirs[0], from);
        assert!(inetd.is_none_or(|inetd| inetd == found), "inetd, {from}");
        assert_eq!(answers(ours[endpoint], ours[0], from), we, "we, {from}");
    }
    drop(inetd);
    daemon.finish(&[]);
}

/// Whether a datagram from there is answered. Who would answer at all has done so once it has answered
/// another one, which came later.
fn answers(asked: SocketAddr, certain: SocketAddr, from: &str) -> bool {
    let peer = |from: &str| {
        let socket = UdpSocket::bind(from).expect("an address of this network");
        socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
        socket
    };
    let (asking, other) = (peer(from), peer("192.0.2.2:0"));
    asking.send_to(b"ping", asked).expect("sent");
    // Sockets are looked at in turn: what waited on one of them is dealt with before the second round.
    for round in 0..2 {
        other.send_to(&[round], certain).expect("sent");
        let mut answer = [0; 9];
        assert_eq!(other.recv(&mut answer).expect("an answer"), 1);
        assert_eq!(answer[0], round);
    }
    asking.set_nonblocking(true).expect("a socket");
    let mut answer = [0; 9];
    match asking.recv(&mut answer) {
        Ok(length) => {
            assert_eq!(&answer[..length], b"ping");
            true
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            false
        }
    }
}

/// In the foreground, with one service.
struct Inetd {
    child: Child,
    address: SocketAddr,
    _folder: Directory,
}

impl Inetd {
    /// With further lines before the one by which it is seen to serve.
    fn start(address: SocketAddr, lines: &str) -> Inetd {
        let services = std::fs::read_to_string("/etc/services").unwrap_or_default();
        assert!(
            services.contains("echo"),
            "echo is not in /etc/services; run this first:\n  sudo apt-get install -y netbase"
        );
        let folder = Directory::new("inetd-conf");
        let conf = folder.path().join("inetd.conf");
        let line = format!(
            "{lines}{}:echo stream tcp nowait root internal\n",
            address.ip()
        );
        std::fs::write(&conf, line).expect("written");
        let child = program("inetd", "openbsd-inetd")
            .args(["-d", "-i"])
            .arg(conf)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("inetd runs");
        let mut inetd = Inetd {
            child,
            address,
            _folder: folder,
        };
        inetd.wait_until_it_serves();
        inetd
    }

    fn wait_until_it_serves(&mut self) {
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(self.address).is_err() {
            let ended = self.child.try_wait().expect("our child");
            assert!(ended.is_none(), "inetd has ended: {ended:?}");
            assert!(Instant::now() < until, "inetd does not serve");
            support::looking::again();
        }
    }
}

impl Drop for Inetd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a peer does, in order; it then ends its side and reads to the end.
struct Exchange {
    seed: u64,
    steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// In pieces of at most so many bytes.
    Send { bytes: usize, piece: usize },
    /// All that was sent has come back before it goes on.
    Await,
}

/// What a peer met.
#[derive(PartialEq, Eq)]
struct Transcript {
    bytes: Vec<u8>,
    /// How many there were at each `Await`.
    awaited: Vec<usize>,
    end: Result<(), ErrorKind>,
}

impl Transcript {
    fn outline(&self) -> String {
        let Transcript {
            bytes,
            awaited,
            end,
        } = self;
        format!("{} bytes, {awaited:?}, {end:?}", bytes.len())
    }
}

impl Exchange {
    fn new(dice: &mut Dice) -> Exchange {
        let mut steps = Vec::new();
        for _ in 0..dice.below(6) {
            let bytes = match dice.below(10) {
                0 => 1 << 20,
                1..=3 => 1 + dice.below(100_000),
                _ => 1 + dice.below(100),
            };
            let odd = 1 + dice.below(bytes);
            let piece = *dice.one_of(&[bytes, 4096, odd]);
            let piece = piece.max(bytes / 500);
            steps.push(Step::Send {
                bytes: bytes as usize,
                piece: piece as usize,
            });
            if dice.chance(50) {
                steps.push(Step::Await);
            }
        }
        Exchange {
            seed: dice.below(u64::MAX),
            steps,
        }
    }

    fn expected(&self) -> usize {
        let sent = self.steps.iter().map(|step| match step {
            Step::Send { bytes, .. } => *bytes,
            Step::Await => 0,
        });
        sent.sum()
    }

    fn play(&self, address: SocketAddr) -> Transcript {
        let mut stream = TcpStream::connect(address).expect("accepted");
        stream.set_nodelay(true).expect("it is a socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        stream.set_write_timeout(Some(PATIENCE)).expect("not zero");
        let mut dice = Dice(self.seed);
        let mut transcript = Transcript {
            bytes: Vec::new(),
            awaited: Vec::new(),
            end: Ok(()),
        };
        // An echo that is not taken stops taking; so somebody sends while this reads.
        let (mut sent, mut writers) = (0, Vec::new());
        for step in &self.steps {
            match *step {
                Step::Send { bytes, piece } => {
                    let text: Vec<u8> = (0..bytes).map(|_| dice.below(256) as u8).collect();
                    sent += bytes;
                    writers.push((text, piece));
                }
                Step::Await => {
                    let writing = write(&stream, std::mem::take(&mut writers));
                    let mut rest = vec![0; sent - transcript.bytes.len()];
                    let got = stream.read_exact(&mut rest);
                    writing.join().expect("joined");
                    got.expect("all comes back");
                    transcript.bytes.extend(rest);
                    transcript.awaited.push(transcript.bytes.len());
                }
            }
        }
        let writing = write(&stream, writers);
        let closing = std::thread::spawn({
            let stream = stream.try_clone().expect("cloned");
            move || {
                writing.join().expect("joined");
                stream.shutdown(Shutdown::Write)
            }
        });
        transcript.end = match stream.read_to_end(&mut transcript.bytes) {
            Ok(_) => Ok(()),
            Err(error) => Err(error.kind()),
        };
        closing.join().expect("joined").expect("half-closed");
        transcript
    }
}

fn write(stream: &TcpStream, pieces: Vec<(Vec<u8>, usize)>) -> std::thread::JoinHandle<()> {
    let mut stream = stream.try_clone().expect("cloned");
    std::thread::spawn(move || {
        for (text, piece) in pieces {
            for part in text.chunks(piece) {
                stream.write_all(part).expect("taken");
            }
        }
    })
}
