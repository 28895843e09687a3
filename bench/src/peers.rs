//! Other echo servers, each as its administrator would start it for this load.
//!
//! Peers are those that happen to be installed; one that is not is left out, with the package that has
//! it. Their limits are raised only as far as it takes to carry the load at all.

use std::env;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::servers::{Directory, Server};

/// Connections queue up in every server alike, and no handler costs more than it must.
const PYTHON_STREAMS: &str = "\
import socketserver
class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while received := self.request.recv(65536):
            self.request.sendall(received)
class Server(socketserver.ThreadingTCPServer):
    request_queue_size = 4096
    daemon_threads = True
with Server(('127.0.0.1', 0), Echo) as server:
    print(server.server_address[1], flush=True)
    server.serve_forever()
";

/// Without threads, which would be one for each datagram.
const PYTHON_DATAGRAMS: &str = "\
import socketserver
class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        received, socket = self.request
        socket.sendto(received, self.client_address)
with socketserver.UDPServer(('127.0.0.1', 0), Echo) as server:
    print(server.server_address[1], flush=True)
    server.serve_forever()
";

/// More connections, and more of them a second, than any load has; without asking for the names of
/// addresses that have none.
const XINETD: &str = "\
defaults
{
    instances = UNLIMITED
    per_source = UNLIMITED
    cps = 10000000 1
}
service echo
{
    type = INTERNAL UNLISTED
    id = echo-stream
    socket_type = stream
    protocol = tcp
    wait = no
    flags = NOLIBWRAP
    user = root
    bind = 127.0.0.1
    port = PORT
}
";

/// What there is of a kind, and a sentence for each that is left out.
#[derive(Default)]
pub(crate) struct Peers {
    pub(crate) servers: Vec<Server>,
    pub(crate) left_out: Vec<String>,
}

impl Peers {
    pub(crate) fn for_streams() -> Peers {
        let mut peers = Peers::default();
        peers.take("python3", || python("Python threads", PYTHON_STREAMS));
        peers.take("socat", socat);
        peers.take("ncat", ncat);
        peers.take("xinetd", xinetd);
        peers.leave_out("haproxy echoes only by a script in Lua, which is not the peer's own work");
        peers.leave_out("apache2: its mod_echo answers lines, and not those of 16 KiB");
        peers.leave_out("tokio would put its packages into the daemon's lock file");
        peers
    }

    pub(crate) fn for_datagrams() -> Peers {
        let mut peers = Peers::default();
        peers.take("python3", || python("Python", PYTHON_DATAGRAMS));
        peers
            .leave_out("xinetd loses datagrams of a window, so that its figures would say nothing");
        peers.leave_out("socat and ncat start a process for each flow or datagram");
        peers
    }

    fn take(&mut self, program: &str, start: impl FnOnce() -> io::Result<Server>) {
        if !is_installed(program) {
            return self.leave_out(&format!("{program}: the Debian package {program} has it"));
        }
        match start() {
            Ok(server) => self.servers.push(server),
            Err(error) => self.leave_out(&format!("{program}: {error}")),
        }
    }

    fn leave_out(&mut self, why: &str) {
        self.left_out.push(why.to_owned());
    }
}

pub(crate) fn is_installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    // What administrators run lies where not everybody looks.
    let others = [PathBuf::from("/usr/sbin")];
    env::split_paths(&path)
        .chain(others)
        .any(|folder| folder.join(program).is_file())
}

fn python(name: &'static str, script: &str) -> io::Result<Server> {
    let mut command = Command::new("python3");
    command.args(["-c", script]).stderr(Stdio::null());
    Server::saying_its_port(name, command)
}

fn socat() -> io::Result<Server> {
    Server::on_free_port("socat", |port| {
        let listen = format!("TCP-LISTEN:{port},bind=127.0.0.1,backlog=4096,reuseaddr,fork");
        let mut command = Command::new("socat");
        command.args(["-T", "60", &listen, "PIPE"]);
        command
    })
}

fn ncat() -> io::Result<Server> {
    Server::on_free_port("ncat", |port| {
        let mut command = Command::new("ncat");
        command.args(["-l", "-k", "-m", "20000", "-e", "/bin/cat", "127.0.0.1"]);
        command.arg(port.to_string());
        command
    })
}

/// Its own echo, not a program that it starts.
fn xinetd() -> io::Result<Server> {
    let directory = Directory::new("xinetd")?;
    let file = directory.path().join("xinetd.conf");
    let mut server = Server::on_free_port("xinetd", |port| {
        // Without the file it does not start, which is noticed.
        let _ = fs::write(&file, XINETD.replace("PORT", &port.to_string()));
        let mut command = Command::new("xinetd");
        command.arg("-dontfork").arg("-f").arg(&file);
        command.arg("-pidfile").arg(directory.path().join("pid"));
        command.args(["-filelog", "/dev/null"]);
        command
    })?;
    server.directory = Some(directory);
    Ok(server)
}
