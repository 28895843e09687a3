//! The echo protocol over datagrams (RFC 862), made so that nobody can turn it on others.
//!
//! Whoever forges a source address has an echo sent to somebody else, and two services that answer
//! each other never stop. So each datagram is answered at most once and by no more bytes than it has,
//! and not at all where `rules` say so, or when its source goes beyond its `rates`, or when `guard`
//! finds it in a loop. Nothing is sent unasked, and no datagram is logged by itself.
//!
//! Invariant: bytes sent never exceed bytes received, for each source.
#![forbid(unsafe_code)]

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::SocketAddr;
use std::time::Duration;

use polyport_plugin::prelude::*;

mod fingerprint;
mod guard;
mod options;
mod rates;
mod repeats;
mod rules;
mod summary;
mod table;

use guard::{Guard, Opinion};
use rates::{Bucket, Prefix, Rate};
use rules::{Reason, Rules};
use summary::Summary;
use table::Table;

/// Sources remembered at once.
const SOURCES: usize = 4096;
/// A mute is logged at most so often.
const MUTE_LOG_MS: u64 = 1000;

/// The protocol of one service.
pub struct UdpEcho {
    answers: bool,
    rules: Rules,
    limits: Limits,
    guard: Option<Guard>,
    mute: Duration,
    seed: u64,
    sources: Table<Source>,
    service: Bucket,
    summary: Summary,
    summary_every: Duration,
    /// The number of the summary to come; a source's count is of one of them.
    summaries: u64,
    summary_is_due: bool,
    mute_logged_ms: Option<u64>,
}

struct Limits {
    source: Option<Rate>,
    source_on_loopback: bool,
    service: Option<Rate>,
    service_on_loopback: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Source {
    prefix: Option<Prefix>,
    bucket: Bucket,
    summary: u64,
    came: u64,
}

impl Configure for UdpEcho {
    fn new(settings: &Settings, _: &mut Context) -> Result<Self, String> {
        options::check(settings)?;
        let number = |option| settings.integer(option).unsigned_abs();
        let workers = settings.worker_count();
        let service_rate = number("service_rate");
        let limits = Limits {
            source: Rate::share(number("rate"), number("burst"), workers),
            source_on_loopback: settings.is_written("rate"),
            service: Rate::share(service_rate, service_rate, workers),
            service_on_loopback: settings.is_written("service_rate"),
        };
        let mute = settings.duration("mute");
        let repeats = u32::try_from(number("repeats")).unwrap_or(u32::MAX);
        Ok(UdpEcho {
            answers: options::is_echo(settings)?,
            rules: options::rules(settings)?,
            limits,
            guard: Guard::new(repeats, mute.as_millis() as u64),
            mute,
            seed: RandomState::new().build_hasher().finish(),
            sources: Table::new(SOURCES),
            service: Bucket::default(),
            summary: Summary::default(),
            summary_every: settings.duration("summary"),
            summaries: 1,
            summary_is_due: false,
            mute_logged_ms: None,
        })
    }

    fn check(settings: &Settings) -> Result<(), String> {
        options::check(settings)
    }
}

impl Protocol for UdpEcho {
    type Session = ();

    const OPTIONS: &'static [Opt] = options::OPTIONS;
    const STREAMS: bool = false;
    const DATAGRAMS: bool = true;

    fn datagram(&mut self, cx: &mut Context, from: &Datagram, payload: &[u8]) -> Result {
        self.expect_summary(cx);
        self.summary.came += 1;
        if let Err(reason) = self.answer(cx, from, payload) {
            self.summary.drop_for(reason);
        }
        Ok(())
    }

    fn timer(&mut self, cx: &mut Context, _: TimerId, _: u64) {
        self.summary_is_due = false;
        self.summarise(cx);
    }

