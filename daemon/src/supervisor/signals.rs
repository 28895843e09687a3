//! Signals as something to poll: one self-pipe for each, no handler thread.
//!
//! A handler does nothing but write a byte; several deliveries of one signal may become one, so what
//! a signal asks for must be done by looking at the world and not by counting. Handlers run while the
//! supervisor waits, and once a turn: signals are held back otherwise.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use signal_hook::consts::{
    SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2, SIGWINCH,
};
use signal_hook::low_level::pipe;

/// Lets handlers run for what is pending, and holds back what comes until the next wait, or the next
/// call. Whoever sends signals without end would otherwise keep the supervisor in their handlers.
fn let_in_and_hold() {
    let numbers = TABLE
        .iter()
        .filter_map(|(number, _)| Signal::try_from(*number).ok());
    let set: SigSet = numbers.collect();
    // It fails for an unknown first argument only (sigprocmask(2)).
    let _ = sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&set), None);
    let _ = sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), None);
}

/// What a signal asks of the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Reap,
    Stop,
    StopFast,
    Reload,
    /// Serve nobody, and keep the addresses.
    Drain,
    /// One worker more, or fewer, for each service.
    MoreWorkers,
    FewerWorkers,
    /// The file may have been moved away.
    ReopenLog,
    /// All there is to know, into the log.
    DumpState,
    /// Let the program that is installed now take over.
    Upgrade,
}

impl Asked {
    /// For whoever sends it; none for what only the kernel sends.
    fn meaning(self) -> Option<&'static str> {
        match self {
            Asked::Reap => None,
            Asked::Stop => Some(
                "Accept nobody and let what is open finish, for at most `daemon.drain_timeout`; a \
                 second one leaves it a second.",
            ),
            Asked::StopFast => Some("Stop within a second or two."),
            Asked::Reload => {
                Some("Read the configuration again and change to it, as `polyport reload` does.")
            }
            Asked::Drain => Some("Serve nobody and keep the addresses, until `polyport resume`."),
            Asked::MoreWorkers => Some("One worker more for each service."),
            Asked::FewerWorkers => Some("One worker fewer for each service."),
            Asked::ReopenLog => Some(
                "Open the log file again, in all processes, or connect anew to what takes the log.",
            ),
            Asked::DumpState => Some("Write what there is to know into the log."),
            Asked::Upgrade => {
                Some("Let the program that is installed now take over, as `polyport upgrade` does.")
            }
        }
    }
}

/// Every signal that means something, by its name.
pub fn described() -> Vec<(String, &'static str)> {
    let numbered = TABLE.iter().filter_map(|(number, asked)| {
        let name = Signal::try_from(*number).ok()?.as_str();
        Some((name.to_owned(), asked.meaning()?))
    });
    let dump = Asked::DumpState.meaning();
    let dump = dump.map(|text| ("SIGRTMIN+1".to_owned(), text));
    numbered.chain(dump).collect()
}

const TABLE: [(i32, Asked); 10] = [
    (SIGCHLD, Asked::Reap),
    (SIGTERM, Asked::Stop),
    (SIGQUIT, Asked::Stop),
    (SIGINT, Asked::StopFast),
    (SIGHUP, Asked::Reload),
    (SIGWINCH, Asked::Drain),
    (SIGTTIN, Asked::MoreWorkers),
    (SIGTTOU, Asked::FewerWorkers),
    (SIGUSR1, Asked::ReopenLog),
    (SIGUSR2, Asked::Upgrade),
];

#[derive(Debug)]
pub(super) struct Signals {
    pipes: Vec<(Asked, UnixStream)>,
}

impl Signals {
    pub(super) fn install() -> io::Result<Signals> {
        let mut pipes = Vec::with_capacity(TABLE.len() + 1);
        // Which number it has is known only at run time.
        let dump = (libc::SIGRTMIN() + 1, Asked::DumpState);
        for (signal, asked) in TABLE.into_iter().chain([dump]) {
            let (ours, handlers) = UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            handlers.set_nonblocking(true)?;
            pipe::register(signal, handlers)?;
            pipes.push((asked, ours));
        }
        Ok(Signals { pipes })
    }

    /// What to poll for reading.
    pub(super) fn sources(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.pipes.iter().map(|(_, pipe)| pipe.as_fd())
    }

    /// What was asked since the last call, reaping first.
    pub(super) fn take(&mut self) -> Vec<Asked> {
        let_in_and_hold();
        let mut taken = Vec::new();
        for (asked, pipe) in &mut self.pipes {
            let mut bytes = [0; 64];
            let mut seen = false;
            while matches!(pipe.read(&mut bytes), Ok(n) if n > 0) {
                seen = true;
            }
            if seen {
                taken.push(*asked);
            }
        }
        taken
    }
}
