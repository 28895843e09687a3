//! The gopher protocol (RFC 1436): a folder as a hole, with maps, Gopher+ and pages for browsers.
//!
//! One request a connection, one reply, and the end. What can be answered from memory is answered on
//! the loop; everything that may have to wait for a disk goes to a thread and comes back. Equal
//! requests that wait at the same time are answered by one job. Whole files are handed to the daemon,
//! which sends them.
//!
//! Invariant: every request gets exactly one reply, in its own manner, whatever happens to files
//! meanwhile; and a peer is never told why something is not shown.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::sync::Arc;

use polyport_plugin::prelude::*;

mod answer;
mod build;
mod cache;
mod caps;
mod counts;
mod date;
mod listing;
mod lookup;
mod made;
mod page;
mod ready;
mod reply;
mod request;
mod search;
mod sending;
mod settings;
mod site;
mod users;
mod vhosts;

pub mod gopherplus;
pub mod http;
pub mod maps;
pub mod menu;
pub mod selector;
pub mod text;
pub mod types;
pub mod url;

use answer::{NotNow, answer};
use counts::Counts;
use lookup::Patience;
use menu::Here;
use reply::{Reply, Request};
use request::Said;
use sending::{Next, Sending};
use site::Site;
use text::Lines;

/// The protocol of one service.
pub struct Gopher {
    site: Arc<Site>,
    /// What jobs were submitted for.
    jobs: HashMap<WorkId, Job>,
    /// Who waits for the answer to what.
    waiting: HashMap<Request, Vec<SessionId>>,
    /// Replies that did not fit at once.
    sending: HashMap<SessionId, Sending>,
    /// What menus name, as a peer came to this address of ours: the last one, which is nearly always
    /// that of the next.
    here: Option<(Address, Arc<Here>)>,
    /// Timers of peers that take their time to ask.
    slow: HashMap<u64, SessionId>,
    timers: u64,
    /// Once is enough of a host without threads.
    has_warned: bool,
    counts: Counts,
}

enum Job {
    Answer(Request),
    Piece(SessionId),
}

/// The next piece of a text, and what is left of it.
struct Piece(std::io::Result<(Vec<u8>, bool)>, Lines);

/// One connection.
pub struct Session {
    local: Address,
    /// What has come of a request that is not complete.
    partial: Vec<u8>,
    timer: Option<(TimerId, u64)>,
    has_asked: bool,
}

impl Default for Session {
    fn default() -> Session {
        Session {
            local: Address::Unix,
            partial: Vec::new(),
            timer: None,
            has_asked: false,
        }
    }
}

impl Configure for Gopher {
    fn new(settings: &Settings, cx: &mut Context) -> Result<Self, String> {
        let counted = |error: Error| format!("its metrics cannot be defined: {error}");
        Ok(Gopher {
            counts: Counts::define(cx).map_err(counted)?,
            site: Arc::new(Site::new(settings)?),
            jobs: HashMap::new(),
            waiting: HashMap::new(),
            sending: HashMap::new(),
            here: None,
            slow: HashMap::new(),
            timers: 0,
            has_warned: false,
        })
    }

    fn check(settings: &Settings) -> Result<(), String> {
        Site::new(settings).map(drop)
    }
}

impl Protocol for Gopher {
    type Session = Session;

    const OPTIONS: &'static [Opt] = settings::OPTIONS;
    const PEER_FIRST: bool = true;
    const NEEDS: Needs = Needs {
        files_read: &[c"$root", c"$users_home", c"$hosts"],
        ..Needs::NOTHING
    };

    fn open(&mut self, cx: &mut Context, session: SessionId, facts: &Facts) -> Result<Session> {
        cx.idle(session, self.site.choices.request_time)?;
        Ok(Session {
            local: facts.local(),
            ..Session::default()
        })
    }

    fn feed(
        &mut self,
        cx: &mut Context,
        from: SessionId,
        session: &mut Session,
        input: &[u8],
    ) -> Result<usize> {
        // One request a connection: what comes behind it is dropped.
        if session.has_asked {
            return Ok(input.len());
        }
        match self.said(session, input, false) {
            Said::More => {
                session.partial = input.to_vec();
                self.arm(cx, from, session)?;
                Ok(0)
            }
            said => {
                self.respond(cx, from, session, said)?;
                Ok(input.len())
            }
        }
    }

