//! Measures Polyport against the limit, a bare server that does nothing else, and against peers that
//! are installed here, all in one run; prints Markdown.
//!
//! Servers have one core and the load generator another. What counts are the ratios: 1.00 is the
//! limit, higher is better, and the second copy of the limit shows how much of a difference is noise.
//!
//!     polyport-bench [--quick] [--rounds N] [--only WORKLOAD] [--alone] [--before FOLDER]
//!
//! `--alone` leaves the peers out, and `--before` sets another build of the daemon beside this one.

mod calls;
mod comparison;
mod crowd;
mod daemon;
mod datagram_limit;
mod datagrams;
mod fanout;
mod fanout_limit;
mod fetcher;
mod generator;
mod gopher_limit;
mod holes;
mod idle;
mod life;
mod limit;
mod lines;
mod operating;
mod peers;
mod process;
mod rooms;
mod scoreboard;
mod servers;
mod spread;
mod table;
mod tally;
mod tokio_echo;

use std::env;
use std::fs;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

use comparison::{DATAGRAMS, Pace, STREAMS};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use rooms::{MEMBERS, ROOMS};
use servers::{Limit, Server};
use table::Company;

const SERVICES: usize = 10;
/// Of each service, where a start is to be a large one.
const WORKERS: usize = 8;
const IDLE_CONNECTIONS: usize = 10_000;
const USAGE: &str =
    "usage: polyport-bench [--quick] [--rounds N] [--only WORKLOAD] [--alone] [--before FOLDER]";
/// What is no comparison: the daemon's life, and very many idle connections.
const LIFE: &str = "life";
const IDLE: &str = "idle";

/// What was asked for on the command line.
struct Wanted {
    quick: bool,
    rounds: Option<usize>,
    only: Option<String>,
    company: Company,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let result = match arguments.first().map(String::as_str) {
        Some(servers::LIMIT_VERB) => serve_limit(&arguments[1..]),
        Some(idle::HOLD_VERB) => idle::serve_holding(&arguments[1..]),
        _ => match Wanted::from(&arguments) {
            Ok(wanted) => measure(&wanted),
            Err(complaint) => {
                eprintln!("{complaint}");
                return ExitCode::from(2);
            }
        },
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("polyport-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Wanted {
    fn from(arguments: &[String]) -> Result<Wanted, String> {
        let mut wanted = Wanted {
            quick: false,
            rounds: None,
            only: None,
            company: Company {
                peers: true,
                before: None,
            },
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match (argument.as_str(), arguments.as_slice().first()) {
                ("--quick", _) => wanted.quick = true,
                ("--rounds", Some(number)) => {
                    let rounds = number.parse().ok().filter(|rounds| *rounds > 0);
                    wanted.rounds = Some(rounds.ok_or("--rounds is to be a number above 0")?);
                    arguments.next();
                }
                ("--alone", _) => wanted.company.peers = false,
                ("--before", Some(folder)) => {
                    wanted.company.before = Some(fs::canonicalize(folder).map_err(|error| {
                        format!("--before {folder}: {error}; it is to hold another build")
                    })?);
                    arguments.next();
                }
                ("--only", Some(name)) => {
                    let workloads = || STREAMS.iter().chain(&DATAGRAMS);
                    let others = || {
                        let named = holes::names().chain(rooms::names());
                        named.chain([LIFE, IDLE, ROOMS, MEMBERS])
                    };
                    let known = || workloads().map(|w| w.name).chain(others());
                    if !known().any(|known| known == name) {
                        let names: Vec<&str> = known().collect();
                        return Err(format!(
                            "there is no workload {name:?}; there are {}",
                            names.join(", ")
                        ));
                    }
                    wanted.only = Some(name.clone());
                    arguments.next();
                }
                _ => return Err(format!("{argument:?} is not understood; {USAGE}")),
            }
        }
        Ok(wanted)
    }

    fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only == name)
    }

    fn pace(&self) -> Pace {
        let (rounds, warm_up_ms, measured_ms) = if self.quick {
            (3, 100, 200)
        } else {
            (5, 300, 600)
        };
        Pace {
            rounds: self.rounds.unwrap_or(rounds),
            warm_up: Duration::from_millis(warm_up_ms),
            measured: Duration::from_millis(measured_ms),
        }
    }
}

fn serve_limit(arguments: &[String]) -> io::Result<()> {
    // Not one moment longer than the program that measures it.
    set_pdeathsig(Signal::SIGKILL)?;
    if let [word, root] = arguments
        && word == servers::HOLE_WORD
    {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        println!("{}", listener.local_addr()?.port());
        match gopher_limit::serve(&listener, Path::new(root))? {}
    }
    match arguments {
        [word] if word == servers::TOKIO_STREAMS_WORD => {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            println!("{}", listener.local_addr()?.port());
            match tokio_echo::serve_streams(listener)? {}
        }
        [word] if word == servers::TOKIO_DATAGRAMS_WORD => {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            println!("{}", socket.local_addr()?.port());
            match tokio_echo::serve_datagrams(socket)? {}
        }
        _ => {}
    }
    let asked = |kind: &Limit| arguments == [kind.word()];
    let kind = Limit::ALL.into_iter().find(asked);
    let kind = kind.ok_or_else(|| io::Error::other("there is no such limit"))?;
    if kind == Limit::Pair {
        let [first, second] = limit::pair()?;
        println!("{}", first.local_addr()?.port());
        thread::spawn(move || limit::serve(&second));
        match limit::serve(&first)? {}
    }
    if matches!(kind, Limit::Streams | Limit::Rooms) {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        println!("{}", listener.local_addr()?.port());
        match kind {
            Limit::Rooms => match fanout_limit::serve(&listener)? {},
            _ => match limit::serve(&listener)? {},
        }
    }
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    println!("{}", socket.local_addr()?.port());
    match kind {
        Limit::Segments => match datagram_limit::serve_segments(&socket)? {},
        _ => match datagram_limit::serve(&socket)? {},
    }
}

