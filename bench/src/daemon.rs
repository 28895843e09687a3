//! The daemon under test: started on a configuration of its own, and asked how it is.
//!
//! It serves the echo plugin with one worker a service, limits out of the way, everything else as
//! shipped: the sandbox, the log and the scoreboard are part of what is measured.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::SocketAddrV4;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::servers::{ALL_CORES, Directory, SERVERS_CORES, Server, beside};

/// The service under test, first of those that a daemon here may have.
pub(crate) const FIRST: &str = "echo-0";
/// What it is asked most often.
pub(crate) const STATUS: &str = r#"{"verb":"status"}"#;
const CONFIG: &str = "polyport.toml";
/// More connections than any workload opens to one worker, but fewer than it may have descriptors: a
/// worker that runs out of them tries again ten times a second, which is not idle.
const CONNECTIONS_PER_WORKER: usize = 15_000;

/// What it serves.
#[derive(Clone, Debug)]
pub(crate) enum Serves {
    /// So many services of the plugin echo, each with so many workers.
    Streams { services: usize, workers: usize },
    /// The plugin gopher, with menus kept ready or not.
    Hole { root: PathBuf, cache: bool },
    /// The plugin udp-echo; its guard against loops as shipped, or off.
    Datagrams { guarded: bool },
    /// The plugin line-chat, where nobody who speaks is slowed down.
    Rooms { workers: usize },
}

/// The build that this program is of.
pub(crate) fn start(name: &'static str, serves: Serves) -> io::Result<Server> {
    start_from(&beside("")?, name, serves, SERVERS_CORES)
}

/// The same on all cores that the measurements know of.
pub(crate) fn start_on_all_cores(name: &'static str, serves: Serves) -> io::Result<Server> {
    start_from(&beside("")?, name, serves, ALL_CORES)
}

/// Starts the daemon of that folder, with the plugins there, and waits until everything serves; the
/// server's address is the first service's.
pub(crate) fn start_from(
    build: &Path,
    name: &'static str,
    serves: Serves,
    cores: &[usize],
) -> io::Result<Server> {
    let directory = Directory::new(&name.replace([' ', ','], "-"))?;
    let path = directory.path();
    let file = path.join(CONFIG);
    fs::write(&file, config(build, &directory, serves)?)?;
    let log = path.join("log");
    let mut command = Command::new(build.join("polyport"));
    command.args(["run", "--json", "-c"]).arg(&file);
    command.stderr(File::create(&log)?);
    let started = Server::saying(name, command, cores, |line| {
        let announced: Value = serde_json::from_str(line).ok()?;
        let url = announced["services"][FIRST]["listen"][0].as_str()?;
        let (_, address) = url.split_once("://")?;
        address.parse::<SocketAddrV4>().ok()
    });
    match started {
        Ok(mut server) => {
            server.directory = Some(directory);
            Ok(server)
        }
        Err(error) => {
            let log = fs::read_to_string(&log).unwrap_or_default();
            Err(io::Error::other(format!("{error}; its log:\n{log}")))
        }
    }
}

