//! Tables of comparisons, as Markdown.
//!
//! Which servers are compared under which workloads is said here; how is `comparison`'s. What could
//! not be measured is told above a table, and wrong answers below it.

use std::io;
use std::path::PathBuf;

use crate::calls;
use crate::comparison::{self, DATAGRAMS, Pace, STREAMS, Turn, Workload};
use crate::daemon::{self, Serves};
use crate::life;
use crate::peers::Peers;
use crate::servers::{Limit, SERVERS_CORES, Server};
use crate::spread::Spread;

/// One service with two workers.
const TWO: Serves = Serves::Streams {
    services: 1,
    workers: 2,
};

/// What is measured beside the limits and this build of the daemon.
pub(crate) struct Company {
    pub(crate) peers: bool,
    /// Where another build of the daemon lies.
    pub(crate) before: Option<PathBuf>,
}

impl Company {
    fn another_build(&self, serves: Serves) -> io::Result<Option<Server>> {
        let folder = self.before.as_deref();
        folder
            .map(|folder| daemon::start_from(folder, "Polyport before", serves, SERVERS_CORES))
            .transpose()
    }

    fn peers(&self, kind: fn() -> Peers) -> Peers {
        match self.peers {
            true => kind(),
            false => Peers::default(),
        }
    }
}

/// Echoes over TCP.
pub(crate) fn streams(
    wanted: impl Fn(&str) -> bool,
    company: &Company,
    pace: Pace,
) -> io::Result<()> {
    let workloads = chosen(&STREAMS, wanted);
    if workloads.is_empty() {
        return Ok(());
    }
    let mut servers = vec![
        Server::limit("limit", Limit::Streams)?,
        Server::limit("limit again", Limit::Streams)?,
        daemon::start("Polyport", life::ONE)?,
        daemon::start("Polyport, 2 workers", TWO)?,
        daemon::start_on_all_cores("Polyport, 2 workers, 2 cores", TWO)?,
        Server::limit("limit, 2 threads, 2 cores", Limit::Pair)?,
    ];
    servers.extend(company.another_build(life::ONE)?);
    let peers = company.peers(Peers::for_streams);
    servers.extend(peers.servers);
    compare(&workloads, &servers, &peers.left_out, pace)
}

/// Echoes of datagrams. The first limit sends each batch with one call, as its name says; a daemon
/// that has segments cut by the kernel can be ahead of it.
pub(crate) fn datagrams(
    wanted: impl Fn(&str) -> bool,
    company: &Company,
    pace: Pace,
) -> io::Result<()> {
    let workloads = chosen(&DATAGRAMS, wanted);
    if workloads.is_empty() {
        return Ok(());
    }
    let mut servers = vec![
        Server::limit("limit", Limit::Datagrams)?,
        Server::limit("limit again", Limit::Datagrams)?,
        Server::limit("limit, segments", Limit::Segments)?,
        daemon::start("Polyport", Serves::Datagrams { guarded: true })?,
        daemon::start("Polyport, unguarded", Serves::Datagrams { guarded: false })?,
    ];
    servers.extend(company.another_build(Serves::Datagrams { guarded: true })?);
    let peers = company.peers(Peers::for_datagrams);
    servers.extend(peers.servers);
    compare(&workloads, &servers, &peers.left_out, pace)
}

fn chosen(workloads: &[Workload], wanted: impl Fn(&str) -> bool) -> Vec<Workload> {
    let chosen = workloads.iter().filter(|workload| wanted(workload.name));
    chosen.copied().collect()
}

/// Ratios are to the first server.
fn compare(
    workloads: &[Workload],
    servers: &[Server],
    left_out: &[String],
    pace: Pace,
) -> io::Result<()> {
    for why in left_out {
        println!("\nLeft out: {why}.");
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
        "| workload | server | CPU µs/request | CPU ratio | rate ratio | p50 µs | p99 µs | p99/p50 \
         | calls/request |\n|---|---|---|---|---|---|---|---|---|"
    );
    let mut notes = Vec::new();
    for workload in workloads {
        eprintln!("{} ...", workload.title);
        let fits = |server: &&Server| workload.is_of_lines() || !server.wants_lines;
        let servers: Vec<&Server> = servers.iter().filter(fits).collect();
        let turns = comparison::compare(workload.requests, &servers, pace)?;
        for (server, of_server) in servers.into_iter().zip(&turns) {
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
    let calls = comparison::calls_per_request(workload.requests, server, pace);
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
    if silent(of) {
        let (title, name) = (workload.title, server.name);
        return format!("| {title} | {name} | – | – | – | – | – | – | – |");
    }
    let each = |figure: fn(&Turn) -> f64| Spread::of(of.iter().map(figure));
    let ratio = |figure: fn(&Turn, &Turn) -> f64| {
        Spread::of(of.iter().zip(limit).map(|(own, limit)| figure(own, limit)))
    };
    let calls = calls.map_or_else(|| "–".to_owned(), |calls| format!("{calls:.2}"));
    format!(
        "| {} | {} | {:.2} | {:.2} | {:.2} | {:.0} | {:.0} | {:.1} | {calls} |",
        workload.title,
        server.name,
        each(|turn| turn.cost_us),
        ratio(|own, limit| limit.cost_us / own.cost_us),
        ratio(|own, limit| own.per_second / limit.per_second),
        each(|turn| turn.p50_us).median,
        each(|turn| turn.p99_us).median,
        each(|turn| turn.p99_us / turn.p50_us),
    )
}

/// Wrong answers make a row worthless, and so do none, which has to be said.
fn note(workload: &Workload, server: &Server, turns: &[Turn]) -> Option<String> {
    let (name, title) = (server.name, workload.title);
    let errors: u64 = turns.iter().map(|turn| turn.errors).sum();
    if errors > 0 {
        let first = turns.iter().find_map(|turn| turn.first_error.as_deref());
        let first = first.unwrap_or_default();
        return Some(format!(
            "**{errors} errors** of {name} under {title}, such as: {first}."
        ));
    }
    silent(turns).then(|| format!("**No answers** of {name} in a round of {title}."))
}

/// There is a round without an answer, and nothing to divide by.
fn silent(turns: &[Turn]) -> bool {
    turns.iter().any(|turn| turn.per_second == 0.0)
}
