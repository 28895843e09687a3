//! What the daemon takes besides processor time: moments until it serves, and memory.
//!
//! Each figure is of the real daemon from outside: what it announces, what its control socket says,
//! and what the kernel counts.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, setsockopt, socket, sockopt,
};
use nix::unistd::Pid;

use crate::daemon::{self, Serves};
use crate::process;
use crate::servers::{PATIENCE, wait_until};
use crate::spread::Spread;

/// Opened before memory is measured, so that what a server needs once is not counted as theirs.
const CONNECTIONS_BEFORE: usize = 64;

/// One service with one worker.
pub(crate) const ONE: Serves = Serves::Streams {
    services: 1,
    workers: 1,
};

/// Starting the daemon until it says that all its services serve.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) milliseconds: Spread,
    /// Of all its processes, which does not depend on what else runs on the machine.
    pub(crate) processor_milliseconds: Spread,
}

/// With so many services that have so many workers each, on all cores.
pub(crate) fn start(services: usize, workers: usize, times: usize) -> io::Result<Start> {
    let mut took = Vec::new();
    let mut spent = Vec::new();
    for _ in 0..times {
        let begun = Instant::now();
        let serves = Serves::Streams { services, workers };
        let server = daemon::start_on_all_cores("start", serves)?;
        took.push(milliseconds(begun));
        spent.push(process::processor_time(server.pid()).as_secs_f64() * 1e3);
    }
    Ok(Start {
        milliseconds: Spread::of(took),
        processor_milliseconds: Spread::of(spent),
    })
}

/// From a worker's death by SIGKILL to another one serving in its place, in milliseconds. Each time
/// it is a daemon of its own: one that lost several workers lets the next wait.
pub(crate) fn replacement(times: usize) -> io::Result<Spread> {
    let mut took = Vec::new();
    for _ in 0..times {
        let server = daemon::start("replacement", ONE)?;
        let first = wait_until("a worker serves", || daemon::serving_worker(&server))?;
        let begun = Instant::now();
        kill(Pid::from_raw(first as i32), Signal::SIGKILL)?;
        wait_until("another worker serves", || {
            daemon::serving_worker(&server).filter(|pid| *pid != first)
        })?;
        took.push(milliseconds(begun));
    }
    Ok(Spread::of(took))
}

/// Bytes of the process's memory per connection that was used once and then left open.
#[derive(Debug)]
pub(crate) struct PerConnection {
    pub(crate) resident: f64,
    pub(crate) proportional: f64,
}

pub(crate) fn idle(server: SocketAddrV4, pid: u32, count: usize) -> io::Result<PerConnection> {
    let mut held = hold(server, Ipv4Addr::LOCALHOST, CONNECTIONS_BEFORE)?;
    let before = process::memory(pid)?;
    held.extend(hold(server, Ipv4Addr::LOCALHOST, count)?);
    let after = process::memory(pid)?;
    let each = |before: u64, after: u64| (after as f64 - before as f64) / count as f64;
    Ok(PerConnection {
        resident: each(before.resident, after.resident),
        proportional: each(before.proportional, after.proportional),
    })
}

/// Connections that were each answered once.
pub(crate) fn hold(
    server: SocketAddrV4,
    source: Ipv4Addr,
    count: usize,
) -> io::Result<Vec<TcpStream>> {
    let mut held = Vec::with_capacity(count);
    for nth in 0..count {
        let mut socket = connect_from(source, server)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let request = [nth as u8; 64];
        let mut answer = [0; 64];
        socket.write_all(&request)?;
        socket.read_exact(&mut answer)?;
        if answer != request {
            return Err(io::Error::other("an idle connection was answered wrongly"));
        }
        held.push(socket);
    }
    Ok(held)
}

fn connect_from(source: Ipv4Addr, server: SocketAddrV4) -> io::Result<TcpStream> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    // The port is chosen when the other end is known, so that it may serve several.
    setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
    let source = SockaddrIn::from(SocketAddrV4::new(source, 0));
    bind(socket.as_raw_fd(), &source)?;
    connect(socket.as_raw_fd(), &SockaddrIn::from(server))?;
    Ok(socket.into())
}

/// The supervisor's memory: once it serves, once it was asked, and once it has changed everything.
pub(crate) fn supervisor(services: usize) -> io::Result<[(&'static str, process::Memory); 3]> {
    let serves = Serves::Streams {
        services,
        workers: 1,
    };
    let server = daemon::start_on_all_cores("memory", serves)?;
    let serving = process::memory(server.pid())?;
    let control = daemon::control_socket(&server)?;
    daemon::ask(&control, r#"{"verb":"status"}"#)?;
    let asked = process::memory(server.pid())?;
    daemon::change_settings(&server, services)?;
    daemon::ask(&control, r#"{"verb":"reload","wait":true,"dry_run":false}"#)?;
    let changed = process::memory(server.pid())?;
    Ok([
        ("when it serves", serving),
        ("asked for its status", asked),
        ("after a reload", changed),
    ])
}

pub(crate) fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
