//! What a service manager hears, byte for byte, and what the daemon does with the sockets that it
//! is handed.
//!
//! The manager is a datagram socket of this test. What it is given to keep it keeps, and hands to
//! the next daemon in the way of sd_listen_fds(3).

#[path = "storms/load.rs"]
mod load;
mod support;

use std::fs::File;
use std::io::{BufRead, BufReader, IoSliceMut, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nix::unistd::Pid;

use load::Load;
use support::daemon::{Directory, PATIENCE, polyport};
use support::plugins;

/// Connections that go on for as long as somebody lets them.
const LONG: u8 = 2;

/// A datagram, and what came with it.
#[derive(Debug)]
struct Heard {
    text: String,
    fds: Vec<OwnedFd>,
}

struct Manager {
    directory: Directory,
    socket: UnixDatagram,
}

impl Manager {
    fn new(name: &str) -> Manager {
        let directory = Directory::new(name);
        let socket = UnixDatagram::bind(directory.path().join("notify")).expect("bound");
        socket.set_read_timeout(Some(PATIENCE)).expect("set");
        Manager { directory, socket }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The next message; the watchdog's beats are between the others at any time.
    fn hear(&self) -> Heard {
        loop {
            let heard = self.hear_any();
            if heard.text != "WATCHDOG=1\n" {
                return heard;
            }
        }
    }

    fn hear_any(&self) -> Heard {
        let mut bytes = [0; 8192];
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let mut space = nix::cmsg_space!([RawFd; 4]);
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<()>(self.socket.as_raw_fd(), &mut parts, Some(&mut space), flags);
        let message = message.expect("the daemon says something");
        let mut fds = Vec::new();
        for control in message.cmsgs().expect("whole") {
            if let ControlMessageOwned::ScmRights(raw) = control {
                // SAFETY: the kernel has just made these descriptors for us.
                fds.extend(
                    raw.into_iter()
                        .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }),
                );
            }
        }
        let length = message.bytes;
        let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
        Heard { text, fds }
    }

    fn expect(&self, text: &str) -> Vec<OwnedFd> {
        let heard = self.hear();
        assert_eq!(heard.text, text, "\n{}", self.log());
        heard.fds
    }

    fn configure(&self, services: &str) {
        let text = format!(
            "[daemon]\nrun_dir = {:?}\nstate_dir = {:?}\nplugin_dir = {:?}\n{services}",
            self.path().join("run"),
            self.path().join("state"),
            plugins::folder(),
        );
        std::fs::write(self.path().join("polyport.toml"), text).expect("written");
    }

    /// Starts the daemon with these descriptors from 3 on, each under its name.
    fn start(&self, handed: &[(OwnedFd, String)]) -> Child {
        let own = polyport();
        let mut command = Command::new("python3");
        // A child puts descriptors in their places, since only it knows its pid.
        let script = "import os, sys\n\
            fds = [os.dup2(int(fd), 500 + i) for i, fd in enumerate(sys.argv[1].split())]\n\
            for i, fd in enumerate(fds): os.dup2(fd, 3 + i, inheritable=True); os.close(fd)\n\
            if fds: os.environ['LISTEN_PID'] = str(os.getpid())\n\
            os.execv(sys.argv[2], sys.argv[2:])";
        let inherit = |fd: &OwnedFd| {
            let flags = nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty());
            nix::fcntl::fcntl(fd, flags).expect("set");
            fd.as_raw_fd().to_string()
        };
        let numbers: Vec<String> = handed.iter().map(|(fd, _)| inherit(fd)).collect();
        let names: Vec<&str> = handed.iter().map(|(_, name)| name.as_str()).collect();
        command
            .args(["-c", script, &numbers.join(" ")])
            .arg(own.get_program())
            .args(["run", "--json", "-c"])
            .arg(self.path().join("polyport.toml"))
            .env("NOTIFY_SOCKET", self.path().join("notify"))
            .env("WATCHDOG_USEC", "300000")
            .env("LISTEN_FDS", handed.len().to_string())
            .env("LISTEN_FDNAMES", names.join(":"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(self.path().join("log")).expect("made"));
        command.spawn().expect("python3")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path().join("log")).expect("a log")
    }

    /// Has it end, and hears the last words.
    fn stop(&self, mut child: Child) {
        signal(&child, Signal::SIGTERM);
        self.expect("STOPPING=1\nSTATUS=Stopping: what is open is being finished\n");
        self.expect("EXTEND_TIMEOUT_USEC=20000000\n");
        self.expect("STATUS=\n");
        let barrier = self.expect("BARRIER=1\n");
        assert_eq!(barrier.len(), 1);
        drop(barrier);
        assert!(child.wait().expect("ended").success(), "{}", self.log());
    }
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id() as i32), signal).expect("it lives");
}