    fn peer_finished(&mut self, cx: &mut Context, id: SessionId, session: &mut Session) -> Result {
        if session.has_asked {
            return Ok(());
        }
        let partial = std::mem::take(&mut session.partial);
        let said = self.said(session, &partial, true);
        self.respond(cx, id, session, said)
    }

    fn writable(&mut self, cx: &mut Context, id: SessionId, _: &mut Session) {
        if let Some(sending) = self.sending.remove(&id) {
            self.pour(cx, id, sending);
        }
    }

    fn closed(&mut self, cx: &mut Context, id: SessionId, session: Session, _: End) {
        // Nearly always nobody waits for room.
        if !self.sending.is_empty() {
            self.sending.remove(&id);
        }
        self.disarm(cx, &session);
    }

    fn timer(&mut self, cx: &mut Context, _: TimerId, token: u64) {
        if let Some(session) = self.slow.remove(&token) {
            cx.add(self.counts.late, 1);
            let _ = cx.close(session, "no request within request_time");
        }
    }

    fn worked(
        &mut self,
        cx: &mut Context,
        work: WorkId,
        result: Result<Box<dyn std::any::Any + Send>>,
    ) {
        match (self.jobs.remove(&work), result) {
            (Some(Job::Answer(request)), result) => {
                let reply = result.ok().and_then(|reply| reply.downcast::<Reply>().ok());
                self.answered(cx, request, reply.map(|reply| *reply));
            }
            (Some(Job::Piece(session)), Ok(piece)) => {
                if let Ok(piece) = piece.downcast::<Piece>() {
                    self.continue_text(cx, session, *piece);
                }
            }
            (Some(Job::Piece(session)), Err(_)) => {
                let _ = cx.abort(session, "the text could not be read");
            }
            (None, _) => {}
        }
    }
}

impl Gopher {
    fn said(&mut self, session: &Session, input: &[u8], has_ended: bool) -> Said {
        let here = self.here(session.local);
        let site = &self.site;
        match request::said(&site.choices, here, input, has_ended) {
            Said::Asked(mut request, named) => {
                let named = named.and_then(|field| vhosts::of_http(site, &field));
                let host = named.or(site.host_at(session.local));
                request.host = host.map(str::to_owned);
                if named.is_some() {
                    request.here = Arc::new(site.here(session.local, named));
                }
                Said::Asked(request, None)
            }
            said => said,
        }
    }

    fn here(&mut self, local: Address) -> Arc<Here> {
        match &self.here {
            Some((address, here)) if *address == local => Arc::clone(here),
            _ => {
                let here = Arc::new(self.site.here(local, self.site.host_at(local)));
                self.here = Some((local, Arc::clone(&here)));
                here
            }
        }
    }

    fn respond(
        &mut self,
        cx: &mut Context,
        id: SessionId,
        session: &mut Session,
        said: Said,
    ) -> Result {
        session.has_asked = true;
        session.partial = Vec::new();
        self.disarm(cx, session);
        session.timer = None;
        match said {
            Said::More | Said::Nothing => cx.close(id, "nothing was asked"),
            Said::Refused(answer, why) => {
                cx.add(self.counts.refused, 1);
                cx.log(Level::Debug, Some(id), format_args!("refused: {why}"));
                self.pour(cx, id, Sending::of_refusal(answer, why));
                Ok(())
            }
            Said::Asked(request, _) => {
                self.counts.asked(cx, &request);
                cx.idle(id, self.site.choices.idle)?;
                self.serve(cx, id, request);
                Ok(())
            }
        }
    }

    /// At once, or by a job.
    fn serve(&mut self, cx: &mut Context, id: SessionId, request: Request) {
        match answer(&self.site, &request, Patience::None) {
            Ok(reply) => self.reply(cx, id, &request, reply),
            Err(NotNow) => self.wait_for(cx, vec![id], request),
        }
    }

    fn wait_for(&mut self, cx: &mut Context, sessions: Vec<SessionId>, request: Request) {
        if let Some(waiting) = self.waiting.get_mut(&request) {
            waiting.extend(sessions);
            return;
        }
        let site = Arc::clone(&self.site);
        let asked = request.clone();
        let submitted = cx.work(move || match answer(&site, &asked, Patience::Enough) {
            Ok(reply) => reply,
            Err(NotNow) => unreachable!("with enough patience there is an answer"),
        });
        match submitted {
            Ok(work) => {
                self.jobs.insert(work, Job::Answer(request.clone()));
                self.waiting.insert(request, sessions);
                cx.add(self.counts.read, 1);
            }
            Err(error) => {
                if error == Error::Unsupported && !std::mem::replace(&mut self.has_warned, true) {
                    let text = "this host has no polyport.work/1, so everybody is told that it is \
                                busy; run it in a daemon that offers it";
                    cx.warning(text);
                }
                cx.add(self.counts.busy, sessions.len() as u64);
                for id in sessions {
                    let busy = reply::refusal(&self.site, &request, 503, "too much waits");
                    self.reply(cx, id, &request, busy);
                }
            }
        }
    }

