//! The supervisor: binds, spawns, waits, hands over.
//!
//! It is a thin shell around `lifecycle`: it turns signals, deaths, messages and the scoreboards into
//! events, and carries out the orders that come back. One thread for life; it reads no byte of a
//! peer and no configuration text, loads no plugin and resolves no name: children of the same
//! program do that, and what they say is bounded and checked.
//!
//! Invariant: nothing here waits but `wait`, and nobody but its children can make a turn long.

mod banning;
mod bans;
mod children;
mod directories;
mod handover;
mod life;
mod listeners;
mod preparation;
mod probe_once;
mod signals;
mod socket_options;
mod status;
mod watch;

use std::io;
use std::mem;
use std::time::{Instant, SystemTime};

pub use probe_once::probe_once;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::Signal;

use crate::channel::{Brief, CheckBrief, Report};
use crate::control::{Interest, Request, Server};
use crate::exit as code;
use crate::lifecycle::{Event, Exit, News};
use crate::log;
use crate::plan::{Descriptor, Plan};
use crate::sys::jail;
use crate::terminal::complain;
use children::{Child, Children, Kind};
use directories::Directories;
use life::Life;
use preparation::{Preparation, printable, unreadable};
use signals::{Asked, Signals};

/// How long the check of a configuration may take.
const CHECK_MS: u64 = 10_000;