/// Ports that were free a moment ago.
fn ports() -> (u16, u16) {
    let stream = TcpListener::bind("127.0.0.1:0").expect("bound");
    let datagram = UdpSocket::bind("127.0.0.1:0").expect("bound");
    (
        stream.local_addr().expect("an address").port(),
        datagram.local_addr().expect("an address").port(),
    )
}

fn service(name: &str, plugin: &str, listen: &str) -> String {
    format!("[services.{name}]\nplugin = {plugin:?}\nlisten = [{listen:?}]\nworkers = 1\n")
}

/// Everything up to READY, and the descriptors that were stored, with their names.
fn stored(manager: &Manager, ready: &str) -> Vec<(OwnedFd, String)> {
    let mut stored = Vec::new();
    loop {
        let Heard { text, mut fds } = manager.hear();
        if text == ready {
            return stored;
        }
        let rest = text.strip_prefix("FDSTORE=1\nFDNAME=polyport-");
        let rest = rest.unwrap_or_else(|| panic!("{text:?}\n{}", manager.log()));
        assert_eq!(fds.len(), 1, "{text:?}");
        let datagram = rest.contains("-udp");
        assert_eq!(rest.ends_with("\nFDPOLL=0\n"), datagram, "{text:?}");
        let name = text.lines().nth(1).expect("a name")["FDNAME=".len()..].to_owned();
        assert!(name.len() <= 255 && !name.contains(':'), "{name}");
        stored.push((fds.remove(0), name));
    }
}

