//! As many idle connections as the machine allows: accepted, held and closed by one daemon.
//!
//! A process has only so many descriptors, so several workers share them, and the other ends are held
//! by several processes of this program, each from a source address of its own. Each connection is
//! answered once and then left alone, while others are busy for a while. What is told is counted by the
//! daemon and the kernel; the holders only say that they are done.

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

use crate::comparison::{self, Pace, Requests};
use crate::daemon::{self, Serves};
use crate::generator::Load;
use crate::life::hold;
use crate::process;
use crate::servers::{self, Server, wait_until};
use crate::spread::Spread;

/// What makes this program one that holds connections.
pub(crate) const HOLD_VERB: &str = "hold";
const TARGET: usize = 100_000;
const WORKERS: usize = 8;
const HOLDERS: usize = 8;
/// The daemon and this program need some for themselves.
const DESCRIPTORS_BESIDE: usize = 1000;
/// So many are not idle, now and then.
const BUSY: usize = 64;
const PACE: Pace = Pace {
    rounds: 5,
    warm_up: Duration::from_millis(300),
    measured: Duration::from_millis(600),
};
/// For how long nothing is to happen.
const QUIET: Duration = Duration::from_secs(5);

/// Prints a table; `descriptors` is what each process may have.
pub(crate) fn measure(descriptors: usize) -> io::Result<()> {
    let each = descriptors.saturating_sub(DESCRIPTORS_BESIDE);
    // The kernel spreads them over the workers by chance, so none is filled to the brim.
    let count = TARGET.min(each * WORKERS.min(HOLDERS) * 9 / 10);
    println!("\n| {count} idle connections, {WORKERS} workers | figure |\n|---|---|");
    let serves = Serves::Streams {
        services: 1,
        workers: WORKERS,
    };
    let server = daemon::start("idle", serves)?;
    let workers = wait_until("all workers serve", || daemon::serving_workers(&server))?;
    let resident = || -> io::Result<u64> {
        let each = workers.iter().map(|pid| process::memory(*pid));
        each.map(|memory| Ok(memory?.resident)).sum()
    };
    let alone = busy(&server)?;
    let came = wait_until("all are closed", || {
        let now = daemon::connections(&server)?;
        (now.open.iter().sum::<u64>() == 0).then_some(now.accepted)
    })?;
    let before = resident()?;
    let begun = Instant::now();
    let holders = start_holders(&server, count)?;
    println!("| opened and answered in | {:.1} s |", seconds(begun));
    let held = wait_until("the daemon counts them all", || {
        daemon::connections(&server).filter(|held| held.accepted - came >= count as u64)
    })?;
    let (open, accepted) = (held.open.iter().sum::<u64>(), held.accepted - came);
    println!("| accepted | {accepted} |\n| open | {open} |");
    let (least, most) = (held.open.iter().min(), held.open.iter().max());
    let bounds = (least.copied().unwrap_or(0), most.copied().unwrap_or(0));
    println!("| open in one worker | {} to {} |", bounds.0, bounds.1);
    let grown = resident()?.saturating_sub(before) as f64;
    println!(
        "| resident memory of the workers, for each | {:.0} B |",
        grown / count as f64
    );
    rest(&server, &workers);
    let beside = busy(&server)?;
    println!("| CPU of a request of {BUSY} busy connections beside none | {alone:.2} µs |");
    println!("| the same beside them | {beside:.2} µs |");
    let begun = Instant::now();
    for holder in holders {
        holder.let_go()?;
    }
    wait_until("all are closed", || {
        let now = daemon::connections(&server)?;
        (now.open.iter().sum::<u64>() == 0).then_some(())
    })?;
    println!("| closed in | {:.1} s |", seconds(begun));
    let left = wait_until("the workers serve", || daemon::serving_workers(&server))?;
    let same = if left == workers { "yes" } else { "no" };
    println!("| the same workers serve on | {same} |");
    println!(
        "| CPU of a request of {BUSY} busy connections beside none again | {:.2} µs |",
        busy(&server)?
    );
    Ok(())
}

/// What a request of a few connections costs now.
fn busy(server: &Server) -> io::Result<Spread> {
    let load = Requests::Streams(Load {
        connections: BUSY,
        bytes: 64,
        pipelined: 1,
        churn: false,
    });
    let turns = comparison::compare(load, &[server], PACE)?;
    let turns = turns.iter().flatten();
    Ok(Spread::of(turns.map(|turn| turn.cost_us)))
}

/// What the daemon does while nothing happens.
fn rest(server: &Server, workers: &[u32]) {
    let supervisor = server.pid();
    let processor = || process::processor_time(supervisor);
    let of_workers = || workers.iter().map(|pid| process::waits(*pid)).sum::<u64>();
    let before = (processor(), of_workers(), process::waits(supervisor));
    thread::sleep(QUIET);
    let after = (processor(), of_workers(), process::waits(supervisor));
    let over = QUIET.as_secs();
    let milliseconds = after.0.saturating_sub(before.0).as_secs_f64() * 1e3;
    println!("| processor time of all its processes in {over} s | {milliseconds:.1} ms |");
    println!(
        "| wake-ups of all workers in {over} s | {} |",
        after.1 - before.1
    );
    println!(
        "| wake-ups of the supervisor in {over} s | {} |",
        after.2 - before.2
    );
}

struct Holder {
    child: Child,
    /// Closed to let go.
    told: ChildStdin,
    said: BufReader<ChildStdout>,
}

/// Starts them all, then waits until each holds its share.
fn start_holders(server: &Server, count: usize) -> io::Result<Vec<Holder>> {
    let mut holders = Vec::with_capacity(HOLDERS);
    for nth in 0..HOLDERS {
        let share = count / HOLDERS + usize::from(nth < count % HOLDERS);
        let source = Ipv4Addr::new(127, 0, 2, 1 + nth as u8);
        let mut command = Command::new(env::current_exe()?);
        command.arg(HOLD_VERB).arg(server.address.to_string());
        command.arg(source.to_string()).arg(share.to_string());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (told, said) = (child.stdin.take(), child.stdout.take());
        let piped = "both were asked for";
        holders.push(Holder {
            child,
            told: told.expect(piped),
            said: BufReader::new(said.expect(piped)),
        });
    }
    for holder in &mut holders {
        let mut line = String::new();
        holder.said.read_line(&mut line)?;
        if line.trim() != "held" {
            return Err(io::Error::other("a process could not hold its connections"));
        }
    }
    Ok(holders)
}

impl Holder {
    fn let_go(mut self) -> io::Result<()> {
        drop(self.told);
        self.child.wait().map(drop)
    }
}

/// The part of a holder: opens its connections, says so, and keeps them until its input ends.
pub(crate) fn serve_holding(arguments: &[String]) -> io::Result<()> {
    set_pdeathsig(Signal::SIGKILL)?;
    let wrong = || io::Error::other(format!("{HOLD_VERB} ADDRESS SOURCE COUNT"));
    let [server, source, count] = arguments else {
        return Err(wrong());
    };
    let server: SocketAddrV4 = server.parse().map_err(|_| wrong())?;
    let source: Ipv4Addr = source.parse().map_err(|_| wrong())?;
    let count: usize = count.parse().map_err(|_| wrong())?;
    process::move_to(&[servers::GENERATOR_CORE])?;
    let held = hold(server, source, count)?;
    println!("held");
    io::stdout().flush()?;
    io::stdin().read_to_end(&mut Vec::new())?;
    drop(held);
    Ok(())
}

fn seconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64()
}
