//! Gopher under load: one folder, served by the daemon, by the limit, by nginx over HTTP and by
//! gophernicus, and the tables of it.
//!
//! nginx sends the same bytes over HTTP, with sendfile and one request a connection: it is the yardstick
//! of what a good file server takes. gophernicus is started for each connection, as its administrator has
//! it started. What is not installed is left out, and named.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::comparison::{self, Pace, Requests, Turn, Workload};
use crate::crowd;
use crate::daemon::{self, Serves};
use crate::fetcher::Page;
use crate::peers::{command, configured, is_installed};
use crate::servers::{Directory, SERVERS_CORES, Server};
use crate::spread::Spread;
use crate::tally::pattern;

/// What is asked for with `--only`, for all workloads here.
pub(crate) const GOPHER: &str = "gopher";
/// The same, for whether a very large folder holds anybody up.
const CROWD: &str = "gopher-crowd";

/// Names of the folder whose listing is measured.
const ENTRIES: usize = 1000;

const FILES: [(&str, usize); 3] = [
    ("1k.bin", 1024),
    ("100k.bin", 100 * 1024),
    ("10m.bin", 10 * 1024 * 1024),
];

const WORKLOADS: [Workload; 6] = [
    fetches("gopher-1k", "1 KiB", "/1k.bin", 16, 1024),
    fetches("gopher-100k", "100 KiB", "/100k.bin", 16, 100 * 1024),
    fetches("gopher-10m", "10 MiB", "/10m.bin", 4, 10 * 1024 * 1024),
    fetches("gopher-menu", "menu of 1000", "/entries/", 16, ENTRIES * 24),
    fetches("gopher-single", "1 KiB, one at a time", "/1k.bin", 1, 1024),
    // Equal requests that wait are answered by one listing; here none of them waits for another's.
    fetches(
        "gopher-menu-single",
        "menu of 1000, one at a time",
        "/entries/",
        1,
        ENTRIES * 24,
    ),
];

const fn fetches(
    name: &'static str,
    title: &'static str,
    path: &'static str,
    connections: usize,
    bytes_least: usize,
) -> Workload {
    let page = Page {
        path,
        connections,
        bytes_least,
    };
    Workload {
        name,
        title,
        requests: Requests::Pages(page),
    }
}

pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    WORKLOADS
        .iter()
        .map(|workload| workload.name)
        .chain([GOPHER, CROWD])
}

/// Prints a table of what is wanted of it.
pub(crate) fn measure(
    wanted: impl Fn(&str) -> bool,
    before: Option<&Path>,
    pace: Pace,
) -> io::Result<()> {
    let workloads = WORKLOADS.iter().filter(|workload| wanted(workload.name));
    let workloads: Vec<&Workload> = workloads.collect();
    if !workloads.is_empty() {
        compare(&workloads, before, pace)?;
    }
    if wanted(CROWD) {
        crowd()?;
    }
    Ok(())
}

fn crowd() -> io::Result<()> {
    let hole = hole()?;
    let root = hole.path().to_owned();
    let limit = Server::limit_of_hole("limit", &root)?;
    let daemon = daemon::start("crowd", Serves::Hole { root, cache: true })?;
    crowd::measure(hole.path(), daemon.address, limit.address)
}

fn compare(workloads: &[&Workload], before: Option<&Path>, pace: Pace) -> io::Result<()> {
    let hole = hole()?;
    let root = hole.path();
    let serves = |cache: bool| Serves::Hole {
        root: root.to_owned(),
        cache,
    };
    let mut servers = vec![
        Server::limit_of_hole("limit", root)?,
        Server::limit_of_hole("limit again", root)?,
        daemon::start("Polyport", serves(true))?,
        daemon::start("Polyport, nothing kept", serves(false))?,
    ];
    if let Some(before) = before {
        servers.push(daemon::start_from(
            before,
            "Polyport before",
            serves(true),
            SERVERS_CORES,
        )?);
    }
    for (program, start) in [
        ("nginx", nginx as fn(&Path) -> io::Result<Server>),
        ("gophernicus", gophernicus),
    ] {
        match is_installed(program) {
            true => servers.push(start(root)?),
            false => println!("\nLeft out: {program}: a Debian package of that name has it."),
        }
    }
    println!(
        "\n{} rounds of {} ms after {} ms. A ratio is the other's processor time over the own, taken \
         inside each round; median (least–most).\n\n\
         | work | server | CPU µs/request | to the limit | to nginx | to gophernicus | p50 µs | p99 µs |\n\
         |---|---|---|---|---|---|---|---|",
        pace.rounds,
        pace.measured.as_millis(),
        pace.warm_up.as_millis()
    );
    for workload in workloads {
        eprintln!("{} ...", workload.title);
        let turns =
            comparison::compare(workload.requests, &servers.iter().collect::<Vec<_>>(), pace)?;
        for (server, own) in servers.iter().zip(&turns) {
            println!("{}", row(workload, server, own, &servers, &turns));
        }
    }
    Ok(())
}

