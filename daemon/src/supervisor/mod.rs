//! The supervisor: binds, spawns, waits, hands over.
//!
//! It is a thin shell around `lifecycle`: it turns signals, deaths, messages and the scoreboards into
//! events, and carries out the orders that come back. One thread for life; it reads no byte of a
//! peer and no configuration text, loads no plugin and resolves no name: children of the same
//! program do that, and what they say is bounded and checked.
//!
//! Invariant: nothing here waits but `wait`, and nobody but its children can make a turn long.

mod adoption;
mod banning;
mod bans;
mod children;
mod commit;
mod connections;
mod crashes;
mod directories;
mod handover;
mod health;
mod hearing;
mod hub;
mod lending;
mod life;
mod listeners;
mod logging;
mod metrics;
mod notify;
mod notifying;
mod plugin_metrics;
mod preparation;
mod probe_once;
mod reload;
mod requests;
mod service;
mod signals;
mod signs;
mod socket_options;
mod status;
mod unsent;
mod upgrade;
mod watch;
mod wishes;

use std::collections::BTreeMap;
use std::io;
use std::mem;
use std::time::{Duration, Instant, SystemTime};

pub use adoption::rehearse;
pub use probe_once::probe_once;
pub use signals::described as signals;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::time::TimeSpec;

use crate::channel::{Brief, CheckBrief};
use crate::control::{Interest, Server};
use crate::exit as code;
use crate::log;
use crate::plan::Plan;
use crate::sys::jail;
use crate::terminal::complain;
use children::{Children, Kind};
use directories::Directories;
use life::Life;
use listeners::Inherited;
use notify::Notifier;
use preparation::{Found, PROBE_AT_START_MS, Preparation};
use signals::{Asked, Signals};
use wishes::{Goal, Wish, Workers};

/// How long the check of a configuration may take.
const CHECK_MS: u64 = 10_000;

/// What `run` was asked for.
#[derive(Clone, Debug, Default)]
pub struct Launch {
    pub sources: CheckBrief,
    /// Say on standard output what serves, once everything that can serve does.
    pub announce: Option<Announcement>,
    /// A service that fails at the start ends the daemon.
    pub all_or_nothing: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Announcement {
    /// As the document of `status --json`, not as text.
    pub json: bool,
}

/// Why the daemon ends.
#[derive(Debug)]
struct Ending {
    exit: u8,
    /// For whoever started it; empty when all is well.
    text: String,
}

/// From the command line to the end of the daemon; returns the exit code. Why it ends is said
/// `as_typed`: whoever wrote no configuration knows none of its keys.
pub fn run(launch: Launch, as_typed: impl Fn(&str) -> String) -> u8 {
    let ending = match Supervisor::begin(launch) {
        Ok(supervisor) => supervisor.live(),
        Err(error) => Ending {
            exit: code::SYSTEM,
            text: format!("cannot start: {error}"),
        },
    };
    let text = as_typed(&ending.text);
    notify::farewell(&text);
    complain(ending.exit, &text)
}

/// In the place of another program, which was the supervisor in this process until now; returns the
/// exit code.
pub fn take_over() -> u8 {
    let ending = match Supervisor::adopt() {
        Ok(supervisor) => supervisor.live(),
        Err(ending) => ending,
    };
    complain(ending.exit, &ending.text)
}

struct Supervisor {
    started: Instant,
    launch: Launch,
    signals: Signals,
    children: Children,
    /// Until the addresses are bound.
    inherited: Inherited,
    phase: Phase,
}

/// How far the way from a configuration to serving has come.
enum Phase {
    /// The configuration is being read.
    Checking,
    /// Plugins are being tried.
    Preparing(Box<Preparation>, Directories),
    Living(Box<Life>),
    /// Told to stop before it served; the children that are left end.
    Leaving(Option<Ending>),
}

impl Supervisor {
    fn begin(launch: Launch) -> io::Result<Supervisor> {
        let inherited = Inherited::take();
        // What a plugin leaves behind comes here to be reaped, not to the first process.
        prctl::set_child_subreaper(true)?;
        // Shards, channels and scoreboards of many services are more than the usual soft limit.
        jail::raise_descriptors()?;
        let mut supervisor = Supervisor {
            started: Instant::now(),
            signals: Signals::install()?,
            children: Children::new()?,
            inherited,
            phase: Phase::Checking,
            launch,
        };
        let brief = Brief::Check(supervisor.launch.sources.clone());
        let due = supervisor.now_ms() + CHECK_MS;
        supervisor
            .children
            .start(Kind::Check, &brief, &[], Some(due))?;
        Ok(supervisor)
    }

