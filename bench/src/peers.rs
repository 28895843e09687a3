//! Other echo servers, each as its administrator would start it for this load.
//!
//! Peers are those that happen to be installed; one that is not is left out, with the package that has
//! it. Their limits are raised only as far as it takes to carry the load at all.

use std::env;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::servers::{Directory, Server, TOKIO_DATAGRAMS_WORD, TOKIO_STREAMS_WORD};

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

/// More connections, and more of them a second, than any load has.
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

/// Its proxying cannot answer; a service in its own Lua can, a line at a time.
const HAPROXY_LUA: &str = "\
core.register_service('echo', 'tcp', function(applet)
    local line = applet:getline()
    while line ~= nil and #line > 0 do
        applet:send(line)
        line = applet:getline()
    end
end)
";

const HAPROXY: &str = "\
global
    maxconn 4000
    nbthread 1
    lua-load DIRECTORY/echo.lua
    tune.lua.session-timeout 0
    tune.lua.service-timeout 0
defaults
    mode tcp
    timeout client 1h
    timeout server 1h
    timeout connect 1s
frontend echo
    bind 127.0.0.1:PORT backlog 4096
    tcp-request content use-service lua.echo
";

/// A thread for each connection that is being answered, as the event module has them.
const APACHE: &str = "\
ServerRoot DIRECTORY
ServerName localhost
PidFile DIRECTORY/pid
DefaultRuntimeDir DIRECTORY
Mutex sem
ErrorLog /dev/null
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule echo_module /usr/lib/apache2/modules/mod_echo.so
ServerLimit 1
StartServers 1
ThreadLimit 2048
ThreadsPerChild 2048
MaxRequestWorkers 2048
ListenBacklog 4096
Timeout 3600
Listen 127.0.0.1:PORT
ProtocolEcho On
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
        peers.take("python3", "python3", || {
            python("Python threads", PYTHON_STREAMS)
        });
        peers.take("socat", "socat", socat);
        peers.take("ncat", "ncat", ncat);
        peers.take("xinetd", "xinetd", xinetd);
        peers.take("haproxy", "haproxy", haproxy);
        peers.take("apache2", "apache2-bin", apache);
        peers.start("tokio", || Server::by_tokio(TOKIO_STREAMS_WORD));
        peers
    }

    pub(crate) fn for_datagrams() -> Peers {
        let mut peers = Peers::default();
        peers.take("python3", "python3", || python("Python", PYTHON_DATAGRAMS));
        peers.start("tokio", || Server::by_tokio(TOKIO_DATAGRAMS_WORD));
        peers
            .leave_out("xinetd loses datagrams of a window, so that its figures would say nothing");
        peers.leave_out("socat and ncat start a process for each flow or datagram");
        peers
    }

    fn take(&mut self, program: &str, package: &str, start: impl FnOnce() -> io::Result<Server>) {
        match is_installed(program) {
            true => self.start(program, start),
            false => self.leave_out(&format!("{program}: the Debian package {package} has it")),
        }
    }

    fn start(&mut self, name: &str, start: impl FnOnce() -> io::Result<Server>) {
        match start() {
            Ok(server) => self.servers.push(server),
            Err(error) => self.leave_out(&format!("{name}: {error}")),
        }
    }

    fn leave_out(&mut self, why: &str) {
        self.left_out.push(why.to_owned());
    }
}

pub(crate) fn is_installed(program: &str) -> bool {
    found(program).is_some()
}

/// What starts it, from where [`is_installed`] has seen it.
pub(crate) fn command(program: &str) -> Command {
    Command::new(found(program).unwrap_or_else(|| PathBuf::from(program)))
}

fn found(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    // What administrators run lies where not everybody looks.
    let others = [PathBuf::from("/usr/sbin")];
    let mut files = env::split_paths(&path)
        .chain(others)
        .map(|folder| folder.join(program));
    files.find(|file| file.is_file())
}

fn python(name: &'static str, script: &str) -> io::Result<Server> {
    let mut command = command("python3");
    command.args(["-c", script]).stderr(Stdio::null());
    Server::saying_its_port(name, command)
}

fn socat() -> io::Result<Server> {
    Server::on_free_port("socat", |port| {
        let listen = format!("TCP-LISTEN:{port},bind=127.0.0.1,backlog=4096,reuseaddr,fork");
        let mut command = command("socat");
        command.args(["-T", "60", &listen, "PIPE"]);
        command
    })
}

fn ncat() -> io::Result<Server> {
    Server::on_free_port("ncat", |port| {
        let mut command = command("ncat");
        command.args(["-l", "-k", "-m", "20000", "-e", "/bin/cat", "127.0.0.1"]);
        command.arg(port.to_string());
        command
    })
}

fn haproxy() -> io::Result<Server> {
    let files = [("haproxy.cfg", HAPROXY), ("echo.lua", HAPROXY_LUA)];
    let mut server = configured("haproxy", &files, &["-db", "-f", "DIRECTORY/haproxy.cfg"])?;
    server.wants_lines = true;
    Ok(server)
}

fn apache() -> io::Result<Server> {
    let arguments = ["-DFOREGROUND", "-f", "DIRECTORY/apache2.conf"];
    let mut server = configured("apache2", &[("apache2.conf", APACHE)], &arguments)?;
    server.wants_lines = true;
    Ok(server)
}

/// Its own echo, not a program that it starts.
fn xinetd() -> io::Result<Server> {
    let of_directory = ["-f", "DIRECTORY/xinetd.conf", "-pidfile", "DIRECTORY/pid"];
    let arguments = [
        &["-dontfork"],
        &of_directory[..],
        &["-filelog", "/dev/null"],
    ]
    .concat();
    configured("xinetd", &[("xinetd.conf", XINETD)], &arguments)
}

/// Starts a server with files of its own, in which PORT and DIRECTORY stand for where it listens and where
/// they are.
pub(crate) fn configured(
    program: &'static str,
    files: &[(&str, &str)],
    arguments: &[&str],
) -> io::Result<Server> {
    let directory = Directory::new(program)?;
    let placed = |text: &str| text.replace("DIRECTORY", &directory.path().to_string_lossy());
    let mut server = Server::on_free_port(program, |port| {
        for (name, text) in files {
            // Without its files it does not start, which is noticed.
            let text = placed(text).replace("PORT", &port.to_string());
            let _ = fs::write(directory.path().join(name), text);
        }
        let mut command = command(program);
        // xinetd asks for the name of whoever connects, whatever it is told, and a name server that is asked
        // so often falls silent: nobody is asked.
        command.env("RES_OPTIONS", "attempts:0");
        command.args(arguments.iter().map(|argument| placed(argument)));
        command
    })?;
    server.directory = Some(directory);
    Ok(server)
}
