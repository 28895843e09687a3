//! One workload on all servers, so that they can be compared.
//!
//! Everything that is compared is up at once and takes turns in an order that rotates, so that a slow
//! moment of the machine hits all alike. Ratios are taken inside each round, against the limit's turn
//! of that round, and only then is the median of the rounds taken: absolute times of one machine on
//! one day mean little.

use std::io;
use std::time::Duration;

use crate::calls;
use crate::generator::{Generator, Load, Tally};
use crate::process;
use crate::servers::Server;

/// More than any server here answers in a turn.
const REQUESTS_MAX: u64 = 50_000_000;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    /// As the table has it.
    pub(crate) title: &'static str,
    pub(crate) load: Load,
}

pub(crate) const WORKLOADS: [Workload; 6] = [
    workload("single", "1 × 64 B", 1, 64, 1),
    workload("small", "64 × 64 B", 64, 64, 1),
    workload("thousand", "1000 × 64 B", 1000, 64, 1),
    workload("large", "64 × 16 KiB", 64, 16 * 1024, 1),
    workload("pipelined", "64 × 16 × 64 B", 64, 64, 16),
    Workload {
        name: "churn",
        title: "connect, 64 B, close",
        load: Load {
            connections: 16,
            bytes: 64,
            pipelined: 1,
            churn: true,
        },
    },
];

const fn workload(
    name: &'static str,
    title: &'static str,
    connections: usize,
    bytes: usize,
    pipelined: usize,
) -> Workload {
    Workload {
        name,
        title,
        load: Load {
            connections,
            bytes,
            pipelined,
            churn: false,
        },
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
pub(crate) fn compare(load: Load, servers: &[Server], pace: Pace) -> io::Result<Vec<Vec<Turn>>> {
    let mut turns: Vec<Vec<Turn>> = servers.iter().map(|_| Vec::new()).collect();
    for round in 0..pace.rounds {
        for nth in 0..servers.len() {
            let whose = (round + nth) % servers.len();
            turns[whose].push(turn(load, &servers[whose], pace)?);
        }
    }
    Ok(turns)
}

/// System calls per request, in a turn of its own.
pub(crate) fn calls_per_request(load: Load, server: &Server, pace: Pace) -> io::Result<f64> {
    let mut generator = Generator::new(server.address, load)?;
    generator.run(pace.warm_up, REQUESTS_MAX)?;
    let (calls, tally) =
        calls::during(server.pid(), || generator.run(pace.measured, REQUESTS_MAX))?;
    Ok(calls as f64 / tally.requests.max(1) as f64)
}

fn turn(load: Load, server: &Server, pace: Pace) -> io::Result<Turn> {
    let mut generator = Generator::new(server.address, load)?;
    let mut warm_up = generator.run(pace.warm_up, REQUESTS_MAX)?;
    let before = process::processor_time(server.pid());
    let mut measured = generator.run(pace.measured, REQUESTS_MAX)?;
    let spent = process::processor_time(server.pid()).saturating_sub(before);
    measured.errors += warm_up.errors;
    measured.first_error = warm_up.first_error.take().or(measured.first_error.take());
    Ok(figures(measured, spent))
}

fn figures(mut tally: Tally, spent: Duration) -> Turn {
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
