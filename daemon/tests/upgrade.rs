//! Upgrades of a running daemon: who is connected or connects meanwhile notices nothing, and a program
//! that cannot take over never does.
//!
//! `POLYPORT_SOAK=1` makes twenty upgrades of four.

#[cfg(target_arch = "x86_64")]
#[path = "support/injection.rs"]
mod injection;
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as SocketAddress, UnixDatagram, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use support::daemon::{Daemon, Directory, PATIENCE, family_of, polyport, run_to_end};
use support::plugins;
use support::versions::{another_version, install, install_first, place, upgrade};

fn start(name: &str) -> Daemon {
    let directory = Directory::new(name);
    let plugin = directory.path().join("echo.so");
    fs::copy(plugins::folder().join("libpolyport_echo.so"), &plugin).expect("copied");
    install_first(&directory);
    let config = format!(
        "[services.echo]\nplugin = {plugin:?}\nlisten = [\"tcp://127.0.0.1:0\"]\nworkers = 2\n"
    );
    Daemon::start_in(Arc::new(directory), &config)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream
}

fn echoes(stream: &mut TcpStream, text: &str) -> std::io::Result<()> {
    stream.write_all(text.as_bytes())?;
    let mut heard = vec![0; text.len()];
    stream.read_exact(&mut heard)?;
    assert_eq!(String::from_utf8_lossy(&heard), text);
    Ok(())
}

/// New connections, one after another, until it is dropped.
struct Load {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    thread: Option<thread::JoinHandle<Vec<String>>>,
}

impl Load {
    fn on(address: SocketAddr) -> Load {
        let (stop, served) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (stopped, count) = (stop.clone(), served.clone());
        let thread = thread::spawn(move || {
            let mut failures = Vec::new();
            while !stopped.load(SeqCst) {
                let served = TcpStream::connect(address).and_then(|mut stream| {
                    stream.set_read_timeout(Some(PATIENCE))?;
                    echoes(&mut stream, "short\n")
                });
                match served {
                    Ok(()) => drop(count.fetch_add(1, SeqCst)),
                    Err(error) => failures.push(error.to_string()),
                }
            }
            failures
        });
        Load {
            stop,
            served,
            thread: Some(thread),
        }
    }

    fn wait_for_more(&self, more: u64) {
        let (before, until) = (self.served.load(SeqCst), Instant::now() + PATIENCE);
        while self.served.load(SeqCst) < before + more {
            assert!(Instant::now() < until, "nobody is served any more");
            support::looking::again();
        }
    }

    /// What failed.
    fn end(mut self) -> Vec<String> {
        self.stop.store(true, SeqCst);
        let thread = self.thread.take().expect("ended once");
        thread.join().expect("the load")
    }
}

fn accepted(daemon: &Daemon) -> u64 {
    let totals = &daemon.status()["services"]["echo"]["totals"];
    totals["accepted"].as_u64().expect("a counter")
}

/// All workers are of the program that lies there now.
fn wait_for_workers_of(daemon: &Daemon, before: &BTreeSet<u32>) {
    daemon.wait_for("workers of the new program only", |status| {
        let workers = status["services"]["echo"]["workers"].as_array();
        let pids = workers
            .into_iter()
            .flatten()
            .filter_map(|w| w["pid"].as_u64());
        let pids: Vec<u64> = pids.collect();
        pids.len() == 2 && pids.iter().all(|pid| !before.contains(&(*pid as u32)))
    });
}

#[test]
fn upgrades_lose_nobody() {
    let rounds = if std::env::var_os("POLYPORT_SOAK").is_some() {
        20
    } else {
        4
    };
    let daemon = start("upgrades");
    let address = daemon.address("echo", 0);
    let load = Load::on(address);
    let mut open: Vec<TcpStream> = (0..8).map(|_| connect(address)).collect();
    let mut total = 0;
    for round in 0..rounds {
        for stream in &mut open {
            echoes(stream, "before\n").expect("echoed");
        }
        let before = daemon.worker_pids("echo").into_iter().collect();
        install(&daemon, &another_version(round), 0o755);
        upgrade(&daemon);
        wait_for_workers_of(&daemon, &before);
        load.wait_for_more(5);
        for stream in &mut open {
            echoes(stream, "after\n").expect("echoed");
        }
        let running = fs::read(format!("/proc/{}/exe", daemon.pid())).expect("readable");
        assert!(running.ends_with(format!("version {round}").as_bytes()));
        let now = accepted(&daemon);
        assert!(now >= total, "the total went from {total} back to {now}");
        total = now;
    }
    assert_eq!(daemon.status()["pid"], daemon.pid());
    assert_eq!(load.end(), Vec::<String>::new());
    drop(open);
    daemon.finish(&[]);
}