#[test]
fn the_manager_hears_what_happens_and_hands_on_what_it_keeps() {
    let manager = Manager::new("notify");
    let (tcp, udp) = ports();
    let (tcp_url, udp_url) = (
        format!("tcp://127.0.0.1:{tcp}"),
        format!("udp://127.0.0.1:{udp}"),
    );
    let echo = service("echo", "echo", &tcp_url);
    manager.configure(&(echo.clone() + &service("echo-udp", "udp-echo", &udp_url)));
    let child = manager.start(&[]);
    let serving = |services| {
        format!(
            "READY=1\nSTATUS=Serving {services} of {services} services with {services} workers\n"
        )
    };
    let kept = stored(&manager, &serving(2));
    let of_tcp = kept
        .iter()
        .filter(|(_, name)| name.contains("-tcp"))
        .count();
    let of_udp = kept.len() - of_tcp;
    assert!(of_tcp >= 2 && of_udp >= 2, "{kept:?}");

    // A refused change: the reload ends for the manager as well.
    manager.configure("[services.echo]\nplugin = 7\n");
    signal(&child, Signal::SIGHUP);
    let begun = manager.hear().text;
    let usec = begun.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
    let usec = usec.unwrap_or_else(|| panic!("{begun:?}"));
    assert!(usec.trim_end().parse::<u64>().is_ok(), "{begun:?}");
    let ended = manager.hear().text;
    let expected = "READY=1\nSTATUS=Serving 2 of 2 services with 2 workers; last reload refused: ";
    assert!(ended.starts_with(expected), "{ended:?}");
    assert!(ended.contains("services.echo.plugin"), "{ended:?}");
    assert_eq!(ended.lines().count(), 2, "{ended:?}");

    // An address that leaves.
    manager.configure(&echo);
    signal(&child, Signal::SIGHUP);
    assert!(
        manager
            .hear()
            .text
            .starts_with("RELOADING=1\nMONOTONIC_USEC=")
    );
    for shard in 0..of_udp {
        manager.expect(&format!(
            "FDSTOREREMOVE=1\nFDNAME=polyport-{shard}-udp%3A//127.0.0.1%3A{udp}\n"
        ));
    }
    let ended = manager.hear().text;
    assert!(ended.starts_with("READY=1\nSTATUS=Serving "), "{ended:?}");
    while manager.hear_any().text != "WATCHDOG=1\n" {}
    manager.stop(child);

    // Nobody is there, and somebody comes.
    let mut early = TcpStream::connect(("127.0.0.1", tcp)).expect("the queue is there");
    early.write_all(b"still here").expect("sent");
    let mut handed: Vec<(OwnedFd, String)> = kept
        .into_iter()
        .filter(|(_, name)| name.contains("-tcp"))
        .collect();
    let foreign = TcpListener::bind("127.0.0.1:0").expect("bound");
    let file = File::open("/dev/null").expect("opened");
    handed.push((foreign.into(), "their.socket".to_owned()));
    handed.push((file.into(), "polyport-9-gone".to_owned()));
    let child = manager.start(&handed);
    drop(handed);
    // By name, all of them at once: whatever comes before this one has been given up as well.
    manager.expect("FDSTOREREMOVE=1\nFDNAME=polyport-9-gone\n");
    manager.expect(&serving(1));
    let mut answer = [0; 10];
    early.read_exact(&mut answer).expect("answered");
    assert_eq!(&answer, b"still here");
    for text in [
        "(their.socket), which no service listens on",
        "(polyport-9-gone) that is no socket",
    ] {
        let log = manager.log();
        assert!(log.contains(text), "{text:?} is not in:\n{log}");
    }
    manager.stop(child);
}

#[test]
fn an_activated_socket_is_served_and_never_stored() {
    let manager = Manager::new("notify-activated");
    let socket = TcpListener::bind("127.0.0.1:0").expect("bound");
    let at = socket.local_addr().expect("an address");
    manager.configure(&service("echo", "echo", &format!("tcp://{at}")));
    let handed = [(socket.into(), "polyport.socket".to_owned())];
    let child = manager.start(&handed);
    drop(handed);
    manager.expect("READY=1\nSTATUS=Serving 1 of 1 services with 1 workers\n");
    let mut peer = TcpStream::connect(at).expect("connected");
    peer.write_all(b"hello\n").expect("sent");
    let mut line = String::new();
    BufReader::new(&peer).read_line(&mut line).expect("read");
    assert_eq!(line, "hello\n");
    drop(peer);
    manager.stop(child);
}

/// A drain may take longer than the manager waits by itself, so it is asked for more time again and
/// again: here a second time, while somebody stays.
#[test]
fn a_long_drain_asks_for_more_time_again() {
    let manager = Manager::new("notify-drain");
    let (tcp, _) = ports();
    let echo = service("echo", "echo", &format!("tcp://127.0.0.1:{tcp}"));
    manager.configure(&format!("drain_timeout = \"60s\"\n{echo}"));
    let mut child = manager.start(&[]);
    stored(
        &manager,
        "READY=1\nSTATUS=Serving 1 of 1 services with 1 workers\n",
    );
    // Whoever does not read is owed more than the kernel holds for it.
    let mut staying = TcpStream::connect(("127.0.0.1", tcp)).expect("connected");
    let mut writing = staying.try_clone().expect("another descriptor");
    let writer = thread::spawn(move || writing.write_all(&vec![b'y'; 64 * 1024 * 1024]));
    staying.read_exact(&mut [0]).expect("a worker has it");
    signal(&child, Signal::SIGTERM);
    manager.expect("STOPPING=1\nSTATUS=Stopping: what is open is being finished\n");
    manager.expect("EXTEND_TIMEOUT_USEC=20000000\n");
    manager.expect("EXTEND_TIMEOUT_USEC=20000000\n");
    staying.shutdown(Shutdown::Both).expect("shut");
    let written = writer.join().expect("no panic");
    written.expect_err("nobody read it to its end");
    drop(staying);
    manager.expect("STATUS=\n");
    drop(manager.expect("BARRIER=1\n"));
    assert!(child.wait().expect("ended").success(), "{}", manager.log());
}

