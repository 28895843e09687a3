//! The daemon under test: started on a configuration of its own, and asked how it is.
//!
//! It serves the echo plugin with one worker a service, limits out of the way, everything else as
//! shipped: the sandbox, the log and the scoreboard are part of what is measured.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::SocketAddrV4;
use std::os::unix::net::UnixStream;
use std::process::Command;

use serde_json::Value;

use crate::servers::{Directory, Server, beside};

/// Starts it and waits until everything serves; the server's address is the first service's.
pub(crate) fn start(name: &str, services: usize) -> io::Result<Server> {
    let directory = Directory::new(name)?;
    let path = directory.path();
    let file = path.join("polyport.toml");
    fs::write(&file, config(&directory, services)?)?;
    let log = path.join("log");
    let mut command = Command::new(beside("polyport")?);
    command.args(["run", "--json", "-c"]).arg(&file);
    command.stderr(File::create(&log)?);
    let started = Server::saying("Polyport", command, |line| {
        let announced: Value = serde_json::from_str(line).ok()?;
        let url = announced["services"]["echo-0"]["listen"][0].as_str()?;
        url.strip_prefix("tcp://")?.parse::<SocketAddrV4>().ok()
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

fn config(directory: &Directory, services: usize) -> io::Result<String> {
    let path = directory.path();
    let mut text = format!(
        "[daemon]\nrun_dir = {:?}\nstate_dir = {:?}\nplugin_dir = {:?}\n",
        path.join("run"),
        path.join("state"),
        beside("")?,
    );
    for nth in 0..services {
        text += &format!(
            "[services.echo-{nth}]\nplugin = \"echo\"\nlisten = [\"tcp://127.0.0.1:0\"]\n\
             workers = 1\nlimits.connections = 20000\n"
        );
    }
    Ok(text)
}

/// The process that serves the first service, once it does.
pub(crate) fn serving_worker(server: &Server) -> Option<u32> {
    let status = status(server).ok()?;
    let worker = &status["services"]["echo-0"]["workers"][0];
    let serving = worker["state"].as_str()?.eq_ignore_ascii_case("serving");
    let pid = u32::try_from(worker["pid"].as_u64()?).ok()?;
    (serving && pid > 0).then_some(pid)
}

fn status(server: &Server) -> io::Result<Value> {
    let directory = server.directory.as_ref();
    let directory = directory.ok_or_else(|| io::Error::other("only the daemon has a status"))?;
    let mut socket = UnixStream::connect(directory.path().join("run/control.sock"))?;
    socket.write_all(b"{\"verb\":\"status\"}\n")?;
    let mut text = String::new();
    socket.read_to_string(&mut text)?;
    let mut reply: Value = serde_json::from_str(&text)?;
    Ok(reply["answer"].take())
}
