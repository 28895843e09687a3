//! What may block, as the event loop sees it: sessions and jobs handed to threads, and what comes
//! back from them.
//!
//! Only a thread reads and writes the socket of the session that it serves; it gives that back to the
//! loop when there is nothing left but to wait for the peer's FIN. The loop counts, refuses, and stops
//! them, and ends sessions that are too old, banned, or silent where too many are.
//!
//! Invariant: a session is in `sessions` from when it was handed over until its thread has answered,
//! and counts against the worker's limit on connections as long; a job of the protocol is told of
//! exactly once.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use slotmap::Key;

use super::complaints::closed_for;
use super::files::{HasRead, Read, Reads};
use super::gate::Guest;
use super::stream::Stream;
use super::turn::Worker;
use super::{Orders, Share, Wakes};
use crate::engine::handler::{Job, JobEnd, JobToken, SharedHandler};
use crate::engine::protocol::Protocol;
use crate::engine::session::{End, Facts, Token};
use crate::engine::{GivenAway, Passed};
use crate::plan::Limits;
use crate::scoreboard::{Counter, Scoreboard};

mod patience;
mod runner;
mod session;
mod sessions;
mod stream;
mod threads;

use patience::{Patience, after};
use runner::Runner;
use session::Session;
use sessions::Sessions;
use stream::Stop;
use threads::{Bounds, Refused, Threads};

/// The event of a result; above those of listeners, below those of connections.
pub(super) const RESULTS: u64 = (1 << 32) - 1;
/// A thread without work for so long ends.
const IDLE_MS: u64 = 10_000;
/// How long a handler may take to return after all its calls were cancelled. The supervisor kills a
/// second after the end of a drain.
const RETURN_MS: u64 = 500;

pub(super) struct Blocking {
    threads: Threads<Task, Done>,
    handler: Option<SharedHandler>,
    sessions: Sessions,
    /// Of sessions that come; those that are with a thread keep what they came with.
    patience: Patience,
    lifetime_ms: u64,
    pub(super) results_waiting: bool,
    pub(super) reads: Reads,
    stop: Arc<Stop>,
    /// When the time to drain is over.
    end_ms: Option<u64>,
}

enum Task {
    Serve(Box<Visit>),
    Run(Job),
    Read(Read),
}

/// A session on its way to a thread.
struct Visit {
    token: Token,
    session: Arc<Session>,
    facts: Facts<'static>,
    endpoint: String,
    /// What came before the thread had the socket.
    kept: Vec<u8>,
    patience: Patience,
}

enum Done {
    Session {
        token: Token,
        end: End,
        /// The limit with a name of its own that it was cut short for.
        passed: Option<Passed>,
        fate: Fate,
        log_dropped: u64,
    },
    Job(JobToken, JobEnd),
    Read(HasRead),
}

/// What becomes of the socket.
#[derive(Clone, Copy)]
enum Fate {
    /// Our FIN is sent: the peer's is to be waited for.
    Linger,
    Close,
    Reset,
}

impl Blocking {
    pub(super) fn new(
        share: &Share,
        handler: Option<SharedHandler>,
        board: &Scoreboard,
        epoll: &Epoll,
    ) -> io::Result<Blocking> {
        let stop = Arc::new(Stop::new()?);
        let runner = Runner {
            handler: handler.clone(),
            stop: stop.clone(),
            board: board.clone(),
        };
        let bounds = bounds(&share.limits, handler.as_ref());
        let run = move |task, number| runner.run(task, number);
        let threads = Threads::new(bounds, Box::new(run))?;
        let edge = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        epoll.add(threads.fd(), EpollEvent::new(edge, RESULTS))?;
        Ok(Blocking {
            threads,
            handler,
            sessions: Sessions::new(share.share_of(share.limits.pending)),
            patience: Patience::of(&share.limits),
            lifetime_ms: share.limits.lifetime_ms,
            results_waiting: false,
            reads: Reads::default(),
            stop,
            end_ms: None,
        })
    }