#[test]
fn a_refused_start_says_why_before_it_ends() {
    let manager = Manager::new("notify-refused");
    manager.configure("[services.echo]\nplugin = 7\n");
    let mut child = manager.start(&[]);
    let last = manager.hear().text;
    assert!(
        last.starts_with("STATUS=") && last.contains("services.echo.plugin"),
        "{last:?}"
    );
    drop(manager.expect("BARRIER=1\n"));
    assert_eq!(child.wait().expect("ended").code(), Some(78));
}

/// The manager passes over a message that is longer than it reads (systemd has 4096 bytes), and with the
/// STATUS its READY would be lost: the start and the reload would seem to hang.
#[test]
fn a_status_is_cut_before_the_manager_passes_over_the_message() {
    let manager = Manager::new("notify-long");
    let (tcp, _) = ports();
    let echo = service("echo", "echo", &format!("tcp://127.0.0.1:{tcp}"));
    let gone: String = (0..200)
        .map(|nth| {
            service(
                &format!("gone-{nth}"),
                "nobody-has-this",
                "tcp://127.0.0.1:0",
            )
        })
        .collect();
    manager.configure(&(echo + &gone));
    let child = manager.start(&[]);
    let ready = loop {
        let text = manager.hear().text;
        if !text.starts_with("FDSTORE=1") {
            break text;
        }
    };
    let expected =
        "READY=1\nSTATUS=Serving 1 of 201 services with 1 workers; failed: services.gone-0: ";
    assert!(ready.starts_with(expected), "{ready}");
    assert!(ready.len() <= 4096 && ready.ends_with("…\n"), "{ready}");

    let nonsense: String = (0..200)
        .map(|nth| format!("nonsense_{nth} = 1\n"))
        .collect();
    manager.configure(&format!("[services.echo]\n{nonsense}"));
    signal(&child, Signal::SIGHUP);
    assert!(manager.hear().text.starts_with("RELOADING=1\n"));
    let ended = manager.hear().text;
    assert!(
        ended.starts_with("READY=1\nSTATUS=Serving 1 of "),
        "{ended}"
    );
    assert!(ended.len() <= 4096 && ended.ends_with("…\n"), "{ended}");
    manager.stop(child);
}

/// The manager holds the sockets while nobody serves, and whoever comes meanwhile waits there. Those
/// who were being served are: their workers live on until they have drained.
#[test]
fn a_supervisor_that_is_killed_under_load_costs_nobody_who_waits() {
    let rounds: u64 = if std::env::var_os("POLYPORT_SOAK").is_some() {
        30
    } else {
        3
    };
    let manager = Manager::new("notify-killed");
    let (tcp, _) = ports();
    let echo = service("echo", "echo", &format!("tcp://127.0.0.1:{tcp}"));
    manager.configure(&format!("drain_timeout = \"1s\"\n{echo}"));
    let ready = "READY=1\nSTATUS=Serving 1 of 1 services with 1 workers\n";
    let mut child = manager.start(&[]);
    let kept = stored(&manager, ready);
    let load = Load::begin(([127, 0, 0, 1], tcp).into(), 3, LONG);
    for _ in 0..rounds {
        load.goes_on(20);
        signal(&child, Signal::SIGKILL);
        child.wait().expect("our child");
        child = manager.start(&kept);
        manager.expect(ready);
    }
    load.goes_on(20);
    let (short, long) = load.end();
    short.is_clean();
    long.is_honest();
    let most = rounds * u64::from(LONG);
    assert!(long.broken() <= most, "{long:?}");
    drop(kept);
    manager.stop(child);
}