fn row(
    workload: &Workload,
    server: &Server,
    own: &[Turn],
    servers: &[Server],
    turns: &[Vec<Turn>],
) -> String {
    let errors: u64 = own.iter().map(|turn| turn.errors).sum();
    let title = workload.title;
    if errors > 0 || own.iter().any(|turn| turn.per_second == 0.0) {
        let first = own.iter().find_map(|turn| turn.first_error.as_deref());
        let first = first.unwrap_or("no answers");
        return format!(
            "| {title} | {} | {errors} errors: {first} | | | | | |",
            server.name
        );
    }
    let ratio = |name: &str| {
        let at = servers.iter().position(|server| server.name == name);
        at.filter(|at| turns[*at].iter().all(|turn| turn.per_second > 0.0))
            .map_or_else(
                || "–".to_owned(),
                |at| {
                    let pairs = own.iter().zip(&turns[at]);
                    let ratios = pairs.map(|(own, other)| other.cost_us / own.cost_us);
                    format!("{:.2}", Spread::of(ratios))
                },
            )
    };
    let each = |figure: fn(&Turn) -> f64| Spread::of(own.iter().map(figure));
    format!(
        "| {title} | {} | {:.2} | {} | {} | {} | {:.0} | {:.0} |",
        server.name,
        each(|turn| turn.cost_us),
        ratio("limit"),
        ratio("nginx"),
        ratio("gophernicus"),
        each(|turn| turn.p50_us),
        each(|turn| turn.p99_us).median,
    )
}

/// Files, and a folder of files.
fn hole() -> io::Result<Directory> {
    let hole = Directory::new("hole")?;
    for (name, bytes) in FILES {
        fs::write(hole.path().join(name), &pattern(bytes)[..bytes])?;
    }
    fs::create_dir(hole.path().join("entries"))?;
    for nth in 0..ENTRIES {
        fs::write(hole.path().join(format!("entries/entry-{nth:04}.txt")), "x")?;
    }
    Ok(hole)
}

fn nginx(root: &Path) -> io::Result<Server> {
    let conf = NGINX.replace("ROOT", &root.to_string_lossy());
    let arguments = ["-p", "DIRECTORY", "-c", "DIRECTORY/nginx.conf"];
    let mut server = configured("nginx", &[("nginx.conf", &conf)], &arguments)?;
    server.is_web = true;
    Ok(server)
}

const NGINX: &str = "\
daemon off; master_process off; worker_processes 1; pid DIRECTORY/pid; error_log DIRECTORY/error;
events { worker_connections 4096; }
http { access_log off; sendfile on; tcp_nopush on; keepalive_timeout 0;
client_body_temp_path DIRECTORY/b; proxy_temp_path DIRECTORY/p; fastcgi_temp_path DIRECTORY/f;
uwsgi_temp_path DIRECTORY/u; scgi_temp_path DIRECTORY/s; default_type text/plain;
server { listen 127.0.0.1:PORT deferred backlog=4096; root ROOT; autoindex on; } }
";

/// By socat, which starts it for each connection, as inetd does.
fn gophernicus(root: &Path) -> io::Result<Server> {
    let root: PathBuf = root.to_owned();
    Server::on_free_port("gophernicus", |port| {
        let listen = format!("TCP-LISTEN:{port},bind=127.0.0.1,backlog=4096,reuseaddr,fork");
        let run = format!(
            "EXEC:gophernicus -h 127.0.0.1 -p {port} -nv -nx -nm -ns -nr -r {}",
            root.display()
        );
        let mut command = command("socat");
        command.args([&listen, &run]);
        command
    })
}
