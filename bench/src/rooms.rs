//! Rooms: one speaker, and 10, 100 or 1,000 who hear it, on the daemon with its chat, a bare server, and
//! other servers of rooms or topics; and what a member costs that is silent.
//!
//! Other servers are those that happen to be installed, each as its administrator would start it for
//! this load: nobody is asked for names, and no speaker is slowed down.

use std::io;

use crate::comparison::{self, Pace, Turn};
use crate::daemon::{self, Serves};
use crate::fanout::{Dialect, Generator, Room};
use crate::peers::{command, configured, is_installed};
use crate::process;
use crate::servers::{Limit, SERVERS_CORES, Server, wait_until};
use crate::spread::Spread;
use crate::table::Company;

/// As all of them are asked for.
pub(crate) const ROOMS: &str = "rooms";
pub(crate) const MEMBERS: &str = "members";
/// Silent members of whom one's memory is found.
const SILENT: usize = 10_000;
/// Those who come before them, and bring the code and the tables that any number needs into memory.
const FIRST: usize = 500;

/// As each is asked for.
const LOADS: [(&str, Room); 4] = [
    ("rooms-10", room(10, 1)),
    ("rooms-10x16", room(10, 16)),
    ("rooms-100", room(100, 1)),
    ("rooms-1000", room(1000, 1)),
];

const fn room(members: usize, window: usize) -> Room {
    Room { members, window }
}

const INSPIRCD: &str = r#"
<server name="irc.example" description="bench" network="bench">
<admin name="nobody" nick="nobody" email="nobody@irc.example">
<bind address="127.0.0.1" port="PORT" type="clients">
<connect name="main" allow="*" timeout="60" pingfreq="3600" hardsendq="16M" softsendq="1M" recvq="1M"
 localmax="20000" globalmax="20000" limit="20000" threshold="1000000" commandrate="100000000"
 fakelag="no" useident="no" resolvehostnames="no" maxconnwarn="no">
<performance softlimit="20000" somaxconn="4096">
<power diepass="" restartpass="">
<dns server="127.0.0.1" timeout="1">
<pid file="DIRECTORY/pid">
<log method="file" level="default" type="* -USERINPUT -USEROUTPUT" target="/dev/null">
"#;

const NGIRCD: &str = "[Global]
Name = irc.example
Info = bench
AdminInfo1 = bench
Listen = 127.0.0.1
Ports = PORT
[Limits]
MaxConnections = 0
MaxConnectionsIP = 0
MaxJoins = 0
MaxPenaltyTime = 0
PingTimeout = 3600
PongTimeout = 3600
[Options]
DNS = no
Ident = no
PAM = no
";

/// One server, and how one talks to it.
struct Hall {
    server: Server,
    dialect: Dialect,
}

pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    LOADS.into_iter().map(|(name, _)| name)
}

/// Prints a table of those that are wanted; nothing if none is.
pub(crate) fn measure(
    wants: impl Fn(&str) -> bool,
    company: &Company,
    pace: Pace,
) -> io::Result<()> {
    if !names().any(&wants) {
        return Ok(());
    }
    let mut halls = vec![
        hall(Server::limit("limit", Limit::Rooms)?, Dialect::Bare),
        hall(Server::limit("limit again", Limit::Rooms)?, Dialect::Bare),
        hall(
            daemon::start("Polyport", Serves::Rooms { workers: 1 })?,
            Dialect::LineChat,
        ),
        hall(
            daemon::start("Polyport, 2 workers", Serves::Rooms { workers: 2 })?,
            Dialect::LineChat,
        ),
    ];
    if let Some(build) = &company.before {
        for (name, workers) in [("before", 1), ("before, 2 workers", 2)] {
            let server = daemon::start_from(build, name, Serves::Rooms { workers }, SERVERS_CORES)?;
            halls.push(hall(server, Dialect::LineChat));
        }
    }
    if company.peers {
        for (program, dialect, start) in [
            (
                "inspircd",
                Dialect::Irc,
                inspircd as fn() -> io::Result<Server>,
            ),
            ("ngircd", Dialect::Irc, ngircd),
            ("nats-server", Dialect::Nats, nats),
        ] {
            if is_installed(program) {
                halls.push(hall(start()?, dialect));
            } else {
                println!("\nLeft out: {program}: the Debian package {program} has it.");
            }
        }
    }
    println!(
        "\n{} rounds of {} ms after {} ms. Ratios are taken inside each round against the limit; \
         median (least–most). A delivery is one message to one member.\n",
        pace.rounds,
        pace.measured.as_millis(),
        pace.warm_up.as_millis()
    );
    println!(
        "| members × under way | server | CPU µs/delivery | CPU ratio | rate ratio | p50 µs | p99 µs |\
         \n|---|---|---|---|---|---|---|"
    );
    for (nth, (name, room)) in LOADS.into_iter().enumerate() {
        if !wants(name) {
            continue;
        }
        let turns = compare(&halls, room, nth, pace)?;
        for (hall, of) in halls.iter().zip(&turns) {
            println!("{}", row(room, hall, of, &turns[0]));
        }
    }
    Ok(())
}