    fn drain(&mut self, cx: &mut Context, _: Duration) {
        self.summarise(cx);
    }
}

impl UdpEcho {
    fn answer(&mut self, cx: &mut Context, from: &Datagram, payload: &[u8]) -> Result<(), Reason> {
        if let (Address::Ip(peer), Address::Ip(local)) = (from.peer(), from.local()) {
            let now_ms = cx.now().as_millis() as u64;
            let key = self.note_source(peer, now_ms);
            if let Some(reason) = self.rules.refuse(peer, local, from.is_to_many()) {
                return Err(reason);
            }
            self.judge(cx, peer, payload, now_ms)?;
            self.spend(key, peer.ip().is_loopback(), now_ms)?;
        }
        if !self.answers {
            return Err(Reason::Discarded);
        }
        match cx.reply(from.reply_token(), payload) {
            Ok(()) => {
                self.summary.answered += 1;
                Ok(())
            }
            Err(Error::Full) => Err(Reason::Full),
            Err(_) => Err(Reason::NoWayBack),
        }
    }

    /// Remembers that it sent something; the answer is its key in the table.
    fn note_source(&mut self, peer: SocketAddr, now_ms: u64) -> u64 {
        let prefix = Prefix::of(peer.ip());
        let key = fingerprint::of_words(self.seed, prefix.words());
        let source = self.sources.hear(key, now_ms);
        if source.summary != self.summaries {
            (source.summary, source.came) = (self.summaries, 0);
        }
        source.prefix = Some(prefix);
        source.came += 1;
        key
    }

    /// Takes an answer from what the source and the service have left.
    fn spend(&mut self, key: u64, loopback: bool, now_ms: u64) -> Result<(), Reason> {
        let limits = &self.limits;
        if let Some(rate) = limits.source
            && (!loopback || limits.source_on_loopback)
            && !self.sources.hear(key, now_ms).bucket.allows(rate, now_ms)
        {
            return Err(Reason::Rate);
        }
        if let Some(rate) = limits.service
            && (!loopback || limits.service_on_loopback)
            && !self.service.allows(rate, now_ms)
        {
            return Err(Reason::ServiceRate);
        }
        Ok(())
    }

    fn judge(
        &mut self,
        cx: &mut Context,
        peer: SocketAddr,
        payload: &[u8],
        now_ms: u64,
    ) -> Result<(), Reason> {
        let Some(guard) = &mut self.guard else {
            return Ok(());
        };
        let source = fingerprint::of_source(self.seed, peer);
        match guard.judge(source, fingerprint::of(self.seed, payload), now_ms) {
            Opinion::Fine => Ok(()),
            Opinion::Muted => Err(Reason::Muted),
            Opinion::Mute => {
                let logged_ms = self.mute_logged_ms;
                if logged_ms.is_none_or(|logged_ms| now_ms - logged_ms >= MUTE_LOG_MS) {
                    self.mute_logged_ms = Some(now_ms);
                    let mute = self.mute;
                    cx.warning(format_args!(
                        "{peer} sends the same datagram again and again, as two services do that \
                         answer each other; it is not answered for {mute:?}"
                    ));
                }
                Err(Reason::Muted)
            }
        }
    }

    /// A quiet service has no timer.
    fn expect_summary(&mut self, cx: &mut Context) {
        if !self.summary_is_due && !self.summary_every.is_zero() {
            self.summary_is_due = cx.timer_set(self.summary_every, 0).is_ok();
        }
    }

    fn summarise(&mut self, cx: &mut Context) {
        if self.summary.is_empty() || self.summary_every.is_zero() {
            return;
        }
        let of_this = self
            .sources
            .values()
            .filter(|it| it.summary == self.summaries);
        let top = of_this.max_by_key(|source| source.came);
        let top = top.and_then(|source| Some((source.prefix?, source.came)));
        cx.info(self.summary.line(top));
        self.summary = Summary::default();
        self.summaries += 1;
    }
}

export_plugin!(UdpEcho, name = "udp-echo");
