//! How soon the daemon does what an operator asks of it, and answers who only asks.
//!
//! All of it goes over the control socket, as `polyport reload --wait` and `polyport status` do. Those
//! who knock on it meanwhile and mean no good are threads of this program: one sends garbage, one
//! leaves half a request lying, one asks and does not read the answer.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::daemon::{self, Serves};
use crate::life::milliseconds;
use crate::servers::Server;
use crate::spread::Spread;

/// Each of those who knock does so this often.
const KNOCK_EVERY: Duration = Duration::from_millis(1);
/// Whose answer is not read, and half a request, are held so often at once: more than the daemon has
/// places for those who ask.
const HELD: usize = 24;
/// The longest request, as the daemon has it, and a little.
const GARBAGE_BYTES: usize = 65 * 1024;
const QUESTIONS: usize = 2_000;

/// From asking for a reload to its having been carried out, in milliseconds, when `changed` of so
/// many services have got another setting, and so new workers. Each time it is a daemon of its own.
pub(crate) fn reload(services: usize, changed: usize, times: usize) -> io::Result<Spread> {
    carried_out(services, times, |server| {
        daemon::change_settings(server, changed)?;
        Ok(r#"{"verb":"reload","wait":true,"dry_run":false}"#.to_owned())
    })
}

/// From asking for another worker to its serving in the place of the old one, in milliseconds: its
/// process is made, loads the plugin, closes its sandbox and says that it is ready.
pub(crate) fn restart(times: usize) -> io::Result<Spread> {
    carried_out(1, times, |_| {
        Ok(format!(
            r#"{{"verb":"restart","service":"{}"}}"#,
            daemon::FIRST
        ))
    })
}

fn carried_out(
    services: usize,
    times: usize,
    prepare: impl Fn(&Server) -> io::Result<String>,
) -> io::Result<Spread> {
    let mut took = Vec::new();
    for _ in 0..times {
        let serves = Serves::Streams {
            services,
            workers: 1,
        };
        let server = daemon::start_on_all_cores("operating", serves)?;
        let request = prepare(&server)?;
        let control = daemon::control_socket(&server)?;
        let begun = Instant::now();
        daemon::ask(&control, &request)?;
        took.push(milliseconds(begun));
    }
    Ok(Spread::of(took))
}

/// Milliseconds from connecting to having the whole answer to `status`.
#[derive(Debug)]
pub(crate) struct Answers {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// What those who mean no good did meanwhile.
    pub(crate) knocks: u64,
}

/// Of one that asks while three knock.
pub(crate) fn answers(server: &Server) -> io::Result<Answers> {
    let control = &daemon::control_socket(server)?;
    let (over, knocks) = (&AtomicBool::new(false), &AtomicU64::new(0));
    let knock = |with: fn(&Path, &mut Vec<UnixStream>) -> io::Result<()>| {
        move || {
            let mut held = Vec::new();
            while !over.load(Ordering::Relaxed) {
                // Being turned away is what they deserve.
                if with(control, &mut held).is_ok() {
                    knocks.fetch_add(1, Ordering::Relaxed);
                }
                thread::sleep(KNOCK_EVERY);
            }
        }
    };
    let asked = thread::scope(|scope| {
        for with in [garbage, half_a_request, unread_answer] {
            scope.spawn(knock(with));
        }
        let asked = ask_often(control);
        over.store(true, Ordering::Relaxed);
        asked
    });
    let mut took = asked?;
    took.sort_by(f64::total_cmp);
    Ok(Answers {
        p50: took[took.len() / 2],
        p99: took[took.len() * 99 / 100],
        knocks: knocks.load(Ordering::Relaxed),
    })
}

fn ask_often(control: &Path) -> io::Result<Vec<f64>> {
    let ask = |_| {
        let begun = Instant::now();
        daemon::ask(control, daemon::STATUS)?;
        Ok(milliseconds(begun))
    };
    (0..QUESTIONS).map(ask).collect()
}

fn garbage(control: &Path, _: &mut Vec<UnixStream>) -> io::Result<()> {
    let mut socket = UnixStream::connect(control)?;
    socket.write_all(&[0xfe; GARBAGE_BYTES])?;
    socket.read_to_end(&mut Vec::new()).map(drop)
}

fn half_a_request(control: &Path, held: &mut Vec<UnixStream>) -> io::Result<()> {
    hold(control, &daemon::STATUS[..daemon::STATUS.len() / 2], held)
}

fn unread_answer(control: &Path, held: &mut Vec<UnixStream>) -> io::Result<()> {
    hold(control, &format!("{}\n", daemon::STATUS), held)
}

/// The oldest gives way to the newest.
fn hold(control: &Path, words: &str, held: &mut Vec<UnixStream>) -> io::Result<()> {
    let mut socket = UnixStream::connect(control)?;
    socket.write_all(words.as_bytes())?;
    if held.len() == HELD {
        held.remove(0);
    }
    held.push(socket);
    Ok(())
}
