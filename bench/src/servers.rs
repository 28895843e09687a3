//! The servers that are measured, each a process of its own on the servers' core.
//!
//! A server is up when it has said where it listens, and is gone when its value is. Nothing is
//! measured here, and which servers there are is said elsewhere.

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::process;

/// Where the servers run, and where everything else does.
pub(crate) const SERVERS_CORES: &[usize] = &[0];
pub(crate) const GENERATOR_CORE: usize = 1;
/// For servers that are to have more than one, the generator's among them: there may be no others.
pub(crate) const ALL_CORES: &[usize] = &[0, GENERATOR_CORE];
/// What makes this program the limit.
pub(crate) const LIMIT_VERB: &str = "serve-limit";
/// Which limit it is then: that of gopher; a folder follows.
pub(crate) const HOLE_WORD: &str = "hole";
/// What makes it a peer: an echo by tokio.
pub(crate) const TOKIO_STREAMS_WORD: &str = "tokio-streams";
pub(crate) const TOKIO_DATAGRAMS_WORD: &str = "tokio-datagrams";
/// No start and no end takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(2);

/// The bare servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    Streams,
    /// Two of them, each a thread with a listener of its own on the same port, on all cores.
    Pair,
    Datagrams,
    Segments,
    Rooms,
}

impl Limit {
    pub(crate) const ALL: [Limit; 5] = [
        Limit::Streams,
        Limit::Pair,
        Limit::Datagrams,
        Limit::Segments,
        Limit::Rooms,
    ];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Limit::Streams => "streams",
            Limit::Pair => "pair",
            Limit::Datagrams => "datagrams",
            Limit::Segments => "segments",
            Limit::Rooms => "rooms",
        }
    }
}

pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddrV4,
    /// It is asked by HTTP.
    pub(crate) is_web: bool,
    /// It echoes a line once all of it is there, and nothing else.
    pub(crate) wants_lines: bool,
    child: Child,
    /// Kept open, as writing to a closed one would end the server.
    _said: Option<BufReader<ChildStdout>>,
    /// Its files, which go after it.
    pub(crate) directory: Option<Directory>,
}

impl Server {
    /// This program, as one of its limits.
    pub(crate) fn limit(name: &'static str, kind: Limit) -> io::Result<Server> {
        let mut command = Command::new(env::current_exe()?);
        command.args([LIMIT_VERB, kind.word()]);
        let cores = match kind {
            Limit::Pair => ALL_CORES,
            _ => SERVERS_CORES,
        };
        Server::saying(name, command, cores, port_of_loopback)
    }

    /// This program, as the limit of gopher, with this folder.
    pub(crate) fn limit_of_hole(name: &'static str, root: &Path) -> io::Result<Server> {
        let mut command = Command::new(env::current_exe()?);
        command.args([LIMIT_VERB, HOLE_WORD]).arg(root);
        Server::saying_its_port(name, command)
    }

    /// This program, as a peer.
    pub(crate) fn by_tokio(word: &str) -> io::Result<Server> {
        let mut command = Command::new(env::current_exe()?);
        command.args([LIMIT_VERB, word]);
        Server::saying_its_port("tokio", command)
    }

    /// Starts what `command` makes of a port that was free a moment ago, and waits until it listens.
    /// A server that does not say where it is takes no port of its own.
    pub(crate) fn on_free_port(
        name: &'static str,
        command: impl FnOnce(u16) -> Command,
    ) -> io::Result<Server> {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let mut command = command(free.port());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let server = Server {
            name,
            address: SocketAddrV4::new(Ipv4Addr::LOCALHOST, free.port()),
            is_web: false,
            wants_lines: false,
            child: spawn(&mut command, SERVERS_CORES)?,
            _said: None,
            directory: None,
        };
        wait_until("it listens", || TcpStream::connect(server.address).ok())?;
        Ok(server)
    }

    /// Starts it; its first line is for `address_in` to read.
    pub(crate) fn saying(
        name: &'static str,
        mut command: Command,
        cores: &[usize],
        address_in: impl FnOnce(&str) -> Option<SocketAddrV4>,
    ) -> io::Result<Server> {
        let mut child = spawn(command.stdout(Stdio::piped()), cores)?;
        let mut said = child.stdout.take().map(BufReader::new);
        let mut server = Server {
            name,
            address: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0),
            is_web: false,
            wants_lines: false,
            child,
            _said: None,
            directory: None,
        };
        let mut line = String::new();
        if let Some(said) = &mut said {
            said.read_line(&mut line)?;
        }
        server._said = said;
        server.address = address_in(line.trim()).ok_or_else(|| {
            io::Error::other(format!("{name} said {line:?} instead of where it listens"))
        })?;
        Ok(server)
    }

    pub(crate) fn saying_its_port(name: &'static str, command: Command) -> io::Result<Server> {
        Server::saying(name, command, SERVERS_CORES, port_of_loopback)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The daemon takes it as "now, not gracefully"; for all others it is the end.
        let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGINT);
        let ended = wait_until("the server ends", || self.child.try_wait().ok().flatten());
        if ended.is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn port_of_loopback(line: &str) -> Option<SocketAddrV4> {
    let port = line.parse().ok()?;
    Some(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
}

fn spawn(command: &mut Command, cores: &[usize]) -> io::Result<Child> {
    command.stdin(Stdio::null());
    process::on_cores(cores, GENERATOR_CORE, || command.spawn())?
}

/// Asks until there is an answer.
pub(crate) fn wait_until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> io::Result<T> {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return Ok(answer);
        }
        if Instant::now() > until {
            return Err(io::Error::other(format!("waited in vain until {what}")));
        }
        thread::sleep(PAUSE);
    }
}

/// A directory that goes with its value.
pub(crate) struct Directory(PathBuf);

impl Directory {
    /// Beside this program: a folder that others may write to is none for the daemon's files.
    pub(crate) fn new(name: &str) -> io::Result<Directory> {
        let path = beside(&format!("bench-{}-{name}", std::process::id()))?;
        fs::create_dir(&path)?;
        Ok(Directory(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A file of the build that this program is of.
pub(crate) fn beside(name: &str) -> io::Result<PathBuf> {
    Ok(env::current_exe()?.with_file_name(name))
}
