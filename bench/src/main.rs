//! Measures Polyport against the limit, a bare server that does nothing else, and against peers that
//! are installed here, all in one run; prints Markdown.
//!
//! Servers have one core and the load generator another. What counts are the ratios: 1.00 is the
//! limit, higher is better, and the second copy of the limit shows how much of a difference is noise.
//!
//!     polyport-bench [--quick] [--only WORKLOAD]

mod calls;
mod comparison;
mod daemon;
mod generator;
mod life;
mod limit;
mod process;
mod servers;
mod spread;

use std::env;
use std::fs;
use std::io;
use std::net::TcpListener;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

use comparison::{Pace, Turn, WORKLOADS, Workload};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use servers::Server;
use spread::Spread;

const SERVICES: usize = 10;
const IDLE_CONNECTIONS: usize = 5_000;
const USAGE: &str = "usage: polyport-bench [--quick] [--only WORKLOAD]";
/// The workload that is no comparison.
const LIFE: &str = "life";

/// What was asked for on the command line.
struct Wanted {
    quick: bool,
    only: Option<String>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let result = match arguments.first().map(String::as_str) {
        Some(servers::LIMIT_VERB) => serve_limit(),
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
            only: None,
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match (argument.as_str(), arguments.as_slice().first()) {
                ("--quick", _) => wanted.quick = true,
                ("--only", Some(name)) => {
                    let known = || WORKLOADS.iter().map(|w| w.name).chain([LIFE]);
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
            rounds,
            warm_up: Duration::from_millis(warm_up_ms),
            measured: Duration::from_millis(measured_ms),
        }
    }
}

fn serve_limit() -> io::Result<()> {
    // Not one moment longer than the program that measures it.
    set_pdeathsig(Signal::SIGKILL)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?.port());
    match limit::serve(&listener)? {}
}

fn measure(wanted: &Wanted) -> io::Result<()> {
    println!("{}", machine()?);
    process::move_to(servers::GENERATOR_CORE).map_err(|errno| {
        io::Error::other(format!(
            "servers and load need a core each, so two cores: {errno}"
        ))
    })?;
    let comparisons: Vec<Workload> = WORKLOADS
        .into_iter()
        .filter(|workload| wanted.wants(workload.name))
        .collect();
    if !comparisons.is_empty() {
        compare(&comparisons, wanted.pace())?;
    }
    if wanted.wants(LIFE) {
        live(wanted)?;
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

fn compare(workloads: &[Workload], pace: Pace) -> io::Result<()> {
    let mut servers = vec![
        Server::limit("limit")?,
        Server::limit("limit again")?,
        daemon::start("compared", 1)?,
    ];
    for (name, started) in [("Python", Server::python()), ("socat", Server::socat())] {
        match started {
            Ok(server) => servers.push(server),
            Err(error) => println!("\nLeft out: {name}: {error}"),
        }
    }
    let uncounted = calls::unavailable();
    if let Some(why) = &uncounted {
        println!("\nSystem calls are not counted: {why}");
    }
    println!(
        "\n{} rounds of {} ms after {} ms. Ratios are taken inside each round against the limit; \
         median (least–most).\n",
        pace.rounds,
        pace.measured.as_millis(),
        pace.warm_up.as_millis()
    );
    println!(
        "| workload | server | CPU µs/request | CPU ratio | rate ratio | p50 µs | p99 µs \
         | calls/request |\n|---|---|---|---|---|---|---|---|"
    );
    let mut notes = Vec::new();
    for workload in workloads {
        eprintln!("{} ...", workload.title);
        let turns = comparison::compare(workload.load, &servers, pace)?;
        for (server, of_server) in servers.iter().zip(&turns) {
            let calls = match &uncounted {
                None => count_calls(workload, server, pace),
                Some(_) => None,
            };
            println!("{}", row(workload, server, of_server, &turns[0], calls));
            notes.extend(note(workload, server, of_server));
        }
    }
    for note in notes {
        println!("\n{note}");
    }
    Ok(())
}

/// Not counted for servers whose processes come and go faster than perf can be attached.
fn count_calls(workload: &Workload, server: &Server, pace: Pace) -> Option<f64> {
    let calls = comparison::calls_per_request(workload.load, server, pace);
    calls
        .inspect_err(|error| eprintln!("calls of {} are not counted: {error}", server.name))
        .ok()
}

fn row(
    workload: &Workload,
    server: &Server,
    of: &[Turn],
    limit: &[Turn],
    calls: Option<f64>,
) -> String {
    let each = |figure: fn(&Turn) -> f64| Spread::of(of.iter().map(figure));
    let ratio = |figure: fn(&Turn, &Turn) -> f64| {
        Spread::of(of.iter().zip(limit).map(|(own, limit)| figure(own, limit)))
    };
    let calls = calls.map_or_else(|| "–".to_owned(), |calls| format!("{calls:.2}"));
    format!(
        "| {} | {} | {:.2} | {:.2} | {:.2} | {:.0} | {:.0} | {calls} |",
        workload.title,
        server.name,
        each(|turn| turn.cost_us),
        ratio(|own, limit| limit.cost_us / own.cost_us),
        ratio(|own, limit| own.per_second / limit.per_second),
        each(|turn| turn.p50_us).median,
        each(|turn| turn.p99_us).median,
    )
}

/// Wrong answers make a row worthless, which has to be said.
fn note(workload: &Workload, server: &Server, turns: &[Turn]) -> Option<String> {
    let errors: u64 = turns.iter().map(|turn| turn.errors).sum();
    let first = turns.iter().find_map(|turn| turn.first_error.as_deref());
    let first = first.unwrap_or_default();
    (errors > 0).then(|| {
        format!(
            "**{} errors** of {} under {}, such as: {first}",
            errors, server.name, workload.title
        )
    })
}

fn live(wanted: &Wanted) -> io::Result<()> {
    let (times, idle) = if wanted.quick {
        (2, IDLE_CONNECTIONS / 10)
    } else {
        (5, IDLE_CONNECTIONS)
    };
    println!("\n| what | figure |\n|---|---|");
    eprintln!("starts ...");
    let start = life::start(SERVICES, times)?;
    println!("| start to ready, {SERVICES} services | {start:.1} ms |");
    let replaced = life::replacement(times)?;
    println!("| death of a worker to the next one serving | {replaced:.1} ms |");

    eprintln!("memory ...");
    let server = daemon::start("memory", 1)?;
    let memory = life::supervisor(&server)?;
    println!(
        "| supervisor, resident (its share) | {} ({}) KiB |",
        memory.resident / 1024,
        memory.proportional / 1024
    );
    let worker = servers::wait_until("a worker serves", || daemon::serving_worker(&server))?;
    let limit = Server::limit("limit")?;
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
