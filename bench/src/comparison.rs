//! One workload on all servers, so that they can be compared.
//!
//! Everything that is compared is up at once and takes turns in an order that rotates, so that a slow
//! moment of the machine hits all alike. Ratios are taken inside each round, against the limit's turn
//! of that round, and only then is the median of the rounds taken: absolute times of one machine on
//! one day mean little.

use std::io;
use std::time::Duration;

use crate::calls;
use crate::datagrams::{self, Flows};
use crate::fetcher::{Fetcher, Page};
use crate::generator::{self, Load};
use crate::lines;
use crate::process;
use crate::servers::Server;
use crate::tally::Tally;

/// More than any server here answers in a turn.
const REQUESTS_MAX: u64 = 50_000_000;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    /// As the table has it.
    pub(crate) title: &'static str,
    pub(crate) requests: Requests,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Requests {
    Streams(Load),
    Datagrams(Flows),
    Pages(Page),
}

pub(crate) const STREAMS: [Workload; 6] = [
    streams("single", "1 × 64 B", 1, 64, 1),
    streams("small", "64 × 64 B", 64, 64, 1),
    streams("thousand", "1000 × 64 B", 1000, 64, 1),
    streams("large", "64 × 16 KiB", 64, 16 * 1024, 1),
    streams("pipelined", "64 × 16 × 64 B", 64, 64, 16),
    Workload {
        name: "churn",
        title: "connect, 64 B, close",
        requests: Requests::Streams(Load {
            connections: 16,
            bytes: 64,
            pipelined: 1,
            churn: true,
        }),
    },
];

pub(crate) const DATAGRAMS: [Workload; 3] = [
    datagrams("udp-small", "UDP 64 B, window 64", 1, 64, 64),
    datagrams("udp-large", "UDP 1400 B, window 64", 1, 64, 1400),
    datagrams("udp-flows", "UDP 64 B, 64 flows of 1", 64, 1, 64),
];

const fn streams(
    name: &'static str,
    title: &'static str,
    connections: usize,
    bytes: usize,
    pipelined: usize,
) -> Workload {
    Workload {
        name,
        title,
        requests: Requests::Streams(Load {
            connections,
            bytes,
            pipelined,
            churn: false,
        }),
    }
}

const fn datagrams(
    name: &'static str,
    title: &'static str,
    flows: usize,
    window: usize,
    bytes: usize,
) -> Workload {
    Workload {
        name,
        title,
        requests: Requests::Datagrams(Flows {
            flows,
            window,
            bytes,
        }),
    }
}

impl Workload {
    /// Whether a server that echoes lines can answer it.
    pub(crate) fn is_of_lines(&self) -> bool {
        matches!(self.requests, Requests::Streams(load) if lines::are_lines(load.bytes))
    }
}

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) rounds: usize,
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

/// One server's turn.
#[derive(Debug)]
pub(crate) struct Turn {
    /// Processor time of the server, per request.
    pub(crate) cost_us: f64,
    pub(crate) per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
}

/// Turns of all rounds by server, in the order of the servers.
pub(crate) fn compare(
    requests: Requests,
    servers: &[&Server],
    pace: Pace,
) -> io::Result<Vec<Vec<Turn>>> {
    let mut turns: Vec<Vec<Turn>> = servers.iter().map(|_| Vec::new()).collect();
    for round in 0..pace.rounds {
        for nth in 0..servers.len() {
            let whose = (round + nth) % servers.len();
            turns[whose].push(turn(requests, servers[whose], pace)?);
        }
    }
    Ok(turns)
}

/// System calls per request, in a turn of its own.
pub(crate) fn calls_per_request(
    requests: Requests,
    server: &Server,
    pace: Pace,
) -> io::Result<f64> {
    let mut generator = Generator::new(server, requests)?;
    generator.run(pace.warm_up)?;
    let (calls, tally) = calls::during(server.pid(), || generator.run(pace.measured))?;
    Ok(calls as f64 / tally.requests.max(1) as f64)
}

fn turn(requests: Requests, server: &Server, pace: Pace) -> io::Result<Turn> {
    let mut generator = Generator::new(server, requests)?;
    let mut warm_up = generator.run(pace.warm_up)?;
    let before = process::processor_time(server.pid());
    let mut measured = generator.run(pace.measured)?;
    let spent = process::processor_time(server.pid()).saturating_sub(before);
    measured.errors += warm_up.errors;
    measured.first_error = warm_up.first_error.take().or(measured.first_error.take());
    Ok(figures(measured, spent))
}

enum Generator {
    Streams(generator::Generator),
    Datagrams(datagrams::Generator),
    Pages(Fetcher),
}

impl Generator {
    fn new(server: &Server, requests: Requests) -> io::Result<Generator> {
        let address = server.address;
        Ok(match requests {
            Requests::Streams(load) => {
                Generator::Streams(generator::Generator::new(address, load)?)
            }
            Requests::Datagrams(flows) => {
                Generator::Datagrams(datagrams::Generator::new(address, flows)?)
            }
            Requests::Pages(page) => Generator::Pages(Fetcher::new(address, server.is_web, page)?),
        })
    }

    fn run(&mut self, time: Duration) -> io::Result<Tally> {
        match self {
            Generator::Streams(generator) => generator.run(time, REQUESTS_MAX),
            Generator::Datagrams(generator) => generator.run(time, REQUESTS_MAX),
            Generator::Pages(fetcher) => fetcher.run(time),
        }
    }
}

pub(crate) fn figures(mut tally: Tally, spent: Duration) -> Turn {
    let requests = tally.requests.max(1) as f64;
    Turn {
        cost_us: microseconds(spent) / requests,
        per_second: tally.requests as f64 / tally.time.as_secs_f64(),
        p50_us: microseconds(tally.percentile(50)),
        p99_us: microseconds(tally.percentile(99)),
        errors: tally.errors,
        first_error: tally.first_error,
    }
}

pub(crate) fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