#[test]
fn a_storm_of_hups_and_a_killed_worker_change_nothing_of_that() {
    let daemon = start("upgrade-storm");
    let pid = Pid::from_raw(daemon.pid() as i32);
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let storm = thread::spawn(move || {
        while !stopped.load(SeqCst) {
            kill(pid, Signal::SIGHUP).expect("a living daemon");
            support::looking::again();
        }
    });
    for round in 0..3 {
        let workers = daemon.worker_pids("echo");
        install(&daemon, &another_version(round), 0o755);
        daemon.signal(workers[0], Signal::SIGKILL);
        daemon.signal(daemon.pid(), Signal::SIGUSR2);
        daemon.wait_log("has taken over");
        daemon.wait_log("SIGUSR2: done");
        wait_for_workers_of(&daemon, &workers.into_iter().collect());
        echoes(&mut connect(daemon.address("echo", 0)), "round\n").expect("echoed");
    }
    stop.store(true, SeqCst);
    storm.join().expect("the storm");
    // The last of them may still be on its way, with a check of its own; this one comes after it.
    let last = daemon.operate(&["reload", "--wait"]);
    assert!(last.status.success(), "{last:?}");
    wait_for_workers_only(&daemon);
    daemon.finish(&[]);
}

fn wait_for_workers_only(daemon: &Daemon) {
    let until = Instant::now() + PATIENCE;
    let sorted = |mut pids: Vec<u32>| {
        pids.sort_unstable();
        pids
    };
    while family_of(daemon.pid()) != sorted(daemon.worker_pids("echo")) {
        assert!(Instant::now() < until, "a child is left");
        support::looking::again();
    }
}

type Row = (&'static str, fn(&Daemon), &'static str);

const REFUSED: &[Row] = &[
    (
        "missing",
        |daemon| fs::remove_file(place(daemon)).expect("removed"),
        "does not exist",
    ),
    (
        "not executable",
        |daemon| install(daemon, &another_version(0), 0o644),
        "is not executable",
    ),
    (
        "others can write it",
        |daemon| install(daemon, &another_version(0), 0o777),
        "is not trusted",
    ),
    (
        "text",
        |daemon| install(daemon, b"hello\n", 0o755),
        "cannot be executed",
    ),
    (
        "cut",
        |daemon| install(daemon, &another_version(0)[..100_000], 0o755),
        "without an answer",
    ),
    (
        "another program",
        |daemon| install(daemon, &of_system("/bin/true"), 0o755),
        "without an answer",
    ),
    (
        "a folder",
        |daemon| {
            fs::remove_file(place(daemon)).expect("removed");
            fs::create_dir(place(daemon)).expect("made");
        },
        "is not a regular file",
    ),
];

fn of_system(path: &str) -> Vec<u8> {
    fs::read(path).expect("a program of the system")
}

#[test]
fn what_cannot_take_over_is_refused_and_the_old_program_serves_on() {
    let daemon = start("upgrade-refused");
    let mut open = connect(daemon.address("echo", 0));
    let workers = daemon.worker_pids("echo");
    for (name, make, expected) in REFUSED {
        make(&daemon);
        let output = daemon.operate(&["upgrade", "--wait"]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(5), "{name}: {text}");
        assert!(text.contains(expected), "{name}: {text}");
        assert!(
            text.contains("fix:") || text.contains("fix "),
            "{name}: {text}"
        );
        echoes(&mut open, "still\n").expect("echoed");
        assert_eq!(daemon.worker_pids("echo"), workers, "{name}");
        let _ = fs::remove_dir(place(&daemon));
    }
    install(&daemon, &another_version(1), 0o755);
    let rehearsed = daemon.operate(&["upgrade", "--dry-run"]);
    assert!(rehearsed.status.success(), "{rehearsed:?}");
    assert_eq!(
        daemon.worker_pids("echo"),
        workers,
        "a rehearsal changes nothing"
    );
    upgrade(&daemon);
    echoes(&mut open, "carried\n").expect("echoed");
    drop(open);
    daemon.finish(&["cannot take over", "the program "].map(str::to_owned));
}