fn measure(wanted: &Wanted) -> io::Result<()> {
    println!("{}", machine()?);
    process::move_to(&[servers::GENERATOR_CORE]).map_err(|errno| {
        io::Error::other(format!(
            "servers and load need a core each, so two cores: {errno}"
        ))
    })?;
    let descriptors = process::raise_descriptor_limit()?;
    let company = &wanted.company;
    table::streams(|name| wanted.wants(name), company, wanted.pace())?;
    table::datagrams(|name| wanted.wants(name), company, wanted.pace())?;
    let of_rooms = |name: &str| match wanted.only.as_deref() {
        Some(ROOMS) => true,
        _ => wanted.wants(name),
    };
    rooms::measure(of_rooms, company, wanted.pace())?;
    let of_gopher = |name: &str| match wanted.only.as_deref() {
        Some(holes::GOPHER) => true,
        _ => wanted.wants(name),
    };
    holes::measure(of_gopher, company.before.as_deref(), wanted.pace())?;
    if wanted.wants(LIFE) {
        live(wanted)?;
    }
    if wanted.wants(MEMBERS) {
        rooms::silent()?;
    }
    if wanted.wants(IDLE) && (!wanted.quick || wanted.only.is_some()) {
        idle::measure(descriptors)?;
    }
    Ok(())
}

/// Date, kernel, processor and cores.
fn machine() -> io::Result<String> {
    let date = Command::new("date").arg("+%F").output()?;
    let date = String::from_utf8_lossy(&date.stdout).trim().to_owned();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let processors = fs::read_to_string("/proc/cpuinfo")?;
    let model = processors
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model);
    let cores = thread::available_parallelism()?;
    Ok(format!(
        "{date}, Linux {}, {model}, {cores} cores",
        kernel.trim()
    ))
}

/// What operators ask for.
fn operate(times: usize) -> io::Result<()> {
    eprintln!("changes ...");
    let restarted = operating::restart(times)?;
    println!("| a new worker in the place of one, spawned and serving | {restarted:.1} ms |");
    for changed in [1, SERVICES] {
        let took = operating::reload(SERVICES, changed, times)?;
        println!(
            "| reload, {changed} of {SERVICES} services changed, to its commit | {took:.1} ms |"
        );
    }
    let server = daemon::start("control", life::ONE)?;
    let answers = operating::answers(&server)?;
    println!(
        "| `status` while three knock who mean no good ({} times), p50 and p99 | {:.2} and {:.2} ms |",
        answers.knocks, answers.p50, answers.p99
    );
    Ok(())
}

fn live(wanted: &Wanted) -> io::Result<()> {
    let (times, idle) = if wanted.quick {
        (2, IDLE_CONNECTIONS / 10)
    } else {
        (5, IDLE_CONNECTIONS)
    };
    println!("\n| what | figure |\n|---|---|");
    eprintln!("starts ...");
    for workers in [1, WORKERS] {
        let life::Start {
            milliseconds,
            processor_milliseconds,
        } = life::start(SERVICES, workers, times)?;
        let what = format!("{SERVICES} services with {} workers", SERVICES * workers);
        println!("| start to ready, {what} | {milliseconds:.1} ms |");
        println!("| processor time of that, all processes | {processor_milliseconds:.0} ms |");
    }
    let replaced = life::replacement(times)?;
    println!("| death of a worker to the next one serving | {replaced:.1} ms |");
    operate(times)?;

    let announced = scoreboard::callback_ns(times)?;
    println!("| a callback announced on the scoreboard and left | {announced:.1} ns |");

    eprintln!("memory ...");
    for (when, memory) in life::supervisor(SERVICES)? {
        println!(
            "| supervisor of {SERVICES} services {when}, resident (its share; its own) | {} ({}; {}) KiB |",
            memory.resident / 1024,
            memory.proportional / 1024,
            memory.own / 1024
        );
    }
    let server = daemon::start("memory", life::ONE)?;
    let worker = servers::wait_until("a worker serves", || daemon::serving_worker(&server))?;
    let limit = Server::limit("limit", Limit::Streams)?;
    for (name, address, pid) in [
        ("worker", server.address, worker),
        ("limit", limit.address, limit.pid()),
    ] {
        let each = life::idle(address, pid, idle)?;
        println!(
            "| {name}, resident (its share) per idle connection, of {idle} | {:.0} ({:.0}) B |",
            each.resident, each.proportional
        );
    }
    Ok(())
}