/// What `run` was asked for.
#[derive(Clone, Debug, Default)]
pub struct Wish {
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

/// From the command line to the end of the daemon; returns the exit code.
pub fn run(wish: Wish) -> u8 {
    let ending = match Supervisor::begin(wish) {
        Ok(mut supervisor) => loop {
            if let Err(ending) = supervisor.turn() {
                break ending;
            }
        },
        Err(error) => Ending {
            exit: code::SYSTEM,
            text: format!("cannot start: {error}"),
        },
    };
    complain(ending.exit, &ending.text)
}

struct Supervisor {
    started: Instant,
    wish: Wish,
    signals: Signals,
    children: Children,
    phase: Phase,
}

/// How far the way from a configuration to serving has come.
enum Phase {
    /// The configuration is being read.
    Checking,
    /// Plugins are being tried.
    Preparing(Box<Preparation>),
    Living(Box<Life>),
    /// Told to stop before it served; the children that are left end.
    Leaving(Option<Ending>),
}

impl Supervisor {
    fn begin(wish: Wish) -> io::Result<Supervisor> {
        // What a plugin leaves behind comes here to be reaped, not to the first process.
        prctl::set_child_subreaper(true)?;
        // Shards, channels and scoreboards of many services are more than the usual soft limit.
        jail::raise_descriptors()?;
        let mut supervisor = Supervisor {
            started: Instant::now(),
            signals: Signals::install()?,
            children: Children::new()?,
            phase: Phase::Checking,
            wish,
        };
        let brief = Brief::Check(supervisor.wish.sources.clone());
        let due = supervisor.now_ms() + CHECK_MS;
        supervisor
            .children
            .start(Kind::Check, &brief, &[], Some(due))?;
        Ok(supervisor)
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
            Phase::Preparing(preparation) if !preparation.is_complete() => Ok(()),
            Phase::Preparing(_) => self.bind_and_live(now_ms),
            Phase::Living(life) => {
                life.watch(&mut self.children, now_ms);
                life.tick(&mut self.children, now_ms);
                life.spread_bans(&self.children);
                life.conclude(&self.wish, &self.children, now_ms)
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
            fds.push(PollFd::new(channel, PollFlags::POLLIN));
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
        match poll(&mut fds, self.patience()) {
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
    fn patience(&self) -> PollTimeout {
        let due = self
            .children
            .iter()
            .filter_map(|(_, child)| child.due_ms)
            .min();
        let life = match &self.phase {
            Phase::Living(life) => life.next_deadline_ms(),
            Phase::Checking | Phase::Preparing(_) | Phase::Leaving(_) => None,
        };
        match due.into_iter().chain(life).min() {
            None => PollTimeout::NONE,
            Some(due) => {
                let left = (due + 1).saturating_sub(self.now_ms());
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
            }
        }
    }

    fn signalled(&mut self, asked: Asked, now_ms: u64) {
        match asked {
            Asked::Reap => {}
            Asked::Stop => self.stop(false, now_ms),
            Asked::StopFast => self.stop(true, now_ms),
            Asked::Nothing(name) => {
                tracing::warn!("{name} is not answered in this release; restart to apply changes");
            }
        }
    }

    fn stop(&mut self, fast: bool, now_ms: u64) {
        match &mut self.phase {
            Phase::Living(life) => life.stop(fast, &mut self.children, now_ms),
            Phase::Checking | Phase::Preparing(_) => self.leave(None),
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

    fn listen(&mut self, pid: i32, now_ms: u64) -> Result<(), Ending> {
        for heard in self.children.listen(pid, now_ms) {
            let Some(kind) = self.children.kind(pid).cloned() else {
                return Ok(());
            };
            match heard {
                // A sensor's worker has something to say whenever somebody comes.
                Ok(report)
                    if matches!(report, Report::Trapped { .. })
                        || self.children.may_report(pid) =>
                {
                    self.reported(pid, &kind, report, now_ms)?;
                }
                Ok(report) => self.distrust(pid, &format!("a second report ({report:?})")),
                Err(why) => self.distrust(pid, &format!("an unreadable message ({why})")),
            }
        }
        Ok(())
    }

    fn reported(
        &mut self,
        pid: i32,
        kind: &Kind,
        report: Report,
        now_ms: u64,
    ) -> Result<(), Ending> {
        match (kind, report, &mut self.phase) {
            (Kind::Check, Report::Resolved { .. }, Phase::Checking) => {
                let plan = self
                    .children
                    .answer::<Plan>(pid)
                    .map_err(unreadable_check)?;
                self.prepare(plan, now_ms)
            }
            (Kind::Check, Report::Rejected { .. }, Phase::Checking) => {
                let lines = self
                    .children
                    .answer::<Vec<String>>(pid)
                    .map_err(unreadable_check)?;
                self.leave(Some(Ending {
                    exit: code::CONFIG,
                    text: lines.join("\n"),
                }));
                Ok(())
            }
            (Kind::Probe(service), Report::Admitted { .. }, Phase::Preparing(p)) => {
                let descriptor = self.children.answer::<Descriptor>(pid).map(printable);
                p.verdict(
                    service,
                    descriptor.map_err(|error| unreadable(service, &error)),
                );
                Ok(())
            }
            (Kind::Probe(service), Report::Refused { text }, Phase::Preparing(p)) => {
                p.verdict(service, Err(text));
                Ok(())
            }
            (Kind::Worker { id, .. }, Report::Ready { sandbox }, Phase::Living(life)) => {
                life.ready(*id, sandbox, &mut self.children, now_ms);
                Ok(())
            }
            (Kind::Worker { id, .. }, Report::Refused { text }, Phase::Living(life)) => {
                let event = Event::Worker(
                    *id,
                    News::Refused {
                        // Problem and remedy stand on lines of their own.
                        text: log::escape(&text).replace("\\n", "\n"),
                    },
                );
                life.handle(event, &mut self.children, now_ms);
                Ok(())
            }
            (Kind::Worker { id, .. }, Report::Trapped { source }, Phase::Living(life)) => {
                if let Err(what) = life.trapped(*id, source, now_ms) {
                    self.distrust(pid, what);
                }
                Ok(())
            }
            // A child that outlived what it was for.
            (_, _, Phase::Leaving(_)) => Ok(()),
            (_, report, _) => {
                self.distrust(pid, &format!("a message out of turn ({report:?})"));
                Ok(())
            }
        }
    }

    fn distrust(&mut self, pid: i32, what: &str) {
        let what: String = log::escape(what).chars().take(200).collect();
        tracing::error!("the process {pid} sent {what} and is killed");
        self.children.convict(pid, format!("after it sent {what}"));
    }

    fn reap(&mut self, now_ms: u64) -> Result<(), Ending> {
        while let Some(pid) = self.children.dead() {
            // Its last words come before its end.
            self.listen(pid, now_ms)?;
            if let Some((child, exit)) = self.children.bury(pid) {
                self.ended(&child, exit, now_ms)?;
            }
        }
        Ok(())
    }

    fn ended(&mut self, child: &Child, exit: Exit, now_ms: u64) -> Result<(), Ending> {
        match (&child.kind, &mut self.phase) {
            (Kind::Check, Phase::Checking) => {
                let text = format!("reading the configuration failed: the check ended by {exit}");
                Err(Ending {
                    exit: code::INTERNAL,
                    text,
                })
            }
            (Kind::Probe(service), Phase::Preparing(preparation)) => {
                preparation.probe_ended(service, exit);
                Ok(())
            }
            (Kind::Worker { id, .. }, Phase::Living(life)) => {
                life.worker_ended(*id, child, exit, &mut self.children, now_ms);
                Ok(())
            }
            // Ends after the answer, or while leaving, are how it should be.
            (Kind::Check | Kind::Probe(_) | Kind::Worker { .. }, _) => Ok(()),
        }
    }

    fn end_overdue(&mut self, now_ms: u64) {
        let overdue = self.children.take_overdue(now_ms);
        for pid in overdue {
            self.children
                .convict(pid, "after it closed its channel".to_owned());
        }
    }

    fn prepare(&mut self, plan: Plan, now_ms: u64) -> Result<(), Ending> {
        let in_system = |text: String| Ending {
            exit: code::SYSTEM,
            text,
        };
        log::begin(&plan.daemon.log, "supervisor").map_err(|error| in_system(error.to_string()))?;
        let directories = Directories::claim(&plan.daemon).map_err(in_system)?;
        let preparation = Preparation::begin(plan, directories, &mut self.children, now_ms);
        self.phase = Phase::Preparing(Box::new(preparation));
        Ok(())
    }

    fn bind_and_live(&mut self, now_ms: u64) -> Result<(), Ending> {
        let Phase::Preparing(preparation) = mem::replace(&mut self.phase, Phase::Checking) else {
            unreachable!("called in this phase only")
        };
        let prepared = (*preparation).bind()?;
        let socket = prepared.directories.control_socket();
        let control = Server::bind(&socket).map_err(|error| Ending {
            exit: code::SYSTEM,
            text: format!("daemon.run_dir: cannot make {}: {error}", socket.display()),
        })?;
        let mut life = Life::new(prepared, control, seed());
        life.begin(&mut self.children, now_ms);
        self.phase = Phase::Living(Box::new(life));
        Ok(())
    }

    fn answer_operators(&mut self, now_ms: u64) {
        let Phase::Living(life) = &mut self.phase else {
            return;
        };
        for request in life.requests(&self.children, now_ms) {
            match request {
                Request::Status
                | Request::SocketOptions { .. }
                | Request::Bans
                | Request::Ban { .. }
                | Request::Unban { .. } => {}
                Request::Stop { fast } => life.stop(fast, &mut self.children, now_ms),
            }
        }
    }
}

fn unreadable_check(error: io::Error) -> Ending {
    let text = format!("reading the configuration failed: the check's answer: {error}");
    Ending {
        exit: code::INTERNAL,
        text,
    }
}

/// For spreading retries: different in each daemon, even in those that start together.
fn seed() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let nanos = now.map_or(0, |since| since.as_nanos() as u64);
    nanos ^ u64::from(std::process::id()).rotate_left(32)
}
