//! A very large folder that is listed cold, and whether that holds another client up.
//!
//! A second client fetches a small text all the while, in turns from the daemon, which lists the folder,
//! and from the bare server, which lists nothing and runs on the same core: what the machine itself holds
//! up, it holds up for both. Beside that the same is watched while nothing is listed.
//!
//! Invariant: what is compared was fetched in the same moments.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use nix::unistd::syncfs;

/// Names of the folder.
const CROWD: usize = 100_000;
/// How often it is listed.
const LISTINGS: usize = 10;
/// How long nothing is listed.
const CALM: Duration = Duration::from_secs(3);
/// What nobody is to be held up for.
const HELD_UP: Duration = Duration::from_millis(5);
const TEXT: &str = "/1k.bin";
const TEXT_BYTES: usize = 1024;

/// `daemon` and `limit` serve the same root. `daemon` keeps what is ready, as it is shipped: so the folder is
/// another one before each listing.
pub(crate) fn measure(root: &Path, daemon: SocketAddrV4, limit: SocketAddrV4) -> io::Result<()> {
    eprintln!("a folder of {CROWD} ...");
    let folder = root.join("crowd");
    fs::create_dir(&folder)?;
    for nth in 0..CROWD {
        File::create(folder.join(format!("{nth}.txt")))?;
    }
    syncfs(File::open(&folder)?)?;
    let both = [daemon, limit];
    let begun = Instant::now();
    let mut calm = Watched::default();
    calm.watch(both, || begun.elapsed() < CALM)?;
    let mut listing = Watched::default();
    let mut are_cold = true;
    let mut longest = Duration::ZERO;
    for _ in 0..LISTINGS {
        File::open(&folder)?.set_modified(SystemTime::now())?;
        // Nothing of the folder is in memory then, but only root may ask for that.
        are_cold &= fs::write("/proc/sys/vm/drop_caches", "3").is_ok();
        for server in both {
            ask(server, TEXT)?;
        }
        let goes_on = AtomicBool::new(true);
        let took = thread::scope(|scope| {
            let lister = scope.spawn(|| {
                let begun = Instant::now();
                let menu = ask(daemon, "/crowd/");
                goes_on.store(false, Ordering::Relaxed);
                menu.map(|menu| (menu.len(), begun.elapsed()))
            });
            listing.watch(both, || goes_on.load(Ordering::Relaxed))?;
            lister.join().expect("it does not panic")
        });
        let (bytes, took) = took?;
        assert!(bytes > CROWD * 16, "the whole folder");
        longest = longest.max(took);
    }
    let cold = if are_cold { "cold " } else { "" };
    println!(
        "\n| 1 KiB, on new connections | server | answers | p50 µs | over {} ms | longest µs |\n\
         |---|---|---|---|---|---|",
        HELD_UP.as_millis()
    );
    let beside = format!(
        "beside {LISTINGS} {cold}listings of {CROWD} entries, {} ms at most",
        longest.as_millis()
    );
    for (when, watched) in [("nothing else", calm), (beside.as_str(), listing)] {
        for (server, took) in ["Polyport", "limit"].iter().zip(watched.0) {
            println!("| {when} | {server} | {} |", Answers(took));
        }
    }
    Ok(())
}

/// How long answers of the daemon and of the limit took.
#[derive(Default)]
struct Watched([Vec<Duration>; 2]);

impl Watched {
    fn watch(&mut self, servers: [SocketAddrV4; 2], goes_on: impl Fn() -> bool) -> io::Result<()> {
        while goes_on() {
            for (server, took) in servers.into_iter().zip(&mut self.0) {
                let since = Instant::now();
                let answer = ask(server, TEXT)?;
                assert_eq!(answer.len(), TEXT_BYTES);
                took.push(since.elapsed());
            }
        }
        Ok(())
    }
}

/// At least one, as a row has them.
struct Answers(Vec<Duration>);

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut took = self.0.clone();
        took.sort_unstable();
        let median = took[took.len() / 2].as_micros();
        let held_up = took.iter().filter(|took| **took > HELD_UP).count();
        let longest = took[took.len() - 1].as_micros();
        write!(f, "{} | {median} | {held_up} | {longest}", took.len())
    }
}

fn ask(address: SocketAddrV4, path: &str) -> io::Result<Vec<u8>> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(Duration::from_secs(60)))?;
    socket.write_all(format!("{path}\r\n").as_bytes())?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer)?;
    Ok(answer)
}