    /// A reload has changed limits; `pending` is this worker's share.
    pub(super) fn adjust(&mut self, limits: &Limits) {
        self.patience = Patience::of(limits);
        self.lifetime_ms = limits.lifetime_ms;
        self.sessions.adjust(limits.pending);
    }

    /// Whether sessions are served by threads.
    pub(super) fn serves(&self) -> bool {
        self.handler.as_ref().is_some_and(|it| it.serves_streams())
    }

    /// Sessions that are with a thread, or wait for one.
    /// An operator wants these to end.
    pub(super) fn end_asked(&self, tokens: &[Token]) {
        self.sessions.end_asked(tokens);
    }

    pub(super) fn seen(&self) -> impl Iterator<Item = (Token, Guest, &Stream)> {
        self.sessions.seen()
    }

    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// The next moment at which something is to be done.
    pub(super) fn next_deadline_ms(&self) -> Option<u64> {
        let end_ms = self.end_ms.map(|end_ms| match self.stop.is_over() {
            true => end_ms + RETURN_MS,
            false => end_ms,
        });
        let deadlines = [
            end_ms,
            self.sessions.next_deadline_ms(),
            self.reads.next_deadline_ms(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Has a part of a file read; it comes back if there is no room for it now.
    pub(super) fn submit_read(&mut self, read: Read) -> Result<(), Read> {
        match self.threads.submit(Task::Read(read)) {
            Ok(()) => {
                self.reads.out += 1;
                Ok(())
            }
            Err(Refused::Busy(Task::Read(read)) | Refused::NoThread(Task::Read(read), _)) => {
                Err(read)
            }
            Err(_) => unreachable!("what comes back is what was submitted"),
        }
    }
}

fn bounds(limits: &Limits, handler: Option<&SharedHandler>) -> Bounds {
    let allowed = usize::from(limits.threads.max);
    let threads_max = match handler.map_or(0, |handler| handler.parallel_max()) {
        0 => allowed,
        wanted => allowed.min(wanted as usize),
    };
    Bounds {
        threads_max,
        queue_max: limits.threads.queue_max as usize,
        idle: Duration::from_millis(IDLE_MS),
    }
}

// --- on the event loop ---------------------------------------------------------------------------

impl<P: Protocol, W: Wakes, O: Orders> Worker<P, W, O> {
    /// Gives an accepted connection to a thread, or turns it away.
    pub(super) fn hand_over(
        &mut self,
        socket: Stream,
        facts: Facts<'static>,
        endpoint: String,
        guest: Guest,
    ) {
        let lifetime_ms = after(self.blocking.lifetime_ms, self.now_ms);
        let (token, session) = (self.blocking.sessions).enter(socket, false, guest, lifetime_ms);
        self.hand_out(Visit {
            token,
            session,
            facts,
            endpoint,
            kept: Vec::new(),
            patience: self.blocking.patience,
        });
    }

    /// The same with one that its proxy has introduced: it was the loop's so far.
    pub(super) fn hand_over_introduced(
        &mut self,
        token: Token,
        facts: Facts<'static>,
        endpoint: String,
        guest: Guest,
    ) {
        let (socket, given) = (self.sockets.remove(token), self.streams.give_away(token));
        let Some((socket, GivenAway { kept, lifetime_ms })) = socket.zip(given) else {
            return self.gate.turn_back(guest);
        };
        // Closing would not take it out of the event queue, for it is not closed.
        let _ = self.epoll.delete(&socket.socket);
        self.scoreboard.subtract(Counter::Connections, 1);
        // Its proxy has spoken for it.
        let (token, session) = (self.blocking.sessions).enter(socket, true, guest, lifetime_ms);
        self.hand_out(Visit {
            token,
            session,
            facts,
            endpoint,
            kept,
            patience: self.blocking.patience,
        });
    }

    fn hand_out(&mut self, visit: Visit) {
        let (token, peer) = (visit.token, visit.facts.peer);
        let refused = match self.blocking.threads.submit(Task::Serve(Box::new(visit))) {
            Ok(()) => {
                tracing::debug!(session = token.data().as_ffi(), %peer, "connection opened");
                self.scoreboard.add(Counter::Connections, 1);
                return self.blocking.sessions.end_silent();
            }
            Err(refused) => refused,
        };
        match refused {
            Refused::Busy(task) => {
                drop(task);
                self.complaints.busy(self.now_ms);
            }
            Refused::NoThread(task, error) => {
                drop(task);
                self.complaints.no_thread(self.now_ms, &error);
            }
        }
        // Counted before the peer can notice.
        self.scoreboard.add(Counter::Refused, 1);
        self.scoreboard.add(Counter::RefusedBusy, 1);
        if let Some((guest, _socket)) = self.blocking.sessions.leave(token) {
            self.gate.turn_back(guest);
        }
        self.blocking.sessions.end_silent();
    }

    /// After a ban: those whom threads serve and who are not to be in any more.
    pub(super) fn end_banned_sessions(&mut self) {
        let gate = &self.gate;
        (self.blocking.sessions).end_banned(|guest| gate.is_banned(guest, self.now_ms));
    }

    /// Gives what the protocol has submitted to threads.
    pub(super) fn hand_over_jobs(&mut self) {
        let refused = self.streams.take_jobs_refused();
        if refused > 0 {
            self.scoreboard.add(Counter::RefusedBusy, refused);
            self.complaints.busy(self.now_ms);
        }
        for job in self.streams.take_jobs() {
            let refused = match self.blocking.threads.submit(Task::Run(job)) {
                Ok(()) => continue,
                Err(Refused::Busy(task)) => task,
                Err(Refused::NoThread(task, error)) => {
                    self.complaints.no_thread(self.now_ms, &error);
                    task
                }
            };
            self.give_up(refused);
        }
    }

    /// What threads have answered.
    pub(super) fn take_results(&mut self) {
        if !std::mem::take(&mut self.blocking.results_waiting) {
            return;
        }
        while let Some(done) = self.blocking.threads.next_result() {
            match done {
                Done::Job(job, end) => self.streams.worked(job, end, self.now_ms),
                Done::Read(read) => self.take_read(read),
                Done::Session {
                    token,
                    end,
                    passed,
                    fate,
                    log_dropped,
                } => {
                    self.scoreboard.add(Counter::LogDropped, log_dropped);
                    match passed {
                        Some(passed) => self.note_passed(passed),
                        None => self.note_end(end),
                    }
                    self.session_over(token, end, fate);
                }
            }
        }
        self.read_waiting();
        self.part();
    }

    fn note_passed(&mut self, passed: Passed) {
        self.scoreboard.add(closed_for(passed), 1);
        self.complaints.closed_for(self.now_ms, passed, 1);
    }

    fn note_end(&mut self, end: End) {
        match end {
            End::Idle => self.scoreboard.add(Counter::ClosedIdle, 1),
            End::Limit => {
                self.scoreboard.add(Counter::ClosedHandler, 1);
                self.complaints.handler_time(self.now_ms);
            }
            End::Fault => self.scoreboard.add(Counter::PluginFaults, 1),
            End::Finished | End::Aborted | End::Lost | End::Drain | End::Carried | End::File => {}
        }
    }

    fn session_over(&mut self, token: Token, end: End, fate: Fate) {
        let Some((guest, socket)) = self.blocking.sessions.leave(token) else {
            return;
        };
        self.gate.turn_back(guest);
        let number = token.data().as_ffi();
        match fate {
            // Nobody will be there to wait for the peer's FIN.
            Fate::Linger if self.blocking.stop.is_over() => drop(socket),
            Fate::Linger => return self.linger(socket, number, end),
            Fate::Close => drop(socket),
            Fate::Reset => socket.reset(),
        }
        tracing::debug!(session = number, why = ?end, "connection closed");
        self.scoreboard.subtract(Counter::Connections, 1);
    }

    /// From here on the connection is like any other that has sent its FIN.
    fn linger(&mut self, socket: Stream, number: u64, end: End) {
        let token = self.streams.linger(end, self.now_ms);
        let rest = token.data().as_ffi();
        tracing::debug!(session = number, rest, why = ?end, "connection served");
        let event = EpollEvent::new(Stream::interest(), rest);
        let registered = self.epoll.add(&socket.socket, event);
        self.sockets.insert(token, socket);
        if registered.is_err() {
            self.streams.lost(token, self.now_ms);
        }
    }

    /// A task that no thread will run.
    fn give_up(&mut self, task: Task) {
        match task {
            Task::Run(job) => self
                .streams
                .worked(job.token, JobEnd::Cancelled, self.now_ms),
            Task::Serve(visit) => {
                let token = visit.token;
                drop(visit);
                self.session_over(token, End::Drain, Fate::Close);
            }
            // The connection that waited for it is closed by then, or will be.
            Task::Read(_) => self.blocking.reads.out -= 1,
        }
    }

    /// Whoever waits for a peer is woken; what is being said may be said to its end.
    pub(super) fn drain_blocking(&mut self, grace_ms: u64) {
        self.blocking.stop.drain();
        let end_ms = self.now_ms.saturating_add(grace_ms.max(1));
        let sooner = self
            .blocking
            .end_ms
            .map_or(end_ms, |known| known.min(end_ms));
        self.blocking.end_ms = Some(sooner);
    }

    /// Sessions may be too old, and the time to drain over.
    pub(super) fn expire_blocking(&mut self) {
        self.blocking.sessions.end_old(self.now_ms);
        let over = self
            .blocking
            .end_ms
            .is_some_and(|end_ms| end_ms <= self.now_ms);
        if over && !self.blocking.stop.is_over() {
            self.blocking.stop.end();
            self.cancel_waiting();
        }
    }

    fn cancel_waiting(&mut self) {
        self.streams.close_jobs();
        for job in self.streams.take_jobs() {
            self.give_up(Task::Run(job));
        }
        while let Some(task) = self.blocking.threads.take_waiting() {
            self.give_up(task);
        }
        self.part();
    }

    /// Whether the threads are done, once all connections of the loop's own are. With the last session
    /// gone, what waits is still done while there is time, but nothing more is taken.
    pub(super) fn threads_are_done(&mut self) -> bool {
        if self.blocking.len() == 0 {
            self.streams.close_jobs();
            self.hand_over_jobs();
        }
        let reads = self.blocking.reads.out;
        let pending = self.blocking.len() + self.streams.job_count() + reads;
        pending == 0 || self.has_given_up()
    }

    /// Whether handlers or jobs are left behind that would not return.
    fn has_given_up(&self) -> bool {
        let end_ms = self.blocking.end_ms.map(|end_ms| end_ms + RETURN_MS);
        end_ms.is_some_and(|end_ms| end_ms <= self.now_ms)
    }

    /// Ends the threads. If some are left behind the protocol cannot be taken down, since they may
    /// use it: then it stays as it is, and nothing is returned.
    pub(super) fn into_protocol(mut self) -> Option<P> {
        let reads = self.blocking.reads.out;
        let left = self.blocking.len() + self.streams.job_count() + reads;
        if left > 0 {
            tracing::warn!(
                "{left} handlers, jobs or reads of files did not return in time; the worker ends without them"
            );
            std::mem::forget(self.streams);
            return None;
        }
        self.blocking.threads.join();
        Some(self.streams.into_protocol())
    }
}

#[cfg(test)]
mod tests;