fn hall(server: Server, dialect: Dialect) -> Hall {
    Hall { server, dialect }
}

/// Turns by server; members stay where they are through all rounds.
fn compare(halls: &[Hall], room: Room, nth: usize, pace: Pace) -> io::Result<Vec<Vec<Turn>>> {
    eprintln!("{} members, {} under way ...", room.members, room.window);
    let mut generators = Vec::new();
    for hall in halls {
        let generator = Generator::new(hall.server.address, hall.dialect, room, nth);
        let why = |error| io::Error::other(format!("{}: {error}", hall.server.name));
        generators.push(generator.map_err(why)?);
    }
    let mut turns: Vec<Vec<Turn>> = halls.iter().map(|_| Vec::new()).collect();
    for round in 0..pace.rounds {
        for step in 0..halls.len() {
            let whose = (round + step) % halls.len();
            let pid = halls[whose].server.pid();
            generators[whose].run(pace.warm_up)?;
            let before = process::processor_time(pid);
            let measured = generators[whose].run(pace.measured)?;
            let spent = process::processor_time(pid).saturating_sub(before);
            turns[whose].push(comparison::figures(measured, spent));
        }
    }
    Ok(turns)
}

fn row(room: Room, hall: &Hall, of: &[Turn], limit: &[Turn]) -> String {
    let title = format!("{} × {}", room.members, room.window);
    let name = hall.server.name;
    if let Some(why) = of.iter().find_map(|turn| turn.first_error.as_deref()) {
        return format!("| {title} | {name} | **{why}** | – | – | – | – |");
    }
    let each = |figure: fn(&Turn) -> f64| Spread::of(of.iter().map(figure));
    let ratio = |figure: fn(&Turn, &Turn) -> f64| {
        Spread::of(of.iter().zip(limit).map(|(own, limit)| figure(own, limit)))
    };
    format!(
        "| {title} | {name} | {:.2} | {:.2} | {:.2} | {:.0} | {:.0} |",
        each(|turn| turn.cost_us),
        ratio(|own, limit| limit.cost_us / own.cost_us),
        ratio(|own, limit| own.per_second / limit.per_second),
        each(|turn| turn.p50_us).median,
        each(|turn| turn.p99_us).median,
    )
}

/// Prints what a silent member costs, in its worker and in the hub.
pub(crate) fn silent() -> io::Result<()> {
    let server = daemon::start("members", Serves::Rooms { workers: 1 })?;
    let worker = wait_until("a worker serves", || daemon::serving_worker(&server))?;
    let family = process::family(server.pid());
    let hub = family
        .into_iter()
        .filter(|pid| *pid != worker && *pid != server.pid());
    let pids: Vec<u32> = std::iter::once(worker).chain(hub).collect();
    let first = Generator::new(server.address, Dialect::LineChat, room(FIRST, 1), 8)?;
    let resident = |pid: u32| process::memory(pid).map(|memory| memory.resident);
    let before: Vec<u64> = pids
        .iter()
        .map(|pid| resident(*pid))
        .collect::<Result<_, _>>()?;
    let silent = room(SILENT, 1);
    let members = Generator::new(server.address, Dialect::LineChat, silent, 9)?;
    println!("\n| what | figure |\n|---|---|");
    for ((pid, name), before) in pids.iter().zip(["worker", "hub"]).zip(before) {
        let each = resident(*pid)?.saturating_sub(before) as f64 / SILENT as f64;
        println!("| {name}, resident per silent member, of {SILENT} | {each:.0} B |");
    }
    drop((first, members));
    Ok(())
}

fn inspircd() -> io::Result<Server> {
    let arguments = [
        "--config=DIRECTORY/conf",
        "--nofork",
        "--runasroot",
        "--nolog",
    ];
    configured("inspircd", &[("conf", INSPIRCD)], &arguments)
}

fn ngircd() -> io::Result<Server> {
    configured(
        "ngircd",
        &[("conf", NGIRCD)],
        &["-n", "-f", "DIRECTORY/conf"],
    )
}

fn nats() -> io::Result<Server> {
    Server::on_free_port("nats-server", |port| {
        let mut command = command("nats-server");
        command.args(["-a", "127.0.0.1", "-p", &port.to_string()]);
        command
    })
}