    fn live(mut self) -> Ending {
        loop {
            if let Err(ending) = self.turn() {
                return ending;
            }
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).expect("less than 500 million years")
    }

    /// One round: wait, then look at everything that can have happened.
    fn turn(&mut self) -> Result<(), Ending> {
        let speaking = self.wait();
        let now_ms = self.now_ms();
        for asked in self.signals.take() {
            self.signalled(asked, now_ms);
        }
        for pid in speaking {
            self.listen(pid, now_ms)?;
        }
        self.reap(now_ms)?;
        self.end_overdue(now_ms);
        self.answer_operators(now_ms);
        match &mut self.phase {
            Phase::Checking => Ok(()),
            Phase::Preparing(preparation, _) if !preparation.is_complete() => Ok(()),
            Phase::Preparing(..) => self.bind_and_live(now_ms),
            Phase::Living(life) => {
                life.watch(&mut self.children, now_ms);
                life.tick(&mut self.children, now_ms);
                life.tend_bus(&mut self.children, now_ms);
                life.advance(&mut self.children, now_ms);
                life.spread_bans(&mut self.children);
                life.conclude_looks(now_ms);
                life.conclude(&self.launch, &mut self.children, now_ms)?;
                life.notify_passed(now_ms);
                self.replace_if_rehearsed(now_ms);
                Ok(())
            }
            Phase::Leaving(ending) if self.children.is_empty() => {
                Err(ending.take().unwrap_or(Ending {
                    exit: code::DONE,
                    text: String::new(),
                }))
            }
            Phase::Leaving(_) => Ok(()),
        }
    }

    /// Returns the children whose channels have something.
    fn wait(&self) -> Vec<i32> {
        let mut fds: Vec<PollFd> = self
            .signals
            .sources()
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        let first_child = fds.len();
        let mut pids = Vec::new();
        for (pid, channel) in self.children.channels() {
            pids.push(pid);
            fds.push(channel);
        }
        if let Phase::Living(life) = &self.phase {
            for (fd, interest) in life.control().sources() {
                let flags = match interest {
                    Interest::Read => PollFlags::POLLIN,
                    Interest::Write => PollFlags::POLLOUT,
                };
                fds.push(PollFd::new(fd, flags));
            }
        }
        match ppoll(&mut fds, self.patience(), Some(SigSet::empty())) {
            Ok(_) | Err(Errno::EINTR) => {}
            // Out of memory for the moment: the next turn tries again, after the deadlines.
            Err(error) => tracing::error!("poll failed: {error}"),
        }
        let children = fds[first_child..].iter().zip(pids);
        children
            .filter(|(fd, _)| fd.any().unwrap_or(false))
            .map(|(_, pid)| pid)
            .collect()
    }

    /// Until the next deadline, with a millisecond for rounding.
    fn patience(&self) -> Option<TimeSpec> {
        let due = self
            .children
            .iter()
            .filter_map(|(_, child)| child.due_ms)
            .min();
        let life = match &self.phase {
            Phase::Living(life) => life.next_deadline_ms(),
            Phase::Checking | Phase::Preparing(..) | Phase::Leaving(_) => None,
        };
        let due = due.into_iter().chain(life).min()?;
        let left = (due + 1).saturating_sub(self.now_ms());
        Some(TimeSpec::from(Duration::from_millis(left)))
    }