/// A copy of cat, called with the words of a rehearsal, reads a file called "child": here a pipe that
/// nobody writes.
fn install_one_that_hangs(daemon: &Daemon) {
    let pipe = daemon.directory().join("child");
    mkfifo(&pipe, Mode::S_IRWXU).expect("made");
    install(daemon, &of_system("/bin/cat"), 0o755);
}

fn rehearsal_of(daemon: &Daemon) -> u32 {
    let until = Instant::now() + PATIENCE;
    loop {
        let words = |pid: &u32| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let is_it = |pid: &u32| words(pid).ends_with(b"child\0rehearsal\0");
        if let Some(pid) = family_of(daemon.pid()).into_iter().find(is_it) {
            return pid;
        }
        assert!(Instant::now() < until, "no rehearsal:\n{}", daemon.log());
        support::looking::again();
    }
}

#[test]
fn a_rehearsal_that_hangs_or_is_killed_is_a_refusal() {
    let daemon = start("upgrade-hangs");
    install_one_that_hangs(&daemon);
    daemon.signal(daemon.pid(), Signal::SIGUSR2);
    kill(Pid::from_raw(rehearsal_of(&daemon) as i32), Signal::SIGKILL).expect("alive");
    daemon.wait_log("cannot take over: it was killed");
    daemon.signal(daemon.pid(), Signal::SIGUSR2);
    rehearsal_of(&daemon);
    echoes(&mut connect(daemon.address("echo", 0)), "meanwhile\n").expect("echoed");
    daemon.wait_log("gave no answer within 10 s");
    install(&daemon, &another_version(2), 0o755);
    upgrade(&daemon);
    daemon.finish(&[
        "cannot take over".to_owned(),
        "closed its channel".to_owned(),
    ]);
}