fn config(build: &Path, directory: &Directory, serves: Serves) -> io::Result<String> {
    let path = directory.path();
    let mut text = format!(
        "[daemon]\nrun_dir = {:?}\nstate_dir = {:?}\nplugin_dir = {:?}\n",
        path.join("run"),
        path.join("state"),
        build,
    );
    match serves {
        Serves::Streams { services, workers } => {
            let connections = CONNECTIONS_PER_WORKER * workers;
            for nth in 0..services {
                text += &format!(
                    "[services.echo-{nth}]\nplugin = \"echo\"\nlisten = [\"tcp://127.0.0.1:0\"]\n\
                     workers = {workers}\nlimits.connections = {connections}\n"
                );
            }
        }
        Serves::Rooms { workers } => {
            text += &format!(
                "[services.{FIRST}]\nplugin = \"line-chat\"\nlisten = [\"tcp://127.0.0.1:0\"]\n\
                 workers = {workers}\nlimits.connections = {}\n\
                 [services.{FIRST}.settings]\nburst = 10000\nrate = 1000000\n",
                workers * CONNECTIONS_PER_WORKER
            );
        }
        Serves::Hole { root, cache } => {
            let connections = CONNECTIONS_PER_WORKER;
            text += &format!(
                "[services.{FIRST}]\nplugin = \"gopher\"\nlisten = [\"tcp://127.0.0.1:0\"]\n\
                 workers = 1\nlimits.connections = {connections}\n\
                 [services.{FIRST}.settings]\nroot = {root:?}\n"
            );
            if !cache {
                text += "cache = \"0\"\n";
            }
        }
        // Rates do not hold for loopback unless they are written.
        Serves::Datagrams { guarded } => {
            text += &format!(
                "[services.{FIRST}]\nplugin = \"udp-echo\"\n\
                 listen = [\"udp://127.0.0.1:0\"]\nworkers = 1\n"
            );
            if !guarded {
                text += &format!("[services.{FIRST}.settings]\nrepeats = 0\n");
            }
        }
    }
    Ok(text)
}

/// The process that serves the first service, once it does.
pub(crate) fn serving_worker(server: &Server) -> Option<u32> {
    serving_workers(server)?.first().copied()
}

/// The processes that serve the first service, once all of them do.
pub(crate) fn serving_workers(server: &Server) -> Option<Vec<u32>> {
    let status = status(server).ok()?;
    let workers = status["services"][FIRST]["workers"].as_array()?.iter();
    let pids = workers.map(|worker| {
        let serving = worker["state"].as_str()?.eq_ignore_ascii_case("serving");
        let pid = u32::try_from(worker["pid"].as_u64()?).ok()?;
        (serving && pid > 0).then_some(pid)
    });
    pids.collect()
}

/// Connections to the first service: those open now, by worker, and how many ever were.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Connections {
    pub(crate) open: Vec<u64>,
    pub(crate) accepted: u64,
}

pub(crate) fn connections(server: &Server) -> Option<Connections> {
    let status = status(server).ok()?;
    let service = &status["services"][FIRST];
    let workers = service["workers"].as_array()?.iter();
    let open: Option<Vec<u64>> = workers
        .map(|worker| worker["connections"].as_u64())
        .collect();
    Some(Connections {
        open: open?,
        accepted: service["totals"]["accepted"].as_u64()?,
    })
}

fn status(server: &Server) -> io::Result<Value> {
    ask(&control_socket(server)?, STATUS)
}

/// Where the daemon is asked.
pub(crate) fn control_socket(server: &Server) -> io::Result<PathBuf> {
    Ok(directory(server)?.join("run/control.sock"))
}

/// Its answer to one line.
pub(crate) fn ask(control: &Path, request: &str) -> io::Result<Value> {
    let mut socket = UnixStream::connect(control)?;
    socket.write_all(request.as_bytes())?;
    socket.write_all(b"\n")?;
    let mut text = String::new();
    socket.read_to_string(&mut text)?;
    let mut reply: Value = serde_json::from_str(&text)?;
    match reply["exit"].as_u64() {
        Some(0) => Ok(reply["answer"].take()),
        _ => Err(io::Error::other(format!("{request}: {}", text.trim()))),
    }
}

/// Lets so many of its services have another setting, once the configuration is read again.
pub(crate) fn change_settings(server: &Server, services: usize) -> io::Result<()> {
    let file = directory(server)?.join(CONFIG);
    let mut text = fs::read_to_string(&file)?;
    for nth in 0..services {
        text += &format!("[services.echo-{nth}.settings]\nline_max = \"1000B\"\n");
    }
    fs::write(&file, text)
}

fn directory(server: &Server) -> io::Result<&Path> {
    let directory = server.directory.as_ref().map(Directory::path);
    directory.ok_or_else(|| io::Error::other("only the daemon has a directory"))
}