    fn signalled(&mut self, asked: Asked, now_ms: u64) {
        match asked {
            Asked::Reap => {}
            Asked::Stop => self.stop(false, now_ms),
            Asked::StopFast => self.stop(true, now_ms),
            Asked::Reload => self.wish("SIGHUP", now_ms, Goal::Files),
            Asked::Upgrade => self.wish("SIGUSR2", now_ms, Goal::Program),
            Asked::MoreWorkers => self.wish("SIGTTIN", now_ms, requests::staffed(Workers::More)),
            Asked::FewerWorkers => self.wish("SIGTTOU", now_ms, requests::staffed(Workers::Fewer)),
            Asked::Drain => {
                if let Phase::Living(life) = &mut self.phase {
                    life.pause(None, &mut self.children, now_ms);
                }
            }
            Asked::ReopenLog => match &self.phase {
                Phase::Living(life) => life.reopen_log(&self.children),
                Phase::Checking | Phase::Preparing(..) | Phase::Leaving(_) => {}
            },
            Asked::DumpState => match &self.phase {
                Phase::Living(life) => life.dump_state(&self.children, now_ms),
                Phase::Checking | Phase::Preparing(..) | Phase::Leaving(_) => {}
            },
        }
    }

    /// Before it serves there is nothing to change: the configuration is being read anyway.
    fn wish(&mut self, signal: &str, now_ms: u64, goal: Goal) {
        if let Phase::Living(life) = &mut self.phase {
            let wish = Wish {
                goal,
                cause: signal.to_owned(),
                dry_run: false,
                askers: Vec::new(),
            };
            life.wish(wish, now_ms);
        }
    }

    fn stop(&mut self, fast: bool, now_ms: u64) {
        match &mut self.phase {
            Phase::Living(life) => life.stop(fast, &mut self.children, now_ms),
            Phase::Checking | Phase::Preparing(..) => self.leave(None),
            Phase::Leaving(_) => {}
        }
    }

    /// Before anything served: end the children, then the daemon.
    fn leave(&mut self, ending: Option<Ending>) {
        for (pid, _) in self.children.iter() {
            self.children.kill(pid, Signal::SIGKILL);
        }
        self.phase = Phase::Leaving(ending);
    }

    fn prepare(&mut self, plan: Plan, now_ms: u64) -> Result<(), Ending> {
        let in_system = |text: String| Ending {
            exit: code::SYSTEM,
            text,
        };
        log::begin(&plan.daemon.log, "supervisor").map_err(|error| in_system(error.to_string()))?;
        let directories = Directories::claim(&plan.daemon).map_err(in_system)?;
        let mut preparation = Box::new(Preparation::new(plan, PROBE_AT_START_MS));
        let names: Vec<String> = preparation.plan.services.keys().cloned().collect();
        for name in names {
            match preparation.take(&name) {
                Ok(()) => preparation.probe(&name, &mut self.children, now_ms),
                Err(text) => preparation.judge(&name, Err(text)),
            }
        }
        self.phase = Phase::Preparing(preparation, directories);
        Ok(())
    }

    fn bind_and_live(&mut self, now_ms: u64) -> Result<(), Ending> {
        let phase = mem::replace(&mut self.phase, Phase::Checking);
        let Phase::Preparing(mut preparation, directories) = phase else {
            unreachable!("called in this phase only")
        };
        let mut inherited = mem::take(&mut self.inherited);
        let stored = inherited.stored();
        let found: BTreeMap<String, Found> = preparation
            .plan
            .services
            .iter()
            .map(|(name, plan)| (name.clone(), Found::with(inherited.listeners(plan))))
            .collect();
        drop(inherited);
        let candidates = preparation
            .bind(|name| found.get(name).cloned().unwrap_or_default())
            .map_err(|lines| Ending {
                exit: code::SYSTEM,
                text: lines.join("\n"),
            })?;
        let socket = directories.control_socket();
        let control = Server::bind(&socket).map_err(|error| Ending {
            exit: code::SYSTEM,
            text: format!("daemon.run_dir: cannot make {}: {error}", socket.display()),
        })?;
        let (plan, sources) = (preparation.plan, self.launch.sources.clone());
        let notifier = Notifier::of_environment(stored);
        let around = (directories, control, notifier);
        let mut life = Life::new(plan, &candidates, around, sources, seed());
        life.begin(candidates, &mut self.children, now_ms);
        self.phase = Phase::Living(Box::new(life));
        Ok(())
    }

    fn answer_operators(&mut self, now_ms: u64) {
        let Phase::Living(life) = &mut self.phase else {
            return;
        };
        life.requests(&mut self.children, now_ms);
    }
}

/// For spreading retries: different in each daemon, even in those that start together.
fn seed() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let nanos = now.map_or(0, |since| since.as_nanos() as u64);
    nanos ^ u64::from(std::process::id()).rotate_left(32)
}