    fn answered(&mut self, cx: &mut Context, request: Request, reply: Option<Reply>) {
        let mut sessions = self.waiting.remove(&request).unwrap_or_default();
        let Some(mut reply) = reply else {
            // The worker ends, or the job panicked, which has been logged.
            for id in sessions {
                let _ = cx.abort(id, "the answer could not be made");
            }
            return;
        };
        for warning in std::mem::take(&mut reply.warnings) {
            cx.warning(warning);
        }
        while let Some(id) = sessions.pop() {
            match reply.again() {
                Some(same) => self.reply(cx, id, &request, same),
                None => {
                    self.reply(cx, id, &request, reply);
                    // A file is sent once; the others can have it opened for them by now.
                    for id in sessions {
                        self.serve(cx, id, request.clone());
                    }
                    return;
                }
            }
        }
    }

    fn reply(&mut self, cx: &mut Context, id: SessionId, request: &Request, reply: Reply) {
        cx.add(self.counts.answered, 1);
        self.log(cx, id, request, reply.outcome);
        self.pour(cx, id, Sending::of(reply));
    }

    fn log(&self, cx: &mut Context, id: SessionId, request: &Request, outcome: &str) {
        let choices = &self.site.choices;
        let level = if choices.log_requests {
            Level::Info
        } else {
            Level::Debug
        };
        let search = match &request.search {
            None => String::new(),
            Some(words) if choices.log_searches => format!(" for \"{}\"", words.escape_ascii()),
            Some(_) => " for something".to_owned(),
        };
        let manner = match request.manner {
            reply::Manner::Gopher => "gopher",
            reply::Manner::Plus(_) => "gopher+",
            reply::Manner::Http { .. } => "http",
        };
        let selector = request.selector.escape_ascii();
        cx.log(
            level,
            Some(id),
            format_args!("{manner} \"{selector}\"{search}: {outcome}"),
        );
    }

    /// As much as there is room for; the rest follows when there is more.
    fn pour(&mut self, cx: &mut Context, id: SessionId, mut sending: Sending) {
        match sending.pour(cx, id) {
            Ok(Next::Wait) => drop(self.sending.insert(id, sending)),
            Ok(Next::Done) => {}
            Ok(Next::Read(mut lines)) => {
                let submitted = cx.work(move || {
                    let piece = lines.next();
                    Piece(piece, lines)
                });
                match submitted {
                    Ok(work) => drop(self.jobs.insert(work, Job::Piece(id))),
                    Err(_) => drop(cx.abort(id, "too much waits to read the text")),
                }
            }
            // It has ended meanwhile, and `closed` says so.
            Err(Error::Gone) => {}
            Err(_) => drop(cx.abort(id, "the reply could not be queued")),
        }
    }

    fn continue_text(&mut self, cx: &mut Context, id: SessionId, Piece(piece, lines): Piece) {
        match piece {
            Ok((bytes, more)) => {
                let length = lines.length();
                let lines = more.then_some(lines);
                self.pour(cx, id, Sending::of_piece(bytes, lines, length));
            }
            Err(_) => drop(cx.abort(id, "the text could not be read")),
        }
    }

    /// A request that comes in pieces has to be complete in time.
    fn arm(&mut self, cx: &mut Context, id: SessionId, session: &mut Session) -> Result {
        if session.timer.is_none() {
            self.timers += 1;
            let timer = cx.timer_set(self.site.choices.request_time, self.timers)?;
            self.slow.insert(self.timers, id);
            session.timer = Some((timer, self.timers));
        }
        Ok(())
    }

    fn disarm(&mut self, cx: &mut Context, session: &Session) {
        if let Some((timer, token)) = session.timer
            && self.slow.remove(&token).is_some()
        {
            // One that has fired is gone already.
            let _ = cx.timer_cancel(timer);
        }
    }
}

export_plugin!(Gopher, name = "gopher");