#[test]
fn rejected_workers_leave_the_old_ones_serving_under_the_new_program() {
    let daemon = start("upgrade-workers");
    let new = daemon.directory().join("new.so");
    fs::write(&new, "no plugin").expect("written");
    fs::rename(new, daemon.directory().join("echo.so")).expect("renamed");
    let mut open = connect(daemon.address("echo", 0));
    let workers = daemon.worker_pids("echo");
    install(&daemon, &another_version(3), 0o755);
    let output = daemon.operate(&["upgrade", "--wait"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(5), "{text}");
    assert!(text.contains("its old workers serve on"), "{text}");
    echoes(&mut open, "still\n").expect("echoed");
    assert_eq!(daemon.worker_pids("echo"), workers);
    let running = fs::read(format!("/proc/{}/exe", daemon.pid())).expect("readable");
    assert!(running.ends_with(b"version 3"));
    drop(open);
    daemon.finish(&["new ones were rejected".to_owned()]);
}

/// A hub, and addresses that are no ports: nobody finds a gap, and nothing is left of them at the end.
#[test]
fn an_upgrade_takes_along_the_bus_and_sockets_of_every_kind() {
    let directory = Arc::new(Directory::new("upgrade-kinds"));
    install_first(&directory);
    let place = |name: &str| directory.path().join(name);
    let (path, datagrams) = (place("echo.sock"), place("udp.sock"));
    let name = format!("{}/abstract", directory.path().display());
    let config = format!(
        "[services.meets]\nplugin = \"fixture-meets\"\nlisten = [\"tcp://127.0.0.1:0\"]\n\
         workers = 1\n[services.echo]\nplugin = \"echo\"\nlisten = [\"unix:{}\", \"unix:@{name}\"]\n\
         workers = 2\n[services.udp]\nplugin = \"udp-echo\"\n\
         listen = [\"unixgram:{}\", \"udp://127.0.0.1:0\"]\nworkers = 1\n",
        path.display(),
        datagrams.display(),
    );
    let daemon = Daemon::start_in(directory.clone(), &config);
    let hub = daemon.wait_for("a hub", |status| status["hub"]["pid"].is_u64());
    let mut on_path = UnixStream::connect(&path).expect("connected");
    let by_name = SocketAddress::from_abstract_name(&name).expect("a name");
    let mut on_name = UnixStream::connect_addr(&by_name).expect("connected");
    let own = UnixDatagram::bind(place("own.sock")).expect("bound");
    let meets = daemon.address("meets", 0);
    for round in 0..3 {
        for stream in [&mut on_path, &mut on_name] {
            stream.set_read_timeout(Some(PATIENCE)).expect("set");
            stream.write_all(b"still").expect("sent");
            let mut heard = [0; 5];
            stream.read_exact(&mut heard).expect("echoed");
            assert_eq!(&heard, b"still");
        }
        own.set_read_timeout(Some(PATIENCE)).expect("set");
        own.send_to(b"datagram", &datagrams).expect("sent");
        let mut heard = [0; 64];
        let count = own.recv(&mut heard).expect("answered");
        assert_eq!(&heard[..count], b"datagram", "{round}");
        let mut publisher = connect(meets);
        writeln!(publisher, "publish room {round} m{round}").expect("sent");
        let mut lines = BufReader::new(publisher).lines();
        assert!(lines.any(|line| line.expect("a line") == "published"));
        if round < 2 {
            install(&daemon, &another_version(round), 0o755);
            upgrade(&daemon);
        }
    }
    let mut late = BufReader::new(connect(meets));
    late.get_mut().write_all(b"history room 9\n").expect("sent");
    let heard: Vec<String> = late
        .lines()
        .map(|line| line.expect("a line"))
        .take_while(|line| line != "caught up")
        .filter(|line| line.starts_with("room"))
        .collect();
    assert_eq!(heard, ["room 1 m0", "room 2 m1", "room 3 m2"]);
    let after = daemon.wait_for("a hub", |status| status["hub"]["pid"].is_u64());
    assert_ne!(
        hub["hub"]["pid"], after["hub"]["pid"],
        "it is of the new program"
    );
    drop((on_path, on_name));
    daemon.finish(&[]);
    assert!(
        !path.exists() && !datagrams.exists(),
        "files of sockets are left"
    );
}

/// The supervisor's first call that can fail does, then the second, and so on, until it has become the
/// other program. What that one meets is no longer the old one's to answer for. POLYPORT_SOAK=1 leaves
/// out none.
#[cfg(target_arch = "x86_64")]
#[test]
fn an_upgrade_during_which_a_call_fails_is_made_whole_or_not_at_all() {
    let each = match std::env::var_os("POLYPORT_SOAK") {
        Some(_) => 1,
        None => 2,
    };
    let daemon = start("upgrade-calls");
    let mut open = connect(daemon.address("echo", 0));
    let mut refused = Vec::new();
    for nth in (1..).step_by(each) {
        let workers = daemon.worker_pids("echo");
        let injection = injection::Injection::begin(daemon.pid(), nth);
        let output = daemon.operate(&["upgrade", "--wait"]);
        let failed = injection.end(|| drop(daemon.status()));
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        echoes(&mut open, "still\n").expect("echoed");
        match output.status.code() {
            Some(0) => wait_for_workers_of(&daemon, &workers.into_iter().collect()),
            Some(1 | 5) => assert_eq!(daemon.worker_pids("echo"), workers, "{failed:?}: {text}"),
            code => panic!("{code:?} after {nth} {failed:?}: {text}"),
        }
        match failed {
            Some(call) if !output.status.success() => refused.push(call),
            Some(_) => {}
            None => break,
        }
    }
    println!("{refused:?}");
    assert!(refused.len() > 3, "{refused:?}");
    drop(open);
    // Whatever had failed was told of.
    daemon.finish(&[String::new()]);
}

#[test]
fn the_hidden_verb_is_for_nobody_else() {
    for words in [
        &["supervisor"][..],
        &["supervisor", "0"],
        &["supervisor", "77"],
        &["supervisor", "x"],
    ] {
        let mut command = polyport();
        command.args(words);
        let output = run_to_end(command);
        assert_eq!(output.status.signal(), None, "{words:?}");
        assert_eq!(output.status.code(), Some(2), "{words:?}");
    }
}
