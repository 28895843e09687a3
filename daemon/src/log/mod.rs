//! The log: one event a line, for the administrator at night.
//!
//! An event has a severity, the administrator's name for the process, what happened, and fields. Each
//! goes out in one write, so events of several processes do not mix. A target that does not take one
//! (a full disk, a socket that nobody reads, a daemon that is not there) is never waited for: the event
//! goes to standard error instead, is counted as lost, and the next one that is taken says how many
//! were. How an event reads is in `line`, who takes it in `outlet`.
//!
//! Invariant: no caller waits for a target, whatever the target does.

mod line;
mod outlet;

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::{Registry, reload};

use crate::plan::{Facility, LogFormat, LogLevel, LogPlan, LogTarget};
use line::{Entry, Parts};
pub use line::{escape, timestamp};
use outlet::Outlet;
pub use outlet::open;

/// How it is before any plan is known.
pub fn early() -> LogPlan {
    LogPlan {
        target: LogTarget::Stderr,
        facility: Facility::Daemon,
        level: LogLevel::Info,
        format: LogFormat::Text,
    }
}

/// Sends this process's events to the plan's target. `who` stands before each line: "supervisor",
/// "gopher/1". Later calls in the same process change nothing. A file must be there; a daemon that
/// takes the log may come later.
pub fn begin(plan: &LogPlan, who: &str) -> io::Result<()> {
    let opened = match open(plan) {
        Err(error) if matches!(plan.target, LogTarget::File(_)) => return Err(error),
        opened => opened.unwrap_or(None),
    };
    let outlet = OUTLET.get_or_init(|| Outlet::new(plan, opened));
    let lines = Lines {
        who: who.to_owned(),
        outlet,
    };
    let (filter, handle) = reload::Layer::new(filter(plan.level));
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter));
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        let _ = LEVEL.set(handle);
    }
    Ok(())
}

/// What `open` has opened takes the log from now on.
pub fn write_to(opened: std::fs::File) {
    if let Some(outlet) = OUTLET.get() {
        outlet.replace(opened);
    }
}

/// Events that the target has not taken since the last call.
pub fn take_lost() -> u64 {
    // Asked for in each turn, and nearly always there is none.
    match LOST.load(Relaxed) {
        0 => 0,
        _ => LOST.swap(0, Relaxed),
    }
}

static OUTLET: OnceLock<Outlet> = OnceLock::new();

/// Not yet taken by `take_lost`.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Not yet said in the log itself.
static UNSAID: AtomicU64 = AtomicU64::new(0);

/// The filter of the log that has begun.
static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// What is less severe than this is not written from now on.
pub fn set_level(level: LogLevel) {
    if let Some(handle) = LEVEL.get() {
        // The handle fails only once its subscriber is gone, and the global one stays.
        let _ = handle.modify(|now| *now = filter(level));
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    }
}

#[derive(Debug)]
struct Lines {
    who: String,
    outlet: &'static Outlet,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // What the hub's client of NATS says of itself, the hub says in an administrator's words.
        if event.metadata().target().starts_with("async_nats") {
            return;
        }
        let mut parts = Parts::default();
        event.record(&mut parts);
        self.say_lost();
        if !self.write(*event.metadata().level(), &parts) {
            LOST.fetch_add(1, Relaxed);
            UNSAID.fetch_add(1, Relaxed);
        }
    }
}

impl Lines {
    fn say_lost(&self) {
        // Most of the time there is none, and then this writes nothing.
        if UNSAID.load(Relaxed) == 0 {
            return;
        }
        let lost = UNSAID.swap(0, Relaxed);
        let parts = Parts {
            message: format!("{lost} lines of this log were lost: its target did not take them"),
            fields: Vec::new(),
        };
        if lost > 0 && !self.write(Level::WARN, &parts) {
            UNSAID.fetch_add(lost, Relaxed);
        }
    }

    fn write(&self, level: Level, parts: &Parts) -> bool {
        let who = &self.who;
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let time = timestamp(now.as_secs(), now.subsec_millis());
        self.outlet.take(&Entry { level, who, parts }, &time)
    }
}
